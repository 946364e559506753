//! CRMs: each receives one entry for every message. Each kind has a file, which says all that is
//! special about it.

mod google_sheets;
mod hubspot;
mod pipedrive;
mod webhook;
mod zoho;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{KindSetting, SecretFacts, TextDetail, kind_facts::require_settings};

pub use self::{
    google_sheets::GoogleSheetsCrm,
    hubspot::HubSpotCrm,
    pipedrive::PipedriveCrm,
    webhook::WebhookCrm,
    zoho::{DataCentre, ZohoCrm, ZohoModule},
};

/// A CRM that receives one entry for each message. Its credential is the secret
/// `tellonce/<client>/crms/<name>`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "CrmTable")]
#[schemars(with = "CrmTable")]
pub struct CrmConfig {
    /// The kind of CRM, with the settings of that kind.
    pub kind: CrmKind,
    /// The lines whose messages are entered; all that report events if empty.
    pub lines: Vec<String>,
    /// How much of a message's text is entered.
    pub text: TextDetail,
    /// The highest rate of requests; the default of the kind if absent.
    pub requests_per_minute: Option<u32>,
}

impl CrmConfig {
    /// Whether messages of this line are entered.
    pub fn covers_line(&self, line: &str) -> bool {
        self.lines.is_empty() || self.lines.iter().any(|name| name == line)
    }
}

/// The kinds of CRM that tellonce can write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CrmKind {
    /// HubSpot.
    HubSpot(HubSpotCrm),
    /// Pipedrive.
    Pipedrive(PipedriveCrm),
    /// Zoho CRM.
    Zoho(ZohoCrm),
    /// Google Sheets.
    GoogleSheets(GoogleSheetsCrm),
    /// Any public address. Calls are signed as in Standard Webhooks.
    Webhook(WebhookCrm),
}

/// The facts of a kind of CRM.
#[derive(Debug)]
pub struct CrmFacts {
    /// The name in `client.toml`.
    pub name: &'static str,
    /// The name for people.
    pub label: &'static str,
    /// The settings that not every kind has.
    pub settings: &'static [KindSetting],
    /// Its credential.
    pub secret: SecretFacts,
    /// The most calls in a minute, unless `client.toml` sets another limit. Below the vendor's
    /// limits, because the client's other integrations share them.
    pub default_requests_per_minute: u32,
    /// The calls in a minute that the vendor gives every account, if it says so, and who that is.
    pub vendor_limit: Option<(&'static str, u32)>,
    /// Whether entries belong to persons.
    pub has_people: bool,
    from_table: fn(CrmTable) -> Option<CrmKind>,
}

impl CrmFacts {
    /// The facts of all kinds, in the order of the documentation.
    pub const ALL: [&'static Self; 5] =
        [&hubspot::FACTS, &pipedrive::FACTS, &zoho::FACTS, &google_sheets::FACTS, &webhook::FACTS];
}

impl CrmKind {
    /// The facts of this kind.
    pub const fn facts(&self) -> &'static CrmFacts {
        match self {
            Self::HubSpot(_) => &hubspot::FACTS,
            Self::Pipedrive(_) => &pipedrive::FACTS,
            Self::Zoho(_) => &zoho::FACTS,
            Self::GoogleSheets(_) => &google_sheets::FACTS,
            Self::Webhook(_) => &webhook::FACTS,
        }
    }
}

/// What happens to the messages of a number without a contact in the CRM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownContactRule {
    /// A contact is created.
    #[default]
    Create,
    /// The message is left out, with a recorded reason.
    Skip,
}

/// A CRM in `client.toml`: one flat table for all kinds.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CrmTable {
    /// The kind of CRM.
    kind: CrmKindName,
    /// The names of the lines whose messages are entered. Default: all lines with `events = true`.
    #[serde(default)]
    lines: Vec<String>,
    /// How much of a message's text is entered. Default: `excerpt`.
    #[serde(default)]
    text: TextDetail,
    /// The highest rate of requests, in requests a minute: 1 to 6000. A message takes one, and the
    /// first of a new customer up to five.
    /// Default: 200 for hubspot, 100 for pipedrive and zoho, 50 for google-sheets, 300 for webhook.
    requests_per_minute: Option<u32>,
    /// `hubspot`, `pipedrive`: what happens to a number without a contact. Default: `create`.
    unknown: Option<UnknownContactRule>,
    /// `pipedrive`, required: `acme` of `https://acme.pipedrive.com`.
    company: Option<String>,
    /// `zoho`, required: where the account is. A token is valid only there.
    data_centre: Option<DataCentre>,
    /// `zoho`: what a number becomes. Default: `leads`.
    module: Option<ZohoModule>,
    /// `google-sheets`, required: the id in the spreadsheet's address, between `/d/` and `/edit`.
    spreadsheet: Option<String>,
    /// `google-sheets`, required: the name on the tab, such as `WhatsApp`. Rows are added below the
    /// last one.
    sheet: Option<String>,
    /// `webhook`, required: a public https address without a secret in it. Calls are signed as in
    /// Standard Webhooks.
    url: Option<String>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum CrmKindName {
    #[serde(rename = "hubspot")]
    HubSpot,
    Pipedrive,
    Zoho,
    GoogleSheets,
    Webhook,
}

impl TryFrom<CrmTable> for CrmConfig {
    type Error = String;

    fn try_from(mut table: CrmTable) -> Result<Self, String> {
        let facts = match table.kind {
            CrmKindName::HubSpot => &hubspot::FACTS,
            CrmKindName::Pipedrive => &pipedrive::FACTS,
            CrmKindName::Zoho => &zoho::FACTS,
            CrmKindName::GoogleSheets => &google_sheets::FACTS,
            CrmKindName::Webhook => &webhook::FACTS,
        };
        let given = [
            ("unknown", table.unknown.is_some()),
            ("company", table.company.is_some()),
            ("data_centre", table.data_centre.is_some()),
            ("module", table.module.is_some()),
            ("spreadsheet", table.spreadsheet.is_some()),
            ("sheet", table.sheet.is_some()),
            ("url", table.url.is_some()),
        ];
        let (lines, text) = (std::mem::take(&mut table.lines), table.text);
        let requests_per_minute = table.requests_per_minute;
        let owner = format!("{} CRM", facts.name);
        let kind = require_settings(&owner, facts.settings, &given, (facts.from_table)(table))?;
        Ok(Self { kind, lines, text, requests_per_minute })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crm_needs_the_fields_of_its_kind_and_takes_no_others() {
        let of = |text: &str| toml::from_str::<CrmConfig>(text).map_err(|error| error.to_string());
        assert_eq!(
            of("kind = 'hubspot'").unwrap().kind,
            CrmKind::HubSpot(HubSpotCrm { unknown: UnknownContactRule::Create })
        );
        assert!(of("kind = 'zoho'").unwrap_err().contains("needs `data_centre`"));
        assert!(of("kind = 'webhook'\nurl = 'https://a.example'\ncompany = 'x'").unwrap_err().contains("`company`"));
        let crm = of("kind = 'hubspot'\nlines = ['main']").unwrap();
        assert!(crm.covers_line("main") && !crm.covers_line("other"));
    }
}
