//! What a stack on this machine says about itself, in its state folder.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file in the state folder, while the stack runs.
const FILE_NAME: &str = "stack.json";

/// A stack on this machine cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum LocalStackError {
    /// No stack runs with this folder.
    #[error("no stack runs with the state folder {0}; start one with `cargo run`, or name its folder with --state")]
    NotRunning(PathBuf),
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
}

impl LocalEndpoints {
    /// The tables, the secrets, and one server for functions, queue and identity.
    pub fn new(dynamodb: String, secrets_manager: String, others: &str) -> Self {
        let others = || others.to_owned();
        Self { dynamodb, secrets_manager, lambda: others(), sqs: others(), sts: others() }
    }
}

impl LocalStackFile {
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

    /// Reads the file of the stack that runs with a state folder.
    pub fn read(state: &Path) -> Result<Self, LocalStackError> {
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
