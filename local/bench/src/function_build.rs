//! Builds the functions before the measurement.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use clap::ValueEnum;

use crate::job::{FUNCTIONS, RECEIVER};

/// The cargo profile of the functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BuildProfile {
    /// Quick to build, to try the benchmark itself. The times mean nothing.
    Dev,
    /// As deployed.
    Release,
}

impl BuildProfile {
    /// Where cargo puts the binaries of this profile: beside the folder of this program.
    pub(crate) fn binaries_folder(self) -> anyhow::Result<PathBuf> {
        let own = tellonce_stack::build::binaries_folder()?;
        let target = own.parent().context("this program is not in a target folder")?;
        Ok(target.join(match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }))
    }
}

/// Builds the functions. cargo's output goes to the terminal. Does nothing if they are up to date.
///
/// The receiver is built from its own folder, as `sam build` does it, because cargo reads the
/// settings in that folder only there.
pub(crate) fn build_functions(root: &Path, profile: BuildProfile) -> anyhow::Result<()> {
    run_build(root, profile, FUNCTIONS.iter().filter(|function| **function != RECEIVER))?;
    run_build(&root.join("functions").join(RECEIVER), profile, [&RECEIVER])
}

#[expect(clippy::disallowed_methods, reason = "cargo passes values to its programs in their environment")]
fn run_build<'a>(
    folder: &Path,
    profile: BuildProfile,
    functions: impl IntoIterator<Item = &'a &'a str>,
) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.arg("build").current_dir(folder);
    if profile == BuildProfile::Release {
        command.arg("--release");
    }
    for function in functions {
        command.args(["--bin", function]);
    }
    // cargo's variables about this program must not reach the build scripts of other crates.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|part| text.starts_with(part)) {
            command.env_remove(&name);
        }
    }
    let status = command.status().context("could not run cargo; use --no-build to measure existing binaries")?;
    ensure!(status.success(), "the build failed ({status})");
    Ok(())
}
