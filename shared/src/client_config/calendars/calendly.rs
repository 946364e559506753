//! Calendly.

use super::{
    super::{
        BodyTypes, KindSetting, RepeatWindow, SecretFacts, SecretPurpose, SenderFacts, SettingProblem, SettingRule,
    },
    CalendarFacts, CalendarKind,
};

/// A Calendly account.
#[derive(Debug, Clone)]
pub struct CalendlyCalendar {
    /// The custom question whose answer is the phone number, word for word. For event types
    /// without their own reminder number.
    pub phone_question: Option<String>,
}

pub(super) static FACTS: CalendarFacts = CalendarFacts {
    name: "calendly",
    label: "Calendly",
    settings: &[KindSetting::optional(
        "phone_question",
        SettingRule::Text(|question| {
            let remedy = "copy the question from Calendly word for word, or remove this";
            question.trim().is_empty().then(|| SettingProblem::new("the question is empty", remedy))
        }),
    )],
    account_setting: None,
    credential: None,
    signs_with_credential: false,
    body: BodyTypes::JSON,
    from_table: |table| Some(CalendarKind::Calendly(CalendlyCalendar { phone_question: table.phone_question })),
};

pub(super) const SENDER: SenderFacts = SenderFacts {
    secret: SecretFacts::chosen(
        SecretPurpose::WebhookSecret,
        "the signing key that was chosen when the webhook subscription was created through Calendly's API",
    ),
    repeats: Some(RepeatWindow { days: 2, reason: "Calendly repeats for 24 hours" }),
    samples: "calendly",
};
