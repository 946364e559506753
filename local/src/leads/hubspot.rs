//! What `HubSpot` answers.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What `HubSpot` tells of a contact when it isn't asked for anything by name.
const BY_ITSELF: &str = "email,firstname,lastname";

/// A contact as `HubSpot` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Its id.
    pub id: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its properties by their internal names; each that is not here is empty.
    pub properties: BTreeMap<String, String>,
}

impl Contact {
    pub(super) fn answer(&self, properties: Option<&str>) -> Value {
        let made = self.created_at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let mut told = Map::new();
        for name in properties.unwrap_or(BY_ITSELF).split(',') {
            told.insert(name.to_owned(), json!(self.properties.get(name)));
        }
        // These are always told.
        for (name, value) in [("createdate", &made), ("lastmodifieddate", &made), ("hs_object_id", &self.id)] {
            told.insert(name.to_owned(), json!(value));
        }
        json!({"id": self.id, "properties": told, "createdAt": made, "updatedAt": made, "archived": false})
    }
}

fn error(category: &str, message: &str) -> Value {
    let correlation = crate::new_id();
    json!({"status": "error", "message": message, "correlationId": correlation, "category": category})
}

pub(super) fn unauthorized() -> Value {
    error("INVALID_AUTHENTICATION", "Authentication credentials not found.")
}

pub(super) fn not_found(id: &str) -> Value {
    let mut error = error("OBJECT_NOT_FOUND", "Object not found.");
    error["context"] = json!({"id": [id]});
    error
}
