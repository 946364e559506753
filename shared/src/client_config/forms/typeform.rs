//! Typeform.

use super::{
    super::{
        BodyTypes, DeliveryIdSource, DeliveryProof, RepeatWindow, SecretFacts, SecretPurpose, SignatureScheme,
        UnsignedMark,
    },
    FormFacts, OwnProof,
};

pub(super) static FACTS: FormFacts = FormFacts {
    name: "typeform",
    label: "Typeform",
    own_proof: Some(OwnProof {
        proof: DeliveryProof::Signature { scheme: &SIGNATURE, binding: "" },
        secret: SecretFacts::chosen(
            SecretPurpose::WebhookSecret,
            "the secret of its webhook (Typeform, Connect, Webhooks, Edit); without one it does not sign",
        ),
    }),
    supports_headers: false,
    body: BodyTypes::JSON,
    repeats: Some(RepeatWindow { days: 1, reason: "Typeform repeats for up to 10 hours" }),
    samples: "typeform",
    ..FormFacts::PLAIN
};

/// `sha256=<base64>` of HMAC-SHA256 over the raw body. Without a secret there is no header.
/// `event_id` identifies the delivery.
///
/// Source: typeform.com/developers, "Secure your webhooks".
static SIGNATURE: SignatureScheme = SignatureScheme {
    header: "typeform-signature",
    prefix: "sha256=",
    unsigned: Some(UnsignedMark::NoHeader),
    delivery_id: DeliveryIdSource::Field(&["/event_id"]),
    keeps_content_type: true,
    ..SignatureScheme::BASE64
};
