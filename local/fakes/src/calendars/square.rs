//! The responses of Square.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A customer in Square.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FakeSquareCustomer {
    /// Its id.
    pub id: String,
    /// First name.
    pub given_name: String,
    /// Last name.
    pub family_name: String,
    /// The number, if Square has one.
    pub phone_number: Option<String>,
}

impl FakeSquareCustomer {
    pub(super) fn response_body(&self) -> Value {
        let mut customer = json!({
            "id": self.id,
            "created_at": "2026-11-01T09:00:00.000Z",
            "updated_at": "2026-11-01T09:00:00Z",
            "given_name": self.given_name,
            "family_name": self.family_name,
            "preferences": {"email_unsubscribed": false},
            "creation_source": "DIRECTORY",
            "version": 0,
        });
        // Square leaves out unknown values.
        if let Some(number) = &self.phone_number {
            customer["phone_number"] = json!(number);
        }
        json!({"customer": customer})
    }
}

pub(super) fn unauthorized_body() -> Value {
    let detail = "This request could not be authorized.";
    json!({"errors": [{"category": "AUTHENTICATION_ERROR", "code": "UNAUTHORIZED", "detail": detail}]})
}

pub(super) fn not_found_body(id: &str) -> Value {
    let detail = format!("Customer with ID `{id}` not found.");
    json!({"errors": [{"category": "INVALID_REQUEST_ERROR", "code": "NOT_FOUND", "detail": detail}]})
}
