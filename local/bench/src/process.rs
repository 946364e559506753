//! Figures of a process from the system, and the start of a process without work. Linux only: it
//! reads `/proc`.

use std::{ffi::OsString, net::Ipv4Addr, os::unix::ffi::OsStringExt as _, process::Stdio, time::Duration};

use anyhow::Context as _;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::Instant,
};

/// Names and values of environment variables.
pub(crate) type ProcessEnvironment = Vec<(OsString, OsString)>;

/// How long a process may take until it asks for work. Long enough for valgrind.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// `ESRCH` of Linux, which `ErrorKind` has no name for: errno(3).
const NO_SUCH_PROCESS: i32 = 3;

/// CPU time of a process so far, user and system, of all its living threads.
pub(crate) fn read_cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let folder = format!("/proc/{pid}/task");
    let mut total = Duration::ZERO;
    for thread in
        std::fs::read_dir(&folder).with_context(|| format!("could not read {folder} (the benchmark needs Linux)"))?
    {
        let path = thread?.path().join("schedstat");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            // The thread ended: before the file was opened, or between that and the read.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound || e.raw_os_error() == Some(NO_SUCH_PROCESS) => {
                continue;
            }
            Err(e) => return Err(e).with_context(|| format!("could not read {}", path.display())),
        };
        // The first number is nanoseconds on the CPU:
        // <https://docs.kernel.org/scheduler/sched-stats.html>.
        let nanoseconds = text.split_whitespace().next().and_then(|n| n.parse().ok());
        total += Duration::from_nanos(nanoseconds.with_context(|| format!("{} reads {text:?}", path.display()))?);
    }
    Ok(total)
}

/// Waits until the machine is nearly idle, at most for `limit`. Returns whether it became idle.
pub(crate) async fn wait_for_quiet(limit: Duration) -> anyhow::Result<bool> {
    let begun = Instant::now();
    loop {
        let (idle, all) = read_processor_ticks()?;
        tokio::time::sleep(Duration::from_millis(400)).await;
        let (idle_later, all_later) = read_processor_ticks()?;
        if (idle_later - idle) * 10 > (all_later - all) * 9 {
            return Ok(true);
        }
        if begun.elapsed() >= limit {
            return Ok(false);
        }
    }
}

/// Idle ticks and all ticks of the processors since the machine started: `/proc/stat`, proc(5).
fn read_processor_ticks() -> anyhow::Result<(u64, u64)> {
    let text =
        std::fs::read_to_string("/proc/stat").context("could not read /proc/stat (the benchmark needs Linux)")?;
    // user nice system idle iowait irq softirq steal. The further columns are part of these.
    let ticks = text.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8);
    let ticks: Vec<u64> =
        ticks.map(str::parse).collect::<Result<_, _>>().context("/proc/stat has an unknown format")?;
    let idle = ticks.get(3..5).context("/proc/stat has an unknown format")?.iter().sum();
    Ok((idle, ticks.iter().sum()))
}

/// The largest resident memory of a process, in MB of 1024 KB (`VmHWM`).
pub(crate) fn read_peak_memory_mb(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("could not read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: Option<f64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    Ok(kilobytes.with_context(|| format!("{path} has no VmHWM"))? / 1024.0)
}

/// The environment that a process was started with, without the address of its Runtime API.
pub(crate) fn read_environment(pid: u32) -> anyhow::Result<ProcessEnvironment> {
    let path = format!("/proc/{pid}/environ");
    let bytes = std::fs::read(&path).with_context(|| format!("could not read {path}"))?;
    Ok(bytes
        .split(|byte| *byte == 0)
        .filter_map(|entry| {
            let at = entry.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (&entry[..at], &entry[at + 1..]);
            (name != b"AWS_LAMBDA_RUNTIME_API")
                .then(|| (OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec())))
        })
        .collect())
}

/// A function that has asked for work and gets none.
pub(crate) struct IdleProcess {
    /// Start of the process to its first request for work: all of its initialisation.
    pub(crate) init: Duration,
    pub(crate) child: Child,
    _held: (TcpListener, TcpStream),
}

impl IdleProcess {
    /// Ends the process. Returns how long its initialisation took.
    pub(crate) async fn stop(mut self) -> anyhow::Result<Duration> {
        self.child.kill().await.context("could not end a process")?;
        Ok(self.init)
    }
}

/// Starts a function with a Runtime API address that accepts connections and never responds.
pub(crate) async fn start_idle(mut command: Command, environment: &ProcessEnvironment) -> anyhow::Result<IdleProcess> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    command
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr()?.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let asked = async {
        let (mut stream, _) = listener.accept().await?;
        let (mut received, mut part) = (Vec::new(), [0; 4096]);
        while !received.windows(16).any(|window| window == b"/invocation/next") {
            let length = stream.read(&mut part).await?;
            anyhow::ensure!(length > 0, "the process closed the connection before it asked for work");
            received.extend_from_slice(&part[..length]);
        }
        Ok(stream)
    };
    let begun = Instant::now();
    let child =
        command.spawn().with_context(|| format!("could not start {}", command.as_std().get_program().display()))?;
    let stream =
        tokio::time::timeout(START_TIMEOUT, asked).await.context("the process did not ask for work in time")??;
    Ok(IdleProcess { init: begun.elapsed(), child, _held: (listener, stream) })
}

/// Asks a process to end (SIGTERM), so that valgrind writes its counts.
pub(crate) async fn terminate_process(pid: u32) -> anyhow::Result<()> {
    send_signal(pid, "TERM").await
}

/// Sends a signal to a process: `STOP` pauses it until `CONT`.
pub(crate) async fn send_signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status().await?;
    anyhow::ensure!(status.success(), "could not send SIG{name} to process {pid}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_process_can_be_measured() {
        let pid = std::process::id();
        assert!(read_cpu_time(pid).unwrap() > Duration::ZERO);
        assert!(read_peak_memory_mb(pid).unwrap() > 1.0);
        assert!(read_environment(pid).unwrap().iter().any(|(name, _)| name == "PATH"));
    }

    #[test]
    fn threads_that_end_while_the_cpu_time_is_read_are_left_out() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let churn = std::thread::spawn(move || {
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(|| {})).collect();
                for thread in threads {
                    thread.join().unwrap();
                }
            }
        });
        for _ in 0..5000 {
            read_cpu_time(std::process::id()).unwrap();
        }
        drop(stop);
        churn.join().unwrap();
    }
}
