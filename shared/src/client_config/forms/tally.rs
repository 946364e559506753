//! Tally.

use super::{
    super::{
        BodyTypes, DeliveryIdSource, DeliveryProof, RepeatWindow, SecretFacts, SecretPurpose, SignatureScheme,
        UnsignedMark,
    },
    FormFacts, OwnProof,
};

pub(super) static FACTS: FormFacts = FormFacts {
    name: "tally",
    label: "Tally",
    own_proof: Some(OwnProof {
        proof: DeliveryProof::Signature { scheme: &SIGNATURE, binding: "" },
        secret: SecretFacts::new(
            SecretPurpose::WebhookSecret,
            "the signing secret of its webhook (Tally, Integrations, Webhooks); without one it does not sign",
        ),
    }),
    posts_unchecked_boxes: true,
    body: BodyTypes::JSON,
    repeats: Some(RepeatWindow { days: 2, reason: "Tally repeats for more than a day" }),
    samples: "tally",
    ..FormFacts::PLAIN
};

/// Base64 of HMAC-SHA256 over the raw body. Without a signing secret there is no header. `eventId`
/// identifies the delivery.
///
/// Source: tally.so/help, "Webhooks".
static SIGNATURE: SignatureScheme = SignatureScheme {
    header: "tally-signature",
    unsigned: Some(UnsignedMark::NoHeader),
    delivery_id: DeliveryIdSource::Field(&["/eventId"]),
    keeps_content_type: true,
    ..SignatureScheme::BASE64
};
