//! How the time of a sweep grows with the due reminders: 10, 100, and so on, each in a new stack.

use std::{path::Path, time::Duration};

use anyhow::ensure;
use tokio::time::Instant;

use crate::{
    bench_run::{BenchRun, StreamMode},
    deliveries::build_tick_event,
    job::SCHEDULER,
    settings::LineEventMode,
    stats::to_milliseconds,
    usage::RequestUsage,
};

/// The figures of one sweep.
#[derive(Debug)]
pub(crate) struct SweepResult {
    /// Reminders that were due and sent.
    pub(crate) due: usize,
    /// Duration in milliseconds.
    pub(crate) took_ms: f64,
    pub(crate) usage: RequestUsage,
}

/// Sweeps of 10 reminders, ten times as many, and so on up to `most`.
pub(crate) async fn measure_sweeps(root: &Path, binaries: &Path, most: usize) -> anyhow::Result<Vec<SweepResult>> {
    let mut all = Vec::new();
    let mut due = 10;
    while due <= most {
        let bench_run = BenchRun::start("growth", root, binaries, StreamMode::Off, LineEventMode::Off).await?;
        let swept = measure_sweep(&bench_run, due).await;
        bench_run.stack.shutdown().await;
        all.push(swept?);
        due *= 10;
    }
    Ok(all)
}

async fn measure_sweep(bench_run: &BenchRun, due: usize) -> anyhow::Result<SweepResult> {
    // A process that is warm and has the good health of the line in its cache.
    bench_run.make_reminders_due(1).await?;
    bench_run.stack.invoke(SCHEDULER, &build_tick_event()).await?;
    bench_run.make_reminders_due(due).await?;
    // The reminders are due at this very moment, and the index is only read up to the present.
    bench_run.stack.clock().advance(Duration::from_secs(1))?;
    RequestUsage::reset_counters(&bench_run.stack);
    let begun = Instant::now();
    let response = bench_run.stack.invoke(SCHEDULER, &build_tick_event()).await?;
    let took_ms = to_milliseconds(begun.elapsed());
    ensure!(response["accepted"] == due, "the sweep did not send {due} reminders: {response}");
    Ok(SweepResult { due, took_ms, usage: RequestUsage::read_one_event(&bench_run.stack) })
}
