//! Builds the functions before they are measured.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use clap::ValueEnum;

use crate::job::FUNCTIONS;

/// How the functions are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BuildProfile {
    /// Quick to build; its times mean nothing. For trying the benchmark itself.
    Dev,
    /// As deployed.
    Release,
}

impl BuildProfile {
    /// Where cargo puts the binaries of this profile: beside the folder that this program is in.
    pub(crate) fn binaries_folder(self) -> anyhow::Result<PathBuf> {
        let own = tellonce_stack::build::binaries_folder()?;
        let target = own.parent().context("this program is not in a target folder")?;
        Ok(target.join(match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }))
    }
}

/// Builds the functions; cargo's output goes to the terminal. Nothing happens where they are up to date.
#[expect(clippy::disallowed_methods, reason = "cargo speaks to the programs it runs through their environment")]
pub(crate) fn build_functions(root: &Path, profile: BuildProfile) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.arg("build").current_dir(root);
    if profile == BuildProfile::Release {
        command.arg("--release");
    }
    for function in FUNCTIONS {
        command.args(["--bin", function]);
    }
    // what the outer cargo says about this program must not reach the build scripts of others
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|part| text.starts_with(part)) {
            command.env_remove(&name);
        }
    }
    let status = command.status().context("can't run cargo; --no-build measures binaries that are there already")?;
    ensure!(status.success(), "the build failed ({status})");
    Ok(())
}
