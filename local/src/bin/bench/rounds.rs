//! The measuring itself: rounds in which every job of every world has its turn, so that a machine that gets slower or
//! faster meanwhile does so for all of them.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::{process::Command, time::Instant};

use crate::{
    job::Job,
    process::{Environment, cpu_time, peak_memory_mb, start_idle, wait_for_quiet},
    stats::{count, median, ms, over_rounds},
    usage::Usage,
    world::World,
};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// Cold starts of every job in a round.
    pub(crate) cold: usize,
    /// Warm events of every job in a round.
    pub(crate) warm: usize,
}

/// What was measured of one job in one world. Times in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// Start of the process to its first answer.
    pub(crate) cold: Vec<f64>,
    /// Start of the process to its first request for work, in processes of their own.
    pub(crate) init: Vec<f64>,
    /// Event to answer, by round.
    pub(crate) warm: Vec<Vec<f64>>,
    /// CPU time per warm event, by round.
    pub(crate) cpu: Vec<f64>,
    /// Most memory resident after the warm events, by round, in MB.
    pub(crate) memory_mb: Vec<f64>,
    /// Of first events, initialisation included.
    pub(crate) first: Usage,
    /// Of warm events.
    pub(crate) steady: Usage,
    /// Bytes that warm events logged.
    pub(crate) logged: usize,
}

impl Figures {
    /// The median over all rounds of a percentile within a round.
    pub(crate) fn warm(&self, share: f64) -> f64 {
        over_rounds(&self.warm, share)
    }

    /// The first event's part of a cold start.
    pub(crate) fn first_event(&self) -> f64 {
        (median(&self.cold) - median(&self.init)).max(0.0)
    }

    /// Events in a second, one after the other in one process.
    pub(crate) fn per_second(&self) -> f64 {
        let all: Vec<f64> =
            self.warm.iter().map(|round| count(round.len()) * 1000.0 / round.iter().sum::<f64>()).collect();
        median(&all)
    }

    /// Bytes that an event logs.
    pub(crate) fn logged_per_event(&self) -> f64 {
        self.steady.per_event(count(self.logged))
    }
}

/// Things that don't depend on our code, measured in the same rounds: what another machine or another day changes.
#[derive(Debug, Default)]
pub(crate) struct Yardsticks {
    /// A process that does nothing: start to end.
    pub(crate) process: Vec<f64>,
    /// One item of the inbox put straight into the stand-in for DynamoDB.
    pub(crate) put: Vec<f64>,
}

/// All of it. Figures are by world (its place in the list) and job.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) figures: BTreeMap<(usize, Job), Figures>,
    pub(crate) yardsticks: Yardsticks,
    /// Rounds that began when nothing else was running.
    pub(crate) quiet_rounds: usize,
}

/// How long a round waits for whatever else is running.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Measures `jobs` in `worlds`.
pub(crate) async fn measure(worlds: &[World], jobs: &[Job], effort: Effort) -> anyhow::Result<Measured> {
    let mut measured = Measured::default();
    let mut environments = BTreeMap::new();
    for (index, world) in worlds.iter().enumerate() {
        for job in jobs {
            environments.insert((index, *job), world.of(*job).environment_of(*job).await?);
        }
    }
    let yard = Yard::new(worlds, &environments).await?;
    for round in 0..effort.rounds {
        eprintln!("round {} of {}", round + 1, effort.rounds);
        if wait_for_quiet(PATIENCE).await? {
            measured.quiet_rounds += 1;
        }
        yard.measure(&mut measured.yardsticks, effort).await?;
        for job in jobs {
            let mut order: Vec<usize> = (0..worlds.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let figures = measured.figures.entry((index, *job)).or_default();
                let world = worlds[index].of(*job);
                cold(world, *job, effort.cold, &environments[&(index, *job)], figures).await?;
                warm(world, *job, effort.warm, figures).await?;
            }
        }
    }
    Ok(measured)
}

async fn cold(
    world: &World,
    job: Job,
    times: usize,
    environment: &Environment,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    for _ in 0..job.enough(times).min(times) {
        // what is remembered for half a minute is no longer fresh for a process that wasn't needed for so long
        world.pass_half_a_minute()?;
        for event in world.events(job, 1).await? {
            world.stack.functions().kill(job.function()).await;
            let done = world.run(job, event).await?;
            figures.cold.push(ms(done.took));
            figures.first.add(&done.usage);
        }
        let mut command = Command::new(world.binaries.join(job.function()));
        command.current_dir(world.stack.root());
        figures.init.push(ms(start_idle(command, environment).await?.end().await?));
    }
    Ok(())
}

async fn warm(world: &World, job: Job, events: usize, figures: &mut Figures) -> anyhow::Result<()> {
    let (warm_up, events) = (job.enough(20), job.enough(events));
    world.stack.functions().kill(job.function()).await;
    run_all(world, job, warm_up, |_| ()).await?;
    let pid = world.pid(job.function())?;
    let logged = world.stack.logs(job.function()).last().map_or(0, |line| line.number);
    let before = cpu_time(pid)?;
    let mut took = Vec::with_capacity(events);
    run_all(world, job, events, |done| {
        took.push(ms(done.took));
        figures.steady.add(&done.usage);
    })
    .await?;
    let cpu = cpu_time(pid)?.saturating_sub(before);
    anyhow::ensure!(world.pid(job.function())? == pid, "{} was started again meanwhile", job.function());
    // the last lines may still be in the pipe
    tokio::time::sleep(Duration::from_millis(20)).await;
    let lines = world.stack.logs(job.function());
    figures.logged += lines.iter().filter(|line| line.number > logged).map(|line| line.text.len() + 1).sum::<usize>();
    figures.cpu.push(ms(cpu) / count(events));
    figures.memory_mb.push(peak_memory_mb(pid)?);
    figures.warm.push(took);
    Ok(())
}

/// Gives a job's function so many events, one after the other.
pub(crate) async fn run_all(
    world: &World,
    job: Job,
    times: usize,
    mut done: impl FnMut(crate::world::Done),
) -> anyhow::Result<()> {
    let (batches, size) = if job.one_by_one() { (times, 1) } else { (1, times) };
    for _ in 0..batches {
        for event in world.events(job, size).await? {
            done(world.run(job, event).await?);
        }
    }
    Ok(())
}

/// What the yardsticks need.
struct Yard {
    http: reqwest::Client,
    dynamo_url: String,
    table: String,
    item: Value,
    written: std::cell::Cell<u64>,
}

impl Yard {
    async fn new(worlds: &[World], environments: &BTreeMap<(usize, Job), Environment>) -> anyhow::Result<Self> {
        let world = worlds.first().context("there is nothing to measure")?;
        let ((_, job), all) = environments.first_key_value().context("there is no job to measure")?;
        let world = world.of(*job);
        let url = all.iter().find(|(name, _)| name == "AWS_ENDPOINT_URL_DYNAMODB");
        let (_, url) = url.context("the stack doesn't say where DynamoDB is")?;
        Ok(Self {
            http: shared::cold_start::http_client()?,
            dynamo_url: url.to_string_lossy().into_owned(),
            table: world.inbox().to_owned(),
            item: world.filed_item().await?,
            written: std::cell::Cell::new(0),
        })
    }

    async fn measure(&self, yardsticks: &mut Yardsticks, effort: Effort) -> anyhow::Result<()> {
        for _ in 0..effort.cold {
            yardsticks.process.push(self.process().await?);
        }
        for _ in 0..effort.warm {
            yardsticks.put.push(self.put().await?);
        }
        Ok(())
    }

    async fn process(&self) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let status = Command::new("true").env_clear().current_dir(Path::new("/")).status().await?;
        let took = begun.elapsed();
        anyhow::ensure!(status.success(), "`true` failed ({status})");
        Ok(ms(took))
    }

    async fn put(&self) -> anyhow::Result<f64> {
        self.written.set(self.written.get() + 1);
        let mut item = self.item.clone();
        item["id"] = json!({"S": format!("yardstick#{}", self.written.get())});
        let body = json!({"TableName": self.table, "Item": item}).to_string();
        let request = self.http.post(&self.dynamo_url).header("x-amz-target", "DynamoDB_20120810.PutItem").body(body);
        let begun = Instant::now();
        let answer = request.send().await?.error_for_status()?;
        answer.bytes().await?;
        Ok(ms(begun.elapsed()))
    }
}
