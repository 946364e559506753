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

use std::{collections::BTreeMap, fmt};

use http::HeaderMap;
use jiff::Timestamp;

use crate::{
    client_config::{
        CalendarConfig, CalendarKind, CustomScheme, FormConfig, FormKind, FormScheme, JsonPointer, LineConfig,
        StoreConfig, StoreKind,
    },
    provider::PROVIDER,
    secret::Secret,
};

/// How a sender proves that a delivery is its own.
#[derive(Debug, Clone, Copy)]
pub enum DeliveryProof<'a> {
    /// Shopify's signature, for this `….myshopify.com` domain.
    Shopify {
        /// The domain.
        shop_domain: &'a str,
    },
    /// `WooCommerce`'s signature, for the site of this home URL.
    WooCommerce {
        /// The URL, with its trailing slash.
        source: &'a str,
    },
    /// Standard Webhooks.
    StandardWebhooks,
    /// A secret value in a header.
    StaticHeader {
        /// The header's name.
        header: &'a str,
        /// The place of a delivery id in the body.
        delivery_id: Option<&'a JsonPointer>,
        /// What identifies a delivery without an id.
        fallback_id: FallbackId,
    },
    /// Cal.com's signature.
    CalCom,
    /// Calendly's signature.
    Calendly,
    /// Acuity's signature.
    Acuity,
    /// Square's signature, for deliveries to this URL.
    Square {
        /// The URL as registered at Square.
        notification_url: &'a str,
    },
    /// The token that tellonce gave a channel of Google Calendar.
    GoogleChannel,
    /// Typeform's signature.
    Typeform,
    /// The key that a lead form of Google Ads repeats in each body.
    GoogleAds,
    /// Meta's signature.
    Meta,
    /// Webflow's signature.
    Webflow,
    /// Tally's signature.
    Tally,
    /// HubSpot's signature, for deliveries to this URL.
    HubSpot {
        /// The URL as registered at HubSpot.
        notification_url: &'a str,
    },
    /// A secret value at the end of the address.
    SecretPath(PathSecret<'a>),
    /// The same for the events of a line. Their headers name line, event and delivery.
    Line {
        /// The line's id at the provider.
        line_id: &'a str,
        /// The value at the end of the address.
        given: PathSecret<'a>,
    },
}

/// What identifies a delivery whose sender gives it no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackId {
    /// Its body: the same body again is a repeat. For orders, because each event of an order
    /// happens once.
    ByBody,
    /// Its receipt: every delivery is new. For appointments, because an appointment that is moved
    /// and moved back repeats the body of its booking.
    ByReceipt,
    /// Its body and the minute of its receipt. A person who submits twice in a minute is one lead.
    /// The same body next week is another lead.
    ByMinute,
}

/// The value at the end of an address, where the secret should be. `Debug` does not show it.
#[derive(Clone, Copy, Default)]
pub struct PathSecret<'a>(&'a str);

impl fmt::Debug for PathSecret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InPath(…)")
    }
}

impl<'a> DeliveryProof<'a> {
    /// The proof of a store.
    pub fn of_store(store: &'a StoreConfig) -> Self {
        match &store.kind {
            StoreKind::Shopify { shop_domain } => Self::Shopify { shop_domain },
            StoreKind::WooCommerce { source, .. } => Self::WooCommerce { source },
            StoreKind::Custom { verify, fields, .. } => {
                Self::of_custom_scheme(verify, fields.delivery_id.as_ref(), FallbackId::ByBody)
            }
        }
    }

    /// The proof of a calendar; `None` if nothing is posted for it.
    pub fn of_calendar(calendar: &'a CalendarConfig) -> Option<Self> {
        Some(match &calendar.kind {
            CalendarKind::CalCom => Self::CalCom,
            CalendarKind::Calendly { .. } => Self::Calendly,
            CalendarKind::Acuity { .. } => Self::Acuity,
            CalendarKind::Square { notification_url } => Self::Square { notification_url },
            CalendarKind::Custom { verify, fields, .. } => {
                Self::of_custom_scheme(verify, fields.delivery_id.as_ref(), FallbackId::ByReceipt)
            }
            CalendarKind::Ics(feed) if feed.google_push => Self::GoogleChannel,
            CalendarKind::Ics(_) => return None,
        })
    }

    /// The proof of a form. For a form with a secret address, [`Self::with_path_secret`] adds the
    /// value at its end.
    pub fn of_form(form: &'a FormConfig) -> Self {
        match &form.verify {
            FormScheme::StandardWebhooks => Self::StandardWebhooks,
            FormScheme::StaticHeader { header } => {
                Self::StaticHeader { header, delivery_id: None, fallback_id: FallbackId::ByMinute }
            }
            FormScheme::SecretPath => Self::SecretPath(PathSecret::default()),
            FormScheme::Signature => match form.kind {
                FormKind::Typeform => Self::Typeform,
                FormKind::GoogleAds => Self::GoogleAds,
                FormKind::Meta => Self::Meta,
                FormKind::Webflow => Self::Webflow,
                FormKind::Tally => Self::Tally,
                FormKind::HubSpot => {
                    Self::HubSpot { notification_url: form.notification_url.as_deref().unwrap_or_default() }
                }
                // These forms sign nothing, so no valid configuration leads here. An empty secret
                // in the address lets no delivery pass.
                FormKind::Jotform
                | FormKind::Elementor
                | FormKind::GravityForms
                | FormKind::WpForms
                | FormKind::ContactForm7
                | FormKind::Web => Self::SecretPath(PathSecret::default()),
            },
        }
    }

    /// The proof of a line, for an address that ends in `given`.
    pub fn of_line(line: &'a LineConfig, given: &'a str) -> Self {
        Self::Line { line_id: &line.line_id, given: PathSecret(given) }
    }

    /// This proof for an address that ends in `secret`, or in no secret. `None` if the sender has
    /// no such address: a sender that signs has no secret in its address. A sender with a secret
    /// address posts to no other address.
    #[must_use]
    pub fn with_path_secret(self, secret: Option<&'a str>) -> Option<Self> {
        match (self, secret) {
            (Self::SecretPath(_), Some(given)) => Some(Self::SecretPath(PathSecret(given))),
            (Self::SecretPath(_), None) | (_, Some(_)) => None,
            (proof, None) => Some(proof),
        }
    }

    fn of_custom_scheme(
        scheme: &'a CustomScheme,
        delivery_id: Option<&'a JsonPointer>,
        fallback_id: FallbackId,
    ) -> Self {
        match scheme {
            CustomScheme::StandardWebhooks => Self::StandardWebhooks,
            CustomScheme::StaticHeader { header } => Self::StaticHeader { header, delivery_id, fallback_id },
        }
    }
}

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
        DeliveryProof::Shopify { shop_domain } => {
            proof_schemes::verify_shopify(sender, shop_domain, secret, unverified)?
        }
        DeliveryProof::WooCommerce { source } => {
            if proof_schemes::is_woocommerce_ping(unverified) {
                return Ok(VerificationOutcome::Ping);
            }
            proof_schemes::verify_woocommerce(sender, source, secret, unverified)?
        }
        DeliveryProof::StandardWebhooks => proof_schemes::verify_standard_webhooks(sender, secret, unverified, now)?,
        DeliveryProof::StaticHeader { header, delivery_id, fallback_id } => {
            proof_schemes::verify_static_header(sender, header, delivery_id, fallback_id, secret, unverified, now)?
        }
        DeliveryProof::CalCom => proof_schemes::verify_calcom(sender, secret, unverified)?,
        DeliveryProof::Calendly => proof_schemes::verify_calendly(sender, secret, unverified, now)?,
        DeliveryProof::Acuity => proof_schemes::verify_acuity(sender, secret, unverified, now)?,
        DeliveryProof::Square { notification_url } => {
            proof_schemes::verify_square(sender, notification_url, secret, unverified)?
        }
        DeliveryProof::GoogleChannel => match proof_schemes::verify_google_channel(sender, secret, unverified)? {
            Some(verified) => verified,
            None => return Ok(VerificationOutcome::Ping),
        },
        DeliveryProof::Typeform => proof_schemes::verify_typeform(sender, secret, unverified)?,
        DeliveryProof::GoogleAds => proof_schemes::verify_google_ads(sender, secret, unverified)?,
        DeliveryProof::Meta => proof_schemes::verify_meta(sender, secret, unverified)?,
        DeliveryProof::Webflow => proof_schemes::verify_webflow(sender, secret, unverified, now)?,
        DeliveryProof::Tally => proof_schemes::verify_tally(sender, secret, unverified)?,
        DeliveryProof::HubSpot { notification_url } => {
            proof_schemes::verify_hubspot(sender, notification_url, secret, unverified, now)?
        }
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
