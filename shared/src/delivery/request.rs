//! A request before and after its verification.

use std::collections::BTreeMap;

use http::HeaderMap;

use super::refusal::Refusal;

/// A request as it arrived, not verified.
#[derive(Debug, Clone, Copy)]
pub struct Unverified<'a> {
    /// Its headers. Names are case-insensitive.
    pub headers: &'a HeaderMap,
    /// The raw bytes of its body.
    pub body: &'a [u8],
}

impl<'a> Unverified<'a> {
    /// The text of a header that must be present exactly once.
    pub(super) fn required_header(&self, name: &'static str) -> Result<&'a str, Refusal> {
        self.optional_header(name)?.ok_or(Refusal::HeaderMissing(name))
    }

    pub(super) fn optional_header(&self, name: &'static str) -> Result<Option<&'a str>, Refusal> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => match value.to_str() {
                Ok(text) if !text.is_empty() => Ok(Some(text)),
                _ => Err(Refusal::HeaderMalformed(name)),
            },
            (Some(_), Some(_)) => Err(Refusal::HeaderMalformed(name)),
        }
    }
}

/// A delivery whose proof holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified<'a> {
    /// The configured name of the store, calendar, form or line.
    pub sender: &'a str,
    /// The sender's id of this delivery, or a derived id if the sender gives no unique id.
    pub delivery_id: String,
    /// The topic that the sender gives.
    pub topic: Option<String>,
    /// The headers that later steps need.
    pub headers: BTreeMap<&'static str, String>,
    /// The raw bytes that were verified.
    pub body: &'a [u8],
}
