//! Any public address. Calls are signed as in Standard Webhooks.

use super::{
    super::{KindSetting, SettingRule, kind_facts::OUTGOING_SIGNATURE},
    TargetFacts, TargetKind,
};

/// An address of the team's own. The secret is the `whsec_…` that signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookTarget {
    /// The address: https.
    pub url: String,
}

pub(super) static FACTS: TargetFacts = TargetFacts {
    name: "webhook",
    label: "any signed webhook",
    settings: &[KindSetting::required("url", SettingRule::PublicAddress)],
    secret: Some(OUTGOING_SIGNATURE),
    // Our own cautious figure.
    requests_per_minute: 300,
    from_table: |table| Some(TargetKind::Webhook(WebhookTarget { url: table.url? })),
};
