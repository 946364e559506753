//! `tellonce explain`: what happened to the messages of an order, an appointment, a lead or a
//! customer, what a delivery led to, and why a message is absent.

mod absence_text;
mod customer_text;
mod delivery_text;
#[cfg(test)]
pub(crate) mod samples;
mod subject_text;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::Value;
use tellonce_core::client_config::ClientConfig;
use tellonce_ops::{AbsenceReport, Explanation};

use crate::{
    command_output::CommandOutput,
    people_time::PeopleTime,
    phone_file,
    stack_arguments::{ConnectedStack, StackArguments, block_on},
};

pub(crate) use subject_text::describe_version;

use absence_text::{SettingPlace, write_absence};
use delivery_text::write_deliveries;
use subject_text::write_report;

#[derive(clap::Args)]
pub(crate) struct ExplainArguments {
    /// A subject, such as order:1001, appointment:88 or lead:abc; a key, such as order:1001:ready;
    /// or a delivery, by its key in the inbox, such as shop#b54557e4, or by the sender's own id.
    #[arg(value_name = "NAME", required_unless_present = "phone_file", conflicts_with = "phone_file")]
    name: Option<String>,
    /// Find out why the message of this key did not reach its customer: the first link that broke,
    /// from the sender's post to the phone, and the setting to change.
    #[arg(long, requires = "name")]
    absent: bool,
    /// All messages of one customer: the file with the number, such as +972545550199, or - for
    /// standard input. Needs the role of an operator.
    #[arg(long, value_name = "FILE")]
    phone_file: Option<PathBuf>,
    #[command(flatten)]
    stack: StackArguments,
    /// Print JSON, with times in UTC.
    #[arg(long)]
    json: bool,
}

pub(crate) fn explain(arguments: &ExplainArguments) -> anyhow::Result<CommandOutput> {
    let answer = block_on(answer(arguments))??;
    let text = if arguments.json { serde_json::to_string_pretty(&answer.report)? + "\n" } else { answer.text };
    Ok(CommandOutput::from_text(text))
}

async fn answer(arguments: &ExplainArguments) -> anyhow::Result<Answer> {
    let name = arguments.name.as_deref().unwrap_or_default();
    match arguments.phone_file.as_deref() {
        Some(file) => explain_customer(&arguments.stack, file).await,
        None if arguments.absent => explain_absence(&arguments.stack, name).await,
        None => explain_name(&arguments.stack, name).await,
    }
}

async fn explain_customer(stack: &StackArguments, file: &Path) -> anyhow::Result<Answer> {
    // The number is read before the stack is asked, so that a wrong file costs no request.
    let customer = phone_file::read_customer(file)?;
    let ConnectedStack { stack, config, .. } = stack.connect().await?;
    let report = stack.find_tables().await?.explain_customer(&stack, &customer).await?;
    Answer::new(&report, &config, |text, time| customer_text::write_customer(text, &report, time))
}

/// Why the message of a key did not reach its customer.
pub(crate) async fn explain_absence(stack: &StackArguments, key: &str) -> anyhow::Result<Answer> {
    let ConnectedStack { stack, config, folder } = stack.connect().await?;
    let report = stack.find_tables().await?.explain_absence(&stack, &config, key).await?;
    let place = place_of_setting(&folder, &report);
    Answer::new(&report, &config, |text, time| write_absence(text, &report, place.as_ref(), time))
}

/// What happened to a subject, a message or a delivery.
pub(crate) async fn explain_name(stack: &StackArguments, name: &str) -> anyhow::Result<Answer> {
    let ConnectedStack { stack, config, .. } = stack.connect().await?;
    match stack.find_tables().await?.explain_name(&stack, &config, name).await? {
        Explanation::Subject(report) => Answer::new(&report, &config, |text, time| write_report(text, &report, time)),
        Explanation::Deliveries(traces) => {
            Answer::new(&traces, &config, |text, time| write_deliveries(text, &traces, time))
        }
    }
}

/// An answer for people, and as data.
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) report: Value,
}

impl Answer {
    fn new<T: Serialize>(
        report: &T,
        config: &ClientConfig,
        write: impl FnOnce(&mut String, &PeopleTime<'_>) -> fmt::Result,
    ) -> anyhow::Result<Self> {
        let mut text = String::new();
        write(&mut text, &PeopleTime::of_client(config)?)?;
        Ok(Self { text, report: serde_json::to_value(report)? })
    }
}

/// Where the setting of a report is in the client's file.
fn place_of_setting(folder: &Path, report: &AbsenceReport) -> Option<SettingPlace> {
    let path = folder.join("client.toml");
    let text = std::fs::read_to_string(&path).ok()?;
    Some(SettingPlace::find(&path, &text, report.setting.as_ref()?))
}
