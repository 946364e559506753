//! What a preview prints, as JSON.

use jiff::Timestamp;
use serde::Serialize;
use tellonce_core::{
    appointment::{AppointmentDetails, AppointmentStatus},
    inbox::DeliveryOutcome,
    ledger::{IdempotencyKey, LedgerRow},
    provider::Payload,
};

/// The result of one delivery.
#[derive(Default, Serialize)]
pub(super) struct DeliveryPreview {
    pub(super) case: String,
    pub(super) verified: bool,
    /// The HTTP status that the sender would get.
    pub(super) status: u16,
    pub(super) refused: Option<String>,
    pub(super) delivery_id: Option<String>,
    pub(super) duplicate: bool,
    pub(super) event: Option<EventPreview>,
    pub(super) messages: Vec<MessagePreview>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) skipped_reminders: Vec<SkippedReminder>,
    pub(super) skip_reason: Option<String>,
    /// The ledger row that holds the final result.
    #[serde(skip)]
    pub(super) key: Option<IdempotencyKey>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum EventPreview {
    Order(OrderPreview),
    Appointment(AppointmentPreview),
    Leads(LeadsPreview),
}

#[derive(Serialize)]
pub(super) struct OrderPreview {
    pub(super) kind: String,
    pub(super) id: Option<String>,
    pub(super) occurred_at: Timestamp,
    pub(super) number: Option<String>,
    pub(super) milestone: &'static str,
    /// Masked.
    pub(super) phone: Option<String>,
}

#[derive(Serialize)]
pub(super) struct MessagePreview {
    pub(super) idempotency_key: String,
    pub(super) line: String,
    /// Unmasked: a preview is for the developer who set up the client.
    pub(super) to: String,
    pub(super) text: String,
    pub(super) button: Option<ButtonPreview>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) document: Option<String>,
    pub(super) send_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

#[derive(Serialize)]
pub(super) struct ButtonPreview {
    pub(super) text: String,
    pub(super) url: String,
}

#[derive(Serialize)]
pub(super) struct AppointmentPreview {
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) status: &'static str,
    pub(super) occurred_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) start: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time_zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) previous_id: Option<String>,
    /// Masked.
    pub(super) phones: Vec<String>,
}

impl AppointmentPreview {
    /// An appointment that continues no other one.
    pub(super) fn new(
        kind: &'static str,
        id: &str,
        status: AppointmentStatus,
        occurred_at: Timestamp,
        details: Option<&AppointmentDetails>,
    ) -> Self {
        Self {
            kind,
            id: id.to_owned(),
            status: status.name(),
            occurred_at,
            start: details.map(|details| details.start),
            time_zone: details.map(|details| details.zone.clone()),
            previous_id: None,
            phones: details.map_or_else(Vec::new, |details| {
                details.attendees.iter().map(|attendee| attendee.phone.to_string()).collect()
            }),
        }
    }
}

/// A reminder that would not be sent.
#[derive(Serialize)]
pub(super) struct SkippedReminder {
    pub(super) idempotency_key: String,
    pub(super) start: Timestamp,
    pub(super) reason: &'static str,
}

#[derive(Serialize)]
pub(super) struct LeadsPreview {
    pub(super) kind: &'static str,
    pub(super) leads: Vec<LeadPreview>,
}

/// One lead. Holds personal data of this lead only, and its number masked.
#[derive(Default, Serialize)]
pub(super) struct LeadPreview {
    /// The request that completes a lead if the delivery contains only its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lookup_request: Option<String>,
    /// The idempotency key, if the lead may be greeted.
    pub(super) key: Option<String>,
    pub(super) found: Option<LeadFactsPreview>,
    /// The names of all fields, without their values. Other names of a field follow after `|`.
    pub(super) fields: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct LeadFactsPreview {
    pub(super) phone: FactPreview,
    pub(super) name: FactPreview,
    pub(super) language: FactPreview,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) choice: Option<FactPreview>,
    pub(super) consent: FactPreview,
    pub(super) id: FactPreview,
    pub(super) form_id: FactPreview,
    pub(super) submitted_at: FactPreview,
}

#[derive(Serialize)]
pub(super) struct FactPreview {
    pub(super) value: Option<String>,
    /// The field's name, or in brackets another origin of the value.
    pub(super) field: Option<String>,
}

/// The code and the explanation of an outcome.
pub(super) fn describe_outcome(outcome: impl Into<DeliveryOutcome>) -> String {
    outcome.into().to_string()
}

/// A message as its request contains it.
pub(super) fn preview_message(row: &LedgerRow, payload: &Payload, send_at: Timestamp) -> MessagePreview {
    let contents = payload.contents();
    MessagePreview {
        idempotency_key: row.key.to_string(),
        line: row.line.clone(),
        to: contents.to.unwrap_or_default(),
        // A document's text is its caption.
        text: contents.text.or(contents.caption).unwrap_or_default(),
        button: contents.button.map(|(text, url)| ButtonPreview { text, url }),
        document: contents.document,
        send_at,
        expires_at: row.useful_until,
    }
}
