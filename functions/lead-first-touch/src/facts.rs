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

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tellonce_core::{
    client_config::{ConsentRule, FormConfig, FormFields, FormKind, NO_ANSWERS, YES_ANSWERS},
    contact::{self, Phone},
    hash::sha256_hex,
    ledger::Consent,
    telemetry::LogLabel,
};

use crate::{
    lead::{Lead, LeadDelivery},
    lead_outcome::LeadSkipReason,
    submission::{LeadSubmission, SubmittedField},
};

/// A fact that a submission may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeadFact {
    /// The phone number.
    Phone,
    /// The whole name.
    Name,
    /// The first name.
    FirstName,
    /// The last name.
    LastName,
    /// The country that the number belongs to.
    Country,
    /// The language to write to the lead in.
    Language,
    /// The sender's id of the submission.
    Id,
    /// The form's id.
    FormId,
    /// The time of the submission.
    SubmittedAt,
}

impl LeadFact {
    /// All facts.
    pub const ALL: [Self; 9] = [
        Self::Phone,
        Self::Name,
        Self::FirstName,
        Self::LastName,
        Self::Country,
        Self::Language,
        Self::Id,
        Self::FormId,
        Self::SubmittedAt,
    ];

    /// The key of this fact among a form's `fields` in `client.toml`. The form's id has no such key
    /// and returns `form_id`.
    pub const fn config_name(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Name => "name",
            Self::FirstName => "first_name",
            Self::LastName => "last_name",
            Self::Country => "country",
            Self::Language => "language",
            Self::Id => "id",
            Self::FormId => "form_id",
            Self::SubmittedAt => "submitted_at",
        }
    }

    /// The field that the client configured for this fact.
    pub fn configured_field(self, fields: &FormFields) -> Option<&str> {
        match self {
            Self::Phone => fields.phone.as_deref(),
            Self::Name => fields.name.as_deref(),
            Self::FirstName => fields.first_name.as_deref(),
            Self::LastName => fields.last_name.as_deref(),
            Self::Country => fields.country.as_deref(),
            Self::Language => fields.language.as_deref(),
            Self::Id => fields.id.as_deref(),
            Self::FormId => None,
            Self::SubmittedAt => fields.submitted_at.as_deref(),
        }
    }
}

/// The usual names of a fact, the most likely first. A field called `WhatsApp` is usually a consent
/// checkbox, so it counts only if it holds a number.
pub const fn usual_names(fact: LeadFact) -> &'static [&'static str] {
    match fact {
        LeadFact::Phone => &[
            "mobile phone",
            "mobile phone number",
            "mobile number",
            "mobile",
            "your mobile",
            "cell phone",
            "cell phone number",
            "cell number",
            "cell",
            "טלפון נייד",
            "מספר טלפון נייד",
            "מספר נייד",
            "נייד",
            "טלפון סלולרי",
            "סלולרי",
            "phone number",
            "phone",
            "your phone number",
            "your phone",
            "telephone number",
            "telephone",
            "your telephone",
            "tel",
            "your tel",
            "מספר טלפון",
            "מספר הטלפון",
            "טלפון",
            "work phone",
            "whatsapp number",
            "whatsapp phone",
            "hs whatsapp phone number",
            "whatsapp",
            "מספר וואטסאפ",
            "וואטסאפ",
        ],
        LeadFact::Name => &[
            "full name",
            "your full name",
            "name",
            "your name",
            "contact name",
            "customer name",
            "lead name",
            "שם מלא",
            "שם",
        ],
        LeadFact::FirstName => &["first name", "your first name", "given name", "fname", "name first", "שם פרטי"],
        LeadFact::LastName => {
            &["last name", "your last name", "family name", "surname", "lname", "name last", "שם משפחה"]
        }
        LeadFact::Country => &["country code", "country", "מדינה", "ארץ", "hs country region code"],
        LeadFact::Language => {
            &["language", "your language", "preferred language", "lang", "locale", "hs language", "שפה"]
        }
        LeadFact::Id => &["lead id", "submission id", "entry id", "response id"],
        LeadFact::FormId => &["form id"],
        LeadFact::SubmittedAt => &["submitted at", "created at"],
    }
}

/// Names of parents that do not make a nested field belong to another person.
pub const NEUTRAL_PARENTS: [&str; 17] = [
    "answers",
    "body",
    "contact",
    "customer",
    "data",
    "fields",
    "form data",
    "form fields",
    "form response",
    "hidden",
    "lead",
    "payload",
    "person",
    "properties",
    "submission",
    "values",
    "visitor",
];

/// The most numbers that are tried.
const MAX_NUMBERS: usize = 10;
/// The fewest digits of a phone number in a field that may hold something else.
const MIN_PHONE_DIGITS: usize = 7;

/// Where a fact was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactSource {
    /// In the field of this name, or in several fields that form one fact together.
    Field(String),
    /// At a fixed place in this kind of sender's deliveries.
    Sender,
    /// In the configuration: the form itself states it.
    Form,
}

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
        let search = FieldSearch { form: delivery.form, fields: &submission.fields };
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
        Self { is_test, consent, phone, name, locale, choice, id, form_id, submitted_at, sources, fields }
    }
}

impl FactSource {
    fn from_field(name: &str) -> Self {
        Self::Field(name.to_owned())
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
    let phone = check_country(delivery, facts.phone?)?;
    let submitted_at = facts.submitted_at.unwrap_or(delivery.received_at).min(delivery.received_at);
    let name = facts.name;
    Ok(Lead {
        id: facts.id.unwrap_or_else(|| derive_id(delivery, &phone, name.as_deref())),
        phone,
        locale: facts.locale,
        choice: facts.choice,
        consent: Consent { source, at: submitted_at },
        name,
        submitted_at,
    })
}

/// Returns the number if the form greets numbers of its country.
fn check_country(delivery: &LeadDelivery<'_>, phone: Phone) -> Result<Phone, LeadSkipReason> {
    let is_expected = match &*delivery.form.countries {
        [] => phone.is_of_country(default_country(delivery)),
        countries => countries.iter().any(|country| phone.is_of_country(country)),
    };
    if is_expected {
        Ok(phone)
    } else {
        Err(LeadSkipReason::CountryNotAllowed(LogLabel::new(phone.country_code().as_deref().unwrap_or("unknown"))))
    }
}

/// The country for numbers without a country code.
fn default_country<'a>(delivery: &LeadDelivery<'a>) -> &'a str {
    delivery.form.country.as_deref().unwrap_or(&delivery.config.country)
}

/// Whether the form's configuration accepts submissions of the sender's form with this id. If
/// `form_ids` is set, a submission without a form id is not accepted.
pub(crate) fn is_expected_form(form: &FormConfig, id: Option<&str>) -> bool {
    form.form_ids.is_empty() || id.is_some_and(|id| form.form_ids.iter().any(|form_id| form_id == id))
}

/// Returns the submission if [`is_expected_form`] accepts its form.
pub(crate) fn check_form(form: &FormConfig, submission: LeadSubmission) -> Result<LeadSubmission, LeadSkipReason> {
    let search = FieldSearch { form, fields: &submission.fields };
    let id = submission.form_id.clone().or_else(|| Some(search.find_form_id()?.0));
    if is_expected_form(form, id.as_deref()) { Ok(submission) } else { Err(LeadSkipReason::OtherForm) }
}

/// Whether the member of an object with this name holds a phone number.
pub(crate) fn is_phone_field(form: &FormConfig, name: &str) -> bool {
    let configured = form.fields.phone.as_deref().map(|path| path.rsplit_once('.').map_or(path, |(_, last)| last));
    let known =
        name_rank(LeadFact::Phone, name).is_some_and(|rank| !may_be_checkbox(usual_names(LeadFact::Phone)[rank]));
    known || configured.is_some_and(|last| is_same_text(last, name))
}

/// Derives an id from form, number, name and minute. The same submission within a minute gets the
/// same id. The colon keeps a derived id apart from the sender's ids.
fn derive_id(delivery: &LeadDelivery<'_>, phone: &Phone, name: Option<&str>) -> String {
    let minute = delivery.received_at.as_second().div_euclid(60);
    // The name comes last because it may contain anything.
    let content = format!("{}\0{}\0{minute}\0{}", delivery.form_name, phone.expose(), name.unwrap_or_default());
    format!("derived:{}", sha256_hex(content.as_bytes(), 16))
}

/// The fields of a submission and the configuration that says how to search them.
struct FieldSearch<'a> {
    form: &'a FormConfig,
    fields: &'a [SubmittedField],
}

impl<'a> FieldSearch<'a> {
    /// The fields with this name.
    fn fields_named(&self, name: &str) -> impl Iterator<Item = &'a SubmittedField> {
        self.fields.iter().filter(move |field| field.names.iter().any(|known| is_same_text(known, name)))
    }

    /// The answers that may be this fact, the most likely first, each with the name that matched.
    /// Only the configured field counts if there is one, else the fields with usual names.
    fn find_values(&self, fact: LeadFact) -> Vec<(&'a str, &'a str)> {
        if let Some(name) = fact.configured_field(&self.form.fields) {
            return self.values_named(name);
        }
        let rank = |name: &'a String| Some((name_rank(fact, name)?, name.as_str()));
        let ranked = self.fields.iter().filter_map(|field| Some((field.names.iter().filter_map(rank).min()?, field)));
        let mut answers: Vec<_> = ranked
            .flat_map(|((rank, name), field)| field.values.iter().map(move |answer| (rank, answer.as_str(), name)))
            .collect();
        answers.retain(|(rank, answer, _)| !may_be_checkbox(usual_names(fact)[*rank]) || has_phone_digits(answer));
        answers.sort_by_key(|(rank, ..)| *rank);
        answers.into_iter().map(|(_, answer, name)| (answer, name)).collect()
    }

    /// The answers in the fields with this name, each with the field's own spelling.
    fn values_named(&self, name: &str) -> Vec<(&'a str, &'a str)> {
        let spelled_name =
            |field: &'a SubmittedField| field.names.iter().find(|known| is_same_text(known, name)).map(String::as_str);
        let fields = self.fields.iter().filter_map(|field| Some((field, spelled_name(field)?)));
        fields.flat_map(|(field, name)| field.values.iter().map(move |answer| (answer.as_str(), name))).collect()
    }

    fn first_value(&self, fact: LeadFact) -> Option<(&'a str, &'a str)> {
        self.find_values(fact).first().map(|(answer, field)| (answer.trim(), *field))
    }

    fn is_test(&self) -> bool {
        let test = self.form.fields.test.as_deref();
        test.is_some_and(|name| {
            self.fields_named(name).flat_map(|field| &field.values).any(|answer| is_one_of(&YES_ANSWERS, answer))
        })
    }

    /// The source of the consent, as it is stored, and where it was found.
    fn find_consent(&self) -> (Result<String, LeadSkipReason>, Option<FactSource>) {
        let ConsentRule::Field { field: name, accepts } = &self.form.consent else {
            return (Ok("stated on the form".to_owned()), Some(FactSource::Form));
        };
        let consent_source = self.fields_named(name).next().map(|_| FactSource::from_field(name));
        let answers = self.values_named(name);
        if answers.iter().any(|(answer, _)| is_one_of(&YES_ANSWERS, answer) || is_one_of(accepts, answer)) {
            return (Ok(format!("field {name}")), consent_source);
        }
        // If fields exist below this name, the configured name is too short.
        let group_prefix = format!("{}.", trim_lowercase(name));
        let is_group = self
            .fields
            .iter()
            .flat_map(|field| &field.names)
            .any(|known| trim_lowercase(known).starts_with(&group_prefix));
        if consent_source.is_none() && !is_group && self.form.kind.facts().posts_unchecked_boxes {
            (Err(LeadSkipReason::ConsentFieldMissing), consent_source)
        } else if answers.iter().all(|(answer, _)| is_one_of(&NO_ANSWERS, answer)) && !is_group {
            (Err(LeadSkipReason::NoConsent), consent_source)
        } else {
            (Err(LeadSkipReason::ConsentUnclear), consent_source)
        }
    }

    /// The number to message and its field, or the first candidate.
    fn find_phone(&self, delivery: &LeadDelivery<'_>) -> (Result<Phone, LeadSkipReason>, Option<&'a str>) {
        let configured = self.form.fields.phone.is_some();
        let known = self.fields.iter().filter(|field| field.is_telephone && !configured);
        let known = known.flat_map(|field| field.values.iter().map(|answer| (answer.as_str(), field.primary_name())));
        let answers: Vec<(&str, &str)> = known.chain(self.find_values(LeadFact::Phone)).take(MAX_NUMBERS).collect();
        let country_hint = self.find_country_hint();
        let mut problem = None;
        let mut usable: Vec<(Phone, &str)> = Vec::new();
        for (answer, field) in &answers {
            let with_hint = |number: String| match country_hint.as_ref() {
                Some(CountryHint::Country(code)) => (number, Some(code.clone())),
                Some(CountryHint::CallingCode(code)) => (add_calling_code(&number, code), None),
                None => (number, None),
            };
            let rule = delivery.config.phones;
            let mut candidates = Vec::new();
            for candidate in number_candidates(answer).map(with_hint) {
                match contact::first_usable_phone_text([candidate], default_country(delivery), rule) {
                    (Some(phone), _) => candidates.push(phone),
                    (None, why) => problem = problem.or(why),
                }
            }
            // A typed space is more common than a lost plus: of two interpretations, use the one
            // with an allowed country.
            let is_expected = |phone: &Phone| check_country(delivery, phone.clone()).is_ok();
            if let Some(phone) = candidates.iter().find(|phone| is_expected(phone)).or(candidates.first()) {
                usable.push((phone.clone(), field));
            }
        }
        let Some((phone, field)) = usable.first().cloned() else {
            let reason = problem.map_or(LeadSkipReason::NoPhone, LeadSkipReason::PhoneUnusable);
            return (Err(reason), answers.first().map(|(_, field)| *field));
        };
        let is_one_person = matches!(delivery.form.kind, FormKind::GoogleAds | FormKind::HubSpot | FormKind::Meta);
        if !configured && !is_one_person && self.may_be_two_people(&usable) {
            return (Err(LeadSkipReason::PhoneUnclear), Some(field));
        }
        (Ok(phone), Some(field))
    }

    /// Whether one of the numbers may belong to a person who did not consent: a second telephone
    /// field (such as an emergency contact), or a number beside another person's name in the body.
    fn may_be_two_people(&self, usable: &[(Phone, &str)]) -> bool {
        let digits = |answer: &String| answer.chars().filter(char::is_ascii_digit).collect::<String>();
        let telephones = self.fields.iter().filter(|field| field.is_telephone).flat_map(|field| &field.values);
        let telephones: BTreeSet<String> = telephones.map(digits).filter(|digits| !digits.is_empty()).collect();
        let parent_path = |field: &str| field.rsplit_once('.').map(|(around, _)| trim_lowercase(around));
        let (phone, field) = &usable[0];
        telephones.len() > 1
            || usable
                .iter()
                .any(|(other, other_field)| other != phone && parent_path(other_field) != parent_path(field))
    }

    /// What the submission says about the number's country.
    fn find_country_hint(&self) -> Option<CountryHint> {
        self.find_values(LeadFact::Country).into_iter().find_map(|(code, _)| {
            let code = code.trim();
            let digits = code.trim_start_matches('+');
            if code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                Some(CountryHint::Country(code.to_owned()))
            } else if matches!(digits.len(), 1..=3) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
                Some(CountryHint::CallingCode(digits.to_owned()))
            } else {
                None // a name such as `Germany`
            }
        })
    }

    /// The full name, or the parts that exist, and where it was found. A configured part comes
    /// first.
    fn find_name(&self) -> Option<(String, String)> {
        let fields = &self.form.fields;
        let (first, last) = (self.first_value(LeadFact::FirstName), self.first_value(LeadFact::LastName));
        let parts: Vec<_> = [first, last].into_iter().flatten().collect();
        let joined = |parts: Vec<&str>, between: &str| parts.join(between);
        let parts = (
            joined(parts.iter().map(|(part, _)| *part).collect(), " "),
            joined(parts.iter().map(|(_, field)| *field).collect(), " + "),
        );
        let parts_count =
            (first.is_some() && last.is_some()) || fields.first_name.is_some() || fields.last_name.is_some();
        let whole = self.first_value(LeadFact::Name).map(|(name, field)| (name.to_owned(), field.to_owned()));
        let (likelier, otherwise) = if fields.name.is_none() && parts_count && !parts.0.is_empty() {
            (Some(parts), whole)
        } else {
            (whole, Some(parts))
        };
        likelier.or(otherwise).filter(|(name, _)| !name.is_empty())
    }

    /// The language, if it is a language tag. `Hebrew` is not a tag.
    fn find_language(&self) -> Option<(String, &'a str)> {
        let is_tag = |answer: &str| {
            let mut parts = answer.split(['-', '_']);
            let language = parts.next().is_some_and(|part| matches!(part.len(), 2 | 3));
            language
                && answer
                    .split(['-', '_'])
                    .all(|part| matches!(part.len(), 2..=8) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        };
        let answers = self.find_values(LeadFact::Language).into_iter().map(|(answer, field)| (answer.trim(), field));
        answers.map(|(answer, field)| (answer.to_owned(), field)).find(|(answer, _)| is_tag(answer))
    }

    /// The option that the lead chose, in the client's spelling.
    fn find_choice(&self) -> Option<(String, &'a str)> {
        let rule = self.form.choice.as_ref()?;
        let chosen = |answer: &str| rule.of.iter().find(|of| is_same_text(of, answer)).cloned();
        self.values_named(&rule.field).into_iter().find_map(|(answer, field)| Some((chosen(answer)?, field)))
    }

    /// The sender's id of the submission. Plugins that store no entries post `0`, which is not an
    /// id. An e-mail address or a number is personal data and must not enter rows and logs.
    fn find_id(&self) -> Option<(String, &'a str)> {
        let (id, field) = self.first_value(LeadFact::Id).filter(|(id, _)| *id != "0")?;
        let is_personal = id.contains('@') || id.starts_with('+');
        Some((if is_personal { format!("derived:{}", sha256_hex(id.as_bytes(), 16)) } else { id.to_owned() }, field))
    }

    fn find_form_id(&self) -> Option<(String, &'a str)> {
        self.first_value(LeadFact::FormId).map(|(id, field)| (id.to_owned(), field))
    }

    fn find_submitted_at(&self) -> Option<(Timestamp, &'a str)> {
        let mut answers = self.find_values(LeadFact::SubmittedAt).into_iter();
        answers.find_map(|(answer, field)| Some((answer.trim().parse().ok()?, field)))
    }
}

/// What a submission says about a number's country.
enum CountryHint {
    /// A country, ISO 3166-1 alpha-2.
    Country(String),
    /// A calling code.
    CallingCode(String),
}

/// Adds the calling code to a number that has none.
fn add_calling_code(number: &str, code: &str) -> String {
    if number.starts_with('+') || number.starts_with("00") {
        return number.to_owned();
    }
    let national = number.strip_prefix(code).filter(|rest| rest.len() >= MIN_PHONE_DIGITS).unwrap_or(number);
    format!("+{code}{}", national.strip_prefix('0').unwrap_or(national))
}

/// The numbers that an answer may mean, the most likely first. An unescaped `+` arrives as a space
/// before the number, but the lead may also have typed a space.
fn number_candidates(answer: &str) -> impl Iterator<Item = String> + use<> {
    let bare = answer.trim();
    let lost_plus = answer.starts_with(' ') && bare.starts_with(|c: char| matches!(c, '1'..='9'));
    let restored = lost_plus.then(|| format!("+{bare}"));
    restored.into_iter().chain([bare.to_owned()])
}

/// How likely a field with this name holds the fact. A lower rank is more likely.
fn name_rank(fact: LeadFact, name: &str) -> Option<usize> {
    let at = |name: &str| {
        let name = squash_name(name);
        usual_names(fact).iter().position(|known| matches_squashed(known, &name))
    };
    let is_neutral = |step: &str| {
        let step = squash_name(step);
        NEUTRAL_PARENTS.iter().any(|known| matches_squashed(known, &step))
    };
    at(name).or_else(|| {
        let (around, last) = name.rsplit_once('.')?;
        at(last).filter(|_| around.split('.').all(is_neutral))
    })
}

/// The name without case, spaces and punctuation.
fn squash_name(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether a name of the tables above, which are in lower case, equals a squashed name.
fn matches_squashed(known: &str, name: &str) -> bool {
    known.chars().filter(|c| c.is_alphanumeric()).eq(name.chars())
}

/// Whether fields with this name are often checkboxes.
fn may_be_checkbox(name: &str) -> bool {
    ["whatsapp", "וואטסאפ"].iter().any(|what| name.contains(what))
}

fn has_phone_digits(answer: &str) -> bool {
    answer.chars().filter(|c| c.is_numeric()).count() >= MIN_PHONE_DIGITS
}

fn trim_lowercase(text: &str) -> String {
    text.trim().to_lowercase()
}

/// Whether two texts are equal without case and surrounding spaces.
fn is_same_text(one: &str, other: &str) -> bool {
    trim_lowercase(one) == trim_lowercase(other)
}

fn is_one_of(known: &[impl AsRef<str>], answer: &str) -> bool {
    known.iter().any(|known| is_same_text(known.as_ref(), answer))
}
