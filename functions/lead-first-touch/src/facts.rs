//! What we need to know of a submission, found among its fields: the same way for every sender.
//!
//! Where the client says in which field a fact stands, it is there or nowhere. What the client does not name is looked for:
//! a telephone number first in fields that their sender knows to be one, then, as everything else, under the names that
//! people usually give it ([`usual_names`]). Case, spaces and signs don't count there: `Phone-NumberAttribute:` is `find_phone number`.
//! Nested names are looked at if all that is around them says nothing of its own, as `parse_contact.phone` and
//! `data.customer.phone` and unlike `agent.phone`, which is somebody else's.
//!
//! Never guessed: consent. It is a yes in the field that the client names, or stated on the form.
//!
//! [`LeadFacts`] keeps with each fact where it was found, for whoever writes down where they stand (`run_tellonce run_preview`); the
//! [`FakeMetaLead`] is made of the same.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tellonce_core::{
    client_config::{ConsentRule, FormConfig, FormFields, FormKind, NO_ANSWERS, YES_ANSWERS},
    contact::{self, Phone},
    hash::sha256_hex,
    telemetry::LogLabel,
};

use crate::{
    lead::{Consent, Lead, LeadDelivery, SkipReason},
    submission::{LeadSubmission, SubmittedField},
};

/// What may be looked for.
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
    /// The country that the number is written for.
    Country,
    /// The language to answer in.
    Language,
    /// The sender's id of the submission.
    Id,
    /// The form's id.
    FormId,
    /// When it was submitted.
    SubmittedAt,
}

impl LeadFact {
    /// All of them.
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

    /// What it is called in `client.toml`, among `parse_fields`; the form's id is not, and goes by its own name.
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

    /// Where the client says that it stands.
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

/// The names that a fact is looked for under, the likeliest first. A field called `WhatsApp` is usually the box beside "you
/// may write to me there", so that it only counts with a number in it.
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

/// What may stand around a field without making it somebody else's.
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

/// More numbers than this are not tried.
const MAX_NUMBERS: usize = 10;
/// Fewer digits are no number, where it might be something else altogether.
const MIN_PHONE_DIGITS: usize = 7;

/// Where a fact stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactSource {
    /// In the field that goes by this name; in several, where they make one fact together.
    Field(String),
    /// Where this kind of sender always has it.
    Sender,
    /// In nothing that was sent: it stands on the form.
    Form,
}

/// What was found in a submission, and where. It holds what people typed, so it has no `Debug`.
pub struct LeadFacts {
    /// Whether it is only a trial.
    pub is_test: bool,
    /// By what they agreed, as it is kept.
    pub consent: Result<String, SkipReason>,
    /// The first number that can be messaged, of whatever country.
    pub phone: Result<Phone, SkipReason>,
    /// The name.
    pub name: Option<String>,
    /// The language that they chose.
    pub locale: Option<String>,
    /// What they chose of the client's list.
    pub choice: Option<String>,
    /// The sender's id of the submission.
    pub id: Option<String>,
    /// Which of the sender's forms it is of.
    pub form_id: Option<String>,
    /// When it was sent, if anything says so.
    pub submitted_at: Option<Timestamp>,
    /// Where each of these was found, or what was taken for it, by its name in `client.toml`.
    pub sources: BTreeMap<&'static str, FactSource>,
    /// The fields that there are: of each all that it goes by.
    pub fields: Vec<Vec<String>>,
}

impl LeadFacts {
    /// The facts of a submission.
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
        // What the client names counts before the sender's own, and that before what merely goes by a usual name.
        let configured = &delivery.form.fields;
        let own = submission.id.clone().map(|id| (id, FactSource::Sender));
        let (id, source) = prefer_configured(configured.id.is_some(), search.find_id(), own).unzip();
        record_source(LeadFact::Id.config_name(), source);
        let own = submission.form_id.clone().map(|id| (id, FactSource::Sender));
        let (form_id, source) = prefer_configured(false, search.find_form_id(), own).unzip();
        record_source(LeadFact::FormId.config_name(), source);
        let own = submission.submitted_at.map(|at| (at, FactSource::Sender));
        let (submitted_at, source) =
            prefer_configured(configured.submitted_at.is_some(), search.find_submitted_at(), own).unzip();
        record_source(LeadFact::SubmittedAt.config_name(), source);
        let is_test = submission.is_test || search.is_test();
        let fields = submission.fields.iter().map(|field| field.names.clone()).collect();
        Self { is_test, consent, phone, name, locale, choice, id, form_id, submitted_at, sources: sources, fields }
    }
}

impl FactSource {
    fn from_field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }
}

/// What was found in a field, if the client `fields_named` it, else what the sender has a place of its own for.
fn prefer_configured<T>(
    named: bool,
    found: Option<(T, &str)>,
    own: Option<(T, FactSource)>,
) -> Option<(T, FactSource)> {
    let found = found.map(|(fact, field)| (fact, FactSource::from_field(field)));
    if named { found.or(own) } else { own.or(found) }
}

/// The lead that a submission is.
pub(crate) fn build_lead(delivery: &LeadDelivery<'_>, submission: &LeadSubmission) -> Result<Lead, SkipReason> {
    let facts = LeadFacts::from_submission(delivery, submission);
    if facts.is_test {
        return Err(SkipReason::Test);
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

/// The same number, if numbers of its country are greeted.
fn check_country(delivery: &LeadDelivery<'_>, phone: Phone) -> Result<Phone, SkipReason> {
    let is_expected = match &*delivery.form.countries {
        [] => phone.is_of_country(default_country(delivery)),
        countries => countries.iter().any(|country| phone.is_of_country(country)),
    };
    if is_expected {
        Ok(phone)
    } else {
        Err(SkipReason::CountryNotAllowed(LogLabel::new(phone.country_code().as_deref().unwrap_or("unknown"))))
    }
}

/// The country of numbers that carry none.
fn default_country<'a>(delivery: &LeadDelivery<'a>) -> &'a str {
    delivery.form.country.as_deref().unwrap_or(&delivery.config.country)
}

/// Whether submissions of the sender's form of this id are meant. One that doesn't say which form it is of is not, where
/// only some are.
pub(crate) fn is_expected_form(form: &FormConfig, id: Option<&str>) -> bool {
    form.form_ids.is_empty() || id.is_some_and(|id| form.form_ids.iter().any(|meant| meant == id))
}

/// As [`is_expected_form`], of a submission.
pub(crate) fn check_form(form: &FormConfig, submission: LeadSubmission) -> Result<LeadSubmission, SkipReason> {
    let search = FieldSearch { form, fields: &submission.fields };
    let id = submission.form_id.clone().or_else(|| Some(search.find_form_id()?.0));
    if is_expected_form(form, id.as_deref()) { Ok(submission) } else { Err(SkipReason::OtherForm) }
}

/// Whether a member of an object, by its name, is a phone number.
pub(crate) fn is_phone_field(form: &FormConfig, name: &str) -> bool {
    let configured = form.fields.phone.as_deref().map(|path| path.rsplit_once('.').map_or(path, |(_, last)| last));
    let known =
        name_rank(LeadFact::Phone, name).is_some_and(|rank| !may_be_checkbox(usual_names(LeadFact::Phone)[rank]));
    known || configured.is_some_and(|last| is_same_text(last, name))
}

/// An id that follows from what was sent, where and when, so that the same again within a minute is the same lead. The
/// colon is there so that nobody takes it for the sender's.
fn derive_id(delivery: &LeadDelivery<'_>, phone: &Phone, name: Option<&str>) -> String {
    let minute = delivery.received_at.as_second().div_euclid(60);
    // The name, which may hold anything, stands last.
    let content = format!("{}\0{}\0{minute}\0{}", delivery.form_name, phone.expose(), name.unwrap_or_default());
    format!("derived:{}", sha256_hex(content.as_bytes(), 16))
}

/// The fields of a submission, and how they are to be found.
struct FieldSearch<'a> {
    form: &'a FormConfig,
    fields: &'a [SubmittedField],
}

impl<'a> FieldSearch<'a> {
    /// The fields of this name.
    fn fields_named(&self, name: &str) -> impl Iterator<Item = &'a SubmittedField> {
        self.fields.iter().filter(move |field| field.names.iter().any(|known| is_same_text(known, name)))
    }

    /// The answers that may be this fact, the likeliest first, each with the name that its field was known by: where the
    /// client says that it stands, else under its usual names.
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

    /// The answers in the fields of this name, each with how its field writes it.
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

    /// By what they agreed, as it is kept, and where that stands.
    fn find_consent(&self) -> (Result<String, SkipReason>, Option<FactSource>) {
        let ConsentRule::Field { field: name, accepts } = &self.form.consent else {
            return (Ok("stated on the form".to_owned()), Some(FactSource::Form));
        };
        let consent_source = self.fields_named(name).next().map(|_| FactSource::from_field(name));
        let answers = self.values_named(name);
        if answers.iter().any(|(answer, _)| is_one_of(&YES_ANSWERS, answer) || is_one_of(accepts, answer)) {
            return (Ok(format!("field {name}")), consent_source);
        }
        // Where more stands below the name, the client has named it too shortly.
        let group_prefix = format!("{}.", trim_lowercase(name));
        let is_group = self
            .fields
            .iter()
            .flat_map(|field| &field.names)
            .any(|known| trim_lowercase(known).starts_with(&group_prefix));
        if consent_source.is_none() && !is_group && self.form.kind.posts_unchecked_boxes() {
            (Err(SkipReason::ConsentFieldMissing), consent_source)
        } else if answers.iter().all(|(answer, _)| is_one_of(&NO_ANSWERS, answer)) && !is_group {
            (Err(SkipReason::NoConsent), consent_source)
        } else {
            (Err(SkipReason::ConsentUnclear), consent_source)
        }
    }

    /// The number that may be messaged, and the field that it stands in, or the first that was taken for one.
    fn find_phone(&self, delivery: &LeadDelivery<'_>) -> (Result<Phone, SkipReason>, Option<&'a str>) {
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
            // Of two readings the one of a country that is meant, since a space is more often typed than a plus is lost.
            let is_expected = |phone: &Phone| check_country(delivery, phone.clone()).is_ok();
            if let Some(phone) = candidates.iter().find(|phone| is_expected(phone)).or(candidates.first()) {
                usable.push((phone.clone(), field));
            }
        }
        let Some((phone, field)) = usable.first().cloned() else {
            let reason = problem.map_or(SkipReason::NoPhone, SkipReason::PhoneUnusable);
            return (Err(reason), answers.first().map(|(_, field)| *field));
        };
        let is_one_person = matches!(delivery.form.kind, FormKind::GoogleAds | FormKind::HubSpot | FormKind::Meta);
        if !configured && !is_one_person && self.may_be_two_people(&usable) {
            return (Err(SkipReason::PhoneUnclear), Some(field));
        }
        (Ok(phone), Some(field))
    }

    /// Whether one of the numbers may be of somebody who was not asked: a second field that is made for telephone numbers, as
    /// for whom to call in an emergency, or a number beside another person's name in the body.
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

    /// What stands beside the number of its country.
    fn find_country_hint(&self) -> Option<CountryHint> {
        self.find_values(LeadFact::Country).into_iter().find_map(|(code, _)| {
            let code = code.trim();
            let digits = code.trim_start_matches('+');
            if code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                Some(CountryHint::Country(code.to_owned()))
            } else if matches!(digits.len(), 1..=3) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
                Some(CountryHint::CallingCode(digits.to_owned()))
            } else {
                None // written out
            }
        })
    }

    /// The whole name, or what there is of it, and where. Where the client names a part, that is meant.
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

    /// The language, if it is a tag: one that is written out (`Hebrew`) is none.
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

    /// What they chose, in the client's spelling.
    fn find_choice(&self) -> Option<(String, &'a str)> {
        let rule = self.form.choice.as_ref()?;
        let chosen = |answer: &str| rule.of.iter().find(|of| is_same_text(of, answer)).cloned();
        self.values_named(&rule.field).into_iter().find_map(|(answer, field)| Some((chosen(answer)?, field)))
    }

    /// Nought is what plugins post that keep no entries. An address is an id, and no business of records and logs.
    fn find_id(&self) -> Option<(String, &'a str)> {
        let (id, field) = self.first_value(LeadFact::Id).filter(|(id, _)| *id != "0")?;
        let personal = id.contains('@') || id.starts_with('+');
        Some((if personal { format!("derived:{}", sha256_hex(id.as_bytes(), 16)) } else { id.to_owned() }, field))
    }

    fn find_form_id(&self) -> Option<(String, &'a str)> {
        self.first_value(LeadFact::FormId).map(|(id, field)| (id.to_owned(), field))
    }

    fn find_submitted_at(&self) -> Option<(Timestamp, &'a str)> {
        let mut answers = self.find_values(LeadFact::SubmittedAt).into_iter();
        answers.find_map(|(answer, field)| Some((answer.trim().parse().ok()?, field)))
    }
}

/// What stands beside a number.
enum CountryHint {
    /// A country, ISO 3166-1 alpha-2.
    Country(String),
    /// A calling code.
    CallingCode(String),
}

/// A number with the calling code that stands beside it, unless it has one.
fn add_calling_code(number: &str, code: &str) -> String {
    if number.starts_with('+') || number.starts_with("00") {
        return number.to_owned();
    }
    let national = number.strip_prefix(code).filter(|rest| rest.len() >= MIN_PHONE_DIGITS).unwrap_or(number);
    format!("+{code}{}", national.strip_prefix('0').unwrap_or(national))
}

/// The numbers that an answer may mean, the likelier first. A space before a number is what an unescaped `+` reads as; but
/// somebody may have typed it.
fn number_candidates(answer: &str) -> impl Iterator<Item = String> + use<> {
    let bare = answer.trim();
    let lost_plus = answer.starts_with(' ') && bare.starts_with(|c: char| matches!(c, '1'..='9'));
    let restored = lost_plus.then(|| format!("+{bare}"));
    restored.into_iter().chain([bare.to_owned()])
}

/// How likely a field of this name is to be the fact: less is likelier.
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

/// A name without what doesn't count: case, spaces, signs.
fn squash_name(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether that is what is left of a name in our tables, which are in lower case.
fn matches_squashed(known: &str, name: &str) -> bool {
    known.chars().filter(|c| c.is_alphanumeric()).eq(name.chars())
}

/// Whether fields of this name are often boxes to tick.
fn may_be_checkbox(name: &str) -> bool {
    ["whatsapp", "וואטסאפ"].iter().any(|what| name.contains(what))
}

fn has_phone_digits(answer: &str) -> bool {
    answer.chars().filter(|c| c.is_numeric()).count() >= MIN_PHONE_DIGITS
}

fn trim_lowercase(text: &str) -> String {
    text.trim().to_lowercase()
}

/// Whether two texts are the same but for case and the space around them.
fn is_same_text(one: &str, other: &str) -> bool {
    trim_lowercase(one) == trim_lowercase(other)
}

fn is_one_of(known: &[impl AsRef<str>], answer: &str) -> bool {
    known.iter().any(|known| is_same_text(known.as_ref(), answer))
}
