//! One running process of a function.
//!
//! When the process ends for any reason, its current invocation fails at once. Its environment is
//! built here and has nothing of the stack's own. If the stack is killed, a process ends after its
//! current invocation: its next call to the Runtime API finds the connection closed.

use std::{
    io::{BufRead as _, PipeReader, PipeWriter, Write as _},
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::{Notify, oneshot, watch},
    task::JoinHandle,
};

use super::{
    invoke_error::InvokeError,
    logs::{FunctionLog, LogSource},
    runtime_api::{InvocationResult, PendingInvocation, RuntimeApi, RuntimePhase},
};

/// Lambda's limit for a function's start.
const INIT_LIMIT: Duration = Duration::from_secs(10);
/// What the stack writes into the pipe of a process's output to learn that all before it was read.
const MARK: &str = "\u{1}all before this was read";
/// How long the rest of the output of a process that ended is waited for.
const REST_LIMIT: Duration = Duration::from_millis(200);

/// How the processes of a function are started.
#[derive(Debug, Clone)]
pub(super) struct LaunchConfig {
    pub(super) binary: PathBuf,
    pub(super) directory: PathBuf,
    pub(super) env: Vec<(String, String)>,
}

/// A running process with its Runtime API endpoint.
#[derive(Debug)]
pub(super) struct FunctionInstance {
    api: RuntimeApi,
    pid: Option<u32>,
    kill: Arc<Notify>,
    /// How the process ended; empty while it runs.
    ended: watch::Receiver<Option<String>>,
    /// Set before the stack kills the process, so that it gets no invocation in between.
    condemned: AtomicBool,
    /// A newer process takes its place. It ends after its current invocation.
    retired: AtomicBool,
    output: Arc<ProcessOutput>,
}

impl FunctionInstance {
    pub(super) async fn start(recipe: &LaunchConfig, logs: &Arc<FunctionLog>) -> Result<Arc<Self>, InvokeError> {
        let unstartable = |e: anyhow::Error| InvokeError::Start(format!("{e:#}"));
        let api = RuntimeApi::start().map_err(unstartable)?;
        let (output_reader, output_writer) = std::io::pipe().map_err(|e| unstartable(e.into()))?;
        let stack_writer = output_writer.try_clone().map_err(|e| unstartable(e.into()))?;
        let mut command = Command::new(&recipe.binary);
        command
            .env_clear()
            .envs(recipe.env.iter().map(|(name, value)| (name, value)))
            .env("AWS_LAMBDA_RUNTIME_API", api.addr.to_string())
            .current_dir(&recipe.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::from(output_writer))
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // A separate process group: Ctrl-C goes to the stack, which then ends its functions.
        #[cfg(unix)]
        command.process_group(0);
        let child = command
            .spawn()
            .with_context(|| {
                format!("could not start {} (build it with `cargo build --workspace --bins`)", recipe.binary.display())
            })
            .map_err(unstartable)?;
        // The command has a writing end of the pipe.
        drop(command);
        let pid = child.id();
        let output = Arc::new(ProcessOutput::collect(output_reader, stack_writer, pid.unwrap_or_default(), logs));
        let (ended_tx, ended) = watch::channel(None);
        let kill = Arc::new(Notify::new());
        let instance = Arc::new(Self {
            api,
            pid,
            kill: kill.clone(),
            ended,
            condemned: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            output: output.clone(),
        });
        tokio::spawn(watch_process(child, logs.clone(), output, kill, ended_tx, Arc::downgrade(&instance)));
        instance.wait_until_ready().await?;
        Ok(instance)
    }

    async fn wait_until_ready(&self) -> Result<(), InvokeError> {
        let (mut phase, mut ended) = (self.api.phase.clone(), self.ended.clone());
        let ready = async {
            tokio::select! {
                changed = phase.wait_for(|phase| *phase != RuntimePhase::Starting) => match changed.map(|phase| phase.clone()) {
                    Ok(RuntimePhase::InitFailed(message)) => Err(InvokeError::Init(message)),
                    Ok(_) => Ok(()),
                    Err(_) => Err(InvokeError::Init("its endpoint closed".to_owned())),
                },
                how = ended.wait_for(Option::is_some) => Err(InvokeError::Init(describe_end(how.ok().and_then(|h| h.clone())))),
            }
        };
        let result = tokio::time::timeout(INIT_LIMIT, ready).await;
        let result =
            result.unwrap_or_else(|_| Err(InvokeError::Init(format!("it was not ready after {INIT_LIMIT:?}"))));
        if result.is_err() {
            self.kill();
        }
        result
    }

    /// Runs one invocation to its end. After a crash or a timeout the instance is dead. All that
    /// the process printed before its response is then in the log.
    pub(super) async fn invoke(&self, work: PendingInvocation, timeout: Duration) -> Result<Bytes, InvokeError> {
        let response =
            self.api.send_invocation(work).await.map_err(|_| InvokeError::Crashed("it had ended".to_owned()))?;
        if self.ended.borrow().is_some() {
            self.api.fail_current();
        }
        match tokio::time::timeout(timeout, response).await {
            Ok(Ok(result)) => {
                self.output.wait_until_read().await;
                match result {
                    InvocationResult::Response(body) => Ok(body),
                    InvocationResult::Error { kind, message } => Err(InvokeError::Function { kind, message }),
                }
            }
            Ok(Err(_)) => Err(InvokeError::Crashed(describe_end(self.ended.borrow().clone()))),
            Err(_) => {
                self.kill();
                Err(InvokeError::Timeout(timeout))
            }
        }
    }

    /// Sends SIGKILL.
    pub(super) fn kill(&self) {
        self.condemned.store(true, Ordering::SeqCst);
        self.kill.notify_one();
    }

    /// Lets the process get no further invocation.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    /// Whether the process may get another invocation.
    pub(super) fn is_usable(&self) -> bool {
        self.is_alive() && !self.retired.load(Ordering::SeqCst)
    }

    /// Waits until the process is gone.
    pub(super) async fn wait_for_end(&self) {
        let mut ended = self.ended.clone();
        // An error means that the watcher ended, and with it the process.
        drop(ended.wait_for(Option::is_some).await);
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.condemned.load(Ordering::SeqCst) && self.ended.borrow().is_none()
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }
}

impl Drop for FunctionInstance {
    fn drop(&mut self) {
        self.kill();
    }
}

fn describe_end(how: Option<String>) -> String {
    how.unwrap_or_else(|| "it ended".to_owned())
}

async fn watch_process(
    mut child: Child,
    logs: Arc<FunctionLog>,
    output: Arc<ProcessOutput>,
    kill: Arc<Notify>,
    ended: watch::Sender<Option<String>>,
    instance: std::sync::Weak<FunctionInstance>,
) {
    let pid = child.id().unwrap_or_default();
    let err = child.stderr.take().map(|pipe| collect_errors(pipe, pid, &logs));
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            () = kill.notified() => if let Err(e) = child.start_kill() {
                tracing::warn!("could not kill process {pid}: {e}");
            },
        }
    };
    // Lines still in the pipes belong to the log. A grandchild may hold a pipe open: the wait is
    // limited.
    drop(tokio::time::timeout(REST_LIMIT, output.wait_until_read()).await);
    if let Some(reader) = err {
        drop(tokio::time::timeout(REST_LIMIT, reader).await);
    }
    let how = match status {
        Ok(status) => format!("its process ended: {status}"),
        Err(e) => format!("could not watch its process: {e}"),
    };
    logs.add_line(LogSource::Stack, pid, &how);
    ended.send_replace(Some(how));
    if let Some(instance) = instance.upgrade() {
        instance.api.fail_current();
    }
}

/// The standard output of a process, which a thread reads into the log.
///
/// A process prints before it responds, so its lines are in the pipe when the stack gets the
/// response. The stack then writes [`MARK`] into the same pipe: when the thread has read the mark,
/// it has read the lines.
#[derive(Debug)]
struct ProcessOutput {
    stack_end: Mutex<StackEnd>,
}

/// The stack's own writing end of the pipe. The thread gets the channel of the waiting caller
/// before the mark is written.
#[derive(Debug)]
struct StackEnd {
    writer: PipeWriter,
    waiting: mpsc::Sender<oneshot::Sender<()>>,
}

impl ProcessOutput {
    fn collect(pipe: PipeReader, writer: PipeWriter, pid: u32, logs: &Arc<FunctionLog>) -> Self {
        let (waiting, to_notify) = mpsc::channel::<oneshot::Sender<()>>();
        let logs = logs.clone();
        std::thread::spawn(move || {
            for line in std::io::BufReader::new(pipe).lines() {
                match line {
                    Ok(line) => {
                        let (text, is_mark) =
                            line.strip_suffix(MARK).map_or((line.as_str(), false), |text| (text, true));
                        if !is_mark || !text.is_empty() {
                            logs.add_line(LogSource::Stdout, pid, text);
                        }
                        if is_mark
                            && let Ok(waiting) = to_notify.try_recv()
                            && waiting.send(()).is_err()
                        {
                            tracing::debug!("the wait for the output of {pid} was given up");
                        }
                    }
                    Err(e) => {
                        logs.add_line(LogSource::Stack, pid, &format!("unreadable output: {e}"));
                        break;
                    }
                }
            }
        });
        Self { stack_end: Mutex::new(StackEnd { writer, waiting }) }
    }

    /// Waits until all that is in the pipe now is in the log.
    async fn wait_until_read(&self) {
        let (sender, read) = oneshot::channel();
        {
            let mut end = tellonce_fakes::lock_mutex(&self.stack_end);
            if end.waiting.send(sender).is_err() || writeln!(end.writer, "{MARK}").is_err() {
                return;
            }
        }
        // An error means that the thread ended.
        drop(read.await);
    }
}

fn collect_errors(pipe: impl AsyncRead + Send + Unpin + 'static, pid: u32, logs: &Arc<FunctionLog>) -> JoinHandle<()> {
    let logs = logs.clone();
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        loop {
            match lines.next_line().await {
                Ok(Some(line)) => logs.add_line(LogSource::Stderr, pid, &line),
                Ok(None) => break,
                Err(e) => {
                    logs.add_line(LogSource::Stack, pid, &format!("unreadable output: {e}"));
                    break;
                }
            }
        }
    })
}
