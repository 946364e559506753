//! What needs a person: messages, deliveries, forms, feeds and lines, the oldest first.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tellonce_core::{
    attributes::{number_value, send_if_current, text_value, time_value},
    ledger::{IdempotencyKey, LedgerRow, MessageState, NEEDS_PERSON_QUEUE, read_rows},
    provider::PROVIDER_NAME,
    telemetry::LogLabel,
};

use crate::{
    client_tables::{ClientTables, DeliveryEntry, OpsError},
    inbox_kind::InboxKind,
    overview::Overview,
    report::report_message,
    sentences::count,
};

/// The most messages that are listed.
const MAX_MESSAGES: usize = 100;

/// The outcome of a privacy request.
const PRIVACY_REQUEST: &str = "privacy-request";
/// How long Shopify gives to answer one, from its receipt. Source: shopify.dev, "Privacy law
/// compliance".
const PRIVACY_TIME: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The index of an inbox that lists the deliveries that need a person, and its key.
const NEEDS_INDEX: &str = "needs-person";
const NEEDS_KEY: (&str, &str) = ("needs_person", "yes");

/// Everything that needs a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Needs {
    /// The oldest first.
    pub list: Vec<Need>,
    /// How many more there are, at least.
    pub more: usize,
}

/// Something that needs a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Need {
    /// Since when.
    pub since: Timestamp,
    /// What it is: the key of a message, the id of a delivery, `form contact`.
    pub name: String,
    /// The number that it concerns, masked.
    pub to: Option<String>,
    /// Why, as a sentence without its full stop.
    pub reason: String,
    /// Until when it must be done, if a law or a sender sets a time.
    pub deadline: Option<Timestamp>,
    /// What to do, as sentences.
    pub action: String,
    /// The command that settles it, without `tellonce`.
    pub command: Option<String>,
}

impl ClientTables {
    /// What needs a person. Six requests at most, beside those of the overview.
    pub async fn read_needs(&self, overview: &Overview) -> Result<Needs, OpsError> {
        let entries = self.read_queue(NEEDS_PERSON_QUEUE).await?;
        let keys: Vec<_> = entries.list.iter().take(MAX_MESSAGES).map(|entry| entry.key.clone()).collect();
        let rows = read_rows(&self.db, &self.names.ledger, &keys).await?;
        let mut list: Vec<Need> = rows.messages.iter().map(need_of_message).collect();
        // A row that could not be read is one of them.
        let mut more = entries.list.len() - list.len();
        for inbox in InboxKind::ALL.map(|kind| self.inbox_table(kind)) {
            let deliveries = self.read_deliveries(inbox, NEEDS_INDEX, NEEDS_KEY).await?;
            list.extend(deliveries.list.iter().take(MAX_MESSAGES).map(need_of_delivery));
            more += deliveries.list.len().saturating_sub(MAX_MESSAGES);
        }
        list.extend(needs_of_overview(overview));
        list.sort_by(|one, other| (one.since, &one.name).cmp(&(other.since, &other.name)));
        Ok(Needs { list, more })
    }

    /// What a message or a delivery needs, by its key or id; `None` if it is not in the list.
    pub async fn find_need(&self, name: &str) -> Result<Option<Need>, OpsError> {
        if name.contains('#') {
            for inbox in InboxKind::ALL.map(|kind| self.inbox_table(kind)) {
                let deliveries = self.read_deliveries(inbox, NEEDS_INDEX, NEEDS_KEY).await?;
                if let Some(delivery) = deliveries.list.iter().find(|delivery| delivery.id == name) {
                    return Ok(Some(need_of_delivery(delivery)));
                }
            }
            return Ok(None);
        }
        let entries = self.read_queue(NEEDS_PERSON_QUEUE).await?;
        let entry = entries.list.into_iter().find(|entry| entry.key.to_string() == name);
        let rows = read_rows(&self.db, &self.names.ledger, &Vec::from_iter(entry.map(|entry| entry.key))).await?;
        Ok(rows.messages.first().map(need_of_message))
    }

    /// Records that a person settled what a message or a delivery needed. It leaves the list.
    /// Returns whether it was in it.
    pub async fn settle_need(&self, name: &str, now: Timestamp) -> Result<bool, OpsError> {
        if name.contains('#') {
            // The sender may be gone from client.toml, and a line may have the name of a store.
            for inbox in InboxKind::ALL.map(|kind| self.inbox_table(kind)) {
                let update = self.db.update_item().table_name(inbox).key("id", text_value(name));
                let update = update.update_expression("REMOVE needs_person");
                let update = update.condition_expression("attribute_exists(needs_person)");
                if send_if_current(update).await.map_err(OpsError::Settle)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        let Some(key) = IdempotencyKey::parse(name) else { return Ok(false) };
        let update = self
            .db
            .update_item()
            .table_name(&self.names.ledger)
            .key("subject", text_value(key.subject()))
            .key("stage", text_value(key.stage()))
            // The version changes, so that no function that has read the row overwrites this.
            .update_expression("SET handled_at = :now, version = version + :one REMOVE due_queue, due_at")
            .condition_expression("due_queue = :queue")
            .expression_attribute_values(":now", time_value(now))
            .expression_attribute_values(":one", number_value(1))
            .expression_attribute_values(":queue", text_value(NEEDS_PERSON_QUEUE));
        send_if_current(update).await.map_err(OpsError::Settle)
    }
}

fn need_of_message(row: &LedgerRow) -> Need {
    let report = report_message(row, &[]);
    let said = report.steps.last().map(|step| step.explanation.clone());
    let action = match row.state {
        MessageState::NeedsHuman => {
            format!(
                "Look into the conversation in {PROVIDER_NAME}. If the message is not there, write it, or resend it."
            )
        }
        MessageState::Expired => "Tell the customer in another way if it still matters.".to_owned(),
        MessageState::Incomplete => "Remind the customer by hand, and mend the text in client.toml.".to_owned(),
        _ => "Tell the customer in another way: the number may not use WhatsApp.".to_owned(),
    };
    Need {
        since: row.updated_at,
        name: report.key.clone(),
        to: report.to,
        deadline: None,
        reason: report.reason.or(said).unwrap_or_else(|| report.state.to_owned()),
        action,
        command: Some(format!("done {}", report.key)),
    }
}

fn need_of_delivery(delivery: &DeliveryEntry) -> Need {
    let (action, replay) = match delivery.outcome.as_str() {
        PRIVACY_REQUEST => (privacy_action(delivery.topic.as_deref().unwrap_or_default()), false),
        "opt-out-not-applied" => ("If the customer still means it, opt them out.", false),
        "body-too-old" | "topic-contradicts-body" => ("Look at the sender: it may be a copy by a stranger.", false),
        _ => ("Fix the cause, then replay the delivery.", true),
    };
    let topic = delivery.topic.as_deref().map(|topic| format!("{}: ", LogLabel::new(topic))).unwrap_or_default();
    Need {
        since: delivery.outcome_at,
        name: delivery.id.clone(),
        to: None,
        deadline: (delivery.outcome == PRIVACY_REQUEST).then(|| delivery.received_at + PRIVACY_TIME),
        reason: format!("{topic}{} ({})", delivery.outcome_text, delivery.outcome),
        action: action.to_owned(),
        command: Some(if replay { format!("replay {}", delivery.id) } else { format!("done {}", delivery.id) }),
    }
}

/// What a privacy request of Shopify asks for.
fn privacy_action(topic: &str) -> &'static str {
    match topic {
        "customers/data_request" => {
            "Run `tellonce person export` for the customer's number, and pass it to the client."
        }
        "customers/redact" => "Run `tellonce person forget` for the customer's number.",
        "shop/redact" => "Erase the shop's customers with `tellonce person forget`, or take the stack down.",
        _ => "Answer it as \"Answer a privacy request\" in docs/operations.md says.",
    }
}

fn new_need(since: Timestamp, name: String, reason: String, action: &str, command: Option<String>) -> Need {
    Need { since, name, to: None, deadline: None, reason, action: action.to_owned(), command }
}

/// What only a person can end, and no message shows.
fn needs_of_overview(overview: &Overview) -> Vec<Need> {
    let forms = overview.forms.iter().filter_map(|form| {
        Some(new_need(
            form.held_since?,
            format!("form {}", form.name),
            "more leads came than `burst` or `sustained` allows, and all are held".to_owned(),
            "Check the submissions at the form's sender. Release them, or drop them.",
            Some(format!("form release {}", form.name)),
        ))
    });
    let feeds = overview.feeds.iter().filter(|feed| feed.is_suspect).map(|feed| {
        new_need(
            feed.read_at.unwrap_or(overview.at),
            format!("feed {}", feed.name),
            feed.problem.clone().unwrap_or_else(|| "the feed is suspect".to_owned()),
            "Compare it with the calendar. If the calendar is right, accept the next read.",
            Some(format!("feed accept {}", feed.name)),
        )
    });
    let parts = overview.parts.iter().filter(|part| part.is_late).map(|part| {
        new_need(
            part.answered_at.unwrap_or(overview.at),
            format!("part {}", part.name),
            "it does not answer heartbeats".to_owned(),
            "See \"A part does not run\" in docs/operations.md.",
            None,
        )
    });
    forms.chain(feeds).chain(parts).chain(needs_of_queues(overview)).collect()
}

/// What stops lines, CRMs and targets until a person acts.
fn needs_of_queues(overview: &Overview) -> impl Iterator<Item = Need> + '_ {
    let stopped = overview.lines.iter().filter_map(|line| {
        let why = line.stopped.as_ref()?;
        Some(new_need(
            line.wait.oldest_since.unwrap_or(overview.at),
            format!("line {}", line.name),
            format!("an operator stopped it: {why}"),
            "Start it again when the reason is gone.",
            Some(format!("release {}", line.name)),
        ))
    });
    let refused_tokens = overview.lines.iter().filter(|line| line.is_token_refused).map(|line| {
        new_need(
            line.wait.oldest_since.unwrap_or(overview.at),
            format!("line {}", line.name),
            format!("{PROVIDER_NAME} refused its token"),
            "Store a valid token.",
            None,
        )
    });
    let refused_tasks = overview.queues.iter().filter(|queue| queue.refused > 0).map(|queue| {
        new_need(
            overview.at,
            queue.name.clone(),
            format!("it refused {} for good", count(queue.refused, "task")),
            "See \"Fix a CRM or a target\" in docs/operations.md. Fix the cause, then retry.",
            Some(format!("retry {}", queue.name)),
        )
    });
    stopped.chain(refused_tokens).chain(refused_tasks)
}
