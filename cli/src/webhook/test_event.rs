//! Posts an event to the address of a line's events, as the provider would. Its topic is one of
//! tellonce's own, which the provider does not have: it is stored, gets the outcome `skipped`, and
//! leads to nothing.

use std::{
    fmt::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::json;
use tellonce_core::{bootstrap, client_config::SecretPurpose, provider::PROVIDER};
use tellonce_ops::{CommandRunner, OperatorError};
use url::Url;

use super::{
    addresses::{line_events_url, parse_stack_url},
    line_access::{find_event_line, read_usable},
};
use crate::{
    command_output::CommandOutput,
    secrets::make_random_value,
    stack_arguments::{ConnectedStack, StackArguments},
};

/// The topic of the event.
const TOPIC: &str = "tellonce.test";
/// How often the inbox is asked for the outcome, and the pause between.
const MAX_LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(crate) struct TestArguments {
    #[command(flatten)]
    stack: StackArguments,
    /// The line, by its name in client.toml. It needs events = true.
    #[arg(long, value_name = "NAME")]
    line: String,
    /// The address of the client's stack: https://…, from the stack's outputs, with or without
    /// /lines/ at its end. A stack on this machine needs none.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What became of the event.
#[derive(Debug, Clone, Serialize)]
struct TestReport {
    line: String,
    /// The status for the event.
    status: u16,
    /// Its id in the inbox.
    delivery: String,
    /// Whether the inbox has it.
    is_stored: bool,
    /// What came of it: `skipped`. None if it was not processed in time.
    outcome: Option<String>,
    /// The status for the same event with a wrong secret in the address.
    status_of_wrong_secret: u16,
}

impl TestReport {
    fn is_good(&self) -> bool {
        self.status == 200 && self.is_stored && self.outcome.is_some() && self.status_of_wrong_secret == 404
    }
}

pub(super) async fn test(arguments: &TestArguments) -> anyhow::Result<CommandOutput> {
    let ConnectedStack { stack, config, .. } = arguments.stack.connect().await?;
    let line_id = find_event_line(&config, &arguments.line)?;
    let address = match (&arguments.url, stack.local_gateway()) {
        (Some(url), _) => parse_stack_url(url)?,
        (None, Some(gateway)) => Url::parse(gateway).context("the address of the stack on this machine")?,
        (None, None) => anyhow::bail!("name the address of the stack with --url; it is the output LinesBaseUrl"),
    };
    let secret = read_usable(&stack, &config, &config.line_webhook_secret_name(&arguments.line)).await?;
    let runner = CommandRunner::connect(&stack, &config, |_| {}).await?;
    let id = format!("tellonce-test-{}", make_random_value(SecretPurpose::PathSecret)?);
    let wrong = make_random_value(SecretPurpose::PathSecret)?;
    let post =
        async |secret: &str| post_event(&line_events_url(&address, &arguments.line, secret)?, line_id, &id).await;
    let status_of_wrong_secret = post(&wrong).await?;
    let status = post(secret.expose()).await?;
    let mut report = TestReport {
        line: arguments.line.clone(),
        status,
        delivery: format!("{}#{id}", arguments.line),
        is_stored: false,
        outcome: None,
        status_of_wrong_secret,
    };
    for look in 0..MAX_LOOKS {
        match runner.find_delivery(report.delivery.clone()).await {
            Ok(found) => {
                report.is_stored = true;
                report.outcome = found.outcome;
            }
            Err(OperatorError::UnknownDelivery(_)) => {}
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("the address answered with {status}, but the inbox could not be read, so it is not known whether the event is stored")
                });
            }
        }
        if report.outcome.is_some() || (status != 200 && look > 0) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    let code = if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let text = if arguments.json { serde_json::to_string_pretty(&report)? + "\n" } else { render(&report)? };
    Ok(CommandOutput { text, code })
}

/// The status of a post. No error holds the address, because that ends in a secret.
async fn post_event(address: &Url, line_id: &str, id: &str) -> anyhow::Result<u16> {
    let headers = &PROVIDER.facts().line_event_headers;
    let request = bootstrap::build_http_client()?
        .post(address.clone())
        .header(headers.event, TOPIC)
        .header(headers.line_id, line_id)
        .header(headers.webhook_id, TOPIC)
        .header(headers.delivery_id, id)
        .json(&json!({ "event": TOPIC }))
        .timeout(TIMEOUT);
    match request.send().await {
        Ok(answer) => Ok(answer.status().as_u16()),
        Err(error) => {
            Err(anyhow::Error::new(error.without_url()).context("the address of the line's events did not answer"))
        }
    }
}

fn render(report: &TestReport) -> Result<String, fmt::Error> {
    let TestReport { line, status, delivery, is_stored, outcome, status_of_wrong_secret } = report;
    let mut text = format!("The address of the events of the line `{line}`\n\n");
    match status {
        200 => writeln!(text, "  a test event: accepted (200)")?,
        404 => writeln!(
            text,
            "  a test event: REFUSED (404): the address is wrong, or the receiver does not have this secret yet; it reads a \
             new one within 15 minutes, or half a minute after a refusal"
        )?,
        other => writeln!(text, "  a test event: NOT ACCEPTED ({other}): the log of webhook-receiver says why")?,
    }
    match (is_stored, outcome) {
        (true, Some(outcome)) => writeln!(text, "  stored as {delivery} and processed: {outcome}")?,
        (true, None) => {
            writeln!(text, "  stored as {delivery}, and NOT PROCESSED within {MAX_LOOKS} seconds: tellonce status")?;
        }
        (false, _) => writeln!(text, "  NOT STORED")?,
    }
    match status_of_wrong_secret {
        404 => writeln!(text, "  the same event with a wrong secret: refused (404)")?,
        other => writeln!(text, "  the same event with a wrong secret: NOT REFUSED as it should be ({other})")?,
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_works_and_what_does_not() {
        let good = TestReport {
            line: "main".to_owned(),
            status: 200,
            delivery: "main#tellonce-test-1".to_owned(),
            is_stored: true,
            outcome: Some("skipped".to_owned()),
            status_of_wrong_secret: 404,
        };
        let text = |report: &TestReport| render(report).unwrap();
        let waits = TestReport { outcome: None, ..good.clone() };
        let refused = TestReport { status: 404, is_stored: false, status_of_wrong_secret: 200, ..waits.clone() };
        assert!(good.is_good() && !waits.is_good() && !refused.is_good());
        insta::assert_snapshot!([text(&good), text(&waits), text(&refused)].join("---\n"));
    }
}
