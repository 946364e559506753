//! What a call about a line's webhooks needs: the client, the provider's address, and the values of
//! secrets.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use tellonce_check::{Severity, find_secret_problem, list_needed_secrets};
use tellonce_core::{
    client_config::{ClientConfig, LineConfig},
    provider::{PROVIDER, PROVIDER_NAME},
    secret::Secret,
};
use tellonce_ops::ClientStack;
use url::Url;

use super::addresses::registration_endpoint;
use crate::{
    preview::load_config,
    secrets::SecretsFile,
    stack_arguments::{ConnectedStack, StackArguments},
};

/// The arguments of every command that calls the provider.
#[derive(clap::Args)]
pub(crate) struct LineArguments {
    #[command(flatten)]
    pub(super) stack: StackArguments,
    /// The line, by its name in client.toml. `register` and `test` need its events = true.
    #[arg(long, value_name = "NAME")]
    pub(super) line: String,
    /// A file with the line's token and the secret of its address, or - for standard input, in
    /// place of Secrets Manager: a JSON object, full secret name → "value" or {"current",
    /// "previous"}. A secret of a role stands in it as in Secrets Manager.
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// The address of the provider: https, or http for a fake on this machine. Without it, the
    /// provider's own, or the fake of a stack on this machine.
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
}

/// Where values of secrets are read.
enum ValueSource {
    Stack(ClientStack),
    File { values: SecretsFile, name: String },
}

impl ValueSource {
    /// Reads a file, or standard input if its name is `-`.
    fn read_file(source: &Path) -> anyhow::Result<Self> {
        let (values, name) = if source == Path::new("-") {
            (SecretsFile::read_stdin()?, "the secrets on standard input".to_owned())
        } else {
            (SecretsFile::read(source)?, format!("the secrets file {}", source.display()))
        };
        Ok(Self::File { values, name })
    }
}

/// A client, the provider's address for webhooks, and the values of secrets.
pub(super) struct LineAccess {
    pub(super) config: ClientConfig,
    pub(super) endpoint: Url,
    source: ValueSource,
}

impl LineAccess {
    pub(super) async fn open(arguments: &LineArguments) -> anyhow::Result<Self> {
        let given = arguments.base_url.as_deref();
        if let (Some(file), false) = (&arguments.secrets, arguments.stack.is_local()) {
            // No account is asked, so none needs to be named.
            let config = load_config(&arguments.stack.client_folder()?)?;
            let endpoint = registration_endpoint(given.unwrap_or(PROVIDER.facts().base_url))?;
            return Ok(Self { config, endpoint, source: ValueSource::read_file(file)? });
        }
        let ConnectedStack { stack, config, .. } = arguments.stack.connect().await?;
        let endpoint = registration_endpoint(choose_provider(given, &stack)?)?;
        let source = match &arguments.secrets {
            Some(file) => ValueSource::read_file(file)?,
            None => ValueSource::Stack(stack),
        };
        Ok(Self { config, endpoint, source })
    }

    /// The current value of a name, if it can work.
    pub(super) async fn read(&self, name: &str) -> anyhow::Result<Secret> {
        match &self.source {
            ValueSource::Stack(stack) => read_usable(stack, &self.config, name).await,
            ValueSource::File { values, name: source } => {
                let value = values.find_usable(&self.config, name).with_context(|| format!("in {source}"))?;
                Ok(value.clone())
            }
        }
    }
}

/// The provider's address. A stack on this machine never calls the provider itself.
fn choose_provider<'a>(given: Option<&'a str>, stack: &'a ClientStack) -> anyhow::Result<&'a str> {
    match given {
        Some(given) => Ok(given),
        None if stack.is_local() => stack.local_provider().with_context(|| {
            format!("the stack on this machine has no fake {PROVIDER_NAME}; restart it, or name one with --base-url")
        }),
        None => Ok(PROVIDER.facts().base_url),
    }
}

/// The current value of a name in Secrets Manager, if it can work.
pub(super) async fn read_usable(stack: &ClientStack, config: &ClientConfig, name: &str) -> anyhow::Result<Secret> {
    let value = stack.read_secret(config, name).await?;
    let needed = list_needed_secrets(config).into_iter().find(|needed| needed.name == name);
    match needed.and_then(|needed| find_secret_problem(needed.purpose, value.expose())) {
        Some((Severity::Error, what, remedy)) => bail!("`{name}` {what}; {remedy}"),
        Some((Severity::Warning, ..)) | None => Ok(value),
    }
}

/// A line by its name.
pub(super) fn find_line<'c>(config: &'c ClientConfig, name: &str) -> anyhow::Result<&'c LineConfig> {
    let known = || config.lines.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let line = config.lines.get(name);
    line.with_context(|| format!("`{name}` is not a line of this client; its lines are {}", known()))
}

/// The id of a line with `events = true`.
pub(super) fn find_event_line<'c>(config: &'c ClientConfig, name: &str) -> anyhow::Result<&'c str> {
    let line = find_line(config, name)?;
    ensure!(
        line.events,
        "the line `{name}` does not accept events; write events = true in [lines.{name}] and deploy first"
    );
    Ok(&line.line_id)
}
