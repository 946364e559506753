//! Parts of a body that several senders share: the event's name and Unix times.

use jiff::Timestamp;
use tellonce_core::{
    json::{JsonError, RawJson},
    telemetry::LogLabel,
};

use crate::lead_outcome::LeadSkipReason;

/// Checks that the delivery reports the `expected` event. A body without an event has another
/// shape.
pub(super) fn expect_event(event: RawJson<'_>, expected: &str) -> Result<(), LeadSkipReason> {
    match event.text() {
        Some(event) if event == expected => Ok(()),
        Some(event) => Err(LeadSkipReason::UnknownEvent(LogLabel::new(&event))),
        None => Err(LeadSkipReason::NotUnderstood(JsonError::NoTopic)),
    }
}

/// A time in seconds since 1970.
pub(super) fn parse_unix_seconds(value: RawJson<'_>) -> Option<Timestamp> {
    Timestamp::from_second(value.text()?.parse().ok()?).ok()
}

/// A time in milliseconds since 1970.
pub(super) fn parse_unix_millis(text: &str) -> Option<Timestamp> {
    Timestamp::from_millisecond(text.parse().ok()?).ok()
}
