//! Targets: where the team receives alerts. Each kind has a file with its facts.

mod email;
mod slack;
mod sns;
mod teams;
mod webhook;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{KindSetting, SecretFacts, TextDetail, kind_facts::require_settings};

pub use self::{email::EmailTarget, sns::SnsTarget, webhook::WebhookTarget};

/// Where alerts for the team go. The secret of Slack, Teams and webhooks is
/// `tellonce/<client>/targets/<name>`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "TargetTable")]
#[schemars(with = "TargetTable")]
pub struct TargetConfig {
    /// The kind of target, with the settings of that kind.
    pub kind: TargetKind,
    /// How much of the messages' texts an alert shows.
    pub text: TextDetail,
}

/// The kinds of target that tellonce can alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetKind {
    /// A Slack incoming webhook. The secret is its address.
    Slack,
    /// A Teams workflow with the trigger "When a Teams webhook request is received". The secret is
    /// its address.
    Teams,
    /// E-mail, through SES.
    Email(EmailTarget),
    /// An SNS topic.
    Sns(SnsTarget),
    /// Any public address. Calls are signed as in Standard Webhooks.
    Webhook(WebhookTarget),
}

/// The facts of a kind of target.
#[derive(Debug)]
pub struct TargetFacts {
    /// The name in `client.toml`.
    pub name: &'static str,
    /// The name for people.
    pub label: &'static str,
    /// The settings that not every kind has.
    pub settings: &'static [KindSetting],
    /// Its address, or what calls are signed with. The function's role may write to those without.
    pub secret: Option<SecretFacts>,
    /// The most calls in a minute.
    pub requests_per_minute: u32,
    from_table: fn(TargetTable) -> Option<TargetKind>,
}

impl TargetFacts {
    /// The facts of all kinds, in the order of the documentation.
    pub const ALL: [&'static Self; 5] = [&slack::FACTS, &teams::FACTS, &email::FACTS, &sns::FACTS, &webhook::FACTS];
}

impl TargetKind {
    /// The facts of this kind.
    pub const fn facts(&self) -> &'static TargetFacts {
        match self {
            Self::Slack => &slack::FACTS,
            Self::Teams => &teams::FACTS,
            Self::Email(_) => &email::FACTS,
            Self::Sns(_) => &sns::FACTS,
            Self::Webhook(_) => &webhook::FACTS,
        }
    }
}

/// A target in `client.toml`: one flat table for all kinds.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TargetTable {
    /// The kind of target.
    kind: TargetKindName,
    /// How much of the conversation's last six messages an alert shows. Default: `excerpt`.
    #[serde(default)]
    text: TextDetail,
    /// `email`, required: the address of the sender. SES must have verified it, or its domain.
    from: Option<String>,
    /// `email`, required: the recipients, at most 50 addresses. One group address is better.
    to: Option<Vec<String>>,
    /// `sns`, required: the ARN of the topic. A FIFO topic recognises a repeated alert.
    topic_arn: Option<String>,
    /// `webhook`, required: a public https address without a secret in it. Calls are signed as in
    /// Standard Webhooks.
    url: Option<String>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum TargetKindName {
    Slack,
    Teams,
    Email,
    Sns,
    Webhook,
}

impl TryFrom<TargetTable> for TargetConfig {
    type Error = String;

    fn try_from(table: TargetTable) -> Result<Self, String> {
        let facts = match table.kind {
            TargetKindName::Slack => &slack::FACTS,
            TargetKindName::Teams => &teams::FACTS,
            TargetKindName::Email => &email::FACTS,
            TargetKindName::Sns => &sns::FACTS,
            TargetKindName::Webhook => &webhook::FACTS,
        };
        let given = [
            ("from", table.from.is_some()),
            ("to", table.to.is_some()),
            ("topic_arn", table.topic_arn.is_some()),
            ("url", table.url.is_some()),
        ];
        let text = table.text;
        let owner = format!("{} target", facts.name);
        let kind = require_settings(&owner, facts.settings, &given, (facts.from_table)(table))?;
        Ok(Self { kind, text })
    }
}
