//! The outcome of a lead delivery that the ledger's rows do not explain.

use tellonce_core::{
    contact::PhoneError,
    inbox::DeliveryOutcome,
    json::JsonError,
    ledger::{IdempotencyKey, MessageState},
    provider::MessageRejected,
    telemetry::LogLabel,
    waiting_lookup::UnansweredLookup,
    wording::WordingError,
};

/// Why a lead got no new message. `Display` writes the explanation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeadOutcome {
    /// The configuration has no form of this name any more.
    #[error("this form is not in the configuration any more")]
    FormRemoved,
    /// The delivery or the lookup contains no lead to greet.
    #[error("{0}")]
    Skipped(LeadSkipReason),
    /// The text could not be built.
    #[error("{0}")]
    Wording(#[from] WordingError),
    /// The text breaks a limit of the provider.
    #[error("{0}")]
    TextRejected(#[from] MessageRejected),
    /// The form had too many leads, and the lead waits for an operator.
    #[error("the form had too many leads at once; check them, then release or drop them (docs/operations.md)")]
    HeldForReview,
    /// An operator dropped the held leads of the form.
    #[error("an operator checked the form's leads and dropped them")]
    Dropped,
    /// The lead's row is already in the ledger, in this state.
    #[error("{0} is {state} in the ledger", state = .1.name())]
    AlreadyKnown(IdempotencyKey, MessageState),
    /// The number was greeted for an earlier lead. The row of this key names that lead.
    #[error("the number was greeted before; row {0} names the earlier lead")]
    AlreadyGreeted(IdempotencyKey),
    /// As many forms as allowed have greeted the number. The row of this key has the count.
    #[error("the number reached its limit of greetings; row {0} gives the count")]
    TooOften(IdempotencyKey),
    /// The lead opted out.
    #[error("the lead asked not to be messaged")]
    OptedOut,
    /// Leads of the delivery could not be looked up.
    #[error("{0}")]
    Unanswered(UnansweredLookup),
    /// The lookup or the dispatch failed for good. Holds the chain of errors.
    #[error("{0}")]
    Failed(String),
}

impl LeadOutcome {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::FormRemoved => "form-removed",
            Self::Skipped(reason) => reason.code(),
            Self::Wording(error) => error.code(),
            Self::TextRejected(error) => error.code(),
            Self::HeldForReview => "held-for-review",
            Self::Dropped => "dropped",
            Self::AlreadyKnown(..) => "already-known",
            Self::AlreadyGreeted(_) => "already-greeted",
            Self::TooOften(_) => "too-often",
            Self::OptedOut => "opted-out",
            Self::Unanswered(lookup) => lookup.code(),
            Self::Failed(_) => "failed",
        }
    }

    /// Whether an operator should act. A lookup that ended was counted when it ended.
    pub(crate) const fn needs_attention(&self) -> bool {
        match self {
            Self::Skipped(reason) => reason.needs_attention(),
            Self::Wording(_) | Self::TextRejected(_) | Self::Failed(_) => true,
            Self::FormRemoved
            | Self::HeldForReview
            | Self::Dropped
            | Self::AlreadyKnown(..)
            | Self::AlreadyGreeted(_)
            | Self::TooOften(_)
            | Self::OptedOut
            | Self::Unanswered(_) => false,
        }
    }

    /// Whether leads of the delivery wait for a lookup.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self, Self::Unanswered(UnansweredLookup { waits_until: Some(_), .. }))
    }

    /// The outcome of a delivery with several leads. It has the code of the first. Leads that wait
    /// for a lookup come first, because a replay requires their code. Held ones come next, because
    /// operators release these. `None` without outcomes.
    pub(crate) fn merge_outcomes(mut outcomes: Vec<Self>) -> Option<DeliveryOutcome> {
        outcomes.sort_by_key(|outcome| (!outcome.is_waiting(), *outcome != Self::HeldForReview));
        outcomes.into_iter().map(DeliveryOutcome::from).reduce(|mut merged, next| {
            merged.text = format!("{}; {next}", merged.text);
            merged.needs_person |= next.needs_person;
            merged
        })
    }
}

impl From<LeadOutcome> for DeliveryOutcome {
    fn from(outcome: LeadOutcome) -> Self {
        match outcome {
            LeadOutcome::Unanswered(lookup) => lookup.into(),
            outcome => Self::new(outcome.code(), &outcome).needing_person(outcome.needs_attention()),
        }
    }
}

/// Why a delivery or a lookup contains no lead to greet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeadSkipReason {
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
    /// The sender's response cannot be used.
    #[error("could not look up the lead")]
    LookupFailed,
    /// The sender does not know the lead, or the token may not read it.
    #[error("the sender did not find the lead; it may be deleted, or the token may lack a permission")]
    LeadNotFound,
}

impl LeadSkipReason {
    /// The stable code.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_several_leads_is_the_one_that_something_waits_for() {
        let waits_until = Some(jiff::Timestamp::UNIX_EPOCH);
        let waiting = || LeadOutcome::Unanswered(UnansweredLookup { reason: "away".to_owned(), waits_until });
        let code = |outcomes| LeadOutcome::merge_outcomes(outcomes).map(|outcome| outcome.code);
        assert_eq!(code(vec![]), None);
        assert_eq!(code(vec![LeadOutcome::OptedOut, LeadOutcome::Dropped]), Some("opted-out"));
        assert_eq!(code(vec![LeadOutcome::OptedOut, LeadOutcome::HeldForReview]), Some("held-for-review"));
        assert_eq!(code(vec![LeadOutcome::HeldForReview, waiting()]), Some("waiting-for-lookup"));
        let ended = LeadOutcome::Unanswered(UnansweredLookup::ended("away"));
        assert_eq!(code(vec![ended, LeadOutcome::HeldForReview]), Some("held-for-review"));
    }
}
