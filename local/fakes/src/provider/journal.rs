//! The fake's state on disk: its changes, as lines of JSON. The state is what they add up to.
//!
//! All that follows from one change is one write, so a kill leaves all of it or nothing. Line
//! tokens are never written.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{FakeSettings, PhoneMessage, RegisteredWebhook, webhook_events::RaisedEvent};
use crate::json_lines::JsonLines;

/// One change of the fake's state.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum JournalEntry {
    /// A message was queued, or the customer wrote one. `fingerprint` is the SHA-256 of the
    /// request's bytes.
    Message { message: Box<PhoneMessage>, fingerprint: Option<String> },
    /// The line's own phone had the message before the customer's phone (unix milliseconds).
    Observed { id: String, at: i64 },
    /// A queued message reached the phone (unix milliseconds).
    Delivered { id: String, at: i64 },
    /// The customer's phone reported a status.
    Status { id: String, status: String },
    /// A customer's phone was switched off or on.
    Silent { contact: String, silent: bool },
    /// The settings after a change.
    Settings(Box<FakeSettings>),
    /// A webhook was registered or redirected.
    Webhook(RegisteredWebhook),
    /// A webhook was deleted.
    WebhookRemoved { id: String },
    /// A webhook has to get an event.
    Raised(RaisedEvent),
    /// Events were posted, or given up after the last attempt.
    Posted { ids: Vec<String> },
}

/// Opens or creates `fake-provider.jsonl` in `dir` and reads its entries.
pub(super) fn open_journal(dir: &Path) -> anyhow::Result<(JsonLines, Vec<JournalEntry>)> {
    std::fs::create_dir_all(dir).with_context(|| format!("could not create the state folder {}", dir.display()))?;
    JsonLines::open(&dir.join("fake-provider.jsonl"))
}
