//! A lead in our own words: somebody who left their number, and by what they agreed to be written to.
//!
//! [`read`] turns a verified delivery into a [`ParsedLead`]; where that only names leads, [`read_answer`] takes what the sender
//! answers when it is asked for one. Both are pure functions of the delivery and the client's configuration; they never
//! panic, and what they can't use is a [`SkipReason`] to be recorded.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use tellonce_core::{
    client_config::{ClientConfig, FormConfig},
    contact::{Phone, PhoneError},
    json::JsonError,
    telemetry::LogLabel,
};

use crate::{
    facts::{self, LeadFacts},
    senders::{self, DeliveryContent},
};

/// Somebody who may be greeted. Its `Debug` shows neither number nor name, nor what else somebody typed.
#[derive(Clone, PartialEq, Eq)]
pub struct Lead {
    /// The sender's id of the submission, or one that follows from form, person and minute where the sender has none.
    pub id: String,
    /// The number that they left.
    pub phone: Phone,
    /// Their name.
    pub name: Option<String>,
    /// The language that they chose: `he`, `en-GB`.
    pub locale: Option<String>,
    /// What they chose of the client's list.
    pub choice: Option<String>,
    /// By what they agreed.
    pub consent: Consent,
    /// When they sent it, by the sender's clock and never after it was received.
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

/// By what somebody agreed to be written to, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// `field find_consent`, or `stated on the form`. Names the field as it is configured, never an answer.
    pub source: String,
    /// When.
    pub at: Timestamp,
}

/// A lead that a delivery names and does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadReference {
    /// Its id at the sender's.
    pub id: String,
    /// When it was made, by the sender's clock.
    pub created_at: Option<Timestamp>,
}

/// What a delivery says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedLead {
    /// Somebody who may be greeted.
    Lead(Box<Lead>),
    /// Leads that have to be asked for, each once; never empty.
    NeedsLookup(Vec<LeadReference>),
    /// Nobody.
    Skipped(SkipReason),
}

/// Why nobody is greeted. [`Self::code`] is what is recorded; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// The sender says that it is a trial.
    #[error("it is a test of the sender's, and never greeted")]
    Test,
    /// The form was begun and not sent.
    #[error("the form was not sent yet: a partial response")]
    Partial,
    /// Deliveries of this kind are no submission.
    #[error("deliveries of event `{0}` are no submission of a form")]
    UnknownEvent(LogLabel),
    /// The sender keeps it among what is no submission any more, or never was: spam, trash.
    #[error("the entry is not active but `{0}`")]
    NotActive(LogLabel),
    /// The submission is of a form that is not meant.
    #[error("it is of another of the sender's forms than those in `form_ids`")]
    OtherForm,
    /// A CRM's contact that no form has made: imported, typed in, synchronised.
    #[error("the contact comes from `{0}` and not from a form: cold lists are a boundary (docs/boundaries.md)")]
    NotFromAForm(LogLabel),
    /// Several submissions in one delivery.
    #[error("it is a list, and one delivery is one lead: imports are a boundary (docs/boundaries.md)")]
    List,
    /// The field that must say yes says something else, or is missing.
    #[error("they did not agree to be written to")]
    NoConsent,
    /// The field of consent holds an answer that is neither a yes nor a no that we know.
    #[error("whether they agreed is unclear; if the answer in the consent field means yes, add it to `accepts`")]
    ConsentUnclear,
    /// The field of consent is not among what was sent, although this sender posts every box.
    #[error("the field of consent is not there; was it renamed?")]
    ConsentFieldMissing,
    /// Several numbers stand there, and any of them may be somebody else's.
    #[error("there are several phone numbers; name the field of theirs in `fields`")]
    PhoneUnclear,
    /// They left no number, or it was not found.
    #[error("no phone number was found; if there is one, name its field in `fields`")]
    NoPhone,
    /// Their number can't be messaged.
    #[error("the phone number can't be used: {0}")]
    PhoneUnusable(PhoneError),
    /// Their number is of a country that is not meant.
    #[error("the number is of {0}, which is not among the form's `countries`")]
    CountryNotAllowed(LogLabel),
    /// Not of the shape that this sender documents. Holds where, never what.
    #[error("not understood: {0}")]
    NotUnderstood(JsonError),
    /// The lead has to be asked for, and there is no credential to ask with.
    #[error("there is no credential to ask for the lead with")]
    LookupNotConfigured,
    /// The sender's API does not take our credential.
    #[error("the sender's API does not accept our credential; store a valid one, then replay this")]
    CredentialRefused,
    /// The lead was asked for, and the answer is of no use.
    #[error("the lead could not be read back")]
    LookupFailed,
    /// The sender does not know the lead, or does not show it to us.
    #[error("the sender shows no such lead; it may be deleted, or the token may lack a permission")]
    LeadNotFound,
}

impl SkipReason {
    /// A stable name for records and metrics.
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

    /// Whether a human should look: somebody may be waiting for an answer that a mended configuration would give.
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

    /// Nothing usable where a fact must stand.
    pub(crate) fn missing_field(location: &str) -> Self {
        Self::NotUnderstood(JsonError::Missing(location.into()))
    }

    /// What is kept beside the delivery: code and explanation.
    pub fn to_outcome(&self) -> String {
        format!("{}: {self}", self.code())
    }
}

/// A verified delivery of a form.
#[derive(Debug, Clone, Copy)]
pub struct LeadDelivery<'a> {
    /// The form's name in `client.toml`.
    pub form_name: &'a str,
    /// The form.
    pub form: &'a FormConfig,
    /// The client.
    pub config: &'a ClientConfig,
    /// What the inbox kept of its headers.
    pub headers: &'a BTreeMap<String, String>,
    /// Its raw bytes.
    pub body: &'a [u8],
    /// When it was accepted.
    pub received_at: Timestamp,
}

/// Reads a verified delivery.
pub fn parse_lead(delivery: &LeadDelivery<'_>) -> ParsedLead {
    let parsed = senders::parse_delivery(delivery).and_then(|content| match content {
        DeliveryContent::References(references) => Ok(ParsedLead::NeedsLookup(references)),
        DeliveryContent::Submission(submission) => {
            let submission = facts::check_form(delivery.form, submission)?;
            facts::build_lead(delivery, &submission).map(Box::new).map(ParsedLead::Lead)
        }
    });
    parsed.unwrap_or_else(ParsedLead::Skipped)
}

/// Reads the body of the sender's answer about a lead that `delivery` named: of Meta's Graph API about `/{leadgen_id}`, of
/// `HubSpotClient`'s API about `/crm/v3/objects/contacts/{find_id}`.
pub fn parse_lead_response(
    delivery: &LeadDelivery<'_>,
    reference: &LeadReference,
    response: &[u8],
) -> Result<Lead, SkipReason> {
    let submission = senders::parse_response(delivery, reference, response)?;
    // Which form it is of was asked of the delivery. An answer that says it again is not to say another one.
    let submission = match &submission.form_id {
        Some(_) => facts::check_form(delivery.form, submission)?,
        None => submission,
    };
    facts::build_lead(delivery, &submission)
}

/// What was found in the submission that a delivery holds, whether or not anybody is greeted for it; none if it holds none.
/// For people who write down where the facts stand.
pub fn find_facts(delivery: &LeadDelivery<'_>) -> Option<LeadFacts> {
    match senders::parse_delivery(delivery) {
        Ok(DeliveryContent::Submission(submission)) => Some(LeadFacts::from_submission(delivery, &submission)),
        Ok(DeliveryContent::References(_)) | Err(_) => None,
    }
}

/// The same of an answer about a lead that `delivery` named.
pub fn find_facts_in_response(
    delivery: &LeadDelivery<'_>,
    reference: &LeadReference,
    response: &[u8],
) -> Option<LeadFacts> {
    let submission = senders::parse_response(delivery, reference, response).ok()?;
    Some(LeadFacts::from_submission(delivery, &submission))
}
