//! The flow of one delivery: what the line reports goes into records and conversations, and becomes tasks.
//!
//! Everything here is written so that it may be done again: a delivery that failed half-way is taken through once more, and
//! finds what it wrote before under the same names.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use tellonce_core::{
    appointment::Appointment,
    client_config::EscalationTrigger,
    clock::Deadline,
    contact::Phone,
    dispatch::{DispatchError, Invocation},
    fault::{ClassifyFault, Fault, error_chain},
    hash::sha256_hex,
    inbox::InboxItem,
    ledger::{IdempotencyKey, LedgerError, LedgerRow},
    telemetry::{self, Metric},
};

use crate::{
    ConversationSync,
    acknowledgement::PendingAcknowledgement,
    conversation::{self, Conversation, MessageRef},
    crm::{CrmEntry, MessageDirection},
    delivery_status::Author,
    escalation_rules::{self, RuleContext},
    line_event::{self, LineMessage},
    message_record,
    notification::{Notification, SentMessage},
    queue_worker::{RunBudget, crm_queue_name, target_queue_name},
    record_store::{ItemKey, RecordStoreError},
    task::{QueueTask, TaskContent},
};

/// How far back what a customer was told is of interest.
const SENT_HISTORY_PERIOD: SignedDuration = SignedDuration::from_hours(24 * 90);
/// How much of it is read.
const SENT_HISTORY_LIMIT: i32 = 10;
/// How many appointments of a customer are looked at.
const MAX_APPOINTMENTS: usize = 3;
/// How many records and conversations are looked up at once.
const ROWS_PER_QUERY: i32 = 200;
/// How many of them are looked at side by side.
const CONCURRENT_CHECKS: usize = 8;

/// A delivery could not be processed now.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The table failed.
    #[error(transparent)]
    Store(#[from] RecordStoreError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// An answer could not be told.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
}

impl ClassifyFault for SyncError {
    fn fault(&self) -> Fault {
        match self {
            Self::Store(error) => error.fault(),
            Self::Ledger(error) => error.fault(),
            Self::Dispatch(error) => error.fault(),
        }
    }
}

/// Tasks that were made just now, by their queues: the index may not show them yet.
#[derive(Debug, Default)]
pub struct NewTasks(Mutex<Vec<(String, ItemKey)>>);

impl NewTasks {
    fn add_task(&self, queue: &str, item_key: ItemKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((queue.to_owned(), item_key));
    }

    /// Those of one queue.
    pub fn list_for_queue(&self, queue: &str) -> Vec<ItemKey> {
        let created = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        created.iter().filter(|(of, _)| of == queue).map(|(_, place)| place.clone()).collect()
    }
}

/// What an invocation works with.
pub struct WorkContext<'a> {
    /// Tasks that it made.
    pub new_tasks: &'a NewTasks,
    /// Its right to send.
    pub invocation: &'a Invocation,
}

/// Of two outcomes the one that counts: an error that may pass, since whatever met it must come again.
fn pick_worse_result(one: Result<(), SyncError>, other: Result<(), SyncError>) -> Result<(), SyncError> {
    match (&one, &other) {
        (Err(first), _) if first.fault() != Fault::Permanent => one,
        (_, Err(_)) => other,
        (_, Ok(())) => one,
    }
}

/// What a message did to its conversation.
struct ConversationUpdate {
    conversation: Conversation,
    alerts: Vec<Alert>,
    acknowledgement: Option<PendingAcknowledgement>,
    is_new: bool,
}

/// Something that calls the team.
pub(crate) struct Alert {
    /// The escalation.
    pub(crate) escalation: String,
    /// Why, in words that go on from "a customer".
    pub(crate) reason: String,
    /// The message that it is for, and when the call was due.
    pub(crate) trigger: MessageRef,
    /// When what it is about began.
    pub(crate) since: Timestamp,
}

impl ConversationSync {
    /// Takes one delivery through, and gives what to record beside it.
    pub(crate) async fn process_delivery(
        &self,
        work: &WorkContext<'_>,
        entry: &InboxItem,
    ) -> Result<Option<String>, SyncError> {
        let now = self.dispatcher.clock.now();
        let quarantine = |reason: String| {
            telemetry::count_metric(&self.dispatcher.config.client, Metric::DeliveriesQuarantined, now);
            Some(format!("quarantined: {reason}"))
        };
        if !self.dispatcher.config.lines.contains_key(&entry.sender) {
            return Ok(quarantine("the configuration has no line of this name any more".to_owned()));
        }
        let parsed = match line_event::parse_line_event(entry.topic.as_deref(), &entry.body, entry.received_at) {
            Ok(parsed) => parsed,
            Err(misread) => return Ok(quarantine(misread.to_string())),
        };
        let is_sole_message = parsed.messages.len() == 1;
        // One that cannot be taken through must not keep the others from it.
        let mut worst = Ok(());
        for message in &parsed.messages {
            worst = pick_worse_result(worst, self.process_message(work, entry, message, is_sole_message).await);
        }
        for status in &parsed.status_reports {
            worst = pick_worse_result(worst, self.record_status_report(work, &entry.sender, status).await);
        }
        worst?;
        if parsed.skip_reasons.is_empty() {
            return Ok(None);
        }
        let skipped = format!("left out: {}", parsed.skip_reasons.join("; "));
        Ok(if parsed.has_unreadable_items { quarantine(skipped) } else { Some(skipped) })
    }

    async fn process_message(
        &self,
        work: &WorkContext<'_>,
        entry: &InboxItem,
        message: &LineMessage,
        is_sole_message: bool,
    ) -> Result<(), SyncError> {
        let line = entry.sender.as_str();
        let contact = message.phone.as_ref().map(|phone| self.dispatcher.ledger.contact_subject(phone));
        let item_key = Conversation::item_key(line, message.conversation_id.as_deref(), contact.as_deref());
        let mut message = message.clone();
        if let (None, Some(item_key)) = (&message.phone, &item_key) {
            message.phone = self.load_phone(item_key).await;
        }
        // A wish comes before everything that may fail.
        self.apply_opt_out(&message).await?;
        let (author, followed) = match message.direction {
            MessageDirection::In => (None, Ok(())),
            MessageDirection::Out => match self.record_outbound_message(work, line, &message).await {
                Ok(author) => (Some(author), Ok(())),
                Err(error) => (Some(Author::Unknown), Err(error)),
            },
        };
        let (name, updated) = match &item_key {
            Some(item_key) => {
                match self.update_conversation(work, entry, &message, is_sole_message, item_key, author).await {
                    Ok(name) => (name, Ok(())),
                    Err(error) => (None, Err(error)),
                }
            }
            None => (None, Ok(())),
        };
        // Whatever is wrong with the conversation, CRMs hear of its message.
        let entered = match &message.phone {
            Some(phone) => self.create_crm_tasks(work, line, &message, phone, name).await,
            // Without a number there is nobody in a CRM that it could stand beside.
            None => Ok(()),
        };
        pick_worse_result(followed, pick_worse_result(updated, entered))
    }

    /// Takes a message into its conversation, with all that this sets off. Gives the customer's name.
    async fn update_conversation(
        &self,
        work: &WorkContext<'_>,
        entry: &InboxItem,
        message: &LineMessage,
        is_sole_message: bool,
        item_key: &ItemKey,
        author: Option<Author>,
    ) -> Result<Option<String>, SyncError> {
        let (config, line, now) = (&self.dispatcher.config, entry.sender.as_str(), self.dispatcher.clock.now());
        let mut sent_rows = None;
        if escalation_rules::needs_ledger(config, line) && message.direction == MessageDirection::In {
            sent_rows = Some(self.load_sent_rows(message.phone.as_ref(), now).await?);
        }
        let appointments = self.load_appointments(line, sent_rows.as_deref().unwrap_or_default()).await?;
        let context = RuleContext { sent_rows: sent_rows.as_deref().unwrap_or_default(), appointments: &appointments };
        let add_message = |before: Option<&Conversation>| {
            let mut next = before.cloned().unwrap_or_else(|| self.build_conversation(line, message, now));
            next.add_message(message);
            match author {
                Some(Author::Team) => next.note_team_reply(message.sent_at),
                Some(Author::Unknown) => next.note_possible_reply(now),
                Some(Author::Tellonce) | None => {}
            }
            next.check_at = next.next_check(config);
            let alerts = self.raise_alerts(&mut next, entry, message, is_sole_message, &context, now);
            let acknowledgement = self.plan_acknowledgement(&mut next, entry, message, is_sole_message, &alerts);
            let changed = before != Some(&next);
            (
                changed.then(|| next.clone()),
                ConversationUpdate { conversation: next, alerts, acknowledgement, is_new: before.is_none() },
            )
        };
        let ConversationUpdate { mut conversation, alerts, acknowledgement, is_new } =
            self.queue_worker.store.update_record(item_key, add_message).await?;
        if sent_rows.is_none() && (is_new || !alerts.is_empty()) {
            sent_rows = Some(self.try_load_sent_rows(message.phone.as_ref()).await);
        }
        let sent_rows = sent_rows.unwrap_or_default();
        if conversation.name.is_none()
            && let Some(known_name) = sent_rows.iter().find_map(|row| row.context.name.clone())
        {
            conversation.name = Some(known_name.clone());
            let set_name = |before: Option<&Conversation>| {
                (before.map(|before| Conversation { name: Some(known_name.clone()), ..before.clone() }), ())
            };
            self.queue_worker.store.update_record(item_key, set_name).await?;
        }
        self.alert_team(work, &item_key.subject, &conversation, &alerts, &sent_rows).await?;
        if let Some(acknowledgement) = acknowledgement {
            self.send_acknowledgement(work, entry, message, &conversation, acknowledgement).await?;
        }
        Ok(conversation.name)
    }

    /// The number that a conversation's earlier messages were from.
    async fn load_phone(&self, item_key: &ItemKey) -> Option<Phone> {
        match self.queue_worker.store.get_record::<Conversation>(item_key).await {
            Ok(known) => Phone::from_e164(known?.value.phone.as_deref()?).ok(),
            // What is wrong with the row shows again where it matters.
            Err(_) => None,
        }
    }

    /// The calls that a message sets off.
    fn raise_alerts(
        &self,
        conversation: &mut Conversation,
        entry: &InboxItem,
        message: &LineMessage,
        is_sole_message: bool,
        context: &RuleContext<'_>,
        now: Timestamp,
    ) -> Vec<Alert> {
        let config = &self.dispatcher.config;
        let mut alerts = Vec::new();
        for (escalation, reason) in
            escalation_rules::find_triggered_escalations(config, conversation, message, context, now)
        {
            let trigger = MessageRef::from_delivery(message, entry.delivery_id(), is_sole_message);
            if let Some(trigger) =
                conversation.raise_alert(escalation, config.escalations[escalation].cooldown, trigger)
            {
                alerts.push(Alert { escalation: escalation.to_owned(), reason, since: trigger.at, trigger });
            }
        }
        alerts
    }

    fn build_conversation(&self, line: &str, message: &LineMessage, now: Timestamp) -> Conversation {
        let phone = message.phone.as_ref().map(Phone::expose);
        Conversation::new(line, message.conversation_id.as_deref(), phone, self.retention_days(), now)
    }

    /// How long conversations, records and tasks are remembered: as long as the deliveries that they are made of.
    pub(crate) fn retention_days(&self) -> u16 {
        self.dispatcher.config.retention.inbox_days.max(30)
    }

    /// What somebody was told, as far as it can be read: a notice without it is better than none.
    pub(crate) async fn try_load_sent_rows(&self, phone: Option<&Phone>) -> Vec<LedgerRow> {
        match self.load_sent_rows(phone, self.dispatcher.clock.now()).await {
            Ok(sent_rows) => sent_rows,
            Err(error) => {
                tracing::error!("what a customer was told cannot be read: {}", error_chain(&error));
                Vec::new()
            }
        }
    }

    pub(crate) async fn load_sent_rows(
        &self,
        phone: Option<&Phone>,
        now: Timestamp,
    ) -> Result<Vec<LedgerRow>, LedgerError> {
        match phone {
            Some(phone) => {
                self.dispatcher.ledger.find_sent_to(phone, now - SENT_HISTORY_PERIOD, SENT_HISTORY_LIMIT).await
            }
            None => Ok(Vec::new()),
        }
    }

    /// The appointments that somebody was told of, where an escalation asks for them.
    async fn load_appointments(&self, line: &str, sent_rows: &[LedgerRow]) -> Result<Vec<Appointment>, LedgerError> {
        let config = &self.dispatcher.config;
        let needs_appointments = |escalation: &tellonce_core::client_config::EscalationRule| {
            matches!(escalation.when, EscalationTrigger::Appointment(_)) && escalation.covers_line(line)
        };
        if !config.escalations.values().any(needs_appointments) {
            return Ok(Vec::new());
        }
        let mut subjects: Vec<&str> = sent_rows.iter().map(|row| row.key.subject()).collect();
        subjects.retain(|subject| subject.starts_with("appointment:"));
        subjects.dedup();
        let mut appointments = Vec::new();
        for subject in subjects.into_iter().take(MAX_APPOINTMENTS) {
            appointments.extend(self.dispatcher.ledger.read_appointment(subject).await?);
        }
        Ok(appointments)
    }

    /// Makes the entry of a message for each CRM that is told of its line.
    async fn create_crm_tasks(
        &self,
        work: &WorkContext<'_>,
        line: &str,
        message: &LineMessage,
        phone: &Phone,
        name: Option<String>,
    ) -> Result<(), SyncError> {
        let now = self.dispatcher.clock.now();
        for (crm, rule) in self.dispatcher.config.crms.iter().filter(|(_, crm)| crm.covers_line(line)) {
            let item = CrmEntry {
                reference: format!("{line}:{}", IdempotencyKey::escape_id(&message.message_id)),
                line: line.to_owned(),
                conversation_id: message.conversation_id.clone(),
                phone: phone.clone(),
                name: name.clone(),
                direction: message.direction,
                kind: message.kind.clone(),
                sent_at: message.sent_at,
                text: message.text.as_deref().and_then(|text| rule.text.apply_to(text)),
            };
            let item_key =
                ItemKey::new(message_record::message_subject(line, &message.message_id), format!("crm-{crm}"));
            let task =
                QueueTask::new(crm_queue_name(crm), TaskContent::Entry(Box::new(item)), self.retention_days(), now);
            self.create_task(work, item_key, task).await?;
        }
        Ok(())
    }

    /// Makes a task, if it was not made before.
    async fn create_task(
        &self,
        work: &WorkContext<'_>,
        item_key: ItemKey,
        task: QueueTask,
    ) -> Result<(), RecordStoreError> {
        let queue = task.queue.clone();
        if self.queue_worker.store.put_record(&item_key, task, None).await?.is_some() {
            work.new_tasks.add_task(&queue, item_key);
        }
        Ok(())
    }

    /// Makes the notices of calls, one for each target, under a subject that is the same each time.
    pub(crate) async fn alert_team(
        &self,
        work: &WorkContext<'_>,
        subject: &str,
        conversation: &Conversation,
        alerts: &[Alert],
        sent_rows: &[LedgerRow],
    ) -> Result<(), SyncError> {
        let (config, now) = (&self.dispatcher.config, self.dispatcher.clock.now());
        for alert in alerts {
            let Some(escalation) = config.escalations.get(&alert.escalation) else { continue };
            for target in &escalation.to {
                let Some(rule) = config.targets.get(target) else { continue };
                // Names hold no dot.
                let message = sha256_hex(alert.trigger.message_id.as_bytes(), 8);
                let item_key = ItemKey::new(subject, format!("notice.{}.{target}.{message}", alert.escalation));
                let notification = Notification {
                    id: format!("notice_{}", sha256_hex(item_key.to_string().as_bytes(), 16)),
                    escalation: alert.escalation.clone(),
                    reason: alert.reason.clone(),
                    business: config.name.clone(),
                    time_zone: config.time_zone.clone(),
                    line: conversation.line.clone(),
                    conversation_id: conversation.id.clone(),
                    phone: conversation.phone.as_deref().and_then(|phone| Phone::from_e164(phone).ok()),
                    name: conversation.name.clone(),
                    since: alert.since,
                    messages: conversation.quote_messages(rule.text),
                    sent_messages: sent_rows.iter().map(to_sent_message).collect(),
                    may_be_repeat: false,
                };
                let task = QueueTask::new(
                    target_queue_name(target),
                    TaskContent::Notification(Box::new(notification)),
                    self.retention_days(),
                    now,
                );
                self.create_task(work, item_key, task).await?;
            }
        }
        Ok(())
    }

    /// What a tick of the clock does beside the queues: records and conversations whose time has come. What is wrong with one
    /// of them holds up no other.
    pub(crate) async fn run_due_checks(&self, work: &WorkContext<'_>, until: Deadline) -> Result<(), RecordStoreError> {
        // Whoever waits first: that is what the team is called for.
        let waiting = self.process_due_rows(conversation::CONVERSATION_QUEUE, until, async |item_key| {
            self.alert_for_waiting_customer(work, item_key).await
        });
        let waited = waiting.await;
        let records = self.process_due_rows(message_record::RECORD_QUEUE, until, async |item_key| {
            self.reconcile_due_record(work, item_key).await
        });
        records.await.and(waited)
    }

    /// Takes whatever is due in a queue through, some side by side, until nothing is or the time is up.
    async fn process_due_rows(
        &self,
        queue: &str,
        until: Deadline,
        process: impl AsyncFn(&ItemKey) -> Result<(), SyncError>,
    ) -> Result<(), RecordStoreError> {
        let (store, take) = (&self.queue_worker.store, &process);
        let mut seen = BTreeSet::new();
        while !until.remaining().is_zero() {
            let due = store.list_due(queue, self.dispatcher.clock.now(), ROWS_PER_QUERY).await?;
            // What failed, or what the index still shows, is the next minute's.
            let new: Vec<ItemKey> = due.into_iter().filter(|item_key| seen.insert(item_key.clone())).collect();
            if new.is_empty() {
                break;
            }
            let each = futures::stream::iter(new).for_each_concurrent(CONCURRENT_CHECKS, |item_key| async move {
                if let Err(error) = take(&item_key).await {
                    tracing::error!(row.key = %item_key, "{}", error_chain(&error));
                }
            });
            each.await;
        }
        Ok(())
    }

    async fn alert_for_waiting_customer(&self, work: &WorkContext<'_>, item_key: &ItemKey) -> Result<(), SyncError> {
        let (store, config, now) = (&self.queue_worker.store, &self.dispatcher.config, self.dispatcher.clock.now());
        let take_overdue = |before: Option<&Conversation>| {
            let Some(mut next) = before.cloned() else { return (None, None) };
            let due = next.raise_overdue_alerts(config, now);
            ((before != Some(&next)).then(|| next.clone()), Some((next, due)))
        };
        let Some((conversation, due)) = store.update_record(item_key, take_overdue).await? else { return Ok(()) };
        if due.is_empty() {
            return Ok(());
        }
        let since = conversation.waiting_since.as_ref().map_or(now, |waiting| waiting.at);
        let minutes = now.duration_since(since).as_mins().max(1);
        let unit = if minutes == 1 { "minute" } else { "minutes" };
        let reason = format!("has waited for an answer for {minutes} {unit}");
        let alerts: Vec<Alert> = due
            .into_iter()
            .map(|(escalation, trigger)| Alert { escalation, reason: reason.clone(), trigger, since })
            .collect();
        let phone = conversation.phone.as_deref().and_then(|phone| Phone::from_e164(phone).ok());
        let sent_rows = self.try_load_sent_rows(phone.as_ref()).await;
        self.alert_team(work, &item_key.subject, &conversation, &alerts, &sent_rows).await?;
        let confirm_alerts = |before: Option<&Conversation>| {
            let next = before.cloned().map(|mut next| {
                for alert in &alerts {
                    next.confirm_alert(config, &alert.escalation, &alert.trigger.message_id);
                }
                next
            });
            (next, ())
        };
        Ok(store.update_record(item_key, confirm_alerts).await?)
    }

    /// Works off queues side by side until then: those with new tasks, or all of them.
    pub(crate) async fn work_queues(&self, work: &WorkContext<'_>, include_due_tasks: bool, stop_at: Deadline) {
        let budget = &RunBudget { invocation: work.invocation, stop_at, include_due_tasks };
        let each = self.queue_worker.queue_names().filter_map(|queue| {
            let new_tasks = work.new_tasks.list_for_queue(queue);
            (include_due_tasks || !new_tasks.is_empty()).then_some((queue, new_tasks))
        });
        let each = each.map(|(queue, new_tasks)| async move {
            // What is in a queue is found again; a batch of the stream is not held up by it.
            if let Err(error) = self.queue_worker.work_queue(&self.dispatcher, queue, new_tasks, budget).await {
                tracing::error!(queue = queue, "{}", error_chain(&error));
            }
        });
        futures::future::join_all(each).await;
    }
}

/// A message of the ledger, for people.
fn to_sent_message(row: &LedgerRow) -> SentMessage {
    SentMessage {
        key: row.key.to_string(),
        updated_at: row.delivery_status_at.or(row.accepted_at).unwrap_or(row.updated_at),
        state: row.delivery_status.status_name().unwrap_or_else(|| row.state.name()).to_owned(),
    }
}
