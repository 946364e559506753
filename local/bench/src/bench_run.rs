//! A local stack for the benchmark: the project's own, for a client whose line has no rate limit.
//!
//! Builds the events of every job and passes them to a function. The functions are the deployed
//! binaries behind the stack's Runtime API endpoint. They use plain HTTP to its DynamoDB, Secrets
//! Manager and provider.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tellonce_core::client_config::ClientConfig;
use tellonce_fakes::{provider::HealthPreset, services::FakeService};
use tellonce_stack::{LocalStack, StackOptions};
use tokio::time::Instant;

use crate::{
    deliveries::{
        BenchCalendar, BenchDelivery, BenchLine, BenchShop, BenchSite, build_stream_event, build_tick_event,
        writer_phone,
    },
    job::{BenchJob, DUE_MESSAGES, NOTIFIER, RECEIVER, SCHEDULER},
    process::{ProcessEnvironment, read_environment},
    settings::{LineEventMode, remove_limits, remove_streams},
    usage::RequestUsage,
};

/// Longer than any value that a function caches for half a minute.
const HALF_A_MINUTE: Duration = Duration::from_secs(31);
/// Longer than the pause of messages whose line was down.
const A_MINUTE: Duration = Duration::from_secs(61);

/// How many customers write on the line. All of them have written before.
pub(crate) const WRITERS: u32 = 20;

/// The result of one event.
pub(crate) struct EventResult {
    pub(crate) took: Duration,
    pub(crate) usage: RequestUsage,
}

/// From booking to start, if no reminder shall be due yet.
const A_MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);
/// From booking to start, if a reminder shall be due at once. The demo's booking system reminds two
/// hours before, or at once after a later booking.
const AN_HOUR: SignedDuration = SignedDuration::from_hours(1);

/// A stack with a shop, a website, a booking system and a line that send to it.
pub(crate) struct BenchRun {
    /// The name of its set of binaries.
    pub(crate) label: String,
    /// The folder of the binaries.
    pub(crate) binaries: PathBuf,
    pub(crate) stack: Arc<LocalStack>,
    pub(crate) shop: BenchShop,
    pub(crate) site: BenchSite,
    pub(crate) line: BenchLine,
    calendar: BenchCalendar,
    inbox: String,
    booking_inbox: String,
    lead_inbox: String,
    line_inbox: String,
    line_events: LineEventMode,
    second_run: Option<Box<BenchRun>>,
    _temp_dir: tempfile::TempDir,
}

/// Whether records of the inboxes reach the functions by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamMode {
    /// As in the cloud.
    On,
    /// The benchmark itself passes on the records, so one function is measured alone.
    Off,
}

impl BenchRun {
    pub(crate) async fn start(
        label: &str,
        root: &Path,
        binaries: &Path,
        streams: StreamMode,
        events: LineEventMode,
    ) -> anyhow::Result<Self> {
        let temp_dir = tempfile::tempdir().context("could not create a temporary directory")?;
        let demo = root.join("clients/demo");
        let path = demo.join("client.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        let text = remove_limits(&text, events);
        std::fs::write(temp_dir.path().join("client.toml"), &text)?;
        let mut options = StackOptions {
            client: temp_dir.path().to_owned(),
            secrets: Some(demo.join("secrets.json")),
            binaries: Some(binaries.to_owned()),
            max_instances: 1,
            ..StackOptions::new(root)
        };
        if streams == StreamMode::Off {
            let path = temp_dir.path().join("template.yaml");
            std::fs::write(&path, remove_streams(&std::fs::read_to_string(root.join("template.yaml"))?)?)?;
            options.template = Some(path);
        }
        let stack = LocalStack::start(options).await?;
        let config = ClientConfig::parse(&text)?;
        let shop = BenchShop::from_config(&config, |name| stack.secrets().current_value(name))?;
        let site = BenchSite::from_config(&config, |name| stack.secrets().current_value(name))?;
        let line = BenchLine::from_config(&config, |name| stack.secrets().current_value(name))?;
        if events == LineEventMode::On {
            register_writers(&stack)?;
        }
        let calendar = BenchCalendar::from_config(&config, |name| stack.secrets().current_value(name))?;
        let functions = &stack.template().functions;
        let table = |variable: &str| {
            let table = functions.iter().find_map(|function| function.env.get(variable)).cloned();
            table.with_context(|| format!("no function of the template has {variable}"))
        };
        let (inbox, booking_inbox) = (table("STORE_INBOX_TABLE")?, table("BOOKING_INBOX_TABLE")?);
        let (lead_inbox, line_inbox) = (table("LEAD_INBOX_TABLE")?, table("LINE_INBOX_TABLE")?);
        let (label, binaries) = (label.to_owned(), binaries.to_owned());
        Ok(Self {
            label,
            binaries,
            stack,
            shop,
            site,
            line,
            calendar,
            inbox,
            booking_inbox,
            lead_inbox,
            line_inbox,
            line_events: events,
            second_run: None,
            _temp_dir: temp_dir,
        })
    }

    /// Adds a second stack, for the jobs that need other settings.
    pub(crate) fn with_second_run(self, apart: Self) -> Self {
        Self { second_run: Some(Box::new(apart)), ..self }
    }

    /// The stack in which a job is measured: this one or the second one.
    pub(crate) fn run_for_job(&self, job: BenchJob) -> &Self {
        match &self.second_run {
            Some(apart) if job.line_event_mode() != self.line_events => apart,
            _ => self,
        }
    }

    /// Shuts down this stack and the second one.
    pub(crate) async fn shut_down(&self) {
        self.stack.shutdown().await;
        if let Some(apart) = &self.second_run {
            apart.stack.shutdown().await;
        }
    }

    /// A new delivery at the time of the functions' clock.
    pub(crate) fn build_delivery(&self) -> anyhow::Result<BenchDelivery> {
        self.shop.build_delivery(self.stack.clock().now_ms())
    }

    /// Moves the clock by half a minute, so that the cached health of a line is stale.
    pub(crate) fn advance_half_a_minute(&self) -> anyhow::Result<()> {
        self.stack.clock().advance(HALF_A_MINUTE).map(drop)
    }

    /// Events of a job, ready to be passed on.
    pub(crate) async fn prepare_events(&self, job: BenchJob, count: usize) -> anyhow::Result<Vec<Bytes>> {
        let same = |event: &Value| vec![Bytes::from(event.to_string()); count];
        match job {
            BenchJob::NewDelivery => {
                (0..count).map(|_| Ok(self.build_delivery()?.to_gateway_event()?.to_string().into())).collect()
            }
            BenchJob::Duplicate => {
                let delivery = self.build_delivery()?;
                self.store_delivery(&delivery).await?;
                Ok(same(&delivery.to_gateway_event()?))
            }
            BenchJob::Message => {
                let items = self.store_deliveries(count).await?;
                Ok(items.into_iter().map(|item| build_stream_event([item]).to_string().into()).collect())
            }
            BenchJob::Booking => {
                let items = self.file_bookings(count, A_MONTH).await?;
                Ok(items.into_iter().map(|item| build_stream_event([item]).to_string().into()).collect())
            }
            BenchJob::Lead => {
                let items = self.file_leads(count).await?;
                Ok(items.into_iter().map(|item| build_stream_event([item]).to_string().into()).collect())
            }
            BenchJob::LineMessage => {
                let items = self.file_line_messages(count).await?;
                Ok(items.into_iter().map(|item| build_stream_event([item]).to_string().into()).collect())
            }
            BenchJob::ReminderTick => {
                ensure!(count == 1, "the reminders of a tick become due just before it, so prepare one tick at a time");
                self.make_reminders_due(DUE_MESSAGES).await?;
                Ok(same(&build_tick_event()))
            }
            BenchJob::IdleTick => Ok(same(&build_tick_event())),
            BenchJob::DueTick => {
                ensure!(count == 1, "the messages of a tick become due just before it, so prepare one tick at a time");
                self.make_messages_due().await?;
                Ok(same(&build_tick_event()))
            }
        }
    }

    /// Passes one event to the job's function and checks that it did its work.
    pub(crate) async fn run_event(&self, job: BenchJob, event: Bytes) -> anyhow::Result<EventResult> {
        RequestUsage::reset_counters(&self.stack);
        let begun = Instant::now();
        let response = self.stack.invoke_bytes(job.function_name(), event).await;
        let took = begun.elapsed();
        let answer = response.with_context(|| format!("{}: {}", self.label, job.title()))?;
        let usage = RequestUsage::read_one_event(&self.stack);
        job.check_outcome(&answer, &usage, self.stack.crms()).with_context(|| self.label.clone())?;
        Ok(EventResult { took, usage })
    }

    /// The process that now runs a job's function.
    pub(crate) fn find_pid(&self, function: &str) -> anyhow::Result<u32> {
        self.stack
            .functions()
            .running_pids(function)
            .first()
            .copied()
            .with_context(|| format!("{function} is not running"))
    }

    /// The environment of a job's function, read from a process that the stack started.
    pub(crate) async fn read_job_environment(&self, job: BenchJob) -> anyhow::Result<ProcessEnvironment> {
        for event in self.prepare_events(job, 1).await? {
            self.run_event(job, event).await?;
        }
        read_environment(self.find_pid(job.function_name())?)
    }

    /// An item of the inbox as the receiver writes it.
    pub(crate) async fn file_one_delivery(&self) -> anyhow::Result<Value> {
        self.store_deliveries(1).await?.pop().context("the receiver stored no delivery")
    }

    /// Name of the inbox table.
    pub(crate) fn inbox(&self) -> &str {
        &self.inbox
    }

    async fn store_delivery(&self, delivery: &BenchDelivery) -> anyhow::Result<()> {
        let response = self.stack.invoke(RECEIVER, &delivery.to_gateway_event()?).await?;
        ensure!(response["statusCode"] == 200, "the receiver refused a delivery: {response}");
        Ok(())
    }

    /// Has the receiver store new deliveries and returns the items of the inbox's stream.
    async fn store_many(
        &self,
        count: usize,
        inbox: &str,
        build: impl Fn() -> anyhow::Result<BenchDelivery>,
    ) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.file_and_read_item(&build()?, inbox).await?);
        }
        Ok(items)
    }

    async fn store_deliveries(&self, count: usize) -> anyhow::Result<Vec<Value>> {
        self.store_many(count, &self.inbox, || self.build_delivery()).await
    }

    /// Files new appointments that begin `ahead` from now.
    async fn file_bookings(&self, count: usize, ahead: SignedDuration) -> anyhow::Result<Vec<Value>> {
        self.store_many(count, &self.booking_inbox, || self.build_booking(ahead)).await
    }

    /// Files submissions of new leads.
    async fn file_leads(&self, count: usize) -> anyhow::Result<Vec<Value>> {
        let build = || self.site.build_submission(self.stack.clock().now_ms());
        self.store_many(count, &self.lead_inbox, build).await
    }

    /// Files messages of customers who have written before.
    async fn file_line_messages(&self, count: usize) -> anyhow::Result<Vec<Value>> {
        let build = || self.line.build_message(0, self.stack.clock().now_ms());
        self.store_many(count, &self.line_inbox, build).await
    }

    fn build_booking(&self, ahead: SignedDuration) -> anyhow::Result<BenchDelivery> {
        let now_ms = self.stack.clock().now_ms();
        self.calendar.build_booking(Timestamp::from_millisecond(now_ms)? + ahead, now_ms)
    }

    async fn file_and_read_item(&self, delivery: &BenchDelivery, inbox: &str) -> anyhow::Result<Value> {
        self.store_delivery(delivery).await?;
        let key = json!({"id": {"S": delivery.inbox_key()}});
        let mut found = self.stack.dynamo().call_operation("GetItem", &json!({"TableName": inbox, "Key": key}))?;
        let item = found["Item"].take();
        ensure!(item.is_object(), "an accepted delivery is not in the inbox");
        Ok(item)
    }

    /// Makes `count` reminders due now: the appointments are booked when their last reminder is
    /// due.
    pub(crate) async fn make_reminders_due(&self, count: usize) -> anyhow::Result<()> {
        for item in self.file_bookings(count, AN_HOUR).await? {
            let response = self.stack.invoke(SCHEDULER, &build_stream_event([item])).await?;
            ensure!(response["batchItemFailures"] == json!([]), "the scheduler did not accept a booking: {response}");
        }
        Ok(())
    }

    /// Makes 20 messages due: they arrive while their line is down. Then the line is up and a
    /// minute passes.
    async fn make_messages_due(&self) -> anyhow::Result<()> {
        // No function may have the good health of the line in its cache.
        self.advance_half_a_minute()?;
        self.stack.provider().set_health(None, HealthPreset::Qr)?;
        let before = self.stack.provider().counters().queued;
        let items = self.store_deliveries(DUE_MESSAGES).await?;
        let response = self.stack.invoke(NOTIFIER, &build_stream_event(items)).await?;
        ensure!(response["batchItemFailures"] == json!([]), "the notifier could not hold the messages: {response}");
        ensure!(self.stack.provider().counters().queued == before, "the notifier sent although the line was down");
        self.stack.provider().set_health(None, HealthPreset::Good)?;
        self.stack.clock().advance(A_MINUTE).map(drop)
    }
}

/// Adds the customers to Pipedrive, where the demo adds no new people. The other CRMs add them.
fn register_writers(stack: &LocalStack) -> anyhow::Result<()> {
    for (crm, _) in
        stack.crms().names_and_services().into_iter().filter(|(_, peer)| *peer == FakeService::Crm("pipedrive"))
    {
        for writer in 0..WRITERS {
            let person = json!({"name": format!("Writer {writer}"), "phones": [{"value": writer_phone(writer)}]});
            stack.crms().put_person(crm, person)?;
        }
    }
    Ok(())
}
