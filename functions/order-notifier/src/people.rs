//! The customer in a store's words: which of several numbers, and a name from its halves.

use shared::contact::{Phone, PhoneError};

use crate::{json::Raw, order_event::Delivery};

/// A number that may be the customer's, and the country that stands beside it.
#[derive(Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) phone: Raw<'a>,
    /// ISO 3166-1 alpha-2; without it the store's own country counts.
    pub(crate) country: Raw<'a>,
}

/// The first number that may be messaged; if none may, what was wrong with the first that was given.
pub(crate) fn first_usable<'a>(
    delivery: &Delivery<'_>,
    candidates: impl IntoIterator<Item = Candidate<'a>>,
) -> (Option<Phone>, Option<PhoneError>) {
    let mut problem = None;
    for candidate in candidates {
        let Some(raw) = candidate.phone.text() else { continue };
        let country = candidate.country.text();
        // Some stores write the country out; that is no code, and theirs is the better guess.
        let country = country.as_deref().filter(|code| code.len() == 2).unwrap_or(delivery.country);
        match Phone::parse(&raw, country, delivery.phones) {
            Ok(phone) => return (Some(phone), None),
            Err(PhoneError::Empty) => {}
            Err(why) => problem = problem.or(Some(why)),
        }
    }
    (None, problem)
}

/// First and last name, or the one that there is.
pub(crate) fn full_name(first: Raw<'_>, last: Raw<'_>) -> Option<String> {
    match (first.text(), last.text()) {
        (Some(first), Some(last)) => Some(format!("{first} {last}")),
        (first, last) => first.or(last).map(std::borrow::Cow::into_owned),
    }
}
