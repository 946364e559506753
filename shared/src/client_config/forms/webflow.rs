//! Webflow.

use super::{
    super::{
        BodyTypes, DeliveryIdSource, DeliveryProof, RepeatWindow, SecretFacts, SecretPurpose, SignatureScheme,
        SignedPart, SignedTimestamp,
    },
    FormFacts, OwnProof,
};

pub(super) static FACTS: FormFacts = FormFacts {
    name: "webflow",
    label: "Webflow",
    own_proof: Some(OwnProof {
        proof: DeliveryProof::Signature { scheme: &SIGNATURE, binding: "" },
        secret: SecretFacts::new(
            SecretPurpose::WebhookSecret,
            "the secret in the response when the webhook was created through Webflow's API, or the client secret of the \
             app that created it",
        ),
    }),
    posts_unchecked_boxes: true,
    posts_for_many_forms: true,
    body: BodyTypes::JSON,
    repeats: Some(RepeatWindow { days: 1, reason: "Webflow repeats for half an hour" }),
    samples: "webflow",
    ..FormFacts::PLAIN
};

/// Hex of HMAC-SHA256 over `{unix milliseconds}:{body}`. The id of the submission is the delivery
/// id. It is in `payload`, or at the top of the older form of the body.
///
/// Source: developers.webflow.com, "Working with webhooks".
static SIGNATURE: SignatureScheme = SignatureScheme {
    header: "x-webflow-signature",
    signed: &[SignedPart::Timestamp, SignedPart::Text(":"), SignedPart::Body],
    timestamp: Some(SignedTimestamp {
        header: "x-webflow-timestamp",
        // Webflow retries three times, ten minutes apart. It does not document whether it signs
        // each retry again. With its advice of five minutes, a lead could be lost while tellonce is
        // unavailable. A copy that a stranger sends again is already in the inbox.
        tolerance_seconds: 3600,
    }),
    delivery_id: DeliveryIdSource::Field(&["/payload/id", "/_id"]),
    keeps_content_type: true,
    ..SignatureScheme::HEX
};
