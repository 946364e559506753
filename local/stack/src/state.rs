//! The files that a stack keeps over restarts. One stack at a time uses a folder.

use std::{
    fs::{File, TryLockError},
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use tellonce_ops::LocalStackFile;

/// The files of a stack in its state folder. `--fresh` removes these and nothing else.
const OWNED_FILES: [&str; 13] = [
    "activity.jsonl",
    "dynamo.db",
    "dynamo.db-wal",
    "dynamo.db-shm",
    "streams.json",
    "failures.jsonl",
    "calendars.json",
    "leads.json",
    "crms.json",
    "alerts.json",
    "clock",
    "stack.json",
    "logs",
];

/// The files of a stack, in a folder that stays or in a temporary one.
#[derive(Debug)]
pub(crate) struct StateFolder {
    folder: PathBuf,
    persistent: bool,
    /// Held while the stack runs. The system releases it when the process ends in any way.
    lock: Option<File>,
    _temporary: Option<tempfile::TempDir>,
}

impl StateFolder {
    /// Opens `folder`, or a temporary one that is removed with the stack.
    pub(crate) fn open(folder: Option<&Path>, fresh: bool) -> anyhow::Result<Self> {
        let Some(folder) = folder else {
            let temporary = tempfile::tempdir().context("could not create a temporary directory")?;
            let folder = temporary.path().to_owned();
            return Ok(Self { folder, persistent: false, lock: None, _temporary: Some(temporary) });
        };
        std::fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
        // Function processes have another working directory, so their paths must be absolute.
        let folder = folder.canonicalize().with_context(|| format!("could not find {}", folder.display()))?;
        let lock = take_lock(&folder)?;
        if fresh {
            for name in OWNED_FILES {
                let path = folder.join(name);
                let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
                match removed {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        return Err(e).with_context(|| format!("could not remove {}", path.display()));
                    }
                    _ => {}
                }
            }
        }
        Ok(Self { folder, persistent: true, lock: Some(lock), _temporary: None })
    }

    /// The path of one of the stack's files.
    pub(crate) fn file_path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The path of a file that is kept over restarts; `None` in a temporary folder.
    pub(crate) fn persistent_path(&self, name: &str) -> Option<PathBuf> {
        self.persistent.then(|| self.file_path(name))
    }

    /// The folder; `None` if it is temporary.
    pub(crate) fn persistent_folder(&self) -> Option<&Path> {
        self.persistent.then_some(self.folder.as_path())
    }

    /// Lets another stack use the folder.
    pub(crate) fn release(&self) {
        if let Some(Err(e)) = self.lock.as_ref().map(File::unlock) {
            tracing::warn!("could not release {}: {e}", self.folder.display());
        }
    }
}

fn take_lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join(LocalStackFile::LOCK_NAME);
    let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    let mut file = file.with_context(|| format!("could not write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let who = if file.read_to_string(&mut pid).is_ok() && !pid.is_empty() {
                format!(" (pid {pid})")
            } else {
                String::new()
            };
            bail!(
                "{} is used by another local stack{who}: stop that, or choose another folder with --state DIR",
                folder.display()
            );
        }
        Err(TryLockError::Error(e)) => return Err(e).with_context(|| format!("could not lock {}", path.display())),
    }
    std::fs::write(&path, std::process::id().to_string())
        .with_context(|| format!("could not write {}", path.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_serves_one_stack_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateFolder::open(Some(dir.path()), false).unwrap();
        let error = StateFolder::open(Some(dir.path()), false).unwrap_err().to_string();
        assert!(error.contains("another local stack") && error.contains("--state"), "{error}");
        first.release();
        StateFolder::open(Some(dir.path()), false).unwrap();
    }

    #[test]
    fn fresh_removes_the_files_of_the_stack_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("clock"), "5").unwrap();
        std::fs::write(dir.path().join("mine.txt"), "keep").unwrap();
        let state = StateFolder::open(Some(dir.path()), true).unwrap();
        assert!(!state.file_path("clock").exists());
        assert!(state.file_path("mine.txt").exists());
    }
}
