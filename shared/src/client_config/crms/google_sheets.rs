//! Google Sheets: a row for each message.

use super::{
    super::{KindSetting, SecretFacts, SecretPurpose, SettingProblem, SettingRule},
    CrmFacts, CrmKind,
};

/// A sheet of Google Sheets. The secret is a service account's JSON key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoogleSheetsCrm {
    /// The id in the spreadsheet's address.
    pub spreadsheet: String,
    /// The name on the tab, such as `WhatsApp`.
    pub sheet: String,
}

/// What a user of a project may read, and write, in a minute; a service account is one:
/// <https://developers.google.com/workspace/sheets/api/limits>.
const WRITES_PER_MINUTE: u32 = 60;

pub(super) static FACTS: CrmFacts = CrmFacts {
    name: "google-sheets",
    label: "Google Sheets",
    settings: &[
        KindSetting::required("spreadsheet", SettingRule::Text(check_spreadsheet)),
        KindSetting::required("sheet", SettingRule::Text(check_sheet)),
    ],
    secret: SecretFacts::new(
        SecretPurpose::ServiceAccount,
        "a service account's complete JSON key from Google Cloud; share the spreadsheet with its client_email",
    ),
    default_requests_per_minute: 50,
    vendor_limit: Some(("Google", WRITES_PER_MINUTE)),
    has_people: false,
    from_table: |table| {
        Some(CrmKind::GoogleSheets(GoogleSheetsCrm { spreadsheet: table.spreadsheet?, sheet: table.sheet? }))
    },
};

fn check_spreadsheet(spreadsheet: &str) -> Option<SettingProblem> {
    let fits = !spreadsheet.is_empty()
        && spreadsheet.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    (!fits).then(|| {
        SettingProblem::new(
            "this is not the id of a spreadsheet",
            "of https://docs.google.com/spreadsheets/d/1AbC…/edit write the part between /d/ and /edit",
        )
    })
}

fn check_sheet(sheet: &str) -> Option<SettingProblem> {
    if sheet.trim().is_empty() || sheet.trim() != sheet {
        let remedy = "copy it from the tab, like `WhatsApp`";
        return Some(SettingProblem::new("the sheet's name is empty or has spaces around it", remedy));
    }
    let remedy = "write the part before the `!`; rows are added below the last one";
    let is_range = sheet.contains('!');
    is_range.then(|| SettingProblem::new(format!("`{sheet}` is a range and not the name of a sheet"), remedy))
}
