//! Instructions by callgrind: the only figure that does not depend on the machine's load.
//!
//! Counts processes with no event, with one event, and with some more. The differences are the
//! first event and a warm event. User space only, as callgrind counts it.

use std::{
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::process::Command;

use crate::{
    bench_run::{BenchRun, StreamMode},
    job::{BenchJob, FUNCTIONS},
    process::{start_idle, terminate_process},
    rounds::run_events,
    stats::usize_to_f64,
};

/// Warm events that are counted.
const WARM_EVENTS: usize = 20;
/// How long a process may take to write its counts.
const COUNTS_TIMEOUT: Duration = Duration::from_secs(30);

/// In millions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InstructionCounts {
    /// From the start of the process to its first request for work.
    pub(crate) init: f64,
    /// For the first event.
    pub(crate) first: f64,
    /// For each later event.
    pub(crate) warm: f64,
}

/// The path of valgrind, if it is installed.
pub(crate) async fn find_valgrind() -> Option<PathBuf> {
    let found = Command::new("sh").args(["-c", "command -v valgrind"]).output().await.ok()?;
    let path = String::from_utf8(found.stdout).ok()?;
    found.status.success().then(|| PathBuf::from(path.trim()))
}

/// Counts a job's instructions. `binaries` is the folder of the functions.
pub(crate) async fn count_instructions_of(
    root: &Path,
    binaries: &Path,
    valgrind: &Path,
    job: BenchJob,
) -> anyhow::Result<InstructionCounts> {
    let temp_dir = tempfile::tempdir().context("could not create a temporary directory")?;
    let counts = temp_dir.path().join("counts");
    std::fs::create_dir(&counts)?;
    let folder = wrap_with_valgrind(temp_dir.path(), binaries, valgrind, &counts, job)?;
    let bench_run = BenchRun::start("callgrind", root, &folder, StreamMode::Off, job.line_event_mode()).await?;
    let result = count_all(&bench_run, &folder, &counts, job).await;
    bench_run.stack.shutdown().await;
    result
}

async fn count_all(
    bench_run: &BenchRun,
    folder: &Path,
    counts: &Path,
    job: BenchJob,
) -> anyhow::Result<InstructionCounts> {
    let environment = bench_run.read_job_environment(job).await?;
    let one = stop_and_read_counts(bench_run, counts, job).await?;
    let warm = job.enough_events(WARM_EVENTS);
    run_events(bench_run, job, 1 + warm, |_| ()).await?;
    let more = stop_and_read_counts(bench_run, counts, job).await?;

    let mut command = Command::new(folder.join(job.function_name()));
    command.current_dir(bench_run.stack.root());
    let idle = start_idle(command, &environment).await?;
    let pid = idle.child.id().context("the process ended at once")?;
    terminate_process(pid).await?;
    let init = read_counts(counts, pid).await?;
    idle.stop().await?;
    Ok(InstructionCounts { init, first: one - init, warm: (more - one) / usize_to_f64(warm) })
}

/// Creates a folder with the functions, one of which runs under callgrind.
fn wrap_with_valgrind(
    temp_dir: &Path,
    binaries: &Path,
    valgrind: &Path,
    counts: &Path,
    job: BenchJob,
) -> anyhow::Result<PathBuf> {
    let folder = temp_dir.join("binaries");
    std::fs::create_dir(&folder)?;
    for function in FUNCTIONS {
        let (binary, path) = (binaries.join(function), folder.join(function));
        if function == job.function_name() {
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

async fn stop_and_read_counts(bench_run: &BenchRun, counts: &Path, job: BenchJob) -> anyhow::Result<f64> {
    let pid = bench_run.find_pid(job.function_name())?;
    terminate_process(pid).await?;
    let counted = read_counts(counts, pid).await?;
    // The next event is for a new process.
    bench_run.stack.functions().kill_instances(job.function_name()).await;
    Ok(counted)
}

/// Millions of instructions, from the file that callgrind writes when the process ends.
async fn read_counts(counts: &Path, pid: u32) -> anyhow::Result<f64> {
    let path = counts.join(pid.to_string());
    for _ in 0..COUNTS_TIMEOUT.as_millis() / 50 {
        if let Some(total) = std::fs::read_to_string(&path).ok().as_deref().and_then(parse_total) {
            return Ok(total / 1e6);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("callgrind wrote no counts for process {pid}")
}

/// The last line of callgrind's output: <https://valgrind.org/docs/manual/cl-format.html>.
fn parse_total(text: &str) -> Option<f64> {
    text.lines().rev().find_map(|line| line.strip_prefix("totals:")).and_then(|n| n.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_still_being_written_has_no_total() {
        assert_eq!(parse_total("events: Ir\nfn=main\n16 400\n"), None);
        assert_eq!(parse_total("events: Ir\nfn=main\n16 400\n\ntotals: 7000400\n"), Some(7_000_400.0));
    }
}
