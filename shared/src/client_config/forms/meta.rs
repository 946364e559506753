//! Lead ads of Meta (Facebook, Instagram). Deliveries hold ids only; each lead is read back with
//! the Page's token in
//! [`ClientConfig::form_secret_name`](super::super::ClientConfig::form_secret_name).

use super::{
    super::{BodyTypes, DeliveryProof, RepeatWindow, SecretFacts, SecretPurpose, SignatureScheme},
    FormFacts, OwnProof,
};

pub(super) static FACTS: FormFacts = FormFacts {
    name: "meta",
    label: "Meta",
    own_proof: Some(OwnProof {
        proof: DeliveryProof::Signature { scheme: &SIGNATURE, binding: "" },
        secret: SecretFacts::new(
            SecretPurpose::WebhookSecret,
            "the app's secret (Meta for Developers, App settings, Basic)",
        ),
    }),
    handshake_secret: Some(SecretFacts::chosen(
        SecretPurpose::WebhookSecret,
        "the verify token: a long random value; type it where the callback URL is set (Meta for Developers, Webhooks)",
    )),
    api_secret: Some(SecretFacts::new(
        SecretPurpose::LeadApi,
        "an access token of the Page that may read its leads (leads_retrieval), a system user's, which does not expire",
    )),
    supports_headers: false,
    posts_unchecked_boxes: true,
    posts_for_many_forms: true,
    submits_one_person: true,
    body: BodyTypes::JSON,
    repeats: Some(RepeatWindow { days: 2, reason: "Meta repeats for up to 36 hours" }),
    samples: "meta",
    ..FormFacts::PLAIN
};

/// `sha256=<hex>` of HMAC-SHA256 over the raw body, keyed with the app's secret. One delivery may
/// name several leads, so the body's hash is the delivery id.
///
/// Source: developers.facebook.com, "Webhooks", "Validating payloads".
static SIGNATURE: SignatureScheme = SignatureScheme {
    header: "x-hub-signature-256",
    prefix: "sha256=",
    keeps_content_type: true,
    ..SignatureScheme::HEX
};
