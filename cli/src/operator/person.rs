//! What `person export` and `person forget` write: files that only their owner may read.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::Value;
use tellonce_ops::{ForgetReceipt, PersonExport};

use crate::{people_time::PeopleTime, private_file::create_private_file};

/// Attributes that say nothing to a customer: they serve tellonce's own work.
const INTERNAL: [&str; 12] = [
    "contact",
    "due_queue",
    "lease_until",
    "owner",
    "precedence",
    "rank",
    "record_version",
    "stage",
    "subject",
    "supersedes",
    "ttl",
    "version",
];

/// Where an export goes.
pub(super) enum ExportTarget {
    /// A new file.
    File(File),
    /// The terminal.
    Terminal,
}

impl ExportTarget {
    /// Makes the file before anything is read: an export that cannot be written is not made.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") { Ok(Self::Terminal) } else { Ok(Self::File(create_private_file(path)?)) }
    }

    /// Writes an export. Returns what the terminal shows.
    pub(super) fn write(
        self,
        export: &PersonExport,
        path: &Path,
        as_words: bool,
        time: &PeopleTime<'_>,
    ) -> anyhow::Result<String> {
        let content = if as_words { render_words(export, time)? } else { serde_json::to_string_pretty(export)? + "\n" };
        let Self::File(mut file) = self else { return Ok(content) };
        file.write_all(content.as_bytes()).with_context(|| format!("could not write {}", path.display()))?;
        let (mut text, all) = (render_counts(export)?, export.entries.len());
        writeln!(text, "Wrote {all} items to {}. They are personal data: delete the file afterwards.", path.display())?;
        Ok(text)
    }
}

/// The file of a receipt, which is made before anything is erased.
pub(super) struct ReceiptFile {
    file: File,
    path: PathBuf,
}

impl ReceiptFile {
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        Ok(Self { file: create_private_file(path)?, path: path.to_owned() })
    }

    /// Writes the receipt. The error holds it, because an erasure cannot be repeated.
    pub(super) fn write(mut self, receipt: &ForgetReceipt) -> anyhow::Result<()> {
        let content = serde_json::to_string_pretty(receipt)? + "\n";
        self.file.write_all(content.as_bytes()).with_context(|| {
            format!("could not write the receipt to {}, so keep it from here:\n{content}", self.path.display())
        })
    }

    /// Deletes the empty file of a command that failed, so that the command can be repeated.
    pub(super) fn discard(self) -> anyhow::Result<()> {
        std::fs::remove_file(&self.path)
            .with_context(|| format!("could not delete the empty receipt {}", self.path.display()))
    }
}

fn render_counts(export: &PersonExport) -> Result<String, std::fmt::Error> {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for entry in &export.entries {
        *counts.entry((&entry.item.kind, &entry.table)).or_default() += 1;
    }
    let mut text = String::new();
    for ((kind, table), number) in counts {
        writeln!(text, "{number:>8}  {kind} ({table})")?;
    }
    Ok(text)
}

/// The export in words, for the person who asked for it.
fn render_words(export: &PersonExport, time: &PeopleTime<'_>) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(text, "What {} stores of this person", export.client)?;
    writeln!(text, "Read {} ({}).\n", time.format(export.at), time.name)?;
    text.push_str(&render_counts(export)?);
    for entry in &export.entries {
        let at = entry.item.at.map(|at| format!(", {}", time.format(at))).unwrap_or_default();
        writeln!(text, "\n{}: {}{at}", entry.item.kind, entry.item.key)?;
        write_value(&mut text, entry.data(), 1)?;
    }
    Ok(text)
}

/// The members of a document, one a line.
fn write_value(text: &mut String, value: &Value, depth: usize) -> std::fmt::Result {
    let indent = "  ".repeat(depth);
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(list) => {
            list.iter().enumerate().map(|(number, value)| ((number + 1).to_string(), value)).collect()
        }
        Value::Null => return Ok(()),
        other => return writeln!(text, "{indent}{}", to_line(other)),
    };
    for (name, value) in members.iter().filter(|(name, _)| depth > 1 || !INTERNAL.contains(&name.as_str())) {
        match value {
            Value::Null => {}
            Value::Object(_) | Value::Array(_) => {
                writeln!(text, "{indent}{name}:")?;
                write_value(text, value, depth + 1)?;
            }
            other => writeln!(text, "{indent}{name}: {}", to_line(other))?,
        }
    }
    Ok(())
}

fn to_line(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| text.replace('\n', " "))
}
