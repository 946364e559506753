//! Any other system that posts JSON: a CRM, a custom booking page, n8n, Make, Zapier.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    super::{BodyTypes, CustomScheme, DeliveryProof, FallbackId, JsonPointer, KindSetting, SettingRule},
    CalendarFacts, CalendarKind,
};

/// A calendar without a file of its own.
#[derive(Debug, Clone)]
pub struct CustomCalendar {
    /// How deliveries prove where they come from.
    pub verify: CustomScheme,
    /// Where the facts stand in the JSON.
    pub fields: Box<BookingFields>,
    /// The sender's statuses. A status that is not listed is recorded and changes nothing.
    pub statuses: BTreeMap<String, BookingStatus>,
    /// Whether the client itself writes titles and places. Otherwise texts have neither.
    pub own_texts: bool,
}

pub(super) static FACTS: CalendarFacts = CalendarFacts {
    name: "custom",
    label: "a custom calendar",
    settings: &[
        KindSetting::required("verify", SettingRule::Any),
        KindSetting::required("fields", SettingRule::Any),
        KindSetting::optional("statuses", SettingRule::Any),
        KindSetting::optional("own_texts", SettingRule::Any),
    ],
    account_setting: None,
    credential: None,
    signs_with_credential: false,
    body: BodyTypes::JSON,
    from_table: |table| {
        Some(CalendarKind::Custom(CustomCalendar {
            verify: table.verify?,
            fields: table.fields?,
            statuses: table.statuses.unwrap_or_default(),
            own_texts: table.own_texts.unwrap_or(false),
        }))
    },
};

impl CustomCalendar {
    pub(super) fn proof(&self) -> DeliveryProof<'_> {
        self.verify.proof(self.fields.delivery_id.as_ref(), FallbackId::ByReceipt)
    }
}

/// The status of an appointment, in the `statuses` of a custom sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BookingStatus {
    /// The appointment takes place. Reminders are sent.
    Booked,
    /// The appointment is requested and not confirmed. No reminder is sent.
    Unconfirmed,
    /// The appointment does not take place. No reminder is sent.
    Cancelled,
}

/// Where the facts of a booking stand in the JSON of a custom sender. Each field is a JSON pointer
/// (RFC 6901).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BookingFields {
    /// The appointment's id, unique in its id scope and the same after a move.
    pub id: JsonPointer,
    /// When the appointment begins: RFC 3339, or local time without an offset in its `time_zone`.
    pub start: JsonPointer,
    /// The appointment's zone, an IANA name. Default: the calendar's.
    #[serde(default)]
    pub time_zone: Option<JsonPointer>,
    /// The customer's phone number.
    pub phone: JsonPointer,
    /// The country of phone numbers without a country code. Default: the calendar's.
    #[serde(default)]
    pub country: Option<JsonPointer>,
    /// The customer's name.
    #[serde(default)]
    pub name: Option<JsonPointer>,
    /// The customer's language: `he`, `en-US`.
    #[serde(default)]
    pub locale: Option<JsonPointer>,
    /// The appointment's status, which is looked up in `statuses`. Default: `booked`, so no
    /// delivery cancels.
    #[serde(default)]
    pub status: Option<JsonPointer>,
    /// The earlier id of the appointment, for systems that give a moved appointment a new one.
    #[serde(default)]
    pub previous_id: Option<JsonPointer>,
    /// When the fact became true, RFC 3339. Of two deliveries the later one counts. Default: the
    /// time of receipt, so the order of arrival counts.
    #[serde(default)]
    pub occurred_at: Option<JsonPointer>,
    /// An id of the delivery. Default: the header `webhook-id`. Without either, every delivery
    /// counts, because a repeat looks like a move back to an earlier time.
    #[serde(default)]
    pub delivery_id: Option<JsonPointer>,
    /// What the appointment is about: `{{ title }}`. Counts only with `own_texts = true`.
    #[serde(default)]
    pub title: Option<JsonPointer>,
    /// Where the appointment takes place: `{{ place }}`. Counts only with `own_texts = true`.
    #[serde(default)]
    pub place: Option<JsonPointer>,
}
