//! Privacy requests: what a form's delivery says about its lead, and which keys must stay when it
//! is emptied.

use tellonce_core::{
    clock::Deadline,
    dispatch::Invocation,
    inbox::InboxItem,
    ledger::{IdempotencyKey, LedgerError},
    person::{DeliveryPart, PersonCommand, PersonError, PersonPage, search_inbox},
};

use crate::{
    LeadFirstTouch,
    lead::{LeadDelivery, ParsedLead},
    lead_parser::{find_facts, parse_lead},
    plan::plan_greeting,
};

impl LeadFirstTouch {
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

    /// The leads of a delivery. One that is skipped has a number too.
    fn read_parts(&self, item: &InboxItem) -> Vec<DeliveryPart> {
        let Some(delivery) = self.as_lead_delivery(item) else { return Vec::new() };
        let subject_of =
            |id: &str| Some(IdempotencyKey::for_greeting(delivery.form.id_scope(), id).subject().to_owned());
        match parse_lead(&delivery) {
            ParsedLead::Lead(lead) => {
                vec![DeliveryPart { subject: subject_of(&lead.id), phone: Some(lead.phone), ..DeliveryPart::default() }]
            }
            ParsedLead::NeedsLookup(references) => {
                let part = |id: &str| DeliveryPart { subject: subject_of(id), ..DeliveryPart::default() };
                references.iter().map(|reference| part(&reference.id)).collect()
            }
            ParsedLead::Skipped(_) => {
                let phone = find_facts(&delivery).and_then(|facts| facts.phone.ok());
                vec![DeliveryPart { phone, ..DeliveryPart::default() }]
            }
        }
    }

    fn as_lead_delivery<'a>(&'a self, item: &'a InboxItem) -> Option<LeadDelivery<'a>> {
        let config = &self.dispatcher.config;
        let (form_name, form) = config.forms.get_key_value(&item.sender)?;
        let pseudonyms = self.dispatcher.ledger.pseudonyms();
        let (headers, body, received_at) = (&item.headers, item.body.as_slice(), item.received_at);
        Some(LeadDelivery { form_name, form, config, pseudonyms, headers, body, received_at })
    }

    /// Keeps the key of a lead that has no row yet, such as one of a held form.
    async fn keep_key(
        &self,
        invocation: &Invocation,
        command: &PersonCommand,
        item: &InboxItem,
    ) -> Result<(), LedgerError> {
        let (config, now) = (&self.dispatcher.config, self.dispatcher.clock.now());
        let Some(delivery) = self.as_lead_delivery(item) else { return Ok(()) };
        let ParsedLead::Lead(lead) = parse_lead(&delivery) else { return Ok(()) };
        if !command.traces.is_number(&lead.phone) {
            return Ok(());
        }
        // A text that cannot be built is never sent.
        let Ok(message) = plan_greeting(config, delivery.form, &lead, &item.id, now) else { return Ok(()) };
        self.dispatcher.keep_key(invocation, &message).await
    }
}
