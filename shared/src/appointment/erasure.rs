//! Removes people from appointments: a seat keeps its number, and a pseudonym in place of its
//! attendee.

use jiff::Timestamp;

use super::{ATTENDEES_CHANGED, Appointment, AppointmentReport, Attendee, AttendeeEntry, SeatHolder};
use crate::contact::Phone;

impl Appointment {
    /// The header without the people whom `contact_of` names, each by the subject of the contact.
    /// `None` if none of them has a seat. Their reminders are not sent. What the others need stays:
    /// title and place go with the last attendee, or if they contain an erased name or number.
    pub fn erase_people(&self, contact_of: impl Fn(&Phone) -> Option<String>, now: Timestamp) -> Option<Self> {
        let mut after = self.clone();
        let mut erased: Vec<Attendee> = Vec::new();
        for seat in &mut after.attendees {
            let Some(attendee) = seat.attendee() else { continue };
            if let Some(contact) = contact_of(&attendee.phone) {
                erased.push(attendee.clone());
                *seat = AttendeeEntry { holder: SeatHolder::Erased { contact }, attending: false };
            }
        }
        if erased.is_empty() {
            return None;
        }
        let is_empty = after.attendees.iter().all(|seat| seat.attendee().is_none());
        let hides = |text: &String| !is_empty && !erased.iter().any(|attendee| attendee.occurs_in(text));
        after.title = after.title.filter(hides);
        after.place = after.place.filter(hides);
        if after.attendees.iter().all(|seat| !seat.attending) {
            after.due_at = None;
        }
        // Another version may have stored anything about them.
        after.unknown_attributes = crate::attributes::UnknownAttributes::default();
        after.generation += 1;
        let mut after = after.next_version(now);
        after.add_step(ATTENDEES_CHANGED);
        Some(after)
    }

    /// The contacts of the seats whose data was erased.
    pub fn erased_contacts(&self) -> impl Iterator<Item = &str> {
        self.attendees.iter().filter_map(|seat| match &seat.holder {
            SeatHolder::Erased { contact } => Some(contact.as_str()),
            SeatHolder::Known(_) => None,
        })
    }
}

impl AppointmentReport {
    /// The report without the people whose data was erased from the header: a repeat of a booking
    /// brings none of them back.
    #[must_use]
    pub fn without_erased(mut self, known: &Appointment, contact_of: impl Fn(&Phone) -> String) -> Self {
        let Some(details) = self.details.as_mut().filter(|_| known.erased_contacts().next().is_some()) else {
            return self;
        };
        let before = details.attendees.len();
        details.attendees.retain(|attendee| {
            let contact = contact_of(&attendee.phone);
            known.erased_contacts().all(|erased| erased != contact)
        });
        if details.attendees.is_empty() && before > 0 {
            (details.title, details.place) = (None, None);
        }
        self
    }
}

impl Attendee {
    /// Whether a text contains the name or the number.
    fn occurs_in(&self, text: &str) -> bool {
        let has_name = self.name.as_deref().is_some_and(|name| {
            let text = text.to_lowercase();
            name.split_whitespace().any(|word| word.chars().count() > 1 && text.contains(&word.to_lowercase()))
        });
        has_name || self.phone.occurs_in(text)
    }
}
