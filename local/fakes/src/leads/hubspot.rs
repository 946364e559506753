//! The responses of `HubSpot` to a lookup.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The properties of a contact in a response without a property list.
const DEFAULT_PROPERTIES: &str = "email,firstname,lastname";

/// A contact in `HubSpot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FakeHubspotContact {
    /// Its id.
    pub id: String,
    /// The time of creation.
    pub created_at: Timestamp,
    /// Its properties by their internal names. A missing property is empty.
    pub properties: BTreeMap<String, String>,
}

impl FakeHubspotContact {
    pub(super) fn response_body(&self, properties: Option<&str>) -> Value {
        let made = self.created_at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let mut shown_properties = Map::new();
        for name in properties.unwrap_or(DEFAULT_PROPERTIES).split(',') {
            shown_properties.insert(name.to_owned(), json!(self.properties.get(name)));
        }
        // HubSpot adds these to every response.
        for (name, value) in [("createdate", &made), ("lastmodifieddate", &made), ("hs_object_id", &self.id)] {
            shown_properties.insert(name.to_owned(), json!(value));
        }
        json!({"id": self.id, "properties": shown_properties, "createdAt": made, "updatedAt": made, "archived": false})
    }
}

fn error_body(category: &str, message: &str) -> Value {
    let correlation = crate::generate_id();
    json!({"status": "error", "message": message, "correlationId": correlation, "category": category})
}

pub(super) fn unauthorized_body() -> Value {
    error_body("INVALID_AUTHENTICATION", "Authentication credentials not found.")
}

pub(super) fn not_found_body(id: &str) -> Value {
    let mut error = error_body("OBJECT_NOT_FOUND", "Object not found.");
    error["context"] = json!({"id": [id]});
    error
}
