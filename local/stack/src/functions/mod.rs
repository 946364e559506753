//! The functions: the deployed binaries, each process behind its own Runtime API endpoint.
//!
//! Main types: [`FunctionPool`] starts processes when needed and keeps them warm.
//!
//! A caller gets what Lambda promises: one invocation at a time per process, a response or an
//! error, an end at the timeout, and a new process after a crash. Differences: no memory or CPU
//! limit, no freezing between invocations. If all instances are busy, a caller waits and is not
//! throttled.

mod instance;
mod invoke_error;
mod logs;
mod runtime_api;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Semaphore;

pub use invoke_error::InvokeError;
pub use logs::{LogLine, LogSource};

use crate::{ACCOUNT, REGION, metrics::MetricLog, template};
use instance::{FunctionInstance, LaunchConfig};
use logs::FunctionLog;
use runtime_api::PendingInvocation;
pub(crate) use runtime_api::build_trace_id;

/// How often a function was invoked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct InvocationCounts {
    /// Begun since the start of the stack.
    pub started: u64,
    /// Ended with a response.
    pub succeeded: u64,
    /// Ended with an error, a crash or a timeout.
    pub failed: u64,
    /// Running or waiting for an instance now.
    pub running: u64,
    /// Processes started.
    pub cold_starts: u64,
}

/// How the functions of a stack are run.
#[derive(Debug)]
pub(crate) struct FunctionSetup<'a> {
    /// Where the binaries are.
    pub(crate) binaries: &'a Path,
    /// Working directory of the processes.
    pub(crate) directory: &'a Path,
    /// Where the logs go.
    pub(crate) logs: &'a Path,
    /// Where the metrics in the log lines go.
    pub(crate) metrics: &'a Arc<MetricLog>,
    /// Processes per function.
    pub(crate) max_instances: usize,
    /// Real time that a process gets beyond its timeout.
    pub(crate) spare_time: Duration,
}

/// All functions of a stack, by name.
#[derive(Debug)]
pub struct FunctionPool {
    by_name: BTreeMap<String, Arc<PooledFunction>>,
    stopping: AtomicBool,
}

/// One function and its instances.
#[derive(Debug)]
struct PooledFunction {
    name: String,
    timeout: Duration,
    spare_time: Duration,
    launch_config: LaunchConfig,
    logs: Arc<FunctionLog>,
    /// One permit per instance that may run.
    permits: Semaphore,
    idle: Mutex<Vec<Arc<FunctionInstance>>>,
    instances: Mutex<Vec<Weak<FunctionInstance>>>,
    started: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    cold_starts: AtomicU64,
}

impl FunctionPool {
    /// Prepares every function. A process starts with the first invocation. `env` builds an
    /// environment.
    pub(crate) fn prepare(
        functions: &[template::TemplateFunction],
        setup: &FunctionSetup<'_>,
        env: impl Fn(&template::TemplateFunction) -> BTreeMap<String, String>,
    ) -> anyhow::Result<Self> {
        let mut all = BTreeMap::new();
        for function in functions {
            let recipe = LaunchConfig {
                binary: setup.binaries.join(&function.name),
                directory: setup.directory.to_owned(),
                env: env(function).into_iter().collect(),
            };
            let function = PooledFunction {
                name: function.name.clone(),
                timeout: function.timeout,
                spare_time: setup.spare_time,
                launch_config: recipe,
                logs: Arc::new(FunctionLog::open(setup.logs, &function.name, setup.metrics.clone())?),
                permits: Semaphore::new(setup.max_instances.max(1)),
                idle: Mutex::default(),
                instances: Mutex::default(),
                started: AtomicU64::new(0),
                succeeded: AtomicU64::new(0),
                failed: AtomicU64::new(0),
                cold_starts: AtomicU64::new(0),
            };
            all.insert(function.name.clone(), Arc::new(function));
        }
        Ok(Self { by_name: all, stopping: AtomicBool::new(false) })
    }

    /// Names of the functions.
    pub fn list_names(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }

    /// The binaries that do not exist.
    pub(crate) fn missing_binaries(&self) -> Vec<PathBuf> {
        self.by_name.values().map(|f| f.launch_config.binary.clone()).filter(|path| !path.is_file()).collect()
    }

    /// Invokes a function and waits for its response.
    ///
    /// The invocation runs to its end even if the caller stops waiting.
    pub async fn invoke(&self, name: &str, payload: Bytes) -> Result<Bytes, InvokeError> {
        self.invoke_with_id(name, tellonce_fakes::generate_id(), payload).await
    }

    /// As [`Self::invoke`], with the id of the invocation.
    pub(crate) async fn invoke_with_id(&self, name: &str, id: String, payload: Bytes) -> Result<Bytes, InvokeError> {
        let function = self.by_name.get(name).ok_or_else(|| InvokeError::Unknown(name.to_owned()))?.clone();
        if self.stopping.load(Ordering::SeqCst) {
            return Err(InvokeError::Stopping);
        }
        // Counted before the first await, so that `drain` sees it.
        function.started.fetch_add(1, Ordering::SeqCst);
        let running = tokio::spawn(async move {
            let result = function.run_invocation(id, payload).await;
            match &result {
                Ok(_) => &function.succeeded,
                Err(e) => {
                    tracing::debug!("{} failed: {e}", function.name);
                    &function.failed
                }
            }
            .fetch_add(1, Ordering::SeqCst);
            result
        });
        running.await.unwrap_or_else(|e| Err(InvokeError::Crashed(e.to_string())))
    }

    /// As [`Self::invoke`], with a JSON payload and response.
    pub async fn invoke_json(&self, name: &str, payload: &Value) -> Result<Value, InvokeError> {
        let response = self.invoke(name, payload.to_string().into()).await?;
        if response.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&response).map_err(|e| InvokeError::Function {
            kind: "Runtime.InvalidResponse".to_owned(),
            message: format!("its response is not JSON: {e}"),
        })
    }

    /// How often a function was invoked; zeros for an unknown function.
    pub fn invocation_counts(&self, name: &str) -> InvocationCounts {
        self.by_name.get(name).map(|function| function.invocation_counts()).unwrap_or_default()
    }

    /// A number that changes with every step of an invocation and every log line.
    pub(crate) fn change_count(&self) -> u64 {
        let count = |function: &Arc<PooledFunction>| {
            let InvocationCounts { started, succeeded, failed, cold_starts, .. } = function.invocation_counts();
            started + succeeded + failed + cold_starts + function.logs.line_count()
        };
        self.by_name.values().map(count).sum()
    }

    /// Invocations of all functions that run or wait now.
    pub fn running_invocations(&self) -> u64 {
        self.by_name.values().map(|function| function.invocation_counts().running).sum()
    }

    /// The last log lines of a function, oldest first. After an invocation all lines are there that
    /// the function printed before its response.
    pub fn log_lines(&self, name: &str) -> Vec<LogLine> {
        self.by_name.get(name).map(|function| function.logs.lines()).unwrap_or_default()
    }

    /// Process ids of a function's living instances.
    pub fn running_pids(&self, name: &str) -> Vec<u32> {
        let Some(function) = self.by_name.get(name) else { return Vec::new() };
        function.living_instances().iter().filter_map(|instance| instance.pid()).collect()
    }

    /// Sends SIGKILL to every instance of a function, waits for their end and returns their number.
    ///
    /// Their invocations fail. The next invocation starts a new process.
    pub async fn kill_instances(&self, name: &str) -> usize {
        let Some(function) = self.by_name.get(name) else { return 0 };
        let living = function.living_instances();
        for instance in &living {
            instance.kill();
        }
        for instance in &living {
            instance.wait_for_end().await;
        }
        living.len()
    }

    /// Lets every function have new processes, as a deployment does: a process that runs an
    /// invocation ends after it, and the others end now.
    pub(crate) fn replace_instances(&self) {
        self.by_name.keys().for_each(|name| self.replace_instances_of(name));
    }

    /// The same for one function, as a change of its settings does.
    pub(crate) fn replace_instances_of(&self, name: &str) {
        if let Some(function) = self.by_name.get(name) {
            function.living_instances().iter().for_each(|instance| instance.retire());
            tellonce_fakes::lock_mutex(&function.idle).retain(|instance| instance.is_usable());
        }
    }

    /// Refuses further invocations and ends every process.
    pub(crate) async fn stop_all(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        for name in self.by_name.keys() {
            self.kill_instances(name).await;
        }
    }
}

impl PooledFunction {
    fn invocation_counts(&self) -> InvocationCounts {
        let (succeeded, failed) = (self.succeeded.load(Ordering::SeqCst), self.failed.load(Ordering::SeqCst));
        // Read last: an invocation that ends meanwhile counts as running and is not missed.
        let started = self.started.load(Ordering::SeqCst);
        InvocationCounts {
            started,
            succeeded,
            failed,
            running: started.saturating_sub(succeeded + failed),
            cold_starts: self.cold_starts.load(Ordering::SeqCst),
        }
    }

    fn living_instances(&self) -> Vec<Arc<FunctionInstance>> {
        let mut held = tellonce_fakes::lock_mutex(&self.instances);
        held.retain(|instance| instance.strong_count() > 0);
        held.iter().filter_map(Weak::upgrade).filter(|instance| instance.is_alive()).collect()
    }

    fn take_idle(&self) -> Option<Arc<FunctionInstance>> {
        let mut idle = tellonce_fakes::lock_mutex(&self.idle);
        while let Some(instance) = idle.pop() {
            // One that is not ends when it is dropped here.
            if instance.is_usable() {
                return Some(instance);
            }
        }
        None
    }

    async fn run_invocation(&self, id: String, payload: Bytes) -> Result<Bytes, InvokeError> {
        let _permit = self.permits.acquire().await.map_err(|_| InvokeError::Stopping)?;
        let instance = if let Some(instance) = self.take_idle() {
            instance
        } else {
            self.cold_starts.fetch_add(1, Ordering::SeqCst);
            let instance = FunctionInstance::start(&self.launch_config, &self.logs).await?;
            tellonce_fakes::lock_mutex(&self.instances).push(Arc::downgrade(&instance));
            instance
        };
        let timeout_ms = i64::try_from(self.timeout.as_millis()).unwrap_or(i64::MAX);
        let work = PendingInvocation {
            id,
            payload,
            deadline_ms: tellonce_fakes::system_now_ms().saturating_add(timeout_ms),
            arn: format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", self.name),
        };
        let result = instance.invoke(work, self.timeout + self.spare_time).await;
        if instance.is_usable() {
            tellonce_fakes::lock_mutex(&self.idle).push(instance);
        }
        result
    }
}

#[cfg(test)]
pub(crate) mod child;
#[cfg(test)]
mod tests;
