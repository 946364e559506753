//! What we need to know of a submission, found among its fields: the same way for every sender.
//!
//! Where the client says in which field a fact stands, it is there or nowhere. What the client does not name is looked for:
//! a telephone number first in fields that their sender knows to be one, then, as everything else, under the names that
//! people usually give it ([`looked_for`]). Case, spaces and signs don't count there: `Phone-Number:` is `phone number`.
//! Nested names are looked at if all that is around them says nothing of its own, as `contact.phone` and
//! `data.customer.phone` and unlike `agent.phone`, which is somebody else's.
//!
//! Never guessed: consent. It is a yes in the field that the client names, or stated on the form.
//!
//! [`Facts`] keeps with each fact where it was found, for whoever writes down where they stand (`tellonce preview`); the
//! [`Lead`] is made of the same.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use shared::{
    client_config::{ConsentRule, Form, FormFields, FormKind, NO, YES},
    contact::{self, Phone},
    digest::sha256_hex,
    observe::Label,
};

use crate::{
    lead::{Consent, Delivery, Lead, NothingBecause},
    submission::{Field, Submission},
};

/// What may be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
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

impl Fact {
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

    /// What it is called in `client.toml`, among `fields`; the form's id is not, and goes by its own name.
    pub const fn name(self) -> &'static str {
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
    pub fn configured(self, fields: &FormFields) -> Option<&str> {
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
pub const fn looked_for(fact: Fact) -> &'static [&'static str] {
    match fact {
        Fact::Phone => &[
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
        Fact::Name => &[
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
        Fact::FirstName => &["first name", "your first name", "given name", "fname", "name first", "שם פרטי"],
        Fact::LastName => &["last name", "your last name", "family name", "surname", "lname", "name last", "שם משפחה"],
        Fact::Country => &["country code", "country", "מדינה", "ארץ", "hs country region code"],
        Fact::Language => &["language", "your language", "preferred language", "lang", "locale", "hs language", "שפה"],
        Fact::Id => &["lead id", "submission id", "entry id", "response id"],
        Fact::FormId => &["form id"],
        Fact::SubmittedAt => &["submitted at", "created at"],
    }
}

/// What may stand around a field without making it somebody else's.
pub const AROUND: [&str; 17] = [
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
const MOST_NUMBERS: usize = 10;
/// Fewer digits are no number, where it might be something else altogether.
const A_NUMBERS_DIGITS: usize = 7;

/// Where a fact stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the field that goes by this name; in several, where they make one fact together.
    Field(String),
    /// Where this kind of sender always has it.
    Sender,
    /// In nothing that was sent: it stands on the form.
    Form,
}

/// What was found in a submission, and where. It holds what people typed, so it has no `Debug`.
pub struct Facts {
    /// Whether it is only a trial.
    pub test: bool,
    /// By what they agreed, as it is kept.
    pub consent: Result<String, NothingBecause>,
    /// The first number that can be messaged, of whatever country.
    pub phone: Result<Phone, NothingBecause>,
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
    pub places: BTreeMap<&'static str, Place>,
    /// The fields that there are: of each all that it goes by.
    pub fields: Vec<Vec<String>>,
}

impl Facts {
    /// The facts of a submission.
    pub(crate) fn of(delivery: &Delivery<'_>, submission: &Submission) -> Self {
        let found = Found { form: delivery.form, fields: &submission.fields };
        let mut places = BTreeMap::new();
        let mut note = |fact: &'static str, place: Option<Place>| drop(place.map(|place| places.insert(fact, place)));
        let (consent, place) = found.consent();
        note("consent", place);
        let (phone, field) = found.phone(delivery);
        note(Fact::Phone.name(), field.map(Place::field));
        let (name, field) = found.name().unzip();
        note(Fact::Name.name(), field.map(Place::Field));
        let (locale, field) = found.language().unzip();
        note(Fact::Language.name(), field.map(Place::field));
        let (choice, field) = found.choice().unzip();
        note("choice", field.map(Place::field));
        // What the client names counts before the sender's own, and that before what merely goes by a usual name.
        let named = &delivery.form.fields;
        let own = submission.id.clone().map(|id| (id, Place::Sender));
        let (id, place) = likelier(named.id.is_some(), found.id(), own).unzip();
        note(Fact::Id.name(), place);
        let own = submission.form_id.clone().map(|id| (id, Place::Sender));
        let (form_id, place) = likelier(false, found.form_id(), own).unzip();
        note(Fact::FormId.name(), place);
        let own = submission.submitted_at.map(|at| (at, Place::Sender));
        let (submitted_at, place) = likelier(named.submitted_at.is_some(), found.time(), own).unzip();
        note(Fact::SubmittedAt.name(), place);
        let test = submission.test || found.says_test();
        let fields = submission.fields.iter().map(|field| field.names.clone()).collect();
        Self { test, consent, phone, name, locale, choice, id, form_id, submitted_at, places, fields }
    }
}

impl Place {
    fn field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }
}

/// What was found in a field, if the client `named` it, else what the sender has a place of its own for.
fn likelier<T>(named: bool, found: Option<(T, &str)>, own: Option<(T, Place)>) -> Option<(T, Place)> {
    let found = found.map(|(fact, field)| (fact, Place::field(field)));
    if named { found.or(own) } else { own.or(found) }
}

/// The lead that a submission is.
pub(crate) fn lead(delivery: &Delivery<'_>, submission: &Submission) -> Result<Lead, NothingBecause> {
    let facts = Facts::of(delivery, submission);
    if facts.test {
        return Err(NothingBecause::Test);
    }
    let source = facts.consent?;
    let phone = of_meant_country(delivery, facts.phone?)?;
    let submitted_at = facts.submitted_at.unwrap_or(delivery.received_at).min(delivery.received_at);
    let name = facts.name;
    Ok(Lead {
        id: facts.id.unwrap_or_else(|| derived_id(delivery, &phone, name.as_deref())),
        phone,
        locale: facts.locale,
        choice: facts.choice,
        consent: Consent { source, at: submitted_at },
        name,
        submitted_at,
    })
}

/// The same number, if numbers of its country are greeted.
fn of_meant_country(delivery: &Delivery<'_>, phone: Phone) -> Result<Phone, NothingBecause> {
    let meant = match &*delivery.form.countries {
        [] => phone.is_of(country(delivery)),
        countries => countries.iter().any(|country| phone.is_of(country)),
    };
    if meant {
        Ok(phone)
    } else {
        Err(NothingBecause::CountryNotAllowed(Label::new(phone.country().as_deref().unwrap_or("unknown"))))
    }
}

/// The country of numbers that carry none.
fn country<'a>(delivery: &Delivery<'a>) -> &'a str {
    delivery.form.country.as_deref().unwrap_or(&delivery.config.country)
}

/// Whether submissions of the sender's form of this id are meant. One that doesn't say which form it is of is not, where
/// only some are.
pub(crate) fn is_of_form(form: &Form, id: Option<&str>) -> bool {
    form.form_ids.is_empty() || id.is_some_and(|id| form.form_ids.iter().any(|meant| meant == id))
}

/// As [`is_of_form`], of a submission.
pub(crate) fn of_meant_form(form: &Form, submission: Submission) -> Result<Submission, NothingBecause> {
    let found = Found { form, fields: &submission.fields };
    let id = submission.form_id.clone().or_else(|| Some(found.form_id()?.0));
    if is_of_form(form, id.as_deref()) { Ok(submission) } else { Err(NothingBecause::OtherForm) }
}

/// Whether a member of an object, by its name, is a phone number.
pub(crate) fn names_a_phone(form: &Form, name: &str) -> bool {
    let configured = form.fields.phone.as_deref().map(|path| path.rsplit_once('.').map_or(path, |(_, last)| last));
    let known = rank(Fact::Phone, name).is_some_and(|rank| !may_be_a_box(looked_for(Fact::Phone)[rank]));
    known || configured.is_some_and(|last| same(last, name))
}

/// An id that follows from what was sent, where and when, so that the same again within a minute is the same lead. The
/// colon is there so that nobody takes it for the sender's.
fn derived_id(delivery: &Delivery<'_>, phone: &Phone, name: Option<&str>) -> String {
    let minute = delivery.received_at.as_second().div_euclid(60);
    // The name, which may hold anything, stands last.
    let content = format!("{}\0{}\0{minute}\0{}", delivery.name, phone.expose(), name.unwrap_or_default());
    format!("derived:{}", sha256_hex(content.as_bytes(), 16))
}

/// The fields of a submission, and how they are to be found.
struct Found<'a> {
    form: &'a Form,
    fields: &'a [Field],
}

impl<'a> Found<'a> {
    /// The fields of this name.
    fn named(&self, name: &str) -> impl Iterator<Item = &'a Field> {
        self.fields.iter().filter(move |field| field.names.iter().any(|known| same(known, name)))
    }

    /// The answers that may be this fact, the likeliest first, each with the name that its field was known by: where the
    /// client says that it stands, else under its usual names.
    fn all(&self, fact: Fact) -> Vec<(&'a str, &'a str)> {
        if let Some(name) = fact.configured(&self.form.fields) {
            return self.answers(name);
        }
        let rank = |name: &'a String| Some((rank(fact, name)?, name.as_str()));
        let ranked = self.fields.iter().filter_map(|field| Some((field.names.iter().filter_map(rank).min()?, field)));
        let mut answers: Vec<_> = ranked
            .flat_map(|((rank, name), field)| field.answers.iter().map(move |answer| (rank, answer.as_str(), name)))
            .collect();
        answers.retain(|(rank, answer, _)| !may_be_a_box(looked_for(fact)[*rank]) || has_a_number(answer));
        answers.sort_by_key(|(rank, ..)| *rank);
        answers.into_iter().map(|(_, answer, name)| (answer, name)).collect()
    }

    /// The answers in the fields of this name, each with how its field writes it.
    fn answers(&self, name: &str) -> Vec<(&'a str, &'a str)> {
        let written = |field: &'a Field| field.names.iter().find(|known| same(known, name)).map(String::as_str);
        let fields = self.fields.iter().filter_map(|field| Some((field, written(field)?)));
        fields.flat_map(|(field, name)| field.answers.iter().map(move |answer| (answer.as_str(), name))).collect()
    }

    fn first(&self, fact: Fact) -> Option<(&'a str, &'a str)> {
        self.all(fact).first().map(|(answer, field)| (answer.trim(), *field))
    }

    fn says_test(&self) -> bool {
        let test = self.form.fields.test.as_deref();
        test.is_some_and(|name| self.named(name).flat_map(|field| &field.answers).any(|answer| is_one_of(&YES, answer)))
    }

    /// By what they agreed, as it is kept, and where that stands.
    fn consent(&self) -> (Result<String, NothingBecause>, Option<Place>) {
        let ConsentRule::Field { field: name, accepts } = &self.form.consent else {
            return (Ok("stated on the form".to_owned()), Some(Place::Form));
        };
        let there = self.named(name).next().map(|_| Place::field(name));
        let answers = self.answers(name);
        if answers.iter().any(|(answer, _)| is_one_of(&YES, answer) || is_one_of(accepts, answer)) {
            return (Ok(format!("field {name}")), there);
        }
        // Where more stands below the name, the client has named it too shortly.
        let below = format!("{}.", lower(name));
        let is_group = self.fields.iter().flat_map(|field| &field.names).any(|known| lower(known).starts_with(&below));
        if there.is_none() && !is_group && self.form.kind.posts_every_box() {
            (Err(NothingBecause::ConsentFieldMissing), there)
        } else if answers.iter().all(|(answer, _)| is_one_of(&NO, answer)) && !is_group {
            (Err(NothingBecause::NoConsent), there)
        } else {
            (Err(NothingBecause::ConsentUnclear), there)
        }
    }

    /// The number that may be messaged, and the field that it stands in, or the first that was taken for one.
    fn phone(&self, delivery: &Delivery<'_>) -> (Result<Phone, NothingBecause>, Option<&'a str>) {
        let configured = self.form.fields.phone.is_some();
        let known = self.fields.iter().filter(|field| field.telephone && !configured);
        let known = known.flat_map(|field| field.answers.iter().map(|answer| (answer.as_str(), field.name())));
        let answers: Vec<(&str, &str)> = known.chain(self.all(Fact::Phone)).take(MOST_NUMBERS).collect();
        let beside = self.country_beside();
        let mut problem = None;
        let mut usable: Vec<(Phone, &str)> = Vec::new();
        for (answer, field) in &answers {
            let read = |number: String| match beside.as_ref() {
                Some(Beside::Country(code)) => (number, Some(code.clone())),
                Some(Beside::Calling(code)) => (with_calling_code(&number, code), None),
                None => (number, None),
            };
            let rule = delivery.config.phones;
            let mut readings = Vec::new();
            for candidate in as_numbers(answer).map(read) {
                match contact::first_usable_text([candidate], country(delivery), rule) {
                    (Some(phone), _) => readings.push(phone),
                    (None, why) => problem = problem.or(why),
                }
            }
            // Of two readings the one of a country that is meant, since a space is more often typed than a plus is lost.
            let meant = |phone: &Phone| of_meant_country(delivery, phone.clone()).is_ok();
            if let Some(phone) = readings.iter().find(|phone| meant(phone)).or(readings.first()) {
                usable.push((phone.clone(), field));
            }
        }
        let Some((phone, field)) = usable.first().cloned() else {
            let because = problem.map_or(NothingBecause::NoPhone, NothingBecause::PhoneUnusable);
            return (Err(because), answers.first().map(|(_, field)| *field));
        };
        let one_person = matches!(delivery.form.kind, FormKind::GoogleAds | FormKind::HubSpot | FormKind::Meta);
        if !configured && !one_person && self.may_be_two_people(&usable) {
            return (Err(NothingBecause::PhoneUnclear), Some(field));
        }
        (Ok(phone), Some(field))
    }

    /// Whether one of the numbers may be of somebody who was not asked: a second field that is made for telephone numbers, as
    /// for whom to call in an emergency, or a number beside another person's name in the body.
    fn may_be_two_people(&self, usable: &[(Phone, &str)]) -> bool {
        let digits = |answer: &String| answer.chars().filter(char::is_ascii_digit).collect::<String>();
        let telephones = self.fields.iter().filter(|field| field.telephone).flat_map(|field| &field.answers);
        let telephones: BTreeSet<String> = telephones.map(digits).filter(|digits| !digits.is_empty()).collect();
        let who = |field: &str| field.rsplit_once('.').map(|(around, _)| lower(around));
        let (phone, field) = &usable[0];
        telephones.len() > 1 || usable.iter().any(|(other, its)| other != phone && who(its) != who(field))
    }

    /// What stands beside the number of its country.
    fn country_beside(&self) -> Option<Beside> {
        self.all(Fact::Country).into_iter().find_map(|(code, _)| {
            let code = code.trim();
            let digits = code.trim_start_matches('+');
            if code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                Some(Beside::Country(code.to_owned()))
            } else if matches!(digits.len(), 1..=3) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
                Some(Beside::Calling(digits.to_owned()))
            } else {
                None // written out
            }
        })
    }

    /// The whole name, or what there is of it, and where. Where the client names a part, that is meant.
    fn name(&self) -> Option<(String, String)> {
        let fields = &self.form.fields;
        let (first, last) = (self.first(Fact::FirstName), self.first(Fact::LastName));
        let parts: Vec<_> = [first, last].into_iter().flatten().collect();
        let joined = |parts: Vec<&str>, between: &str| parts.join(between);
        let parts = (
            joined(parts.iter().map(|(part, _)| *part).collect(), " "),
            joined(parts.iter().map(|(_, field)| *field).collect(), " + "),
        );
        let parts_count =
            (first.is_some() && last.is_some()) || fields.first_name.is_some() || fields.last_name.is_some();
        let whole = self.first(Fact::Name).map(|(name, field)| (name.to_owned(), field.to_owned()));
        let (likelier, else_this) = if fields.name.is_none() && parts_count && !parts.0.is_empty() {
            (Some(parts), whole)
        } else {
            (whole, Some(parts))
        };
        likelier.or(else_this).filter(|(name, _)| !name.is_empty())
    }

    /// The language, if it is a tag: one that is written out (`Hebrew`) is none.
    fn language(&self) -> Option<(String, &'a str)> {
        let is_tag = |answer: &str| {
            let mut parts = answer.split(['-', '_']);
            let language = parts.next().is_some_and(|part| matches!(part.len(), 2 | 3));
            language
                && answer
                    .split(['-', '_'])
                    .all(|part| matches!(part.len(), 2..=8) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        };
        let answers = self.all(Fact::Language).into_iter().map(|(answer, field)| (answer.trim(), field));
        answers.map(|(answer, field)| (answer.to_owned(), field)).find(|(answer, _)| is_tag(answer))
    }

    /// What they chose, in the client's spelling.
    fn choice(&self) -> Option<(String, &'a str)> {
        let rule = self.form.choice.as_ref()?;
        let chosen = |answer: &str| rule.of.iter().find(|of| same(of, answer)).cloned();
        self.answers(&rule.field).into_iter().find_map(|(answer, field)| Some((chosen(answer)?, field)))
    }

    /// Nought is what plugins post that keep no entries. An address is an id, and no business of records and logs.
    fn id(&self) -> Option<(String, &'a str)> {
        let (id, field) = self.first(Fact::Id).filter(|(id, _)| *id != "0")?;
        let personal = id.contains('@') || id.starts_with('+');
        Some((if personal { format!("derived:{}", sha256_hex(id.as_bytes(), 16)) } else { id.to_owned() }, field))
    }

    fn form_id(&self) -> Option<(String, &'a str)> {
        self.first(Fact::FormId).map(|(id, field)| (id.to_owned(), field))
    }

    fn time(&self) -> Option<(Timestamp, &'a str)> {
        let mut answers = self.all(Fact::SubmittedAt).into_iter();
        answers.find_map(|(answer, field)| Some((answer.trim().parse().ok()?, field)))
    }
}

/// What stands beside a number.
enum Beside {
    /// A country, ISO 3166-1 alpha-2.
    Country(String),
    /// A calling code.
    Calling(String),
}

/// A number with the calling code that stands beside it, unless it has one.
fn with_calling_code(number: &str, code: &str) -> String {
    if number.starts_with('+') || number.starts_with("00") {
        return number.to_owned();
    }
    let national = number.strip_prefix(code).filter(|rest| rest.len() >= A_NUMBERS_DIGITS).unwrap_or(number);
    format!("+{code}{}", national.strip_prefix('0').unwrap_or(national))
}

/// The numbers that an answer may mean, the likelier first. A space before a number is what an unescaped `+` reads as; but
/// somebody may have typed it.
fn as_numbers(answer: &str) -> impl Iterator<Item = String> + use<> {
    let bare = answer.trim();
    let lost = answer.starts_with(' ') && bare.starts_with(|c: char| matches!(c, '1'..='9'));
    let given_back = lost.then(|| format!("+{bare}"));
    given_back.into_iter().chain([bare.to_owned()])
}

/// How likely a field of this name is to be the fact: less is likelier.
fn rank(fact: Fact, name: &str) -> Option<usize> {
    let at = |name: &str| {
        let name = squashed(name);
        looked_for(fact).iter().position(|known| is_squashed(known, &name))
    };
    let says_nothing = |step: &str| {
        let step = squashed(step);
        AROUND.iter().any(|known| is_squashed(known, &step))
    };
    at(name).or_else(|| {
        let (around, last) = name.rsplit_once('.')?;
        at(last).filter(|_| around.split('.').all(says_nothing))
    })
}

/// A name without what doesn't count: case, spaces, signs.
fn squashed(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether that is what is left of a name in our tables, which are in lower case.
fn is_squashed(known: &str, name: &str) -> bool {
    known.chars().filter(|c| c.is_alphanumeric()).eq(name.chars())
}

/// Whether fields of this name are often boxes to tick.
fn may_be_a_box(name: &str) -> bool {
    ["whatsapp", "וואטסאפ"].iter().any(|what| name.contains(what))
}

fn has_a_number(answer: &str) -> bool {
    answer.chars().filter(|c| c.is_numeric()).count() >= A_NUMBERS_DIGITS
}

fn lower(text: &str) -> String {
    text.trim().to_lowercase()
}

/// Whether two texts are the same but for case and the space around them.
fn same(one: &str, other: &str) -> bool {
    lower(one) == lower(other)
}

fn is_one_of(known: &[impl AsRef<str>], answer: &str) -> bool {
    known.iter().any(|known| same(known.as_ref(), answer))
}
