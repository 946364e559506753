//! Checks the format of CRM credentials and target addresses.

use serde_json::Value;
use tellonce_core::public_address::parse_public_address;

use crate::Severity;

/// Severity, problem and remedy. Never the value.
pub type SecretProblem = (Severity, &'static str, &'static str);

/// Required to get an access token:
/// <https://www.zoho.com/crm/developer/docs/api/v8/refresh.html>.
const ZOHO_MEMBERS: [&str; 3] = ["client_id", "client_secret", "refresh_token"];
/// Required to sign a request for an access token:
/// <https://developers.google.com/identity/protocols/oauth2/service-account>.
const SERVICE_ACCOUNT_MEMBERS: [&str; 2] = ["client_email", "private_key"];
/// Hosts of incoming webhooks:
/// <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.
const SLACK_HOSTS: [&str; 2] = ["hooks.slack.com", "hooks.slack-gov.com"];
/// Ends of the hosts that start a workflow over HTTP. Microsoft publishes no list; these are the
/// ends of the addresses that it gives out.
const TEAMS_HOST_SUFFIXES: [&str; 2] = [".environment.api.powerplatform.com", ".logic.azure.com"];

/// Parses a JSON object in which each of these members is a text that is not blank.
fn parse_object_with(value: &str, members: &[&str]) -> Option<serde_json::Map<String, Value>> {
    let Ok(Value::Object(object)) = serde_json::from_str(value) else { return None };
    let there = |member: &&str| object.get(*member).and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty());
    members.iter().all(there).then_some(object)
}

pub(super) fn check_zoho_client(value: &str) -> Option<SecretProblem> {
    parse_object_with(value, &ZOHO_MEMBERS).is_none().then_some((
        Severity::Error,
        "is not a JSON object with client_id, client_secret and refresh_token",
        "write {\"client_id\": \"…\", \"client_secret\": \"…\", \"refresh_token\": \"…\"} as one text",
    ))
}

pub(super) fn check_service_account(value: &str) -> Option<SecretProblem> {
    let Some(key) = parse_object_with(value, &SERVICE_ACCOUNT_MEMBERS) else {
        return Some((
            Severity::Error,
            "is not a service account's JSON key: client_email or private_key is missing",
            "store the whole file that Google Cloud gave you (IAM, Service accounts, Keys, JSON) as one text",
        ));
    };
    let pem = key.get("private_key").and_then(Value::as_str).unwrap_or_default().trim();
    let whole = pem.starts_with("-----BEGIN PRIVATE KEY-----") && pem.ends_with("-----END PRIVATE KEY-----");
    (!whole).then_some((
        Severity::Error,
        "holds a private_key that is not complete PEM",
        "store the file unchanged: it has the key's line breaks as \\n",
    ))
}

pub(super) fn check_slack_address(value: &str) -> Option<SecretProblem> {
    let remedy = "copy the address from the Slack app, Incoming Webhooks: https://hooks.slack.com/services/…";
    match parse_public_address(value) {
        Ok(url) if !url.host_str().is_some_and(|host| SLACK_HOSTS.contains(&host)) => {
            Some((Severity::Error, "is not an address of Slack: customers' messages would go to a third party", remedy))
        }
        Ok(url) if url.path().starts_with("/services/") && url.port().is_none() => None,
        Ok(_) => Some((Severity::Error, "is not the address of an incoming webhook", remedy)),
        Err(_) => Some((Severity::Error, "is not an https address on the internet", remedy)),
    }
}

pub(super) fn check_teams_address(value: &str) -> Option<SecretProblem> {
    let remedy = "copy the whole address from the workflow's first step in Teams, Workflows";
    let Ok(url) = parse_public_address(value) else {
        return Some((Severity::Error, "is not an https address on the internet", remedy));
    };
    let host = url.host_str().unwrap_or_default();
    if host == "outlook.office.com" || host.ends_with(".webhook.office.com") {
        let what = "is the address of a connector, which Microsoft has switched off";
        return Some((Severity::Error, what, "create a workflow that starts when a Teams webhook request is received"));
    }
    if !url.query_pairs().any(|(name, value)| name == "sig" && !value.is_empty()) {
        return Some((Severity::Error, "has no sig=…, which authorizes the call to the workflow", remedy));
    }
    let known = url.port().is_none() && TEAMS_HOST_SUFFIXES.iter().any(|end| host.ends_with(end));
    let what = "is not an address of a Microsoft workflow: customers' messages would go to a third party";
    (!known).then_some((Severity::Error, what, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem_text(problem: Option<SecretProblem>) -> &'static str {
        problem.map_or("fine", |(_, what, _)| what)
    }

    #[test]
    fn a_zoho_client_is_three_texts() {
        let whole = r#"{"client_id": "1000.A", "client_secret": "b", "refresh_token": "1000.c", "more": 1}"#;
        assert_eq!(problem_text(check_zoho_client(whole)), "fine");
        for part in ["1000.c", "{}", "[]", r#"{"client_id": "a", "client_secret": " ", "refresh_token": "c"}"#] {
            assert!(
                problem_text(check_zoho_client(part)).contains("client_id, client_secret and refresh_token"),
                "{part}"
            );
        }
    }

    #[test]
    fn a_service_account_is_its_whole_key() {
        let key = |pem: &str| serde_json::json!({ "client_email": "a@b.iam", "private_key": pem }).to_string();
        let pem = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n";
        assert_eq!(problem_text(check_service_account(&key(pem))), "fine");
        assert!(problem_text(check_service_account(&key("MIIE"))).contains("not complete PEM"));
        assert!(problem_text(check_service_account(&key("-----BEGIN PRIVATE KEY-----"))).contains("not complete PEM"));
        for part in [pem, "{}", r#"{"client_email": "a@b.iam"}"#] {
            assert!(problem_text(check_service_account(part)).contains("is missing"), "{part}");
        }
    }

    #[test]
    fn a_slack_address_is_on_a_slack_host() {
        assert_eq!(problem_text(check_slack_address("https://hooks.slack.com/services/T0/B0/x")), "fine");
        assert!(
            problem_text(check_slack_address("https://hooks.slack.com/triggers/T0/1/x"))
                .contains("not the address of an incoming")
        );
        assert!(
            problem_text(check_slack_address("https://hooks.slack.com.evil.example/services/x"))
                .contains("a third party")
        );
        assert!(
            problem_text(check_slack_address("http://hooks.slack.com/services/x")).contains("not an https address")
        );
    }

    #[test]
    fn a_teams_address_belongs_to_a_workflow() {
        let path = "/workflows/1/triggers/manual/paths/invoke?api-version=1&sp=x&sv=1.0&sig=abc";
        for host in ["prod-01.westeurope.logic.azure.com:443", "default1.2.environment.api.powerplatform.com"] {
            assert_eq!(problem_text(check_teams_address(&format!("https://{host}{path}"))), "fine");
        }
        assert!(
            problem_text(check_teams_address("https://prod-01.westeurope.logic.azure.com/workflows/1?sp=x"))
                .contains("no sig=")
        );
        assert!(
            problem_text(check_teams_address("https://acme.webhook.office.com/webhookb2/x?sig=1"))
                .contains("has switched off")
        );
        assert!(problem_text(check_teams_address("https://flows.example/x?sig=1")).contains("a third party"));
        assert!(problem_text(check_teams_address("x")).contains("not an https address"));
    }
}
