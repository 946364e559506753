//! What a stack can be told.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use axum::Router;

use super::LocalStack;
use crate::streams::RetryBackoff;

/// Builds the routes of a web console for a started stack. They may set no fallback.
pub type ConsoleBuilder = fn(Arc<LocalStack>) -> Router;

/// What a stack is started with.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// The workspace: `template.yaml` is here, relative paths of a client are from here.
    pub root: PathBuf,
    /// The template; default `{workspace_root}/template.yaml`.
    pub template: Option<PathBuf>,
    /// Folder of the client; default `{workspace_root}/clients/demo`.
    pub client: PathBuf,
    /// Secrets file; default `{client}/secrets.json`.
    pub secrets: Option<PathBuf>,
    /// Where state is kept over restarts; `OnlyMissing`: in memory and a temporary directory, gone with the stack.
    pub state: Option<PathBuf>,
    /// Throw away the state of an earlier stack first.
    pub fresh: bool,
    /// Port of the gateway and the console; 0: any.
    pub gateway_port: u16,
    /// Port of the fake EZWhatsApp; 0: any.
    pub ezw_port: u16,
    /// The web console, served beside the gateway's routes.
    pub console: Option<ConsoleBuilder>,
    /// Whether schedules run. Without them, [`LocalStack::tick`](crate::Stack::tick) invokes what they would.
    pub run_schedules: bool,
    /// Where the function binaries are; default: beside the running program.
    pub binaries: Option<PathBuf>,
    /// Processes per function.
    pub max_instances: usize,
    /// Pauses between retries of a stream batch.
    pub backoff: RetryBackoff,
    /// Added to, and winning over, the functions' environment.
    pub env: BTreeMap<String, String>,
    /// Template parameters, winning over the defaults and over what the stack sets itself.
    pub parameters: BTreeMap<String, String>,
}

impl StackOptions {
    /// What a test wants: nothing kept, any free ports, no schedule, the demo client.
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
            ezw_port: 0,
            console: None,
            run_schedules: false,
            binaries: None,
            max_instances: 4,
            backoff: RetryBackoff::default(),
            env: BTreeMap::new(),
            parameters: BTreeMap::new(),
        }
    }
}
