//! Judges the facts of a stack, area by area. Pure.

use std::collections::BTreeSet;

use tellonce_core::{
    ledger::{IdempotencyKey, MAX_KEY_LENGTH, MessageState, StepCode},
    provider::{LineEventKind, PROVIDER_NAME},
};

use super::{
    check::{
        EvidenceArea, EvidenceCheck,
        EvidenceResult::{self, Failed, NotChecked, Passed, ToSign},
        show_id,
    },
    facts::{EvidenceFacts, LineFacts},
};
use crate::{
    operator::{LineTestVerdict, REPLAY_COMMAND, TEST_COMMAND},
    sentences::count,
    table_scan::ScannedMessage,
};

/// The areas, in the order of the provider's table. The last two are of its other pages.
pub(super) fn judge(facts: &EvidenceFacts) -> Vec<EvidenceArea> {
    vec![
        EvidenceArea::new(
            "Auth",
            "The line token is stored in a secret manager, not in code.",
            facts.lines.iter().map(check_token).collect(),
        ),
        EvidenceArea::new("Health", "Health is asked before production sends.", check_health(facts)),
        EvidenceArea::new(
            "Idempotency",
            "Every message has a deterministic idempotency key, and a repeated send arrives once.",
            check_idempotency(facts),
        ),
        EvidenceArea::new(
            "Webhooks",
            "Events are stored under their delivery ids before they are answered with 2xx.",
            check_webhooks(facts),
        ),
        EvidenceArea::new(
            "Workspace",
            "The client's team knows where replies arrive, and how to claim or assign them.",
            check_workspace(facts),
        ),
        EvidenceArea::new("Boundary", "Requests that are not supported are recorded as decisions.", Vec::new()),
        EvidenceArea::new("Dedupe", "A delivery that is processed again has no second effect.", check_dedupe(facts)),
        EvidenceArea::new(
            "Usable ids",
            "The ids of queued messages, deliveries and conversations are stored, and statuses are linked.",
            check_ids(facts),
        ),
    ]
}

fn passed_if(holds: bool) -> EvidenceResult {
    if holds { Passed } else { Failed }
}

fn check_token(line: &LineFacts) -> EvidenceCheck {
    let checked = format!("where the token of the line `{}` is stored", line.name);
    let member = line.token.member.as_ref().map(|member| format!(", member `{member}`")).unwrap_or_default();
    let place = format!("Secrets Manager, `{}`{member}", line.token.secret);
    match &line.asked {
        Ok(check) if check.sendable || check.summary.starts_with("HTTP 200") => EvidenceCheck::new(
            Passed,
            checked,
            format!("{place}: a function read it there, and {PROVIDER_NAME} accepted it"),
        )
        .at(Some(check.at)),
        Ok(check) if check.token_refused => {
            EvidenceCheck::new(Failed, checked, format!("{place}: {PROVIDER_NAME} refused it")).at(Some(check.at))
        }
        Ok(check) => {
            let seen = format!("{place}: not shown that it is there and works ({})", check.summary);
            EvidenceCheck::new(NotChecked, checked, seen).at(Some(check.at))
        }
        Err(error) => EvidenceCheck::new(NotChecked, checked, format!("{place}: no function could be asked: {error}")),
    }
}

fn check_health(facts: &EvidenceFacts) -> Vec<EvidenceCheck> {
    let mut checks: Vec<EvidenceCheck> = facts.lines.iter().map(check_line_health).collect();
    let waits = |message: &&ScannedMessage| has_step(message, StepCode::LineDown);
    let waited = facts.messages.iter().filter(waits).count();
    if waited > 0 {
        let later = facts.messages.iter().filter(waits).filter(|message| message.state == MessageState::Accepted);
        let seen = format!(
            "{} while the line could not send, and {} accepted later",
            count(waited, "message waited|messages waited"),
            count(later.count(), "was|were"),
        );
        checks.push(EvidenceCheck::new(Passed, "messages that were due while health was not good", seen));
    }
    checks
}

fn check_line_health(line: &LineFacts) -> EvidenceCheck {
    let checked = format!("health of the line `{}`, asked with wakeup=false", line.name);
    let error = match &line.asked {
        Ok(check) => return EvidenceCheck::new(passed_if(check.sendable), checked, &check.summary).at(Some(check.at)),
        Err(error) => error,
    };
    let (seen, at) = match &line.last_seen {
        Some((at, summary)) => (format!("a function last saw: {summary}"), Some(*at)),
        None => ("no function has asked it yet".to_owned(), None),
    };
    EvidenceCheck::new(NotChecked, checked, format!("could not be asked now ({error}); {seen}")).at(at)
}

fn check_idempotency(facts: &EvidenceFacts) -> Vec<EvidenceCheck> {
    let messages = &facts.messages;
    let unusual = messages.iter().filter(|message| !is_deterministic(&message.key)).count();
    let keys: BTreeSet<&IdempotencyKey> = messages.iter().map(|message| &message.key).collect();
    let seen = format!(
        "{}, {}; {} not made of subject and stage",
        count(messages.len(), "message"),
        count(keys.len(), "key"),
        count(unusual, "is|are"),
    );
    let result = if messages.is_empty() { NotChecked } else { passed_if(unusual == 0 && keys.len() == messages.len()) };
    let mut checks = vec![EvidenceCheck::new(result, "the keys of all messages in the ledger", seen)];
    checks.extend(check_shared_ids(messages));
    let retried: Vec<_> = messages.iter().filter(|message| message.attempts > 0).collect();
    if !retried.is_empty() {
        let accepted = retried.iter().filter(|message| message.state == MessageState::Accepted).count();
        let seen = format!(
            "{} no usable response and waited under the same key; {} accepted then",
            count(retried.len(), "submit had|submits had"),
            count(accepted, "was|were")
        );
        checks.push(EvidenceCheck::new(Passed, "submits without a response", seen));
    }
    checks.extend(check_repeat(facts));
    checks
}

/// Two messages with one id of the provider would be one message on the phone.
fn check_shared_ids(messages: &[ScannedMessage]) -> Option<EvidenceCheck> {
    let ids: Vec<&str> = messages.iter().filter_map(|message| message.provider_id.as_deref()).collect();
    if ids.is_empty() {
        return None;
    }
    let distinct = ids.iter().collect::<BTreeSet<_>>().len();
    let seen =
        format!("{}, {}", count(ids.len(), "message has an id|messages have an id"), count(distinct, "distinct id"));
    Some(EvidenceCheck::new(passed_if(ids.len() == distinct), format!("the ids of {PROVIDER_NAME}"), seen))
}

/// Whether a key is made of a subject and a stage alone.
fn is_deterministic(key: &IdempotencyKey) -> bool {
    let text = key.to_string();
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || ":_.-".contains(c);
    text.len() <= MAX_KEY_LENGTH && text.chars().all(is_allowed) && key.is_of_message()
}

/// The live test: one message, submitted twice under one key.
fn check_repeat(facts: &EvidenceFacts) -> Vec<EvidenceCheck> {
    let checked = "one message to a number of the agency's, submitted twice under one key";
    let tested = facts.operations.iter().find_map(|operation| {
        operation.command.strip_prefix(TEST_COMMAND)?;
        let outcome = operation.outcome.as_deref()?;
        let verdict = LineTestVerdict::ALL.iter().find(|(_, begin)| outcome.starts_with(begin));
        Some((operation.at, outcome, verdict.map(|(verdict, _)| *verdict)))
    });
    let Some((at, outcome, verdict)) = tested else {
        let seen = "no test was made; `tellonce evidence --live-test` makes one";
        return vec![EvidenceCheck::new(NotChecked, checked, seen)];
    };
    let result = match verdict {
        Some(LineTestVerdict::Passed) => Passed,
        Some(LineTestVerdict::PhoneDecides) => ToSign,
        Some(LineTestVerdict::Failed) | None => Failed,
    };
    let words = verdict.and_then(|verdict| LineTestVerdict::ALL.iter().find(|(known, _)| *known == verdict));
    let outcome = words.and_then(|(_, begin)| outcome.strip_prefix(begin)).unwrap_or(outcome);
    let outcome = outcome.split(' ').map(mask_word).collect::<Vec<_>>().join(" ");
    let mut checks = vec![EvidenceCheck::new(result, checked, outcome).at(Some(at))];
    let is_test = |message: &&ScannedMessage| message.key.is_line_test() && message.created_at >= at;
    if let Some(message) = facts.messages.iter().filter(is_test).min_by_key(|message| message.created_at) {
        checks.push(check_test_message(message));
        let asked = "the phone showed this message once";
        checks.push(EvidenceCheck::new(ToSign, asked, "a person who holds the phone confirms it"));
    }
    checks
}

/// A word of an outcome. One that may be an id with a number becomes its hash.
fn mask_word(word: &str) -> String {
    let bare = word.trim_end_matches([',', ';']);
    // The key of a test is random hexadecimal.
    if bare.starts_with("line-test:") { word.to_owned() } else { word.replacen(bare, &show_id(bare), 1) }
}

fn check_test_message(message: &ScannedMessage) -> EvidenceCheck {
    let checked = format!("what the line reported of {}", message.key);
    match (&message.message_id, message.delivery_status.status_name()) {
        (Some(id), Some(status)) => EvidenceCheck::new(
            passed_if(!message.delivery_status.has_failed()),
            checked,
            format!("message {}, status {status}", show_id(id)),
        )
        .at(message.delivery_status_at),
        _ => EvidenceCheck::new(NotChecked, checked, "no report has come; make the evidence again when it has"),
    }
}

fn check_webhooks(facts: &EvidenceFacts) -> Vec<EvidenceCheck> {
    let off: Vec<&str> = facts.lines.iter().filter(|line| !line.has_events).map(|line| line.name.as_str()).collect();
    if off.len() == facts.lines.len() {
        let seen = "`events` is off for every line in client.toml, so no event is received";
        return vec![EvidenceCheck::new(NotChecked, "events of the lines", seen)];
    }
    let of_kind = |kind| facts.events.iter().filter(move |event| event.event_kind() == Some(kind));
    let (messages, statuses) = (of_kind(LineEventKind::Messages).count(), of_kind(LineEventKind::Statuses).count());
    let seen = format!(
        "{}: {messages} with messages, {statuses} with statuses, each stored once under its delivery id",
        count(facts.events.len(), "event"),
    );
    let result = if facts.events.is_empty() { NotChecked } else { Passed };
    let mut checks = vec![EvidenceCheck::new(result, "the events that the inbox has", seen)];
    checks.push(match &facts.inbound {
        Some(inbound) => {
            let conversation =
                if inbound.has_conversation { ", with its conversation" } else { ", without a conversation" };
            let outcome = inbound.delivery.outcome.as_ref().map(|code| format!(", outcome {code}")).unwrap_or_default();
            let (delivery, message) = (show_id(&inbound.delivery.id), show_id(&inbound.message_id));
            let seen = format!("delivery {delivery}: message {message}{conversation}{outcome}");
            EvidenceCheck::new(Passed, "one inbound event", seen).at(Some(inbound.delivery.received_at))
        }
        None => EvidenceCheck::new(NotChecked, "one inbound event", "none was found; write to the line from a phone"),
    });
    let newest = of_kind(LineEventKind::Statuses).max_by_key(|event| event.received_at);
    checks.push(match newest {
        Some(event) => {
            let outcome = event.outcome.as_ref().map(|code| format!(", outcome {code}")).unwrap_or_default();
            EvidenceCheck::new(Passed, "one status event", format!("delivery {}{outcome}", show_id(&event.id)))
                .at(Some(event.received_at))
        }
        None => EvidenceCheck::new(NotChecked, "one status event", "none was found; send a message first"),
    });
    checks
}

fn check_workspace(facts: &EvidenceFacts) -> Vec<EvidenceCheck> {
    let known = count(facts.conversations, "conversation");
    vec![
        EvidenceCheck::new(
            ToSign,
            format!("the team sees a conversation of this line in {PROVIDER_NAME}"),
            format!("the ledger knows {known}; whether the team sees them, only the team can confirm"),
        ),
        EvidenceCheck::new(
            ToSign,
            "the team knows how to claim and to assign a conversation, and who answers in which hours",
            "only the client can confirm it",
        ),
    ]
}

fn check_dedupe(facts: &EvidenceFacts) -> Vec<EvidenceCheck> {
    let mut checks = Vec::new();
    let mut seen_deliveries = BTreeSet::new();
    for operation in &facts.operations {
        let Some(delivery) = operation.command.strip_prefix(REPLAY_COMMAND) else { continue };
        if operation.outcome.as_deref() != Some("replayed 1 delivery") || !seen_deliveries.insert(delivery) {
            continue;
        }
        let of_delivery = facts.messages.iter().filter(|message| message.delivery == delivery);
        for message in of_delivery.filter(|message| message.state == MessageState::Accepted) {
            let accepted = message.trail.steps().iter().filter(|step| step.code == StepCode::Accepted.name()).count();
            let is_before = message.accepted_at.is_some_and(|at| at < operation.at);
            let seen = format!(
                "it was processed again; its message {} {} before, and has not been submitted since",
                message.key,
                if is_before { "was accepted" } else { "was not accepted" },
            );
            let result = passed_if(accepted == 1 && is_before);
            let checked = format!("the replay of the delivery {}", show_id(delivery));
            checks.push(EvidenceCheck::new(result, checked, seen).at(Some(operation.at)));
        }
    }
    if checks.is_empty() {
        let seen = "no delivery with a message was replayed; `tellonce replay DELIVERY` replays one";
        checks.push(EvidenceCheck::new(NotChecked, "the replay of a delivery whose message was sent", seen));
    }
    checks.truncate(3);
    checks
}

fn check_ids(facts: &EvidenceFacts) -> Vec<EvidenceCheck> {
    let accepted: Vec<_> = facts.messages.iter().filter(|message| message.state == MessageState::Accepted).collect();
    let number = |holds: fn(&ScannedMessage) -> bool| accepted.iter().filter(|message| holds(message)).count();
    let queued = number(|message| message.provider_id.is_some());
    let linked = number(|message| message.message_id.is_some());
    let reported = number(|message| !message.delivery_status.is_unknown());
    let in_conversation = number(|message| message.conversation_id.is_some());
    let seen = format!(
        "{} accepted; {queued} with the id of the response, {linked} linked with the line's message, {reported} with \
         a status, {in_conversation} with a conversation",
        count(accepted.len(), "message"),
    );
    let has_statuses = facts.events.iter().any(|event| event.event_kind() == Some(LineEventKind::Statuses));
    let result = if accepted.is_empty() || !has_statuses { NotChecked } else { passed_if(linked > 0 && reported > 0) };
    let mut checks = vec![EvidenceCheck::new(result, "the ids of all accepted messages", seen)];
    let latest = accepted.iter().filter(|message| !message.delivery_status.is_unknown());
    if let Some(message) = latest.max_by_key(|message| message.delivery_status_at) {
        let id = |id: &Option<String>| id.as_deref().map_or_else(|| "none".to_owned(), show_id);
        let seen = format!(
            "queued as {}, seen on the line as {}, status {}",
            id(&message.provider_id),
            id(&message.message_id),
            message.delivery_status
        );
        let checked = format!("the message {}", message.key);
        checks.push(EvidenceCheck::new(Passed, checked, seen).at(message.delivery_status_at));
    }
    checks
}

fn has_step(message: &ScannedMessage, code: StepCode) -> bool {
    message.trail.steps().iter().any(|step| step.code == code.name())
}
