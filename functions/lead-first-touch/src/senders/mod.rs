//! How each sender says what somebody sent. Facts and sources: `docs/senders.md`.
//!
//! A reader only flattens: from a [`crate::lead::Delivery`] to a [`crate::submission::Submission`], or the reason why it
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
use shared::{
    client_config::FormKind,
    json::{Misread, Raw},
    observe::Label,
};

use crate::{
    lead::{Delivery, NothingBecause, Reference},
    submission::Submission,
};

/// What a delivery holds.
pub(crate) enum Said {
    /// What somebody sent.
    Submission(Submission),
    /// Where to ask for it.
    References(Vec<Reference>),
}

/// Reads a delivery, as its form's kind has it.
pub(crate) fn read(delivery: &Delivery<'_>) -> Result<Said, NothingBecause> {
    let submission = match delivery.form.kind {
        FormKind::Meta => return meta::read(delivery).map(Said::References),
        FormKind::HubSpot => return hubspot::read(delivery),
        FormKind::Typeform => typeform::read(delivery),
        FormKind::GoogleAds => google_ads::read(delivery),
        FormKind::Webflow => webflow::read(delivery),
        FormKind::Tally => tally::read(delivery),
        FormKind::Jotform => jotform::read(delivery),
        FormKind::Elementor => elementor::read(delivery),
        FormKind::GravityForms => gravity_forms::read(delivery),
        FormKind::WpForms | FormKind::ContactForm7 | FormKind::Web => web::read(delivery),
    };
    submission.map(Said::Submission)
}

/// Reads what was answered to a question about a reference.
pub(crate) fn read_answer(
    delivery: &Delivery<'_>,
    reference: &Reference,
    answer: &[u8],
) -> Result<Submission, NothingBecause> {
    match delivery.form.kind {
        FormKind::Meta => meta::answer(reference, answer),
        FormKind::HubSpot => hubspot::answer(delivery, reference, answer),
        // Nobody else is asked.
        _ => Err(NothingBecause::ReadBackFailed),
    }
}

/// Goes on if the delivery is of the `expected` event; none at all is a body of another shape.
fn expect_event(event: Raw<'_>, expected: &str) -> Result<(), NothingBecause> {
    match event.text() {
        Some(event) if event == expected => Ok(()),
        Some(event) => Err(NothingBecause::UnknownEvent(Label::new(&event))),
        None => Err(NothingBecause::NotUnderstood(Misread::NoTopic)),
    }
}

/// A point in time in seconds since 1970.
fn unix_seconds(value: Raw<'_>) -> Option<Timestamp> {
    Timestamp::from_second(value.text()?.parse().ok()?).ok()
}

/// A point in time in milliseconds since 1970.
fn unix_millis(text: &str) -> Option<Timestamp> {
    Timestamp::from_millisecond(text.parse().ok()?).ok()
}
