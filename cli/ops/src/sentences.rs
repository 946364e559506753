//! Codes of a trail, in words for people.

use tellonce_core::{ledger::StepCode, provider::PROVIDER_NAME};

/// What a code of a trail says to people: a word or two, and why as a sentence without its full
/// stop. `None` for a code of another version.
pub fn describe_step(code: &str, detail: Option<&str>) -> Option<(&'static str, String)> {
    let code = StepCode::from_name(code)?;
    Some((label_step(code), explain_step(code, detail)))
}

/// What happened, in a word or two.
fn label_step(code: StepCode) -> &'static str {
    match code {
        StepCode::Created | StepCode::Due => "sending",
        StepCode::LeaseExpired => "tried again",
        StepCode::QuietHours
        | StepCode::FirstContacts
        | StepCode::InFlight
        | StepCode::RateLimit
        | StepCode::LineStopped
        | StepCode::TokenRefused
        | StepCode::LineDown
        | StepCode::OutOfTime
        | StepCode::SecretUnreadable
        | StepCode::ProviderBusy
        | StepCode::NotSent => "waits",
        StepCode::OutcomeUnknown => "no response",
        StepCode::Accepted | StepCode::Sent => "sent",
        StepCode::OutcomeStayedUnknown | StepCode::KeyConflict | StepCode::AfterCancellation => "needs you",
        StepCode::Refused => "refused",
        StepCode::Superseded
        | StepCode::AppointmentChanged
        | StepCode::NewerLead
        | StepCode::OptedOut
        | StepCode::Dropped
        | StepCode::Suppressed
        | StepCode::AlreadyGreeted
        | StepCode::TooOften => "skipped",
        StepCode::Incomplete => "incomplete",
        StepCode::Expired | StepCode::ExpiredOnArrival => "expired",
        StepCode::Delivered => "arrived",
        StepCode::Read => "read",
        StepCode::Failed => "failed",
        StepCode::Deleted => "deleted",
        StepCode::Resent => "resent",
        StepCode::Forgotten => "forgotten",
        StepCode::DataExpired => "emptied",
    }
}

/// Why it happened, as a sentence without its full stop. Some details are that sentence.
fn explain_step(code: StepCode, detail: Option<&str>) -> String {
    let or_else = |text: &str| detail.unwrap_or(text).to_owned();
    let with_detail = |text: &str| detail.map_or_else(|| text.to_owned(), |detail| format!("{text}: {detail}"));
    match code {
        StepCode::Created => "its event came, and a function took it".to_owned(),
        StepCode::Due => "it was due, and a function took it".to_owned(),
        StepCode::LeaseExpired => {
            "the function that had taken it ended without a result, so it may have been sent".to_owned()
        }
        StepCode::QuietHours => "until the client's quiet hours end".to_owned(),
        StepCode::FirstContacts => {
            "the line wrote to as many new people as `first_contacts_per_day` allows, so it waits for the next day"
                .to_owned()
        }
        StepCode::InFlight => or_else("an older message of the same order comes first"),
        StepCode::RateLimit => "the line sends `messages_per_minute`, and others were before it".to_owned(),
        StepCode::LineStopped => "an operator stopped the line".to_owned(),
        StepCode::TokenRefused => format!("{PROVIDER_NAME} refused the line's token; store the new one"),
        StepCode::LineDown => format!("{}; check the line in {PROVIDER_NAME}", or_else("the line cannot send")),
        StepCode::OutOfTime => "the function's time ran out".to_owned(),
        StepCode::SecretUnreadable => or_else("the line's token cannot be read"),
        StepCode::ProviderBusy => format!("{PROVIDER_NAME} asked to send more slowly"),
        StepCode::NotSent => or_else("the request did not leave"),
        StepCode::OutcomeUnknown => with_detail("it may have arrived, so it is sent again under the same key"),
        StepCode::OutcomeStayedUnknown => or_else("no retry had a response"),
        StepCode::Accepted => format!("{PROVIDER_NAME} accepted it"),
        StepCode::Refused => or_else("it was refused for good"),
        StepCode::KeyConflict => or_else("its key is in use, or was used for another message"),
        StepCode::AfterCancellation => or_else("it came after a cancellation"),
        StepCode::Superseded => or_else("a newer message makes it untrue"),
        StepCode::AppointmentChanged => "the appointment was moved or cancelled before the reminder was due".to_owned(),
        StepCode::NewerLead => or_else("a later lead of the same person is greeted instead"),
        StepCode::OptedOut => "the customer has opted out".to_owned(),
        StepCode::Dropped => "an operator dropped everything that waited for the line".to_owned(),
        StepCode::Expired => or_else("it was no longer useful"),
        StepCode::ExpiredOnArrival => "it was no longer useful when its event came".to_owned(),
        StepCode::Suppressed => or_else("it is not to be sent"),
        StepCode::AlreadyGreeted => or_else("the person was greeted before"),
        StepCode::TooOften => or_else("the number was greeted as often as is allowed"),
        StepCode::Incomplete => or_else("no message could be made of its event"),
        StepCode::Sent => "the line shows it".to_owned(),
        StepCode::Delivered => "it is on the phone".to_owned(),
        StepCode::Read => "the customer read it".to_owned(),
        StepCode::Failed => "the line reports that it failed".to_owned(),
        StepCode::Deleted => "it was deleted on the line".to_owned(),
        StepCode::Resent => "an operator decided to send it again, under the same key".to_owned(),
        StepCode::Forgotten => {
            "the customer was forgotten: number, name and text are deleted, and it is not sent again".to_owned()
        }
        StepCode::DataExpired => {
            "number, name and text are deleted, because `retention.personal_days` have passed".to_owned()
        }
    }
}

/// A number with its noun. The plural ends in an s, or is given after `|`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    match noun.split_once('|') {
        Some((one, _)) if number == 1 => format!("1 {one}"),
        Some((_, many)) => format!("{number} {many}"),
        None if number == 1 => format!("1 {noun}"),
        None => format!("{number} {noun}s"),
    }
}
