//! A delivery: something a store, a calendar, a form or a line posted to us, believed only after it is verified.
//!
//! The cast: [`Unverified`] is what came in; [`DeliveryProof`] how its sender proves itself; [`verify_delivery`] is the one way from there
//! to [`Verified`], which everything behind the door takes. [`Refusal`] says why a delivery was not believed.
//! [`verify_handshake`] is for what somebody asks before posting anything.
//!
//! Promises that nothing is [`Verified`] whose proof does not hold for its raw bytes, compared in constant time. Does
//! not read the body beyond what a delivery id needs, and does not dedupe: that is the inbox's.

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
        /// Where an id of the delivery stands in the body.
        delivery_id: Option<&'a JsonPointer>,
        /// By what a delivery without an id is known.
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
    /// The token that we gave a channel of Google Calendar.
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
    /// `HubSpotClient`'s signature, for deliveries to this URL.
    HubSpot {
        /// The URL as registered at `HubSpotClient`.
        notification_url: &'a str,
    },
    /// A secret value at the end of the address.
    SecretPath(PathSecret<'a>),
    /// The same for the events of a line of `EZWhatsApp`, which say in headers what they are of.
    Line {
        /// The line's id there.
        line_id: &'a str,
        /// What stands at the end of the address.
        given: PathSecret<'a>,
    },
}

/// By what a delivery is known whose sender gives it no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackId {
    /// By its body: one that was here before is a repeat. So it is for orders, since what happens to one happens once.
    ByBody,
    /// By its receipt: each is new. An appointment is moved, and moved back, in the same words as it was booked.
    ByReceipt,
    /// By its body and the minute of its receipt: somebody who presses twice is one lead, and who leaves the same words
    /// again next week another.
    ByMinute,
}

/// What stands at the end of an address, where a secret should. Shows itself to nobody.
#[derive(Clone, Copy, Default)]
pub struct PathSecret<'a>(&'a str);

impl fmt::Debug for PathSecret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InPath(…)")
    }
}

impl<'a> DeliveryProof<'a> {
    /// Of a store.
    pub fn of_store(store: &'a StoreConfig) -> Self {
        match &store.kind {
            StoreKind::Shopify { shop_domain } => Self::Shopify { shop_domain },
            StoreKind::WooCommerce { source, .. } => Self::WooCommerce { source },
            StoreKind::Custom { verify, fields, .. } => {
                Self::of_custom_scheme(verify, fields.delivery_id.as_ref(), FallbackId::ByBody)
            }
        }
    }

    /// Of a calendar; none if nothing is posted for it.
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

    /// Of a form. One with a secret address has it [at its end](Self::with_path_secret).
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
                // They sign nothing, so this is in no file that loads. Nothing would pass.
                FormKind::Jotform
                | FormKind::Elementor
                | FormKind::GravityForms
                | FormKind::WpForms
                | FormKind::ContactForm7
                | FormKind::Web => Self::SecretPath(PathSecret::default()),
            },
        }
    }

    /// Of a line, at an address that ends so.
    pub fn of_line(line: &'a LineConfig, given: &'a str) -> Self {
        Self::Line { line_id: &line.line_id, given: PathSecret(given) }
    }

    /// The same for an address that ends in a secret, or in none. None where nothing of this sender's is: whoever signs
    /// has no secret in the address, and whoever has one is at no address without it.
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

/// What came in, not yet believed.
#[derive(Debug, Clone, Copy)]
pub struct Unverified<'a> {
    /// Its headers; names are case-insensitive.
    pub headers: &'a HeaderMap,
    /// The raw bytes of its body.
    pub body: &'a [u8],
}

impl<'a> Unverified<'a> {
    /// A header's text; it must be there, once.
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

/// A delivery whose proof held.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified<'a> {
    /// The store, calendar, form or line it is from, as configured.
    pub sender: &'a str,
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
pub enum VerificationOutcome<'a> {
    /// To be filed.
    Verified(Verified<'a>),
    /// A trial call that wants exactly 200 and says nothing: `WooCommerce`'s unsigned one when a webhook is saved, Google
    /// Calendar's `sync` when a channel is opened.
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
    /// It proved to be whoever knows the address, and does not say in this header what it is.
    #[error("the header {0} is missing or malformed; {provider} sends it with each delivery", provider = PROVIDER.facts().name)]
    LineHeaderMissing(&'static str),
    /// It is of another line than the one whose address it came to.
    #[error("it is of another line than the one this address is for; register the webhook with that line's token")]
    OtherLine,
    /// The sender has no secret set, and says so in its header.
    #[error("it is not signed; set a secret for this webhook where it is sent from")]
    Unsigned,
    /// The signature, or the secret in the header or the body, is not right for this body.
    #[error("the signature does not match; is the secret stored for it the sender's?")]
    ProofMismatch,
    /// What stands at the end of the address is not the secret. Who tries addresses is not told that this is all.
    #[error("the secret at the end of the address is not the one stored for it")]
    WrongAddress,
    /// The body lacks the key that should prove it.
    #[error("the body has no {0}; set one where the webhook is set up")]
    KeyMissing(&'static str),
    /// It was signed too long ago, or in the future.
    #[error("it was signed {} s {}; more than {tolerance} s is refused", .seconds.unsigned_abs(), if *.seconds < 0 { "in the future" } else { "ago" })]
    TimestampOutOfRange {
        /// Its age, negative when it is from the future.
        seconds: i64,
        /// The most that is taken, either way.
        tolerance: i64,
    },
    /// It proves to come from another shop than the one configured.
    #[error("it comes from another shop than the one this store is configured for")]
    OtherShop,
    /// The secret cannot be a key of this scheme.
    #[error("the secret stored for it is not of the form its scheme needs ({0})")]
    SecretUnusable(&'static str),
}

impl Refusal {
    /// Whether it might be believed with another secret. Any other refusal is about the delivery itself.
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

/// The longest delivery id that is kept as it is, in bytes; a longer one is kept as its hash. It becomes part of a key of
/// the inbox's table, which may have 2,048.
const MAX_DELIVERY_ID_BYTES: usize = 512;

/// Believes a delivery, or says why not.
///
/// `sender` is the configured name of the store, calendar or form. `secret` is one of the values that count now; a caller with
/// several tries each.
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

/// Whether somebody who asks if an address is ours knows the token that was agreed on: Meta asks so before it posts there.
pub fn verify_handshake(token: &str, secret: &Secret) -> Result<(), Refusal> {
    proof_schemes::require_secret(token, secret)
}
