//! The facts of a submission, found among its fields. The search is the same for every sender.
//!
//! If the client names the field of a fact, only that field counts. Other facts are searched: a
//! phone number first in the fields that the sender marks as telephone fields, then, like every
//! other fact, under its usual names ([`usual_names`]). Case, spaces and punctuation do not count:
//! `Phone-Number:` is `phone number`.
//!
//! A nested field is searched if every parent is neutral ([`NEUTRAL_PARENTS`]), as in
//! `contact.phone` and `data.customer.phone`. `agent.phone` is the number of another person.
//!
//! Consent is never guessed. It is a yes in the field that the client names, or it is stated on the
//! form.
//!
//! [`LeadFacts`] records where each fact was found, for `tellonce preview`. The [`Lead`] is built
//! from the same facts.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tellonce_core::{client_config::FormConfig, contact::Phone, ledger::Consent};

use crate::{
    field_search::{FieldSearch, check_country},
    lead::{Lead, LeadDelivery},
    lead_outcome::LeadSkipReason,
    submission::LeadSubmission,
};

pub use crate::lead_fact::{FactSource, LeadFact, NEUTRAL_PARENTS, usual_names};

/// What was found in a submission, and where. It holds what the lead typed, so it has no `Debug`.
pub struct LeadFacts {
    /// Whether the sender marks the submission as a test.
    pub is_test: bool,
    /// The source of the consent, as it is stored.
    pub consent: Result<String, LeadSkipReason>,
    /// The first number that can receive messages, of any country.
    pub phone: Result<Phone, LeadSkipReason>,
    /// The lead's name.
    pub name: Option<String>,
    /// Whether the lead's name cannot be read.
    pub has_unreadable_name: bool,
    /// The language that the lead chose.
    pub locale: Option<String>,
    /// The option that the lead chose from the client's list.
    pub choice: Option<String>,
    /// The sender's id of the submission.
    pub id: Option<String>,
    /// The sender's id of the form.
    pub form_id: Option<String>,
    /// When the lead submitted the form, if the delivery contains a time.
    pub submitted_at: Option<Timestamp>,
    /// Where each fact was found, by its key in `client.toml`. A rejected candidate is listed too.
    pub sources: BTreeMap<&'static str, FactSource>,
    /// All names of each field.
    pub fields: Vec<Vec<String>>,
}

impl LeadFacts {
    /// Finds the facts of a submission.
    pub(crate) fn from_submission(delivery: &LeadDelivery<'_>, submission: &LeadSubmission) -> Self {
        let search = FieldSearch { form: delivery.form, fields: &submission.fields, pseudonyms: delivery.pseudonyms };
        let mut sources = BTreeMap::new();
        let mut record_source =
            |fact: &'static str, source: Option<FactSource>| drop(source.map(|place| sources.insert(fact, place)));
        let (consent, source) = search.find_consent();
        record_source("consent", source);
        let (phone, field) = search.find_phone(delivery);
        record_source(LeadFact::Phone.config_name(), field.map(FactSource::from_field));
        let (name, field) = search.find_name().unzip();
        record_source(LeadFact::Name.config_name(), field.map(FactSource::Field));
        let (locale, field) = search.find_language().unzip();
        record_source(LeadFact::Language.config_name(), field.map(FactSource::from_field));
        let (choice, field) = search.find_choice().unzip();
        record_source("choice", field.map(FactSource::from_field));
        // A configured field comes first, then the sender's own place, then a field with a usual
        // name.
        let configured = &delivery.form.fields;
        let from_sender = submission.id.clone().map(|id| (id, FactSource::Sender));
        let (id, source) = prefer_configured(configured.id.is_some(), search.find_id(), from_sender).unzip();
        record_source(LeadFact::Id.config_name(), source);
        let from_sender = submission.form_id.clone().map(|id| (id, FactSource::Sender));
        let (form_id, source) = prefer_configured(false, search.find_form_id(), from_sender).unzip();
        record_source(LeadFact::FormId.config_name(), source);
        let from_sender = submission.submitted_at.map(|at| (at, FactSource::Sender));
        let (submitted_at, source) =
            prefer_configured(configured.submitted_at.is_some(), search.find_submitted_at(), from_sender).unzip();
        record_source(LeadFact::SubmittedAt.config_name(), source);
        let is_test = submission.is_test || search.is_test();
        let fields = submission.fields.iter().map(|field| field.names.clone()).collect();
        let has_unreadable_name = search.has_unreadable_name();
        Self {
            is_test,
            consent,
            phone,
            name,
            has_unreadable_name,
            locale,
            choice,
            id,
            form_id,
            submitted_at,
            sources,
            fields,
        }
    }
}

/// Returns the value of a configured field, else the value at the sender's own place.
fn prefer_configured<T>(
    is_configured: bool,
    found: Option<(T, &str)>,
    from_sender: Option<(T, FactSource)>,
) -> Option<(T, FactSource)> {
    let found = found.map(|(fact, field)| (fact, FactSource::from_field(field)));
    if is_configured { found.or(from_sender) } else { from_sender.or(found) }
}

/// Builds the lead that a submission describes.
pub(crate) fn build_lead(delivery: &LeadDelivery<'_>, submission: &LeadSubmission) -> Result<Lead, LeadSkipReason> {
    let facts = LeadFacts::from_submission(delivery, submission);
    if facts.is_test {
        return Err(LeadSkipReason::Test);
    }
    let source = facts.consent?;
    let phone = facts.phone?;
    check_country(delivery, &phone)?;
    let submitted_at = facts.submitted_at.unwrap_or(delivery.received_at).min(delivery.received_at);
    let name = facts.name;
    let id_source = facts.sources.get(LeadFact::Id.config_name());
    let id = match facts.id {
        Some(id) if id_source == Some(&FactSource::Sender) => id,
        Some(id) => scope_id(delivery, &id, &phone),
        None => derive_id(delivery, &phone, name.as_deref()),
    };
    Ok(Lead {
        id,
        phone,
        locale: facts.locale,
        choice: facts.choice,
        consent: Consent { source, at: submitted_at },
        name,
        has_unreadable_name: facts.has_unreadable_name,
        submitted_at,
    })
}

/// Whether the form's configuration accepts submissions of the sender's form with this id. If
/// `form_ids` is set, a submission without a form id is not accepted.
pub(crate) fn is_expected_form(form: &FormConfig, id: Option<&str>) -> bool {
    form.form_ids.is_empty() || id.is_some_and(|id| form.form_ids.iter().any(|form_id| form_id == id))
}

/// Why the submission is not accepted, if [`is_expected_form`] rejects its form.
pub(crate) fn check_form(delivery: &LeadDelivery<'_>, submission: &LeadSubmission) -> Result<(), LeadSkipReason> {
    let LeadDelivery { form, pseudonyms, .. } = *delivery;
    let search = FieldSearch { form, fields: &submission.fields, pseudonyms };
    let id = submission.form_id.clone().or_else(|| Some(search.find_form_id()?.0));
    if is_expected_form(form, id.as_deref()) { Ok(()) } else { Err(LeadSkipReason::OtherForm) }
}

/// Scopes an id from a field to its number. A visitor can write any id into a field, and must not
/// take the id of another lead.
fn scope_id(delivery: &LeadDelivery<'_>, id: &str, phone: &Phone) -> String {
    let pseudonym = delivery.pseudonyms.pseudonym(phone.canonical().as_bytes());
    format!("{id}-{}", pseudonym.get(..16).unwrap_or(&pseudonym))
}

/// Derives an id from form, number, name and minute. The same submission within a minute gets the
/// same id. The colon keeps a derived id apart from the sender's ids. The id is a pseudonym,
/// because ids are logged.
fn derive_id(delivery: &LeadDelivery<'_>, phone: &Phone, name: Option<&str>) -> String {
    let minute = delivery.received_at.as_second().div_euclid(60);
    // The name comes last because it may contain anything.
    let content = format!("{}\0{}\0{minute}\0{}", delivery.form_name, phone.canonical(), name.unwrap_or_default());
    format!("derived:{}", delivery.pseudonyms.pseudonym(content.as_bytes()))
}
