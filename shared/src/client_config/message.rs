//! A message in `client.toml`: its text, and when it is worth sending.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{ButtonTemplate, MessageTemplates, QuietHoursRule, TimeSpan};

/// A message: its text, and for how long it is worth sending.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageRule {
    /// How long after the event the message is worth sending: `"90m"`, `"48h"`, `"3d"`. Later it
    /// expires. It must be shorter than `retention.ledger_days`.
    #[schemars(with = "String")]
    pub useful_for: TimeSpan,
    /// The order of messages after an outage: 0 to 100, higher goes first. Default: 20 to 90 by
    /// milestone, and 85 for a first touch.
    #[serde(default)]
    pub priority: Option<u8>,
    /// What happens to the message in quiet hours: it waits for their end (`wait`, the default), or
    /// it is sent (`ignore`). `before` is for reminders only.
    #[serde(default)]
    pub quiet_hours: QuietHoursRule,
    /// The text by language, a Jinja template. Every language of the client needs a text.
    pub text: BTreeMap<String, String>,
    /// A button that opens a link. Default: none.
    #[serde(default)]
    pub button: Option<ButtonTemplate>,
    /// The variable that holds the link of a document, such as `invoice_url`. If it has no value,
    /// no message is sent. Default: none.
    #[serde(default)]
    pub document: Option<String>,
}

impl MessageRule {
    /// The templates of the message.
    pub fn templates(&self) -> MessageTemplates<'_> {
        MessageTemplates { text: &self.text, button: self.button.as_ref(), document: self.document.as_deref() }
    }
}
