//! A local stack to measure in: the project's own, for a client whose line has no pace to wait for.
//!
//! Makes the events of every job ready and gives them to a function. Functions are the very binaries that are deployed,
//! behind the stack's own Runtime API endpoint; they talk plain HTTP to its DynamoDB, Secrets Manager and EZWhatsApp.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use local::{
    Options, Stack,
    console::bookings::{BookingBook, Deed, Desk},
    fake_ezw::HealthPreset,
    peers::Peer,
};
use serde_json::{Value, json};
use shared::client_config::ClientConfig;
use tokio::time::Instant;

use crate::{
    deliveries::{Delivery, Line, Shop, Site, crm, stream_event, tick_event, writer_phone},
    job::{DUE, Job, NOTIFIER, RECEIVER, SCHEDULER},
    process::{Environment, environment},
    settings::{without_limits, without_streams},
    usage::Usage,
};

/// Longer than anything that a function keeps for half a minute.
const HALF_A_MINUTE: Duration = Duration::from_secs(31);
/// Longer than messages wait whose line was down.
const A_MINUTE: Duration = Duration::from_secs(61);

/// How many people write on the line. Like most who do, they have written before.
pub(crate) const WRITERS: u32 = 20;

/// One event, done.
pub(crate) struct Done {
    pub(crate) took: Duration,
    pub(crate) usage: Usage,
}

/// Appointments begin so long after they are booked when nothing is to be due yet.
const A_MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);
/// And so long when a reminder is to be due at once: the demo's CRM reminds two hours before, and later of what is booked
/// later.
const AN_HOUR: SignedDuration = SignedDuration::from_hours(1);

/// A stack, and a shop, a website, a CRM and a line that send to it.
pub(crate) struct World {
    /// Whose binaries run in it.
    pub(crate) label: String,
    /// Where these are.
    pub(crate) binaries: PathBuf,
    pub(crate) stack: Arc<Stack>,
    pub(crate) shop: Shop,
    pub(crate) site: Site,
    pub(crate) line: Line,
    config: ClientConfig,
    crm: String,
    bookings: BookingBook,
    inbox: String,
    booking_inbox: String,
    lead_inbox: String,
    line_inbox: String,
    events: Events,
    apart: Option<Box<World>>,
    _scratch: tempfile::TempDir,
}

/// Whether what is written to the inbox goes on to the notifier by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Streams {
    /// As deployed.
    On,
    /// Off, so that one function can be looked at alone.
    Off,
}

/// Whether the line reports what happens on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Events {
    /// As the demo's does.
    On,
    /// Not: what functions send comes back to none of them.
    Off,
}

impl World {
    pub(crate) async fn start(
        label: &str,
        root: &Path,
        binaries: &Path,
        streams: Streams,
        events: Events,
    ) -> anyhow::Result<Self> {
        let scratch = tempfile::tempdir().context("can't create a temporary directory")?;
        let demo = root.join("clients/demo");
        let path = demo.join("client.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
        let text = without_limits(&text, events);
        std::fs::write(scratch.path().join("client.toml"), &text)?;
        let mut options = Options {
            client: scratch.path().to_owned(),
            secrets: Some(demo.join("secrets.json")),
            binaries: Some(binaries.to_owned()),
            max_instances: 1,
            ..Options::new(root)
        };
        if streams == Streams::Off {
            let path = scratch.path().join("template.yaml");
            std::fs::write(&path, without_streams(&std::fs::read_to_string(root.join("template.yaml"))?)?)?;
            options.template = Some(path);
        }
        let stack = Stack::start(options).await?;
        let config = ClientConfig::parse(&text)?;
        let shop = Shop::of(&config, |name| stack.secrets().current(name))?;
        let site = Site::of(&config, |name| stack.secrets().current(name))?;
        let line = Line::of(&config, |name| stack.secrets().current(name))?;
        if events == Events::On {
            introduce_writers(&stack)?;
        }
        let crm = crm(&config)?;
        let functions = &stack.template().functions;
        let table = |variable: &str| {
            let table = functions.iter().find_map(|function| function.env.get(variable)).cloned();
            table.with_context(|| format!("no function of the template has {variable}"))
        };
        let (inbox, booking_inbox) = (table("STORE_INBOX_TABLE")?, table("BOOKING_INBOX_TABLE")?);
        let (lead_inbox, line_inbox) = (table("LEAD_INBOX_TABLE")?, table("LINE_INBOX_TABLE")?);
        let (label, binaries) = (label.to_owned(), binaries.to_owned());
        let bookings = BookingBook::default();
        Ok(Self {
            label,
            binaries,
            stack,
            shop,
            site,
            line,
            config,
            crm,
            bookings,
            inbox,
            booking_inbox,
            lead_inbox,
            line_inbox,
            events,
            apart: None,
            _scratch: scratch,
        })
    }

    /// The same with a second world beside it, for the jobs that need other settings.
    pub(crate) fn with_apart(self, apart: Self) -> Self {
        Self { apart: Some(Box::new(apart)), ..self }
    }

    /// The world in which a job is measured: this one, or the one apart.
    pub(crate) fn of(&self, job: Job) -> &Self {
        match &self.apart {
            Some(apart) if job.events() != self.events => apart,
            _ => self,
        }
    }

    /// Ends it, and the one apart.
    pub(crate) async fn end(&self) {
        self.stack.shutdown().await;
        if let Some(apart) = &self.apart {
            apart.stack.shutdown().await;
        }
    }

    /// A delivery of now, by the functions' clock.
    pub(crate) fn delivery(&self) -> anyhow::Result<Delivery> {
        self.shop.delivery(self.stack.clock().now_ms())
    }

    /// Half a minute goes by for the functions: a line's health is to be asked for again.
    pub(crate) fn pass_half_a_minute(&self) -> anyhow::Result<()> {
        self.stack.clock().advance(HALF_A_MINUTE).map(drop)
    }

    /// Events of a job, ready to be handed over.
    pub(crate) async fn events(&self, job: Job, count: usize) -> anyhow::Result<Vec<Bytes>> {
        let same = |event: &Value| vec![Bytes::from(event.to_string()); count];
        match job {
            Job::NewDelivery => (0..count).map(|_| Ok(self.delivery()?.as_event().to_string().into())).collect(),
            Job::Duplicate => {
                let delivery = self.delivery()?;
                self.file(&delivery).await?;
                Ok(same(&delivery.as_event()))
            }
            Job::Message => {
                let items = self.filed(count).await?;
                Ok(items.into_iter().map(|item| stream_event([item]).to_string().into()).collect())
            }
            Job::Booking => {
                let items = self.booked(count, A_MONTH).await?;
                Ok(items.into_iter().map(|item| stream_event([item]).to_string().into()).collect())
            }
            Job::Lead => {
                let items = self.submitted(count).await?;
                Ok(items.into_iter().map(|item| stream_event([item]).to_string().into()).collect())
            }
            Job::LineMessage => {
                let items = self.written(count).await?;
                Ok(items.into_iter().map(|item| stream_event([item]).to_string().into()).collect())
            }
            Job::ReminderTick => {
                ensure!(count == 1, "each tick's reminders have to be made due just before it");
                self.make_reminders_due(DUE).await?;
                Ok(same(&tick_event()))
            }
            Job::IdleTick => Ok(same(&tick_event())),
            Job::DueTick => {
                ensure!(count == 1, "each tick's messages have to be made due just before it");
                self.make_due().await?;
                Ok(same(&tick_event()))
            }
        }
    }

    /// Gives one event to the job's function and sees that it did its work.
    pub(crate) async fn run(&self, job: Job, event: Bytes) -> anyhow::Result<Done> {
        Usage::reset(&self.stack);
        let begun = Instant::now();
        let answer = self.stack.invoke_raw(job.function(), event).await;
        let took = begun.elapsed();
        let answer = answer.with_context(|| format!("{}: {}", self.label, job.title()))?;
        let usage = Usage::of_one(&self.stack);
        job.check(&answer, &usage).with_context(|| self.label.clone())?;
        Ok(Done { took, usage })
    }

    /// The process that runs a job's function now.
    pub(crate) fn pid(&self, function: &str) -> anyhow::Result<u32> {
        self.stack.functions().pids(function).first().copied().with_context(|| format!("{function} doesn't run"))
    }

    /// The environment that the stack gives a job's function, read off a process that it started.
    pub(crate) async fn environment_of(&self, job: Job) -> anyhow::Result<Environment> {
        for event in self.events(job, 1).await? {
            self.run(job, event).await?;
        }
        environment(self.pid(job.function())?)
    }

    /// An item of the inbox, as the receiver writes it.
    pub(crate) async fn filed_item(&self) -> anyhow::Result<Value> {
        self.filed(1).await?.pop().context("one was filed")
    }

    /// Name of the inbox table.
    pub(crate) fn inbox(&self) -> &str {
        &self.inbox
    }

    async fn file(&self, delivery: &Delivery) -> anyhow::Result<()> {
        let answer = self.stack.invoke(RECEIVER, &delivery.as_event()).await?;
        ensure!(answer["statusCode"] == 200, "the receiver refused a delivery: {answer}");
        Ok(())
    }

    /// Has new deliveries filed by the receiver and reads back what the inbox's stream would carry.
    async fn filed(&self, count: usize) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.through_inbox(&self.delivery()?, &self.inbox).await?);
        }
        Ok(items)
    }

    /// The same with new appointments that begin so long from now.
    async fn booked(&self, count: usize, ahead: SignedDuration) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.through_inbox(&self.booking(ahead)?, &self.booking_inbox).await?);
        }
        Ok(items)
    }

    /// The same with submissions of people nobody has heard of.
    async fn submitted(&self, count: usize) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            let submission = self.site.submission(self.stack.clock().now_ms());
            items.push(self.through_inbox(&submission, &self.lead_inbox).await?);
        }
        Ok(items)
    }

    /// The same with messages of somebody who has written before.
    async fn written(&self, count: usize) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            let message = self.line.message(0, self.stack.clock().now_ms());
            items.push(self.through_inbox(&message, &self.line_inbox).await?);
        }
        Ok(items)
    }

    fn booking(&self, ahead: SignedDuration) -> anyhow::Result<Delivery> {
        let now_ms = self.stack.clock().now_ms();
        let now = Timestamp::from_millisecond(now_ms)?;
        let secret = |name: &str| self.stack.secrets().current(name);
        let desk = Desk { config: &self.config, secret: &secret, calendars: self.stack.calendars() };
        let mut batch = self.bookings.make(&desk, &self.crm, Deed::Book, now + ahead, now)?;
        Delivery::of_crm(batch.deliveries.pop().context("nothing is posted for a booking")?, now_ms)
    }

    async fn through_inbox(&self, delivery: &Delivery, inbox: &str) -> anyhow::Result<Value> {
        self.file(delivery).await?;
        let key = json!({"id": {"S": delivery.key()}});
        let mut found = self.stack.dynamo().call("GetItem", &json!({"TableName": inbox, "Key": key}))?;
        let item = found["Item"].take();
        ensure!(item.is_object(), "an accepted delivery is not in the inbox");
        Ok(item)
    }

    /// Makes so many reminders due now: appointments are booked when their last reminder's time has come.
    pub(crate) async fn make_reminders_due(&self, count: usize) -> anyhow::Result<()> {
        for item in self.booked(count, AN_HOUR).await? {
            let answer = self.stack.invoke(SCHEDULER, &stream_event([item])).await?;
            ensure!(answer["batchItemFailures"] == json!([]), "a booking was not taken: {answer}");
        }
        Ok(())
    }

    /// Makes 20 messages due: they come while their line is down, then it is up again and a minute has passed.
    async fn make_due(&self) -> anyhow::Result<()> {
        // nobody may remember that the line was well
        self.pass_half_a_minute()?;
        self.stack.ezw().set_health(None, HealthPreset::Qr)?;
        let before = self.stack.ezw().counters().queued;
        let items = self.filed(DUE).await?;
        let answer = self.stack.invoke(NOTIFIER, &stream_event(items)).await?;
        ensure!(answer["batchItemFailures"] == json!([]), "the notifier could not hold the messages: {answer}");
        ensure!(self.stack.ezw().counters().queued == before, "the notifier sent although the line was down");
        self.stack.ezw().set_health(None, HealthPreset::Good)?;
        self.stack.clock().advance(A_MINUTE).map(drop)
    }
}

/// Makes those who write known to Pipedrive, which the demo lets nobody into: everybody else's contacts come by themselves.
fn introduce_writers(stack: &Stack) -> anyhow::Result<()> {
    for (crm, _) in stack.crms().names().into_iter().filter(|(_, peer)| *peer == Peer::Pipedrive) {
        for writer in 0..WRITERS {
            let person = json!({"name": format!("Writer {writer}"), "phones": [{"value": writer_phone(writer)}]});
            stack.crms().put_person(crm, person)?;
        }
    }
    Ok(())
}
