//! The CRMs: what they are called, where they are, and how often they may be asked.

use std::ops::RangeInclusive;

use super::{Findings, address::public_address, conversations};
use crate::client_config::{ClientConfig, Crm, CrmKind};

/// How often a CRM can be asked, times a minute.
const REQUESTS: RangeInclusive<u32> = 1..=6000;
/// 100 requests in 10 seconds, what `HubSpot` gives a private app in its smaller accounts:
/// <https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines>.
const HUBSPOT: u32 = 600;
/// 20 requests in 2 seconds, what Pipedrive gives an API token in its smallest plan:
/// <https://pipedrive.readme.io/docs/core-api-concepts-rate-limiting>.
const PIPEDRIVE: u32 = 600;
/// What a user of a project may read, and write, in a minute: <https://developers.google.com/workspace/sheets/api/limits>.
const SHEETS: u32 = 60;

pub(super) fn look(config: &ClientConfig, name: &str, crm: &Crm, findings: &mut Findings<'_>) {
    let at = |field: &'static str| ["crms", name, field];
    conversations::named("crms", name, "a CRM", findings);
    conversations::lines(config, &crm.lines, &at("lines"), findings);
    how_often(crm, &at("requests_per_minute"), findings);
    match &crm.kind {
        CrmKind::HubSpot { .. } | CrmKind::Zoho { .. } => {}
        CrmKind::Pipedrive { company, .. } => pipedrive(company, &at("company"), findings),
        CrmKind::GoogleSheets { spreadsheet, sheet } => {
            google_sheets(spreadsheet, &at("spreadsheet"), findings);
            sheet_name(sheet, &at("sheet"), findings);
        }
        CrmKind::Webhook { url } => address(url, &at("url"), findings),
    }
}

fn how_often(crm: &Crm, path: &[&str], findings: &mut Findings<'_>) {
    let Some(asked) = crm.requests_per_minute else { return };
    if !REQUESTS.contains(&asked) {
        let what = format!("a CRM cannot be asked {asked} times a minute");
        findings.error(path, what, "write 1 to 6000, or remove it: each kind has a cautious figure of its own");
        return;
    }
    let documented = match crm.kind {
        CrmKind::HubSpot { .. } => Some(("HubSpot", HUBSPOT)),
        CrmKind::Pipedrive { .. } => Some(("Pipedrive", PIPEDRIVE)),
        CrmKind::GoogleSheets { .. } => Some(("Google", SHEETS)),
        // Zoho counts credits by the day, and of an address of somebody's own nothing is known.
        CrmKind::Zoho { .. } | CrmKind::Webhook { .. } => None,
    };
    if let Some((vendor, most)) = documented.filter(|(_, most)| asked > *most) {
        findings.warn(
            path,
            format!("{asked} a minute are more than the {most} that {vendor} gives every account"),
            format!(
                "write {most} or less, unless this account was given more: what is refused waits and is asked again"
            ),
        );
    }
}

fn pipedrive(company: &str, path: &[&str], findings: &mut Findings<'_>) {
    let fits = (1..=63).contains(&company.len())
        && company.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !company.starts_with('-')
        && !company.ends_with('-');
    if !fits {
        let what = format!("`{company}` is not the company's part of an address at Pipedrive");
        findings.error(path, what, "of https://acme.pipedrive.com write `acme`: small letters, digits and `-`");
    }
}

fn google_sheets(spreadsheet: &str, path: &[&str], findings: &mut Findings<'_>) {
    let fits = !spreadsheet.is_empty()
        && spreadsheet.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if !fits {
        findings.error(
            path,
            "this is not the id of a spreadsheet",
            "of https://docs.google.com/spreadsheets/d/1AbC…/edit write what stands between /d/ and /edit",
        );
    }
}

fn sheet_name(sheet: &str, path: &[&str], findings: &mut Findings<'_>) {
    if sheet.trim().is_empty() || sheet.trim() != sheet {
        findings.error(
            path,
            "the sheet's name is empty or has spaces around it",
            "copy it from the tab, like `WhatsApp`",
        );
    } else if sheet.contains('!') {
        let what = format!("`{sheet}` is a range and not the name of a sheet");
        findings.error(path, what, "write what stands before the `!`: rows are put below the last one");
    }
}

/// An address of somebody's own that is called.
pub(super) fn address(url: &str, path: &[&str], findings: &mut Findings<'_>) {
    match public_address(url) {
        Err(error) => findings.error(
            path,
            format!("this address cannot be called: {error}"),
            "write one on the internet, like \"https://hooks.acme.co.il/whatsapp\"",
        ),
        Ok(url) => {
            if url.query_pairs().any(|(name, _)| SECRET_PARAMETERS.contains(&name.to_ascii_lowercase().as_str())) {
                findings.error(
                    path,
                    "a secret seems to stand in this address, and this file is kept in git",
                    "remove it: calls are signed with the secret that `tellonce check` lists",
                );
            }
        }
    }
}

/// Parameters of an address that usually hold a secret.
const SECRET_PARAMETERS: [&str; 9] =
    ["sig", "signature", "token", "access_token", "key", "api_key", "apikey", "secret", "password"];
