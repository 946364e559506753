//! One submission of a sample form.

use jiff::Timestamp;
use tellonce_core::client_config::{ClientConfig, FormConfig, FormKind, FormScheme};
use tellonce_fakes::leads::FakeLeadApis;

/// The name in all submissions.
pub(super) const PERSON: (&str, &str) = ("Noa", "Levi");

/// The forms of a client, with the secrets to sign for them.
pub struct LeadSampleContext<'a> {
    /// The client's configuration.
    pub config: &'a ClientConfig,
    /// The value of a secret by its full name.
    pub secret: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// The fakes that functions ask for leads.
    pub leads: &'a FakeLeadApis,
}

/// One submission.
pub(super) struct SimulatedSubmission<'a> {
    pub(super) context: &'a LeadSampleContext<'a>,
    pub(super) name: &'a str,
    pub(super) form: &'a FormConfig,
    pub(super) phone: &'a str,
    pub(super) has_consent: bool,
    pub(super) is_test: bool,
    /// Unique.
    pub(super) number: i64,
    pub(super) now: Timestamp,
}

/// Whether `HubSpot` posts an event of an app's subscription, and not a contact.
pub(super) fn is_event_subscription(form: &FormConfig) -> bool {
    form.kind == FormKind::HubSpot && form.verify == FormScheme::Signature
}
