//! Alerts: why the team is alerted, and the notifications that are created for it.
//!
//! Three events raise alerts: a customer's message, a failed delivery, and a wait without an
//! answer. The cooldown of an alert is written with the conversation before its notifications are
//! created. Their keys come out the same every time, so a repeated run creates no second
//! notification.

use jiff::Timestamp;
use tellonce_core::{
    client_config::ClientConfig,
    clock::Clock,
    contact::Phone,
    hash::sha256_hex,
    inbox::build_item_id,
    ledger::{Ledger, LedgerRow, target_queue_name},
};

use crate::{
    conversation::{Conversation, MessageRef, OverdueAlert, received_message::ReceivedMessage, sent_history},
    escalation_rules::{self, RuleContext},
    message_record,
    notification::{Notification, SentMessage},
    record_store::{ItemKey, RecordStore, RecordUpdate, retention_days},
    sync_error::SyncError,
    task::{
        QueueTask, TaskContent,
        created_tasks::{CreatedTasks, NewTask},
    },
};

/// One reason to alert the team.
pub(crate) struct Alert {
    /// The escalation, by its name in `client.toml`.
    pub(crate) escalation: String,
    /// Why, in words that continue "a customer …".
    pub(crate) reason: String,
    /// The message that raised the alert, and when the alert was due.
    pub(crate) trigger: MessageRef,
    /// When the customer's situation began.
    pub(crate) since: Timestamp,
}

/// Raises alerts and creates their notifications.
pub(crate) struct AlertSender<'a> {
    pub(crate) config: &'a ClientConfig,
    pub(crate) ledger: &'a Ledger,
    pub(crate) clock: &'a Clock,
    pub(crate) store: &'a RecordStore,
    /// Takes the notifications that it creates.
    pub(crate) created: &'a CreatedTasks,
}

/// A conversation after alerts were raised in it.
struct AlertedConversation {
    conversation: Conversation,
    alerts: Vec<Alert>,
}

impl AlertSender<'_> {
    /// Raises in a conversation the alerts of a message that was just added to it.
    pub(crate) fn raise_for_message(
        &self,
        conversation: &mut Conversation,
        received: ReceivedMessage<'_>,
        context: &RuleContext<'_>,
        now: Timestamp,
    ) -> Vec<Alert> {
        let triggered =
            escalation_rules::find_triggered_escalations(self.config, conversation, received.message, context, now);
        let raise = |triggered: escalation_rules::TriggeredEscalation<'_>| {
            let cooldown = self.config.escalations[triggered.escalation].cooldown;
            let trigger = conversation.raise_alert(triggered.escalation, cooldown, received.message_ref())?;
            let escalation = triggered.escalation.to_owned();
            Some(Alert { escalation, reason: triggered.reason, since: trigger.at, trigger })
        };
        triggered.into_iter().filter_map(raise).collect()
    }

    /// Alerts the team about a message of the ledger that could not be delivered. `message_id` is
    /// its id on the line.
    pub(crate) async fn alert_for_failed_message(&self, message_id: &str, row: &LedgerRow) -> Result<(), SyncError> {
        let escalations = escalation_rules::find_failure_escalations(self.config, &row.line);
        if !row.delivery_status.has_failed() || escalations.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let contact = row.to.as_ref().map(|phone| self.ledger.contact_subject(phone));
        let id = row.conversation_id.as_deref();
        let Some(key) = Conversation::item_key(&row.line, id, contact.as_deref()) else { return Ok(()) };
        let at = row.delivery_status_at.unwrap_or(now);
        let raise_alerts = |before: Option<&Conversation>| {
            let phone = row.to.as_ref().map(Phone::expose);
            let new = || Conversation::new(&row.line, id, phone, retention_days(self.config), now);
            let mut next = before.cloned().unwrap_or_else(new);
            next.name = next.name.take().or_else(|| row.context.name.clone());
            let mut alerts = Vec::new();
            for escalation in &escalations {
                let cooldown = self.config.escalations[*escalation].cooldown;
                if let Some(trigger) = next.raise_alert(escalation, cooldown, MessageRef::new(message_id, at)) {
                    let reason = format!("was not reached: `{}` could not be delivered", row.key);
                    // Below the message, wherever its conversation is.
                    let trigger = MessageRef { raised_in: None, ..trigger };
                    alerts.push(Alert { escalation: (*escalation).to_owned(), reason, trigger, since: at });
                }
            }
            RecordUpdate::write_changed(before, next, |conversation| AlertedConversation { conversation, alerts })
        };
        let AlertedConversation { conversation, alerts } = self.store.update_record(&key, raise_alerts).await?;
        let sent_rows = sent_history::try_load_sent_rows(self.ledger, row.to.as_ref(), now).await;
        // The key names the message: its conversation may turn out to be another one.
        let subject = message_record::message_subject(&row.line, message_id);
        self.create_notifications(&subject, &conversation, &alerts, &sent_rows).await
    }

    /// Alerts the team about a customer who waits for an answer longer than an escalation allows.
    pub(crate) async fn alert_for_waiting_customer(&self, key: &ItemKey) -> Result<(), SyncError> {
        let now = self.clock.now();
        let raise_overdue = |before: Option<&Conversation>| {
            let Some(mut next) = before.cloned() else { return RecordUpdate::keep(None) };
            let alerts = raise_overdue_alerts(&mut next, self.config, now);
            RecordUpdate::write_changed(before, next, |conversation| Some(AlertedConversation { conversation, alerts }))
        };
        let raised = self.store.update_record(key, raise_overdue).await?;
        let Some(AlertedConversation { conversation, alerts }) = raised.filter(|raised| !raised.alerts.is_empty())
        else {
            return Ok(());
        };
        let sent_rows = sent_history::try_load_sent_rows(self.ledger, conversation.phone().as_ref(), now).await;
        self.create_notifications(&key.subject, &conversation, &alerts, &sent_rows).await?;
        let confirm_alerts = |before: Option<&Conversation>| match before.cloned() {
            Some(mut next) => {
                for alert in &alerts {
                    next.confirm_alert(self.config, &alert.escalation, &alert.trigger.message_id);
                }
                RecordUpdate::write(next, ())
            }
            None => RecordUpdate::keep(()),
        };
        Ok(self.store.update_record(key, confirm_alerts).await?)
    }

    /// Creates the notifications of alerts, one for each target, below this subject.
    pub(crate) async fn create_notifications(
        &self,
        subject: &str,
        conversation: &Conversation,
        alerts: &[Alert],
        sent_rows: &[LedgerRow],
    ) -> Result<(), SyncError> {
        for alert in alerts {
            let Some(escalation) = self.config.escalations.get(&alert.escalation) else { continue };
            for target in &escalation.to {
                let Some(rule) = self.config.targets.get(target) else { continue };
                // The names of escalations and targets hold no dot.
                let message = sha256_hex(alert.trigger.message_id.as_bytes(), 8);
                let subject = alert.trigger.raised_in.as_deref().unwrap_or(subject);
                let key = ItemKey::new(subject, format!("notification.{}.{target}.{message}", alert.escalation));
                let notification = Notification {
                    id: format!("notification_{}", sha256_hex(key.to_string().as_bytes(), 16)),
                    escalation: alert.escalation.clone(),
                    reason: alert.reason.clone(),
                    business_name: self.config.name.clone(),
                    time_zone: self.config.time_zone.clone(),
                    line: conversation.line.clone(),
                    conversation_id: conversation.id.clone(),
                    phone: conversation.phone(),
                    lid: conversation.lid.clone(),
                    name: conversation.name.clone(),
                    since: alert.since,
                    messages: conversation.quote_messages(rule.text),
                    sent_messages: sent_rows.iter().map(to_sent_message).collect(),
                    may_be_repeat: false,
                };
                let content = TaskContent::Notification(Box::new(notification));
                let retention_days = retention_days(self.config);
                let queue = target_queue_name(target);
                let mut task = QueueTask::new(queue.clone(), content, retention_days, self.clock.now());
                if !alert.trigger.delivery_id.is_empty() {
                    task = task.for_delivery(build_item_id(&conversation.line, &alert.trigger.delivery_id));
                }
                if let Some(row) = self.store.put_record(&key, task, None).await? {
                    self.created.add_task(queue, NewTask { key, row: Some(row) });
                }
            }
        }
        Ok(())
    }
}

fn raise_overdue_alerts(conversation: &mut Conversation, config: &ClientConfig, now: Timestamp) -> Vec<Alert> {
    let due = conversation.raise_overdue_alerts(config, now);
    let since = conversation.waiting_since.as_ref().map_or(now, |waiting| waiting.at);
    let minutes = now.duration_since(since).as_mins().max(1);
    let unit = if minutes == 1 { "minute" } else { "minutes" };
    let reason = format!("has waited for an answer for {minutes} {unit}");
    let to_alert =
        |due: OverdueAlert| Alert { escalation: due.escalation, reason: reason.clone(), trigger: due.trigger, since };
    due.into_iter().map(to_alert).collect()
}

fn to_sent_message(row: &LedgerRow) -> SentMessage {
    SentMessage {
        key: row.key.to_string(),
        updated_at: row.delivery_status_at.or(row.accepted_at).unwrap_or(row.updated_at),
        state: row.delivery_status.status_name().unwrap_or_else(|| row.state.name()).to_owned(),
    }
}
