//! The responses of Meta's Graph API.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The fields of a lead in a response without a field list.
const DEFAULT_FIELDS: &str = "created_time,id,field_data";

/// A lead in Graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FakeMetaLead {
    /// Its id.
    pub id: String,
    /// The form on which it was submitted.
    pub form_id: String,
    /// The time of submission.
    pub created_at: Timestamp,
    /// The form's questions in its order, each with its answers.
    pub fields: Vec<(String, Vec<String>)>,
    /// Optional consents by key, and whether the lead ticked them.
    pub disclaimers: BTreeMap<String, bool>,
}

impl FakeMetaLead {
    /// The requested fields. The error is the name of a field that a lead does not have.
    pub(super) fn response_body(&self, fields: Option<&str>) -> Result<Value, String> {
        let answers = self.fields.iter().map(|(name, values)| json!({"name": name, "values": values}));
        let ticked = |(key, ticked): (&String, &bool)| json!({"checkbox_key": key, "is_checked": if *ticked { "1" } else { "" }});
        let lead = json!({
            "id": self.id,
            "created_time": self.created_at.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string(),
            "ad_id": "120200000000000000",
            "form_id": self.form_id,
            "platform": "ig",
            "is_organic": false,
            "field_data": answers.collect::<Vec<_>>(),
            "custom_disclaimer_responses": self.disclaimers.iter().map(ticked).collect::<Vec<_>>(),
        });
        // The id is always present.
        let mut response = Map::from_iter([("id".to_owned(), json!(self.id))]);
        for field in fields.unwrap_or(DEFAULT_FIELDS).split(',') {
            let value = lead.get(field).ok_or_else(|| field.to_owned())?;
            response.insert(field.to_owned(), value.clone());
        }
        Ok(Value::Object(response))
    }
}

pub(super) fn unauthorized_body() -> Value {
    let message = "Invalid OAuth access token.";
    json!({"error": {"message": message, "type": "OAuthException", "code": 190, "fbtrace_id": "local"}})
}

pub(super) fn not_found_body(id: &str) -> Value {
    let message = format!("Unsupported get request. Object with ID '{id}' does not exist.");
    let kind = "GraphMethodException";
    json!({"error": {"message": message, "type": kind, "code": 100, "error_subcode": 33, "fbtrace_id": "local"}})
}

pub(super) fn unknown_field_body(field: &str) -> Value {
    let message = format!("(#100) Tried accessing nonexistent field ({field}).");
    json!({"error": {"message": message, "type": "OAuthException", "code": 100, "fbtrace_id": "local"}})
}
