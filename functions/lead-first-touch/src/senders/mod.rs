//! How each sender says what somebody sent. Facts and sources: `docs/senders.md`.
//!
//! A reader only flattens: from a [`crate::lead::LeadDelivery`] to a [`crate::expect_submission::LeadSubmission`], or the reason why it
//! holds none. What the fields mean is found in one place for all of them, [`crate::facts`].

mod elementor;
mod google_ads;
mod gravity_forms;
mod hubspot;
mod jotform;
mod meta;
mod tally;
mod typeform;
mod web;
mod webflow;

use jiff::Timestamp;
use tellonce_core::{
    client_config::FormKind,
    json::{JsonError, RawJson},
    telemetry::LogLabel,
};

use crate::{
    lead::{LeadDelivery, LeadReference, SkipReason},
    submission::LeadSubmission,
};

/// What a delivery holds.
pub(crate) enum DeliveryContent {
    /// What somebody sent.
    Submission(LeadSubmission),
    /// Where to ask for it.
    References(Vec<LeadReference>),
}

/// Reads a delivery, as its form's kind has it.
pub(crate) fn parse_delivery(delivery: &LeadDelivery<'_>) -> Result<DeliveryContent, SkipReason> {
    let submission = match delivery.form.kind {
        FormKind::Meta => return meta::parse_references(delivery).map(DeliveryContent::References),
        FormKind::HubSpot => return hubspot::parse_delivery(delivery),
        FormKind::Typeform => typeform::parse_submission(delivery),
        FormKind::GoogleAds => google_ads::parse_submission(delivery),
        FormKind::Webflow => webflow::parse_submission(delivery),
        FormKind::Tally => tally::parse_submission(delivery),
        FormKind::Jotform => jotform::parse_submission(delivery),
        FormKind::Elementor => elementor::parse_submission(delivery),
        FormKind::GravityForms => gravity_forms::parse_submission(delivery),
        FormKind::WpForms | FormKind::ContactForm7 | FormKind::Web => web::parse_submission(delivery),
    };
    submission.map(DeliveryContent::Submission)
}

/// Reads what was answered to a question about a reference.
pub(crate) fn parse_response(
    delivery: &LeadDelivery<'_>,
    reference: &LeadReference,
    response: &[u8],
) -> Result<LeadSubmission, SkipReason> {
    match delivery.form.kind {
        FormKind::Meta => meta::parse_response(reference, response),
        FormKind::HubSpot => hubspot::parse_response(delivery, reference, response),
        // Nobody else is asked.
        _ => Err(SkipReason::LookupFailed),
    }
}

/// Goes on if the delivery is of the `expected` event; none at all is a body of another shape.
fn expect_event(event: RawJson<'_>, expected: &str) -> Result<(), SkipReason> {
    match event.text() {
        Some(event) if event == expected => Ok(()),
        Some(event) => Err(SkipReason::UnknownEvent(LogLabel::new(&event))),
        None => Err(SkipReason::NotUnderstood(JsonError::NoTopic)),
    }
}

/// A point in time in seconds since 1970.
fn parse_unix_seconds(value: RawJson<'_>) -> Option<Timestamp> {
    Timestamp::from_second(value.text()?.parse().ok()?).ok()
}

/// A point in time in milliseconds since 1970.
fn parse_unix_millis(text: &str) -> Option<Timestamp> {
    Timestamp::from_millisecond(text.parse().ok()?).ok()
}
