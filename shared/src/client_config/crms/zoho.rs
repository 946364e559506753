//! Zoho CRM: a note on the lead or contact, which is created if there is none.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    super::{KindSetting, SecretFacts, SecretPurpose, SettingRule},
    CrmFacts, CrmKind,
};

/// A Zoho account. The secret is a JSON object with `client_id`, `client_secret` and
/// `refresh_token`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZohoCrm {
    /// Where the account is.
    pub data_centre: DataCentre,
    /// What a number becomes.
    pub module: ZohoModule,
}

pub(super) static FACTS: CrmFacts = CrmFacts {
    name: "zoho",
    label: "Zoho",
    settings: &[
        KindSetting::required("data_centre", SettingRule::Any),
        KindSetting::optional("module", SettingRule::Any),
    ],
    secret: SecretFacts::new(
        SecretPurpose::ZohoClient,
        "a JSON object with client_id, client_secret and refresh_token (Zoho API Console, Self Client)",
    ),
    // Few calls at a time, and credits by the day
    // (zoho.com/crm/developer/docs/api/v8/api-limits.html).
    default_requests_per_minute: 100,
    vendor_limit: None,
    has_people: true,
    from_table: |table| {
        let module = table.module.unwrap_or_default();
        Some(CrmKind::Zoho(ZohoCrm { data_centre: table.data_centre?, module }))
    },
};

/// Where a Zoho account is. A token is valid only in its own data centre.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DataCentre {
    /// `zoho.com`.
    Us,
    /// `zoho.eu`.
    Eu,
    /// `zoho.in`.
    In,
    /// `zoho.com.au`.
    Au,
    /// `zoho.jp`.
    Jp,
    /// `zoho.com.cn`.
    Cn,
    /// `zoho.sa`.
    Sa,
    /// `zohocloud.ca`.
    Ca,
}

/// What a number becomes in Zoho CRM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ZohoModule {
    /// A lead.
    #[default]
    Leads,
    /// A contact.
    Contacts,
}
