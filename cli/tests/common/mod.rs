//! The binary itself, run from the root of the repository.
#![allow(dead_code, reason = "each of the test programs uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// What a run said.
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: i32,
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs `tellonce`.
pub(crate) fn tellonce(arguments: &[&str]) -> Said {
    let run = Command::new(env!("CARGO_BIN_EXE_tellonce")).args(arguments).current_dir(root()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { out: text(run.stdout), err: text(run.stderr), code: run.status.code().unwrap() }
}

/// A client's folder, gone when dropped.
pub(crate) struct Folder {
    path: PathBuf,
    _kept: tempfile::TempDir,
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A copy of the demo client, with some files replaced or added.
pub(crate) fn client(files: &[(&str, &str)]) -> Folder {
    let kept = tempfile::tempdir().unwrap();
    let path = kept.path().join("demo");
    std::fs::create_dir(&path).unwrap();
    for name in ["client.toml", "decisions.md", "Makefile", "secrets.json"] {
        std::fs::copy(root().join("clients/demo").join(name), path.join(name)).unwrap();
    }
    for (name, text) in files {
        std::fs::write(path.join(name), text).unwrap();
    }
    Folder { path, _kept: kept }
}
