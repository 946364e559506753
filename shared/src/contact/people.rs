//! The customer in other people's words: which of several numbers, and a name from its halves.

use super::{Phone, PhoneError};
use crate::{client_config::PhoneRule, json::Raw};

/// A number that may be the customer's, and the country that stands beside it.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// The number as written.
    pub phone: Raw<'a>,
    /// ISO 3166-1 alpha-2; without it the sender's own country counts.
    pub country: Raw<'a>,
}

impl<'a> From<Raw<'a>> for Candidate<'a> {
    /// A number that no country stands beside.
    fn from(phone: Raw<'a>) -> Self {
        Self { phone, country: Raw::default() }
    }
}

/// The first number that may be messaged; if none may, what was wrong with the first that was given. `country` is the
/// sender's own.
pub fn first_usable<'a>(
    candidates: impl IntoIterator<Item = Candidate<'a>>,
    country: &str,
    rule: PhoneRule,
) -> (Option<Phone>, Option<PhoneError>) {
    let mut problem = None;
    for candidate in candidates {
        let Some(raw) = candidate.phone.text() else { continue };
        let beside = candidate.country.text();
        // Some senders write the country out; that is no code, and theirs is the better guess.
        let country = beside.as_deref().filter(|code| code.len() == 2).unwrap_or(country);
        match Phone::parse(&raw, country, rule) {
            Ok(phone) => return (Some(phone), None),
            Err(PhoneError::Empty) => {}
            Err(why) => problem = problem.or(Some(why)),
        }
    }
    (None, problem)
}

/// First and last name, or the one that there is.
pub fn full_name(first: Raw<'_>, last: Raw<'_>) -> Option<String> {
    match (first.text(), last.text()) {
        (Some(first), Some(last)) => Some(format!("{first} {last}")),
        (first, last) => first.or(last).map(std::borrow::Cow::into_owned),
    }
}
