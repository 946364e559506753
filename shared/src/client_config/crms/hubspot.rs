//! HubSpot: a WhatsApp communication on the contact.

use super::{
    super::{KindSetting, SecretFacts, SecretPurpose, SettingRule},
    CrmFacts, CrmKind, UnknownContactRule,
};

/// A HubSpot account. The secret is a private app's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSpotCrm {
    /// What happens to a number without a contact.
    pub unknown: UnknownContactRule,
}

pub(super) static FACTS: CrmFacts = CrmFacts {
    name: "hubspot",
    label: "HubSpot",
    settings: &[KindSetting::optional("unknown", SettingRule::Any)],
    secret: SecretFacts::new(
        SecretPurpose::CrmToken,
        "a private app's token, to read and write contacts (crm.objects.contacts.read, crm.objects.contacts.write)",
    ),
    // Searches: 4 to 5 a second in an account. Everything else: 100 in ten seconds for an app.
    // Source: developers.hubspot.com/docs/api/usage-details.
    default_requests_per_minute: 200,
    // 100 requests in 10 seconds, what it gives a private app in its smaller accounts:
    // <https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines>.
    vendor_limit: Some(("HubSpot", 600)),
    has_people: true,
    from_table: |table| Some(CrmKind::HubSpot(HubSpotCrm { unknown: table.unknown.unwrap_or_default() })),
};
