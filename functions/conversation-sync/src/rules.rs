//! Which escalations a message or a report sets off. Pure: what is to be known comes in.

use jiff::Timestamp;
use shared::{
    appointment::{Appointment, Standing},
    client_config::{AppointmentState, ClientConfig, Escalation, Milestone, Trigger},
    ledger::{Row, State},
    wording::is_mark,
};

use crate::{conversation::Conversation, crm::Direction, event::Message};

/// What is known beside the conversation.
#[derive(Debug, Default)]
pub struct Context<'a> {
    /// What the customer was told, newest first.
    pub told: &'a [Row],
    /// The appointments that they were told of.
    pub appointments: &'a [Appointment],
}

/// Whether any escalation of a line asks for more than the conversation itself.
pub fn ask_the_ledger(config: &ClientConfig, line: &str) -> bool {
    of_line(config, line).any(|(_, escalation)| matches!(escalation.when, Trigger::Order(_) | Trigger::Appointment(_)))
}

/// The escalations that a customer's message sets off, with why: words that go on from "a customer".
pub fn set_off_by<'a>(
    config: &'a ClientConfig,
    conversation: &Conversation,
    message: &Message,
    context: &Context<'_>,
    now: Timestamp,
) -> Vec<(&'a str, String)> {
    // What the line itself says is nobody's call for help.
    if message.direction == Direction::Out {
        return Vec::new();
    }
    let why = |escalation: &Escalation| match &escalation.when {
        Trigger::Words(words) => {
            let text = message.text.as_deref()?;
            words
                .values()
                .flatten()
                .any(|phrase| holds(text, phrase))
                .then(|| "wrote one of the words that call the team".to_owned())
        }
        Trigger::FirstMessage => {
            (conversation.first.as_deref() == Some(message.id.as_str())).then(|| "wrote for the first time".to_owned())
        }
        Trigger::AfterHours => {
            let zone = config.zone_or_own(None)?;
            let open = config.business_hours.iter().any(|hours| hours.hold(message.at, &zone));
            (!open).then(|| "wrote outside the business hours".to_owned())
        }
        Trigger::Order(milestones) => {
            let milestone = latest_of_order(context.told)?;
            milestones.contains(&milestone).then(|| format!("wrote, and their last order is at `{}`", milestone.name()))
        }
        Trigger::Appointment(states) => {
            let in_one = |appointment: &&Appointment| states.iter().any(|state| is_in(appointment, *state, now));
            context
                .appointments
                .iter()
                .find(in_one)
                .map(|appointment| format!("wrote, and has an appointment that is {}", appointment.standing.name()))
        }
        // Time sets this one off, and a report that one.
        Trigger::Unanswered(_) | Trigger::FailedDelivery => None,
    };
    of_line(config, &conversation.line).filter_map(|(name, escalation)| Some((name, why(escalation)?))).collect()
}

/// The escalations that a failed delivery sets off on a line.
pub fn set_off_by_failure<'a>(config: &'a ClientConfig, line: &str) -> Vec<&'a str> {
    let failed =
        |(name, escalation): (&'a str, &Escalation)| (escalation.when == Trigger::FailedDelivery).then_some(name);
    of_line(config, line).filter_map(failed).collect()
}

fn of_line<'a>(config: &'a ClientConfig, line: &str) -> impl Iterator<Item = (&'a str, &'a Escalation)> {
    let of_line = move |(_, escalation): &(&String, &Escalation)| escalation.is_for(line);
    config.escalations.iter().filter(of_line).map(|(name, escalation)| (name.as_str(), escalation))
}

/// The language of the first of a trigger's words that a text holds.
pub fn language_of<'a>(trigger: &'a Trigger, text: &str) -> Option<&'a str> {
    let Trigger::Words(words) = trigger else { return None };
    let said = |(_, phrases): &(&String, &Vec<String>)| phrases.iter().any(|phrase| holds(text, phrase));
    words.iter().find(said).map(|(language, _)| language.as_str())
}

/// Whether a text is nothing but one of these, whatever stands around it and however it is written.
pub fn is_one_of<'a>(text: &str, phrases: impl IntoIterator<Item = &'a String>) -> bool {
    let said = words(text);
    phrases.into_iter().any(|phrase| words(phrase) == said) && !said.is_empty()
}

/// Whether a text holds a phrase, as whole words.
fn holds(text: &str, phrase: &str) -> bool {
    let (said, phrase) = (words(text), words(phrase));
    !phrase.is_empty() && said.windows(phrase.len()).any(|window| window == phrase)
}

/// The words of a text: letters and digits of any script, in lower case.
fn words(text: &str) -> Vec<String> {
    // An apostrophe belongs to its word, in whichever way it is written.
    let kept = |c: char| c.is_alphanumeric() || is_mark(c);
    let text: String = text.chars().filter(|c| !matches!(c, '\'' | '’' | '׳' | '״' | '"')).collect();
    text.split(|c: char| !kept(c)).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// The latest milestone of the order that a customer was last told of.
fn latest_of_order(told: &[Row]) -> Option<Milestone> {
    let order = |row: &&Row| row.key.subject().starts_with("order:");
    let last = told.iter().find(order)?.key.subject();
    let of_it = told.iter().filter(|row| row.key.subject() == last && is_known(row));
    of_it.filter_map(milestone).max_by_key(|(at, _)| *at).map(|(_, milestone)| milestone)
}

fn milestone(row: &Row) -> Option<(Timestamp, Milestone)> {
    let stage = row.key.stage();
    let named = |milestone: &&Milestone| {
        stage.strip_prefix(milestone.name()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    // A name may begin another one's.
    let milestone = Milestone::ALL.iter().filter(named).max_by_key(|milestone| milestone.name().len())?;
    Some((row.occurred_at, *milestone))
}

/// Whether a row says what is so, told or not.
fn is_known(row: &Row) -> bool {
    row.state != State::Superseded
}

fn is_in(appointment: &Appointment, state: AppointmentState, now: Timestamp) -> bool {
    match state {
        AppointmentState::Booked => appointment.standing == Standing::Booked && appointment.start > now,
        AppointmentState::Cancelled => appointment.standing == Standing::Cancelled,
    }
}
