//! Privacy requests: what a calendar's delivery says about its attendees. The header of an
//! appointment keeps a pseudonym in the seat of each, so no key has to be kept here.

use tellonce_core::{
    clock::Deadline,
    inbox::InboxItem,
    ledger::IdempotencyKey,
    person::{DeliveryPart, PersonCommand, PersonError, PersonPage, search_inbox},
};

use crate::{ReminderScheduler, booking::ParsedBooking, booking_parser::parse_booking};

impl ReminderScheduler {
    /// Finds the deliveries of a person, and empties them on request.
    pub(crate) async fn search_person(
        &self,
        command: &PersonCommand,
        deadline: Deadline,
    ) -> Result<PersonPage, PersonError> {
        let clock = &self.dispatcher.clock;
        let keep = async |_: &InboxItem| Ok(());
        search_inbox(&self.inbox, clock, command, deadline, |delivery| self.read_parts(delivery), keep).await
    }

    /// The appointments of a delivery, with the number of each attendee. One that leaves its people
    /// out has a part without a number.
    fn read_parts(&self, delivery: &InboxItem) -> Vec<DeliveryPart> {
        let config = &self.dispatcher.config;
        let Some(calendar) = config.calendars.get(&delivery.sender) else { return Vec::new() };
        let InboxItem { headers, body, received_at, .. } = delivery;
        let bookings = match parse_booking(calendar, config, headers, body, *received_at) {
            ParsedBooking::Bookings(bookings) => bookings,
            ParsedBooking::NeedsLookup(request) => {
                let subject = IdempotencyKey::appointment_subject(calendar.id_scope(), request.appointment_id());
                return vec![DeliveryPart { subject: Some(subject), ..DeliveryPart::default() }];
            }
            ParsedBooking::SyncFeed | ParsedBooking::Skipped(_) => return Vec::new(),
        };
        let parts = bookings.into_iter().flat_map(|booking| {
            let subject = IdempotencyKey::appointment_subject(calendar.id_scope(), &booking.id);
            let attendees = booking.details.map(|details| details.attendees).unwrap_or_default();
            let phones: Vec<_> = attendees.into_iter().map(|attendee| Some(attendee.phone)).collect();
            let phones = if phones.is_empty() { vec![None] } else { phones };
            phones.into_iter().map(move |phone| DeliveryPart {
                subject: Some(subject.clone()),
                phone,
                ..DeliveryPart::default()
            })
        });
        parts.collect()
    }
}
