//! The secrets of a client: which ones exist, how old they are, and what is missing.
//!
//! Main types: a [`SecretsReport`] says how each secret is.
//!
//! Promises: no report, error or record holds a value.

mod known_secret;
mod secrets_error;
mod survey;

pub use known_secret::VersionReport;
pub use secrets_error::SecretsError;
pub use survey::{SecretReport, SecretsReport, ValueReport, ValueState};
