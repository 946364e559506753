//! What happened to the messages of a subject, made of its rows. Pure.

use jiff::Timestamp;
use serde::Serialize;
use tellonce_core::{
    appointment::{ATTENDEES_CHANGED, Appointment, RESCHEDULED, ReminderOutcome, StageOutcome},
    ledger::{LedgerRow, MessageState, SubjectRows},
    telemetry::LogLabel,
    trail::TrailStep,
};

use crate::{client_tables::DeliveryEntry, sentences::describe_step};

/// How a message stands, in the words that people need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It goes out by itself.
    Waiting,
    /// It was sent, and no phone has reported it.
    Sent,
    /// It is on the phone.
    Arrived,
    /// It is not sent, and that is right.
    Skipped,
    /// It was not sent, and should have been.
    NotSent,
    /// A person has to do something.
    NeedsYou,
}

impl Standing {
    /// The word for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Arrived => "arrived",
            Self::Skipped => "skipped",
            Self::NotSent => "not sent",
            Self::NeedsYou => "needs you",
        }
    }

    /// How a message stands in a state, with what its phone reported.
    pub const fn of_state(state: MessageState, has_arrived: bool, has_failed: bool) -> Self {
        match state {
            MessageState::Held | MessageState::Claimed | MessageState::Unknown => Self::Waiting,
            MessageState::Accepted if has_arrived => Self::Arrived,
            MessageState::Accepted if has_failed => Self::NeedsYou,
            MessageState::Accepted => Self::Sent,
            MessageState::Superseded | MessageState::Suppressed => Self::Skipped,
            MessageState::Expired | MessageState::Incomplete => Self::NotSent,
            MessageState::Refused | MessageState::NeedsHuman => Self::NeedsYou,
        }
    }

    fn of_row(row: &LedgerRow) -> Self {
        Self::of_state(row.state, row.delivery_status.has_arrived(), row.delivery_status.has_failed())
    }
}

/// The arrival of a delivery in an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeliveryArrival {
    pub(crate) delivery: String,
    pub(crate) sender: String,
    pub(crate) topic: Option<String>,
    pub(crate) at: Timestamp,
}

/// One step, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportStep {
    /// When it was written; for the arrival of a delivery, when it was accepted.
    pub at: Timestamp,
    /// The code in the trail; `came-in` for the arrival of the delivery, `released` for the release
    /// of its form.
    pub code: String,
    /// What happened, in a word or two.
    pub label: String,
    /// Why, as a sentence without its full stop.
    pub explanation: String,
    /// When the appointment begins after a step of an appointment, if it is known.
    pub begins_at: Option<Timestamp>,
}

/// What happened to one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageReport {
    /// Its idempotency key.
    pub key: String,
    /// How it stands, in a word for people.
    pub standing: Standing,
    /// Its state in the ledger.
    pub state: &'static str,
    /// What the phone reported: `sent`, `delivered`, `read`, `failed`.
    pub delivery_status: Option<&'static str>,
    /// Why it is in this state, if the row says it.
    pub reason: Option<String>,
    /// The line that sends it.
    pub line: String,
    /// The customer's number, masked.
    pub to: Option<String>,
    /// The delivery that it came from, by its key in the inbox; for a feed, the feed's name.
    pub delivery: String,
    /// The commit of the code and the hash of client.toml that made it: `1a2b3c4d5e6f-89abcdef`.
    pub made_by: Option<String>,
    /// Until when it is useful.
    pub useful_until: Timestamp,
    /// When it is tried next, while it waits and no function is sending it.
    pub next_try: Option<Timestamp>,
    /// What happened, oldest first.
    pub steps: Vec<ReportStep>,
    /// Whether its trail is full, so that steps in the middle may be missing.
    pub may_lack_steps: bool,
}

/// A reminder that was not sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnsentReminder {
    /// The stage: `24h`.
    pub stage: String,
    /// The start that it would have named.
    pub begins_at: Timestamp,
    /// The code of the outcome: `missed`.
    pub code: &'static str,
    /// Why it was not sent, as a sentence without its full stop.
    pub explanation: &'static str,
}

/// What happened to an appointment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppointmentReport {
    /// Whether it takes place: `booked`, `unconfirmed`, `cancelled`, `moved`.
    pub status: &'static str,
    /// When it begins, if it is known.
    pub begins_at: Option<Timestamp>,
    /// The calendar that it came from.
    pub calendar: String,
    /// When reminder-scheduler checks it again; `None` if nothing is due.
    pub next_check: Option<Timestamp>,
    /// What happened, oldest first.
    pub steps: Vec<ReportStep>,
    /// Its reminders without a message.
    pub unsent_reminders: Vec<UnsentReminder>,
}

/// A message that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AbsentMessage {
    /// Its stage: `ready`.
    pub stage: String,
    /// The stages of the same subject that have a message.
    pub other_stages: Vec<String>,
}

/// A delivery that led to no message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryReport {
    /// Its key in the inbox.
    pub id: String,
    /// Its topic, if its sender gives one.
    pub topic: Option<String>,
    /// When it was accepted.
    pub at: Timestamp,
    /// The code of its outcome.
    pub outcome: String,
    /// Why, as a sentence without its full stop.
    pub explanation: String,
}

impl DeliveryReport {
    pub(crate) fn of_entry(entry: &DeliveryEntry) -> Self {
        Self {
            id: entry.id.clone(),
            topic: entry.topic.as_deref().map(|topic| LogLabel::new(topic).to_string()),
            at: entry.received_at,
            outcome: entry.outcome.clone(),
            explanation: entry.outcome_text.clone(),
        }
    }
}

/// What happened to all messages of an order, an appointment or a lead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubjectReport {
    /// The subject: `order:1001`.
    pub subject: String,
    /// Its appointment, if it is one.
    pub appointment: Option<AppointmentReport>,
    /// The message that was asked for, if there is none.
    pub absent: Option<AbsentMessage>,
    /// Its messages, in the order in which their rows were made.
    pub messages: Vec<MessageReport>,
    /// The deliveries about it that led to no message, the oldest first.
    pub without_message: Vec<DeliveryReport>,
    /// What could not be read, and why.
    pub unreadable: Vec<String>,
}

impl SubjectReport {
    /// The report of rows that were chosen.
    pub(crate) fn new(subject: &str, rows: &SubjectRows, arrivals: &[DeliveryArrival]) -> Self {
        let mut messages: Vec<&LedgerRow> = rows.messages.iter().collect();
        messages.sort_by_key(|row| (row.created_at, row.key.clone()));
        Self {
            subject: subject.to_owned(),
            appointment: rows.appointment().map(report_appointment),
            absent: None,
            without_message: Vec::new(),
            messages: messages.into_iter().map(|row| report_message(row, arrivals)).collect(),
            unreadable: rows.unreadable.iter().map(ToString::to_string).collect(),
        }
    }
}

fn report_appointment(appointment: &Appointment) -> AppointmentReport {
    AppointmentReport {
        status: appointment.status.name(),
        begins_at: Some(appointment.start).filter(is_known_start),
        calendar: appointment.calendar.clone(),
        next_check: appointment.due_at,
        steps: appointment.trail.steps().iter().map(report_header_step).collect(),
        unsent_reminders: appointment.stage_outcomes.iter().filter_map(report_unsent_reminder).collect(),
    }
}

fn report_header_step(step: &TrailStep) -> ReportStep {
    let (label, explanation) = match &*step.code {
        "booked" => ("booked", "it takes place"),
        "unconfirmed" => ("unconfirmed", "it is requested and not confirmed"),
        "cancelled" => ("cancelled", "it does not take place"),
        "moved" => ("moved", "it continues under another id"),
        RESCHEDULED => ("rescheduled", "it has another start"),
        ATTENDEES_CHANGED => ("attendees", "its attendees or its time zone changed"),
        // A newer version of tellonce wrote it.
        code => (code, ""),
    };
    let begins_at = step.detail.as_deref().and_then(|start| start.parse().ok()).filter(is_known_start);
    ReportStep { begins_at, ..build_step(step.at, &step.code, label, explanation) }
}

fn build_step(at: Timestamp, code: &str, label: &str, explanation: &str) -> ReportStep {
    let (code, label, explanation) = (code.to_owned(), label.to_owned(), explanation.to_owned());
    ReportStep { at, code, label, explanation, begins_at: None }
}

/// Whether the start of an appointment is known. A cancellation that came first may have none.
fn is_known_start(start: &Timestamp) -> bool {
    *start != Timestamp::UNIX_EPOCH
}

/// The reminder of an outcome; `None` if it has a message, whose row says what happened.
fn report_unsent_reminder(outcome: &StageOutcome) -> Option<UnsentReminder> {
    let explanation = describe_reminder(outcome.outcome)?;
    let (stage, begins_at) = (outcome.stage.clone(), outcome.start);
    Some(UnsentReminder { stage, begins_at, code: outcome.outcome.name(), explanation })
}

/// Why a reminder has no message, as a sentence without its full stop; `None` if it has one.
pub(crate) fn describe_reminder(outcome: ReminderOutcome) -> Option<&'static str> {
    Some(match outcome {
        ReminderOutcome::Opened => return None,
        ReminderOutcome::Skipped => "its time had passed when the appointment was booked or moved",
        ReminderOutcome::Missed => "its time passed before a function could send it",
        ReminderOutcome::NoTime => "quiet hours left no time for it, or a later reminder was due at the same moment",
        ReminderOutcome::OptedOut => "the customer has opted out",
        ReminderOutcome::Dropped => "an operator dropped everything that waited for the line",
        ReminderOutcome::LimitReached => "the number got as many reminders of this stage on that day as are allowed",
    })
}

pub(crate) fn report_message(row: &LedgerRow, arrivals: &[DeliveryArrival]) -> MessageReport {
    let arrival = arrivals.iter().find(|arrival| arrival.delivery == row.delivery).map(|arrival| {
        let topic = arrival.topic.as_deref().map(|topic| format!(", {}", LogLabel::new(topic))).unwrap_or_default();
        build_step(arrival.at, "came-in", "came in", &format!("a delivery of `{}`{topic}", arrival.sender))
    });
    let released = row.released_at.map(|at| build_step(at, "released", "released", "an operator released its form"));
    let mut steps: Vec<ReportStep> = arrival.into_iter().chain(released).collect();
    steps.extend(row.trail.steps().iter().map(report_step));
    // An older version of tellonce writes no steps.
    if row.trail.steps().last().is_none_or(|last| last.state != row.state.name()) {
        let reason = row.reason.as_deref().unwrap_or("this write left no step");
        steps.push(build_step(row.updated_at, row.state.name(), row.state.name(), reason));
    }
    // A later delivery may have completed a message that was incomplete.
    steps.sort_by_key(|step| step.at);
    let is_waiting = matches!(row.state, MessageState::Held | MessageState::Unknown);
    MessageReport {
        key: row.key.to_string(),
        standing: Standing::of_row(row),
        state: row.state.name(),
        delivery_status: row.delivery_status.status_name(),
        reason: row.reason.clone(),
        line: row.line.clone(),
        to: row.to.as_ref().map(ToString::to_string),
        delivery: row.delivery.clone(),
        made_by: row.made_by.clone(),
        useful_until: row.useful_until,
        next_try: row.due_at.filter(|_| is_waiting),
        steps,
        may_lack_steps: row.trail.is_full(),
    }
}

fn report_step(step: &TrailStep) -> ReportStep {
    match describe_step(&step.code, step.detail.as_deref()) {
        Some((label, explanation)) => build_step(step.at, &step.code, label, &explanation),
        // A newer version of tellonce wrote it.
        None => build_step(step.at, &step.code, &step.code, step.detail.as_deref().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use tellonce_core::ledger::StepCode;

    use super::*;

    /// A new code or state without a word or a sentence does not compile, or fails here.
    #[test]
    fn every_code_and_every_state_has_its_words() {
        let mut lines = Vec::new();
        for code in StepCode::ALL {
            for detail in [None, Some("DETAIL")] {
                let (label, explanation) = describe_step(code.name(), detail).unwrap();
                assert!(!label.is_empty() && !explanation.is_empty(), "{code:?}");
                assert!(!explanation.ends_with('.'), "{explanation}");
                let line = format!("{:<22} {label:<12} {explanation}", code.name());
                if lines.last() != Some(&line) {
                    lines.push(line);
                }
            }
        }
        for state in MessageState::ALL {
            let standings = [(false, false), (true, false), (false, true)]
                .map(|(has_arrived, has_failed)| Standing::of_state(state, has_arrived, has_failed).name());
            lines.push(format!(
                "{:<12} {}; arrived: {}; failed: {}",
                state.name(),
                standings[0],
                standings[1],
                standings[2]
            ));
        }
        for outcome in ReminderOutcome::ALL {
            lines.push(format!("{:<14} {}", outcome.name(), describe_reminder(outcome).unwrap_or("has a message")));
        }
        insta::assert_snapshot!(lines.join("\n"));
    }
}
