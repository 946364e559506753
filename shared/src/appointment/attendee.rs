//! The people of an appointment.

use std::fmt;

use crate::contact::Phone;

/// A person who takes part and can be messaged. [`fmt::Debug`] shows nothing that the attendee or
/// the sender typed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Attendee {
    /// The number. It identifies the attendee.
    pub phone: Phone,
    /// The attendee's name.
    pub name: Option<String>,
    /// The attendee's language: `he`, `he-IL`.
    pub locale: Option<String>,
    /// The attendee's IANA zone, if the sender reports it.
    pub zone: Option<String>,
}

impl fmt::Debug for Attendee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attendee").field("phone", &self.phone).finish_non_exhaustive()
    }
}

/// A seat of an appointment. Its number is its index in [`super::Appointment::attendees`]. Keys
/// hold this number instead of a phone number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AttendeeEntry {
    /// The attendee who has the seat.
    pub attendee: Attendee,
    /// Whether the attendee still takes part.
    pub attending: bool,
}

/// What becomes of the known attendees that the details of a report leave out. [`fmt::Debug`] hides
/// names.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum LeftOutAttendees {
    /// They no longer take part.
    #[default]
    Leave,
    /// They still take part, because the report does not say who takes part.
    Stay,
    /// Those with one of these names still take part, because the report names them without a
    /// number. So does the only known attendee without a name, if a name is left.
    StayIfNamed(Vec<String>),
}

impl fmt::Debug for LeftOutAttendees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leave => f.write_str("Leave"),
            Self::Stay => f.write_str("Stay"),
            Self::StayIfNamed(names) => write!(f, "StayIfNamed({})", names.len()),
        }
    }
}

impl LeftOutAttendees {
    /// Takes the seats of those who no longer take part, if the details leave them out.
    pub(super) fn leave(&self, seats: &mut [AttendeeEntry]) {
        let words = |name: &str| truncate_text(name).split_whitespace().map(str::to_lowercase).collect::<Vec<_>>();
        let Self::StayIfNamed(names) = self else {
            for seat in seats {
                seat.attending &= *self == Self::Stay;
            }
            return;
        };
        let names: Vec<_> = names.iter().map(|name| words(name)).collect();
        for seat in &mut *seats {
            seat.attending &= seat.attendee.name.as_deref().is_none_or(|known| names.contains(&words(known)));
        }
        let is_known = |name: &Vec<String>| {
            let mut known = seats.iter().filter(|seat| seat.attending).filter_map(|seat| seat.attendee.name.as_deref());
            known.any(|known| words(known) == *name)
        };
        let is_nameless = |seat: &AttendeeEntry| seat.attending && seat.attendee.name.is_none();
        let stays = !names.iter().all(is_known) && seats.iter().filter(|seat| is_nameless(seat)).count() == 1;
        for seat in seats.iter_mut().filter(|seat| is_nameless(seat)) {
            seat.attending = stays;
        }
    }
}

/// The longest stored text, in characters: more than any message shows.
const MAX_TEXT_CHARS: usize = 200;

/// Limits a sender's text, because a row of the ledger has limits.
pub(super) fn truncate_text(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).collect()
}
