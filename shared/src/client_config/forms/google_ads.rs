//! Lead forms of Google Ads.

use super::{
    super::{BodyTypes, DeliveryProof, RepeatWindow, SecretFacts, SecretPurpose},
    FormFacts, OwnProof,
};

pub(super) static FACTS: FormFacts = FormFacts {
    name: "google-ads",
    label: "Google Ads",
    own_proof: Some(OwnProof {
        proof: DeliveryProof::GoogleAds,
        secret: SecretFacts::chosen(
            SecretPurpose::WebhookSecret,
            "the key of its webhook (Google Ads, the lead form, Lead delivery option, Webhook integration)",
        ),
    }),
    supports_headers: false,
    submits_one_person: true,
    reads_reply: true,
    body: BodyTypes::JSON,
    repeats: Some(RepeatWindow { days: 7, reason: "Google does not say for how long it repeats" }),
    samples: "google_ads",
    ..FormFacts::PLAIN
};
