//! A message in the words of people: how it stands, and why.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tellonce_core::{
    ledger::{MessageState, StepCode},
    provider::PROVIDER_NAME,
    trail::Trail,
};

/// How a message stands. Every page says it with one of these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Standing {
    /// It goes out by itself.
    Waiting,
    /// It was sent, and no phone has reported it.
    Sent,
    /// It is on the phone.
    Arrived,
    /// It is not sent, and that is right.
    Skipped,
    /// It was not sent and should have been, or a person has to decide.
    NeedsYou,
}

impl Standing {
    /// How the message of a row stands.
    pub(super) fn of_row(row: &Value) -> Self {
        let has_arrived = matches!(row["delivery_status"].as_str(), Some("delivered" | "read"));
        let state = row["state"].as_str().and_then(MessageState::from_name);
        match state.map(|state| tellonce_ops::Standing::of_state(state, has_arrived, row["failed"] == true)) {
            Some(tellonce_ops::Standing::Waiting) => Self::Waiting,
            Some(tellonce_ops::Standing::Sent) => Self::Sent,
            Some(tellonce_ops::Standing::Arrived) => Self::Arrived,
            Some(tellonce_ops::Standing::Skipped) => Self::Skipped,
            Some(tellonce_ops::Standing::NotSent | tellonce_ops::Standing::NeedsYou) | None => Self::NeedsYou,
        }
    }
}

/// Why the message of a row stands so, as a sentence without its full stop; `None` if it went out.
pub(super) fn explain_row(row: &Value) -> Option<String> {
    let standing = Standing::of_row(row);
    if matches!(standing, Standing::Sent | Standing::Arrived) {
        return None;
    }
    let trail = row["trail"].as_str().map(Trail::from_attribute).unwrap_or_default();
    let step = trail.steps().iter().rev().find(|step| !matches!(&*step.code, "created" | "due"));
    let reason = row["reason"].as_str();
    let Some(step) = step else { return Some(reason.unwrap_or("a function is sending it").to_owned()) };
    let detail = step.detail.as_deref().or(reason).unwrap_or_default();
    Some(match StepCode::from_name(&step.code) {
        Some(code) => explain_code(code, detail),
        None => detail.to_owned(),
    })
}

/// The reason of a wait for the line.
fn explain_line_down(detail: &str) -> &'static str {
    if detail.contains("status QR") {
        "the phone must be linked again"
    } else if detail.contains("status LAUNCH") {
        "the line is connecting"
    } else {
        "the line cannot send"
    }
}

fn explain_code(code: StepCode, detail: &str) -> String {
    let or_else = |text: &str| if detail.is_empty() { text.to_owned() } else { detail.to_owned() };
    match code {
        StepCode::LineDown => explain_line_down(detail).to_owned(),
        StepCode::QuietHours => "until the quiet hours end".to_owned(),
        StepCode::RateLimit => "for its turn, at the rate of the line".to_owned(),
        StepCode::FirstContacts => "for tomorrow: the line wrote to as many new people as a day allows".to_owned(),
        StepCode::LineStopped => "the kill switch of the line is on".to_owned(),
        StepCode::InFlight => "an older message of the same order comes first".to_owned(),
        StepCode::TokenRefused => format!("{PROVIDER_NAME} refused the line's token"),
        StepCode::ProviderBusy => format!("{PROVIDER_NAME} asked to send more slowly"),
        StepCode::OutcomeUnknown => {
            "no response: it may have arrived, and is tried again under the same key".to_owned()
        }
        StepCode::AlreadyGreeted => "this number was greeted before".to_owned(),
        StepCode::TooOften => "this number was greeted as often as is allowed".to_owned(),
        StepCode::OptedOut => "the customer has opted out".to_owned(),
        StepCode::AppointmentChanged => "the appointment was moved or cancelled before".to_owned(),
        StepCode::Expired | StepCode::ExpiredOnArrival => "it was no longer useful".to_owned(),
        StepCode::Failed => "the phone reports that it failed".to_owned(),
        StepCode::Dropped => "an operator dropped everything that waited for the line".to_owned(),
        _ => or_else("no reason is recorded"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_state_has_a_word_and_a_message_that_went_out_needs_no_reason() {
        for (row, standing, why) in [
            (json!({"state": "accepted"}), Standing::Sent, None),
            (json!({"state": "accepted", "delivery_status": "read"}), Standing::Arrived, None),
            (
                json!({"state": "accepted", "failed": true, "trail": "[[1,\"accepted\",\"failed\"]]"}),
                Standing::NeedsYou,
                Some("the phone reports that it failed"),
            ),
            (
                json!({"state": "held", "trail": "[[1,\"held\",\"line-down\",\"(HTTP 200, status QR)\"]]"}),
                Standing::Waiting,
                Some("the phone must be linked again"),
            ),
            (json!({"state": "suppressed", "reason": "greeted before"}), Standing::Skipped, Some("greeted before")),
            (
                json!({"state": "superseded", "trail": "[[1,\"superseded\",\"superseded\",\"`shipped` is known\"]]"}),
                Standing::Skipped,
                Some("`shipped` is known"),
            ),
            (json!({"state": "claimed"}), Standing::Waiting, Some("a function is sending it")),
        ] {
            assert_eq!((Standing::of_row(&row), explain_row(&row).as_deref()), (standing, why), "{row}");
        }
        for state in MessageState::ALL {
            let row = json!({"state": state.name()});
            let went_out = matches!(Standing::of_row(&row), Standing::Sent | Standing::Arrived);
            assert_eq!(explain_row(&row).is_none(), went_out, "{row}");
        }
    }
}
