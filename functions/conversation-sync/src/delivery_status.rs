//! Following a message to the phone: reports are joined to the ledger's message that they are of, and one that failed calls
//! the team.

use jiff::Timestamp;
use tellonce_core::{
    contact::Phone,
    ledger::{DeliveryStatus, IdempotencyKey, LedgerRow, RowChange, SaveOutcome, TransitionRefused, apply_change},
    telemetry::{self, Measurement, Metric},
};

use crate::{
    ConversationSync,
    conversation::{Conversation, MessageRef},
    crm::MessageDirection,
    delivery_flow::{Alert, SyncError, WorkContext},
    escalation_rules,
    line_event::{LineMessage, StatusReport},
    message_record::{self, LedgerLink, LedgerMatch, MessageRecord},
    record_store::ItemKey,
};

/// How often a record or a row is written again that others overtook.
const MAX_WRITE_ATTEMPTS: u32 = 5;

/// Whose an outbound message is.
pub(crate) enum Author {
    /// Ours: the ledger has it.
    Tellonce,
    /// The team's.
    Team,
    /// Not known yet.
    Unknown,
}

impl ConversationSync {
    /// Takes an outbound message into its record, and says whose it is.
    pub(crate) async fn record_outbound_message(
        &self,
        work: &WorkContext<'_>,
        line: &str,
        message: &LineMessage,
    ) -> Result<Author, SyncError> {
        let (item_key, now) = (MessageRecord::item_key(line, &message.message_id), self.dispatcher.clock.now());
        let add_message = |before: Option<&MessageRecord>| {
            let next = before
                .cloned()
                .unwrap_or_else(|| MessageRecord::new(line, &message.message_id, self.retention_days(), now));
            let next = next.with_message(message, now);
            ((before != Some(&next)).then(|| next.clone()), next)
        };
        let mut record = self.queue_worker.store.update_record(&item_key, add_message).await?;
        if record.needs_check() {
            record = self.reconcile_record(work, &item_key, record, false).await?;
        }
        Ok(match record.link {
            LedgerLink::Row { .. } => Author::Tellonce,
            LedgerLink::Foreign => Author::Team,
            LedgerLink::Unknown => Author::Unknown,
        })
    }

    /// Takes a report into its message's record, and to the ledger's message.
    pub(crate) async fn record_status_report(
        &self,
        work: &WorkContext<'_>,
        line: &str,
        status: &StatusReport,
    ) -> Result<(), SyncError> {
        let (item_key, now) = (MessageRecord::item_key(line, &status.message_id), self.dispatcher.clock.now());
        let add_report = |before: Option<&MessageRecord>| {
            let next = before
                .cloned()
                .unwrap_or_else(|| MessageRecord::new(line, &status.message_id, self.retention_days(), now));
            let next = next.with_status(status);
            ((before != Some(&next)).then(|| next.clone()), next)
        };
        let record = self.queue_worker.store.update_record(&item_key, add_report).await?;
        if record.needs_check() || record.may_be_ours() {
            self.reconcile_record(work, &item_key, record, false).await?;
        }
        Ok(())
    }

    /// Looks once more at a record whose time has come.
    pub(crate) async fn reconcile_due_record(
        &self,
        work: &WorkContext<'_>,
        item_key: &ItemKey,
    ) -> Result<(), SyncError> {
        match self.queue_worker.store.get_record::<MessageRecord>(item_key).await? {
            Some(record) if record.value.needs_check() => {
                self.reconcile_record(work, item_key, record.value, true).await.map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Looks through the ledger for the message that a record is of, and tells it what is known.
    async fn reconcile_record(
        &self,
        work: &WorkContext<'_>,
        item_key: &ItemKey,
        mut record: MessageRecord,
        is_scheduled: bool,
    ) -> Result<MessageRecord, SyncError> {
        // Somebody else may add to the record meanwhile.
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let found = self.find_ledger_row(&record).await?;
            let applied = match &found {
                LedgerMatch::Row { row, .. } => self.apply_report(work, (**row).clone(), &record).await?,
                LedgerMatch::Undecided | LedgerMatch::NoMatch => None,
            };
            let now = self.dispatcher.clock.now();
            // That the team answered is written down first: the record is not looked at again.
            if record.clone().with_lookup(&found, applied, is_scheduled, now).link == LedgerLink::Foreign {
                // Unless somebody else found it meanwhile.
                let newest = self.queue_worker.store.get_record::<MessageRecord>(item_key).await?;
                if newest.is_none_or(|newest| newest.value.ledger_key().is_none()) {
                    self.record_team_reply(&record).await?;
                }
            }
            let add_lookup = |before: Option<&MessageRecord>| {
                let before = before.cloned().unwrap_or_else(|| record.clone());
                let next = before.clone().with_lookup(&found, applied, is_scheduled, now);
                ((before != next).then(|| next.clone()), next)
            };
            record = self.queue_worker.store.update_record(item_key, add_lookup).await?;
            if applied.is_none() || !record.needs_check() {
                break;
            }
        }
        Ok(record)
    }

    async fn find_ledger_row(&self, record: &MessageRecord) -> Result<LedgerMatch, SyncError> {
        let ledger = &self.dispatcher.ledger;
        if let LedgerLink::Row { subject, stage, weak } = &record.link {
            let row = ledger.read_row(&IdempotencyKey::from_parts(subject, stage)).await?;
            return Ok(row.map_or(LedgerMatch::NoMatch, |row| LedgerMatch::Row { row: Box::new(row), weak: *weak }));
        }
        let rows_with_id = ledger.find_by_provider_id(&record.message_id).await?;
        let seen = record.observed.as_ref().filter(|_| rows_with_id.is_empty() && record.link == LedgerLink::Unknown);
        let phone = seen.and_then(|seen| Phone::from_e164(seen.phone.as_deref()?).ok());
        let sent_rows = self.load_sent_rows(phone.as_ref(), self.dispatcher.clock.now()).await?;
        Ok(message_record::find_match(record, &rows_with_id, &sent_rows))
    }

    /// Tells the conversation that the team answered.
    async fn record_team_reply(&self, record: &MessageRecord) -> Result<(), SyncError> {
        let Some(seen) = record.observed.as_ref().filter(|seen| seen.direction == MessageDirection::Out) else {
            return Ok(());
        };
        let phone = seen.phone.as_deref().and_then(|phone| Phone::from_e164(phone).ok());
        let contact = phone.map(|phone| self.dispatcher.ledger.contact_subject(&phone));
        let item_key = Conversation::item_key(&record.line, seen.conversation_id.as_deref(), contact.as_deref());
        let Some(item_key) = item_key else { return Ok(()) };
        let note_reply = |before: Option<&Conversation>| {
            let next = before.cloned().map(|mut next| {
                next.note_team_reply(seen.sent_at);
                next.check_at = next.next_check(&self.dispatcher.config);
                next
            });
            (next.filter(|next| before != Some(next)), ())
        };
        Ok(self.queue_worker.store.update_record(&item_key, note_reply).await?)
    }

    /// Tells a message of the ledger what was reported of it. Gives that, or nothing if the message is in somebody's hands.
    async fn apply_report(
        &self,
        work: &WorkContext<'_>,
        mut row: LedgerRow,
        record: &MessageRecord,
    ) -> Result<Option<DeliveryStatus>, SyncError> {
        let seen_at = record.observed.as_ref().map(|seen| seen.sent_at);
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let now = self.dispatcher.clock.now();
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
                // It was never sent, or was seen under another id: nothing more to tell it.
                Err(TransitionRefused::Settled) => {
                    let (state, reported_status) = (row.state.name(), record.delivery_status);
                    tracing::warn!(message.key = %row.key, "a report ({reported_status}) does not fit a message that is {state}");
                    return Ok(Some(record.delivery_status));
                }
            };
            if next.delivery_status == row.delivery_status
                && next.state == row.state
                && next.message_id == row.message_id
            {
                self.alert_if_failed(work, record, &row).await?;
                return Ok(Some(record.delivery_status));
            }
            match self.dispatcher.ledger.save(&row, &next).await? {
                SaveOutcome::Saved => {
                    self.log_report(&row, &next);
                    self.alert_if_failed(work, record, &next).await?;
                    return Ok(Some(record.delivery_status));
                }
                SaveOutcome::Overtaken(newer) => row = *newer,
                SaveOutcome::Gone => return Ok(Some(record.delivery_status)),
            }
        }
        Ok(None)
    }

    /// One log line, and what can be measured of it.
    fn log_report(&self, before: &LedgerRow, after: &LedgerRow) {
        let (client, now) = (&self.dispatcher.config.client, after.updated_at);
        if after.delivery_status.has_failed() && !before.delivery_status.has_failed() {
            telemetry::count_metric(client, Metric::MessagesFailed, now);
        }
        // Of one whose outcome was unknown nobody knows when it was accepted.
        if let (true, false, Some(accepted), Some(arrived)) = (
            after.delivery_status.has_arrived(),
            before.delivery_status.has_arrived(),
            before.accepted_at,
            after.delivery_status_at,
        ) {
            // The phone's clock and ours may be some moments apart.
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
            "message was reported"
        );
    }

    /// Calls the team for a message that could not be delivered. Done again, it makes the same notices.
    async fn alert_if_failed(
        &self,
        work: &WorkContext<'_>,
        record: &MessageRecord,
        row: &LedgerRow,
    ) -> Result<(), SyncError> {
        let config = &self.dispatcher.config;
        let escalations = escalation_rules::find_failure_escalations(config, &row.line);
        if !row.delivery_status.has_failed() || escalations.is_empty() {
            return Ok(());
        }
        let now = self.dispatcher.clock.now();
        let contact = row.to.as_ref().map(|phone| self.dispatcher.ledger.contact_subject(phone));
        let id = record.observed.as_ref().and_then(|seen| seen.conversation_id.as_deref());
        let Some(item_key) = Conversation::item_key(&row.line, id, contact.as_deref()) else { return Ok(()) };
        let at: Timestamp = row.delivery_status_at.unwrap_or(now);
        let raise_alerts = |before: Option<&Conversation>| {
            let phone = row.to.as_ref().map(Phone::expose);
            let new = || Conversation::new(&row.line, id, phone, self.retention_days(), now);
            let mut next = before.cloned().unwrap_or_else(new);
            next.name = next.name.take().or_else(|| row.context.name.clone());
            let mut alerts = Vec::new();
            for escalation in &escalations {
                let cooldown = config.escalations[*escalation].cooldown;
                if let Some(trigger) = next.raise_alert(escalation, cooldown, MessageRef::new(&record.message_id, at)) {
                    let reason = format!("was not reached: `{}` could not be delivered", row.key);
                    alerts.push(Alert { escalation: (*escalation).to_owned(), reason, trigger, since: at });
                }
            }
            ((before != Some(&next)).then(|| next.clone()), (next, alerts))
        };
        let (conversation, alerts) = self.queue_worker.store.update_record(&item_key, raise_alerts).await?;
        let sent_rows = self.try_load_sent_rows(row.to.as_ref()).await;
        // Under the message and not the conversation, which may turn out to be another one.
        let subject = message_record::message_subject(&row.line, &record.message_id);
        self.alert_team(work, &subject, &conversation, &alerts, &sent_rows).await
    }
}
