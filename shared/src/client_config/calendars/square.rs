//! Square Bookings. The lookup of the customer uses the access token in
//! [`ClientConfig::calendar_secret_name`](super::super::ClientConfig::calendar_secret_name).

use super::{
    super::{
        BodyTypes, DeliveryIdSource, DeliveryProof, KindSetting, RepeatWindow, SecretFacts, SecretPurpose, SenderFacts,
        SettingRule, SignatureScheme, SignedPart,
    },
    CalendarFacts, CalendarKind,
};

/// A Square account.
#[derive(Debug, Clone)]
pub struct SquareCalendar {
    /// The address exactly as registered at Square, which signs it with every delivery.
    pub notification_url: String,
}

pub(super) static FACTS: CalendarFacts = CalendarFacts {
    name: "square",
    label: "Square",
    settings: &[KindSetting::required("notification_url", SettingRule::RegisteredAddress)],
    account_setting: Some("notification_url"),
    credential: Some(SecretFacts::new(
        SecretPurpose::CalendarApi,
        "an access token that may read customers (CUSTOMERS_READ)",
    )),
    signs_with_credential: false,
    body: BodyTypes::JSON,
    from_table: |table| Some(CalendarKind::Square(SquareCalendar { notification_url: table.notification_url? })),
};

pub(super) const SENDER: SenderFacts = SenderFacts {
    secret: SecretFacts::new(
        SecretPurpose::WebhookSecret,
        "the signature key of the webhook subscription (Square Developer Console, Webhooks)",
    ),
    repeats: Some(RepeatWindow { days: 2, reason: "Square repeats for about 24 hours" }),
    samples: "square",
};

/// Base64 of HMAC-SHA256 over the notification URL and the raw body. `event_id` in the body
/// identifies the delivery and stays the same when it is sent again.
///
/// Source: developer.squareup.com, "Verify and validate an event notification".
static SIGNATURE: SignatureScheme = SignatureScheme {
    header: "x-square-hmacsha256-signature",
    signed: &[SignedPart::Address, SignedPart::Body],
    delivery_id: DeliveryIdSource::TextField("/event_id"),
    ..SignatureScheme::BASE64
};

impl SquareCalendar {
    pub(super) fn proof(&self) -> DeliveryProof<'_> {
        DeliveryProof::Signature { scheme: &SIGNATURE, binding: &self.notification_url }
    }
}
