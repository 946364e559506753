//! The parts of a stack, each made from the options and the template.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use anyhow::{Context as _, bail};
use axum::Router;
use tellonce_fakes::{provider::FakeProvider, server};
use tellonce_ops::TableNames;
use tokio::task::AbortHandle;

use super::{
    client::{StackClient, StackEndpoints, build_environment, read_client},
    options::StackOptions,
};
use crate::{
    build,
    dynamo::EmbeddedDynamo,
    functions::{FunctionPool, FunctionSetup},
    metrics::MetricLog,
    operator_api::{self, FiguresApi, LambdaApi, OperatorState},
    schedule::ScheduledFunction,
    secrets::FakeSecretsManager,
    state::StateFolder,
    streams::{ReaderContext, StreamReader},
    template::{SamTemplate, TemplateAlarm, TemplateTable},
};

/// How often expired items are removed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Reads the client, and makes the folders in the options absolute.
pub(super) fn read_client_folder(options: StackOptions) -> anyhow::Result<(StackOptions, StackClient)> {
    let root =
        options.root.canonicalize().with_context(|| format!("could not find the folder {}", options.root.display()))?;
    let client_folder = options.client.canonicalize();
    let client_folder =
        client_folder.with_context(|| format!("could not find the client {}", options.client.display()))?;
    let client = read_client(&client_folder)?;
    client.check_real_systems(&options.real_systems)?;
    Ok((StackOptions { root, client: client_folder, ..options }, client))
}

pub(super) fn prepare_functions(
    template: &SamTemplate,
    options: &StackOptions,
    state: &StateFolder,
    endpoints: &StackEndpoints,
    metrics: &Arc<MetricLog>,
) -> anyhow::Result<Arc<FunctionPool>> {
    let binaries = match &options.binaries {
        Some(folder) => folder.clone(),
        None => build::binaries_folder()?,
    };
    let setup = FunctionSetup {
        binaries: &binaries,
        directory: &options.root,
        logs: &state.file_path("logs"),
        metrics,
        max_instances: options.max_instances,
        spare_time: options.spare_time,
    };
    let functions =
        FunctionPool::prepare(&template.functions, &setup, |function| build_environment(function, endpoints, options))?;
    if let Some(missing) = functions.missing_binaries().first() {
        bail!("{} is missing: build it with `cargo build --workspace --bins`", missing.display());
    }
    Ok(Arc::new(functions))
}

pub(super) fn open_readers(template: &SamTemplate, shared: &ReaderContext) -> anyhow::Result<Vec<Arc<StreamReader>>> {
    let mut readers = Vec::new();
    for (function, mapping) in template.functions.iter().flat_map(|f| f.streams.iter().map(move |m| (f, m))) {
        let reader = StreamReader::new(mapping.clone(), &function.name, shared.clone());
        readers.push(Arc::new(reader.with_context(|| mapping.id.clone())?));
    }
    Ok(readers)
}

pub(super) fn list_scheduled(template: &SamTemplate) -> Vec<ScheduledFunction> {
    let all = template.functions.iter().flat_map(|f| f.schedules.iter().map(move |schedule| (f, schedule)));
    all.map(|(function, schedule)| ScheduledFunction {
        function: function.name.clone(),
        id: schedule.id.clone(),
        interval: schedule.interval,
        input: schedule.input.clone(),
    })
    .collect()
}

/// Serves a router in a new task, on any port; returns its URL.
pub(super) fn serve_router(router: Router, what: &'static str, tasks: &mut Vec<AbortHandle>) -> anyhow::Result<String> {
    let any_port = 0;
    let listener = server::bind_port(any_port, what, "")?;
    let addr = listener.local_addr()?;
    tasks.push(server::serve_router(router, listener, what).abort_handle());
    Ok(format!("http://{addr}"))
}

/// The server for what operators call.
#[derive(Debug)]
pub(super) struct OperatorServer {
    pub(super) url: String,
    /// How many requests it answered.
    pub(super) requests: Arc<AtomicU64>,
}

pub(super) fn serve_operators(
    lambda: LambdaApi,
    (template, parameters): (&Path, &BTreeMap<String, String>),
    state: OperatorState,
    tasks: &mut Vec<AbortHandle>,
) -> anyhow::Result<OperatorServer> {
    let requests = Arc::<AtomicU64>::default();
    let alarms = TemplateAlarm::read_all(template, parameters)?;
    let figures = FiguresApi::new(state.metrics.clone(), alarms, state.roles.clone());
    let router = operator_api::build_router(lambda, figures, state, requests.clone());
    Ok(OperatorServer { url: serve_router(router, "the API for operators", tasks)?, requests })
}

/// Starts the fake provider with the client's lines: their tokens from the secrets and their ids.
pub(super) async fn start_fake_provider(
    options: &StackOptions,
    state: &StateFolder,
    client: &StackClient,
    secrets: &FakeSecretsManager,
) -> anyhow::Result<FakeProvider> {
    let provider = FakeProvider::start(options.provider_port, state.persistent_folder()).await?;
    if options.fresh {
        provider.reset_state()?;
    }
    provider.set_tokens(client.line_tokens(|name| secrets.current_value(name)));
    Ok(provider)
}

/// The tables of a template, without the streams that no function reads.
///
/// The engine counts a stream's records with every write. Thousands of unread records slow down
/// every write.
pub(super) fn tables_with_read_streams(template: &SamTemplate) -> Vec<TemplateTable> {
    let read = |table: &TemplateTable| {
        let mut mappings = template.functions.iter().flat_map(|function| &function.streams);
        mappings.any(|mapping| mapping.table == table.name)
    };
    let tables = template.tables.iter().cloned();
    tables
        .map(|mut table| {
            if !read(&table)
                && let Some(definition) = table.definition.as_object_mut()
            {
                definition.remove("StreamSpecification");
            }
            table
        })
        .collect()
}

/// Removes expired items again and again.
pub(super) async fn sweep_expired(dynamo: Arc<EmbeddedDynamo>) {
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let dynamo = dynamo.clone();
        match tokio::task::spawn_blocking(move || dynamo.sweep_ttl()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(n)) => tracing::debug!("{n} item(s) expired"),
            Ok(Err(e)) => tracing::warn!("could not remove expired items: {e}"),
            Err(e) => tracing::warn!("could not remove expired items: {e}"),
        }
    }
}

/// The names of the client's tables, as the functions get them; `None` if the template has not all.
pub(super) fn find_table_names(template: &SamTemplate) -> Option<TableNames> {
    let variables = template.functions.iter().flat_map(|function| &function.env);
    let variables: BTreeMap<&str, &str> = variables.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    TableNames::from_variables(|name| variables.get(name).map(|value| (*value).to_owned()))
}
