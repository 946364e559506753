//! How deliveries prove where they come from, as data. [`crate::delivery`] verifies them by it.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{JsonPointer, RepeatWindow, SecretFacts, SecretPurpose, SenderFacts};

/// How a sender proves that a delivery is its own.
#[derive(Debug, Clone, Copy)]
pub enum DeliveryProof<'a> {
    /// A signature of the sender's own.
    Signature {
        /// How it signs.
        scheme: &'static SignatureScheme,
        /// What it signs for, as configured: the account that its deliveries name, or the address
        /// that it signs. Empty where it names and signs neither.
        binding: &'a str,
    },
    /// Standard Webhooks.
    StandardWebhooks,
    /// A secret value in a header. With `Authorization` the value begins with `Bearer `.
    StaticHeader {
        /// The header's name.
        header: &'a str,
        /// The place of a delivery id in the body.
        delivery_id: Option<&'a JsonPointer>,
        /// What identifies a delivery without an id.
        fallback_id: FallbackId,
    },
    /// Calendly's signature.
    Calendly,
    /// The token that tellonce gave a channel of Google Calendar.
    GoogleChannel,
    /// The key that a lead form of Google Ads repeats in each body.
    GoogleAds,
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

impl<'a> DeliveryProof<'a> {
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
pub struct PathSecret<'a>(pub(crate) &'a str);

impl fmt::Debug for PathSecret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InPath(…)")
    }
}

/// How a sender signs: HMAC-SHA256 in a header.
#[derive(Debug, PartialEq, Eq)]
pub struct SignatureScheme {
    /// The header that holds the signature.
    pub header: &'static str,
    /// The text before the signature.
    pub prefix: &'static str,
    /// The encoding of the signature.
    pub encoding: SignatureEncoding,
    /// Whether the entities of `&<>"'` in the stored secret are decoded before it signs.
    pub decodes_key: bool,
    /// The signed parts, in this order.
    pub signed: &'static [SignedPart],
    /// The header with the time of the signature, if that is signed.
    pub timestamp: Option<SignedTimestamp>,
    /// How to recognise a delivery from a sender without a secret.
    pub unsigned: Option<UnsignedMark>,
    /// The unsigned request by which a sender tries an address.
    pub ping: Option<UnsignedPing>,
    /// The header that names the account, which must be the configured one.
    pub account_header: Option<&'static str>,
    /// Where the delivery's id stands.
    pub delivery_id: DeliveryIdSource,
    /// The header that says what the delivery is about.
    pub topic_header: Option<&'static str>,
    /// The headers that later steps need.
    pub kept_headers: &'static [&'static str],
    /// Whether the content type matters later.
    pub keeps_content_type: bool,
}

impl SignatureScheme {
    /// Base64 over the raw body, and the body identifies the delivery.
    pub(super) const BASE64: Self = Self {
        header: "",
        prefix: "",
        encoding: SignatureEncoding::Base64,
        decodes_key: false,
        signed: &[SignedPart::Body],
        timestamp: None,
        unsigned: None,
        ping: None,
        account_header: None,
        delivery_id: DeliveryIdSource::Body,
        topic_header: None,
        kept_headers: &[],
        keeps_content_type: false,
    };
    /// The same in hex.
    pub(super) const HEX: Self = Self { encoding: SignatureEncoding::Hex, ..Self::BASE64 };

    /// Whether the address is signed, as it is registered at the sender.
    pub fn signs_address(&self) -> bool {
        self.signed.iter().any(|part| matches!(part, SignedPart::Address | SignedPart::DecodedAddress))
    }
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureEncoding {
    /// Base64 with padding.
    Base64,
    /// Hex, in either case.
    Hex,
}

/// A part of what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedPart {
    /// The raw bytes of the body.
    Body,
    /// The registered address.
    Address,
    /// The registered address with some characters decoded, as HubSpot signs it.
    DecodedAddress,
    /// The time, as its header has it.
    Timestamp,
    /// These characters.
    Text(&'static str),
}

/// A header with Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedTimestamp {
    /// The header's name.
    pub header: &'static str,
    /// How far the time may be from now, either way, in seconds.
    pub tolerance_seconds: i64,
}

/// What shows that no secret is set at the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsignedMark {
    /// The signature's header is missing.
    NoHeader,
    /// The signature's header holds this.
    Value(&'static str),
}

/// An unsigned form post `{field}=<n>` without any header that begins so. It wants exactly 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsignedPing {
    /// The beginning of the headers that it does not have.
    pub header_prefix: &'static str,
    /// The field.
    pub field: &'static str,
}

/// Where the id of a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryIdSource {
    /// In this header.
    Header(&'static str),
    /// In this header, where it is not unique: the body's hash is part of it.
    HeaderAndBody(&'static str),
    /// At the first of these places of the JSON that holds a text or number; else as in `Body`.
    Field(&'static [&'static str]),
    /// At this place of the JSON, if that holds a text; else as in `Body`.
    TextField(&'static str),
    /// Nowhere: the body's hash identifies it.
    Body,
    /// Nowhere, and the same bytes are posted for two changes: each receipt is a delivery.
    Receipt,
}

/// How the deliveries of a custom sender prove where they come from.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "scheme", rename_all = "kebab-case", deny_unknown_fields)]
pub enum CustomScheme {
    /// A signature as in <https://www.standardwebhooks.com>, in the headers `webhook-id`,
    /// `webhook-timestamp` and `webhook-signature`, or `svix-id`, `svix-timestamp` and
    /// `svix-signature`.
    StandardWebhooks,
    /// A secret value in a header, for senders that cannot sign.
    StaticHeader {
        /// Name of the header, such as `X-Webhook-Token`.
        header: String,
    },
}

impl CustomScheme {
    pub(super) fn proof<'a>(
        &'a self,
        delivery_id: Option<&'a JsonPointer>,
        fallback_id: FallbackId,
    ) -> DeliveryProof<'a> {
        match self {
            Self::StandardWebhooks => DeliveryProof::StandardWebhooks,
            Self::StaticHeader { header } => DeliveryProof::StaticHeader { header, delivery_id, fallback_id },
        }
    }

    pub(super) const fn sender(&self) -> SenderFacts {
        match self {
            Self::StandardWebhooks => SenderFacts {
                secret: STANDARD_WEBHOOKS_SECRET,
                repeats: Some(RepeatWindow::STANDARD_WEBHOOKS),
                samples: "standardwebhooks",
            },
            Self::StaticHeader { .. } => SenderFacts {
                secret: STATIC_HEADER_SECRET,
                repeats: Some(RepeatWindow::BY_HAND),
                samples: "static_header",
            },
        }
    }
}

/// What a sender signs with that follows Standard Webhooks.
pub(super) const STANDARD_WEBHOOKS_SECRET: SecretFacts =
    SecretFacts::new(SecretPurpose::StandardWebhooks, "the sender's signing secret (whsec_…)");
/// What a sender puts into a header.
pub(super) const STATIC_HEADER_SECRET: SecretFacts =
    SecretFacts::chosen(SecretPurpose::WebhookSecret, "a long random value; the sender puts it into its header");
