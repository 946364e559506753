//! Acuity Scheduling. Its deliveries hold only an id. The lookup uses the API key in
//! [`ClientConfig::calendar_secret_name`](super::super::ClientConfig::calendar_secret_name).

use super::{
    super::{
        BodyTypes, DeliveryIdSource, DeliveryProof, KindSetting, SecretFacts, SecretPurpose, SenderFacts,
        SettingProblem, SettingRule, SignatureScheme,
    },
    CalendarFacts, CalendarKind,
};

/// An Acuity account.
#[derive(Debug, Clone)]
pub struct AcuityCalendar {
    /// The account's numeric user id, for the lookup.
    pub user_id: String,
}

pub(super) static FACTS: CalendarFacts = CalendarFacts {
    name: "acuity",
    label: "Acuity",
    settings: &[KindSetting::required("user_id", SettingRule::Text(check_user_id))],
    account_setting: Some("user_id"),
    credential: Some(SecretFacts::new(SecretPurpose::CalendarApi, "the same API key once more, to read appointments")),
    signs_with_credential: true,
    body: BodyTypes::FORM,
    from_table: |table| Some(CalendarKind::Acuity(AcuityCalendar { user_id: table.user_id? })),
};

pub(super) const SENDER: SenderFacts = SenderFacts {
    secret: SecretFacts::new(
        SecretPurpose::WebhookSecret,
        "the account's API key, which also signs (Acuity, Integrations, API)",
    ),
    // What it posts makes us ask it, as often as it posts.
    repeats: None,
    samples: "acuity",
};

pub(super) const PROOF: DeliveryProof<'static> = DeliveryProof::Signature { scheme: &SIGNATURE, binding: "" };

/// Base64 of HMAC-SHA256 over the raw body, keyed with the account's API key.
///
/// A delivery says only that an appointment changed, in the same bytes each time. A second change
/// looks like a repeat, so every delivery counts as new. One more lookup of the appointment does no
/// harm. Source: developers.acuityscheduling.com, "Webhooks".
static SIGNATURE: SignatureScheme =
    SignatureScheme { header: "x-acuity-signature", delivery_id: DeliveryIdSource::Receipt, ..SignatureScheme::BASE64 };

fn check_user_id(user_id: &str) -> Option<SettingProblem> {
    (user_id.is_empty() || !user_id.bytes().all(|byte| byte.is_ascii_digit())).then(|| {
        SettingProblem::new(
            format!("`{user_id}` is not the numeric user id of an Acuity account"),
            "copy it from Acuity, Integrations, API, where it is beside the key",
        )
    })
}
