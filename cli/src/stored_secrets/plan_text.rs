//! Plans and rotations in words. No word is a value.

use std::fmt::{self, Write as _};

use tellonce_check::NeededSecret;
use tellonce_core::secret::{CACHE_SECONDS, PREVIOUS_VALID_SECONDS, REFETCH_SECONDS};
use tellonce_ops::{RotationReport, SecretChange, SecretKeeper, SecretsPlan};

use super::rotation_guide::RotationKind;
use crate::{command_output::CommandOutput, people_time::PeopleTime};

/// Shows a text. With `json`, standard output is for the JSON.
pub(super) fn show(words: &str, json: bool) -> anyhow::Result<()> {
    if json {
        std::io::Write::write_all(&mut std::io::stderr(), words.as_bytes())?;
    } else {
        CommandOutput::from_text(words.to_owned()).print()?;
    }
    Ok(())
}

pub(super) fn render_plan(
    plan: &SecretsPlan,
    keeper: &SecretKeeper<'_>,
    because: Option<&str>,
    time: &PeopleTime<'_>,
) -> Result<String, fmt::Error> {
    let mut text = String::new();
    writeln!(text, "Plan: {plan}")?;
    writeln!(text, "  as {}", keeper.who())?;
    if let Some(because) = because {
        writeln!(text, "  because {because}")?;
    }
    writeln!(text)?;
    if !keeper.is_recorded() {
        writeln!(text, "  The stack is not deployed yet, so no ledger records this.")?;
    }
    write_changes(&mut text, plan, time)?;
    Ok(text)
}

fn write_changes(text: &mut String, plan: &SecretsPlan, time: &PeopleTime<'_>) -> fmt::Result {
    for change in &plan.changes {
        write_change(text, change, time)?;
    }
    if !plan.unchanged.is_empty() {
        writeln!(text, "  Stored already, and left as they are: {}.", plan.unchanged.join(", "))?;
    }
    if plan.changes.iter().any(|change| !change.is_new) {
        let minutes = CACHE_SECONDS / 60;
        writeln!(
            text,
            "  Functions use a new value within {minutes} minutes. After a refused signature or token they read it \
             before, at most every {REFETCH_SECONDS} seconds."
        )?;
    }
    let hours = PREVIOUS_VALID_SECONDS / 3600;
    let is_of_webhooks = |change: &&SecretChange| change.secret.split('/').nth(2) == Some("webhooks");
    let has_old = plan.changes.iter().filter(is_of_webhooks).any(|change| !change.is_new);
    match (plan.ends_old, has_old) {
        (true, _) => writeln!(
            text,
            "  The secret is stored twice, so all of its older values end, also those of other senders. Then \
             webhook-receiver is started again, because it keeps values."
        ),
        (false, true) => {
            writeln!(
                text,
                "  The receiver accepts the value before for {hours} hours, until the next change of the secret."
            )
        }
        (false, false) => Ok(()),
    }
}

fn write_change(text: &mut String, change: &SecretChange, time: &PeopleTime<'_>) -> fmt::Result {
    let key = change.kms_key.as_ref().map(|key| format!(", encrypted with {key}")).unwrap_or_default();
    let verb = if change.is_new { "is made" } else { "changes" };
    writeln!(text, "  {} {verb}{key}:", change.secret)?;
    for value in &change.values {
        writeln!(text, "    {value}")?;
    }
    if let Some(until) = change.accepted_until {
        let until = time.format_minute(until);
        writeln!(
            text,
            "  WARNING: it was changed less than a day ago. The older values of {} are accepted until {until}. Secrets Manager \
             keeps one older version, so they end now: deliveries that are signed with them get 401.",
            change.ends_early.join(", ")
        )?;
    }
    Ok(())
}

/// What to do at both ends, before the new value is stored.
pub(super) fn render_guide(needed: &NeededSecret, kind: RotationKind) -> Result<String, fmt::Error> {
    let mut text = String::new();
    writeln!(text, "To rotate {} ({}):\n", needed.name, needed.description)?;
    let (before, after) = kind.steps();
    let store = "Store the new value: this command does it.".to_owned();
    for (number, step) in (1..).zip(before.iter().chain([&store]).chain(&after)) {
        writeln!(text, "  {number}. {step}")?;
    }
    writeln!(text)?;
    Ok(text)
}

/// How far a rotation is, and what is left to do.
pub(super) fn render_rotation(
    needed: &NeededSecret,
    kind: RotationKind,
    report: &RotationReport,
    time: &PeopleTime<'_>,
) -> Result<String, fmt::Error> {
    let mut text = String::new();
    writeln!(text, "Rotation of {} ({}), times in {}:\n", needed.name, needed.description, time.name)?;
    match report.stored_at {
        Some(at) => writeln!(text, "  The new value was stored on {}.", time.format_minute(at))?,
        None => {
            writeln!(text, "  The ledger does not know when this value was stored, or its secret was changed since.")?;
        }
    }
    if report.is_read {
        writeln!(text, "  A function has read the current version.")?;
    } else {
        let minutes = CACHE_SECONDS / 60;
        writeln!(
            text,
            "  No function is known to have read the current version yet. A function in use reads it within {minutes} \
             minutes, and AWS may report it later."
        )?;
    }
    match report.old_accepted_until {
        Some(until) => writeln!(text, "  The version before is accepted until {}.", time.format_minute(until))?,
        None => writeln!(text, "  No older version is accepted.")?,
    }
    let (_, after) = kind.steps();
    if report.stored_at.is_some() {
        writeln!(text, "\nWhat is left to do:\n")?;
        for (number, step) in (1..).zip(&after) {
            writeln!(text, "  {number}. {step}")?;
        }
    }
    if report.stored_at.is_some() && report.old_accepted_until.is_some() {
        writeln!(text, "\nTo store another value, which ends the older one now: --again")?;
    }
    Ok(text)
}
