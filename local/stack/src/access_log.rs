//! The access log of the API: one line for each request, as the template's `AccessLogSettings`
//! describe it.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Arc, Mutex},
};

use anyhow::Context as _;
use serde_json::json;

use crate::clock::LocalClock;

/// The file in the folder of the functions' logs, without `.log`.
pub(crate) const NAME: &str = "api";

/// The open file.
#[derive(Debug)]
pub(crate) struct AccessLog {
    clock: Arc<LocalClock>,
    file: Mutex<File>,
}

impl AccessLog {
    pub(crate) fn open(folder: &Path, clock: Arc<LocalClock>) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
        let path = folder.join(NAME).with_extension("log");
        let file = File::options().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("could not write {}", path.display()))?;
        Ok(Self { clock, file: Mutex::new(file) })
    }

    /// Adds a request. `route` is its key, such as `POST /stores/{store}`, or `-`. API Gateway
    /// writes numbers as texts, because the format of the template quotes them.
    pub(crate) fn add_request(&self, route: &str, status: u16) {
        let line = json!({"route": route, "status": status.to_string()});
        let mut file = tellonce_fakes::lock_mutex(&self.file);
        if let Err(error) = writeln!(file, "{} 0 {line}", self.clock.now_ms()) {
            tracing::warn!("could not write the access log: {error}");
        }
    }
}
