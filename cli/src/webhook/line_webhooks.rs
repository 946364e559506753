//! Lists the webhooks of a line at the provider, and deletes one. Both requests are assumptions.

use std::{
    fmt::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use serde::Serialize;
use tellonce_core::{
    bootstrap,
    provider::{ListedWebhook, NoResponse, PROVIDER, PROVIDER_NAME, WebhookCallError},
    secret::Secret,
};
use url::Url;

use super::{
    addresses::format_host,
    line_access::{LineAccess, LineArguments, find_line},
    registration_log::{RegistrationAttempt, RegistrationLog, RegistrationOutcome},
};
use crate::{command_output::CommandOutput, confirmation::confirm};

#[derive(clap::Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    line: LineArguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct RemoveArguments {
    #[command(flatten)]
    line: LineArguments,
    /// The provider's id of the webhook, as `tellonce webhook list` shows it.
    #[arg(long, value_name = "ID")]
    id: String,
    /// Do not ask for confirmation.
    #[arg(long)]
    yes: bool,
}

/// A webhook as a person sees it. Its address ends in a secret, so only its host is shown.
#[derive(Debug, Serialize)]
struct ShownWebhook {
    id: Option<String>,
    enabled: Option<bool>,
    events: Vec<String>,
    host: Option<String>,
    /// Whether its address ends in the secret that is stored now. None if the line accepts no
    /// events, and so has no secret.
    has_current_secret: Option<bool>,
}

#[derive(Serialize)]
struct WebhookList<'a> {
    line: &'a str,
    /// None if the provider did not list them.
    webhooks: Option<Vec<ShownWebhook>>,
    problem: Option<String>,
    recorded: Vec<&'a RegistrationAttempt>,
}

pub(super) async fn list(arguments: &ListArguments) -> anyhow::Result<CommandOutput> {
    let line = &arguments.line.line;
    let access = LineAccess::open(&arguments.line).await?;
    let has_events = find_line(&access.config, line)?.events;
    let token = access.read(&access.config.line_secret_name(line)).await?;
    let secret_name = access.config.line_webhook_secret_name(line);
    let secret = if has_events { Some(access.read(&secret_name).await?) } else { None };
    let log = RegistrationLog::read(&arguments.line.stack.client_folder()?)?;
    let listed = PROVIDER.list_webhooks(&bootstrap::build_http_client()?, &access.endpoint, &token).await;
    let recorded = log.entries().iter().filter(|entry| entry.line == *line).collect();
    let (webhooks, problem) = match listed {
        Ok(webhooks) => (Some(webhooks.into_iter().map(|webhook| show(webhook, secret.as_ref())).collect()), None),
        Err(error) => (None, Some(explain(&error))),
    };
    let list = WebhookList { line, webhooks, problem, recorded };
    let code = if list.webhooks.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let text = if arguments.json { serde_json::to_string_pretty(&list)? + "\n" } else { render(&list)? };
    Ok(CommandOutput { text, code })
}

fn show(webhook: ListedWebhook, secret: Option<&Secret>) -> ShownWebhook {
    let target = webhook.target.and_then(|target| Url::parse(target.expose()).ok());
    let end = target.as_ref().and_then(|target| target.path_segments()?.next_back().map(str::to_owned));
    ShownWebhook {
        id: webhook.id,
        enabled: webhook.enabled,
        events: webhook.events,
        host: target.as_ref().map(format_host),
        has_current_secret: secret.map(|secret| end.as_deref() == Some(secret.expose())),
    }
}

/// Why the list could not be read, or nothing was deleted, and what to do.
fn explain(error: &WebhookCallError) -> String {
    let advice = match error {
        WebhookCallError::NoResponse(NoResponse::Unreachable { .. }) => "repeat the command later".to_owned(),
        WebhookCallError::Status { status: 401, .. } => {
            "the token is incomplete or revoked, or its line is not active".to_owned()
        }
        WebhookCallError::Status { .. } | WebhookCallError::Unreadable { .. } | WebhookCallError::NoResponse(_) => {
            format!("{PROVIDER_NAME} does not publish this request, so look at the webhooks of the line there")
        }
    };
    format!("{error}; {advice}")
}

fn render(list: &WebhookList<'_>) -> Result<String, fmt::Error> {
    let mut text = format!("Webhooks of the line `{}` at {PROVIDER_NAME}\n", list.line);
    for webhook in list.webhooks.iter().flatten() {
        let state = match webhook.enabled {
            Some(true) => "on",
            Some(false) => "OFF",
            None => "on or off is not known",
        };
        let id = webhook.id.as_deref().unwrap_or("without an id");
        let host = webhook.host.as_deref().unwrap_or("an unknown address");
        let end = match webhook.has_current_secret {
            Some(true) => "the secret stored now",
            Some(false) => "another secret",
            None => "a secret that the line does not use, because its events are off",
        };
        writeln!(text, "\n  {id}  {state}, {}", webhook.events.join(", "))?;
        writeln!(text, "    to {host}, with {end} at its end")?;
    }
    match (&list.webhooks, &list.problem) {
        (Some(webhooks), _) if webhooks.is_empty() => writeln!(text, "\n  none")?,
        (None, Some(problem)) => writeln!(text, "\n  not known: {problem}")?,
        _ => {}
    }
    if !list.recorded.is_empty() {
        writeln!(text, "\nRegistered with tellonce, as webhooks.json records it")?;
    }
    for entry in &list.recorded {
        let RegistrationAttempt { host, at, outcome, id, .. } = entry;
        let outcome = match outcome {
            RegistrationOutcome::Registered => "registered",
            RegistrationOutcome::Unknown => "unknown outcome",
            RegistrationOutcome::Removed => "deleted",
        };
        let id = id.as_deref().unwrap_or("without an id");
        writeln!(text, "\n  {id}  {outcome}, at {host} on {at}")?;
    }
    Ok(text)
}

pub(super) async fn remove(arguments: &RemoveArguments) -> anyhow::Result<CommandOutput> {
    let (line, id) = (&arguments.line.line, &arguments.id);
    let access = LineAccess::open(&arguments.line).await?;
    // A line whose events are off may still have webhooks.
    find_line(&access.config, line)?;
    let token = access.read(&access.config.line_secret_name(line)).await?;
    let mut log = RegistrationLog::read(&arguments.line.stack.client_folder()?)?;
    let plan = format!(
        "Deletes the webhook {id} of the line `{line}` at {PROVIDER_NAME}.\n\n  DELETE {}/{id}\n  {PROVIDER_NAME} does not \
         publish this request. If it does not know it, nothing is deleted.\n  A webhook that is deleted reports nothing any \
         more: delete only one whose address is not in use.\n\n",
        access.endpoint
    );
    CommandOutput::from_text(plan).print()?;
    confirm("Delete this webhook?", arguments.yes)?;
    match PROVIDER.remove_webhook(&bootstrap::build_http_client()?, &access.endpoint, &token, id).await {
        Ok(()) => {
            let recorded = log.record_removal(id).with_context(|| {
                format!("{PROVIDER_NAME} deleted the webhook {id}, but the record was not updated; write \"removed\" as its outcome")
            })?;
            let recorded = if recorded {
                format!(" {} records it: commit it to git.", log.path().display())
            } else {
                String::new()
            };
            Ok(CommandOutput::from_text(format!("Deleted: webhook {id}.{recorded}\n")))
        }
        Err(
            error @ (WebhookCallError::NoResponse(NoResponse::Lost { .. })
            | WebhookCallError::Status { status: 500.., .. }),
        ) => {
            bail!("{error}, so the webhook may be deleted; `tellonce webhook list` shows it")
        }
        Err(error) => bail!("nothing was deleted: {}", explain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(id: &str, target: &str, enabled: Option<bool>) -> ListedWebhook {
        ListedWebhook {
            id: Some(id.to_owned()),
            target: Some(Secret::new(target)),
            events: vec!["messages.post".to_owned(), "statuses.post".to_owned()],
            enabled,
        }
    }

    #[test]
    fn a_list_shows_hosts_and_no_secret() {
        let secret = Secret::new("hunter2-now");
        let webhooks = [
            listed("wh_2", "https://hooks.acme.example/lines/main/hunter2-now", Some(true)),
            listed("wh_1", "https://old.acme.example/lines/main/hunter2-old", Some(false)),
        ];
        let shown = webhooks.into_iter().map(|webhook| show(webhook, Some(&secret))).collect();
        let attempt = RegistrationAttempt {
            line: "main".to_owned(),
            host: "hooks.acme.example".to_owned(),
            at: "2026-11-29T10:00:00Z".parse().unwrap(),
            outcome: RegistrationOutcome::Registered,
            id: Some("wh_2".to_owned()),
        };
        let list = WebhookList { line: "main", webhooks: Some(shown), problem: None, recorded: vec![&attempt] };
        let unknown = explain(&WebhookCallError::Status { provider: PROVIDER_NAME, status: 405 });
        let none = WebhookList { line: "main", webhooks: None, problem: Some(unknown), recorded: vec![] };
        let text = [render(&list).unwrap(), render(&none).unwrap()].join("---\n");
        assert!(!text.contains("hunter2") && !serde_json::to_string(&list).unwrap().contains("hunter2"));
        insta::assert_snapshot!(text);
    }
}
