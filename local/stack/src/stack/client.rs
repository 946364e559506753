//! The client settings that the stack needs, and the environment of the functions.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tellonce_core::{
    client_config::{CrmConfig, TargetConfig, TargetKind},
    secret::SecretLayout,
};
use tellonce_fakes::{
    crms::FakeCrmAccount,
    services::{FakeAccount, FakeService},
    team::FakeTeamTarget,
};

use super::{
    StackOptions,
    real_systems::{RealSystem, SystemKind},
};
use crate::{ACCOUNT, REGION, iam::ACCESS_KEY_PREFIX, template};

/// Mount point of a client's layer in Lambda. On this machine it is the client's folder.
const LAYER_MOUNT: &str = "/opt/";

/// The settings of `client.toml` that the stack needs.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct StackClient {
    #[serde(rename = "client")]
    pub(super) id: String,
    #[serde(default)]
    pub(super) secrets: SecretLayout,
    #[serde(default)]
    pub(super) lines: BTreeMap<String, ClientLine>,
    #[serde(default)]
    pub(super) stores: BTreeMap<String, ClientSender>,
    #[serde(default)]
    pub(super) calendars: BTreeMap<String, ClientCalendar>,
    #[serde(default)]
    pub(super) forms: BTreeMap<String, ClientSender>,
    #[serde(default)]
    pub(super) crms: BTreeMap<String, CrmConfig>,
    #[serde(default)]
    pub(super) targets: BTreeMap<String, TargetConfig>,
    #[serde(default)]
    escalations: BTreeMap<String, ClientEscalation>,
}

#[derive(Debug, Clone, Deserialize)]
struct ClientEscalation {
    #[serde(default)]
    acknowledge: Option<toml::Table>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ClientLine {
    pub(super) line_id: String,
    #[serde(default)]
    pub(super) events: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ClientCalendar {
    pub(super) kind: String,
    #[serde(default)]
    user_id: String,
}

/// A store or a form.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ClientSender {
    pub(super) kind: String,
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
        let form = |(name, form): (&String, &ClientSender)| {
            let service = match form.kind.as_str() {
                "meta" => FakeService::Graph,
                "hubspot" => FakeService::HubSpot,
                _ => return None,
            };
            Some(FakeAccount { service, user_id: String::new(), secret: format!("tellonce/{}/forms/{name}", self.id) })
        };
        self.calendars.iter().filter_map(calendar).chain(self.forms.iter().filter_map(form)).collect()
    }

    /// The accounts of the fake CRMs, for those that are not real.
    pub(super) fn crm_accounts(&self, real: &[RealSystem]) -> Vec<FakeCrmAccount> {
        let account = |(name, crm): (&String, &CrmConfig)| FakeCrmAccount {
            name: name.clone(),
            kind: crm.kind.clone(),
            secret: format!("tellonce/{}/crms/{name}", self.id),
        };
        self.crms.iter().filter(is_fake(SystemKind::Crm, real)).map(account).collect()
    }

    /// The fake team targets, for those that are not real.
    pub(super) fn team_accounts(&self, real: &[RealSystem]) -> Vec<FakeTeamTarget> {
        let account = |(name, target): (&String, &TargetConfig)| FakeTeamTarget {
            name: name.clone(),
            kind: target.kind.clone(),
            secret: format!("tellonce/{}/targets/{name}", self.id),
        };
        self.targets.iter().filter(is_fake(SystemKind::Target, real)).map(account).collect()
    }

    /// The line id of each token that is known.
    pub(super) fn line_tokens(&self, secret: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
        let token = |(name, line): (&String, &ClientLine)| {
            Some((secret(&format!("tellonce/{}/lines/{name}", self.id))?, line.line_id.clone()))
        };
        self.lines.iter().filter_map(token).collect()
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

impl StackClient {
    /// Refuses a real system that the client does not have, or that no function calls by a URL.
    pub(super) fn check_real_systems(&self, real: &[RealSystem]) -> anyhow::Result<()> {
        let callable = self.list_callable_systems();
        for system in real {
            if !callable.iter().any(|(kind, name)| (*kind, *name) == (system.kind, system.name.as_str())) {
                let names: Vec<_> = callable.iter().map(|(kind, name)| format!("{}.{name}", kind.table())).collect();
                bail!(
                    "`{}.{}` is not a system that this client's functions call by a URL; these are: {}",
                    system.kind.table(),
                    system.name,
                    names.join(", ")
                );
            }
        }
        Ok(())
    }

    /// The systems that functions call by a URL. E-mail and SNS are services of AWS.
    fn list_callable_systems(&self) -> Vec<(SystemKind, &str)> {
        let of_kinds = |kind: &str, kinds: &[&str]| kinds.contains(&kind);
        let stores = self.stores.iter().filter(|(_, store)| store.kind == "shopify");
        let calendars =
            self.calendars.iter().filter(|(_, calendar)| of_kinds(&calendar.kind, &["ics", "acuity", "square"]));
        let forms = self.forms.iter().filter(|(_, form)| of_kinds(&form.kind, &["meta", "hubspot"]));
        let is_url = |target: &TargetKind| !matches!(target, TargetKind::Email(_) | TargetKind::Sns(_));
        let targets = self.targets.iter().filter(|(_, target)| is_url(&target.kind));
        let mut systems: Vec<(SystemKind, &str)> = Vec::new();
        systems.extend(stores.map(|(name, _)| (SystemKind::Store, name.as_str())));
        systems.extend(calendars.map(|(name, _)| (SystemKind::Calendar, name.as_str())));
        systems.extend(forms.map(|(name, _)| (SystemKind::Form, name.as_str())));
        systems.extend(self.crms.keys().map(|name| (SystemKind::Crm, name.as_str())));
        systems.extend(targets.map(|(name, _)| (SystemKind::Target, name.as_str())));
        systems
    }
}

/// Whether an entry of a table has a fake.
fn is_fake<C>(kind: SystemKind, real: &[RealSystem]) -> impl Fn(&(&String, &C)) -> bool {
    move |(name, _)| !real.iter().any(|system| system.kind == kind && system.name == **name)
}

/// Reads the settings from `client.toml` in a client's folder.
pub(super) fn read_client(folder: &Path) -> anyhow::Result<StackClient> {
    let path = folder.join("client.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("in {}", path.display()))
}

/// The template parameters of this client's deployment, as an operator sets them.
pub(super) fn build_parameters(options: &StackOptions, client: &StackClient) -> BTreeMap<String, String> {
    let acknowledges = client.escalations.values().any(|escalation| escalation.acknowledge.is_some());
    let mut parameters = BTreeMap::from([
        ("Client".to_owned(), client.id.clone()),
        ("ClientDir".to_owned(), options.client.display().to_string()),
        ("Acknowledgements".to_owned(), acknowledges.to_string()),
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
    if let Some(value) = env.get_mut("PROVIDER_BASE_URL") {
        value.clone_from(&surroundings.provider_url);
    }
    for kind in SystemKind::ALL {
        if let Some(value) = env.get_mut(kind.variable()) {
            let real = options.real_systems.iter().filter(|system| system.kind == kind);
            let items = std::iter::once(surroundings.gateway_url.clone()).chain(real.map(RealSystem::variable_item));
            *value = items.collect::<Vec<_>>().join(" ");
        }
    }
    let memory = function.memory_mb.to_string();
    let log_group = format!("/aws/lambda/{}", function.name);
    let clock = surroundings.clock.display().to_string();
    let access_key_id = format!("{ACCESS_KEY_PREFIX}{}", function.name);
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
        ("AWS_ACCESS_KEY_ID", &access_key_id),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_that_no_function_calls_by_a_url_is_refused_with_the_names_of_those_that_are() {
        let client: StackClient = toml::from_str(
            "client = 'demo'\n[stores.woo]\nkind = 'woocommerce'\n[calendars.diary]\nkind = 'ics'\n[targets.pager]\nkind \
             = 'webhook'\nurl = 'https://pager.example.com/'\n[targets.mail]\nkind = 'email'\nto = \
             ['team@example.com']\nfrom = 'a@example.com'\n",
        )
        .unwrap();
        let check = |text: &str| client.check_real_systems(&[RealSystem::parse(text).unwrap()]);
        check("calendars.diary=http://127.0.0.1:5232").unwrap();
        check("targets.pager").unwrap();
        for refused in ["stores.woo", "targets.mail", "crms.own"] {
            let error = check(refused).unwrap_err().to_string();
            assert!(error.ends_with("these are: calendars.diary, targets.pager"), "{error}");
        }
    }
}
