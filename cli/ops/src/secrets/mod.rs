//! The secrets of a client: which ones exist, how old they are, what is missing, and the commands
//! that change them.
//!
//! Main types: a [`SecretsReport`] says how each secret is; a [`SecretKeeper`] plans a change and
//! makes it.
//!
//! Promises: no plan, report, error or record holds a value. A change that another caller made
//! between a plan and its effect is not overwritten.

mod change;
mod keeper;
mod known_secret;
mod rotation;
mod secrets_error;
mod survey;

pub use change::{NewValues, SecretChange, SecretsPlan};
pub use keeper::{SecretKeeper, SecretsOutcome};
pub use known_secret::VersionReport;
pub use rotation::RotationReport;
pub use secrets_error::SecretsError;
pub use survey::{SecretReport, SecretsReport, ValueReport, ValueState};
