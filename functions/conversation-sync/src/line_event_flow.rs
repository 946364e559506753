//! The flow of one delivery of a line: parse it; find the customer's number; apply an opt-out;
//! record an outbound message; add the message to its conversation, with the alerts and the
//! acknowledgement that follow; create the CRM tasks.
//!
//! The content of a message decides what it may cause. Only what a customer writes now begins a
//! wait and may be a first message. Reactions, edits, deletions, polls and calls are recorded in
//! the CRMs; notices and empty texts only in the delivery's outcome. Old messages are recorded with
//! their own dates.
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
    provider::ContentKind,
    telemetry::{self, Metric},
};

use crate::{
    acknowledgement::{self, PendingAcknowledgement},
    alert::{Alert, AlertSender},
    conversation::{Conversation, received_message::ReceivedMessage, sent_history},
    escalation_rules::{self, RuleContext},
    lid_contact::LidContacts,
    line_event::{LineMessage, MessageDirection, ParsedLineEvent},
    line_event_outcome::{EventNotes, LineEventOutcome, NoteKind, describe_content},
    line_event_parser::parse_line_event,
    message_record::MessageAuthor,
    opt_out::{self, OptOutRequest},
    reconcile::Reconciler,
    record_store::{ItemKey, RecordStore, RecordUpdate, days_after, retention_days},
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
    pub(crate) lid_contacts: &'a LidContacts<'a>,
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
        let ParsedLineEvent { messages, status_reports, skip_reasons, has_unreadable_items, has_unreadable_times } =
            match parse_line_event(delivery.topic.as_deref(), &delivery.body, delivery.received_at) {
                Ok(parsed) => parsed,
                Err(error) => return Ok(Some(LineEventOutcome::NotUnderstood(error))),
            };
        let is_sole_message = messages.len() == 1;
        // A message that fails does not stop the others.
        let (mut errors, mut notes) = (StepErrors::default(), EventNotes::default());
        for message in &messages {
            let received = ReceivedMessage { delivery, message, is_sole_message };
            errors.collect(self.process_message(received, &mut notes).await);
        }
        for status in &status_reports {
            errors.collect(self.reconciler.record_status_report(&delivery.sender, status).await);
        }
        errors.into_result()?;
        let skipped = if has_unreadable_items { NoteKind::Unreadable } else { NoteKind::Irrelevant };
        for reason in skip_reasons {
            notes.add(skipped, reason);
        }
        if has_unreadable_times {
            notes.add(NoteKind::Irrelevant, "a time could not be read: the time of receipt counts");
        }
        Ok(notes.into_outcome())
    }

    async fn process_message(&self, received: ReceivedMessage<'_>, notes: &mut EventNotes) -> Result<(), SyncError> {
        let line = received.line();
        let (mut message, mut errors) = (received.message.clone(), StepErrors::default());
        let mut key = self.find_customer(line, &mut message, &mut errors).await;
        // An opt-out comes before everything that may fail.
        self.process_opt_out(&message, notes).await?;
        note_content(&message, notes);
        let author = match (message.direction, message.content) {
            // The line may report our own message without its text.
            (MessageDirection::Out, ContentKind::Written | ContentKind::Empty | ContentKind::Unknown) => {
                let recorded = self.reconciler.record_outbound_message(line, &message).await;
                Some(errors.collect(recorded).unwrap_or(MessageAuthor::Unknown))
            }
            _ => None,
        };
        // The ledger's row of our own message may have shown whose private id this is.
        if let (MessageDirection::Out, None, Some(lid)) = (message.direction, &message.phone, &message.lid) {
            message.phone = errors.collect(self.lid_contacts.find_number(lid).await).flatten();
            key = self.conversation_key(line, &message);
        }
        let received = ReceivedMessage { message: &message, ..received };
        let name = match &key {
            Some(key) => self.process_in_conversation(received, key, author, &mut errors).await,
            None => None,
        };
        // CRMs receive the message even if its conversation fails.
        errors.collect(self.create_crm_tasks(received, name.as_deref(), notes).await);
        errors.into_result()
    }

    /// Applies the opt-out that a message asks for, or notes that an operator has to.
    async fn process_opt_out(&self, message: &LineMessage, notes: &mut EventNotes) -> Result<(), SyncError> {
        let Dispatcher { config, ledger, .. } = self.dispatcher;
        let reason = match opt_out::find_request(config, message) {
            None => return Ok(()),
            Some(OptOutRequest::TooOld) => "opt-out older than a week: if it still holds, opt the number out",
            Some(OptOutRequest::Valid) => {
                if opt_out::apply_opt_out(ledger, self.lid_contacts, message).await? {
                    return Ok(());
                }
                "opt-out without a number: find out the number and opt it out"
            }
        };
        notes.add(NoteKind::OptOutNotApplied, reason);
        Ok(())
    }

    /// Adds a message or what it changes to its conversation. Returns the customer's name.
    async fn process_in_conversation(
        &self,
        received: ReceivedMessage<'_>,
        key: &ItemKey,
        author: Option<MessageAuthor>,
        errors: &mut StepErrors,
    ) -> Option<String> {
        let message = received.message;
        let changed = match message.content {
            ContentKind::Written | ContentKind::Edit => self.update_conversation(received, key, author).await,
            ContentKind::Unknown if message.is_of_customer() => self.update_conversation(received, key, author).await,
            ContentKind::Deletion => self.change_conversation(received, key).await,
            ContentKind::Unknown
            | ContentKind::Reaction
            | ContentKind::Action
            | ContentKind::Poll
            | ContentKind::Call
            | ContentKind::Notice
            | ContentKind::Empty => return None,
        };
        let name = errors.collect(changed).flatten();
        // The conversation moves to the number when it is known. It may be known by now.
        if let (None, None, Some(lid)) = (&message.conversation_id, &message.phone, &message.lid) {
            errors.collect(self.lid_contacts.hold_conversation(lid, key).await);
        }
        name
    }

    /// The key of a message's conversation. Without its id, the customer identifies it.
    fn conversation_key(&self, line: &str, message: &LineMessage) -> Option<ItemKey> {
        let ledger = &self.dispatcher.ledger;
        let by_number = message.phone.as_ref().map(|phone| ledger.contact_subject(phone));
        let contact = by_number.or_else(|| message.lid.as_ref().map(|lid| ledger.lid_subject(lid)));
        Conversation::item_key(line, message.conversation_id.as_deref(), contact.as_deref())
    }

    /// Finds the customer's number if the line gives a private id or none, and returns the key of
    /// the conversation. If this fails, the message is processed as far as it can be.
    async fn find_customer(&self, line: &str, message: &mut LineMessage, errors: &mut StepErrors) -> Option<ItemKey> {
        let lid_contacts = self.lid_contacts;
        match (&message.lid, &message.phone) {
            (Some(lid), Some(phone)) => {
                errors.collect(lid_contacts.learn_number(lid, phone, message.sent_at).await);
            }
            (Some(lid), None) => message.phone = errors.collect(lid_contacts.find_number(lid).await).flatten(),
            (None, _) => {}
        }
        let key = self.conversation_key(line, message);
        if let (None, Some(key)) = (&message.phone, &key) {
            message.phone = self.load_phone(key).await;
            if let (Some(lid), Some(phone)) = (&message.lid, &message.phone) {
                errors.collect(lid_contacts.learn_number(lid, phone, message.sent_at).await);
            }
        }
        key
    }

    /// Creates the entries of a message. Without a number a CRM has no person for it: then the
    /// delivery waits until the number of the private id is known.
    async fn create_crm_tasks(
        &self,
        received: ReceivedMessage<'_>,
        name: Option<&str>,
        notes: &mut EventNotes,
    ) -> Result<(), SyncError> {
        let (Dispatcher { config, clock, .. }, message) = (self.dispatcher, received.message);
        let now = clock.now();
        if matches!(message.content, ContentKind::Notice | ContentKind::Empty) {
            return Ok(());
        }
        let Some(phone) = &message.phone else {
            let Some(lid) = &message.lid else {
                notes.add(NoteKind::NumberUnknown, "message without the customer's number: no CRM gets it");
                return Ok(());
            };
            notes.add(
                NoteKind::NumberUnknown,
                "the line names the customer by a private id (lid), and its number is not known yet",
            );
            if config.crms.values().any(|crm| crm.covers_line(received.line())) {
                self.lid_contacts.hold_delivery(lid, &received.delivery.id).await?;
            }
            return Ok(());
        };
        // A task of that age would be forgotten, and the message might be entered a second time.
        if days_after(message.sent_at, retention_days(config)).is_none_or(|kept_until| kept_until <= now) {
            notes.add(NoteKind::OldMessage, "message older than the retention of deliveries: no CRM gets it");
            return Ok(());
        }
        Ok(crm_tasks::create_crm_tasks(config, self.store, received.delivery, message, phone, name, now).await?)
    }

    /// Applies a deletion to its conversation, if there is one. Returns the customer's name.
    async fn change_conversation(
        &self,
        received: ReceivedMessage<'_>,
        key: &ItemKey,
    ) -> Result<Option<String>, SyncError> {
        let config = &self.dispatcher.config;
        let apply_change = |before: Option<&Conversation>| {
            let Some(mut next) = before.cloned() else { return RecordUpdate::keep(None) };
            next.add_message(received.message);
            next.check_at = next.next_check(config);
            RecordUpdate::write_changed(before, next, |conversation| conversation.name)
        };
        Ok(self.store.update_record(key, apply_change).await?)
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
        if escalation_rules::needs_ledger(config, received.line()) && message.is_customer_writing() {
            sent_rows = Some(sent_history::load_known_rows(ledger, message.phone.as_ref(), now).await?);
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
        if let (true, true, Some(phone)) = (is_new, message.is_of_customer(), &message.phone) {
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
        if message.is_customer_writing() {
            next.note_received(received.message_ref());
        }
        match author {
            Some(MessageAuthor::Team) => next.note_team_reply(message.sent_at),
            // An old message is not a reply to what the customer writes now.
            Some(MessageAuthor::Unknown) if !message.is_old() => next.note_possible_reply(now),
            Some(MessageAuthor::Unknown | MessageAuthor::Tellonce) | None => {}
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

/// Notes what a message is if it is not what a customer writes now.
fn note_content(message: &LineMessage, notes: &mut EventNotes) {
    if let Some((kind, reason)) = describe_content(message.content) {
        notes.add(kind, reason);
    }
    if message.is_old() {
        notes.add(NoteKind::OldMessage, "message older than a day: recorded, without an alert or an acknowledgement");
    }
}
