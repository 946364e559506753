//! What a command prints.

use std::{
    io::{ErrorKind, Write as _},
    process::ExitCode,
};

/// What a command prints, and its exit code.
pub(crate) struct CommandOutput {
    pub(crate) text: String,
    pub(crate) code: ExitCode,
}

impl CommandOutput {
    pub(crate) fn from_text(text: String) -> Self {
        Self { text, code: ExitCode::SUCCESS }
    }

    /// A reader that stops early (`| head`) is not an error.
    pub(crate) fn print(self) -> anyhow::Result<ExitCode> {
        match std::io::stdout().lock().write_all(self.text.as_bytes()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(self.code),
        }
    }
}
