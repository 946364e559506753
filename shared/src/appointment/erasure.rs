//! Removes people from appointments: a seat keeps its number, and a pseudonym in place of its
//! attendee.

use jiff::{SignedDuration, Timestamp};

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
        // The table keeps the header as long as it would have.
        after.updated_at = self.updated_at;
        Some(after)
    }

    /// Whether the data of its people has been kept for so long after it began, and nothing is due.
    pub fn has_aged(&self, age: SignedDuration, now: Timestamp) -> bool {
        let is_known = self.attendees.iter().any(|seat| seat.attendee().is_some());
        is_known && self.due_at.is_none() && now.duration_since(self.start.max(self.created_at)) > age
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appointment::{AppointmentDetails, AppointmentStatus, LeftOutAttendees, ReportResult};

    fn report(title: &str, people: &[(&str, &str)]) -> AppointmentReport {
        let attendee = |(phone, name): &(&str, &str)| Attendee {
            phone: Phone::from_e164(phone).unwrap(),
            name: Some((*name).to_owned()),
            locale: None,
            zone: None,
        };
        AppointmentReport {
            subject: "appointment:88".into(),
            calendar: "clinic".into(),
            line: "main".into(),
            status: AppointmentStatus::Booked,
            details: Some(AppointmentDetails {
                start: "2026-11-24T08:30:00Z".parse().unwrap(),
                zone: "UTC".into(),
                attendees: people.iter().map(attendee).collect(),
                title: Some(title.to_owned()),
                place: None,
            }),
            left_out: LeftOutAttendees::Leave,
            as_of: Timestamp::UNIX_EPOCH,
            delivery: "clinic#1".into(),
            previous: None,
        }
    }

    fn contact_of(phone: &Phone) -> String {
        format!("contact:{}", &phone.expose()[10..])
    }

    fn apply(known: Option<&Appointment>, report: AppointmentReport) -> Appointment {
        let report = match known {
            Some(known) => report.without_erased(known, contact_of),
            None => report,
        };
        match Appointment::apply_report(known, &report, Timestamp::UNIX_EPOCH) {
            ReportResult::Updated(header) => *header,
            _ => known.unwrap().clone(),
        }
    }

    #[test]
    fn a_person_leaves_a_seat_that_no_repeat_takes_again_and_the_others_stay() {
        let (noa, adi) = (("+972545550199", "Noa Levi"), ("+972525550101", "Adi Sela"));
        let header = apply(None, report("Class of Noa", &[noa, adi]));
        let is_noa = |phone: &Phone| (phone.expose() == noa.0).then(|| contact_of(phone));
        let erased = header.erase_people(is_noa, Timestamp::UNIX_EPOCH).unwrap();
        assert!(erased.attendees[0].attendee().is_none() && erased.attendees[1] == header.attendees[1]);
        assert_eq!((erased.title.as_deref(), erased.generation), (None, 2), "the title has the name");
        assert_eq!(erased.erase_people(is_noa, Timestamp::UNIX_EPOCH), None);
        let again = apply(Some(&erased), report("Class", &[noa, adi]));
        assert_eq!((again.attendees.len(), again.title.as_deref()), (2, Some("Class")));
        assert_eq!(again.attendees[0], erased.attendees[0]);
        let all = |phone: &Phone| Some(contact_of(phone));
        let empty = again.erase_people(all, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(empty.title, None);
        let repeated = apply(Some(&empty), report("Class", &[noa]));
        assert!(repeated.title.is_none() && repeated.attendees.iter().all(|seat| !seat.attending));
    }
}
