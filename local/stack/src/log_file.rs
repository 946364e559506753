//! The file of a log: a line for each event, with its time and the process that wrote it.

use std::{fs::File, io::Write as _, path::Path};

use anyhow::Context as _;

/// An open file, to whose end lines are added.
#[derive(Debug)]
pub(crate) struct LogFile {
    name: String,
    file: File,
}

impl LogFile {
    /// Opens the file `{name}.log` in a folder, and makes both if they are missing.
    pub(crate) fn open(folder: &Path, name: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
        let path = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("could not write {}", path.display()))?;
        Ok(Self { name: name.to_owned(), file })
    }

    /// Adds a line. `at_ms` is in unix milliseconds; `pid` is 0 if no process of a function wrote
    /// it.
    pub(crate) fn add_line(&mut self, at_ms: i64, pid: u32, text: &str) {
        if let Err(e) = writeln!(self.file, "{at_ms} {pid} {text}") {
            tracing::warn!("could not write the log of {}: {e}", self.name);
        }
    }
}
