//! Main types: [`Lead`], the verified [`LeadDelivery`] that it comes from, and [`SkipReason`] for a
//! delivery without a greeting.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use tellonce_core::{
    client_config::{ClientConfig, FormConfig},
    contact::{Phone, PhoneError},
    json::JsonError,
    telemetry::LogLabel,
};

/// A person who consented to be greeted. `Debug` shows neither number nor name, nor anything else
/// that the lead typed.
#[derive(Clone, PartialEq, Eq)]
pub struct Lead {
    /// The sender's id of the submission. If the sender has none, the id is derived from form,
    /// person and minute.
    pub id: String,
    /// The lead's number.
    pub phone: Phone,
    /// The lead's name.
    pub name: Option<String>,
    /// The language that the lead chose: `he`, `en-GB`.
    pub locale: Option<String>,
    /// The option that the lead chose from the client's list.
    pub choice: Option<String>,
    /// The lead's consent.
    pub consent: Consent,
    /// When the lead submitted the form, by the sender's clock. Never later than the receipt.
    pub submitted_at: Timestamp,
}

impl fmt::Debug for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lead")
            .field("id", &self.id)
            .field("phone", &self.phone)
            .field("submitted_at", &self.submitted_at)
            .finish_non_exhaustive()
    }
}

/// The consent of a lead, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// `field consent`, or `stated on the form`. It names the configured field and never an answer.
    pub source: String,
    /// When the lead consented.
    pub at: Timestamp,
}

/// A lead that a delivery names without its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadReference {
    /// The sender's id of the lead.
    pub id: String,
    /// When the lead was created, by the sender's clock.
    pub created_at: Option<Timestamp>,
}

/// What a delivery contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedLead {
    /// A lead with consent.
    Lead(Box<Lead>),
    /// Leads that have to be looked up, each once. The list is never empty.
    NeedsLookup(Vec<LeadReference>),
    /// No lead to greet.
    Skipped(SkipReason),
}

/// Why a lead is not greeted. [`Self::code`] is stable. The text is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// The sender marks the submission as a test.
    #[error("test leads are never greeted")]
    Test,
    /// The lead started the form and has not submitted it.
    #[error("partial response: the lead has not submitted the form")]
    Partial,
    /// Deliveries of this event are not submissions.
    #[error("event `{0}` is not a form submission")]
    UnknownEvent(LogLabel),
    /// The sender stores the entry as spam or trash.
    #[error("entry has status `{0}` and is not active")]
    NotActive(LogLabel),
    /// The submission belongs to a form outside `form_ids`.
    #[error("the sender's form is not listed in `form_ids`")]
    OtherForm,
    /// A CRM contact that was imported, typed in or synchronised.
    #[error("contact source is `{0}`, not a form: cold lists are a boundary (docs/boundaries.md)")]
    NotFromAForm(LogLabel),
    /// Several submissions in one delivery.
    #[error("delivery contains a list, and a delivery must be one lead: imports are a boundary (docs/boundaries.md)")]
    List,
    /// The consent field is missing or does not hold a yes.
    #[error("the lead did not consent to messages")]
    NoConsent,
    /// The consent field holds an answer that is neither a known yes nor a known no.
    #[error("the answer in the consent field is neither yes nor no; if it means yes, add it to `accepts`")]
    ConsentUnclear,
    /// The submission has no consent field, although this sender posts every checkbox.
    #[error("the consent field is missing; check whether it was renamed in the form")]
    ConsentFieldMissing,
    /// The submission has several numbers, and one may belong to another person.
    #[error("the submission has several phone numbers; name the field of the lead's own number in `fields`")]
    PhoneUnclear,
    /// The lead left no number, or its field was not found.
    #[error("no phone number was found; if there is one, name its field in `fields`")]
    NoPhone,
    /// The lead's number cannot receive messages.
    #[error("could not use the phone number: {0}")]
    PhoneUnusable(PhoneError),
    /// The lead's number belongs to a country that the form does not greet.
    #[error("the number belongs to {0}, which is not in the form's `countries`")]
    CountryNotAllowed(LogLabel),
    /// The body does not have the shape that this sender documents. Holds the place in the body,
    /// never its content.
    #[error("could not parse the delivery: {0}")]
    NotUnderstood(JsonError),
    /// The lead has to be looked up, and no credential is stored.
    #[error("no credential is stored to look up the lead")]
    LookupNotConfigured,
    /// The sender's API refuses the credential.
    #[error("the sender's API refused the credential; store a valid one, then replay the delivery")]
    CredentialRefused,
    /// The sender's response cannot be used.
    #[error("could not look up the lead")]
    LookupFailed,
    /// The sender does not know the lead, or the token may not read it.
    #[error("the sender did not find the lead; it may be deleted, or the token may lack a permission")]
    LeadNotFound,
}

impl SkipReason {
    /// A stable name for rows and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Partial => "partial",
            Self::UnknownEvent(_) => "unknown-event",
            Self::NotActive(_) => "not-active",
            Self::OtherForm => "other-form",
            Self::NotFromAForm(_) => "not-from-a-form",
            Self::List => "list",
            Self::NoConsent => "no-consent",
            Self::ConsentUnclear => "consent-unclear",
            Self::ConsentFieldMissing => "consent-field-missing",
            Self::PhoneUnclear => "phone-ambiguous",
            Self::NoPhone => "no-phone",
            Self::PhoneUnusable(_) => "phone-unusable",
            Self::CountryNotAllowed(_) => "country-not-allowed",
            Self::NotUnderstood(_) => "not-understood",
            Self::LookupNotConfigured => "lookup-not-configured",
            Self::CredentialRefused => "credential-refused",
            Self::LookupFailed => "lookup-failed",
            Self::LeadNotFound => "lead-not-found",
        }
    }

    /// Whether an operator should act: a lead may be waiting, and a corrected configuration could
    /// greet them.
    pub const fn needs_attention(&self) -> bool {
        match self {
            Self::List
            | Self::ConsentUnclear
            | Self::ConsentFieldMissing
            | Self::PhoneUnclear
            | Self::NoPhone
            | Self::NotUnderstood(_)
            | Self::LookupNotConfigured
            | Self::CredentialRefused
            | Self::LookupFailed
            | Self::LeadNotFound => true,
            Self::Test
            | Self::Partial
            | Self::UnknownEvent(_)
            | Self::NotActive(_)
            | Self::OtherForm
            | Self::NotFromAForm(_)
            | Self::NoConsent
            | Self::PhoneUnusable(_)
            | Self::CountryNotAllowed(_) => false,
        }
    }

    /// The reason for a required field without a usable value.
    pub(crate) fn missing_field(location: &str) -> Self {
        Self::NotUnderstood(JsonError::Missing(location.into()))
    }

    /// The outcome that is stored with the delivery: code and explanation.
    pub fn to_outcome(&self) -> String {
        format!("{}: {self}", self.code())
    }
}

/// A verified delivery of a form.
#[derive(Debug, Clone, Copy)]
pub struct LeadDelivery<'a> {
    /// The form's name in `client.toml`.
    pub form_name: &'a str,
    /// The form's configuration.
    pub form: &'a FormConfig,
    /// The client's configuration.
    pub config: &'a ClientConfig,
    /// The headers that the inbox stored.
    pub headers: &'a BTreeMap<String, String>,
    /// The raw body.
    pub body: &'a [u8],
    /// When the delivery was accepted.
    pub received_at: Timestamp,
}
