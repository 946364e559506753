//! What a stack on this machine says about itself, in its state folder.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tellonce_core::bootstrap::{AwsClients, StartError, build_http_client};

use crate::client_tables::{ClientTables, TableNames};

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
    /// The HTTP client or the client of the tables could not be made.
    #[error("the client of the tables could not be made")]
    Client(#[from] StartError),
}

/// A stack that runs on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalStackFile {
    /// The client's folder.
    pub client: PathBuf,
    /// The address of the tables.
    pub dynamodb: String,
    /// The names of the tables.
    pub tables: TableNames,
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

    /// The tables of the stack. It accepts any credentials that are not of a function.
    pub fn connect(&self) -> Result<ClientTables, LocalStackError> {
        let aws = AwsClients::from_variables(&build_http_client()?, |name| match name {
            "AWS_REGION" => Some("eu-central-1".to_owned()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("operator".to_owned()),
            "AWS_ENDPOINT_URL_DYNAMODB" => Some(self.dynamodb.clone()),
            _ => None,
        })?;
        Ok(ClientTables::new(aws.dynamodb(), self.tables.clone()))
    }
}
