//! Which escalations a message or a failed delivery triggers. Pure: all facts are arguments.

use jiff::Timestamp;
use tellonce_core::{
    appointment::{Appointment, AppointmentStatus},
    client_config::{AppointmentCondition, ClientConfig, EscalationRule, EscalationTrigger, Milestone},
    ledger::{LedgerRow, MessageState},
    wording::is_combining_mark,
};

use crate::{conversation::Conversation, line_event::LineMessage};

/// Facts beside the conversation.
#[derive(Debug, Default)]
pub struct RuleContext<'a> {
    /// The ledger rows sent to the customer, newest first.
    pub sent_rows: &'a [LedgerRow],
    /// The appointments that these rows are about.
    pub appointments: &'a [Appointment],
}

/// An escalation that a message triggers.
pub struct TriggeredEscalation<'a> {
    /// Its name in `client.toml`.
    pub escalation: &'a str,
    /// Why, in words that continue "a customer …".
    pub reason: String,
}

/// Whether an escalation of the line depends on the ledger.
pub fn needs_ledger(config: &ClientConfig, line: &str) -> bool {
    list_line_escalations(config, line).any(|(_, escalation)| {
        matches!(escalation.when, EscalationTrigger::Order(_) | EscalationTrigger::Appointment(_))
    })
}

/// The escalations that a customer's message triggers.
pub fn find_triggered_escalations<'a>(
    config: &'a ClientConfig,
    conversation: &Conversation,
    message: &LineMessage,
    context: &RuleContext<'_>,
    now: Timestamp,
) -> Vec<TriggeredEscalation<'a>> {
    // A message of the line itself asks for no help, and neither does a reaction or an old message.
    if !message.may_alert() {
        return Vec::new();
    }
    let is_written = message.is_customer_writing();
    let trigger_reason = |escalation: &EscalationRule| match &escalation.when {
        EscalationTrigger::Words(words) => {
            let text = message.text.as_deref()?;
            words
                .values()
                .flatten()
                .any(|phrase| contains_phrase(text, phrase))
                .then(|| "wrote one of the words that alert the team".to_owned())
        }
        // An edit changes a message that was a first message or not when it arrived.
        _ if !is_written => None,
        EscalationTrigger::FirstMessage => (conversation.first_message_id.as_deref()
            == Some(message.message_id.as_str()))
        .then(|| "wrote for the first time".to_owned()),
        EscalationTrigger::AfterHours => {
            let zone = config.zone_or_default(None)?;
            let open = config.business_hours.iter().any(|hours| hours.contains(message.sent_at, &zone));
            (!open).then(|| "wrote outside the business hours".to_owned())
        }
        EscalationTrigger::Order(milestones) => {
            let milestone = find_latest_milestone(context.sent_rows)?;
            milestones.contains(&milestone).then(|| format!("wrote, and their last order is at `{}`", milestone.name()))
        }
        EscalationTrigger::Appointment(states) => {
            let is_in_state =
                |appointment: &&Appointment| states.iter().any(|state| has_state(appointment, *state, now));
            context
                .appointments
                .iter()
                .find(is_in_state)
                .map(|appointment| format!("wrote, and has an appointment that is {}", appointment.status.name()))
        }
        // The clock triggers the one, a status report the other.
        EscalationTrigger::Unanswered(_) | EscalationTrigger::FailedDelivery => None,
    };
    list_line_escalations(config, &conversation.line)
        .filter_map(|(escalation, rule)| Some(TriggeredEscalation { escalation, reason: trigger_reason(rule)? }))
        .collect()
}

/// The escalations of a line that a failed delivery triggers.
pub fn find_failure_escalations<'a>(config: &'a ClientConfig, line: &str) -> Vec<&'a str> {
    let failed = |(name, escalation): (&'a str, &EscalationRule)| {
        (escalation.when == EscalationTrigger::FailedDelivery).then_some(name)
    };
    list_line_escalations(config, line).filter_map(failed).collect()
}

fn list_line_escalations<'a>(
    config: &'a ClientConfig,
    line: &str,
) -> impl Iterator<Item = (&'a str, &'a EscalationRule)> {
    let is_for_line = move |(_, escalation): &(&String, &EscalationRule)| escalation.covers_line(line);
    config.escalations.iter().filter(is_for_line).map(|(name, escalation)| (name.as_str(), escalation))
}

/// The language of the first trigger phrase that a text contains.
pub fn find_language<'a>(trigger: &'a EscalationTrigger, text: &str) -> Option<&'a str> {
    let EscalationTrigger::Words(words) = trigger else { return None };
    let has_phrase =
        |(_, phrases): &(&String, &Vec<String>)| phrases.iter().any(|phrase| contains_phrase(text, phrase));
    words.iter().find(has_phrase).map(|(language, _)| language.as_str())
}

/// Whether a text consists of one of these phrases. Case, punctuation and spaces do not count.
pub fn is_exact_phrase<'a>(text: &str, phrases: impl IntoIterator<Item = &'a String>) -> bool {
    let text_words = split_words(text);
    phrases.into_iter().any(|phrase| split_words(phrase) == text_words) && !text_words.is_empty()
}

/// Whether a text contains a phrase, as whole words.
fn contains_phrase(text: &str, phrase: &str) -> bool {
    let (text_words, phrase) = (split_words(text), split_words(phrase));
    !phrase.is_empty() && text_words.windows(phrase.len()).any(|window| window == phrase)
}

/// The words of a text: letters and digits of any script, in lower case.
fn split_words(text: &str) -> Vec<String> {
    // Every form of apostrophe belongs to its word.
    let is_word_char = |c: char| c.is_alphanumeric() || is_combining_mark(c);
    let text: String = text.chars().filter(|c| !matches!(c, '\'' | '’' | '׳' | '״' | '"')).collect();
    text.split(|c: char| !is_word_char(c)).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// The latest milestone of the order that the newest order message is about.
fn find_latest_milestone(sent_rows: &[LedgerRow]) -> Option<Milestone> {
    let is_order = |row: &&LedgerRow| row.key.subject().starts_with("order:");
    let last = sent_rows.iter().find(is_order)?.key.subject();
    let order_rows = sent_rows.iter().filter(|row| row.key.subject() == last && is_current(row));
    order_rows.filter_map(parse_milestone).max_by_key(|(at, _)| *at).map(|(_, milestone)| milestone)
}

fn parse_milestone(row: &LedgerRow) -> Option<(Timestamp, Milestone)> {
    let stage = row.key.stage();
    let names_stage = |milestone: &&Milestone| {
        stage.strip_prefix(milestone.name()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    // One milestone's name may be the beginning of another's.
    let milestone = Milestone::ALL.iter().filter(names_stage).max_by_key(|milestone| milestone.name().len())?;
    Some((row.occurred_at, *milestone))
}

/// Whether a row still holds, sent or not.
fn is_current(row: &LedgerRow) -> bool {
    row.state != MessageState::Superseded
}

fn has_state(appointment: &Appointment, state: AppointmentCondition, now: Timestamp) -> bool {
    match state {
        AppointmentCondition::Booked => appointment.status == AppointmentStatus::Booked && appointment.start > now,
        AppointmentCondition::Cancelled => appointment.status == AppointmentStatus::Cancelled,
    }
}
