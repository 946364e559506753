//! Cal.com.

use super::{
    super::{
        BodyTypes, DeliveryProof, KindSetting, SecretFacts, SecretPurpose, SenderFacts, SettingProblem, SettingRule,
        SignatureScheme, UnsignedMark,
    },
    CalendarFacts, CalendarKind,
};

/// A Cal.com account.
#[derive(Debug, Clone)]
pub struct CalcomCalendar {
    /// The identifier or the label of the booking question whose answer is the phone number. For
    /// event types that ask for it in a question of their own.
    pub phone_question: Option<String>,
}

pub(super) static FACTS: CalendarFacts = CalendarFacts {
    name: "calcom",
    label: "Cal.com",
    settings: &[KindSetting::optional(
        "phone_question",
        SettingRule::Text(|question| {
            let remedy = "copy the identifier or the label of the booking question from Cal.com, or remove this";
            question.trim().is_empty().then(|| SettingProblem::new("the question is empty", remedy))
        }),
    )],
    account_setting: None,
    credential: None,
    signs_with_credential: false,
    // A custom template of the webhook can change the body to a form.
    body: BodyTypes { description: "JSON (application/json) without a custom template", ..BodyTypes::JSON },
    from_table: |table| Some(CalendarKind::CalCom(CalcomCalendar { phone_question: table.phone_question })),
};

pub(super) const SENDER: SenderFacts = SenderFacts {
    secret: SecretFacts::chosen(
        SecretPurpose::WebhookSecret,
        "the secret of its webhook (Cal.com, Settings, Developer, Webhooks); without one it does not sign",
    ),
    repeats: None,
    samples: "calcom",
};

pub(super) const PROOF: DeliveryProof<'static> = DeliveryProof::Signature { scheme: &SIGNATURE, binding: "" };

/// Hex of HMAC-SHA256 over the raw body, without a prefix. Without a secret the header holds
/// `no-secret-provided`. There is no delivery id. The body names event, booking and time, so its
/// hash is the id.
///
/// Source: calcom/cal.com, `packages/features/webhooks/lib/sendPayload.ts`.
static SIGNATURE: SignatureScheme = SignatureScheme {
    header: "x-cal-signature-256",
    unsigned: Some(UnsignedMark::Value("no-secret-provided")),
    ..SignatureScheme::HEX
};
