//! Runs the binary from the root of the repository.
#![allow(dead_code, reason = "each test program uses only some of these helpers")]
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
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
    run_tellonce_with_input(arguments, "")
}

pub(crate) fn run_tellonce_with_input(arguments: &[&str], input: &str) -> CliRun {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tellonce"));
    command.args(arguments).current_dir(repository_root());
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A process that does not read its input may have ended.
    process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap_or_default();
    let run = process.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    CliRun { stdout: text(run.stdout), stderr: text(run.stderr), code: run.status.code().unwrap() }
}

/// A client's folder, deleted when dropped.
pub(crate) struct ClientFolder {
    path: PathBuf,
    secrets_file: PathBuf,
    _temp_dir: tempfile::TempDir,
}

impl ClientFolder {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn secrets_file(&self) -> &Path {
        &self.secrets_file
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
    ClientFolder { secrets_file: path.join("secrets.json"), path, _temp_dir: temp_dir }
}
