//! What a stack on this machine says about itself, in its state folder.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The file in the state folder, while the stack runs.
const FILE_NAME: &str = "stack.json";

/// A stack on this machine cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum LocalStackError {
    /// No stack runs with this folder.
    #[error("no stack runs with the state folder {0}; start one with `cargo run`, or name its folder with --state")]
    NotRunning(PathBuf),
    /// Several stacks run, each with a folder below this one.
    #[error("several stacks run below {}; choose one with --state: {}", .0.display(), list_paths(.1))]
    SeveralRun(PathBuf, Vec<PathBuf>),
    /// The file cannot be read or written.
    #[error("{path} could not be read or written")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is of another version.
    #[error("{path} is not of this version of tellonce; restart the stack")]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// A stack that runs on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalStackFile {
    /// The client's folder.
    pub client: PathBuf,
    /// The file with the time that the stack's clock is ahead of the system's.
    pub clock: PathBuf,
    /// Where the stack answers in place of AWS.
    pub endpoints: LocalEndpoints,
}

/// The addresses of the AWS services of a stack on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalEndpoints {
    pub(crate) dynamodb: String,
    pub(crate) secrets_manager: String,
    pub(crate) lambda: String,
    pub(crate) sqs: String,
    pub(crate) sts: String,
    pub(crate) logs: String,
    pub(crate) cloudwatch: String,
    /// Where senders post to, without the path of a route.
    #[serde(default)]
    pub(crate) gateway: Option<String>,
    /// The fake provider.
    #[serde(default)]
    pub(crate) provider: Option<String>,
}

impl LocalEndpoints {
    /// The tables, the secrets, and one server for functions, queue, identity, logs and
    /// metrics.
    pub fn new(dynamodb: String, secrets_manager: String, others: &str) -> Self {
        let others = || others.to_owned();
        Self {
            dynamodb,
            secrets_manager,
            lambda: others(),
            sqs: others(),
            sts: others(),
            logs: others(),
            cloudwatch: others(),
            gateway: None,
            provider: None,
        }
    }

    /// The same with the addresses that senders post to and that lines belong to.
    #[must_use]
    pub fn with_addresses(self, gateway: String, provider: String) -> Self {
        Self { gateway: Some(gateway), provider: Some(provider), ..self }
    }
}

impl LocalStackFile {
    /// The file in the state folder that a stack locks while it runs.
    pub const LOCK_NAME: &str = "lock";

    /// Writes the file of a stack that starts.
    pub fn write(&self, state: &Path) -> Result<(), LocalStackError> {
        let path = state.join(FILE_NAME);
        let written = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        let written = written.and_then(|text| std::fs::write(&path, text));
        written.map_err(|source| LocalStackError::File { path, source })
    }

    /// Removes the file of a stack that ends.
    pub fn remove(state: &Path) -> Result<(), LocalStackError> {
        let path = state.join(FILE_NAME);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(LocalStackError::File { path, source }),
            _ => Ok(()),
        }
    }

    /// Reads the file of the stack that runs with this state folder, or with a folder in it:
    /// `cargo run` uses `.local/<client>`.
    pub fn read(state: &Path) -> Result<Self, LocalStackError> {
        if state.join(FILE_NAME).is_file() {
            return Self::read_folder(state);
        }
        match find_running(state).as_slice() {
            [only] => Self::read_folder(only),
            [] => Err(LocalStackError::NotRunning(state.to_owned())),
            several => Err(LocalStackError::SeveralRun(state.to_owned(), several.to_vec())),
        }
    }

    fn read_folder(state: &Path) -> Result<Self, LocalStackError> {
        let path = state.join(FILE_NAME);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(LocalStackError::NotRunning(state.to_owned()));
            }
            Err(source) => return Err(LocalStackError::File { path, source }),
        };
        serde_json::from_slice(&text).map_err(|source| LocalStackError::OtherVersion { path, source })
    }
}

/// The folders in `states` with which a stack runs, in the order of their names.
fn find_running(states: &Path) -> Vec<PathBuf> {
    let folders = states.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut running: Vec<PathBuf> = folders.filter(|folder| is_running(folder)).collect();
    running.sort();
    running
}

/// Whether a stack runs with this folder. One that was killed leaves its files, and no lock.
fn is_running(state: &Path) -> bool {
    let is_locked = |file: File| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    state.join(FILE_NAME).is_file() && File::open(state.join(LocalStackFile::LOCK_NAME)).is_ok_and(is_locked)
}

fn list_paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder as a running stack leaves it. The stack runs until the lock is dropped.
    fn run_stack(state: &Path) -> (LocalStackFile, File) {
        std::fs::create_dir_all(state).unwrap();
        let lock = File::create(state.join(LocalStackFile::LOCK_NAME)).unwrap();
        lock.lock().unwrap();
        let endpoint = "http://127.0.0.1:1";
        let file = LocalStackFile {
            client: state.to_owned(),
            clock: state.join("clock"),
            endpoints: LocalEndpoints::new(endpoint.to_owned(), endpoint.to_owned(), endpoint),
        };
        file.write(state).unwrap();
        (file, lock)
    }

    #[test]
    fn the_only_stack_that_runs_is_found_and_one_of_several_is_not_guessed() {
        let states = tempfile::tempdir().unwrap();
        let read = || LocalStackFile::read(states.path());
        assert!(matches!(read(), Err(LocalStackError::NotRunning(_))));
        let (demo, _demo_lock) = run_stack(&states.path().join("demo"));
        let (acme, acme_lock) = run_stack(&states.path().join("acme"));
        let error = read().unwrap_err().to_string();
        assert!(error.contains("choose one with --state") && error.contains("acme, "), "{error}");
        assert_eq!(LocalStackFile::read(&states.path().join("acme")).unwrap(), acme);
        drop(acme_lock);
        assert_eq!(read().unwrap(), demo, "a stack that was killed leaves its file");
    }
}
