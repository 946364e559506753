//! Finds the facts of a submission among its fields, by the client's names or by usual ones.

use jiff::Timestamp;
use tellonce_core::{
    client_config::{ConsentRule, FormConfig, NO_ANSWERS, YES_ANSWERS},
    contact::{self, Phone, PhoneError},
    pseudonym::PseudonymKey,
    telemetry::LogLabel,
};

use crate::{
    lead::LeadDelivery,
    lead_fact::{FactSource, LeadFact, NEUTRAL_PARENTS, usual_names},
    lead_outcome::LeadSkipReason,
    submission::SubmittedField,
};

/// The most numbers that are tried.
const MAX_NUMBERS: usize = 10;
/// The most fields with a word for a phone that are compared.
const MAX_PHONE_FIELDS: usize = 50;
/// The fewest digits of a phone number in a field that may hold something else.
const MIN_PHONE_DIGITS: usize = 7;

/// The fields of a submission and the configuration that says how to search them.
pub(crate) struct FieldSearch<'a> {
    pub(crate) form: &'a FormConfig,
    pub(crate) fields: &'a [SubmittedField],
    pub(crate) pseudonyms: &'a PseudonymKey,
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

    pub(crate) fn is_test(&self) -> bool {
        let test = self.form.fields.test.as_deref();
        test.is_some_and(|name| {
            self.fields_named(name).flat_map(|field| &field.values).any(|answer| is_one_of(&YES_ANSWERS, answer))
        })
    }

    /// The source of the consent, as it is stored, and where it was found.
    pub(crate) fn find_consent(&self) -> (Result<String, LeadSkipReason>, Option<FactSource>) {
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
    pub(crate) fn find_phone(&self, delivery: &LeadDelivery<'_>) -> (Result<Phone, LeadSkipReason>, Option<&'a str>) {
        let configured = self.form.fields.phone.is_some();
        let known = self.fields.iter().filter(|field| field.is_telephone && !configured);
        let known = known.flat_map(|field| field.values.iter().map(|answer| (answer.as_str(), field.primary_name())));
        let answers: Vec<(&str, &str)> = known.chain(self.find_values(LeadFact::Phone)).take(MAX_NUMBERS).collect();
        let country = self.find_country();
        let parse = |answer: &str| parse_answer(delivery, answer, country.as_deref());
        let mut problem = None;
        let mut usable: Vec<(Phone, &str)> = Vec::new();
        for (answer, field) in &answers {
            match parse(answer) {
                Ok(phone) => usable.push((phone, field)),
                Err(why) => problem = problem.or(why),
            }
        }
        let Some((phone, field)) = usable.first().cloned() else {
            let reason = problem.map_or(LeadSkipReason::NoPhone, LeadSkipReason::PhoneUnusable);
            return (Err(reason), answers.first().map(|(_, field)| *field));
        };
        let is_one_person = delivery.form.kind.facts().submits_one_person;
        let has_other = || self.has_other_number(&phone, |answer| parse(answer).ok());
        if !configured && !is_one_person && (self.may_be_two_people(&usable, parse) || has_other()) {
            return (Err(LeadSkipReason::PhoneUnclear), Some(field));
        }
        (Ok(phone), Some(field))
    }

    /// Whether one of the numbers may belong to a person who did not consent: a second telephone
    /// field (such as an emergency contact), or a second number in any field that may hold one. One
    /// number in two spellings or forms is one person's.
    fn may_be_two_people(
        &self,
        usable: &[(Phone, &str)],
        parse: impl Fn(&str) -> Result<Phone, Option<PhoneError>>,
    ) -> bool {
        let Some((first, _)) = usable.first() else { return false };
        let digits = |answer: &str| answer.chars().filter(char::is_ascii_digit).collect::<String>();
        let telephones = self.fields.iter().filter(|field| field.is_telephone).flat_map(|field| &field.values);
        // A number that may not be messaged, such as a landline, has no form but its digits.
        let telephones = telephones.map(|answer| parse(answer).map_err(|_| digits(answer)));
        let telephones: Vec<_> =
            telephones.filter(|number| number.as_ref().err().is_none_or(|digits| !digits.is_empty())).collect();
        let differs = |one: &Result<Phone, String>, other: &Result<Phone, String>| match (one, other) {
            (Ok(one), Ok(other)) => !one.is_same_contact(other),
            (one, other) => one != other,
        };
        telephones.first().is_some_and(|one| telephones.iter().any(|other| differs(one, other)))
            || usable.iter().any(|(other, _)| !other.is_same_contact(first))
    }

    /// Whether a field whose name has a word for a phone holds another number than `phone`: a
    /// second field (`phone2`, `partner_mobile`), or a repetition with a typing error
    /// (`confirm_phone`). A field of another person's group, such as `agent.phone`, does not count.
    fn has_other_number(&self, phone: &Phone, parse: impl Fn(&str) -> Option<Phone>) -> bool {
        let own_name = |field: &&'a SubmittedField| field.names.iter().find_map(|name| phone_word_step(name));
        let named = self.fields.iter().filter_map(|field| Some((own_name(&field)?, field))).take(MAX_PHONE_FIELDS);
        named.into_iter().any(|(step, field)| {
            field.values.iter().any(|answer| match parse(answer) {
                Some(other) => !other.is_same_contact(phone),
                None => is_repetition(step) && has_phone_digits(answer),
            })
        })
    }

    /// The country that the submission states for the number, ISO 3166-1 alpha-2. `None` if there
    /// is only a name, such as `Germany`.
    fn find_country(&self) -> Option<String> {
        self.find_values(LeadFact::Country).into_iter().find_map(|(answer, _)| stated_country(answer))
    }

    /// The full name, or the parts that exist, and where it was found. A configured part comes
    /// first.
    pub(crate) fn find_name(&self) -> Option<(String, String)> {
        self.find_typed_name().filter(|(name, _)| is_readable(name))
    }

    /// Whether there is a name that cannot be read.
    pub(crate) fn has_unreadable_name(&self) -> bool {
        self.find_typed_name().is_some_and(|(name, _)| !is_readable(&name))
    }

    fn find_typed_name(&self) -> Option<(String, String)> {
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
    pub(crate) fn find_language(&self) -> Option<(String, &'a str)> {
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
    pub(crate) fn find_choice(&self) -> Option<(String, &'a str)> {
        let rule = self.form.choice.as_ref()?;
        let chosen = |answer: &str| rule.of.iter().find(|of| is_same_text(of, answer)).cloned();
        self.values_named(&rule.field).into_iter().find_map(|(answer, field)| Some((chosen(answer)?, field)))
    }

    /// The sender's id of the submission. Plugins that store no entries post `0`, which is not an
    /// id. An e-mail address or a number is personal data and must not enter rows and logs.
    pub(crate) fn find_id(&self) -> Option<(String, &'a str)> {
        let (id, field) = self.first_value(LeadFact::Id).filter(|(id, _)| *id != "0")?;
        let is_personal = id.contains('@') || id.starts_with('+');
        Some((
            if is_personal { format!("derived:{}", self.pseudonyms.pseudonym(id.as_bytes())) } else { id.to_owned() },
            field,
        ))
    }

    pub(crate) fn find_form_id(&self) -> Option<(String, &'a str)> {
        self.first_value(LeadFact::FormId).map(|(id, field)| (id.to_owned(), field))
    }

    pub(crate) fn find_submitted_at(&self) -> Option<(Timestamp, &'a str)> {
        let mut answers = self.find_values(LeadFact::SubmittedAt).into_iter();
        answers.find_map(|(answer, field)| Some((answer.trim().parse().ok()?, field)))
    }
}

/// Whether a text has no sign for lost bytes, and no control character that only a wrong charset
/// yields.
fn is_readable(text: &str) -> bool {
    !text.chars().any(|c| matches!(c, char::REPLACEMENT_CHARACTER | '\u{80}'..='\u{9f}'))
}

/// A code that ISO 3166-1 reserves for no country.
const NO_COUNTRY: &str = "ZZ";

/// The country in an answer such as `DE`, `+49`, `0049`, `49` or `Germany (+49)`, ISO 3166-1
/// alpha-2. A calling code without a country yields [`NO_COUNTRY`], because a number beside it is
/// not one of the form's country.
fn stated_country(answer: &str) -> Option<String> {
    let answer = answer.trim();
    if answer.len() == 2 && answer.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Some(answer.to_owned());
    }
    let with_plus = answer.rsplit_once('+').map(|(_, code)| code.trim_start());
    let code = with_plus.or_else(|| answer.strip_prefix("00")).unwrap_or(answer);
    let (digits, rest) = code.split_at(code.bytes().take_while(u8::is_ascii_digit).count());
    // The countries of `+1` often differ only by their area code: `+1868`, `+1-868`.
    let is_american = with_plus.is_some() && digits.len() == 4 && digits.starts_with('1');
    let digits = if is_american { "1" } else { digits };
    let is_code = matches!(digits.len(), 1..=3) && (with_plus.is_some() || rest.is_empty());
    is_code.then(|| contact::country_of_calling_code(digits).unwrap_or_else(|| NO_COUNTRY.to_owned()))
}

/// The number in an answer, beside the stated country. A number that the plan of that country does
/// not list may be one of the form's country, as [`Phone::parse_or_home`] says.
///
/// A typed space is more common than a lost plus: of two interpretations, this uses the one with an
/// allowed country.
fn parse_answer(delivery: &LeadDelivery<'_>, answer: &str, country: Option<&str>) -> Result<Phone, Option<PhoneError>> {
    let (mut candidates, mut problem) = (Vec::new(), None);
    for number in number_candidates(answer) {
        let number = [(&*number, country)];
        match contact::first_usable_phone_text(number, delivery.country(), delivery.config.phones) {
            (Some(phone), _) => candidates.push(phone),
            (None, why) => problem = problem.or(why),
        }
    }
    let expected = candidates.iter().position(|phone| is_expected_country(delivery, phone)).unwrap_or_default();
    candidates.into_iter().nth(expected).ok_or(problem)
}

/// Parts of names of fields for a phone number.
const PHONE_PARTS: [&str; 14] = [
    "phone",
    "mobile",
    "cellular",
    "whatsapp",
    "telefon",
    "telefoon",
    "téléphone",
    "teléfono",
    "телефон",
    "هاتف",
    "טלפון",
    "נייד",
    "סלולרי",
    "וואטסאפ",
];
/// Words for a phone that are also parts of other words (`hotel`).
const PHONE_WORDS: [&str; 7] = ["tel", "cell", "mob", "gsm", "handy", "movil", "móvil"];
/// Words of fields that repeat another field.
const REPETITION_PARTS: [&str; 8] = ["confirm", "repeat", "verify", "retype", "reenter", "again", "אימות", "שוב"];

/// The last step of a field's name, if it has a word for a phone and the field belongs to the lead.
/// A name with brackets has a form with dots beside it.
fn phone_word_step(name: &str) -> Option<&str> {
    if name.ends_with(']') {
        return None;
    }
    let (around, step) = name.rsplit_once('.').unwrap_or(("", name));
    let lower = step.to_lowercase();
    let words = || step.split(|c: char| !c.is_alphabetic()).flat_map(split_camel_case);
    let has_word = PHONE_PARTS.iter().any(|part| lower.contains(part))
        || words().any(|word| PHONE_WORDS.contains(&word.to_lowercase().as_str()));
    let is_own = around.is_empty() || around.split('.').all(is_neutral_parent);
    (has_word && is_own).then_some(step)
}

/// The words of `homeTel`.
fn split_camel_case(word: &str) -> Vec<&str> {
    let capitals = word.char_indices().skip(1).filter(|(_, c)| c.is_uppercase()).map(|(at, _)| at);
    let starts: Vec<usize> = [0].into_iter().chain(capitals).collect();
    let is_camel_case = word.chars().any(char::is_lowercase);
    if !is_camel_case {
        return vec![word];
    }
    let ends = starts.iter().skip(1).copied().chain([word.len()]);
    starts.iter().zip(ends).map(|(start, end)| &word[*start..end]).collect()
}

/// Whether a field with this name repeats another, so that the lead finds typing errors.
fn is_repetition(step: &str) -> bool {
    let name = squash_name(step);
    REPETITION_PARTS.iter().any(|part| name.contains(part))
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
    at(name).or_else(|| {
        let (around, last) = name.rsplit_once('.')?;
        at(last).filter(|_| around.split('.').all(is_neutral_parent))
    })
}

/// Whether a parent of this name does not make a nested field belong to another person.
fn is_neutral_parent(step: &str) -> bool {
    let step = squash_name(step);
    NEUTRAL_PARENTS.iter().any(|known| matches_squashed(known, &step))
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

/// Whether the form greets numbers of this number's country.
fn is_expected_country(delivery: &LeadDelivery<'_>, phone: &Phone) -> bool {
    match &*delivery.form.countries {
        [] => phone.is_of_country(delivery.country()),
        countries => countries.iter().any(|country| phone.is_of_country(country)),
    }
}

/// Why the form does not greet this number, if [`is_expected_country`] rejects its country.
pub(crate) fn check_country(delivery: &LeadDelivery<'_>, phone: &Phone) -> Result<(), LeadSkipReason> {
    if is_expected_country(delivery, phone) {
        Ok(())
    } else {
        Err(LeadSkipReason::CountryNotAllowed(LogLabel::new(phone.country_code().as_deref().unwrap_or("unknown"))))
    }
}

/// Whether the member of an object with this name holds a phone number.
pub(crate) fn is_phone_field(form: &FormConfig, name: &str) -> bool {
    let configured = form.fields.phone.as_deref().map(|path| path.rsplit_once('.').map_or(path, |(_, last)| last));
    let known =
        name_rank(LeadFact::Phone, name).is_some_and(|rank| !may_be_checkbox(usual_names(LeadFact::Phone)[rank]));
    known || configured.is_some_and(|last| is_same_text(last, name))
}
