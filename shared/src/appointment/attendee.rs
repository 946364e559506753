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

/// Who has a seat.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SeatHolder {
    /// This attendee.
    Known(Attendee),
    /// A person whose data was erased.
    Erased {
        /// The subject of the person's contact: `contact:{pseudonym}`.
        contact: String,
        /// Whether the person asked for it. Only then later bookings bring no reminders.
        at_request: bool,
    },
}

/// A seat of an appointment. Its number is its index in [`super::Appointment::attendees`]. Keys
/// hold this number instead of a phone number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AttendeeEntry {
    /// Who has the seat.
    pub holder: SeatHolder,
    /// Whether the attendee still takes part. One whose data was erased does not.
    pub attending: bool,
}

impl AttendeeEntry {
    /// The seat of an attendee.
    pub fn new(attendee: Attendee, attending: bool) -> Self {
        Self { holder: SeatHolder::Known(attendee), attending }
    }

    /// The attendee, unless the data was erased.
    pub fn attendee(&self) -> Option<&Attendee> {
        match &self.holder {
            SeatHolder::Known(attendee) => Some(attendee),
            SeatHolder::Erased { .. } => None,
        }
    }

    /// Whether the attendee has this number.
    pub fn is_of(&self, phone: &Phone) -> bool {
        self.attendee().is_some_and(|attendee| attendee.phone.is_same_contact(phone))
    }

    fn name(&self) -> Option<&str> {
        self.attendee()?.name.as_deref()
    }
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
            seat.attending &= seat.name().is_none_or(|known| names.contains(&words(known)));
        }
        let is_known = |name: &Vec<String>| {
            let mut known = seats.iter().filter(|seat| seat.attending).filter_map(AttendeeEntry::name);
            known.any(|known| words(known) == *name)
        };
        let is_nameless = |seat: &AttendeeEntry| seat.attending && seat.name().is_none();
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
