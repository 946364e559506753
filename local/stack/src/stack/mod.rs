//! The stack: starts its parts in the right order, gives tests and the console access, stops them.

mod client;
mod client_file;
mod client_reload;
mod drain;
mod options;
mod parts;
mod real_systems;
mod return_to_now;
mod stack_fakes;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use anyhow::Context as _;
use axum::Router;
use bytes::Bytes;
use serde_json::Value;
use tellonce_fakes::{
    calendars::FakeCalendars,
    crms::FakeCrms,
    leads::FakeLeadApis,
    provider::FakeProvider,
    server::{self, PublicRoutes},
    services::FakeServices,
    shopify,
    team::FakeTeam,
};
use tellonce_ops::{LocalEndpoints, LocalStackFile, TableNames};
use tokio::{net::TcpListener, task::AbortHandle};

use crate::{
    access_log::AccessLog,
    activity::{self, ActivityLog},
    clock::LocalClock,
    dynamo::EmbeddedDynamo,
    functions::{FunctionPool, InvocationCounts, LogLine},
    gateway::HttpGateway,
    iam::FunctionRoles,
    metrics::MetricLog,
    operator_api::{LambdaApi, LogsApi, OperatorState},
    post_recorder::PostRecorder,
    recording::DeliveryRecording,
    schedule::ScheduledFunction,
    secrets::FakeSecretsManager,
    state::StateFolder,
    stored_deliveries::StoredDeliveries,
    streams::{FailedBatch, FailureLog, MappingState, ReaderContext, StreamPositions, StreamReader},
    template::{HttpRoute, SamTemplate},
};

pub use client_file::LoadedClient;
pub use options::StackOptions;
pub use real_systems::RealSystem;

use client::{StackClient, StackEndpoints, build_parameters};
use client_file::ClientFile;
use parts::{
    OperatorServer, find_table_names, list_scheduled, open_readers, prepare_functions, read_client_folder,
    serve_operators, serve_router, start_fake_provider, sweep_expired, tables_with_read_streams,
};
use stack_fakes::StackFakes;

/// The interval that [`LocalStack::tick_messages`] and [`LocalStack::tick_conversations`] invoke.
const EVERY_MINUTE: Duration = Duration::from_mins(1);

/// Builds the routes of a web console for a started stack. They may set no fallback.
pub type ConsoleBuilder = fn(Arc<LocalStack>) -> Router;

/// A running stack.
#[derive(Debug)]
pub struct LocalStack {
    options: StackOptions,
    client: StackClient,
    client_file: ClientFile,
    template: SamTemplate,
    endpoints: StackEndpoints,
    operators: OperatorServer,
    gateway: Arc<HttpGateway>,
    functions: Arc<FunctionPool>,
    dynamo: Arc<EmbeddedDynamo>,
    secrets: Arc<FakeSecretsManager>,
    roles: Arc<FunctionRoles>,
    clock: Arc<LocalClock>,
    provider: FakeProvider,
    fakes: StackFakes,
    readers: Vec<Arc<StreamReader>>,
    failures: Arc<FailureLog>,
    metrics: Arc<MetricLog>,
    activity: Arc<ActivityLog>,
    scheduled: Vec<ScheduledFunction>,
    state: StateFolder,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl LocalStack {
    /// Starts everything and returns when the gateway accepts requests.
    ///
    /// The stack runs on the caller's tokio runtime until [`Self::shutdown`] or the end of that
    /// runtime.
    pub async fn start(options: StackOptions) -> anyhow::Result<Arc<Self>> {
        Self::start_with_console(options, |_| Router::new()).await
    }

    /// The same with a web console beside the gateway's routes.
    pub async fn start_with_console(options: StackOptions, build_console: ConsoleBuilder) -> anyhow::Result<Arc<Self>> {
        let (options, client) = read_client_folder(options)?;
        let parameters = build_parameters(&options, &client);
        let template = SamTemplate::read(&options.template_path(), &parameters)?;

        let listener = server::bind_port(options.gateway_port, "the gateway and the console", "--port")?;
        let gateway_addr = listener.local_addr()?;
        let state = StateFolder::open(options.state.as_deref(), options.fresh)?;
        let clock = Arc::new(LocalClock::open(&state.file_path("clock"))?);
        let secrets_path = options.secrets.clone().unwrap_or_else(|| options.client.join("secrets.json"));
        let secrets = Arc::new(FakeSecretsManager::read(&secrets_path, client.secrets, clock.clone())?);
        let dynamo = Arc::new(EmbeddedDynamo::open(state.persistent_path("dynamo.db").as_deref(), clock.clone())?);
        dynamo.create_tables(&tables_with_read_streams(&template))?;
        let provider = start_fake_provider(&options, &state, &client, &secrets).await?;
        let fakes = StackFakes::open(&options, &state, &client, &secrets, &clock)?;
        let roles = Arc::new(FunctionRoles::from_template(&template));
        let mut tasks = Vec::new();
        let activity = ActivityLog::open(clock.clone(), state.persistent_path("activity.jsonl").as_deref())?;
        let (activity, stored) = (Arc::new(activity), Arc::<StoredDeliveries>::default());
        let dynamo_router = dynamo.clone().build_router(roles.clone(), &template.tables, stored.clone());
        let endpoints = StackEndpoints {
            dynamo_url: serve_router(dynamo_router, "DynamoDB", &mut tasks)?,
            secrets_url: serve_router(secrets.clone().build_router(roles.clone()), "Secrets Manager", &mut tasks)?,
            provider_url: provider.base_url(),
            gateway_url: format!("http://{gateway_addr}"),
            clock: clock.path().to_owned(),
        };
        let metrics = Arc::new(MetricLog::new(clock.clone()));
        let functions = prepare_functions(&template, &options, &state, &endpoints, &metrics)?;
        let failures = Arc::new(FailureLog::open(state.persistent_path("failures.jsonl").as_deref())?);
        let operator_state = OperatorState {
            failures: failures.clone(),
            logs: Arc::new(LogsApi::new(&client.id, state.file_path("logs"))),
            metrics: metrics.clone(),
            roles: roles.clone(),
        };
        let lambda = LambdaApi::new(&client.id, &template, functions.clone(), roles.clone());
        let operators = serve_operators(lambda, (&options.template_path(), &parameters), operator_state, &mut tasks)?;
        let shared = ReaderContext {
            dynamo: dynamo.clone(),
            functions: functions.clone(),
            positions: Arc::new(StreamPositions::open(state.persistent_path("streams.json").as_deref())?),
            failures: failures.clone(),
            metrics: metrics.clone(),
            backoff: options.backoff,
        };
        let client_path = options.client.join("client.toml");
        let has_secret = |name: &str| secrets.current_value(name).is_some();
        let client_file =
            ClientFile::new(LoadedClient::read(&client_path, None, has_secret, clock.now_ms()), &client_path);
        let stack = Arc::new(Self {
            gateway: Arc::new(HttpGateway::new(
                &template,
                functions.clone(),
                clock.clone(),
                metrics.clone(),
                PostRecorder {
                    log: activity.clone(),
                    stored,
                    files: options.record.clone().map(DeliveryRecording::new),
                },
                AccessLog::open(&state.file_path("logs"), clock.clone())?,
            )),
            readers: open_readers(&template, &shared)?,
            scheduled: list_scheduled(&template),
            client_file,
            options,
            client,
            template,
            endpoints,
            operators,
            functions,
            dynamo,
            secrets,
            roles,
            clock,
            provider,
            fakes,
            failures,
            metrics,
            activity,
            state,
            tasks: Mutex::new(tasks),
        });
        stack.register_line_webhooks(&stack.client)?;
        stack.start_tasks(listener, build_console(stack.clone()));
        stack.provider.resume_deliveries()?;
        if let Some(folder) = stack.state.persistent_folder() {
            stack.describe().write(folder)?;
        }
        Ok(stack)
    }

    /// What `tellonce` needs to find the stack. It is in the state folder if the stack keeps it.
    pub fn describe(&self) -> LocalStackFile {
        let StackEndpoints { dynamo_url, secrets_url, provider_url, clock, .. } = &self.endpoints;
        let endpoints = LocalEndpoints::new(dynamo_url.clone(), secrets_url.clone(), &self.operators.url);
        LocalStackFile {
            client: self.options.client.clone(),
            clock: clock.clone(),
            endpoints: endpoints.with_addresses(self.webhook_url(), provider_url.clone()),
        }
    }

    /// The names of the client's tables; `None` if the template has not all.
    pub fn table_names(&self) -> Option<TableNames> {
        find_table_names(&self.template)
    }

    /// Registers the webhooks of the client's lines with the fake provider, if a route takes them.
    fn register_line_webhooks(&self, client: &StackClient) -> anyhow::Result<()> {
        if self.routes().iter().any(|(route, _)| route.path.starts_with("/lines/")) {
            for (line, path) in client.line_webhook_paths(|name| self.secrets.current_value(name)) {
                self.provider.ensure_webhook(&line, &format!("{}{path}", self.webhook_url()))?;
            }
        }
        Ok(())
    }

    /// Starts the tasks that need the finished stack.
    fn start_tasks(self: &Arc<Self>, listener: TcpListener, console: Router) {
        let mut tasks = tellonce_fakes::lock_mutex(&self.tasks);
        for reader in &self.readers {
            tasks.push(tokio::spawn(reader.clone().run_forever()).abort_handle());
        }
        if self.options.run_schedules {
            for scheduled in &self.scheduled {
                let work = scheduled.clone().run_forever(self.functions.clone(), self.clock.clone());
                tasks.push(tokio::spawn(work).abort_handle());
            }
            tasks.push(tokio::spawn(self.clone().watch_client()).abort_handle());
        }
        tasks.push(tokio::spawn(sweep_expired(self.dynamo.clone())).abort_handle());
        if let Some(tables) = self.table_names() {
            let following = activity::follow_tables(self.activity.clone(), self.dynamo.clone(), tables);
            tasks.push(tokio::spawn(following).abort_handle());
        }
        let router = console
            .merge(self.fakes.calendars.clone().build_router())
            .merge(shopify::build_router())
            .merge(self.gateway.clone().build_router());
        let public =
            PublicRoutes { hosts: self.options.public_hosts.clone(), router: self.gateway.clone().build_router() };
        let router = self.fakes.layer_before(router);
        tasks.push(server::serve_public_router(router, public, listener, "the gateway").abort_handle());
    }

    /// `http://127.0.0.1:{port}` of the gateway and the console.
    pub fn gateway_url(&self) -> String {
        self.endpoints.gateway_url.clone()
    }

    /// What senders put before the path of a route: [`Self::gateway_url`], and the address segment
    /// if there is one.
    pub fn webhook_url(&self) -> String {
        format!("{}{}", self.gateway_url(), self.gateway.address_prefix())
    }

    /// URLs of the servers: the gateway with the console and the fakes, the fake provider,
    /// `DynamoDB`, Secrets Manager, and the API for operators.
    pub fn server_urls(&self) -> [&str; 5] {
        let StackEndpoints { gateway_url, provider_url, dynamo_url, secrets_url, .. } = &self.endpoints;
        [gateway_url, provider_url, dynamo_url, secrets_url, &self.operators.url]
    }

    /// How many requests the API for operators answered.
    pub fn operator_request_count(&self) -> u64 {
        self.operators.requests.load(Ordering::Relaxed)
    }

    /// Method and path of every route, with the name of its function.
    pub fn routes(&self) -> &[(HttpRoute, String)] {
        self.gateway.routes()
    }

    /// The fake provider.
    pub fn provider(&self) -> &FakeProvider {
        &self.provider
    }

    /// Faults and counters of the fakes, except the provider's.
    pub fn fakes(&self) -> &FakeServices {
        &self.fakes.services
    }

    /// The fake calendars.
    pub fn calendars(&self) -> &Arc<FakeCalendars> {
        &self.fakes.calendars
    }

    /// The fake senders of leads.
    pub fn leads(&self) -> &FakeLeadApis {
        &self.fakes.leads
    }

    /// The fake CRMs.
    pub fn crms(&self) -> &FakeCrms {
        &self.fakes.crms
    }

    /// The fake team targets.
    pub fn team(&self) -> &FakeTeam {
        &self.fakes.team
    }

    /// The database: engine, counters, faults.
    pub fn dynamo(&self) -> &Arc<EmbeddedDynamo> {
        &self.dynamo
    }

    /// The secrets.
    pub fn secrets(&self) -> &Arc<FakeSecretsManager> {
        &self.secrets
    }

    /// The roles of the functions, and what they refused.
    pub fn roles(&self) -> &FunctionRoles {
        &self.roles
    }

    /// The clock of functions and database.
    pub fn clock(&self) -> &Arc<LocalClock> {
        &self.clock
    }

    /// The functions, to invoke them directly.
    pub fn functions(&self) -> &Arc<FunctionPool> {
        &self.functions
    }

    /// The template.
    pub fn template(&self) -> &SamTemplate {
        &self.template
    }

    /// Folder of the workspace, absolute.
    pub fn root(&self) -> &Path {
        &self.options.root
    }

    /// Folder of the client, absolute.
    pub fn client_folder(&self) -> &Path {
        &self.options.client
    }

    /// Id of the client in `client.toml`.
    pub fn client_id(&self) -> &str {
        &self.client.id
    }

    /// The systems that functions call themselves, without a fake.
    pub fn real_systems(&self) -> &[RealSystem] {
        &self.options.real_systems
    }

    /// Folder with a log file per function.
    pub fn logs_folder(&self) -> PathBuf {
        self.state.file_path("logs")
    }

    /// How often a function was invoked.
    pub fn invocation_counts(&self, function: &str) -> InvocationCounts {
        self.functions.invocation_counts(function)
    }

    /// The last log lines of a function, oldest first. A line appears a moment after it was
    /// written.
    pub fn log_lines(&self, function: &str) -> Vec<LogLine> {
        self.functions.log_lines(function)
    }

    /// Given-up batches, oldest first.
    pub fn failures(&self) -> Vec<FailedBatch> {
        self.failures.list_batches()
    }

    /// The reading position of each stream.
    pub fn stream_states(&self) -> anyhow::Result<Vec<MappingState>> {
        self.readers.iter().map(|reader| reader.read_state()).collect()
    }

    /// All metrics since the start.
    pub fn metrics(&self) -> &MetricLog {
        &self.metrics
    }

    /// What happened in this run, for people.
    pub fn activity(&self) -> &Arc<ActivityLog> {
        &self.activity
    }

    /// Stops or resumes the mapping of an inbox or table to a function: `OrderNotifier/Inbox`. A
    /// stopped mapping keeps its position, as in AWS.
    pub fn set_mapping_enabled(&self, id: &str, enabled: bool) -> anyhow::Result<()> {
        let reader = self.readers.iter().find(|reader| reader.mapping.id == id);
        reader.with_context(|| format!("the template has no stream mapping {id}"))?.set_enabled(enabled);
        Ok(())
    }

    /// A number that changes whenever something does that a console shows: items, requests,
    /// messages, entries, alerts, invocations, log lines, failures, secrets, positions, the clock.
    pub fn change_count(&self) -> u64 {
        let counts = [
            self.dynamo.change_position(),
            self.dynamo.counters().change_count(),
            self.secrets.change_count(),
            self.provider.change_count(),
            self.fakes.crms.change_count(),
            self.fakes.team.change_count(),
            self.functions.change_count(),
            self.failures.change_count(),
            self.clock.change_count(),
            self.activity.last_number(),
        ];
        let moves = self.readers.iter().map(|reader| reader.change_count());
        // Every one only goes up, so the sum changes with each of them.
        counts.into_iter().chain(moves).fold(0, u64::wrapping_add)
    }

    /// Invokes a function with any payload and waits for its response.
    pub async fn invoke(&self, function: &str, payload: &Value) -> anyhow::Result<Value> {
        Ok(self.functions.invoke_json(function, payload).await?)
    }

    /// Invokes a function with any bytes and waits for its response.
    pub async fn invoke_bytes(&self, function: &str, payload: Bytes) -> anyhow::Result<Bytes> {
        Ok(self.functions.invoke(function, payload).await?)
    }

    /// Invokes the minute schedule for messages once and returns the function's response.
    pub async fn tick_messages(&self) -> anyhow::Result<Value> {
        self.invoke_scheduled("of every minute", |scheduled| {
            is_every_minute(scheduled) && !is_for_conversations(scheduled)
        })
        .await
    }

    /// Invokes the minute schedule for conversations once and returns the function's response.
    pub async fn tick_conversations(&self) -> anyhow::Result<Value> {
        self.invoke_scheduled("of conversations", |scheduled| {
            is_every_minute(scheduled) && is_for_conversations(scheduled)
        })
        .await
    }

    /// Invokes the schedule that reads all calendar feeds once and returns the function's response.
    pub async fn poll_feeds(&self) -> anyhow::Result<Value> {
        let polls =
            |scheduled: &ScheduledFunction| scheduled.input.as_ref().is_some_and(|input| input["poll"] == "feeds");
        self.invoke_scheduled("that polls feeds", polls).await
    }

    async fn invoke_scheduled(&self, what: &str, wanted: impl Fn(&ScheduledFunction) -> bool) -> anyhow::Result<Value> {
        let scheduled = self.scheduled.iter().find(|scheduled| wanted(scheduled));
        let scheduled = scheduled.with_context(|| format!("the template has no schedule {what}"))?;
        let response = scheduled.invoke(&self.functions, &self.clock).await;
        response.with_context(|| format!("{} ({})", scheduled.function, scheduled.id))
    }

    /// Sends SIGKILL to every instance of a function, waits for their end and returns their number.
    pub async fn kill_function(&self, function: &str) -> usize {
        self.functions.kill_instances(function).await
    }

    /// Stops everything. No function process is left when this returns.
    ///
    /// The next stack on the same state delivers the current batches again.
    pub async fn shutdown(&self) {
        for task in tellonce_fakes::lock_mutex(&self.tasks).drain(..) {
            task.abort();
        }
        self.functions.stop_all().await;
        if let Some(folder) = self.state.persistent_folder()
            && let Err(error) = LocalStackFile::remove(folder)
        {
            tracing::warn!("{error}");
        }
        self.state.release();
    }
}

fn is_every_minute(scheduled: &ScheduledFunction) -> bool {
    scheduled.interval == EVERY_MINUTE
}

fn is_for_conversations(scheduled: &ScheduledFunction) -> bool {
    scheduled.function == "conversation-sync"
}

#[cfg(test)]
mod tests;
