//! Verifies deliveries: requests that a store, a calendar, a form or a line posts.
//!
//! Main types: [`Unverified`] is a request as it arrived; [`DeliveryProof`] is how its sender
//! proves itself; [`verify_delivery`] is the only way to [`Verified`], which all later code takes;
//! [`Refusal`] says why a delivery was not accepted. [`verify_handshake`] checks the request by
//! which a sender tests an address before it posts anything.
//!
//! Promises: a delivery is [`Verified`] only if its proof holds for its raw bytes. Secrets and
//! signatures are compared in constant time. Does **not** read more of the body than a delivery id
//! needs, and does not find repeats: the inbox does.

mod proof_schemes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use http::HeaderMap;
use jiff::Timestamp;

use crate::{
    client_config::{DeliveryProof, PathSecret},
    provider::PROVIDER,
    secret::Secret,
};

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
    fn required_header(&self, name: &'static str) -> Result<&'a str, Refusal> {
        self.optional_header(name)?.ok_or(Refusal::HeaderMissing(name))
    }

    fn optional_header(&self, name: &'static str) -> Result<Option<&'a str>, Refusal> {
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

/// The outcome of verifying a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerificationOutcome<'a> {
    /// To be stored in the inbox.
    Verified(Verified<'a>),
    /// A handshake that needs a response with exactly 200: the unsigned request of `WooCommerce`
    /// when a webhook is saved, and Google Calendar's `sync` when a channel is opened.
    Ping,
}

/// Why a delivery was not accepted. Texts name headers, never their values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A header that the proof needs is missing.
    #[error("the header {0} is missing")]
    HeaderMissing(&'static str),
    /// A header does not have its documented form.
    #[error("the header {0} is malformed")]
    HeaderMalformed(&'static str),
    /// The secret in the address is right, but this header, which describes the delivery, is
    /// missing or malformed.
    #[error("the header {0} is missing or malformed; {provider} sends it with each delivery", provider = PROVIDER.facts().name)]
    LineHeaderMissing(&'static str),
    /// The delivery is from another line than its address.
    #[error("the delivery is from another line; register the webhook with the token of the line in this address")]
    OtherLine,
    /// The sender has no secret for this webhook, and reports that or sends no signature.
    #[error("the delivery is not signed; set a secret for this webhook at the sender")]
    Unsigned,
    /// The signature, or the secret in the header or the body, is not right for this body.
    #[error("the signature does not match; check that the stored secret is the sender's")]
    ProofMismatch,
    /// The value at the end of the address is not the secret. The response must not reveal to a
    /// stranger that only this is wrong.
    #[error("the secret at the end of the address is not the stored secret")]
    WrongAddress,
    /// The body lacks the key that proves it.
    #[error("the body has no {0}; set a key in the webhook settings of the sender")]
    KeyMissing(&'static str),
    /// The delivery was signed too long ago, or in the future.
    #[error("the delivery was signed {} s {}; more than {tolerance} s is refused", .seconds.unsigned_abs(), if *.seconds < 0 { "in the future" } else { "ago" })]
    TimestampOutOfRange {
        /// Its age in seconds, negative if it is from the future.
        seconds: i64,
        /// The greatest accepted age in seconds, either way.
        tolerance: i64,
    },
    /// The proof holds, but the delivery is from another shop than the configured shop.
    #[error("the delivery is from another shop; check `shop_domain` or `source` of this store")]
    OtherShop,
    /// The secret cannot be a key of this scheme.
    #[error("the stored secret does not have the form that its scheme needs ({0})")]
    SecretUnusable(&'static str),
}

impl Refusal {
    /// Whether the delivery could be verified with another secret. Any other refusal is about the
    /// delivery itself.
    pub fn depends_on_secret(&self) -> bool {
        match self {
            Self::ProofMismatch | Self::WrongAddress | Self::SecretUnusable(_) => true,
            Self::HeaderMissing(_)
            | Self::HeaderMalformed(_)
            | Self::LineHeaderMissing(_)
            | Self::OtherLine
            | Self::Unsigned
            | Self::KeyMissing(_)
            | Self::TimestampOutOfRange { .. }
            | Self::OtherShop => false,
        }
    }
}

/// The longest delivery id that is stored unchanged, in bytes. A longer id is stored as its hash.
/// The id is part of a key of the inbox's table, and a key has at most 2,048 bytes.
const MAX_DELIVERY_ID_BYTES: usize = 512;

/// Verifies a delivery.
///
/// `sender` is the configured name of the store, calendar, form or line. `secret` is one of the
/// values that are valid now. A caller with several values tries each.
pub fn verify_delivery<'a>(
    sender: &'a str,
    proof: DeliveryProof<'_>,
    secret: &Secret,
    unverified: Unverified<'a>,
    now: Timestamp,
) -> Result<VerificationOutcome<'a>, Refusal> {
    let mut verified = match proof {
        DeliveryProof::Signature { scheme, binding } => {
            if scheme.ping.is_some_and(|ping| proof_schemes::is_unsigned_ping(ping, unverified)) {
                return Ok(VerificationOutcome::Ping);
            }
            proof_schemes::verify_signature(sender, scheme, binding, secret, unverified, now)?
        }
        DeliveryProof::StandardWebhooks => proof_schemes::verify_standard_webhooks(sender, secret, unverified, now)?,
        DeliveryProof::StaticHeader { header, delivery_id, fallback_id } => {
            proof_schemes::verify_static_header(sender, header, delivery_id, fallback_id, secret, unverified, now)?
        }
        DeliveryProof::Calendly => proof_schemes::verify_calendly(sender, secret, unverified, now)?,
        DeliveryProof::GoogleChannel => match proof_schemes::verify_google_channel(sender, secret, unverified)? {
            Some(verified) => verified,
            None => return Ok(VerificationOutcome::Ping),
        },
        DeliveryProof::GoogleAds => proof_schemes::verify_google_ads(sender, secret, unverified)?,
        DeliveryProof::SecretPath(PathSecret(given)) => {
            proof_schemes::verify_secret_path(sender, given, secret, unverified, now)?
        }
        DeliveryProof::Line { line_id, given: PathSecret(given) } => {
            proof_schemes::verify_line_event(sender, line_id, given, secret, unverified)?
        }
    };
    if verified.delivery_id.len() > MAX_DELIVERY_ID_BYTES {
        verified.delivery_id = proof_schemes::short_hash(verified.delivery_id.as_bytes());
    }
    Ok(VerificationOutcome::Verified(verified))
}

/// Checks the token of a handshake. Meta sends the token to an address before it posts deliveries
/// there.
pub fn verify_handshake(token: &str, secret: &Secret) -> Result<(), Refusal> {
    proof_schemes::require_secret(token, secret)
}
