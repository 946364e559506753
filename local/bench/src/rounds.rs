//! The measurement in rounds. In each round every job of every stack has its turn, so a machine
//! that gets slower affects all of them.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::{process::Command, time::Instant};

use crate::{
    bench_run::BenchRun,
    job::BenchJob,
    process::{ProcessEnvironment, read_cpu_time, read_peak_memory_mb, start_idle, wait_for_quiet},
    stats::{median, median_over_rounds, to_milliseconds, usize_to_f64},
    usage::RequestUsage,
};

/// How many events are measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BenchEffort {
    pub(crate) rounds: usize,
    /// Cold starts of every job in a round.
    pub(crate) cold: usize,
    /// Warm events of every job in a round.
    pub(crate) warm: usize,
}

/// The figures of one job in one stack. Times in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct JobFigures {
    /// Start of the process to its first response.
    pub(crate) cold_ms: Vec<f64>,
    /// Start of the process to its first request for work, in separate processes.
    pub(crate) init_ms: Vec<f64>,
    /// Event to response, by round.
    pub(crate) warm_ms: Vec<Vec<f64>>,
    /// CPU time per warm event, by round.
    pub(crate) cpu_ms: Vec<f64>,
    /// Most memory resident after the warm events, by round, in MB.
    pub(crate) memory_mb: Vec<f64>,
    /// Requests of first events, including initialisation.
    pub(crate) first_usage: RequestUsage,
    /// Requests of warm events.
    pub(crate) warm_usage: RequestUsage,
    /// Bytes that warm events logged.
    pub(crate) log_bytes: usize,
}

impl JobFigures {
    /// The median over all rounds of a percentile within a round.
    pub(crate) fn warm_percentile(&self, share: f64) -> f64 {
        median_over_rounds(&self.warm_ms, share)
    }

    /// The first event's part of a cold start.
    pub(crate) fn first_event_ms(&self) -> f64 {
        (median(&self.cold_ms) - median(&self.init_ms)).max(0.0)
    }

    /// Events in a second, one after the other in one process.
    pub(crate) fn events_per_second(&self) -> f64 {
        let all: Vec<f64> =
            self.warm_ms.iter().map(|round| usize_to_f64(round.len()) * 1000.0 / round.iter().sum::<f64>()).collect();
        median(&all)
    }

    /// Bytes that an event logs.
    pub(crate) fn log_bytes_per_event(&self) -> f64 {
        self.warm_usage.per_event(usize_to_f64(self.log_bytes))
    }
}

/// Figures that do not depend on the project's code, measured in the same rounds. They show the
/// difference between machines and days.
#[derive(Debug, Default)]
pub(crate) struct MachineYardsticks {
    /// A process that does nothing, from start to end.
    pub(crate) process_ms: Vec<f64>,
    /// One item of the inbox, written directly to the fake DynamoDB.
    pub(crate) put_ms: Vec<f64>,
}

/// All figures. Keys are the index of the stack and the job.
#[derive(Debug, Default)]
pub(crate) struct BenchMeasurements {
    pub(crate) figures: BTreeMap<(usize, BenchJob), JobFigures>,
    pub(crate) yardsticks: MachineYardsticks,
    /// Rounds that began while nothing else was running.
    pub(crate) quiet_rounds: usize,
}

/// How long a round waits for other programs to finish.
pub(crate) const QUIET_TIMEOUT: Duration = Duration::from_secs(20);

/// Measures `jobs` in all stacks.
pub(crate) async fn measure_jobs(
    bench_runs: &[BenchRun],
    jobs: &[BenchJob],
    effort: BenchEffort,
) -> anyhow::Result<BenchMeasurements> {
    let mut measured = BenchMeasurements::default();
    let mut environments = BTreeMap::new();
    for (index, bench_run) in bench_runs.iter().enumerate() {
        for job in jobs {
            environments.insert((index, *job), bench_run.run_for_job(*job).read_job_environment(*job).await?);
        }
    }
    let yardstick_runner = YardstickRunner::new(bench_runs, &environments).await?;
    for round in 0..effort.rounds {
        eprintln!("round {} of {}", round + 1, effort.rounds);
        if wait_for_quiet(QUIET_TIMEOUT).await? {
            measured.quiet_rounds += 1;
        }
        yardstick_runner.measure_yardsticks(&mut measured.yardsticks, effort).await?;
        for job in jobs {
            let mut order: Vec<usize> = (0..bench_runs.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let figures = measured.figures.entry((index, *job)).or_default();
                let bench_run = bench_runs[index].run_for_job(*job);
                measure_cold(bench_run, *job, effort.cold, &environments[&(index, *job)], figures).await?;
                measure_warm(bench_run, *job, effort.warm, figures).await?;
            }
        }
    }
    Ok(measured)
}

async fn measure_cold(
    bench_run: &BenchRun,
    job: BenchJob,
    times: usize,
    environment: &ProcessEnvironment,
    figures: &mut JobFigures,
) -> anyhow::Result<()> {
    for _ in 0..job.enough_events(times).min(times) {
        // A value that is cached for half a minute is stale in a process that was idle for longer.
        bench_run.advance_half_a_minute()?;
        for event in bench_run.prepare_events(job, 1).await? {
            bench_run.stack.functions().kill_instances(job.function_name()).await;
            let done = bench_run.run_event(job, event).await?;
            figures.cold_ms.push(to_milliseconds(done.took));
            figures.first_usage.add(&done.usage);
        }
        let mut command = Command::new(bench_run.binaries.join(job.function_name()));
        command.current_dir(bench_run.stack.root());
        figures.init_ms.push(to_milliseconds(start_idle(command, environment).await?.stop().await?));
    }
    Ok(())
}

async fn measure_warm(
    bench_run: &BenchRun,
    job: BenchJob,
    events: usize,
    figures: &mut JobFigures,
) -> anyhow::Result<()> {
    let (warm_up, events) = (job.enough_events(20), job.enough_events(events));
    bench_run.stack.functions().kill_instances(job.function_name()).await;
    run_events(bench_run, job, warm_up, |_| ()).await?;
    let pid = bench_run.find_pid(job.function_name())?;
    let logged = bench_run.stack.log_lines(job.function_name()).last().map_or(0, |line| line.number);
    let before = read_cpu_time(pid)?;
    let mut took = Vec::with_capacity(events);
    run_events(bench_run, job, events, |done| {
        took.push(to_milliseconds(done.took));
        figures.warm_usage.add(&done.usage);
    })
    .await?;
    let cpu = read_cpu_time(pid)?.saturating_sub(before);
    anyhow::ensure!(
        bench_run.find_pid(job.function_name())? == pid,
        "{} was restarted during the measurement",
        job.function_name()
    );
    // The last lines may still be in the pipe.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let lines = bench_run.stack.log_lines(job.function_name());
    figures.log_bytes +=
        lines.iter().filter(|line| line.number > logged).map(|line| line.text.len() + 1).sum::<usize>();
    figures.cpu_ms.push(to_milliseconds(cpu) / usize_to_f64(events));
    figures.memory_mb.push(read_peak_memory_mb(pid)?);
    figures.warm_ms.push(took);
    Ok(())
}

/// Passes events to a job's function, one after the other.
pub(crate) async fn run_events(
    bench_run: &BenchRun,
    job: BenchJob,
    times: usize,
    mut done: impl FnMut(crate::bench_run::EventResult),
) -> anyhow::Result<()> {
    let (batches, size) = if job.needs_preparation() { (times, 1) } else { (1, times) };
    for _ in 0..batches {
        for event in bench_run.prepare_events(job, size).await? {
            done(bench_run.run_event(job, event).await?);
        }
    }
    Ok(())
}

/// The inputs of the yardsticks.
struct YardstickRunner {
    http: reqwest::Client,
    dynamo_url: String,
    table: String,
    item: Value,
    written: std::cell::Cell<u64>,
}

impl YardstickRunner {
    async fn new(
        bench_runs: &[BenchRun],
        environments: &BTreeMap<(usize, BenchJob), ProcessEnvironment>,
    ) -> anyhow::Result<Self> {
        let bench_run = bench_runs.first().context("the benchmark has no stack to measure")?;
        let ((_, job), all) = environments.first_key_value().context("the benchmark has no job to measure")?;
        let bench_run = bench_run.run_for_job(*job);
        let url = all.iter().find(|(name, _)| name == "AWS_ENDPOINT_URL_DYNAMODB");
        let (_, url) = url.context("the environment of the functions has no address of DynamoDB")?;
        Ok(Self {
            http: tellonce_core::bootstrap::build_http_client()?,
            dynamo_url: url.to_string_lossy().into_owned(),
            table: bench_run.inbox().to_owned(),
            item: bench_run.file_one_delivery().await?,
            written: std::cell::Cell::new(0),
        })
    }

    async fn measure_yardsticks(&self, yardsticks: &mut MachineYardsticks, effort: BenchEffort) -> anyhow::Result<()> {
        for _ in 0..effort.cold {
            yardsticks.process_ms.push(self.measure_process().await?);
        }
        for _ in 0..effort.warm {
            yardsticks.put_ms.push(self.measure_put().await?);
        }
        Ok(())
    }

    async fn measure_process(&self) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let status = Command::new("true").env_clear().current_dir(Path::new("/")).status().await?;
        let took = begun.elapsed();
        anyhow::ensure!(status.success(), "`true` failed ({status})");
        Ok(to_milliseconds(took))
    }

    async fn measure_put(&self) -> anyhow::Result<f64> {
        self.written.set(self.written.get() + 1);
        let mut item = self.item.clone();
        item["id"] = json!({"S": format!("yardstick#{}", self.written.get())});
        let body = json!({"TableName": self.table, "Item": item}).to_string();
        let request = self.http.post(&self.dynamo_url).header("x-amz-target", "DynamoDB_20120810.PutItem").body(body);
        let begun = Instant::now();
        let response = request.send().await?.error_for_status()?;
        response.bytes().await?;
        Ok(to_milliseconds(begun.elapsed()))
    }
}
