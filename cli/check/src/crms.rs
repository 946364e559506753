//! The CRMs: names, addresses and rate limits.

use std::ops::RangeInclusive;

use super::{FindingCollector, conversations};
use tellonce_core::{
    client_config::{ClientConfig, CrmConfig, CrmKind},
    public_address::parse_public_address,
};

/// Possible requests per minute.
const REQUESTS_RANGE: RangeInclusive<u32> = 1..=6000;
/// 100 requests in 10 seconds, the limit of a private app in HubSpot's smaller accounts:
/// <https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines>.
const HUBSPOT_REQUESTS_PER_MINUTE: u32 = 600;
/// 20 requests in 2 seconds, the limit of an API token in Pipedrive's smallest plan:
/// <https://pipedrive.readme.io/docs/core-api-concepts-rate-limiting>.
const PIPEDRIVE_REQUESTS_PER_MINUTE: u32 = 600;
/// Most reads, and most writes, of a user of a project in a minute:
/// <https://developers.google.com/workspace/sheets/api/limits>.
const SHEETS_REQUESTS_PER_MINUTE: u32 = 60;

pub(super) fn check_crm(config: &ClientConfig, name: &str, crm: &CrmConfig, findings: &mut FindingCollector<'_>) {
    let at = |field: &'static str| ["crms", name, field];
    conversations::check_name("crms", name, "a CRM", findings);
    conversations::check_line_list(config, &crm.lines, &at("lines"), findings);
    check_request_rate(crm, &at("requests_per_minute"), findings);
    match &crm.kind {
        CrmKind::HubSpot { .. } | CrmKind::Zoho { .. } => {}
        CrmKind::Pipedrive { company, .. } => check_pipedrive(company, &at("company"), findings),
        CrmKind::GoogleSheets { spreadsheet, sheet } => {
            check_google_sheets(spreadsheet, &at("spreadsheet"), findings);
            check_sheet_name(sheet, &at("sheet"), findings);
        }
        CrmKind::Webhook { url } => check_address(url, &at("url"), findings),
    }
}

fn check_request_rate(crm: &CrmConfig, path: &[&str], findings: &mut FindingCollector<'_>) {
    let Some(asked) = crm.requests_per_minute else { return };
    if !REQUESTS_RANGE.contains(&asked) {
        let what = format!("a CRM cannot take {asked} requests a minute");
        findings.add_error(path, what, "write 1 to 6000, or remove it: each kind has a cautious default");
        return;
    }
    let documented = match crm.kind {
        CrmKind::HubSpot { .. } => Some(("HubSpot", HUBSPOT_REQUESTS_PER_MINUTE)),
        CrmKind::Pipedrive { .. } => Some(("Pipedrive", PIPEDRIVE_REQUESTS_PER_MINUTE)),
        CrmKind::GoogleSheets { .. } => Some(("Google", SHEETS_REQUESTS_PER_MINUTE)),
        // Zoho counts credits per day. The limit of a client's own address is unknown.
        CrmKind::Zoho { .. } | CrmKind::Webhook { .. } => None,
    };
    if let Some((vendor, most)) = documented.filter(|(_, most)| asked > *most) {
        findings.add_warning(
            path,
            format!("{asked} a minute are more than the {most} that {vendor} allows every account"),
            format!(
                "write {most} or less, unless this account has a higher limit; refused requests wait and are repeated"
            ),
        );
    }
}

fn check_pipedrive(company: &str, path: &[&str], findings: &mut FindingCollector<'_>) {
    let fits = (1..=63).contains(&company.len())
        && company.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !company.starts_with('-')
        && !company.ends_with('-');
    if !fits {
        let what = format!("`{company}` is not the company's part of an address at Pipedrive");
        findings.add_error(
            path,
            what,
            "of https://acme.pipedrive.com write `acme`: lower-case letters, digits and `-`",
        );
    }
}

fn check_google_sheets(spreadsheet: &str, path: &[&str], findings: &mut FindingCollector<'_>) {
    let fits = !spreadsheet.is_empty()
        && spreadsheet.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !fits {
        findings.add_error(
            path,
            "this is not the id of a spreadsheet",
            "of https://docs.google.com/spreadsheets/d/1AbC…/edit write the part between /d/ and /edit",
        );
    }
}

fn check_sheet_name(sheet: &str, path: &[&str], findings: &mut FindingCollector<'_>) {
    if sheet.trim().is_empty() || sheet.trim() != sheet {
        findings.add_error(
            path,
            "the sheet's name is empty or has spaces around it",
            "copy it from the tab, like `WhatsApp`",
        );
    } else if sheet.contains('!') {
        let what = format!("`{sheet}` is a range and not the name of a sheet");
        findings.add_error(path, what, "write the part before the `!`; rows are added below the last one");
    }
}

/// Checks an address that the client chose for calls.
pub(super) fn check_address(url: &str, path: &[&str], findings: &mut FindingCollector<'_>) {
    match parse_public_address(url) {
        Err(error) => findings.add_error(
            path,
            format!("this address cannot be called: {error}"),
            "write one on the internet, like \"https://hooks.acme.co.il/whatsapp\"",
        ),
        Ok(url) => {
            if url.query_pairs().any(|(name, _)| SECRET_PARAMETERS.contains(&name.to_ascii_lowercase().as_str())) {
                findings.add_error(
                    path,
                    "this address seems to contain a secret, and this file is kept in git",
                    "remove it: calls are signed with the secret that `tellonce check` lists",
                );
            }
        }
    }
}

/// Query parameters that usually contain a secret.
const SECRET_PARAMETERS: [&str; 9] =
    ["sig", "signature", "token", "access_token", "key", "api_key", "apikey", "secret", "password"];
