//! Judges the facts of a stack, area by area. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;
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
    facts::{EvidenceFacts, LineFacts, MAX_CONVERSATIONS},
};
use crate::{
    operator::{CommandOutcome, LineTestVerdict, REPLAY_COMMAND, TEST_COMMAND},
    sentences::count,
    table_scan::ScannedMessage,
};

/// The most replayed messages that are listed one by one, beside those that failed.
const MAX_REPLAYS: usize = 3;

/// The areas, in the order of the provider's table. The last two are of its other pages.
pub(super) fn judge(facts: &EvidenceFacts) -> Vec<EvidenceArea> {
    vec![
        EvidenceArea::new(
            EvidenceArea::AUTH,
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
        EvidenceArea::new(
            EvidenceArea::BOUNDARY,
            "Requests that are not supported are recorded as decisions.",
            Vec::new(),
        ),
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
        Ok(check) if check.token_accepted => EvidenceCheck::new(
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
        let known = LineTestVerdict::ALL
            .iter()
            .find_map(|(verdict, begin)| Some((operation.at, outcome.strip_prefix(begin)?, Some(*verdict))));
        Some(known.unwrap_or((operation.at, outcome, None)))
    });
    let Some((at, outcome, verdict)) = tested else {
        let seen = "no test was made; `tellonce evidence --live-test` makes one";
        return vec![EvidenceCheck::new(NotChecked, checked, seen)];
    };
    let result = match verdict {
        Some(LineTestVerdict::Passed) => Passed,
        Some(LineTestVerdict::PhoneDecides) => ToSign,
        Some(LineTestVerdict::Failed) => Failed,
        // The command failed, or a newer version of tellonce recorded it.
        None => NotChecked,
    };
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
    checks.push(check_inbound(facts));
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

fn check_inbound(facts: &EvidenceFacts) -> EvidenceCheck {
    let checked = "one inbound event";
    let searched = match facts.conversations {
        all if all > MAX_CONVERSATIONS => format!("; {MAX_CONVERSATIONS} of {all} conversations were searched"),
        _ => String::new(),
    };
    let Some(inbound) = &facts.inbound else {
        let seen = format!("none was found; write to the line from a phone{searched}");
        return EvidenceCheck::new(NotChecked, checked, seen);
    };
    let conversation = if inbound.has_conversation { ", with its conversation" } else { ", without a conversation" };
    let outcome = inbound.delivery.outcome.as_ref().map(|code| format!(", outcome {code}")).unwrap_or_default();
    let (delivery, message) = (show_id(&inbound.delivery.id), show_id(&inbound.message_id));
    let seen = format!("delivery {delivery}: message {message}{conversation}{outcome}{searched}");
    EvidenceCheck::new(Passed, checked, seen).at(Some(inbound.delivery.received_at))
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

/// Whether a replay of a delivery had a second effect. All that failed are listed, and the newest
/// of the others.
fn check_dedupe(facts: &EvidenceFacts) -> Vec<EvidenceCheck> {
    let mut checks = Vec::new();
    let mut seen_deliveries = BTreeSet::new();
    let replayed_one = CommandOutcome::Replayed(1).to_string();
    for operation in &facts.operations {
        let Some(delivery) = operation.command.strip_prefix(REPLAY_COMMAND) else { continue };
        if operation.outcome.as_ref() != Some(&replayed_one) || !seen_deliveries.insert(delivery) {
            continue;
        }
        let of_delivery = facts.messages.iter().filter(|message| message.delivery == delivery);
        checks.extend(of_delivery.filter_map(|message| check_replay(message, operation.at)));
    }
    if checks.is_empty() {
        let seen = "no delivery with a message was replayed; `tellonce replay DELIVERY` replays one";
        return vec![EvidenceCheck::new(NotChecked, "the replay of a delivery whose message was sent", seen)];
    }
    let (mut shown, others): (Vec<_>, Vec<_>) = checks.into_iter().partition(|check| check.result == Failed);
    let (newest, more) = others.split_at(others.len().min(MAX_REPLAYS));
    shown.extend_from_slice(newest);
    if let Some(worst) = more.iter().map(|check| check.result).max() {
        let seen = format!("none of {} was seen to be accepted twice", count(more.len(), "message more|messages more"));
        shown.push(EvidenceCheck::new(worst, "the replays before", seen));
    }
    shown
}

/// Whether a message was submitted again after the replay of its delivery. `None` if it was not
/// accepted before, so that the replay shows nothing.
fn check_replay(message: &ScannedMessage, replayed_at: Timestamp) -> Option<EvidenceCheck> {
    if message.accepted_at.is_none_or(|at| at >= replayed_at) {
        return None;
    }
    let count_steps = |code: StepCode| message.trail.steps().iter().filter(|step| step.code == code.name()).count();
    // A message that an operator resends is accepted once more.
    let extra = count_steps(StepCode::Accepted).saturating_sub(1 + count_steps(StepCode::Resent));
    let checked = format!("the replay of the delivery {}", show_id(&message.delivery));
    let seen = format!("it was processed again; its message {} was accepted before, and", message.key);
    let (result, seen) = match extra {
        0 if message.trail.is_full() => (NotChecked, format!("{seen} its trail may lack steps")),
        0 => (Passed, format!("{seen} has not been submitted since")),
        _ => (Failed, format!("{seen} {} since", count(extra, "time more|times more"))),
    };
    Some(EvidenceCheck::new(result, checked, seen).at(Some(replayed_at)))
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

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use tellonce_core::{ledger::DeliveryStatus, trail::Trail};

    use super::*;
    use crate::{operations::Operation, table_scan::ScanCost};

    fn at(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute)
    }

    fn message(number: usize, accepted_at: i64, steps: &[(i64, &str)]) -> ScannedMessage {
        let steps: Vec<_> = steps.iter().map(|(minute, code)| (minute * 60_000, "accepted", *code)).collect();
        ScannedMessage {
            key: IdempotencyKey::parse(&format!("order:{number}:ready")).unwrap(),
            state: MessageState::Accepted,
            line: "main".to_owned(),
            created_at: at(0),
            accepted_at: Some(at(accepted_at)),
            attempts: 0,
            provider_id: None,
            message_id: None,
            conversation_id: None,
            delivery_status: DeliveryStatus::default(),
            delivery_status_at: None,
            delivery: format!("shop#{number}"),
            trail: Trail::from_attribute(&serde_json::to_string(&steps).unwrap()),
        }
    }

    fn operation(command: String, outcome: &str) -> Operation {
        let (who, outcome) = ("dana".to_owned(), Some(outcome.to_owned()));
        Operation { at: at(10), who, command, because: None, outcome, ended_at: Some(at(10)) }
    }

    fn facts(messages: Vec<ScannedMessage>, operations: Vec<Operation>) -> EvidenceFacts {
        EvidenceFacts {
            at: at(20),
            lines: Vec::new(),
            messages,
            conversations: 0,
            inbound: None,
            events: Vec::new(),
            operations,
            ledger_cost: ScanCost::default(),
            event_cost: ScanCost::default(),
        }
    }

    #[test]
    fn a_second_accept_after_a_replay_is_found_behind_any_number_of_good_ones() {
        let mut messages: Vec<_> = (1..=5).map(|number| message(number, 1, &[(1, "accepted")])).collect();
        messages.push(message(6, 1, &[(1, "accepted"), (11, "accepted")]));
        // It was waiting when its delivery was replayed.
        messages.push(message(7, 12, &[(1, "line-down"), (12, "accepted")]));
        messages.push(message(8, 1, &[(1, "accepted"), (11, "resent"), (12, "accepted")]));
        let replay = |number| operation(format!("{REPLAY_COMMAND}shop#{number}"), "replayed 1 delivery");
        let checks = check_dedupe(&facts(messages, (1..=8).map(replay).collect()));
        let seen: Vec<_> = checks.iter().map(|check| (check.result, check.seen.as_str())).collect();
        let [failed, good @ .., rest] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!(failed.0, Failed);
        assert!(failed.1.ends_with("order:6:ready was accepted before, and 1 time more since"), "{}", failed.1);
        assert_eq!(good.iter().filter(|(result, _)| *result == Passed).count(), MAX_REPLAYS);
        assert_eq!(*rest, (Passed, "none of 3 messages more was seen to be accepted twice"));
    }

    #[test]
    fn a_test_that_could_not_be_made_is_not_a_test_that_failed() {
        let test = |outcome| {
            let facts = facts(Vec::new(), vec![operation(format!("{TEST_COMMAND}main"), outcome)]);
            check_repeat(&facts).swap_remove(0)
        };
        let not_made = test("failed: the function reminder-scheduler could not be asked");
        assert_eq!(not_made.result, NotChecked, "{not_made:?}");
        assert_eq!(test("not passed: line-test:5f:repeat was not accepted: HTTP 409").result, Failed);
        let passed = test("passed: both submits have one id");
        assert_eq!((passed.result, passed.seen.as_str()), (Passed, "both submits have one id"));
    }

    #[test]
    fn conversations_that_were_not_searched_are_named() {
        let event = crate::table_scan::ScannedDelivery {
            id: "main#1".to_owned(),
            topic: None,
            received_at: at(1),
            outcome: None,
        };
        let line = LineFacts {
            name: "main".to_owned(),
            has_events: true,
            token: tellonce_core::secret::SecretLocation { secret: "lines".to_owned(), member: None },
            asked: Err("not asked".to_owned()),
            last_seen: None,
        };
        let few = facts(Vec::new(), Vec::new());
        let many = EvidenceFacts { lines: vec![line], events: vec![event], conversations: 250, ..few };
        let inbound = check_webhooks(&many).swap_remove(1);
        assert!(inbound.seen.ends_with("; 100 of 250 conversations were searched"), "{}", inbound.seen);
    }
}
