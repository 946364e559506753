//! The settings of one kind: what its file in `tellonce_core::client_config` says about their
//! values.

use std::collections::BTreeMap;

use tellonce_core::{
    client_config::{KindSetting, SettingProblem, SettingRule},
    public_address::parse_public_address,
};
use url::Url;

use super::FindingCollector;

/// Parameters of an address that usually hold a secret.
const SECRET_PARAMETERS: [&str; 9] =
    ["sig", "signature", "token", "access_token", "key", "api_key", "apikey", "secret", "password"];

/// Applies the rules of a kind's settings to the values in the file. `path` leads to their table,
/// such as `[stores.shop]`, and `label` is what people call its kind.
pub(super) fn check_kind_settings(
    path: [&str; 2],
    label: &str,
    settings: &[KindSetting],
    findings: &mut FindingCollector<'_>,
) {
    let source = findings.source;
    let [section, owner] = path;
    for setting in settings {
        let path = [section, owner, setting.name];
        match (setting.rule, source.text_of(&path)) {
            (SettingRule::Text(check), Some(text)) => add_problem(&path, check(text), findings),
            (SettingRule::Texts(check), None) => {
                for text in source.texts_of(&path) {
                    add_problem(&path, check(text), findings);
                }
            }
            (SettingRule::RegisteredAddress, Some(address)) => {
                let route = if section == "forms" { "leads" } else { "bookings" };
                check_registered_address(address, label, &format!("/{route}/{owner}"), &path, findings);
            }
            (SettingRule::PublicAddress, Some(address)) => check_public_address(address, &path, findings),
            (SettingRule::Table { when_empty, check_key }, None) => {
                let keys = source.keys_of(&path);
                if keys.as_ref().is_some_and(Vec::is_empty) {
                    add_problem(&path, Some(when_empty()), findings);
                }
                for key in keys.unwrap_or_default() {
                    add_problem(&[section, owner, setting.name, key], check_key(key), findings);
                }
            }
            _ => {}
        }
    }
}

fn add_problem(path: &[&str], found: Option<SettingProblem>, findings: &mut FindingCollector<'_>) {
    if let Some(SettingProblem { problem, remedy }) = found {
        findings.add_error(path, problem, remedy);
    }
}

/// Checks the registered address of a sender that signs it with every delivery. It ends in
/// `ending`.
fn check_registered_address(
    address: &str,
    sender: &str,
    ending: &str,
    path: &[&str],
    findings: &mut FindingCollector<'_>,
) {
    let url = Url::parse(address).ok().filter(|url| url.scheme() == "https" && url.has_host());
    let Some(url) = url else {
        findings.add_error(
            path,
            format!("`{address}` is not a URL that {sender} posts to, and {sender} signs it with every delivery"),
            format!(
                "copy it from the webhook subscription at {sender} character by character; it begins with https://"
            ),
        );
        return;
    };
    if !url.path().ends_with(ending) {
        findings.add_warning(
            path,
            format!("deliveries are accepted at {ending}, and this URL ends differently"),
            format!("correct it here and at {sender}, unless a proxy rewrites the path"),
        );
    }
}

/// An address of the client that receives calls.
fn check_public_address(url: &str, path: &[&str], findings: &mut FindingCollector<'_>) {
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

/// Reports two tables with the same account. `owners` are the tables of `section`, each with the
/// setting that names its account, and `describe` explains a repetition.
pub(super) fn check_accounts<'a>(
    section: &str,
    owners: impl Iterator<Item = (&'a str, Option<&'static str>)>,
    describe: impl Fn(&str) -> String,
    findings: &mut FindingCollector<'_>,
) {
    let source = findings.source;
    let mut seen: BTreeMap<(&str, String), &str> = BTreeMap::new();
    for (owner, setting) in owners {
        let Some(setting) = setting else { continue };
        let Some(account) = source.text_of(&[section, owner, setting]) else { continue };
        if let Some(twin) = seen.insert((setting, account.to_ascii_lowercase()), owner) {
            let remedy = "keep one of them, or correct a copied line";
            findings.add_warning(&[section, owner, setting], describe(twin), remedy);
        }
    }
}
