//! `tellonce secrets`: the secrets of a client in Secrets Manager.
//!
//! Flow: `list` and `rotate` say how secrets are. `put` and `rotate` show their plan, ask, and
//! store. `tellonce_ops` has the plans and the effects. No command prints a value.

mod arguments;
mod list_text;
mod plan_text;
mod rotation_guide;
mod store_values;
mod value_source;

use std::process::ExitCode;

use serde_json::json;
use tellonce_check::{NeededSecret, list_needed_secrets};
use tellonce_core::client_config::ClientConfig;
use tellonce_ops::{NewValues, SecretKeeper};

use crate::{
    command_output::CommandOutput,
    people_time::PeopleTime,
    secrets::make_random_value,
    stack_arguments::{ConnectedStack, block_on},
};
pub(crate) use arguments::SecretsCommand;
use arguments::{ListArguments, PutArguments, RotateArguments};
use rotation_guide::RotationKind;
use store_values::{StoreRequest, collect_values};

pub(crate) fn run_command(command: &SecretsCommand) -> anyhow::Result<CommandOutput> {
    match command {
        SecretsCommand::List(arguments) => block_on(list(arguments))?,
        SecretsCommand::Put(arguments) => block_on(put(arguments))?,
        SecretsCommand::Rotate(arguments) => block_on(rotate(arguments))?,
    }
}

async fn list(arguments: &ListArguments) -> anyhow::Result<CommandOutput> {
    let ConnectedStack { stack, config, .. } = arguments.stack.connect().await?;
    let report = stack.survey_secrets(&config, !arguments.no_read).await?;
    let text = if arguments.json {
        serde_json::to_string_pretty(&report)? + "\n"
    } else {
        list_text::render(&config.client, &report, &PeopleTime::of_client(&config)?)?
    };
    let code = if report.count_faults() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok(CommandOutput { text, code })
}

async fn put(arguments: &PutArguments) -> anyhow::Result<CommandOutput> {
    let ConnectedStack { stack, config, .. } = arguments.action.stack.connect().await?;
    let keeper = SecretKeeper::connect(&stack, &config, arguments.before_deployment).await?;
    let values = match &arguments.name {
        Some(name) => {
            let needed = find_needed(&config, name)?;
            let value = value_source::read_value(&needed)?;
            [(needed.name, value)].into()
        }
        None => collect_values(&stack, &config, arguments.from.as_deref()).await?,
    };
    let new = NewValues { values, kms_key: arguments.kms_key.clone(), ends_old: false };
    let request = StoreRequest { action: &arguments.action, because: arguments.reason.because.as_deref(), file: None };
    request.run(&keeper, &config, new).await
}

async fn rotate(arguments: &RotateArguments) -> anyhow::Result<CommandOutput> {
    let ConnectedStack { stack, config, .. } = arguments.action.stack.connect().await?;
    let needed = find_needed(&config, &arguments.name)?;
    let kind = RotationKind::of(&needed);
    let keeper = SecretKeeper::connect(&stack, &config, false).await?;
    let report = keeper.report_rotation(&needed.name).await?;
    let time = PeopleTime::of_client(&config)?;
    // A rotation that began goes on, and the old value is not lost by another one.
    let goes_on = report.stored_at.is_some() && report.old_accepted_until.is_some();
    if arguments.status || (goes_on && !arguments.again && !arguments.leaked) {
        let text = if arguments.action.json {
            serde_json::to_string_pretty(&json!({ "name": needed.name, "rotation": report }))? + "\n"
        } else {
            plan_text::render_rotation(&needed, kind, &report, &time)?
        };
        return Ok(CommandOutput::from_text(text));
    }
    let guide = plan_text::render_guide(&needed, kind)?;
    plan_text::show(&guide, arguments.action.json)?;
    anyhow::ensure!(
        !arguments.generate || kind.is_generated(),
        "the value of `{}` is not one that you choose ({}); give the new one on standard input",
        needed.name,
        needed.description
    );
    anyhow::ensure!(
        !arguments.generate || !kind.needs_value() || arguments.write_value.is_some(),
        "the other end needs the new value; name a new file for it with --write-value FILE"
    );
    let value = if arguments.generate {
        tellonce_core::secret::Secret::new(make_random_value(needed.purpose)?)
    } else {
        value_source::read_value(&needed)?
    };
    let file = arguments.write_value.as_deref().map(|path| (path, value.clone()));
    let new = NewValues { values: [(needed.name, value)].into(), kms_key: None, ends_old: arguments.leaked };
    let request = StoreRequest { action: &arguments.action, because: arguments.reason.because.as_deref(), file };
    request.run(&keeper, &config, new).await
}

/// The value of this name, which may be written without `tellonce/<client>/`.
fn find_needed(config: &ClientConfig, name: &str) -> anyhow::Result<NeededSecret> {
    let prefix = format!("tellonce/{}/", config.client);
    let short = name.strip_prefix(&prefix).unwrap_or(name);
    let needed = list_needed_secrets(config);
    if let Some(found) = needed.iter().find(|needed| needed.name.strip_prefix(&prefix) == Some(short)) {
        return Ok(found.clone());
    }
    let known: Vec<&str> = needed.iter().filter_map(|needed| needed.name.strip_prefix(&prefix)).collect();
    anyhow::bail!("`{name}` is not a value that this client needs; known are: {}", known.join(", "))
}
