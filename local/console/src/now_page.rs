//! The page "Now": what happened, newest first. A delivery and its messages share a row, which
//! follows them. What came later, such as the send after a wait, has a row of its own.

use std::{collections::HashMap, sync::Arc};

use serde::Deserialize;
use serde_json::{Value, json};
use tellonce_core::ledger::IdempotencyKey;
use tellonce_stack::activity::{ActivityEntry, ActivityEvent, GatewayPost, PostResult};

use super::{
    parts::ListPart,
    snapshot::{Snapshot, message_key, message_title, person_name},
    standing::{Standing, explain_row},
};

/// A step that comes so much later than the first row of its message has a row of its own.
const LATER_MS: i64 = 10_000;
/// Steps that the row of their message shows by itself.
const FOLLOWED_CODES: [&str; 3] = ["sent", "delivered", "read"];
/// Steps that only say that a message waits, which its row shows too.
const WAIT_STATES: [&str; 2] = ["held", "unknown"];

/// Which rows are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum NowFilter {
    #[default]
    All,
    Waiting,
    NeedsYou,
    Repeats,
    Refused,
}

/// One row: an entry of the activity, and how many more of the same are behind it.
struct NowRow<'s> {
    entry: &'s ActivityEntry,
    /// What a row of the same kind has in common.
    likeness: Option<String>,
    count: usize,
    messages: Vec<&'s Value>,
    /// When a later row of its message begins. That row follows the message from then on.
    followed_at: Option<i64>,
}

impl NowRow<'_> {
    fn standings(&self) -> impl Iterator<Item = Standing> {
        self.messages.iter().filter(|_| self.followed_at.is_none()).map(|row| Standing::of_row(row))
    }

    fn is_shown(&self, filter: NowFilter) -> bool {
        let result = match &self.entry.event {
            ActivityEvent::Post(post) => Some(post.result),
            _ => None,
        };
        match filter {
            NowFilter::All => true,
            NowFilter::Waiting => {
                result != Some(PostResult::Repeat) && self.standings().any(|s| s == Standing::Waiting)
            }
            NowFilter::NeedsYou => {
                result != Some(PostResult::Repeat) && self.standings().any(|s| s == Standing::NeedsYou)
            }
            NowFilter::Repeats => result == Some(PostResult::Repeat),
            NowFilter::Refused => {
                matches!(result, Some(PostResult::Forged | PostResult::Refused | PostResult::Failed))
            }
        }
    }
}

impl Snapshot<'_> {
    /// The rows from `offset`, newest first.
    pub(super) fn list_now(&self, filter: NowFilter, offset: usize, limit: usize) -> ListPart {
        let entries = self.stack().activity().entries_after(0);
        let mut rows = self.build_now_rows(&entries);
        rows.retain(|row| row.is_shown(filter));
        let total = rows.len();
        let shown = rows.iter().skip(offset).take(limit).map(|row| self.render_now_row(row)).collect();
        ListPart { head: json!({"total": total}), rows: shown }
    }

    fn build_now_rows<'s>(&'s self, entries: &'s [Arc<ActivityEntry>]) -> Vec<NowRow<'s>> {
        // When the first row of each delivery and of each message is, oldest first.
        let mut first_rows: HashMap<&str, i64> = HashMap::new();
        // The row that follows each message, if it is the only one of its row.
        let mut followers: HashMap<String, usize> = HashMap::new();
        let mut rows: Vec<NowRow<'s>> = Vec::new();
        for entry in entries {
            let messages = match &entry.event {
                ActivityEvent::Post(post) if is_quiet_line_event(post) => continue,
                ActivityEvent::Post(post) => {
                    let delivery = post.delivery.as_deref().unwrap_or_default();
                    if post.result == PostResult::CameIn {
                        first_rows.insert(delivery, entry.at_ms);
                    }
                    if delivery.is_empty() { Vec::new() } else { self.view.rows_of_delivery(delivery) }
                }
                ActivityEvent::Outcome { delivery, .. } => {
                    if first_rows.contains_key(delivery.as_str()) {
                        continue;
                    }
                    Vec::new()
                }
                ActivityEvent::Message { key, delivery, state, code, .. } => {
                    let first = first_rows.get(key.as_str()).or_else(|| first_rows.get(delivery.as_str()));
                    let is_followed = FOLLOWED_CODES.contains(&code.as_str()) || WAIT_STATES.contains(&state.as_str());
                    if first.is_some_and(|first| is_followed || (entry.at_ms - first).abs() < LATER_MS) {
                        continue;
                    }
                    first_rows.insert(key, entry.at_ms);
                    self.find_message(key).into_iter().collect()
                }
                ActivityEvent::Run { .. } => Vec::new(),
            };
            let likeness = find_likeness(entry, &messages);
            match rows.last_mut() {
                Some(last) if likeness.is_some() && last.likeness == likeness => {
                    (last.entry, last.count) = (entry, last.count + 1);
                }
                _ => {
                    let follows =
                        !matches!(&entry.event, ActivityEvent::Post(post) if post.result == PostResult::Repeat);
                    if let ([message], true) = (&messages[..], follows)
                        && let Some(before) = followers.insert(message_key(message), rows.len())
                    {
                        rows[before].followed_at = Some(entry.at_ms);
                    }
                    rows.push(NowRow { entry, likeness, count: 1, messages, followed_at: None });
                }
            }
        }
        rows.reverse();
        rows
    }

    /// The row of a message by its key.
    pub(super) fn find_message(&self, key: &str) -> Option<&Value> {
        // The key of an acknowledgement has no stage.
        let acknowledgement =
            || self.view.message_row(self.tables(), key, IdempotencyKey::for_acknowledgement("").stage());
        let parsed = IdempotencyKey::parse(key);
        let found = parsed.and_then(|key| self.view.message_row(self.tables(), key.subject(), key.stage()));
        found.or_else(acknowledgement)
    }

    fn render_now_row(&self, row: &NowRow<'_>) -> Value {
        let mut rendered = match &row.entry.event {
            ActivityEvent::Post(post) => self.render_post(post, &row.messages),
            ActivityEvent::Outcome { delivery, text, .. } => {
                let sender = delivery.split('#').next().unwrap_or_default();
                json!({"title": sender, "tone": "skipped", "text": text, "href": format!("/deliveries/{delivery}")})
            }
            ActivityEvent::Message { code, .. } => self.render_later_step(code, &row.messages),
            ActivityEvent::Run { text } => json!({"title": text, "tone": "run"}),
        };
        if let Some(followed_at) = row.followed_at {
            rendered["tone"] = json!("run");
            rendered["followed_at"] = json!(followed_at);
            rendered.as_object_mut().map(|fields| fields.remove("took_ms"));
        }
        rendered["id"] = json!(row.entry.number.to_string());
        rendered["at"] = json!(row.entry.at_ms);
        rendered["count"] = json!(row.count);
        rendered
    }

    fn render_post(&self, post: &GatewayPost, messages: &[&Value]) -> Value {
        let about = post.topic.as_deref().map(|topic| format!(" {topic}")).unwrap_or_default();
        let name = if post.sender.is_empty() { "unknown address" } else { &post.sender };
        let mut rendered = match messages {
            [] => {
                let href = post.delivery.as_ref().map(|delivery| format!("/deliveries/{delivery}"));
                json!({"title": format!("{name}{about}"), "href": href})
            }
            [first, ..] => self.render_named(first, messages.len()),
        };
        rendered["sender"] = json!(name);
        let reason = post.reason.clone().unwrap_or_default();
        match post.result {
            PostResult::Repeat => {
                let sent = messages.iter().filter_map(|row| row["accepted_at"].as_i64()).min();
                let when = match (sent, post.first_at_ms) {
                    (Some(sent), _) => format!(" (sent {})", self.clock_text(sent)),
                    (None, Some(first)) => format!(" (came in {})", self.clock_text(first)),
                    (None, None) => String::new(),
                };
                rendered["tone"] = json!("repeat");
                rendered["text"] = json!(format!("recognised, nothing sent{when}"));
                rendered.as_object_mut().map(|fields| fields.remove("took_ms"));
            }
            PostResult::Forged | PostResult::Refused => {
                if post.result == PostResult::Forged {
                    rendered["title"] = json!("forged delivery");
                }
                rendered["tone"] = json!("refused");
                rendered["text"] = json!(format!("refused {}: {reason}", post.status));
            }
            PostResult::Failed => {
                rendered["tone"] = json!("needs-you");
                rendered["text"] = json!(format!("failed {}: {reason}", post.status));
            }
            PostResult::Answered => {
                rendered["tone"] = json!("run");
                rendered["text"] = json!("answered; nothing to store");
            }
            PostResult::CameIn if messages.is_empty() => self.render_without_message(post, &mut rendered),
            PostResult::CameIn => {}
        }
        rendered
    }

    /// What became of a delivery that has no message, or none yet.
    fn render_without_message(&self, post: &GatewayPost, rendered: &mut Value) {
        let delivery = post.delivery.as_deref().unwrap_or_default();
        let item = self.view.delivery(self.tables(), delivery);
        let outcome = item.and_then(|item| item["outcome_text"].as_str().or(item["outcome"].as_str()));
        let held = item.is_some_and(|item| item["outcome"] == "held-for-review");
        let appointment = outcome.is_none().then(|| self.find_appointment_of(delivery)).flatten();
        rendered["tone"] = json!(if held { "waiting" } else { "skipped" });
        match (outcome, appointment) {
            (Some(text), _) => rendered["text"] = json!(text),
            (None, Some(header)) => {
                let status = header["status"].as_str().unwrap_or_default();
                rendered["title"] = json!(format!("{} {status}", post.sender));
                rendered["text"] = json!(self.appointment_words(&header));
                rendered["who"] = json!(header["attendees"][0]["name"]);
                rendered["href"] = json!(format!("/appointments/{}", header["subject"].as_str().unwrap_or_default()));
                rendered["tone"] = json!("run");
            }
            (None, None) if post.kind == "bookings" => {
                rendered["tone"] = json!("run");
                rendered["text"] = json!("recorded in its appointment");
            }
            (None, None) => {
                rendered["tone"] = json!("run");
                rendered["text"] = json!("came in; no message yet");
            }
        }
    }

    /// The messages of a row: the first one, and how many more there are.
    fn render_named(&self, row: &Value, count: usize) -> Value {
        let mut rendered = self.render_message(row);
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        rendered["title"] = json!(format!("{}{more}", message_title(row)));
        rendered["tone"] = rendered["standing"].clone();
        rendered["href"] = json!(format!("/messages/{}", rendered["id"].as_str().unwrap_or_default()));
        rendered["text"] = rendered["why"].clone();
        rendered["who"] = json!(self.person_of(row).map(person_name));
        for unused in ["why", "next"] {
            rendered.as_object_mut().map(|fields| fields.remove(unused));
        }
        rendered
    }

    fn render_later_step(&self, code: &str, messages: &[&Value]) -> Value {
        let Some(row) = messages.first() else { return json!({"title": code, "tone": "run"}) };
        let mut rendered = self.render_named(row, 1);
        let created = row["created_at"].as_i64().unwrap_or_default();
        let waited = row["accepted_at"].as_i64().map(|sent| sent - created).filter(|waited| *waited > LATER_MS);
        if let (Some(waited), None) = (waited, explain_row(row)) {
            rendered["waited_ms"] = json!(waited);
            rendered.as_object_mut().map(|fields| fields.remove("took_ms"));
        }
        rendered
    }
}

/// What the line reports is shown with its messages, unless it was refused.
fn is_quiet_line_event(post: &GatewayPost) -> bool {
    post.kind == "lines" && matches!(post.result, PostResult::CameIn | PostResult::Repeat | PostResult::Answered)
}

/// Neighbours of one likeness share a row: repeats of one delivery, refusals of one sender for one
/// reason, and leads of one number that are skipped.
fn find_likeness(entry: &ActivityEntry, messages: &[&Value]) -> Option<String> {
    let ActivityEvent::Post(post) = &entry.event else { return None };
    match post.result {
        PostResult::Repeat => Some(format!("repeat {:?}", post.delivery)),
        PostResult::Forged | PostResult::Refused => Some(format!("{} {} {:?}", post.sender, post.status, post.reason)),
        PostResult::CameIn if post.kind == "leads" => {
            let [row] = messages else { return None };
            let skipped = Standing::of_row(row) == Standing::Skipped;
            skipped.then(|| format!("{} {} {:?}", post.sender, row["to"], explain_row(row)))
        }
        _ => None,
    }
}
