//! Privacy requests: what a store's delivery says about its customer, and which keys must stay when
//! it is emptied.

use tellonce_core::{
    clock::Deadline,
    dispatch::Invocation,
    inbox::InboxItem,
    ledger::LedgerError,
    person::{DeliveryPart, PersonCommand, PersonError, PersonPage, search_inbox},
};

use crate::{
    OrderNotifier,
    order_event::{OrderEvent, ParsedOrder},
    order_parser::{find_requested_subjects, find_subject, parse_order_event},
    plan::plan_order_message,
};

impl OrderNotifier {
    /// Finds the deliveries of a person, and empties them on request.
    pub(crate) async fn search_person(
        &self,
        invocation: &Invocation,
        command: &PersonCommand,
        deadline: Deadline,
    ) -> Result<PersonPage, PersonError> {
        let clock = &self.dispatcher.clock;
        let keep = async |delivery: &InboxItem| self.keep_key(invocation, command, delivery).await;
        search_inbox(&self.inbox, clock, command, deadline, |delivery| self.read_parts(delivery), keep).await
    }

    /// The order of a delivery, with the customer's number if it is known.
    fn read_parts(&self, delivery: &InboxItem) -> Vec<DeliveryPart> {
        let Some(store) = self.dispatcher.config.stores.get(&delivery.sender) else { return Vec::new() };
        let subject = find_subject(store, delivery.topic.as_deref(), &delivery.body);
        let phone = self.parse_event(delivery).and_then(|event| event.contact.phone);
        let requested = find_requested_subjects(store, delivery.topic.as_deref(), &delivery.body);
        let requested = requested.into_iter().map(|subject| (Some(subject), None));
        let parts = [(subject, phone)].into_iter().chain(requested);
        parts.map(|(subject, phone)| DeliveryPart { subject, phone, ..DeliveryPart::default() }).collect()
    }

    fn parse_event(&self, delivery: &InboxItem) -> Option<Box<OrderEvent>> {
        let config = &self.dispatcher.config;
        let store = config.stores.get(&delivery.sender)?;
        let InboxItem { topic, headers, body, received_at, .. } = delivery;
        match parse_order_event(store, config, topic.as_deref(), headers, body, *received_at) {
            ParsedOrder::Event(event) | ParsedOrder::Suppressed(event, _) => Some(event),
            ParsedOrder::NeedsLookup(_) | ParsedOrder::Skipped(_) => None,
        }
    }

    /// Keeps the key of a message that has no row yet, such as one that is on its way.
    async fn keep_key(
        &self,
        invocation: &Invocation,
        command: &PersonCommand,
        delivery: &InboxItem,
    ) -> Result<(), LedgerError> {
        let (config, now) = (&self.dispatcher.config, self.dispatcher.clock.now());
        let Some((store, event)) = config.stores.get(&delivery.sender).zip(self.parse_event(delivery)) else {
            return Ok(());
        };
        if !event.contact.phone.as_ref().is_some_and(|phone| command.traces.is_number(phone)) {
            return Ok(());
        }
        let planned = plan_order_message(config, &delivery.sender, store, &event, &delivery.id, now);
        self.dispatcher.keep_key(invocation, &planned.message).await
    }
}
