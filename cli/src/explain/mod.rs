//! `tellonce explain`: what happened to the messages of an order, an appointment, a lead or a
//! customer, what a delivery led to, and why a message is absent.

mod absence_text;
mod customer_text;
mod delivery_text;
mod subject_text;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::Serialize;
use tellonce_core::client_config::ClientConfig;
use tellonce_ops::{AbsenceReport, Explanation};

use crate::{
    command_output::CommandOutput,
    people_time::PeopleTime,
    phone_file,
    stack_arguments::{ConnectedStack, StackArguments, block_on},
};

pub(crate) use absence_text::{SettingPlace, write_absence};
pub(crate) use delivery_text::write_deliveries;
pub(crate) use subject_text::write_report;

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
    block_on(answer(arguments))?.map(CommandOutput::from_text)
}

async fn answer(arguments: &ExplainArguments) -> anyhow::Result<String> {
    // The number is read before the stack is asked, so that a wrong file costs no request.
    let customer = arguments.phone_file.as_deref().map(phone_file::read_customer).transpose()?;
    let ConnectedStack { stack, config, folder } = arguments.stack.connect().await?;
    let tables = stack.find_tables().await?;
    let name = arguments.name.as_deref().unwrap_or_default();
    if let Some(customer) = &customer {
        let report = tables.explain_customer(&stack, customer).await?;
        return render(arguments.json, &report, &config, |text, time| {
            customer_text::write_customer(text, &report, time)
        });
    }
    if arguments.absent {
        let report = tables.explain_absence(&stack, &config, name).await?;
        let place = place_of_setting(&folder, &report);
        return render(arguments.json, &report, &config, |text, time| {
            write_absence(text, &report, place.as_ref(), time)
        });
    }
    match tables.explain_name(&stack, &config, name).await? {
        Explanation::Subject(report) => {
            render(arguments.json, &report, &config, |text, time| write_report(text, &report, time))
        }
        Explanation::Deliveries(traces) => {
            render(arguments.json, &traces, &config, |text, time| write_deliveries(text, &traces, time))
        }
    }
}

/// Where the setting of a report is in the client's file.
pub(crate) fn place_of_setting(folder: &Path, report: &AbsenceReport) -> Option<SettingPlace> {
    let path = folder.join("client.toml");
    let text = std::fs::read_to_string(&path).ok()?;
    Some(SettingPlace::find(&path, &text, report.setting.as_ref()?))
}

fn render<T: Serialize>(
    as_json: bool,
    report: &T,
    config: &ClientConfig,
    write: impl FnOnce(&mut String, &PeopleTime<'_>) -> fmt::Result,
) -> anyhow::Result<String> {
    if as_json {
        return Ok(serde_json::to_string_pretty(report)? + "\n");
    }
    let mut text = String::new();
    write(&mut text, &PeopleTime::of_client(config)?)?;
    Ok(text)
}
