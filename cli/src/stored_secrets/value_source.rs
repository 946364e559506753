//! Where a new value comes from: standard input, a file of secrets, or random numbers. Never an
//! argument, because arguments stay in the shell's history. No error shows what was read.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _},
    path::Path,
};

use anyhow::{Context as _, bail, ensure};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use tellonce_check::{NeededSecret, Severity, find_secret_problem};
use tellonce_core::{client_config::SecretPurpose, secret::Secret};

use crate::{private_file::create_private_file, secrets::made_up_token_prefix};

/// What the feeds of a new client begin with, on this machine.
const MADE_UP_FEED: &str = "https://calendar.example.com/";

/// Reads a value: hidden from a terminal, else to the end of standard input.
pub(super) fn read_value(needed: &NeededSecret) -> anyhow::Result<Secret> {
    let text = if io::stdin().is_terminal() {
        read_hidden(needed)?
    } else {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text).context("could not read the value from standard input")?;
        text
    };
    let value = Secret::new(text);
    check_value(needed, &value)?;
    Ok(value)
}

/// Asks at the terminal for a value that may be left out; `None` for an empty line.
pub(super) fn ask_for_value(needed: &NeededSecret) -> anyhow::Result<Option<Secret>> {
    let value = Secret::new(read_hidden(needed)?);
    if value.expose().is_empty() {
        return Ok(None);
    }
    check_value(needed, &value)?;
    Ok(Some(value))
}

/// Refuses a value that cannot work for its purpose, and one that `tellonce new` made up.
pub(super) fn check_value(needed: &NeededSecret, value: &Secret) -> anyhow::Result<()> {
    let (name, text) = (&needed.name, value.expose());
    ensure!(!text.trim().is_empty(), "the value for `{name}` is empty");
    let is_made_up = match needed.purpose {
        SecretPurpose::LineToken => text.starts_with(&made_up_token_prefix()),
        SecretPurpose::FeedAddress => text.starts_with(MADE_UP_FEED),
        _ => false,
    };
    ensure!(!is_made_up, "the value for `{name}` is made up, for runs on this machine; store the real one");
    match find_secret_problem(needed.purpose, text) {
        Some((Severity::Error, what, remedy)) => bail!("the value for `{name}` {what}; {remedy}"),
        Some((Severity::Warning, ..)) | None => Ok(()),
    }
}

/// Writes a value into a new file that only its owner may read.
pub(super) fn write_value(path: &Path, value: &Secret) -> anyhow::Result<()> {
    let written = writeln!(create_private_file(path)?, "{}", value.expose());
    written.with_context(|| format!("could not write the new value into {}", path.display()))
}

/// Reads from the terminal without showing it: one line, or for a JSON object all lines to Ctrl-D.
fn read_hidden(needed: &NeededSecret) -> anyhow::Result<String> {
    let is_json = matches!(needed.purpose, SecretPurpose::ServiceAccount | SecretPurpose::ZohoClient);
    let how = if is_json { "paste it, then press Enter and Ctrl-D" } else { "not shown" };
    let mut screen = io::stderr();
    write!(screen, "{} ({})\n  value ({how}): ", needed.name, needed.description)?;
    screen.flush()?;
    let input = io::stdin();
    let before = tcgetattr(&input).context("could not ask the terminal for its mode")?;
    let mut hidden = before.clone();
    hidden.local_modes &= !LocalModes::ECHO;
    tcsetattr(&input, OptionalActions::Now, &hidden).context("could not hide what is typed")?;
    let mut text = String::new();
    let read = if is_json { input.lock().read_to_string(&mut text) } else { input.lock().read_line(&mut text) };
    tcsetattr(&input, OptionalActions::Now, &before).context("could not set the terminal back")?;
    writeln!(screen)?;
    read.context("could not read the value from the terminal")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn needed(purpose: SecretPurpose) -> NeededSecret {
        NeededSecret { name: "tellonce/acme/x".to_owned(), description: String::new(), purpose, is_chosen: false }
    }

    #[test]
    fn a_value_that_cannot_work_is_refused_and_not_shown() {
        for (purpose, value, problem) in [
            (SecretPurpose::WebhookSecret, " \n", "is empty"),
            (SecretPurpose::WebhookSecret, "hunter2", "is so short that it could be guessed"),
            (SecretPurpose::WebhookSecret, "hunter2-hunter2\nhunter2", "has line breaks"),
            (SecretPurpose::CrmToken, "pat hunter2", "is not a token"),
            (SecretPurpose::LineToken, "ezw_line_ hunter2", "is not a token"),
            (SecretPurpose::LineToken, "ezw_line_local_hunter2", "is made up"),
            (SecretPurpose::FeedAddress, "https://calendar.example.com/hunter2/calendar.ics", "is made up"),
        ] {
            let error = check_value(&needed(purpose), &Secret::new(value)).unwrap_err().to_string();
            assert!(error.contains(problem) && !error.contains("hunter"), "{error}");
        }
        check_value(&needed(SecretPurpose::LineToken), &Secret::new("ezw_line_1\n")).unwrap();
    }

    #[test]
    fn a_value_is_written_into_a_new_file_that_only_its_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new.txt");
        write_value(&path, &Secret::new("hush")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "hush\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = format!("{:#}", write_value(&path, &Secret::new("other")).unwrap_err());
        assert!(error.contains("new.txt") && !error.contains("other"), "{error}");
    }
}
