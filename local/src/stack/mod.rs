//! The stack itself: starts every room in the right order, hands out what stories and the console need, ends them.

mod client;
mod options;
mod stand_ins;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, bail};
use axum::Router;
use bytes::Bytes;
use serde_json::Value;
use tokio::{net::TcpListener, task::AbortHandle, time::Instant};

use crate::{
    build,
    calendars::Calendars,
    clock::Clock,
    cord::{Cord, CordedListener},
    crms::Crms,
    dynamo::Dynamo,
    fake_ezw::FakeEzw,
    functions::{Functions, Invocations, LogLine, Setup},
    gateway::Gateway,
    leads::Leads,
    peers::Peers,
    ports,
    schedule::Scheduled,
    secrets::Secrets,
    state::State,
    streams::{FailedBatch, Failures, MappingState, Positions, Reader, Shared},
    team::Team,
    template::{self, Route, Template},
};

pub use options::Options;

use client::{Client, Surroundings, environment, parameters, read_client};
use stand_ins::StandIns;

/// How often expired items are removed.
const SWEEP: Duration = Duration::from_secs(10);
/// The schedule that [`Stack::tick`] stands for.
const EVERY_MINUTE: Duration = Duration::from_mins(1);

/// A running stack.
#[derive(Debug)]
pub struct Stack {
    options: Options,
    client: Client,
    template: Template,
    gateway_addr: SocketAddr,
    gateway: Arc<Gateway>,
    functions: Arc<Functions>,
    dynamo: Arc<Dynamo>,
    secrets: Arc<Secrets>,
    clock: Arc<Clock>,
    ezw: FakeEzw,
    stand_ins: StandIns,
    readers: Vec<Arc<Reader>>,
    failures: Arc<Failures>,
    scheduled: Vec<Scheduled>,
    state: State,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Stack {
    /// Starts everything; returns when the gateway accepts requests. Runs on the caller's tokio runtime, until
    /// [`Self::shutdown`] or the end of that runtime.
    pub async fn start(options: Options) -> anyhow::Result<Arc<Self>> {
        let root = options.root.canonicalize().with_context(|| format!("there is no {}", options.root.display()))?;
        let client_folder = options.client.canonicalize();
        let client_folder =
            client_folder.with_context(|| format!("there is no client {}", options.client.display()))?;
        let client = read_client(&client_folder)?;
        let options = Options { root, client: client_folder, ..options };
        let template_path = options.template.clone().unwrap_or_else(|| options.root.join("template.yaml"));
        let template = Template::read(&template_path, &parameters(&options, &client))?;

        let listener = ports::bind(options.gateway_port, "the gateway and the console", "--port")?;
        let gateway_addr = listener.local_addr()?;
        let state = State::open(options.state.as_deref(), options.fresh)?;
        let clock = Arc::new(Clock::open(&state.path("clock"))?);
        let secrets_path = options.secrets.clone().unwrap_or_else(|| options.client.join("secrets.json"));
        let secrets = Arc::new(Secrets::read(&secrets_path, clock.clone())?);
        let dynamo = Arc::new(Dynamo::open(state.kept("dynamo.db").as_deref(), clock.clone())?);
        dynamo.create_tables(&only_read_streams(&template))?;
        let ezw = start_ezw(&options, &state, &client, &secrets).await?;
        let stand_ins = StandIns::open(&options, &state, &client, &secrets, &clock)?;

        let (mut tasks, any) = (Vec::new(), 0);
        let dynamo_url = serve(dynamo.clone().router(), ports::bind(any, "DynamoDB", "")?, &mut tasks)?;
        let secrets_url = serve(secrets.clone().router(), ports::bind(any, "Secrets Manager", "")?, &mut tasks)?;
        let surroundings = Surroundings {
            dynamo_url,
            secrets_url,
            ezw_url: ezw.base_url(),
            gateway_url: format!("http://{gateway_addr}"),
            clock: clock.path().to_owned(),
        };
        let binaries = match &options.binaries {
            Some(folder) => folder.clone(),
            None => build::binaries()?,
        };
        let setup = Setup {
            binaries: &binaries,
            directory: &options.root,
            logs: &state.path("logs"),
            max_instances: options.max_instances,
        };
        let functions = Functions::prepare(&template.functions, &setup, |f| environment(f, &surroundings, &options))?;
        let functions = Arc::new(functions);
        if let Some(missing) = functions.missing_binaries().first() {
            bail!("{} doesn't exist: build it with `cargo build --workspace --bins`", missing.display());
        }

        let failures = Arc::new(Failures::open(state.kept("failures.jsonl").as_deref())?);
        let shared = Shared {
            dynamo: dynamo.clone(),
            functions: functions.clone(),
            positions: Arc::new(Positions::open(state.kept("streams.json").as_deref())?),
            failures: failures.clone(),
            backoff: options.backoff,
        };
        let mut readers = Vec::new();
        for (function, mapping) in template.functions.iter().flat_map(|f| f.streams.iter().map(move |m| (f, m))) {
            let reader = Reader::new(mapping.clone(), &function.name, shared.clone());
            readers.push(Arc::new(reader.with_context(|| mapping.id.clone())?));
        }
        let scheduled = template.functions.iter().flat_map(|function| {
            let name = function.name.clone();
            let one = move |schedule: &template::Schedule| {
                let template::Schedule { id, every, input } = schedule.clone();
                Scheduled { function: name.clone(), id, every, input }
            };
            function.schedules.iter().map(one)
        });
        let scheduled: Vec<_> = scheduled.collect();
        let gateway = Arc::new(Gateway::new(&template, functions.clone(), clock.clone()));
        if gateway.routes().iter().any(|(route, _)| route.path.starts_with("/lines/")) {
            for (line, path) in client.line_events(|name| secrets.current(name)) {
                ezw.direct_webhook(&line, &format!("http://{gateway_addr}{path}"))?;
            }
        }

        let stack = Arc::new(Self {
            options,
            client,
            template,
            gateway_addr,
            gateway,
            functions,
            dynamo,
            secrets,
            clock,
            ezw,
            stand_ins,
            readers,
            failures,
            scheduled,
            state,
            tasks: Mutex::new(tasks),
        });
        stack.set_to_work(listener)?;
        Ok(stack)
    }

    /// Starts the tasks that need the finished stack.
    fn set_to_work(self: &Arc<Self>, listener: TcpListener) -> anyhow::Result<()> {
        let mut tasks = crate::lock(&self.tasks);
        for reader in &self.readers {
            tasks.push(tokio::spawn(reader.clone().run()).abort_handle());
        }
        if self.options.schedule {
            for scheduled in &self.scheduled {
                let work = scheduled.clone().run(self.functions.clone(), self.clock.clone());
                tasks.push(tokio::spawn(work).abort_handle());
            }
        }
        let dynamo = self.dynamo.clone();
        tasks.push(tokio::spawn(sweep(dynamo)).abort_handle());
        let own = crate::console::router(self.clone()).merge(self.stand_ins.calendars.clone().router());
        serve(self.stand_ins.before(self.gateway.clone().router(own)), listener, &mut tasks)?;
        Ok(())
    }

    /// `http://127.0.0.1:{port}` of the gateway and the console.
    pub fn gateway_url(&self) -> String {
        format!("http://{}", self.gateway_addr)
    }

    /// Method and path of every route, with the name of its function.
    pub fn routes(&self) -> &[(Route, String)] {
        self.gateway.routes()
    }

    /// The fake EZWhatsApp.
    pub fn ezw(&self) -> &FakeEzw {
        &self.ezw
    }

    /// The stand-ins for other people's APIs, as far as they are alike: their troubles, and what they were asked.
    pub fn peers(&self) -> &Peers {
        &self.stand_ins.peers
    }

    /// The stand-ins for calendars.
    pub fn calendars(&self) -> &Arc<Calendars> {
        &self.stand_ins.calendars
    }

    /// The stand-ins for senders of leads.
    pub fn leads(&self) -> &Leads {
        &self.stand_ins.leads
    }

    /// The stand-ins for CRMs.
    pub fn crms(&self) -> &Crms {
        &self.stand_ins.crms
    }

    /// The stand-ins for the places where the team is called.
    pub fn team(&self) -> &Team {
        &self.stand_ins.team
    }

    /// The database: engine, counters, faults.
    pub fn dynamo(&self) -> &Arc<Dynamo> {
        &self.dynamo
    }

    /// The secrets.
    pub fn secrets(&self) -> &Arc<Secrets> {
        &self.secrets
    }

    /// The clock of functions and database.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// The functions, for invoking them directly.
    pub fn functions(&self) -> &Arc<Functions> {
        &self.functions
    }

    /// The template as it was read.
    pub fn template(&self) -> &Template {
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

    /// Id of the client, as `client.toml` has it.
    pub fn client_id(&self) -> &str {
        &self.client.id
    }

    /// Folder with a log file per function.
    pub fn logs_folder(&self) -> PathBuf {
        self.state.path("logs")
    }

    /// How often a function was invoked.
    pub fn invocations(&self, function: &str) -> Invocations {
        self.functions.invocations(function)
    }

    /// The last lines a function wrote, oldest first. A line appears a moment after it was written.
    pub fn logs(&self, function: &str) -> Vec<LogLine> {
        self.functions.logs(function)
    }

    /// Batches that were given up, oldest first.
    pub fn failures(&self) -> Vec<FailedBatch> {
        self.failures.list()
    }

    /// How far each stream has been read.
    pub fn streams(&self) -> anyhow::Result<Vec<MappingState>> {
        self.readers.iter().map(|reader| reader.state()).collect()
    }

    /// Invokes a function with any payload and waits for its response.
    pub async fn invoke(&self, function: &str, payload: &Value) -> anyhow::Result<Value> {
        Ok(self.functions.invoke_json(function, payload).await?)
    }

    /// The same with bytes.
    pub async fn invoke_raw(&self, function: &str, payload: Bytes) -> anyhow::Result<Bytes> {
        Ok(self.functions.invoke(function, payload).await?)
    }

    /// Does once what happens every minute to messages, and waits for the end. Returns the function's response.
    pub async fn tick(&self) -> anyhow::Result<Value> {
        self.invoke_scheduled("of every minute", |scheduled| every_minute(scheduled) && !of_conversations(scheduled))
            .await
    }

    /// Does once what happens every minute to conversations, and waits for the end. Returns the function's response.
    pub async fn tick_conversations(&self) -> anyhow::Result<Value> {
        self.invoke_scheduled("of conversations", |scheduled| every_minute(scheduled) && of_conversations(scheduled))
            .await
    }

    /// Looks once at every feed of the client's calendars, as happens every few minutes, and waits for the end. Returns
    /// the function's response.
    pub async fn poll_feeds(&self) -> anyhow::Result<Value> {
        let polls = |scheduled: &Scheduled| scheduled.input.as_ref().is_some_and(|input| input["poll"] == "feeds");
        self.invoke_scheduled("that polls feeds", polls).await
    }

    async fn invoke_scheduled(&self, what: &str, wanted: impl Fn(&Scheduled) -> bool) -> anyhow::Result<Value> {
        let scheduled = self.scheduled.iter().find(|scheduled| wanted(scheduled));
        let scheduled = scheduled.with_context(|| format!("the template has no schedule {what}"))?;
        let response = scheduled.invoke(&self.functions, &self.clock).await;
        response.with_context(|| format!("{} ({})", scheduled.function, scheduled.id))
    }

    /// Waits until every stream is read to its end and no invocation runs; at most 30 s.
    pub async fn drain(&self) -> anyhow::Result<()> {
        self.drain_within(Duration::from_secs(30)).await
    }

    /// The same with a limit. The error says what is pending.
    pub async fn drain_within(&self, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        self.dynamo.wake_readers();
        loop {
            let begun = self.begun();
            let pending = self.pending()?;
            // nothing pending, and nothing began while we looked
            if pending.is_empty() && begun == self.begun() && self.functions.running() == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("not drained after {limit:?}: {}", pending.join("; "));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn begun(&self) -> u64 {
        self.functions.names().iter().map(|name| self.functions.invocations(name).started).sum()
    }

    fn pending(&self) -> anyhow::Result<Vec<String>> {
        let mut pending = Vec::new();
        for name in self.functions.names() {
            let running = self.functions.invocations(&name).running;
            if running > 0 {
                pending.push(format!("{name} has {running} invocation(s) running"));
            }
        }
        for state in self.streams()?.into_iter().filter(|state| !state.caught_up()) {
            let MappingState { id, position, end, attempts, .. } = state;
            pending.push(format!("{id} is at {position:?} of {end:?} after {attempts} failed attempt(s)"));
        }
        Ok(pending)
    }

    /// SIGKILL to every instance of a function, now. Returns how many there were, when they are gone.
    pub async fn kill(&self, function: &str) -> usize {
        self.functions.kill(function).await
    }

    /// Ends everything: no process of a function is left when this returns. Batches in hand are delivered again by the
    /// next stack on the same state.
    pub async fn shutdown(&self) {
        for task in crate::lock(&self.tasks).drain(..) {
            task.abort();
        }
        self.functions.stop().await;
        self.state.release();
    }
}

async fn sweep(dynamo: Arc<Dynamo>) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let dynamo = dynamo.clone();
        match tokio::task::spawn_blocking(move || dynamo.sweep_ttl()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(n)) => tracing::debug!("{n} item(s) expired"),
            Ok(Err(e)) => tracing::warn!("can't remove expired items: {e}"),
            Err(e) => tracing::warn!("can't remove expired items: {e}"),
        }
    }
}

/// Serves a router in a task of its own; returns its URL.
fn serve(router: Router, listener: TcpListener, tasks: &mut Vec<AbortHandle>) -> anyhow::Result<String> {
    let addr = listener.local_addr()?;
    let service = router.into_make_service_with_connect_info::<Cord>();
    let task = tokio::spawn(async move {
        if let Err(e) = axum::serve(CordedListener(listener), service).await {
            tracing::error!("the server at {addr} stopped: {e}");
        }
    });
    tasks.push(task.abort_handle());
    Ok(format!("http://{addr}"))
}

/// Starts the fake with the client's lines: each line's token, as the secrets have it, stands for its line id.
async fn start_ezw(options: &Options, state: &State, client: &Client, secrets: &Secrets) -> anyhow::Result<FakeEzw> {
    let ezw = FakeEzw::start(options.ezw_port, state.kept_folder()).await?;
    if options.fresh {
        ezw.fresh()?;
    }
    let tokens = client.lines.iter().filter_map(|(name, line)| {
        let token = secrets.current(&format!("tellonce/{}/lines/{name}", client.id))?;
        Some((token, line.line_id.clone()))
    });
    ezw.set_tokens(tokens.collect());
    Ok(ezw)
}

#[cfg(test)]
mod tests;

/// The tables of a template, without the streams that no function of it reads: the engine counts a stream's records anew
/// with every write, so that thousands of writes to one that nobody reads slow all others down.
fn only_read_streams(template: &Template) -> Vec<template::Table> {
    let read = |table: &template::Table| {
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

fn every_minute(scheduled: &Scheduled) -> bool {
    scheduled.every == EVERY_MINUTE
}

fn of_conversations(scheduled: &Scheduled) -> bool {
    scheduled.function == "conversation-sync"
}
