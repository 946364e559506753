//! Runs the binary from the root of the repository.
#![allow(dead_code, reason = "each test program uses only some of these helpers")]
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

pub(crate) struct CliRun {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

pub(crate) fn repository_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn run_tellonce(arguments: &[&str]) -> CliRun {
    let run =
        Command::new(env!("CARGO_BIN_EXE_tellonce")).args(arguments).current_dir(repository_root()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    CliRun { stdout: text(run.stdout), stderr: text(run.stderr), code: run.status.code().unwrap() }
}

/// A client's folder, deleted when dropped.
pub(crate) struct ClientFolder {
    path: PathBuf,
    _temp_dir: tempfile::TempDir,
}

impl ClientFolder {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A copy of the demo client, with some files replaced or added.
pub(crate) fn copy_demo_client(files: &[(&str, &str)]) -> ClientFolder {
    let temp_dir = tempfile::tempdir().unwrap();
    let path = temp_dir.path().join("demo");
    std::fs::create_dir(&path).unwrap();
    for name in ["client.toml", "decisions.md", "Makefile", "secrets.json"] {
        std::fs::copy(repository_root().join("clients/demo").join(name), path.join(name)).unwrap();
    }
    for (name, text) in files {
        std::fs::write(path.join(name), text).unwrap();
    }
    ClientFolder { path, _temp_dir: temp_dir }
}
