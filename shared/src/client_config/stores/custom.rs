//! Any other system that posts JSON: a custom shop, an ERP, n8n, Make, Zapier.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    super::{
        BodyTypes, CustomScheme, DeliveryProof, FallbackId, JsonPointer, KindSetting, Milestone, SettingProblem,
        SettingRule,
    },
    StoreFacts, StoreKind,
};

/// A store without a file of its own.
#[derive(Debug, Clone)]
pub struct CustomStore {
    /// How deliveries prove where they come from.
    pub verify: CustomScheme,
    /// Where the facts stand in the JSON.
    pub fields: Box<OrderFields>,
    /// Event name → milestone. An event that is not listed is recorded, and nothing is sent.
    pub events: BTreeMap<String, Milestone>,
}

pub(super) static FACTS: StoreFacts = StoreFacts {
    name: "custom",
    label: "a custom sender",
    settings: &[
        KindSetting::required("verify", SettingRule::Any),
        KindSetting::required("fields", SettingRule::Any),
        KindSetting::required(
            "events",
            SettingRule::Table {
                when_empty: || {
                    SettingProblem::new(
                        "no event is mapped to a milestone, so nothing is sent",
                        "add at least one, like \"order.ready\" = \"ready\"",
                    )
                },
                check_key: |event| {
                    let remedy = "write the event's name as it is in the sender's JSON";
                    event.trim().is_empty().then(|| SettingProblem::new("an event has no name", remedy))
                },
            },
        ),
    ],
    account_setting: None,
    api_secret: None,
    body: BodyTypes::JSON,
    from_table: |table| {
        Some(StoreKind::Custom(CustomStore { verify: table.verify?, fields: table.fields?, events: table.events? }))
    },
};

impl CustomStore {
    pub(super) fn proof(&self) -> DeliveryProof<'_> {
        self.verify.proof(self.fields.delivery_id.as_ref(), FallbackId::ByBody)
    }
}

/// Where the facts of an order event stand in the JSON of a custom sender. Each field is a JSON
/// pointer (RFC 6901).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderFields {
    /// The event's name, which is looked up in `events`.
    pub event: JsonPointer,
    /// The order's id, unique in its id scope.
    pub order_id: JsonPointer,
    /// An id of the delivery. Default: the header `webhook-id`, else the hash of the body.
    #[serde(default)]
    pub delivery_id: Option<JsonPointer>,
    /// The id of the parcel that the event is about, in all events of a parcel: ready, shipped, out
    /// for delivery, changed, delivered. Without it, `instance` is the parcel, except in changes.
    #[serde(default)]
    pub parcel: Option<JsonPointer>,
    /// What tells two events of one order, parcel and milestone apart: a refund, an invoice, a
    /// change. Default: `delivery_to` for changed deliveries, `invoice_id` for invoices.
    #[serde(default)]
    pub instance: Option<JsonPointer>,
    /// When it happened, RFC 3339. Default: the time of receipt.
    #[serde(default)]
    pub occurred_at: Option<JsonPointer>,
    /// The order number that the customer knows. Default: the order's id.
    #[serde(default)]
    pub order_number: Option<JsonPointer>,
    /// The customer's phone number.
    pub phone: JsonPointer,
    /// The country of phone numbers without a country code. Default: the store's.
    #[serde(default)]
    pub country: Option<JsonPointer>,
    /// The customer's name.
    #[serde(default)]
    pub name: Option<JsonPointer>,
    /// The customer's language: `he`, `en-US`.
    #[serde(default)]
    pub locale: Option<JsonPointer>,
    /// `true` for a trial order, which sends nothing.
    #[serde(default)]
    pub test: Option<JsonPointer>,
    /// Further values for texts: variable → pointer. `docs/configuration.md` lists the variables.
    #[serde(default)]
    pub values: BTreeMap<String, JsonPointer>,
}
