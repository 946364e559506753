//! The parsers of the senders, one file per kind of form. Facts and sources: `docs/senders.md`.
//!
//! A parser only flattens: it turns a [`crate::lead::LeadDelivery`] into a
//! [`crate::submission::LeadSubmission`], or returns the reason why the delivery contains none.
//! [`crate::facts`] finds the meaning of the fields, in the same way for every sender.
//! [`crate::lead_parser`] chooses the parser.

mod body;
pub(crate) mod elementor;
pub(crate) mod google_ads;
pub(crate) mod gravity_forms;
pub(crate) mod hubspot;
pub(crate) mod jotform;
pub(crate) mod meta;
pub(crate) mod tally;
pub(crate) mod typeform;
pub(crate) mod web;
pub(crate) mod webflow;
