//! Verifies deliveries: requests that a store, a calendar, a form or a line posts.
//!
//! Main types: [`Unverified`] is a request as it arrived; [`DeliveryProof`] is how its sender
//! proves itself; [`verify_delivery`] is the only way to [`Verified`], which all later code takes;
//! [`Refusal`] says why a delivery was not accepted. [`verify_shown_secret`] checks the request by
//! which a sender tests an address before it posts anything.
//!
//! Promises: a delivery is [`Verified`] only if its proof holds for its raw bytes. Secrets and
//! signatures are compared in constant time. Does **not** read more of the body than a delivery id
//! needs, and does not find repeats: the inbox does.

mod proof_schemes;
mod refusal;
mod request;
#[cfg(test)]
mod tests;
mod wordpress_text;

use jiff::Timestamp;

use crate::{
    client_config::{DeliveryProof, PathSecret},
    secret::Secret,
};

pub use refusal::Refusal;
pub use request::{Unverified, Verified};

/// The outcome of verifying a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerificationOutcome<'a> {
    /// To be stored in the inbox.
    Verified(Verified<'a>),
    /// A handshake that needs a response with exactly 200: the unsigned request of `WooCommerce`
    /// when a webhook is saved, and Google Calendar's `sync` when a channel is opened.
    Ping,
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

/// Checks a secret that a request shows, in constant time: the random first segment of an address,
/// or the token of a handshake. Meta sends that token to an address before it posts deliveries
/// there.
pub fn verify_shown_secret(given: &str, secret: &Secret) -> Result<(), Refusal> {
    proof_schemes::require_secret(given, secret)
}
