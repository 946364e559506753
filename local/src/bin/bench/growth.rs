//! How a sweep's cost grows with the reminders that are due: 10 of them, 100, and so on, each time in a world of its own.

use std::{path::Path, time::Duration};

use anyhow::ensure;
use tokio::time::Instant;

use crate::{
    deliveries::tick_event,
    job::SCHEDULER,
    stats::ms,
    usage::Usage,
    world::{Events, Streams, World},
};

/// One sweep.
#[derive(Debug)]
pub(crate) struct Swept {
    /// Reminders that were due, and sent.
    pub(crate) due: usize,
    /// How long it took, in milliseconds.
    pub(crate) took_ms: f64,
    pub(crate) usage: Usage,
}

/// Sweeps of 10 reminders, ten times as many, and so on up to `most`.
pub(crate) async fn measure(root: &Path, binaries: &Path, most: usize) -> anyhow::Result<Vec<Swept>> {
    let mut all = Vec::new();
    let mut due = 10;
    while due <= most {
        let world = World::start("growth", root, binaries, Streams::Off, Events::Off).await?;
        let swept = sweep(&world, due).await;
        world.stack.shutdown().await;
        all.push(swept?);
        due *= 10;
    }
    Ok(all)
}

async fn sweep(world: &World, due: usize) -> anyhow::Result<Swept> {
    // A process that has begun already, and knows that the line is well.
    world.make_reminders_due(1).await?;
    world.stack.invoke(SCHEDULER, &tick_event()).await?;
    world.make_reminders_due(due).await?;
    // What is due was booked within the last moments, and the index may not be asked for the future.
    world.stack.clock().advance(Duration::from_secs(1))?;
    Usage::reset(&world.stack);
    let begun = Instant::now();
    let answer = world.stack.invoke(SCHEDULER, &tick_event()).await?;
    let took_ms = ms(begun.elapsed());
    ensure!(answer["accepted"] == due, "of {due} reminders a sweep sent others: {answer}");
    Ok(Swept { due, took_ms, usage: Usage::of_one(&world.stack) })
}
