//! The access log of the API: one line for each request, as the template's `AccessLogSettings`
//! describe it.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use serde_json::json;

use crate::{clock::LocalClock, log_file::LogFile};

/// The name of its file beside the logs of the functions, without `.log`.
pub(crate) const NAME: &str = "api";

/// The open log.
#[derive(Debug)]
pub(crate) struct AccessLog {
    clock: Arc<LocalClock>,
    file: Mutex<LogFile>,
}

impl AccessLog {
    pub(crate) fn open(folder: &Path, clock: Arc<LocalClock>) -> anyhow::Result<Self> {
        Ok(Self { clock, file: Mutex::new(LogFile::open(folder, NAME)?) })
    }

    /// Adds a request. `route` is its key, such as `POST /stores/{store}`, or `-`. API Gateway
    /// writes numbers as texts, because the format of the template quotes them.
    pub(crate) fn add_request(&self, route: &str, status: u16) {
        let line = json!({"route": route, "status": status.to_string()}).to_string();
        tellonce_fakes::lock_mutex(&self.file).add_line(self.clock.now_ms(), 0, &line);
    }
}
