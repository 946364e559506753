//! The events of one `UID`: revisions of one event, or several appointments.
//!
//! A `UID` should stand for one event or one series (RFC 5545, section 3.8.4.7). Some calendars
//! give one `UID` to all events, or to all times of a series, without saying which time an event
//! replaces. Then each event is an appointment.
//!
//! Main type: [`EventGroup`].

use std::cmp::{Ordering, Reverse};

use tellonce_core::contact::Phone;

use super::event::{EventRevision, IcsEvent};

/// What some calendars write as the `UID` of every event, in lower case.
const PLACEHOLDER_UIDS: [&str; 15] = [
    "none",
    "null",
    "nil",
    "undefined",
    "nan",
    "n/a",
    "na",
    "false",
    "true",
    "unknown",
    "uid",
    "empty",
    "-",
    "0",
    "[object object]",
];
/// In place of the `UID` of an event that has none.
pub(super) const WITHOUT_UID: &str = "without-uid";

/// Whether a `UID` says nothing about its event.
pub(super) fn is_placeholder_uid(uid: &str) -> bool {
    uid == WITHOUT_UID || PLACEHOLDER_UIDS.iter().any(|placeholder| uid.eq_ignore_ascii_case(placeholder))
}

/// The events of one `UID`.
pub(super) struct EventGroup {
    /// The event or series that the `UID` stands for; several if calendars share one `UID`. The
    /// newest comes first.
    pub(super) masters: Vec<IcsEvent>,
    /// The events that replace one time of a series.
    pub(super) exceptions: Vec<IcsEvent>,
    /// Older revisions with another start or another number.
    pub(super) older: Vec<IcsEvent>,
}

impl EventGroup {
    /// Groups the events of a `UID`, in the order of the body. `phone_of` reads an event's number.
    /// `are_known` says that several of them are known as appointments of their own.
    pub(super) fn new(
        events: Vec<IcsEvent>,
        are_known: bool,
        mut phone_of: impl FnMut(&IcsEvent) -> Option<Phone>,
    ) -> Self {
        let (exceptions, masters): (Vec<_>, Vec<_>) = events.into_iter().partition(|it| it.recurrence_slot.is_some());
        let mut masters: Vec<_> = masters.into_iter().map(|event| (phone_of(&event), event)).collect();
        let are_revisions = !are_known && are_revisions(&masters);
        masters.sort_by_key(|(_, event)| Reverse(event.rank));
        let mut group = Self { masters: Vec::new(), exceptions, older: Vec::new() };
        let mut kept: Vec<Option<Phone>> = Vec::new();
        for (phone, event) in masters {
            let is_same = |(other, known): (&IcsEvent, &Option<Phone>)| {
                other.start == event.start && is_same_person(known.as_ref(), phone.as_ref())
            };
            if group.masters.iter().zip(&kept).any(is_same) {
                continue;
            }
            if are_revisions && !group.masters.is_empty() {
                group.older.push(event);
            } else {
                group.masters.push(event);
                kept.push(phone);
            }
        }
        group
    }
}

/// Whether these events, in the order of the body, are the revisions of one event. Their `SEQUENCE`
/// rises or falls from event to event, and each has the start or the number of every other one. If
/// `SEQUENCE` stays, `DTSTAMP` or `LAST-MODIFIED` rise or fall. Then three starts are not three
/// revisions but a series that was written out.
fn are_revisions(events: &[(Option<Phone>, IcsEvent)]) -> bool {
    let is_monotone = |compare: &dyn Fn(EventRevision, EventRevision) -> Ordering| {
        let mut steps = events.windows(2).map(|pair| match pair {
            [(_, one), (_, next)] => compare(one.revision(), next.revision()),
            _ => Ordering::Equal,
        });
        let first = steps.next().unwrap_or(Ordering::Less);
        first != Ordering::Equal && steps.all(|step| step == first)
    };
    let shares_a_fact = |(phone, event): &(Option<Phone>, IcsEvent)| {
        events.iter().all(|(other, it)| is_same_person(other.as_ref(), phone.as_ref()) || it.start == event.start)
    };
    let has_two_starts = || {
        let mut starts = events.iter().map(|(_, event)| &event.start);
        let first = starts.next();
        let second = starts.clone().find(|start| Some(*start) != first);
        starts.all(|start| Some(start) == first || Some(start) == second)
    };
    let is_in_order = is_monotone(&|one, next| one.sequence.cmp(&next.sequence))
        || (is_monotone(&|one, next| one.cmp(&next)) && has_two_starts());
    is_in_order && events.iter().all(shares_a_fact)
}

fn is_same_person(one: Option<&Phone>, other: Option<&Phone>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is_same_contact(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}
