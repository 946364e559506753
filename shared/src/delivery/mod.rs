//! A delivery: something a store posted to us, believed only after it is verified.
//!
//! The cast: [`Unverified`] is what came in; [`verify`] is the one way from it to [`Verified`], which everything
//! behind the door takes. [`Refusal`] says why a delivery was not believed.
//!
//! Promises that nothing is [`Verified`] whose proof does not hold for its raw bytes, compared in constant time. Does
//! not read the body beyond what a delivery id needs, and does not dedupe: that is the inbox's.

mod scheme;

use std::collections::BTreeMap;

use http::HeaderMap;
use jiff::Timestamp;

use crate::{
    client_config::{CustomScheme, Store, StoreKind},
    secret::Secret,
};

/// What came in, not yet believed.
#[derive(Debug, Clone, Copy)]
pub struct Unverified<'a> {
    /// Its headers; names are case-insensitive.
    pub headers: &'a HeaderMap,
    /// The raw bytes of its body.
    pub body: &'a [u8],
}

impl<'a> Unverified<'a> {
    /// A header's text, if it is there once and is text.
    fn header(&self, name: &'static str) -> Result<&'a str, Refusal> {
        self.optional(name)?.ok_or(Refusal::HeaderMissing(name))
    }

    fn optional(&self, name: &'static str) -> Result<Option<&'a str>, Refusal> {
        match self.headers.get(name) {
            None => Ok(None),
            Some(value) => match value.to_str() {
                Ok(text) if !text.is_empty() => Ok(Some(text)),
                _ => Err(Refusal::HeaderMalformed(name)),
            },
        }
    }
}

/// A delivery whose proof held.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified<'a> {
    /// The store it is for, as configured.
    pub store: &'a str,
    /// The sender's id of this delivery, or what stands in for it where the sender's is not unique.
    pub delivery_id: String,
    /// What the sender says it is about.
    pub topic: Option<String>,
    /// The headers that matter later.
    pub headers: BTreeMap<&'static str, String>,
    /// The raw bytes that were verified.
    pub body: &'a [u8],
}

/// What a delivery turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked<'a> {
    /// To be filed.
    Verified(Verified<'a>),
    /// `WooCommerce`'s unsigned trial call when a webhook is saved: wants exactly 200, says nothing.
    Ping,
}

/// Why a delivery is not believed. Texts name headers, never their values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A header without which nothing can be verified is not there.
    #[error("the header {0} is missing")]
    HeaderMissing(&'static str),
    /// A header is not of its form.
    #[error("the header {0} is malformed")]
    HeaderMalformed(&'static str),
    /// The signature, or the secret header, is not right for this body.
    #[error("the signature does not match; is the secret of this store the sender's?")]
    Mismatch,
    /// It was signed too long ago, or in the future.
    #[error("it was signed {} s {}; more than {tolerance} s is refused", .seconds.unsigned_abs(), if *.seconds < 0 { "in the future" } else { "ago" }, tolerance = scheme::TIMESTAMP_TOLERANCE_SECONDS)]
    Stale {
        /// Its age, negative when it is from the future.
        seconds: i64,
    },
    /// It proves to come from another shop than the one configured.
    #[error("it comes from another shop than the one this store is configured for")]
    OtherShop,
    /// The secret cannot be a key of this scheme.
    #[error("the secret of this store is not of the form its scheme needs ({0})")]
    SecretUnusable(&'static str),
}

/// Believes a delivery, or says why not.
///
/// `store` is its configured name. `secret` is one of the values that count now; a caller with several tries each.
pub fn verify<'a>(
    store: &'a str,
    config: &Store,
    secret: &Secret,
    unverified: Unverified<'a>,
    now: Timestamp,
) -> Result<Checked<'a>, Refusal> {
    let verified = match &config.kind {
        StoreKind::Shopify { shop_domain } => scheme::shopify(store, shop_domain, secret, unverified)?,
        StoreKind::WooCommerce { source, .. } => {
            if scheme::is_woocommerce_ping(unverified) {
                return Ok(Checked::Ping);
            }
            scheme::woocommerce(store, source, secret, unverified)?
        }
        StoreKind::Custom { verify: CustomScheme::StandardWebhooks, .. } => {
            scheme::standard_webhooks(store, secret, unverified, now)?
        }
        StoreKind::Custom { verify: CustomScheme::StaticHeader { header }, fields, .. } => {
            scheme::static_header(store, header, fields.delivery_id.as_ref(), secret, unverified)?
        }
    };
    Ok(Checked::Verified(verified))
}
