//! Output of functions on stdout and stderr: the last lines in memory, all of them in a file.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex},
};

use serde::Serialize;

use tellonce_fakes::system_now_ms;

use crate::{log_file::LogFile, metrics::MetricLog};

/// Lines kept in memory per function.
const MAX_KEPT_LINES: usize = 5000;

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogSource {
    /// The function's standard output.
    Stdout,
    /// The function's standard error.
    Stderr,
    /// The local stack, about the function's process.
    Stack,
}

/// A line of a function's log.
#[derive(Debug, Clone, Serialize)]
pub struct LogLine {
    /// Counts up from 1 within a function, so that a reader can ask for new lines.
    pub number: u64,
    /// When the stack read it, in unix milliseconds of the system clock.
    pub at_ms: i64,
    /// Who wrote it.
    pub source: LogSource,
    /// Process id of the instance.
    pub pid: u32,
    /// The line, without its end.
    pub text: String,
}

/// The log of one function.
#[derive(Debug)]
pub(super) struct FunctionLog {
    function: String,
    metrics: Arc<MetricLog>,
    state: Mutex<LogState>,
}

#[derive(Debug)]
struct LogState {
    lines: VecDeque<LogLine>,
    lines_written: u64,
    file: LogFile,
}

impl FunctionLog {
    pub(super) fn open(folder: &Path, function: &str, metrics: Arc<MetricLog>) -> anyhow::Result<Self> {
        let file = LogFile::open(folder, function)?;
        let inner = LogState { lines: VecDeque::new(), lines_written: 0, file };
        Ok(Self { function: function.to_owned(), metrics, state: Mutex::new(inner) })
    }

    pub(super) fn add_line(&self, source: LogSource, pid: u32, text: &str) {
        tracing::debug!(target: "function", "{} {pid}: {text}", self.function);
        if source == LogSource::Stdout {
            self.metrics.add_line(text);
        }
        let mut inner = tellonce_fakes::lock_mutex(&self.state);
        inner.lines_written += 1;
        let line = LogLine { number: inner.lines_written, at_ms: system_now_ms(), source, pid, text: text.to_owned() };
        inner.file.add_line(line.at_ms, pid, text);
        if inner.lines.len() == MAX_KEPT_LINES {
            inner.lines.pop_front();
        }
        inner.lines.push_back(line);
    }

    /// Lines since the start of the stack.
    pub(super) fn line_count(&self) -> u64 {
        tellonce_fakes::lock_mutex(&self.state).lines_written
    }

    pub(super) fn lines(&self) -> Vec<LogLine> {
        tellonce_fakes::lock_mutex(&self.state).lines.iter().cloned().collect()
    }
}
