//! Joins what a line reports about a message to the ledger row of that message.
//!
//! Flow: if the ledger has a row with the reported id, the row receives the report, and nothing
//! else is written. Otherwise the report goes into the message's record. The record is matched with
//! a ledger row, and the row receives what the record holds. A failed delivery alerts the team.
//!
//! A report that adds nothing writes nothing. If only a newer version of tellonce can read the
//! message's row, the report waits in the record for that version.

use jiff::Timestamp;
use tellonce_core::{
    client_config::ClientConfig,
    clock::Clock,
    contact::{Lid, Phone},
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
    record_store::{ItemKey, RecordStore, RecordStoreError, RecordUpdate, retention_days},
    sync_error::{SyncError, unless_newer_version},
};

/// How often a record or a row is read again after another writer was faster.
const MAX_ATTEMPTS: u32 = 12;
/// What waits for a newer version of tellonce, for the log.
const APPLY_REPORT: &str = "apply a report yet";

/// Joins message records to ledger rows.
pub(crate) struct Reconciler<'a> {
    pub(crate) config: &'a ClientConfig,
    pub(crate) ledger: &'a Ledger,
    pub(crate) clock: &'a Clock,
    pub(crate) store: &'a RecordStore,
    pub(crate) alerts: &'a AlertSender<'a>,
    pub(crate) lid_contacts: &'a LidContacts<'a>,
}

/// The rows with the provider's id of a reported message.
enum RowsWithId {
    /// One of them received the report.
    Applied,
    /// None of them received it. `None` if only a newer version of tellonce can read one.
    Open(Option<Vec<LedgerRow>>),
}

/// What a line reported about a message, for the message's ledger row.
struct RowReport<'a> {
    line: &'a str,
    message_id: &'a str,
    conversation_id: Option<&'a str>,
    lid: Option<Lid>,
    delivery_status: DeliveryStatus,
    at: Timestamp,
}

impl<'a> RowReport<'a> {
    /// All reports of a record.
    fn of_record(record: &'a MessageRecord, now: Timestamp) -> Self {
        let observed = record.observed.as_ref();
        let seen_at = observed.map(|seen| seen.sent_at);
        Self {
            line: &record.line,
            message_id: &record.message_id,
            conversation_id: observed.and_then(|seen| seen.conversation_id.as_deref()),
            lid: record.lid(),
            delivery_status: record.delivery_status,
            at: record.arrived_at.or(record.delivery_status_at).or(seen_at).unwrap_or(now),
        }
    }
}

impl Reconciler<'_> {
    /// Records an outbound message, and returns who wrote it.
    pub(crate) async fn record_outbound_message(
        &self,
        line: &str,
        message: &LineMessage,
    ) -> Result<MessageAuthor, SyncError> {
        let report = RowReport {
            line,
            message_id: &message.message_id,
            conversation_id: message.conversation_id.as_deref(),
            lid: message.lid.clone(),
            // What the line shows was sent.
            delivery_status: DeliveryStatus::sent(),
            at: message.sent_at,
        };
        let rows_with_id = match self.apply_by_id(&report).await? {
            RowsWithId::Applied => return Ok(MessageAuthor::Tellonce),
            RowsWithId::Open(rows) => rows,
        };
        let now = self.clock.now();
        let add_message = |record: MessageRecord| record.with_message(message, now);
        Ok(self.add_to_record(line, &message.message_id, rows_with_id, add_message).await?.author())
    }

    /// Records a status report, and applies it to the ledger row.
    pub(crate) async fn record_status_report(&self, line: &str, status: &StatusReport) -> Result<(), SyncError> {
        let report = RowReport {
            line,
            message_id: &status.message_id,
            conversation_id: None,
            lid: status.lid.clone(),
            delivery_status: status.delivery_status,
            at: status.reported_at,
        };
        let add_status = |record: MessageRecord| record.with_status(status);
        match self.apply_by_id(&report).await? {
            RowsWithId::Applied => Ok(()),
            RowsWithId::Open(rows) => self.add_to_record(line, &status.message_id, rows, add_status).await.map(drop),
        }
    }

    /// Checks a record again that is due.
    pub(crate) async fn reconcile_due_record(&self, key: &ItemKey) -> Result<(), SyncError> {
        match self.store.get_record::<MessageRecord>(key).await? {
            Some(record) if record.value.needs_check() => {
                let checked = self.reconcile_record(key, record.value.clone(), None, true).await?;
                // If another invocation was faster, the record stays due.
                self.store.put_record(key, checked, Some(&record)).await.map(drop).map_err(SyncError::from)
            }
            _ => Ok(()),
        }
    }

    /// Applies a report to the row that the provider's id names, if that is possible.
    async fn apply_by_id(&self, report: &RowReport<'_>) -> Result<RowsWithId, SyncError> {
        Ok(unless_newer_version(APPLY_REPORT, self.try_apply_by_id(report).await)?.unwrap_or(RowsWithId::Open(None)))
    }

    async fn try_apply_by_id(&self, report: &RowReport<'_>) -> Result<RowsWithId, SyncError> {
        let rows = self.ledger.find_by_provider_id(report.message_id).await?;
        let mut of_line = rows.iter().filter(|row| row.line == report.line);
        let is_applied = match (of_line.next(), of_line.next()) {
            // The id became known only after a repeated submit. Reports that arrived before are in
            // the message's record, which adds this one.
            (Some(row), None) if row.attempts > 0 && row.message_id.is_none() => false,
            (Some(row), None) => self.apply_report(row.clone(), report).await?.is_some(),
            _ => false,
        };
        Ok(if is_applied { RowsWithId::Applied } else { RowsWithId::Open(Some(rows)) })
    }

    /// Adds a report to the record of its message, looks for the message's row, and writes the
    /// record if anything is new. `rows_with_id` are the rows with its id, if they were read just
    /// now. Each query of the index is paid.
    async fn add_to_record(
        &self,
        line: &str,
        message_id: &str,
        mut rows_with_id: Option<Vec<LedgerRow>>,
        change: impl Fn(MessageRecord) -> MessageRecord,
    ) -> Result<MessageRecord, SyncError> {
        let key = MessageRecord::item_key(line, message_id);
        // Another invocation may add to the record meanwhile.
        for _ in 0..MAX_ATTEMPTS {
            let before = self.store.get_record::<MessageRecord>(&key).await?;
            let new = || MessageRecord::new(line, message_id, retention_days(self.config), self.clock.now());
            let known = before.as_ref().map(|before| before.value.clone());
            let mut record = change(known.clone().unwrap_or_else(new));
            if record.needs_check() || record.may_be_ours() {
                record = self.reconcile_record(&key, record, rows_with_id.take(), false).await?;
            }
            if known.as_ref() == Some(&record) {
                return Ok(record);
            }
            if let Some(written) = self.store.put_record(&key, record, before.as_ref()).await? {
                return Ok(written.value);
            }
        }
        Err(RecordStoreError::TooManyConflicts(key).into())
    }

    /// Looks for the ledger row of a record, and applies the reports to it. Returns the record with
    /// the result.
    async fn reconcile_record(
        &self,
        key: &ItemKey,
        record: MessageRecord,
        rows_with_id: Option<Vec<LedgerRow>>,
        is_scheduled: bool,
    ) -> Result<MessageRecord, SyncError> {
        let found = unless_newer_version(APPLY_REPORT, self.find_ledger_row(&record, rows_with_id).await)?;
        let found = found.unwrap_or(LedgerMatch::Undecided);
        let now = self.clock.now();
        let applied = match &found {
            LedgerMatch::Row { row, .. } => {
                let report = RowReport::of_record(&record, now);
                unless_newer_version(APPLY_REPORT, self.apply_report((**row).clone(), &report).await)?.flatten()
            }
            LedgerMatch::Undecided | LedgerMatch::NoMatch => None,
        };
        let next = record.clone().with_lookup(&found, applied, is_scheduled, now);
        // The team's reply is recorded first: a record that is settled is not checked again.
        if next.link == LedgerLink::Foreign && record.link != LedgerLink::Foreign {
            // Unless another invocation found the row meanwhile.
            let newest = self.store.get_record::<MessageRecord>(key).await?;
            if newest.is_none_or(|newest| newest.value.ledger_key().is_none()) {
                self.record_team_reply(&record).await?;
            }
        }
        Ok(next)
    }

    async fn find_ledger_row(
        &self,
        record: &MessageRecord,
        rows_with_id: Option<Vec<LedgerRow>>,
    ) -> Result<LedgerMatch, SyncError> {
        if let LedgerLink::Row { subject, stage, weak } = &record.link {
            let row = self.ledger.read_row(&IdempotencyKey::from_parts(subject, stage)).await?;
            return Ok(row.map_or(LedgerMatch::NoMatch, |row| LedgerMatch::Row { row: Box::new(row), weak: *weak }));
        }
        let rows_with_id = match rows_with_id {
            Some(rows) => rows,
            None => self.ledger.find_by_provider_id(&record.message_id).await?,
        };
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

    /// Applies a report to a ledger row. Returns the status; none while another function holds the
    /// row's claim.
    async fn apply_report(
        &self,
        mut row: LedgerRow,
        report: &RowReport<'_>,
    ) -> Result<Option<DeliveryStatus>, SyncError> {
        // Our message to a number, in the chat of a private id.
        if let (Some(lid), Some(phone)) = (&report.lid, &row.to) {
            self.lid_contacts.learn_number(lid, phone, row.created_at).await?;
        }
        let change = RowChange::StatusReported {
            message_id: report.message_id.to_owned(),
            conversation_id: report.conversation_id.map(str::to_owned),
            delivery_status: report.delivery_status,
            at: report.at,
        };
        for _ in 0..MAX_ATTEMPTS {
            let next = match apply_change(&row, &change, self.clock.now()) {
                Ok(next) => next,
                Err(TransitionRefused::HeldByAnother | TransitionRefused::NotClaimed | TransitionRefused::NotDue) => {
                    return Ok(None);
                }
                // The message was never sent, or was observed under another id: nothing to apply.
                Err(TransitionRefused::Settled) => {
                    let (state, status) = (row.state.name(), report.delivery_status);
                    tracing::warn!(message.key = %row.key, "ignored status {status} of message {}: it is {state}", row.key);
                    return Ok(Some(status));
                }
            };
            let is_unchanged = next.delivery_status == row.delivery_status
                && next.state == row.state
                && next.message_id == row.message_id
                && next.conversation_id == row.conversation_id;
            if is_unchanged {
                self.alerts.alert_for_failed_message(report.message_id, &row).await?;
                return Ok(Some(report.delivery_status));
            }
            match self.ledger.save(&row, &next).await? {
                SaveOutcome::Saved => {
                    self.log_report(&row, &next);
                    self.alerts.alert_for_failed_message(report.message_id, &next).await?;
                    return Ok(Some(report.delivery_status));
                }
                SaveOutcome::Overtaken(newer) => row = *newer,
                SaveOutcome::Gone => return Ok(Some(report.delivery_status)),
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
