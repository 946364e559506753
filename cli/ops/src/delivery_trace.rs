//! What a delivery led to: its arrival from its inbox, its effects from the logs of the functions,
//! and the present state of the messages from the ledger.
//!
//! No table lists the messages of a delivery, because that would cost each message a write. The
//! functions log each effect with the id of its delivery, so a message is found there.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::KeysAndAttributes;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tellonce_core::{
    appointment::HEADER_STAGE,
    attributes::{Item, ItemReader, text_value},
    client_config::ClientConfig,
    fault::error_chain,
    inbox::build_item_id,
    ledger::{IdempotencyKey, SubjectRows, read_rows, read_subject},
    telemetry::LogLabel,
};

use crate::{
    client_stack::ClientStack,
    client_tables::{ClientTables, OpsError},
    function_logs::{FoundLines, FunctionLogLine, LogFilter, LogSearch},
    inbox_kind::InboxKind,
    report::{MessageReport, report_message},
    sentences::count,
};

/// A stream keeps a delivery for 24 hours, so a function has processed it or given it up by then.
const LATEST_EFFECT: SignedDuration = SignedDuration::from_hours(26);
/// A delivery that came later may be on its way.
const USUAL_PROCESSING: SignedDuration = SignedDuration::from_mins(2);
/// The most requests for the log of the delivery's function. The log of another function that may
/// have sent its messages is searched with one more.
const LOG_REQUESTS: usize = 2;
/// The most keys of one request.
const MAX_KEYS: usize = 100;

const PROJECTION: &str = "id, sender, topic, received_at, replayed_at, outcome, outcome_text, outcome_at, about";

/// Why a delivery led to no message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TracedOutcome {
    /// Its code.
    pub code: String,
    /// Why, as a sentence without its full stop.
    pub explanation: String,
    /// When it was recorded.
    pub at: Option<Timestamp>,
}

/// An appointment that a delivery changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TracedAppointment {
    /// Its subject: `appointment:88`.
    pub subject: String,
    /// Whether it takes place now. `None` if the ledger no longer has it.
    pub status: Option<&'static str>,
}

/// An entry in a CRM or an alert that a delivery led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TracedTask {
    /// The queue: `crm:sales`.
    pub queue: String,
    /// Its last state in the log: `Done`.
    pub state: String,
}

/// What happened to a delivery. It was verified, because an inbox has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryTrace {
    /// Its key in the inbox: `shop#b54557e4`.
    pub id: String,
    /// What its sender is: `store`, `calendar`, `form`, `line`.
    pub kind: &'static str,
    /// The sender in client.toml.
    pub sender: String,
    /// Its topic, if its sender gives one.
    pub topic: Option<String>,
    /// When it was stored.
    pub received_at: Timestamp,
    /// When it was last replayed.
    pub replayed_at: Option<Timestamp>,
    /// Why it led to no message, if it did not.
    pub outcome: Option<TracedOutcome>,
    /// What it is about, if the inbox says it.
    pub about: Option<String>,
    /// The messages that it led to, as they are now.
    pub messages: Vec<MessageReport>,
    /// The appointments that it changed.
    pub appointments: Vec<TracedAppointment>,
    /// The entries and alerts that it led to.
    pub tasks: Vec<TracedTask>,
    /// Whether the log was not searched to its end, so that it may have led to more.
    pub may_have_more: bool,
    /// What all of this means, as a sentence without its full stop.
    pub conclusion: String,
    /// What could not be read, and why.
    pub unreadable: Vec<String>,
}

/// The effects of a delivery, by the names in the log.
#[derive(Debug, Default, PartialEq, Eq)]
struct LoggedEffects {
    messages: BTreeSet<String>,
    appointments: BTreeSet<String>,
    tasks: BTreeMap<(String, String), String>,
    /// The functions whose log was not searched to its end.
    partly_searched: Vec<&'static str>,
}

impl LoggedEffects {
    fn add_found(&mut self, delivery: &str, kind: InboxKind, found: FoundLines) {
        for line in found.lines {
            self.add_line(delivery, &line);
        }
        self.partly_searched.extend(found.has_more.then_some(kind.function()));
    }

    fn add_line(&mut self, delivery: &str, line: &FunctionLogLine) {
        if line.field("delivery.id") != Some(delivery) {
            return;
        }
        self.messages.extend(line.field("message.key").map(str::to_owned));
        self.appointments.extend(line.field("appointment.key").map(str::to_owned));
        let task = (line.field("queue.name"), line.field("task.id"), line.field("task.state"));
        if let (Some(queue), Some(id), Some(state)) = task {
            self.tasks.insert((queue.to_owned(), id.to_owned()), state.to_owned());
        }
    }

    fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.appointments.is_empty() && self.tasks.is_empty()
    }

    /// The keys of the rows to read.
    fn row_keys(&self) -> Vec<IdempotencyKey> {
        let messages = self.messages.iter().filter_map(|key| IdempotencyKey::parse(key));
        let headers = self.appointments.iter().map(|subject| IdempotencyKey::from_parts(subject, HEADER_STAGE));
        messages.chain(headers).take(MAX_KEYS).collect()
    }
}

impl ClientTables {
    /// What happened to the deliveries of an id: the key of an inbox (`shop#b54557e4`), or the
    /// sender's own id, which several senders may have used. Five requests at most for one
    /// delivery.
    pub async fn trace_delivery(
        &self,
        stack: &ClientStack,
        config: &ClientConfig,
        id: &str,
    ) -> Result<Vec<DeliveryTrace>, OpsError> {
        let mut traces = Vec::new();
        for (kind, item) in self.find_deliveries(config, id).await? {
            if let Some(trace) = self.trace_item(stack, kind, &item).await? {
                traces.push(trace);
            }
        }
        Ok(traces)
    }

    /// The items of an id in the inboxes, in one request.
    async fn find_deliveries(&self, config: &ClientConfig, id: &str) -> Result<Vec<(InboxKind, Item)>, OpsError> {
        let named = id.split_once('#');
        let mut request = self.db.batch_get_item();
        let mut keys_left = MAX_KEYS;
        for kind in InboxKind::ALL {
            let senders = kind.list_senders(config).into_iter();
            // A sender may be gone from client.toml, and its deliveries are still in the inbox.
            let ids: Vec<String> = match named {
                Some(_) => vec![id.to_owned()],
                None => senders.map(|sender| build_item_id(sender, id)).take(keys_left).collect(),
            };
            keys_left -= ids.len();
            let key = |id: String| Item::from([("id".to_owned(), text_value(id))]);
            let keys: Vec<Item> = ids.into_iter().map(key).collect();
            if !keys.is_empty() {
                let keys = KeysAndAttributes::builder().set_keys(Some(keys)).projection_expression(PROJECTION).build();
                let keys = keys.map_err(|error| {
                    OpsError::Batch(Box::new(aws_sdk_dynamodb::error::SdkError::construction_failure(error)))
                })?;
                request = request.request_items(self.inbox_table(kind), keys);
            }
        }
        let answer = request.send().await.map_err(|error| OpsError::Batch(Box::new(error)))?;
        let mut responses = answer.responses.unwrap_or_default();
        let items = InboxKind::ALL.into_iter().flat_map(|kind| {
            let items = responses.remove(self.inbox_table(kind)).unwrap_or_default();
            items.into_iter().map(move |item| (kind, item)).collect::<Vec<_>>()
        });
        Ok(items.collect())
    }

    async fn trace_item(
        &self,
        stack: &ClientStack,
        kind: InboxKind,
        item: &Item,
    ) -> Result<Option<DeliveryTrace>, OpsError> {
        let Some(mut trace) = read_item(kind, item) else { return Ok(None) };
        let effects = match search_effects(stack, kind, &trace).await {
            Ok(effects) => effects,
            Err(error) => {
                trace.unreadable.push(error_chain(&error));
                LoggedEffects::default()
            }
        };
        let rows = match &trace.about {
            // A message that is not to be sent has a row, and the log names its delivery only.
            Some(about) if effects.is_empty() => {
                let mut rows = read_subject(&self.db, &self.names.ledger, about).await?;
                rows.messages.retain(|row| row.delivery == trace.id);
                SubjectRows { messages: rows.messages, ..SubjectRows::default() }
            }
            _ => read_rows(&self.db, &self.names.ledger, &effects.row_keys()).await?,
        };
        trace.take_effects(effects, &rows);
        trace.conclusion = conclude(&trace, stack.now());
        if trace.may_have_more {
            trace.conclusion += "; there may be more, because the log was not searched to its end";
        }
        Ok(Some(trace))
    }
}

fn read_item(kind: InboxKind, item: &Item) -> Option<DeliveryTrace> {
    let item = ItemReader(item);
    let outcome = item.owned("outcome").map(|code| TracedOutcome {
        code,
        explanation: item.owned("outcome_text").unwrap_or_default(),
        at: item.time("outcome_at"),
    });
    Some(DeliveryTrace {
        id: item.owned("id")?,
        kind: kind.sender_word(),
        sender: item.owned("sender")?,
        topic: item.text("topic").map(|topic| LogLabel::new(topic).to_string()),
        received_at: item.time("received_at")?,
        replayed_at: item.time("replayed_at"),
        outcome,
        about: item.owned("about"),
        messages: Vec::new(),
        appointments: Vec::new(),
        tasks: Vec::new(),
        may_have_more: false,
        conclusion: String::new(),
        unreadable: Vec::new(),
    })
}

/// Searches the logs for what a delivery led to. A message whose function was killed before it
/// logged anything is logged by the sweep.
async fn search_effects(
    stack: &ClientStack,
    kind: InboxKind,
    trace: &DeliveryTrace,
) -> Result<LoggedEffects, crate::function_logs::LogError> {
    let since = trace.replayed_at.unwrap_or(trace.received_at);
    let search = LogSearch {
        function: kind.function(),
        since,
        until: Some(since + LATEST_EFFECT),
        filter: LogFilter::Phrase(&trace.id),
        requests: LOG_REQUESTS,
    };
    let mut effects = LoggedEffects::default();
    effects.add_found(&trace.id, kind, stack.search_log(search).await?);
    let sweep = InboxKind::Calendars;
    if effects.is_empty() && trace.outcome.is_none() && kind != sweep {
        let search = LogSearch { function: sweep.function(), requests: 1, ..search };
        effects.add_found(&trace.id, sweep, stack.search_log(search).await?);
    }
    Ok(effects)
}

impl DeliveryTrace {
    fn take_effects(&mut self, effects: LoggedEffects, rows: &SubjectRows) {
        self.may_have_more = !effects.partly_searched.is_empty();
        let searched = effects.partly_searched.iter();
        self.unreadable.extend(searched.map(|function| format!("the end of the log of {function}, which is long")));
        self.messages = rows.messages.iter().map(|row| report_message(row, &[])).collect();
        self.messages.sort_by(|one, other| one.key.cmp(&other.key));
        self.unreadable.extend(rows.unreadable.iter().map(ToString::to_string));
        let appointment = |subject: String| {
            let header = rows.appointments.iter().find(|header| header.subject == subject);
            let status = header.map(|header| header.status.name());
            TracedAppointment { subject, status }
        };
        self.appointments = effects.appointments.into_iter().map(appointment).collect();
        let task = |((queue, _), state): ((String, String), String)| TracedTask { queue, state };
        self.tasks = effects.tasks.into_iter().map(task).collect();
        // The ledger deletes old rows before the log ends.
        let gone = effects.messages.into_iter().filter(|key| self.messages.iter().all(|message| message.key != *key));
        self.unreadable.extend(gone.map(|key| format!("the ledger no longer has {key}")));
    }
}

/// What a trace means, as a sentence without its full stop.
fn conclude(trace: &DeliveryTrace, now: Timestamp) -> String {
    let mut parts = Vec::new();
    if !trace.messages.is_empty() {
        let messages = trace.messages.iter().map(|message| format!("{} ({})", message.key, message.standing.name()));
        let noun = count(trace.messages.len(), "message");
        parts.push(format!("led to {noun}: {}", messages.collect::<Vec<_>>().join(", ")));
    }
    if !trace.appointments.is_empty() {
        let known = |one: &TracedAppointment| match one.status {
            Some(status) => format!("{} (now {status})", one.subject),
            None => one.subject.clone(),
        };
        parts.push(format!("changed {}", trace.appointments.iter().map(known).collect::<Vec<_>>().join(", ")));
    }
    if !trace.tasks.is_empty() {
        let task = |task: &TracedTask| format!("{} ({})", task.queue, task.state.to_lowercase());
        let noun = if trace.tasks.len() == 1 { "an entry or alert" } else { "entries or alerts" };
        parts.push(format!("led to {noun}: {}", trace.tasks.iter().map(task).collect::<Vec<_>>().join(", ")));
    }
    if let Some(TracedOutcome { code, explanation, .. }) = &trace.outcome {
        let otherwise = if parts.is_empty() { "led to no message" } else { "led to nothing else" };
        parts.push(format!("{otherwise}: {explanation} ({code})"));
    }
    if !parts.is_empty() {
        return format!("the delivery {}", parts.join("; it "));
    }
    let since = trace.replayed_at.unwrap_or(trace.received_at);
    if now.duration_since(since) < USUAL_PROCESSING {
        return "the delivery is being processed; ask again in a minute".to_owned();
    }
    if trace.kind == InboxKind::Lines.sender_word() {
        return "the delivery was recorded, and led to no message, entry or alert".to_owned();
    }
    "the delivery has no outcome and the log names no message of it; `tellonce dead` lists what functions gave up, and \
     `tellonce explain order:1001` says which delivery a message came from"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tellonce_core::{
        appointment::{Appointment, AppointmentStatus},
        attributes::UnknownAttributes,
        trail::Trail,
    };

    use super::*;

    fn appointment(subject: &str, status: AppointmentStatus) -> Appointment {
        let at = Timestamp::UNIX_EPOCH;
        Appointment {
            subject: subject.to_owned(),
            calendar: "clinic".to_owned(),
            line: "main".to_owned(),
            version: 1,
            generation: 1,
            status,
            start: at,
            zone: "UTC".to_owned(),
            attendees: Vec::new(),
            title: None,
            place: None,
            as_of: at,
            booked_at: at,
            stage_outcomes: Vec::new(),
            due_at: None,
            priority: 0,
            delivery: "clinic#1".to_owned(),
            created_at: at,
            updated_at: at,
            trail: Trail::default(),
            unknown_attributes: UnknownAttributes::default(),
        }
    }

    fn line(fields: serde_json::Value) -> FunctionLogLine {
        let serde_json::Value::Object(fields) = fields else { panic!("not an object") };
        FunctionLogLine {
            at: Timestamp::UNIX_EPOCH,
            function: "order-notifier".to_owned(),
            message: String::new(),
            fields,
            ..FunctionLogLine::default()
        }
    }

    fn empty_trace(kind: InboxKind) -> DeliveryTrace {
        let item = Item::from([
            ("id".to_owned(), text_value("shop#1")),
            ("sender".to_owned(), text_value("shop")),
            ("received_at".to_owned(), tellonce_core::attributes::number_value(0)),
        ]);
        read_item(kind, &item).unwrap()
    }

    #[test]
    fn effects_of_other_deliveries_are_not_taken() {
        let mut effects = LoggedEffects::default();
        for (delivery, key) in [("shop#1", "order:1:ready"), ("shop#10", "order:10:ready"), ("shop#1", "order:1:ready")]
        {
            effects.add_line("shop#1", &line(json!({"delivery.id": delivery, "message.key": key})));
        }
        let task = |state| json!({"delivery.id": "shop#1", "queue.name": "crm:a", "task.id": "t", "task.state": state});
        effects.add_line("shop#1", &line(task("Waiting")));
        effects.add_line("shop#1", &line(task("Done")));
        effects.add_line("shop#1", &line(json!({"delivery.id": "shop#1", "appointment.key": "appointment:8"})));
        assert_eq!(effects.messages, BTreeSet::from(["order:1:ready".to_owned()]));
        assert_eq!(effects.tasks.into_values().collect::<Vec<_>>(), ["Done"]);
        assert_eq!(effects.appointments.len(), 1);
    }

    #[test]
    fn each_appointment_of_a_delivery_has_its_own_status_and_a_log_with_more_is_named() {
        let appointments = vec![
            appointment("appointment:8", AppointmentStatus::Booked),
            appointment("appointment:9", AppointmentStatus::Cancelled),
        ];
        let mut effects = LoggedEffects::default();
        let lines = ["appointment:8", "appointment:9"]
            .map(|subject| line(json!({"delivery.id": "shop#1", "appointment.key": subject})));
        effects.add_found("shop#1", InboxKind::Calendars, FoundLines { lines: lines.into(), has_more: true });
        let mut trace = empty_trace(InboxKind::Calendars);
        trace.take_effects(effects, &SubjectRows { appointments, ..SubjectRows::default() });
        let statuses: Vec<_> = trace.appointments.iter().map(|appointment| appointment.status).collect();
        assert_eq!(statuses, [Some("booked"), Some("cancelled")]);
        assert!(trace.may_have_more && trace.unreadable.len() == 1, "{trace:?}");
    }

    #[test]
    fn each_end_of_a_delivery_is_a_sentence() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1);
        let mut sentences = vec![conclude(&empty_trace(InboxKind::Stores), Timestamp::UNIX_EPOCH)];
        sentences.push(conclude(&empty_trace(InboxKind::Stores), now));
        sentences.push(conclude(&empty_trace(InboxKind::Lines), now));
        let outcome = TracedOutcome {
            code: "not-paid".to_owned(),
            explanation: "the order has no date of payment".to_owned(),
            at: None,
        };
        let skipped = DeliveryTrace { outcome: Some(outcome), ..empty_trace(InboxKind::Stores) };
        sentences.push(conclude(&skipped, now));
        let appointment = TracedAppointment { subject: "appointment:8".to_owned(), status: Some("booked") };
        let booked = DeliveryTrace { appointments: vec![appointment], ..empty_trace(InboxKind::Calendars) };
        sentences.push(conclude(&booked, now));
        let task = TracedTask { queue: "crm:sales".to_owned(), state: "Done".to_owned() };
        let wrote = DeliveryTrace { tasks: vec![task], outcome: skipped.outcome, ..empty_trace(InboxKind::Lines) };
        sentences.push(conclude(&wrote, now));
        insta::assert_snapshot!(sentences.join("\n"));
    }
}
