//! Instructions by callgrind: the one figure that doesn't depend on the machine's mood.
//!
//! Counted over whole processes that did nothing, one event, and some events more; the differences are the first event
//! and a warm one. User space only, as callgrind sees it.

use std::{
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::process::Command;

use crate::{
    job::{FUNCTIONS, Job},
    process::{start_idle, terminate},
    rounds::run_all,
    stats::count,
    world::{Streams, World},
};

/// Warm events that are counted.
const WARM: usize = 20;
/// How long a process may take to write its counts down.
const PATIENCE: Duration = Duration::from_secs(30);

/// In millions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Instructions {
    /// From the start of the process to its first request for work.
    pub(crate) init: f64,
    /// For the first event.
    pub(crate) first: f64,
    /// For an event after that.
    pub(crate) warm: f64,
}

/// Where valgrind is, if it is.
pub(crate) async fn valgrind() -> Option<PathBuf> {
    let found = Command::new("sh").args(["-c", "command -v valgrind"]).output().await.ok()?;
    let path = String::from_utf8(found.stdout).ok()?;
    found.status.success().then(|| PathBuf::from(path.trim()))
}

/// Counts a job's instructions. `binaries` is where the functions are.
pub(crate) async fn of(root: &Path, binaries: &Path, valgrind: &Path, job: Job) -> anyhow::Result<Instructions> {
    let scratch = tempfile::tempdir().context("can't create a temporary directory")?;
    let counts = scratch.path().join("counts");
    std::fs::create_dir(&counts)?;
    let folder = put_under_valgrind(scratch.path(), binaries, valgrind, &counts, job)?;
    let world = World::start("callgrind", root, &folder, Streams::Off, job.events()).await?;
    let result = count_all(&world, &folder, &counts, job).await;
    world.stack.shutdown().await;
    result
}

async fn count_all(world: &World, folder: &Path, counts: &Path, job: Job) -> anyhow::Result<Instructions> {
    let environment = world.environment_of(job).await?;
    let one = stop_and_read(world, counts, job).await?;
    let warm = job.enough(WARM);
    run_all(world, job, 1 + warm, |_| ()).await?;
    let more = stop_and_read(world, counts, job).await?;

    let mut command = Command::new(folder.join(job.function()));
    command.current_dir(world.stack.root());
    let idle = start_idle(command, &environment).await?;
    let pid = idle.child.id().context("it ended at once")?;
    terminate(pid).await?;
    let init = read(counts, pid).await?;
    idle.end().await?;
    Ok(Instructions { init, first: one - init, warm: (more - one) / count(warm) })
}

/// A folder with the functions, one of which runs under callgrind.
fn put_under_valgrind(
    scratch: &Path,
    binaries: &Path,
    valgrind: &Path,
    counts: &Path,
    job: Job,
) -> anyhow::Result<PathBuf> {
    let folder = scratch.join("binaries");
    std::fs::create_dir(&folder)?;
    for function in FUNCTIONS {
        let (binary, path) = (binaries.join(function), folder.join(function));
        if function == job.function() {
            let script = format!(
                "#!/bin/sh\nexec '{}' --tool=callgrind --vgdb=no --quiet --callgrind-out-file='{}/%p' '{}'\n",
                valgrind.display(),
                counts.display(),
                binary.display()
            );
            std::fs::write(&path, script)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        } else {
            symlink(binary, path)?;
        }
    }
    Ok(folder)
}

async fn stop_and_read(world: &World, counts: &Path, job: Job) -> anyhow::Result<f64> {
    let pid = world.pid(job.function())?;
    terminate(pid).await?;
    let counted = read(counts, pid).await?;
    // the next event is for a new process
    world.stack.functions().kill(job.function()).await;
    Ok(counted)
}

/// Millions of instructions, from the file that callgrind writes when the process ends.
async fn read(counts: &Path, pid: u32) -> anyhow::Result<f64> {
    let path = counts.join(pid.to_string());
    for _ in 0..PATIENCE.as_millis() / 50 {
        if let Some(total) = std::fs::read_to_string(&path).ok().as_deref().and_then(total) {
            return Ok(total / 1e6);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("callgrind wrote no counts for process {pid}")
}

/// The last line of callgrind's output: <https://valgrind.org/docs/manual/cl-format.html>.
fn total(text: &str) -> Option<f64> {
    text.lines().rev().find_map(|line| line.strip_prefix("totals:")).and_then(|n| n.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_still_being_written_has_no_total() {
        assert_eq!(total("events: Ir\nfn=main\n16 400\n"), None);
        assert_eq!(total("events: Ir\nfn=main\n16 400\n\ntotals: 7000400\n"), Some(7_000_400.0));
    }
}
