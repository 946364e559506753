//! Options of a stack.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use tellonce_fakes::server::PublicHost;

use super::RealSystem;
use crate::streams::RetryBackoff;

/// Options for [`LocalStack::start`](super::LocalStack::start).
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// Folder of the workspace, with `template.yaml`. Relative paths of a client start here.
    pub root: PathBuf,
    /// The template; default `{root}/template.yaml`.
    pub template: Option<PathBuf>,
    /// Folder of the client; default `{root}/clients/demo`.
    pub client: PathBuf,
    /// Secrets file; default `{client}/secrets.json`.
    pub secrets: Option<PathBuf>,
    /// Folder for state over restarts; `None`: memory and a temporary folder, removed with the
    /// stack.
    pub state: Option<PathBuf>,
    /// Whether the state of an earlier stack is deleted first.
    pub fresh: bool,
    /// Port of the gateway and the console; 0: any.
    pub gateway_port: u16,
    /// Host names of a tunnel to the gateway's port. They reach the routes of the template, and
    /// nothing else.
    pub public_hosts: Vec<PublicHost>,
    /// Port of the fake provider; 0: any.
    pub provider_port: u16,
    /// Systems that functions call themselves. The others have fakes.
    pub real_systems: Vec<RealSystem>,
    /// Folder into which each post at the gateway is written, for `tellonce preview`.
    pub record: Option<PathBuf>,
    /// Whether the stack acts by itself: schedules run, and `client.toml` is watched. Without it,
    /// `LocalStack::tick_messages` and `LocalStack::tick_conversations` invoke their functions, and
    /// `LocalStack::reload_client` reads the file.
    pub run_schedules: bool,
    /// Folder of the function binaries; default: the running program's.
    pub binaries: Option<PathBuf>,
    /// Processes per function.
    pub max_instances: usize,
    /// Real time that a function gets beyond its timeout before its process is killed. The deadline
    /// in its event stays the same. For a function that ends by itself, on a machine under load.
    pub spare_time: Duration,
    /// Pauses between retries of a stream batch.
    pub backoff: RetryBackoff,
    /// Added to the functions' environment; wins over the template's.
    pub env: BTreeMap<String, String>,
    /// Template parameters; they win over the defaults and over the stack's own.
    pub parameters: BTreeMap<String, String>,
}

impl StackOptions {
    /// The template's path.
    pub(super) fn template_path(&self) -> PathBuf {
        self.template.clone().unwrap_or_else(|| self.root.join("template.yaml"))
    }

    /// Options for a test: nothing kept, any free ports, no schedules, the demo client.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self {
            client: root.join("clients/demo"),
            root,
            template: None,
            secrets: None,
            state: None,
            fresh: false,
            gateway_port: 0,
            public_hosts: Vec::new(),
            provider_port: 0,
            real_systems: Vec::new(),
            record: None,
            run_schedules: false,
            binaries: None,
            max_instances: 4,
            spare_time: Duration::ZERO,
            backoff: RetryBackoff::default(),
            env: BTreeMap::new(),
            parameters: BTreeMap::new(),
        }
    }
}
