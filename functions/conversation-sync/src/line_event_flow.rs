//! The flow of one delivery of a line: parse it; apply an opt-out; record an outbound message; add
//! the message to its conversation, with the alerts and the acknowledgement that follow; create the
//! CRM tasks.
//!
//! Every step can be repeated: a delivery that failed half-way is processed again, and finds under
//! the same keys what it wrote before.

use jiff::Timestamp;
use tellonce_core::{
    contact::Phone,
    dispatch::{Dispatcher, Invocation},
    fault::error_chain,
    inbox::InboxItem,
    ledger::LedgerRow,
    telemetry::{self, Metric},
};

use crate::{
    acknowledgement::{self, PendingAcknowledgement},
    alert::{Alert, AlertSender},
    conversation::{Conversation, received_message::ReceivedMessage, sent_history},
    escalation_rules::{self, RuleContext},
    line_event::{LineMessage, MessageDirection, ParsedLineEvent},
    line_event_outcome::LineEventOutcome,
    line_event_parser::parse_line_event,
    message_record::MessageAuthor,
    opt_out,
    reconcile::Reconciler,
    record_store::{ItemKey, RecordStore, RecordUpdate, retention_days},
    sync_error::{StepErrors, SyncError},
    task::crm_tasks,
};

/// What the processing of a delivery may touch.
pub(crate) struct LineEventFlow<'a> {
    pub(crate) dispatcher: &'a Dispatcher,
    pub(crate) invocation: &'a Invocation,
    pub(crate) store: &'a RecordStore,
    pub(crate) alerts: &'a AlertSender<'a>,
    pub(crate) reconciler: &'a Reconciler<'a>,
}

/// What a message changed in its conversation.
struct ConversationUpdate {
    conversation: Conversation,
    alerts: Vec<Alert>,
    acknowledgement: Option<PendingAcknowledgement>,
    is_new: bool,
}

impl LineEventFlow<'_> {
    /// Processes one delivery. Returns its outcome, unless all of it was used.
    pub(crate) async fn process_delivery(&self, delivery: &InboxItem) -> Result<Option<LineEventOutcome>, SyncError> {
        let outcome = self.process_line_event(delivery).await?;
        if outcome.as_ref().is_some_and(LineEventOutcome::needs_attention) {
            let Dispatcher { config, clock, .. } = self.dispatcher;
            telemetry::count_metric(&config.client, Metric::DeliveriesQuarantined, clock.now());
        }
        Ok(outcome)
    }

    async fn process_line_event(&self, delivery: &InboxItem) -> Result<Option<LineEventOutcome>, SyncError> {
        if !self.dispatcher.config.lines.contains_key(&delivery.sender) {
            return Ok(Some(LineEventOutcome::LineRemoved));
        }
        let ParsedLineEvent { messages, status_reports, skip_reasons, has_unreadable_items } =
            match parse_line_event(delivery.topic.as_deref(), &delivery.body, delivery.received_at) {
                Ok(parsed) => parsed,
                Err(error) => return Ok(Some(LineEventOutcome::NotUnderstood(error))),
            };
        let is_sole_message = messages.len() == 1;
        // A message that fails does not stop the others.
        let mut errors = StepErrors::default();
        for message in &messages {
            errors.collect(self.process_message(delivery, message, is_sole_message).await);
        }
        for status in &status_reports {
            errors.collect(self.reconciler.record_status_report(&delivery.sender, status).await);
        }
        errors.into_result()?;
        Ok(match skip_reasons {
            reasons if reasons.is_empty() => None,
            reasons if has_unreadable_items => Some(LineEventOutcome::ItemsNotUnderstood(reasons)),
            reasons => Some(LineEventOutcome::Skipped(reasons)),
        })
    }

    async fn process_message(
        &self,
        delivery: &InboxItem,
        message: &LineMessage,
        is_sole_message: bool,
    ) -> Result<(), SyncError> {
        let Dispatcher { config, ledger, clock, .. } = self.dispatcher;
        let line = delivery.sender.as_str();
        let contact = message.phone.as_ref().map(|phone| ledger.contact_subject(phone));
        let key = Conversation::item_key(line, message.conversation_id.as_deref(), contact.as_deref());
        let mut message = message.clone();
        if let (None, Some(key)) = (&message.phone, &key) {
            message.phone = self.load_phone(key).await;
        }
        let received = ReceivedMessage { delivery, message: &message, is_sole_message };
        // An opt-out comes before everything that may fail.
        opt_out::apply_opt_out(config, ledger, &message).await?;
        let mut errors = StepErrors::default();
        let author = match message.direction {
            MessageDirection::In => None,
            MessageDirection::Out => {
                let recorded = self.reconciler.record_outbound_message(line, &message).await;
                Some(errors.collect(recorded).unwrap_or(MessageAuthor::Unknown))
            }
        };
        let name = match &key {
            Some(key) => errors.collect(self.update_conversation(received, key, author).await).flatten(),
            None => None,
        };
        // CRMs receive the message even if its conversation fails. Without a number a CRM has no
        // person for it.
        if let Some(phone) = &message.phone {
            let (name, now) = (name.as_deref(), clock.now());
            let created = crm_tasks::create_crm_tasks(config, self.store, line, &message, phone, name, now).await;
            errors.collect(created.map_err(SyncError::from));
        }
        errors.into_result()
    }

    /// Adds a message to its conversation, with all that follows. Returns the customer's name.
    async fn update_conversation(
        &self,
        received: ReceivedMessage<'_>,
        key: &ItemKey,
        author: Option<MessageAuthor>,
    ) -> Result<Option<String>, SyncError> {
        let Dispatcher { config, ledger, clock, .. } = self.dispatcher;
        let (message, now) = (received.message, clock.now());
        let mut sent_rows = None;
        if escalation_rules::needs_ledger(config, received.line()) && message.direction == MessageDirection::In {
            sent_rows = Some(sent_history::load_sent_rows(ledger, message.phone.as_ref(), now).await?);
        }
        let known_rows = sent_rows.as_deref().unwrap_or_default();
        let appointments = sent_history::load_appointments(config, ledger, received.line(), known_rows).await?;
        let context = RuleContext { sent_rows: known_rows, appointments: &appointments };
        let add = |before: Option<&Conversation>| self.add_message(before, received, author, &context, now);
        let ConversationUpdate { mut conversation, alerts, acknowledgement, is_new } =
            self.store.update_record(key, add).await?;
        if sent_rows.is_none() && (is_new || !alerts.is_empty()) {
            sent_rows = Some(sent_history::try_load_sent_rows(ledger, message.phone.as_ref(), clock.now()).await);
        }
        if let (true, MessageDirection::In, Some(phone)) = (is_new, message.direction, &message.phone) {
            self.record_first_contact(phone, now).await;
        }
        let sent_rows = sent_rows.unwrap_or_default();
        self.complete_name(key, &mut conversation, &sent_rows).await?;
        self.alerts.create_notifications(&key.subject, &conversation, &alerts, &sent_rows).await?;
        if let Some(pending) = acknowledgement {
            let Self { dispatcher, invocation, .. } = self;
            acknowledgement::send_acknowledgement(dispatcher, invocation, received, &conversation, pending).await?;
        }
        Ok(conversation.name)
    }

    fn add_message(
        &self,
        before: Option<&Conversation>,
        received: ReceivedMessage<'_>,
        author: Option<MessageAuthor>,
        context: &RuleContext<'_>,
        now: Timestamp,
    ) -> RecordUpdate<Conversation, ConversationUpdate> {
        let config = &self.dispatcher.config;
        let message = received.message;
        let new = || {
            let phone = message.phone.as_ref().map(Phone::expose);
            Conversation::new(received.line(), message.conversation_id.as_deref(), phone, retention_days(config), now)
        };
        let mut next = before.cloned().unwrap_or_else(new);
        next.add_message(message);
        match author {
            Some(MessageAuthor::Team) => next.note_team_reply(message.sent_at),
            Some(MessageAuthor::Unknown) => next.note_possible_reply(now),
            Some(MessageAuthor::Tellonce) | None => {}
        }
        next.check_at = next.next_check(config);
        let alerts = self.alerts.raise_for_message(&mut next, received, context, now);
        let acknowledgement = acknowledgement::plan_acknowledgement(config, &mut next, received, &alerts);
        let is_new = before.is_none();
        RecordUpdate::write_changed(before, next, |conversation| ConversationUpdate {
            conversation,
            alerts,
            acknowledgement,
            is_new,
        })
    }

    /// Records that a customer wrote, so that a message to them does not count as a first contact.
    /// If this fails, it counts.
    async fn record_first_contact(&self, phone: &Phone, now: Timestamp) {
        let ledger = &self.dispatcher.ledger;
        if let Err(error) = ledger.record_first_contact(&ledger.contact_subject(phone), now).await {
            tracing::warn!("could not record a customer's first contact: {}", error_chain(&error));
        }
    }

    /// Takes the customer's name from the ledger if the conversation has none.
    async fn complete_name(
        &self,
        key: &ItemKey,
        conversation: &mut Conversation,
        sent_rows: &[LedgerRow],
    ) -> Result<(), SyncError> {
        if conversation.name.is_some() {
            return Ok(());
        }
        let Some(name) = sent_rows.iter().find_map(|row| row.context.name.clone()) else { return Ok(()) };
        conversation.name = Some(name.clone());
        let set_name = |before: Option<&Conversation>| match before.cloned() {
            Some(before) => RecordUpdate::write(Conversation { name: Some(name.clone()), ..before }, ()),
            None => RecordUpdate::keep(()),
        };
        Ok(self.store.update_record(key, set_name).await?)
    }

    /// The phone number of a conversation's earlier messages.
    async fn load_phone(&self, key: &ItemKey) -> Option<Phone> {
        match self.store.get_record::<Conversation>(key).await {
            Ok(known) => known?.value.phone(),
            // An error of this row appears again in the step that needs the row.
            Err(_) => None,
        }
    }
}
