//! HubSpot: the workflow action "Send a webhook", or an app's subscription to new contacts, whose
//! ids are read back with the token in
//! [`ClientConfig::form_secret_name`](super::super::ClientConfig::form_secret_name).

use super::{
    super::{
        BodyTypes, DeliveryProof, KindSetting, RepeatWindow, SecretFacts, SecretPurpose, SettingRule, SignatureScheme,
        SignedPart, SignedTimestamp,
    },
    FormFacts, OwnProof,
};

pub(super) static FACTS: FormFacts = FormFacts {
    name: "hubspot",
    label: "HubSpot",
    settings: &[KindSetting::optional("notification_url", SettingRule::RegisteredAddress)],
    own_proof: Some(OwnProof {
        proof: DeliveryProof::Signature { scheme: &SIGNATURE, binding: "" },
        secret: SecretFacts::new(
            SecretPurpose::WebhookSecret,
            "the client secret of the app that signs (HubSpot, the app, Auth)",
        ),
    }),
    api_secret: Some(SecretFacts::new(
        SecretPurpose::ContactApi,
        "a private app's token, to read contacts (crm.objects.contacts.read); needed when an app's subscription posts",
    )),
    posts_unchecked_boxes: true,
    posts_for_many_forms: true,
    posts_contacts: true,
    submits_one_person: true,
    names_its_form: false,
    body: BodyTypes::JSON,
    repeats: Some(RepeatWindow { days: 4, reason: "HubSpot repeats for up to 3 days" }),
    samples: "hubspot",
    ..FormFacts::PLAIN
};

/// Signature version 3: base64 of HMAC-SHA256 over method, URL, raw body and Unix milliseconds. An
/// `eventId` may repeat with other content, and one delivery may hold several events. So the body's
/// hash is the delivery id.
///
/// Source: developers.hubspot.com, "Request validation".
static SIGNATURE: SignatureScheme = SignatureScheme {
    header: "x-hubspot-signature-v3",
    signed: &[SignedPart::Text("POST"), SignedPart::DecodedAddress, SignedPart::Body, SignedPart::Timestamp],
    timestamp: Some(SignedTimestamp { header: "x-hubspot-request-timestamp", tolerance_seconds: 300 }),
    keeps_content_type: true,
    ..SignatureScheme::BASE64
};
