//! The JSON schema of `client.toml`, generated from the types that read it.

use serde_json::{Value, json};
use tellonce_core::client_config::{ClientConfig, Milestone};

/// A time before an appointment, as [`tellonce_core::client_config::ReminderStage`] parses it.
const STAGE_PATTERN: &str = r"^([0-9]+[mhd]|(morning of|day of|day before|[0-9]+ days before) at [0-9]{1,2}:[0-9]{2})$";

/// The content of `clients/client.schema.json`.
pub(crate) fn render_schema() -> anyhow::Result<String> {
    let mut schema = serde_json::to_value(schemars::schema_for!(ClientConfig))?;
    // The generator knows the values of a map, but not its allowed keys.
    if let Some(messages) = schema.pointer_mut("/properties/messages").and_then(Value::as_object_mut) {
        messages.insert("propertyNames".to_owned(), json!({ "enum": Milestone::ALL }));
    }
    if let Some(reminders) =
        schema.pointer_mut("/$defs/CalendarConfig/properties/reminders").and_then(Value::as_object_mut)
    {
        reminders.insert("propertyNames".to_owned(), json!({ "pattern": STAGE_PATTERN }));
    }
    Ok(format!("{}\n", serde_json::to_string_pretty(&schema)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_in_the_repository_is_up_to_date() {
        let committed = include_str!("../../clients/client.schema.json");
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let remedy = "run: cargo run --bin tellonce -- schema > clients/client.schema.json";
        assert!(parsed(committed) == parsed(&render_schema().unwrap()), "{remedy}");
    }

    #[test]
    fn the_schema_lists_the_milestones_and_the_kinds_of_store() {
        let schema: Value = serde_json::from_str(&render_schema().unwrap()).unwrap();
        let milestones = &schema["properties"]["messages"]["propertyNames"]["enum"];
        assert_eq!(milestones.as_array().map(Vec::len), Some(Milestone::ALL.len()));
        assert_eq!(schema["$defs"]["StoreKindName"]["enum"], json!(["shopify", "woocommerce", "custom"]));
        assert_eq!(
            schema["$defs"]["CalendarKindName"]["enum"],
            json!(["calcom", "calendly", "acuity", "square", "custom", "ics"])
        );
        assert_eq!(
            schema["$defs"]["CalendarConfig"]["properties"]["reminders"]["propertyNames"]["pattern"],
            json!(STAGE_PATTERN)
        );
        assert_eq!(schema["additionalProperties"], json!(false));
    }
}
