//! The customer's number and name, from the fields of a sender.

use super::PhoneRule;
use super::{Phone, PhoneError};
use crate::json::RawJson;

/// A number that may be the customer's, and the country given with it.
#[derive(Clone, Copy)]
pub struct PhoneCandidate<'a> {
    /// The number as written.
    pub phone: RawJson<'a>,
    /// ISO 3166-1 alpha-2. Without it the sender's default country applies.
    pub country: RawJson<'a>,
}

impl<'a> From<RawJson<'a>> for PhoneCandidate<'a> {
    /// A number without a country.
    fn from(phone: RawJson<'a>) -> Self {
        Self { phone, country: RawJson::default() }
    }
}

/// The first number that may be messaged. If there is none, the error of the first number that was
/// given. `country` is the sender's own country: of numbers without a country, and of numbers that
/// the plan of their address does not list.
pub fn first_usable_phone<'a>(
    candidates: impl IntoIterator<Item = PhoneCandidate<'a>>,
    country: &str,
    rule: PhoneRule,
) -> (Option<Phone>, Option<PhoneError>) {
    let texts = candidates.into_iter().map(|candidate| (candidate.phone.text(), candidate.country.text()));
    first_usable_phone_text(texts.filter_map(|(phone, given_country)| Some((phone?, given_country))), country, rule)
}

/// As [`first_usable_phone`], for numbers that do not come from JSON, each with its country.
pub fn first_usable_phone_text<T: AsRef<str>>(
    candidates: impl IntoIterator<Item = (T, Option<T>)>,
    country: &str,
    rule: PhoneRule,
) -> (Option<Phone>, Option<PhoneError>) {
    let mut problem = None;
    for (phone, given_country) in candidates {
        // Some senders write the name of the country. A name is not a code, so the sender's default
        // country is the better guess.
        let given = given_country.as_ref().map(AsRef::as_ref).filter(|code| is_country_code(code)).unwrap_or(country);
        match Phone::parse_or_home(phone.as_ref(), given, country, rule) {
            Ok(phone) => return (Some(phone), None),
            Err(PhoneError::Empty) => {}
            Err(why) => problem = problem.or(Some(why)),
        }
    }
    (None, problem)
}

/// Whether a text has the form of an ISO country code. Two digits are a calling code.
fn is_country_code(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// First and last name, or only the half that is given.
pub fn build_full_name(first: RawJson<'_>, last: RawJson<'_>) -> Option<String> {
    match (first.text(), last.text()) {
        (Some(first), Some(last)) => Some(format!("{first} {last}")),
        (first, last) => first.or(last).map(std::borrow::Cow::into_owned),
    }
}
