//! Any public address. Calls are signed as in Standard Webhooks.

use super::{
    super::{KindSetting, SettingRule, kind_facts::OUTGOING_SIGNATURE},
    CrmFacts, CrmKind,
};

/// An address of the CRM's own. The secret is the `whsec_…` that signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookCrm {
    /// The address: https.
    pub url: String,
}

pub(super) static FACTS: CrmFacts = CrmFacts {
    name: "webhook",
    label: "any signed webhook",
    settings: &[KindSetting::required("url", SettingRule::PublicAddress)],
    secret: OUTGOING_SIGNATURE,
    // Not documented. A small server takes five a second.
    default_requests_per_minute: 300,
    vendor_limit: None,
    has_people: false,
    from_table: |table| Some(CrmKind::Webhook(WebhookCrm { url: table.url? })),
};
