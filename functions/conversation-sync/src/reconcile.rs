//! Joins what a line reports about a message to the ledger row of that message.
//!
//! Flow: a report goes into the message's record. The record is matched with a ledger row, and the
//! row receives the delivery status. A failed delivery alerts the team.

use tellonce_core::{
    client_config::ClientConfig,
    clock::Clock,
    contact::Phone,
    ledger::{
        DeliveryStatus, IdempotencyKey, Ledger, LedgerRow, RowChange, SaveOutcome, TransitionRefused, apply_change,
    },
    telemetry::{self, Measurement, Metric},
};

use crate::{
    alert::AlertSender,
    conversation::{Conversation, sent_history},
    lid_contact::LidContacts,
    line_event::{LineMessage, MessageDirection, StatusReport},
    message_record::{self, LedgerLink, LedgerMatch, MessageAuthor, MessageRecord, ObservedMessage},
    record_store::{ItemKey, RecordStore, RecordUpdate, retention_days},
    sync_error::SyncError,
};

/// How often a record or a row is read again after another writer was faster.
const MAX_ATTEMPTS: u32 = 5;

/// Joins message records to ledger rows.
pub(crate) struct Reconciler<'a> {
    pub(crate) config: &'a ClientConfig,
    pub(crate) ledger: &'a Ledger,
    pub(crate) clock: &'a Clock,
    pub(crate) store: &'a RecordStore,
    pub(crate) alerts: &'a AlertSender<'a>,
    pub(crate) lid_contacts: &'a LidContacts<'a>,
}

impl Reconciler<'_> {
    /// Records an outbound message, and returns who wrote it.
    pub(crate) async fn record_outbound_message(
        &self,
        line: &str,
        message: &LineMessage,
    ) -> Result<MessageAuthor, SyncError> {
        let now = self.clock.now();
        let key = MessageRecord::item_key(line, &message.message_id);
        let add_message = |record: MessageRecord| record.with_message(message, now);
        let mut record = self.update_message_record(&key, line, &message.message_id, add_message).await?;
        if record.needs_check() {
            record = self.reconcile_record(&key, record, false).await?;
        }
        Ok(record.author())
    }

    /// Records a status report, and applies it to the ledger row.
    pub(crate) async fn record_status_report(&self, line: &str, status: &StatusReport) -> Result<(), SyncError> {
        let key = MessageRecord::item_key(line, &status.message_id);
        let add_report = |record: MessageRecord| record.with_status(status);
        let record = self.update_message_record(&key, line, &status.message_id, add_report).await?;
        if record.needs_check() || record.may_be_ours() {
            self.reconcile_record(&key, record, false).await?;
        }
        Ok(())
    }

    /// Checks a record again that is due.
    pub(crate) async fn reconcile_due_record(&self, key: &ItemKey) -> Result<(), SyncError> {
        match self.store.get_record::<MessageRecord>(key).await? {
            Some(record) if record.value.needs_check() => {
                self.reconcile_record(key, record.value, true).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    async fn update_message_record(
        &self,
        key: &ItemKey,
        line: &str,
        message_id: &str,
        change: impl Fn(MessageRecord) -> MessageRecord,
    ) -> Result<MessageRecord, SyncError> {
        let now = self.clock.now();
        let update = |before: Option<&MessageRecord>| {
            let new = || MessageRecord::new(line, message_id, retention_days(self.config), now);
            RecordUpdate::write_changed(before, change(before.cloned().unwrap_or_else(new)), |record| record)
        };
        Ok(self.store.update_record(key, update).await?)
    }

    /// Looks for the ledger row of a record, and applies the reported status to it.
    async fn reconcile_record(
        &self,
        key: &ItemKey,
        mut record: MessageRecord,
        is_scheduled: bool,
    ) -> Result<MessageRecord, SyncError> {
        // Another invocation may add to the record meanwhile.
        for _ in 0..MAX_ATTEMPTS {
            let found = self.find_ledger_row(&record).await?;
            let applied = match &found {
                LedgerMatch::Row { row, .. } => {
                    // Our message to a number, in the chat of a private id.
                    if let (Some(lid), Some(phone)) = (record.lid(), &row.to) {
                        self.lid_contacts.learn_number(&lid, phone, row.created_at).await?;
                    }
                    self.apply_report((**row).clone(), &record).await?
                }
                LedgerMatch::Undecided | LedgerMatch::NoMatch => None,
            };
            let now = self.clock.now();
            // The team's reply is recorded first: a record that is settled is not checked again.
            if record.clone().with_lookup(&found, applied, is_scheduled, now).link == LedgerLink::Foreign {
                // Unless another invocation found the row meanwhile.
                let newest = self.store.get_record::<MessageRecord>(key).await?;
                if newest.is_none_or(|newest| newest.value.ledger_key().is_none()) {
                    self.record_team_reply(&record).await?;
                }
            }
            let add_lookup = |before: Option<&MessageRecord>| {
                let before = before.cloned().unwrap_or_else(|| record.clone());
                let next = before.clone().with_lookup(&found, applied, is_scheduled, now);
                RecordUpdate::write_changed(Some(&before), next, |record| record)
            };
            record = self.store.update_record(key, add_lookup).await?;
            if applied.is_none() || !record.needs_check() {
                break;
            }
        }
        Ok(record)
    }

    async fn find_ledger_row(&self, record: &MessageRecord) -> Result<LedgerMatch, SyncError> {
        if let LedgerLink::Row { subject, stage, weak } = &record.link {
            let row = self.ledger.read_row(&IdempotencyKey::from_parts(subject, stage)).await?;
            return Ok(row.map_or(LedgerMatch::NoMatch, |row| LedgerMatch::Row { row: Box::new(row), weak: *weak }));
        }
        let rows_with_id = self.ledger.find_by_provider_id(&record.message_id).await?;
        let seen = record.observed.as_ref().filter(|_| rows_with_id.is_empty() && record.link == LedgerLink::Unknown);
        let phone = match seen {
            Some(seen) => self.find_customer_number(record, seen).await?,
            None => None,
        };
        let sent_rows = sent_history::load_sent_rows(self.ledger, phone.as_ref(), self.clock.now()).await?;
        Ok(message_record::find_match(record, &rows_with_id, &sent_rows, phone.as_ref()))
    }

    /// The number of the customer of a message. That of a private id may be known by now.
    async fn find_customer_number(
        &self,
        record: &MessageRecord,
        seen: &ObservedMessage,
    ) -> Result<Option<Phone>, SyncError> {
        match (seen.phone(), record.lid()) {
            (None, Some(lid)) => self.lid_contacts.find_number(&lid).await,
            (phone, _) => Ok(phone),
        }
    }

    /// Records in the conversation that the team replied.
    async fn record_team_reply(&self, record: &MessageRecord) -> Result<(), SyncError> {
        let Some(seen) = record.observed.as_ref().filter(|seen| seen.direction == MessageDirection::Out) else {
            return Ok(());
        };
        let by_number = self.find_customer_number(record, seen).await?;
        let by_number = by_number.map(|phone| self.ledger.contact_subject(&phone));
        let contact = by_number.or_else(|| record.lid().map(|lid| self.ledger.lid_subject(&lid)));
        let key = Conversation::item_key(&record.line, seen.conversation_id.as_deref(), contact.as_deref());
        let Some(key) = key else { return Ok(()) };
        let note_reply = |before: Option<&Conversation>| {
            let Some(mut next) = before.cloned() else { return RecordUpdate::keep(()) };
            next.note_team_reply(seen.sent_at);
            next.check_at = next.next_check(self.config);
            RecordUpdate::write_changed(before, next, drop)
        };
        Ok(self.store.update_record(&key, note_reply).await?)
    }

    /// Applies the reported status to a ledger row. Returns the status; none while another function
    /// holds the row's claim.
    async fn apply_report(
        &self,
        mut row: LedgerRow,
        record: &MessageRecord,
    ) -> Result<Option<DeliveryStatus>, SyncError> {
        let seen_at = record.observed.as_ref().map(|seen| seen.sent_at);
        for _ in 0..MAX_ATTEMPTS {
            let now = self.clock.now();
            let at = record.arrived_at.or(record.delivery_status_at).or(seen_at).unwrap_or(now);
            let change = RowChange::StatusReported {
                message_id: record.message_id.clone(),
                delivery_status: record.delivery_status,
                at,
            };
            let next = match apply_change(&row, &change, now) {
                Ok(next) => next,
                Err(TransitionRefused::HeldByAnother | TransitionRefused::NotClaimed | TransitionRefused::NotDue) => {
                    return Ok(None);
                }
                // The message was never sent, or was observed under another id: nothing to apply.
                Err(TransitionRefused::Settled) => {
                    let (state, status) = (row.state.name(), record.delivery_status);
                    tracing::warn!(message.key = %row.key, "ignored status {status} of message {}: it is {state}", row.key);
                    return Ok(Some(status));
                }
            };
            let is_unchanged = next.delivery_status == row.delivery_status
                && next.state == row.state
                && next.message_id == row.message_id;
            if is_unchanged {
                self.alerts.alert_for_failed_message(record, &row).await?;
                return Ok(Some(record.delivery_status));
            }
            match self.ledger.save(&row, &next).await? {
                SaveOutcome::Saved => {
                    self.log_report(&row, &next);
                    self.alerts.alert_for_failed_message(record, &next).await?;
                    return Ok(Some(record.delivery_status));
                }
                SaveOutcome::Overtaken(newer) => row = *newer,
                SaveOutcome::Gone => return Ok(Some(record.delivery_status)),
            }
        }
        Ok(None)
    }

    fn log_report(&self, before: &LedgerRow, after: &LedgerRow) {
        let (client, now) = (&self.config.client, after.updated_at);
        if after.delivery_status.has_failed() && !before.delivery_status.has_failed() {
            telemetry::count_metric(client, Metric::MessagesFailed, now);
        }
        // A message whose outcome was unknown has no known time of acceptance.
        if let (true, false, Some(accepted), Some(arrived)) = (
            after.delivery_status.has_arrived(),
            before.delivery_status.has_arrived(),
            before.accepted_at,
            after.delivery_status_at,
        ) {
            // The phone's clock and ours may differ by some moments.
            let seconds = arrived.duration_since(accepted).as_secs_f64().max(0.0);
            telemetry::record_measurement(client, Measurement::DeliverySeconds, seconds, now);
        }
        tracing::info!(
            message.key = %after.key,
            message.state = after.state.name(),
            message.delivery_status = %after.delivery_status,
            message.contradictory = after.delivery_status.is_contradictory(),
            message.previous_state = before.state.name(),
            line.name = after.line,
            "recorded status {} of message {}", after.delivery_status, after.key
        );
    }
}
