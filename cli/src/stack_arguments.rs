//! The stack that a command is about: in an account, or on this machine.

use std::path::PathBuf;

use tellonce_core::{bootstrap::read_variable, client_config::ClientConfig};
use tellonce_ops::{ClientStack, LocalStackFile};

use crate::preview::load_config;

/// The arguments that name a stack.
#[derive(Clone, clap::Args)]
pub(crate) struct StackArguments {
    /// The folder of a deployed client, e.g. clients/acme. Without it, the stack that runs on this
    /// machine is meant.
    #[arg(long, value_name = "DIR")]
    client: Option<PathBuf>,
    /// The profile of the client's account. Without it, credentials are found as the AWS command
    /// line finds them.
    #[arg(long, requires = "client")]
    profile: Option<String>,
    /// The region of the client's stack. Without it, the profile's region.
    #[arg(long, requires = "client")]
    region: Option<String>,
    /// The state folder of the stack that runs on this machine.
    #[arg(long, value_name = "DIR", default_value = ".local", conflicts_with = "client")]
    state: PathBuf,
}

/// Runs a command that waits for a network, on this thread.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work))
}

/// A stack, and the settings of its client with their folder.
pub(crate) struct ConnectedStack {
    pub(crate) stack: ClientStack,
    pub(crate) config: ClientConfig,
    pub(crate) folder: PathBuf,
}

impl StackArguments {
    /// Whether the stack that runs on this machine is meant.
    pub(crate) fn is_local(&self) -> bool {
        self.client.is_none()
    }

    /// The folder of the client.
    pub(crate) fn client_folder(&self) -> anyhow::Result<PathBuf> {
        match &self.client {
            Some(folder) => Ok(folder.clone()),
            None => Ok(LocalStackFile::read(&self.state)?.client),
        }
    }

    /// The stack. Sends no request to it.
    pub(crate) async fn connect(&self) -> anyhow::Result<ConnectedStack> {
        if let Some(folder) = &self.client {
            let config = load_config(folder)?;
            let (profile, region) = (self.profile.as_deref(), self.region.as_deref());
            return Ok(ConnectedStack {
                stack: ClientStack::in_account(&config.client, profile, region).await?,
                config,
                folder: folder.clone(),
            });
        }
        let file = LocalStackFile::read(&self.state)?;
        let config = load_config(&file.client)?;
        let stack = ClientStack::on_this_machine(&config.client, &file, &local_user())?;
        Ok(ConnectedStack { stack, config, folder: file.client })
    }
}

/// The name of the local user, as an access key id can hold it.
fn local_user() -> String {
    let mut name = read_variable("USER").or_else(|| read_variable("USERNAME")).unwrap_or_default();
    name.retain(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if name.is_empty() { "operator".to_owned() } else { name }
}
