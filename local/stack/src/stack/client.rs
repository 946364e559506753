//! The client settings that the stack needs, and the environment of the functions.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::Deserialize;
use tellonce_core::client_config::{CrmConfig, TargetConfig};
use tellonce_fakes::{
    crms::FakeCrmAccount,
    services::{FakeAccount, FakeService},
    team::FakeTeamTarget,
};

use super::StackOptions;
use crate::{ACCOUNT, REGION, template};

/// Mount point of a client's layer in Lambda. On this machine it is the client's folder.
const LAYER_MOUNT: &str = "/opt/";

/// The settings of `client.toml` that the stack needs.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct StackClient {
    #[serde(rename = "client")]
    pub(super) id: String,
    #[serde(default)]
    pub(super) lines: BTreeMap<String, ClientLine>,
    #[serde(default)]
    calendars: BTreeMap<String, ClientCalendar>,
    #[serde(default)]
    forms: BTreeMap<String, ClientForm>,
    #[serde(default)]
    crms: BTreeMap<String, CrmConfig>,
    #[serde(default)]
    targets: BTreeMap<String, TargetConfig>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ClientLine {
    pub(super) line_id: String,
    #[serde(default)]
    pub(super) events: bool,
}

#[derive(Debug, Clone, Deserialize)]
struct ClientCalendar {
    kind: String,
    #[serde(default)]
    user_id: String,
}

#[derive(Debug, Clone, Deserialize)]
struct ClientForm {
    kind: String,
}

impl StackClient {
    /// The accounts of the fake calendars and the fake senders of leads.
    pub(super) fn api_accounts(&self) -> Vec<FakeAccount> {
        let calendar = |(name, calendar): (&String, &ClientCalendar)| {
            let service = match calendar.kind.as_str() {
                "acuity" => FakeService::Acuity,
                "square" => FakeService::Square,
                _ => return None,
            };
            let secret = format!("tellonce/{}/calendars/{name}", self.id);
            Some(FakeAccount { service, user_id: calendar.user_id.clone(), secret })
        };
        let form = |(name, form): (&String, &ClientForm)| {
            let service = match form.kind.as_str() {
                "meta" => FakeService::Graph,
                "hubspot" => FakeService::HubSpot,
                _ => return None,
            };
            Some(FakeAccount { service, user_id: String::new(), secret: format!("tellonce/{}/forms/{name}", self.id) })
        };
        self.calendars.iter().filter_map(calendar).chain(self.forms.iter().filter_map(form)).collect()
    }

    /// The accounts of the fake CRMs.
    pub(super) fn crm_accounts(&self) -> Vec<FakeCrmAccount> {
        let account = |(name, crm): (&String, &CrmConfig)| FakeCrmAccount {
            name: name.clone(),
            kind: crm.kind.clone(),
            secret: format!("tellonce/{}/crms/{name}", self.id),
        };
        self.crms.iter().map(account).collect()
    }

    /// The fake team targets.
    pub(super) fn team_accounts(&self) -> Vec<FakeTeamTarget> {
        let account = |(name, target): (&String, &TargetConfig)| FakeTeamTarget {
            name: name.clone(),
            kind: target.kind.clone(),
            secret: format!("tellonce/{}/targets/{name}", self.id),
        };
        self.targets.iter().map(account).collect()
    }

    /// Id and webhook path of each line with events, if the path's secret is known.
    pub(super) fn line_webhook_paths(&self, secret: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
        let taking = self.lines.iter().filter(|(_, line)| line.events);
        let path = |(name, line): (&String, &ClientLine)| {
            let secret = secret(&format!("tellonce/{}/webhooks/{name}/line", self.id))?;
            Some((line.line_id.clone(), format!("/lines/{name}/{secret}")))
        };
        taking.filter_map(path).collect()
    }
}

/// Reads the settings from `client.toml` in a client's folder.
pub(super) fn read_client(folder: &Path) -> anyhow::Result<StackClient> {
    let path = folder.join("client.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("in {}", path.display()))
}

/// The template parameters of this client's deployment.
pub(super) fn build_parameters(options: &StackOptions, client: &StackClient) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::from([
        ("Client".to_owned(), client.id.clone()),
        ("ClientDir".to_owned(), options.client.display().to_string()),
    ]);
    parameters.extend(options.parameters.clone());
    parameters
}

/// The addresses of the servers around the functions.
#[derive(Debug)]
pub(super) struct StackEndpoints {
    pub(super) dynamo_url: String,
    pub(super) secrets_url: String,
    pub(super) provider_url: String,
    pub(super) gateway_url: String,
    pub(super) clock: PathBuf,
}

/// A function's environment: the template's, then Lambda's own, then the addresses of local
/// servers.
pub(super) fn build_environment(
    function: &template::TemplateFunction,
    surroundings: &StackEndpoints,
    options: &StackOptions,
) -> BTreeMap<String, String> {
    let mut env = function.env.clone();
    for value in env.values_mut() {
        if let Some(file) = value.strip_prefix(LAYER_MOUNT) {
            *value = options.client.join(file).display().to_string();
        }
    }
    // Set only where the template sets them: a function without the variable does not call the
    // service.
    for (name, url) in [
        ("PROVIDER_BASE_URL", &surroundings.provider_url),
        ("SHOPIFY_BASE_URL", &surroundings.gateway_url),
        ("CALENDAR_BASE_URL", &surroundings.gateway_url),
        ("LEAD_BASE_URL", &surroundings.gateway_url),
        ("CRM_BASE_URL", &surroundings.gateway_url),
        ("TARGET_BASE_URL", &surroundings.gateway_url),
    ] {
        if let Some(value) = env.get_mut(name) {
            value.clone_from(url);
        }
    }
    let memory = function.memory_mb.to_string();
    let log_group = format!("/aws/lambda/{}", function.name);
    let clock = surroundings.clock.display().to_string();
    for (name, value) in [
        ("AWS_LAMBDA_FUNCTION_NAME", function.name.as_str()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &log_group),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "local"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("_HANDLER", "bootstrap"),
        ("AWS_REGION", REGION),
        ("AWS_DEFAULT_REGION", REGION),
        ("AWS_ACCOUNT_ID", ACCOUNT),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_SESSION_TOKEN", "local"),
        ("AWS_ENDPOINT_URL_DYNAMODB", &surroundings.dynamo_url),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &surroundings.secrets_url),
        ("AWS_ENDPOINT_URL_SESV2", &surroundings.gateway_url),
        ("AWS_ENDPOINT_URL_SNS", &surroundings.gateway_url),
        ("TELLONCE_CLOCK", &clock),
        ("LANG", "en_US.UTF-8"),
        ("TZ", ":UTC"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ] {
        env.insert(name.to_owned(), value.to_owned());
    }
    env.extend(options.env.clone());
    env
}
