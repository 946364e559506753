//! Stores values: shows the plan, asks, and does it.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{IsTerminal as _, stdin},
    path::Path,
};

use anyhow::{Context as _, bail};
use serde_json::json;
use tellonce_check::{NeededSecret, list_needed_secrets};
use tellonce_core::{client_config::ClientConfig, secret::Secret};
use tellonce_ops::{ClientStack, NewValues, SecretKeeper, SecretsOutcome, SecretsPlan, ValueState};

use super::{plan_text, value_source};
use crate::{
    command_output::CommandOutput, confirmation::confirm, operator::ActionArguments, people_time::PeopleTime,
    secrets::SecretsFile,
};

/// Values that are to be stored.
pub(super) struct StoreRequest<'a> {
    pub(super) action: &'a ActionArguments,
    pub(super) because: Option<&'a str>,
    /// The file that the new value is written into, and the value.
    pub(super) file: Option<(&'a Path, Secret)>,
}

impl StoreRequest<'_> {
    pub(super) async fn run(
        self,
        keeper: &SecretKeeper<'_>,
        config: &ClientConfig,
        new: NewValues,
    ) -> anyhow::Result<CommandOutput> {
        let ActionArguments { yes, json, .. } = self.action;
        let plan = keeper.plan(&new).await?;
        let words = plan_text::render_plan(&plan, keeper, self.because, &PeopleTime::of_client(config)?)?;
        plan_text::show(&words, *json)?;
        if plan.changes.is_empty() {
            let text = if *json { render_json(&plan, None)? } else { "There is nothing to do.\n".to_owned() };
            return Ok(CommandOutput::from_text(text));
        }
        if let Err(not_confirmed) = confirm("Store this?", *yes) {
            if *json {
                CommandOutput::from_text(render_json(&plan, None)?).print()?;
            }
            return Err(not_confirmed);
        }
        if let Some((path, value)) = &self.file {
            value_source::write_value(path, value)?;
        }
        let outcome = match (keeper.run(&plan, self.because).await, &self.file) {
            (Err(error), Some((path, _))) => {
                return Err(error).with_context(|| {
                    format!(
                        "{} has the new value, but it may not be stored; check with --status, and delete the file before \
                         you repeat the command",
                        path.display()
                    )
                });
            }
            (outcome, _) => outcome?,
        };
        if *json {
            return Ok(CommandOutput::from_text(render_json(&plan, Some(&outcome))?));
        }
        let mut text = format!("Done: {outcome}.\n");
        if let Some((path, _)) = &self.file {
            writeln!(text, "The new value is in {}. Delete the file when the other end has it.", path.display())?;
        }
        Ok(CommandOutput::from_text(text))
    }
}

fn render_json(plan: &SecretsPlan, outcome: Option<&SecretsOutcome>) -> anyhow::Result<String> {
    let report = json!({ "command": plan.to_string(), "plan": plan, "outcome": outcome });
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

/// The values of a file, and those that a person types for what is missing then.
pub(super) async fn collect_values(
    stack: &ClientStack,
    config: &ClientConfig,
    from: Option<&Path>,
) -> anyhow::Result<BTreeMap<String, Secret>> {
    let file = from.map(SecretsFile::read).transpose()?;
    let mut values = BTreeMap::new();
    let mut missing: Vec<NeededSecret> = Vec::new();
    for needed in list_needed_secrets(config) {
        match file.as_ref().and_then(|file| file.values(&needed.name)).and_then(<[Secret]>::first) {
            Some(value) => {
                value_source::check_value(&needed, value)?;
                values.insert(needed.name, value.clone());
            }
            None => missing.push(needed),
        }
    }
    if !missing.is_empty() {
        let report = stack.survey_secrets(config, true).await?;
        let stored = |needed: &NeededSecret| {
            let mut stored = report.secrets.iter().flat_map(|secret| &secret.values);
            stored.any(|value| value.name == needed.name && value.state == ValueState::Stored)
        };
        missing.retain(|needed| !stored(needed));
    }
    if stdin().is_terminal() {
        for needed in missing {
            if let Some(value) = value_source::ask_for_value(&needed)? {
                values.insert(needed.name, value);
            }
        }
        return Ok(values);
    }
    let names: Vec<&str> =
        missing.iter().filter(|needed| !needed.is_optional()).map(|needed| needed.name.as_str()).collect();
    if !names.is_empty() {
        bail!(
            "neither Secrets Manager nor the file has {}; add them to the file of --from, or run the command at a terminal",
            names.join(", ")
        );
    }
    Ok(values)
}
