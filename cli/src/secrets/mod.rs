//! A client's secrets: which ones it needs, and whether the values in a file can work.
//!
//! The file is for local runs, and for checking values before they are stored. In the cloud the
//! values are only in Secrets Manager. No value is ever printed.

mod git_tracking;
mod random_value;

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, bail};
use serde_json::Value;
use tellonce_check::{Finding, NeededSecret, Severity, find_secret_problem, list_needed_secrets};
use tellonce_core::{
    client_config::{ClientConfig, SecretPurpose},
    secret::{Secret, SecretLayout, list_values},
};

pub(crate) use git_tracking::find_tracked_file;
pub(crate) use random_value::{made_up_token_prefix, make_random_value};

/// The current value of a secret first, then the previous one.
type SecretVersions = Vec<Secret>;

/// A file of secrets.
pub(crate) struct SecretsFile {
    text: String,
    values: BTreeMap<String, SecretVersions>,
}

impl SecretsFile {
    /// Reads a JSON object: full name of a value → `"value"`, or `"current"` and `"previous"` in an
    /// object. A secret of a role may stand in it as in Secrets Manager: see [`list_values`].
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("could not read the secrets file {}; choose one with --secrets FILE", path.display())
        })?;
        let values = parse_secrets(&text).with_context(|| format!("in the secrets file {}", path.display()))?;
        Ok(Self { text, values })
    }

    /// Reads the same from standard input.
    pub(crate) fn read_stdin() -> anyhow::Result<Self> {
        let text = std::io::read_to_string(std::io::stdin()).context("could not read standard input")?;
        let values = parse_secrets(&text).context("in the secrets on standard input")?;
        Ok(Self { text, values })
    }

    /// The valid values, the current one first.
    pub(crate) fn values(&self, name: &str) -> Option<&[Secret]> {
        self.values.get(name).map(Vec::as_slice)
    }

    /// The current value of a secret.
    ///
    /// # Errors
    ///
    /// Fails if the client does not need the secret, if it is missing, or if its value cannot work
    /// for its purpose.
    pub(crate) fn find_usable(&self, config: &ClientConfig, name: &str) -> anyhow::Result<&Secret> {
        let needed = list_needed_secrets(config).into_iter().find(|needed| needed.name == name);
        let needed = needed.with_context(|| format!("this client does not need the secret `{name}`"))?;
        let value = self.values(name).and_then(<[Secret]>::first);
        let value = value.with_context(|| format!("`{name}` is missing; add it: {}", needed.description))?;
        match find_secret_problem(needed.purpose, value.expose()) {
            Some((Severity::Error, what, remedy)) => bail!("`{name}` {what}; {remedy}"),
            Some((Severity::Warning, ..)) | None => Ok(value),
        }
    }

    /// Finds missing, unused, unusable and repeated secrets.
    pub(crate) fn check(&self, config: &ClientConfig) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut add = |severity, line, what: String, remedy: &str| {
            findings.push(Finding { severity, line, problem: what, remedy: remedy.to_owned() });
        };
        let needed = list_needed_secrets(config);
        for NeededSecret { name, description: what, purpose, .. } in &needed {
            let line = self.line_of(name);
            match self.values.get(name) {
                None if *purpose == SecretPurpose::StoreApi => {
                    let what =
                        format!("`{name}` is missing: pickups and parcel scans of unknown orders send no message");
                    add(Severity::Warning, 1, what, "if the store reports either, add a token of its Admin API");
                }
                None if *purpose == SecretPurpose::ContactApi => {
                    let what = format!("`{name}` is missing: contacts that HubSpot posts as ids are not greeted");
                    add(Severity::Warning, 1, what, "add a private app's token, unless a workflow posts the contacts");
                }
                None => add(Severity::Error, 1, format!("`{name}` is missing"), &format!("add it: {what}")),
                Some(versions) => {
                    for problem in versions.iter().filter_map(|value| find_secret_problem(*purpose, value.expose())) {
                        add(problem.0, line, format!("`{name}` {}", problem.1), problem.2);
                    }
                }
            }
        }
        for name in self.values.keys().filter(|name| needed.iter().all(|needed| needed.name != **name)) {
            let remedy = "remove it, or correct its name; `tellonce check` lists the names";
            add(Severity::Warning, self.line_of(name), format!("`{name}` is not used"), remedy);
        }
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, versions) in &self.values {
            let Some(value) = versions.first().map(Secret::expose).filter(|value| !value.is_empty()) else { continue };
            if let Some(twin) = seen.insert(value, name).filter(|twin| !share_one_key(config, [name, twin])) {
                let of_lines = [&name[..], twin].iter().all(|name| name.contains("/lines/"));
                let severity = if of_lines { Severity::Error } else { Severity::Warning };
                let remedy = "give each secret its own value, so that a leaked one opens only one sender or system";
                add(severity, self.line_of(name), format!("`{name}` has the same value as `{twin}`"), remedy);
            }
        }
        findings.sort_by_key(|finding| finding.line);
        findings
    }

    /// The line of a name in the file, counted from 1; 1 if the file does not contain it.
    fn line_of(&self, name: &str) -> usize {
        let find = |name: &str| {
            let quoted = format!("\"{name}\"");
            self.text.lines().position(|line| line.contains(&quoted))
        };
        // The file may hold the name as a member of its role.
        let member = SecretLayout::ByRole.locate(name).member;
        find(name).or_else(|| find(&member?)).map_or(1, |line| line + 1)
    }
}

/// Whether two secrets may hold the same key: some booking systems sign with their API key.
fn share_one_key(config: &ClientConfig, pair: [&str; 2]) -> bool {
    let calendars = config.calendars.iter().filter(|(_, calendar)| calendar.kind.facts().signs_with_credential);
    calendars
        .map(|(name, _)| [config.webhook_secret_name(name), config.calendar_secret_name(name)])
        .any(|both| both.iter().all(|name| pair.contains(&name.as_str())))
}

/// # Errors
///
/// Errors name a secret but never show its value.
fn parse_secrets(text: &str) -> anyhow::Result<BTreeMap<String, SecretVersions>> {
    // The parser's message may quote a value, so the error has only its position.
    let file: BTreeMap<String, Value> = serde_json::from_str(text)
        .map_err(|error| anyhow::anyhow!("not a JSON object (line {}, column {})", error.line(), error.column()))?;
    let file = list_values(file).map_err(|name| anyhow::anyhow!("`{name}` must be a JSON object of its members"))?;
    let versions = |name: &str, value: &Value| -> anyhow::Result<SecretVersions> {
        let text = |value: &Value| value.as_str().map(Secret::new);
        let found = match value {
            Value::String(_) => vec![text(value)],
            Value::Object(versions) => {
                let previous = versions.get("previous").map(text);
                std::iter::once(versions.get("current").and_then(text)).chain(previous).collect()
            }
            _ => vec![None],
        };
        let found: Option<SecretVersions> = found.into_iter().collect();
        found.with_context(|| format!("`{name}` must be \"value\" or {{\"current\": \"…\", \"previous\": \"…\"}}"))
    };
    file.iter().map(|(name, value)| Ok((name.clone(), versions(name, value)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMO_CLIENT: &str = include_str!("../../../clients/demo/client.toml");
    const DEMO_SECRETS: &str = include_str!("../../../clients/demo/secrets.json");

    fn check_demo_secrets(text: &str) -> Vec<String> {
        check_secrets(DEMO_CLIENT, text)
    }

    fn check_secrets(client: &str, text: &str) -> Vec<String> {
        let file = SecretsFile { text: text.to_owned(), values: parse_secrets(text).unwrap() };
        let config = ClientConfig::parse(client).unwrap();
        let show = |finding: Finding| {
            assert!(!format!("{finding:?}").contains("hunter"), "a value is shown: {finding:?}");
            format!("{}: {:?} {}", finding.line, finding.severity, finding.problem)
        };
        file.check(&config).into_iter().map(show).collect()
    }

    fn check_changed_demo(from: &str, to: &str) -> Vec<String> {
        assert!(DEMO_SECRETS.contains(from), "{from}");
        check_demo_secrets(&DEMO_SECRETS.replacen(from, to, 1))
    }

    #[test]
    fn the_demo_has_every_secret() {
        assert_eq!(check_demo_secrets(DEMO_SECRETS), Vec::<String>::new());
    }

    #[test]
    fn secrets_of_roles_are_checked_by_member() {
        let mut roles = serde_json::Map::new();
        let values: BTreeMap<String, Value> = serde_json::from_str(DEMO_SECRETS).unwrap();
        for (name, value) in values {
            let location = SecretLayout::ByRole.locate(&name);
            let role = roles.entry(location.secret).or_insert_with(|| Value::Object(serde_json::Map::new()));
            role.as_object_mut().unwrap().insert(location.member.unwrap(), value);
        }
        let text = |roles: &serde_json::Map<String, Value>| serde_json::to_string_pretty(roles).unwrap();
        assert_eq!(check_demo_secrets(&text(&roles)), Vec::<String>::new());
        roles["tellonce/demo/webhooks"]["zap"] = Value::String("hunter2".to_owned());
        let found = check_demo_secrets(&text(&roles));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("Error `tellonce/demo/webhooks/zap` is so short"), "{found:?}");
        assert!(!found[0].starts_with("1:"), "{found:?}");
        // As a command of the AWS CLI prints it: one text.
        roles["tellonce/demo/webhooks"] = Value::String(r#"{"zap": "hunter2"}"#.to_owned());
        assert!(check_demo_secrets(&text(&roles)).iter().any(|finding| finding.contains("webhooks/zap` is so short")));
        let unusable = parse_secrets(r#"{"tellonce/demo/webhooks": "hunter2"}"#).unwrap_err().to_string();
        assert_eq!(unusable, "`tellonce/demo/webhooks` must be a JSON object of its members");
    }

    #[test]
    fn missing_and_unused_secrets_are_reported() {
        assert_eq!(
            check_changed_demo("webhooks/zap", "webhooks/zapp"),
            [
                "1: Error `tellonce/demo/webhooks/zap` is missing",
                "19: Warning `tellonce/demo/webhooks/zapp` is not used"
            ]
        );
        assert!(
            check_changed_demo("stores/shop", "stores/old")[0]
                .starts_with("1: Warning `tellonce/demo/stores/shop` is missing")
        );
    }

    #[test]
    fn invalid_values_are_reported_and_not_shown() {
        assert!(
            check_changed_demo("ezw_line_demo", "eyJhunter2")[0]
                .starts_with("5: Error `tellonce/demo/lines/main` is not a line token")
        );
        assert!(check_changed_demo("test-static-header-token-1", "hunter2")[0].contains("guessed"));
        assert!(
            check_changed_demo("whsec_c3RhbmRhcmQtd2ViaG9va3MtdGVzdC1z", "whsec_hunter!")[0]
                .contains("not whsec_ and base64")
        );
        let old = "whsec_c3RhbmRhcmQtd2ViaG9va3Mtb2xkLXNlY3JldC0wMDA=";
        assert!(
            check_changed_demo(old, "whsec_aHVudGVyMg==")[0].contains("too short"),
            "the previous value is checked as well"
        );
        assert!(check_changed_demo(old, "whsec_aHVudGVyMmh1bnRlcjJodW50")[0].starts_with("10: Warning"));
    }

    #[test]
    fn lookups_in_a_booking_system_need_a_key_or_an_address() {
        let missing = check_changed_demo("calendars/salon", "calendars/saloon");
        assert!(missing[0].starts_with("1: Error `tellonce/demo/calendars/salon` is missing"), "{missing:?}");
        assert!(check_changed_demo("demo-square-token", " ")[0].contains("`tellonce/demo/calendars/salon` is empty"));
        for address in
            ["webcal://calendar.example.com/hunter.ics", "http://hunter.example/a.ics", "hunter2", "https://hunter 2/"]
        {
            let found = check_changed_demo("https://calendar.example.com/diary.ics", address);
            assert!(
                found[0].starts_with("2: Error `tellonce/demo/calendars/diary` is not the https address"),
                "{found:?}"
            );
        }
        assert!(
            check_changed_demo("test-calcom-secret-1", "hunter2")[0]
                .contains("`tellonce/demo/webhooks/clinic` is so short")
        );
    }

    /// A client whose only senders are these forms.
    fn client_with_forms(forms: &[(&str, &str)]) -> String {
        let start = "client = \"f\"\nname = \"F\"\ncountry = \"IL\"\ntime_zone = \"Asia/Jerusalem\"\nlanguages = [\"en\"]\n\
                     [lines.main]\nline_id = \"line_f\"\n";
        let form = |(name, settings): &(&str, &str)| {
            format!(
                "[forms.{name}]\nline = \"main\"\nconsent = {{ stated = \"…\" }}\n\
                 first_touch = {{ useful_for = \"1d\", text = {{ en = \"Hi\" }} }}\n{settings}\n"
            )
        };
        forms.iter().fold(start.to_owned(), |client, it| client + &form(it))
    }

    #[test]
    fn every_form_needs_a_webhook_secret_and_some_a_token_to_read_leads() {
        let client = client_with_forms(&[
            ("ads", "kind = \"google-ads\""),
            ("crm", "kind = \"hubspot\"\nnotification_url = \"https://x.example/leads/crm\""),
            ("meta", "kind = \"meta\""),
            ("site", "kind = \"web\"\nverify = { scheme = \"standard-webhooks\" }"),
            ("wp", "kind = \"elementor\""),
        ]);
        let config = ClientConfig::parse(&client).unwrap();
        let names: Vec<String> = list_needed_secrets(&config).into_iter().map(|needed| needed.name).collect();
        let expected = [
            "lines/main",
            "webhooks/ads",
            "webhooks/crm",
            "forms/crm",
            "webhooks/meta",
            "webhooks/meta/verify",
            "forms/meta",
            "webhooks/site",
            "webhooks/wp",
        ];
        assert_eq!(names, expected.map(|name| format!("tellonce/f/{name}")));
        let missing = check_secrets(&client, "{}");
        assert_eq!(missing.iter().filter(|found| found.contains("Error")).count(), 8, "{missing:?}");
        assert!(
            missing.contains(
                &"1: Warning `tellonce/f/forms/crm` is missing: contacts that HubSpot posts as ids are not greeted"
                    .to_owned()
            ),
            "{missing:?}"
        );
    }

    #[test]
    fn a_secret_in_an_address_is_long_and_needs_no_encoding() {
        let client = client_with_forms(&[("jot", "kind = \"jotform\"")]);
        let problems = |value: &str| {
            let secrets =
                serde_json::json!({ "tellonce/f/lines/main": "ezw_line_f", "tellonce/f/webhooks/jot": value });
            check_secrets(&client, &secrets.to_string())
        };
        assert_eq!(problems("Zm9ybXMtb2YtdGhlLWh1bnRlcl8wMTIz"), Vec::<String>::new());
        assert!(problems("hunter2hunter2hunter2")[0].contains("is too short for an address"));
        for odd in ["/", "+", "%", "?", "=", "א", " ", "."] {
            let found = problems(&format!("hunter2hunter2hunter2hunter2hunter2{odd}"));
            assert!(found[0].contains("`tellonce/f/webhooks/jot` has characters"), "{odd}: {found:?}");
        }
    }

    #[test]
    fn the_secrets_of_a_form_are_checked_by_their_purpose() {
        let client = client_with_forms(&[
            ("meta", "kind = \"meta\""),
            ("site", "kind = \"web\"\nverify = { scheme = \"standard-webhooks\" }"),
        ]);
        let good = serde_json::json!({
            "tellonce/f/lines/main": "ezw_line_f",
            "tellonce/f/webhooks/meta": "an-app-secret-of-meta",
            "tellonce/f/webhooks/meta/verify": "a-verify-token-of-meta",
            "tellonce/f/forms/meta": "a-page-token",
            "tellonce/f/webhooks/site": "whsec_c3RhbmRhcmQtd2ViaG9va3MtdGVzdC1zZWNyZXQtMDE=",
        });
        assert_eq!(check_secrets(&client, &good.to_string()), Vec::<String>::new());
        for (name, value, problem) in [
            ("webhooks/meta", "hunter2", "is so short that it could be guessed"),
            ("webhooks/meta/verify", "hunter2", "is so short that it could be guessed"),
            ("forms/meta", " ", "is empty"),
            ("webhooks/site", "whsec_hunter!", "is not whsec_ and base64"),
        ] {
            let mut secrets = good.clone();
            secrets[format!("tellonce/f/{name}")] = value.into();
            let found = check_secrets(&client, &secrets.to_string());
            assert!(
                found.iter().any(|found| found.contains(&format!("`tellonce/f/{name}` {problem}"))),
                "{name}: {found:?}"
            );
        }
    }

    /// A client with line events, a CRM of each kind and a target of each kind.
    const CONVERSATIONS: &str = r#"
client = "c"
name = "C"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["en"]
lines.main = { line_id = "line_c", events = true }
lines.deaf = { line_id = "line_d" }
crms.hub = { kind = "hubspot" }
crms.own = { kind = "webhook", url = "https://crm.example" }
crms.sheet = { kind = "google-sheets", spreadsheet = "1AbC", sheet = "Log" }
crms.zoho = { kind = "zoho", data_centre = "eu" }
targets.mail = { kind = "email", from = "a@c.example", to = ["b@c.example"] }
targets.slack = { kind = "slack" }
targets.teams = { kind = "teams" }
targets.topic = { kind = "sns", topic_arn = "arn:aws:sns:eu-central-1:111122223333:c" }
"#;

    #[test]
    fn line_events_crms_and_targets_need_secrets_of_their_own() {
        let config = ClientConfig::parse(CONVERSATIONS).unwrap();
        let names: Vec<String> = list_needed_secrets(&config).into_iter().map(|needed| needed.name).collect();
        let expected = [
            "lines/deaf",
            "lines/main",
            "webhooks/main/line",
            "crms/hub",
            "crms/own",
            "crms/sheet",
            "crms/zoho",
            "targets/slack",
            "targets/teams",
        ];
        assert_eq!(names, expected.map(|name| format!("tellonce/c/{name}")));
        let good = serde_json::json!({
            "tellonce/c/lines/main": "ezw_line_c",
            "tellonce/c/lines/deaf": "ezw_line_d",
            "tellonce/c/webhooks/main/line": "bGluZS1vZi10aGUtaHVudGVyXzAxMjM0NQ",
            "tellonce/c/crms/hub": "pat-eu1-a",
            "tellonce/c/crms/own": "whsec_c3RhbmRhcmQtd2ViaG9va3MtdGVzdC1zZWNyZXQtMDE=",
            "tellonce/c/crms/sheet": r#"{"client_email": "a@b", "private_key": "-----BEGIN PRIVATE KEY-----\nM\n-----END PRIVATE KEY-----\n"}"#,
            "tellonce/c/crms/zoho": r#"{"client_id": "a", "client_secret": "b", "refresh_token": "c"}"#,
            "tellonce/c/targets/slack": "https://hooks.slack.com/services/T0/B0/x",
            "tellonce/c/targets/teams": "https://x.logic.azure.com/workflows/1?sig=x",
        });
        assert_eq!(check_secrets(CONVERSATIONS, &good.to_string()), Vec::<String>::new());
        for (name, value, problem) in [
            ("webhooks/main/line", "hunter2hunter2", "is too short for an address"),
            ("crms/hub", " ", "is empty"),
            ("crms/hub", "pat hunter2", "is not a token"),
            ("crms/own", "hunter2", "is not whsec_ and base64"),
            ("crms/sheet", "hunter2", "is not a service account's JSON key"),
            ("crms/zoho", "hunter2", "is not a JSON object with client_id"),
            ("targets/slack", "https://hunter2.example/services/x", "is not an address of Slack"),
            ("targets/teams", "https://x.logic.azure.com/hunter2", "has no sig="),
        ] {
            let mut secrets = good.clone();
            secrets[format!("tellonce/c/{name}")] = value.into();
            let found = check_secrets(CONVERSATIONS, &secrets.to_string());
            let expected = format!("`tellonce/c/{name}` {problem}");
            assert!(found.len() == 1 && found[0].contains(&expected), "{name}: {found:?}");
        }
    }

    #[test]
    fn a_secret_is_usable_only_if_it_fits_its_purpose() {
        let config = ClientConfig::parse(CONVERSATIONS).unwrap();
        let text = r#"{"tellonce/c/lines/main": "eyJhunter2", "tellonce/c/lines/deaf": {"current": "ezw_line_d", "previous": "x"}}"#;
        let file = SecretsFile { text: text.to_owned(), values: parse_secrets(text).unwrap() };
        assert_eq!(file.find_usable(&config, "tellonce/c/lines/deaf").unwrap().expose(), "ezw_line_d");
        for (name, problem) in [
            ("lines/main", "is not a line token"),
            ("webhooks/main/line", "is missing; add it: `main`: a long random value"),
            ("crms/none", "this client does not need the secret"),
        ] {
            let error = format!("{:#}", file.find_usable(&config, &format!("tellonce/c/{name}")).unwrap_err());
            assert!(error.contains(problem) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn one_value_for_two_secrets_is_reported() {
        let same = check_changed_demo("test-static-header-token-1", "test-shopify-client-secret-1");
        assert!(same[0].contains("has the same value as `tellonce/demo/webhooks/shop`"), "{same:?}");
        // Acuity signs with its API key. No other sender may have the same value.
        let acuity = check_changed_demo("test-calcom-secret-1", "test-acuity-api-key-1");
        assert!(acuity.iter().any(|found| found.contains("has the same value as")), "{acuity:?}");
    }

    #[test]
    fn a_file_of_another_shape_is_an_error_without_values() {
        for text in
            ["hunter2", "[\"hunter2\"]", "{\"a\": 1}", "{\"a\": {\"current\": 1}}", "{\"a\": {\"previous\": \"b\"}}"]
        {
            let error = format!("{:#}", parse_secrets(text).unwrap_err());
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
