//! Removes people from appointments: a seat keeps its number, and a pseudonym in place of its
//! attendee.

use jiff::{SignedDuration, Timestamp};

use super::{ATTENDEES_CHANGED, Appointment, AppointmentReport, Attendee, AttendeeEntry, SeatHolder};
use crate::contact::Phone;

impl Appointment {
    /// The header without the people whom `contact_of` names, each by the subject of the contact.
    /// `None` if none of them has a seat. Their reminders are not sent. What the others need stays:
    /// title and place go with the last attendee, or if they contain an erased name or number.
    /// `requested_by` is the contact of the person who asked for it; `None` if the data aged. A
    /// seat of that person whose data aged earlier counts as asked for from then on.
    pub fn erase_people(
        &self,
        contact_of: impl Fn(&Phone) -> Option<String>,
        requested_by: Option<&str>,
        now: Timestamp,
    ) -> Option<Self> {
        let mut after = self.clone();
        let mut erased: Vec<Attendee> = Vec::new();
        for seat in &mut after.attendees {
            match &mut seat.holder {
                SeatHolder::Known(attendee) => {
                    let Some(contact) = contact_of(&attendee.phone) else { continue };
                    erased.push(attendee.clone());
                    let holder = SeatHolder::Erased { contact, at_request: requested_by.is_some() };
                    *seat = AttendeeEntry { holder, attending: false };
                }
                SeatHolder::Erased { contact, at_request } => {
                    *at_request |= requested_by == Some(contact.as_str());
                }
            }
        }
        let is_empty = after.attendees.iter().all(|seat| seat.attendee().is_none());
        // A title without an attendee ages, too: it may name a person.
        let has_aged_text = requested_by.is_none() && is_empty && self.has_text();
        if after.attendees == self.attendees && !has_aged_text {
            return None;
        }
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

    fn has_text(&self) -> bool {
        self.title.is_some() || self.place.is_some()
    }

    /// Whether the data of its people has been kept for so long after it began, and nothing is due.
    pub fn has_aged(&self, age: SignedDuration, now: Timestamp) -> bool {
        let is_known = self.has_text() || self.attendees.iter().any(|seat| seat.attendee().is_some());
        is_known && self.due_at.is_none() && now.duration_since(self.start.max(self.created_at)) > age
    }

    /// The contacts of the seats whose data was erased.
    pub fn erased_contacts(&self) -> impl Iterator<Item = &str> {
        self.attendees.iter().filter_map(|seat| match &seat.holder {
            SeatHolder::Erased { contact, .. } => Some(contact.as_str()),
            SeatHolder::Known(_) => None,
        })
    }

    /// The contacts of the people who asked that their data is erased.
    fn forgotten_contacts(&self) -> impl Iterator<Item = &str> {
        self.attendees.iter().filter_map(|seat| match &seat.holder {
            SeatHolder::Erased { contact, at_request: true } => Some(contact.as_str()),
            SeatHolder::Erased { .. } | SeatHolder::Known(_) => None,
        })
    }

    /// Whether a text names someone who has a seat and is not meant by `is_own`.
    pub fn names_another(&self, text: &str, is_own: impl Fn(&Phone) -> bool) -> bool {
        let others = self.attendees.iter().filter_map(|seat| seat.attendee()).filter(|it| !is_own(&it.phone));
        others.into_iter().any(|other| other.occurs_in(text))
    }

    /// Whether the data of this contact aged away, and the person has not asked for it.
    pub fn has_aged_seat_of(&self, contact: &str) -> bool {
        self.attendees.iter().any(|seat| match &seat.holder {
            SeatHolder::Erased { contact: erased, at_request } => !at_request && erased == contact,
            SeatHolder::Known(_) => false,
        })
    }
}

impl AppointmentReport {
    /// The report without the people who asked that their data is erased from the header: a repeat
    /// of a booking brings none of them back. Those whose data aged get reminders again.
    #[must_use]
    pub fn without_erased(mut self, known: &Appointment, contact_of: impl Fn(&Phone) -> String) -> Self {
        let Some(details) = self.details.as_mut().filter(|_| known.forgotten_contacts().next().is_some()) else {
            return self;
        };
        let (forgotten, others): (Vec<_>, Vec<_>) = details.attendees.drain(..).partition(|attendee| {
            let contact = contact_of(&attendee.phone);
            known.forgotten_contacts().any(|erased| erased == contact)
        });
        let is_empty = others.is_empty() && !forgotten.is_empty();
        let stays = |text: &String| !is_empty && !forgotten.iter().any(|attendee| attendee.occurs_in(text));
        details.title = details.title.take().filter(stays);
        details.place = details.place.take().filter(stays);
        details.attendees = others;
        self
    }
}

impl Attendee {
    /// Whether a text contains the name or the number.
    fn occurs_in(&self, text: &str) -> bool {
        let has_name = self.name.as_deref().is_some_and(|name| {
            // Whole words: the name "Adi" is not in the title "Radiology".
            let words = |text: &str| {
                let words = text.split(|symbol: char| !symbol.is_alphanumeric());
                words.filter(|word| word.chars().count() > 1).map(str::to_lowercase).collect::<Vec<_>>()
            };
            // Hebrew and Arabic write "for" and "the" as letters before the word.
            let is_prefix = |rest: &str| !rest.is_ascii() && rest.chars().count() <= 2;
            let is_name =
                |word: &str, name: &str| word.strip_suffix(name).is_some_and(|rest| rest.is_empty() || is_prefix(rest));
            let text = words(text);
            words(name).iter().any(|name| text.iter().any(|word| is_name(word, name)))
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

    fn phone(number: &str) -> Phone {
        Phone::from_e164(number).unwrap()
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
        let erased = header.erase_people(is_noa, Some(&contact_of(&phone(noa.0))), Timestamp::UNIX_EPOCH).unwrap();
        assert!(erased.attendees[0].attendee().is_none() && erased.attendees[1] == header.attendees[1]);
        assert_eq!((erased.title.as_deref(), erased.generation), (None, 2), "the title has the name");
        assert_eq!(erased.erase_people(is_noa, Some(&contact_of(&phone(noa.0))), Timestamp::UNIX_EPOCH), None);
        let again = apply(Some(&erased), report("Class", &[noa, adi]));
        assert_eq!((again.attendees.len(), again.title.as_deref()), (2, Some("Class")));
        assert_eq!(again.attendees[0], erased.attendees[0]);
        let all = |phone: &Phone| Some(contact_of(phone));
        let empty = again.erase_people(all, Some("contact:x"), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(empty.title, None);
        let named = apply(Some(&erased), report("Class of Noa", &[noa, adi]));
        assert_eq!(named.title, None, "a repeat does not bring the name back");
        let repeated = apply(Some(&empty), report("Class", &[noa]));
        assert!(repeated.title.is_none() && repeated.attendees.iter().all(|seat| !seat.attending));
    }

    #[test]
    fn who_never_asked_to_be_forgotten_gets_reminders_of_a_later_booking() {
        let noa = ("+972545550199", "Noa Levi");
        let header = apply(None, report("Class", &[noa]));
        let aged = header.erase_people(|phone| Some(contact_of(phone)), None, Timestamp::UNIX_EPOCH).unwrap();
        let booked = apply(Some(&aged), report("Class", &[noa]));
        assert!(booked.attendees.iter().any(|seat| seat.attending && seat.is_of(&phone(noa.0))));
        let contact = contact_of(&phone(noa.0));
        assert!(aged.has_aged_seat_of(&contact));
        let asked = aged.erase_people(|_| None, Some(&contact), Timestamp::UNIX_EPOCH).unwrap();
        assert!(!asked.has_aged_seat_of(&contact));
        let booked = apply(Some(&asked), report("Class", &[noa]));
        assert!(booked.attendees.iter().all(|seat| !seat.attending));
    }

    #[test]
    fn the_title_of_an_appointment_without_attendees_ages_too() {
        let header = Appointment { due_at: None, ..apply(None, report("Class of Noa", &[])) };
        let later = header.start + SignedDuration::from_hours(48);
        assert!(header.has_aged(SignedDuration::from_hours(24), later));
        let erased = header.erase_people(|_| None, None, later).unwrap();
        assert!(erased.title.is_none() && !erased.has_aged(SignedDuration::from_hours(24), later));
    }

    #[test]
    fn a_name_inside_another_word_does_not_remove_the_title() {
        let people = [("+972545550199", "Adi Sela"), ("+972525550101", "Noa")];
        let is_adi = |it: &Phone| (it.expose() == people[0].0).then(|| contact_of(it));
        for (title, is_kept) in
            [("Radiology", true), ("Class of adi, 10:00", false), ("שיעור לAdi", false), ("Class with Kadi", true)]
        {
            let header = apply(None, report(title, &people));
            let erased = header.erase_people(is_adi, Some("contact:x"), Timestamp::UNIX_EPOCH).unwrap();
            assert_eq!(erased.title.is_some(), is_kept, "{title}");
        }
    }
}
