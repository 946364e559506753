//! Builds the function binaries with the very cargo that runs us.

use std::{ffi::OsString, path::Path, process::Command};

use anyhow::{Context as _, ensure};

/// The folder that holds the workspace's binaries: that of the running program, out of `deps` for tests.
pub fn binaries_folder() -> anyhow::Result<std::path::PathBuf> {
    let program = std::env::current_exe().context("can't find out where this program is")?;
    let folder = program.parent().context("this program is in no folder")?;
    let in_deps = folder.file_name().is_some_and(|name| name == "deps");
    Ok(if in_deps { folder.parent().unwrap_or(folder) } else { folder }.to_owned())
}

/// Runs `traffic build --workspace --bins` in `workspace_root`, in the profile of the running program. Its output goes to the terminal.
///
/// The whole workspace is built because building one package alone resolves to other dependency features, and so to
/// another build of the same crates.
#[expect(clippy::disallowed_methods, reason = "cargo speaks to the programs it runs through their environment")]
pub fn build_workspace(root: &Path) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(["build", "--workspace", "--bins"]).current_dir(root);
    if binaries_folder()?.file_name().is_some_and(|name| name == "release") {
        command.arg("--release");
    }
    // what the outer cargo says about this program must not reach the build scripts of others
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    let status =
        command.status().context("can't run cargo; start with --no-build if the binaries are already built")?;
    ensure!(status.success(), "the build failed ({status})");
    Ok(())
}
