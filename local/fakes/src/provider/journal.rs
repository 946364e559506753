//! The fake's state on disk: a file with one JSON object per line, only ever appended.
//!
//! An entry is written before the response, so it survives `kill -9`. The operating system holds
//! it, so a power cut may lose it. A last line that was cut short is dropped. Any other unreadable
//! line is an error. Line tokens are never written.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::{FakeSettings, PhoneMessage, RegisteredWebhook};

/// One change of the fake's state.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum JournalEntry {
    /// A message was queued, or the customer wrote one. `fingerprint` is the SHA-256 of the
    /// request's bytes.
    Message { message: Box<PhoneMessage>, fingerprint: Option<String> },
    /// The line's own phone had the message before the customer's phone (unix milliseconds).
    Observed { id: String, at: i64 },
    /// A queued message reached the phone (unix milliseconds).
    Delivered { id: String, at: i64 },
    /// The customer's phone reported a status.
    Status { id: String, status: String },
    /// A customer's phone was switched off or on.
    Silent { contact: String, silent: bool },
    /// The settings after a change.
    Settings(Box<FakeSettings>),
    /// A webhook was registered or redirected.
    Webhook(RegisteredWebhook),
}

#[derive(Debug)]
pub(super) struct FakeJournal {
    file: File,
}

impl FakeJournal {
    /// Opens or creates `fake-provider.jsonl` in `dir` and reads its entries.
    pub(super) fn open(dir: &Path) -> anyhow::Result<(Self, Vec<JournalEntry>)> {
        std::fs::create_dir_all(dir).with_context(|| format!("could not create the state folder {}", dir.display()))?;
        let path = dir.join("fake-provider.jsonl");
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .with_context(|| format!("could not open {}", path.display()))?;
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(|| format!("could not read {}", path.display()))?;
        let complete_length = text.rfind('\n').map_or(0, |end| end + 1);
        if complete_length < text.len() {
            // The process died during the write, so no caller got a response for this line.
            file.set_len(complete_length as u64).with_context(|| format!("could not repair {}", path.display()))?;
        }
        let entries = parse_entries(&text[..complete_length], &path)?;
        Ok((Self { file }, entries))
    }

    pub(super) fn append(&mut self, entry: &JournalEntry) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.file.write_all(&line).context("could not write the fake's journal")
    }

    pub(super) fn wipe(&mut self) -> anyhow::Result<()> {
        self.file.set_len(0).context("could not empty the fake's journal")?;
        self.file.seek(SeekFrom::Start(0))?;
        Ok(())
    }
}

fn parse_entries(text: &str, path: &Path) -> anyhow::Result<Vec<JournalEntry>> {
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        match serde_json::from_str(line) {
            Ok(entry) => entries.push(entry),
            Err(error) => bail!(
                "{} line {} is unreadable ({error}); delete the file or start with --fresh, which removes the fake phone's history",
                path.display(),
                number + 1
            ),
        }
    }
    Ok(entries)
}
