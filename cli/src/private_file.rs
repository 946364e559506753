//! New files that only their owner may read.

use std::{
    fs::{File, OpenOptions},
    path::Path,
};

use anyhow::Context as _;

/// Makes a file that only its owner may read. A file of this name is not replaced.
pub(crate) fn create_private_file(path: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).with_context(|| format!("could not make the new file {}", path.display()))
}
