//! Whether a secret's value can work for its purpose.

mod credentials;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use tellonce_core::{client_config::SecretPurpose, provider::PROVIDER};

use crate::Severity;

pub use credentials::SecretProblem;

/// In characters. A shorter webhook secret can be guessed.
const MIN_SECRET_LENGTH: usize = 16;
/// In characters, for a secret in an address: nothing else protects that address.
const MIN_PATH_SECRET_LENGTH: usize = 32;
/// The length of a key in the Standard Webhooks specification.
const STANDARD_WEBHOOKS_KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Why a value cannot work for its purpose.
pub fn find_secret_problem(purpose: SecretPurpose, value: &str) -> Option<SecretProblem> {
    let is_token = matches!(
        purpose,
        SecretPurpose::LineToken
            | SecretPurpose::StoreApi
            | SecretPurpose::CalendarApi
            | SecretPurpose::LeadApi
            | SecretPurpose::ContactApi
            | SecretPurpose::CrmToken
    );
    find_problem(purpose, value).or_else(|| check_token(value).filter(|_| is_token))
}

fn find_problem(purpose: SecretPurpose, value: &str) -> Option<SecretProblem> {
    match purpose {
        SecretPurpose::LineToken if !value.starts_with(PROVIDER.facts().token_prefix) => {
            Some((Severity::Error, "is not a line token", PROVIDER.facts().token_advice))
        }
        SecretPurpose::WebhookSecret if value.chars().any(char::is_control) => {
            Some((Severity::Error, "has line breaks or other control characters", "copy it again, as one line"))
        }
        SecretPurpose::StandardWebhooks => check_standard_webhooks_key(value),
        SecretPurpose::WebhookSecret if value.len() < MIN_SECRET_LENGTH => Some((
            Severity::Error,
            "is so short that it could be guessed",
            "use at least 16 characters, better a random value: openssl rand -hex 32",
        )),
        SecretPurpose::PathSecret if value.len() < MIN_PATH_SECRET_LENGTH => Some((
            Severity::Error,
            "is too short for an address: it could be guessed",
            "use at least 32 characters: openssl rand -hex 32",
        )),
        SecretPurpose::PathSecret
            if !value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) =>
        {
            Some((
                Severity::Error,
                "has characters that an address would have to encode",
                "use only letters, digits, - and _: openssl rand -hex 32",
            ))
        }
        SecretPurpose::StoreApi if value.trim().is_empty() => {
            Some((Severity::Error, "is empty", "add a token of the store's Admin API, or remove it"))
        }
        SecretPurpose::CalendarApi | SecretPurpose::LeadApi | SecretPurpose::ContactApi | SecretPurpose::CrmToken
            if value.trim().is_empty() =>
        {
            Some((Severity::Error, "is empty", "add the key or token that `tellonce check` describes"))
        }
        SecretPurpose::FeedAddress if !is_feed_address(value) => Some((
            Severity::Error,
            "is not the https address of a feed",
            "copy the address that ends in .ics or begins with webcal://, and write https:// instead of webcal://",
        )),
        SecretPurpose::ZohoClient => credentials::check_zoho_client(value),
        SecretPurpose::ServiceAccount => credentials::check_service_account(value),
        SecretPurpose::SlackAddress => credentials::check_slack_address(value),
        SecretPurpose::TeamsAddress => credentials::check_teams_address(value),
        SecretPurpose::LineToken
        | SecretPurpose::WebhookSecret
        | SecretPurpose::PathSecret
        | SecretPurpose::StoreApi
        | SecretPurpose::CalendarApi
        | SecretPurpose::FeedAddress
        | SecretPurpose::LeadApi
        | SecretPurpose::ContactApi
        | SecretPurpose::CrmToken => None,
    }
}

fn check_token(value: &str) -> Option<SecretProblem> {
    (!value.bytes().all(|byte| byte.is_ascii_graphic())).then_some((
        Severity::Error,
        "is not a token: a header cannot carry it",
        "copy it again without spaces and line breaks",
    ))
}

fn is_feed_address(value: &str) -> bool {
    value.parse::<http::Uri>().is_ok_and(|address| address.scheme_str() == Some("https") && address.host().is_some())
}

fn check_standard_webhooks_key(value: &str) -> Option<SecretProblem> {
    let remedy = "copy the complete key from the sender, or create one: echo \"whsec_$(openssl rand -base64 32)\"";
    match BASE64.decode(value.strip_prefix("whsec_").unwrap_or(value)) {
        Err(_) => Some((Severity::Error, "is not whsec_ and base64, so every signature fails", remedy)),
        Ok(key) if key.len() < MIN_SECRET_LENGTH => Some((Severity::Error, "holds a key that is too short", remedy)),
        Ok(key) if !STANDARD_WEBHOOKS_KEY_BYTES.contains(&key.len()) => {
            Some((Severity::Warning, "holds a key outside the 24 to 64 bytes of Standard Webhooks", remedy))
        }
        Ok(_) => None,
    }
}
