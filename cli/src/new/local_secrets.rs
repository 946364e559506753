//! Made-up secrets for runs on this machine.

use serde_json::{Map, Value};
use tellonce_check::{NeededSecret, list_needed_secrets};
use tellonce_core::client_config::{ClientConfig, SecretPurpose};

use crate::secrets::{made_up_token_prefix, make_random_value};

/// Random values for all secrets of a client, as the JSON object of a `secrets.json`.
///
/// # Errors
///
/// Fails if the system has no random numbers.
pub(super) fn make_secrets(config: &ClientConfig) -> anyhow::Result<String> {
    let mut values = Map::new();
    for NeededSecret { name, purpose, .. } in list_needed_secrets(config) {
        values.insert(name, Value::String(make_value(purpose)?));
    }
    // Some booking systems sign with the key of their API, so both secrets are one key.
    for (name, calendar) in &config.calendars {
        if calendar.kind.facts().signs_with_credential
            && let Some(key) = values.get(&config.calendar_secret_name(name)).cloned()
        {
            values.insert(config.webhook_secret_name(name), key);
        }
    }
    Ok(serde_json::to_string_pretty(&values)? + "\n")
}

fn make_value(purpose: SecretPurpose) -> anyhow::Result<String> {
    let random = make_random_value(purpose)?;
    Ok(match purpose {
        SecretPurpose::LineToken => made_up_token_prefix() + &random,
        // A local run reads the file of this name in the client's folder `feeds`, if there is one.
        SecretPurpose::FeedAddress => format!("https://calendar.example.com/{random}/calendar.ics"),
        _ => random,
    })
}
