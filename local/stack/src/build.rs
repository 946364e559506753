//! Builds the function binaries with the cargo that runs this program.

use std::{ffi::OsString, path::Path, process::Command};

use anyhow::{Context as _, ensure};

/// The folder with the workspace's binaries: the running program's, or its parent for a test in
/// `deps`.
pub fn binaries_folder() -> anyhow::Result<std::path::PathBuf> {
    let program = std::env::current_exe().context("could not find the path of this program")?;
    let folder = program.parent().context("the path of this program has no folder")?;
    let in_deps = folder.file_name().is_some_and(|name| name == "deps");
    Ok(if in_deps { folder.parent().unwrap_or(folder) } else { folder }.to_owned())
}

/// Whether the function binaries were built before, in the profile of the running program.
pub fn has_function_binaries() -> anyhow::Result<bool> {
    Ok(binaries_folder()?.join("webhook-receiver").is_file())
}

/// Runs `cargo build --workspace --bins` in `root`, in the profile of the running program.
///
/// cargo's output goes to the terminal. The whole workspace is built, because one package alone
/// resolves other features of its dependencies and compiles them again.
#[expect(clippy::disallowed_methods, reason = "cargo passes settings to its programs in their environment")]
pub fn build_workspace(root: &Path) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(["build", "--workspace", "--bins"]).current_dir(root);
    if binaries_folder()?.file_name().is_some_and(|name| name == "release") {
        command.arg("--release");
    }
    // The outer cargo's variables describe this program and must not reach other build scripts.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    let status =
        command.status().context("could not run cargo; start with --no-build if the binaries are already built")?;
    ensure!(status.success(), "the build failed ({status})");
    Ok(())
}
