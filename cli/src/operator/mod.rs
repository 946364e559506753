//! The commands of an operator: `hold`, `release`, `drop`, `form`, `feed`, `retry`, `opt-out`,
//! `opt-in`, `person forget`, `resend`, `replay` and `dead` change something; `contact`, `person
//! export` and `operations` do not.
//!
//! Flow: each shows its plan with counts, asks, and does it. `tellonce_ops` has the plans and the
//! effects, and records who did what. This module has the words.

mod arguments;
mod person;
mod plan_text;

use std::{
    io::{IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
};

use serde_json::json;
use tellonce_core::ledger::ResendDecision;
use tellonce_ops::{
    CommandOutcome, CommandRunner, LineAction, OperatorCommand, OperatorError, Plan, Progress, QueueAction,
    ReplaySelection, list_operations,
};

use crate::{
    command_output::CommandOutput,
    confirmation::confirm,
    people_time::PeopleTime,
    phone_file,
    stack_arguments::{ConnectedStack, StackArguments, block_on},
};
pub(crate) use arguments::{ActionArguments, OperatorCliCommand, ReasonArguments};
use arguments::{
    ContactArguments, DeadArguments, DeadCommand, ExportPersonArguments, FeedCommand, FindContactArguments,
    ForgetPersonArguments, FormCommand, OperationsArguments, PersonCliCommand, ReplayArguments, ResendArguments,
};
use person::{ExportTarget, ReceiptFile};
pub(crate) use plan_text::render_plan;

/// A command that changes something, before its stack is known.
struct RequestedAction<'a> {
    action: &'a ActionArguments,
    because: Option<&'a str>,
    /// Show the plan, and stop.
    dry_run: bool,
    /// The new file for the receipt of an erasure.
    receipt: Option<&'a Path>,
}

pub(crate) fn run_command(command: &OperatorCliCommand) -> anyhow::Result<CommandOutput> {
    block_on(run(command))?
}

async fn run(command: &OperatorCliCommand) -> anyhow::Result<CommandOutput> {
    match command {
        OperatorCliCommand::Hold(hold) => {
            let because = Some(hold.because.as_str());
            let requested = RequestedAction { action: &hold.action, because, dry_run: false, receipt: None };
            let command = OperatorCommand::Line { action: LineAction::Hold, line: hold.line.clone() };
            requested.run_command(command).await
        }
        OperatorCliCommand::Release(arguments) => {
            let command = OperatorCommand::Line { action: LineAction::Release, line: arguments.line.clone() };
            RequestedAction::new(&arguments.action, &arguments.reason).run_command(command).await
        }
        OperatorCliCommand::Drop(arguments) => {
            // The name of a line has no colon, and that of a queue has one.
            let command = if arguments.name.contains(':') {
                OperatorCommand::Queue { action: QueueAction::Drop, queue: arguments.name.clone() }
            } else {
                OperatorCommand::Line { action: LineAction::Drop, line: arguments.name.clone() }
            };
            RequestedAction::new(&arguments.action, &arguments.reason).run_command(command).await
        }
        OperatorCliCommand::Form(command) => {
            let (arguments, greets) = match command {
                FormCommand::Release(arguments) => (arguments, true),
                FormCommand::Drop(arguments) => (arguments, false),
            };
            let command = OperatorCommand::Form { form: arguments.form.clone(), greets };
            RequestedAction::new(&arguments.action, &arguments.reason).run_command(command).await
        }
        OperatorCliCommand::Feed(FeedCommand::Accept(arguments)) => {
            let command = OperatorCommand::AcceptFeed { calendar: arguments.calendar.clone() };
            RequestedAction::new(&arguments.action, &arguments.reason).run_command(command).await
        }
        OperatorCliCommand::Retry(arguments) => {
            let command = OperatorCommand::Queue { action: QueueAction::Retry, queue: arguments.queue.clone() };
            RequestedAction::new(&arguments.action, &arguments.reason).run_command(command).await
        }
        OperatorCliCommand::OptOut(arguments) => change_opt_out(arguments, true).await,
        OperatorCliCommand::OptIn(arguments) => change_opt_out(arguments, false).await,
        OperatorCliCommand::Contact(arguments) => show_contact(arguments).await,
        OperatorCliCommand::Person(PersonCliCommand::Export(arguments)) => export_person(arguments).await,
        OperatorCliCommand::Person(PersonCliCommand::Forget(arguments)) => forget_person(arguments).await,
        OperatorCliCommand::Done(arguments) => {
            let command = OperatorCommand::Done { name: arguments.name.clone() };
            RequestedAction::new(&arguments.action, &arguments.reason).run_command(command).await
        }
        OperatorCliCommand::Resend(arguments) => resend(arguments).await,
        OperatorCliCommand::Replay(arguments) => replay(arguments).await,
        OperatorCliCommand::Dead(arguments) => handle_dead_letters(arguments).await,
        OperatorCliCommand::Operations(arguments) => show_operations(arguments).await,
    }
}

async fn change_opt_out(arguments: &ContactArguments, opts_out: bool) -> anyhow::Result<CommandOutput> {
    let phone = phone_file::read_phone(&arguments.phone.phone_file)?;
    let command = OperatorCommand::OptOut { phone, opts_out };
    RequestedAction::new(&arguments.action, &arguments.reason).run_command(command).await
}

async fn resend(arguments: &ResendArguments) -> anyhow::Result<CommandOutput> {
    let ResendArguments { key, useful_until, not_there, .. } = arguments;
    let to_command = |time: &PeopleTime<'_>, stack: &ConnectedStack| {
        let now = stack.stack.now();
        let useful_until = useful_until.as_deref().map(|text| time.parse_later(text, now)).transpose()?;
        let decision = ResendDecision { useful_until, is_absent: *not_there };
        Ok(OperatorCommand::Resend { key: key.clone(), decision })
    };
    RequestedAction::new(&arguments.action, &arguments.reason).run(to_command).await
}

async fn replay(arguments: &ReplayArguments) -> anyhow::Result<CommandOutput> {
    let ReplayArguments { delivery, function, sender, outcome, failed, since, until, .. } = arguments;
    let requested =
        RequestedAction { dry_run: arguments.dry_run, ..RequestedAction::new(&arguments.action, &arguments.reason) };
    let to_command = |time: &PeopleTime<'_>, stack: &ConnectedStack| {
        if let Some(delivery) = delivery {
            return Ok(OperatorCommand::ReplayDelivery { delivery: delivery.clone() });
        }
        let parse = |text: &Option<String>| text.as_deref().map(|text| time.parse(text, stack.stack.now())).transpose();
        Ok(OperatorCommand::Replay(ReplaySelection {
            function: function.clone(),
            sender: sender.clone(),
            outcome: outcome.clone(),
            failed: *failed,
            since: parse(since)?,
            until: parse(until)?,
        }))
    };
    requested.run(to_command).await
}

async fn handle_dead_letters(arguments: &DeadArguments) -> anyhow::Result<CommandOutput> {
    let (change, replays) = match &arguments.command {
        None => return list_dead_letters(&arguments.stack, arguments.json).await,
        Some(DeadCommand::Replay(change)) => (change, true),
        Some(DeadCommand::Delete(change)) => (change, false),
    };
    let command = OperatorCommand::DeadLetters { replays };
    RequestedAction::new(&change.action, &change.reason).run_command(command).await
}

impl<'a> RequestedAction<'a> {
    fn new(action: &'a ActionArguments, reason: &'a ReasonArguments) -> Self {
        Self { action, because: reason.because.as_deref(), dry_run: false, receipt: None }
    }

    async fn run_command(self, command: OperatorCommand) -> anyhow::Result<CommandOutput> {
        self.run(|_, _| Ok(command)).await
    }

    /// Shows the plan, asks, and does it.
    async fn run(
        self,
        to_command: impl FnOnce(&PeopleTime<'_>, &ConnectedStack) -> anyhow::Result<OperatorCommand>,
    ) -> anyhow::Result<CommandOutput> {
        let Self { action: ActionArguments { stack, yes, json }, because, dry_run, receipt } = self;
        let connected = stack.connect().await?;
        let time = PeopleTime::of_client(&connected.config)?;
        let command = to_command(&time, &connected)?;
        let runner = CommandRunner::connect(&connected.stack, &connected.config, show_progress).await?;
        let plan = runner.plan(command).await?;
        let words = plan_text::render_plan(&plan, because, runner.who(), &time)?;
        let mut screen = std::io::stderr();
        if *json {
            // Standard output is for the JSON.
            screen.write_all(words.as_bytes())?;
        } else {
            CommandOutput::from_text(words).print()?;
        }
        // A receipt also says that nothing is stored.
        if dry_run || (plan.changes_nothing() && receipt.is_none()) {
            let words = if dry_run { "Nothing was done: this is a dry run.\n" } else { "There is nothing to do.\n" };
            return Ok(CommandOutput::from_text(if *json { render_json(&plan, None)? } else { words.to_owned() }));
        }
        if let Err(not_confirmed) = confirm("Do this?", *yes) {
            if *json {
                CommandOutput::from_text(render_json(&plan, None)?).print()?;
            }
            return Err(not_confirmed);
        }
        // Before the effect: what cannot be undone is not done without its receipt.
        let receipt = receipt.map(ReceiptFile::create).transpose()?;
        let outcome = match (runner.run(&plan, because).await, receipt) {
            (Ok(outcome), Some(file)) => {
                if let CommandOutcome::Forgotten(receipt) = &outcome {
                    file.write(receipt)?;
                }
                outcome
            }
            (Err(error), Some(file)) => {
                let done = match &error {
                    OperatorError::ForgetEndedEarly { receipt, .. } => file.write(receipt),
                    _ => file.discard(),
                };
                let error = anyhow::Error::from(error);
                return Err(match done {
                    Ok(()) => error,
                    Err(problem) => error.context(format!("{problem:#}")),
                });
            }
            (outcome, None) => outcome?,
        };
        let is_finished = is_finished(&outcome);
        let text = match (*json, is_finished) {
            (true, _) => render_json(&plan, Some(&outcome))?,
            (false, true) => format!("Done: {outcome}.\n"),
            (false, false) => format!("Not finished: {outcome}.\n"),
        };
        Ok(CommandOutput { text, code: if is_finished { ExitCode::SUCCESS } else { ExitCode::FAILURE } })
    }
}

/// Whether the command did all of its plan.
fn is_finished(outcome: &CommandOutcome) -> bool {
    !matches!(outcome, CommandOutcome::Forgotten(receipt) if !receipt.complete)
}

fn render_json(plan: &Plan, outcome: Option<&CommandOutcome>) -> anyhow::Result<String> {
    let report = json!({ "command": plan.to_string(), "plan": plan, "outcome": outcome });
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

/// Shows at a terminal how far a long command is.
fn show_progress(progress: Progress) {
    let mut screen = std::io::stderr();
    if screen.is_terminal() {
        let Progress { function, deliveries } = progress;
        // A screen that is gone stops no command.
        writeln!(screen, "{function}: {deliveries} until now").unwrap_or_default();
    }
}

async fn show_contact(arguments: &FindContactArguments) -> anyhow::Result<CommandOutput> {
    let customer = phone_file::read_customer(&arguments.phone.phone_file)?;
    let ConnectedStack { stack, config, .. } = arguments.stack.connect().await?;
    let runner = CommandRunner::connect(&stack, &config, show_progress).await?;
    let contact = runner.find_contact(&customer).await?;
    if arguments.json {
        return Ok(CommandOutput::from_text(serde_json::to_string_pretty(&contact)? + "\n"));
    }
    let mut text = String::new();
    plan_text::write_contact(&mut text, &contact, &PeopleTime::of_client(&config)?)?;
    Ok(CommandOutput::from_text(text))
}

async fn export_person(arguments: &ExportPersonArguments) -> anyhow::Result<CommandOutput> {
    let phone = phone_file::read_phone(&arguments.phone.phone_file)?;
    let target = ExportTarget::open(&arguments.out)?;
    let ConnectedStack { stack, config, .. } = arguments.stack.connect().await?;
    let runner = CommandRunner::connect(&stack, &config, show_progress).await?;
    let export = runner.export_person(&phone, arguments.reason.because.as_deref()).await?;
    let text = target.write(&export, &arguments.out, arguments.text, &PeopleTime::of_client(&config)?)?;
    Ok(CommandOutput::from_text(text))
}

async fn forget_person(arguments: &ForgetPersonArguments) -> anyhow::Result<CommandOutput> {
    let phone = phone_file::read_phone(&arguments.phone.phone_file)?;
    let requested = RequestedAction {
        receipt: arguments.receipt.as_deref(),
        ..RequestedAction::new(&arguments.action, &arguments.reason)
    };
    requested.run_command(OperatorCommand::Forget { phone }).await
}

async fn list_dead_letters(stack: &StackArguments, json: bool) -> anyhow::Result<CommandOutput> {
    let ConnectedStack { stack, config, .. } = stack.connect().await?;
    let letters = CommandRunner::connect(&stack, &config, show_progress).await?.list_dead_letters().await?;
    if json {
        return Ok(CommandOutput::from_text(serde_json::to_string_pretty(&letters)? + "\n"));
    }
    let mut text = String::new();
    plan_text::write_letters(&mut text, &letters, &PeopleTime::of_client(&config)?)?;
    Ok(CommandOutput::from_text(text))
}

async fn show_operations(arguments: &OperationsArguments) -> anyhow::Result<CommandOutput> {
    let ConnectedStack { stack, config, .. } = arguments.stack.connect().await?;
    let operations = list_operations(&stack, arguments.limit).await?;
    Ok(CommandOutput::from_text(if arguments.json {
        serde_json::to_string_pretty(&operations)? + "\n"
    } else {
        plan_text::render_operations(&operations, &PeopleTime::of_client(&config)?)?
    }))
}

#[cfg(test)]
mod tests {
    use tellonce_ops::ForgetReceipt;

    use super::*;

    #[test]
    fn an_erasure_with_items_in_use_is_not_finished() {
        let forgotten = |in_use| {
            CommandOutcome::Forgotten(ForgetReceipt {
                at: "2026-11-29T10:00:00Z".parse().unwrap(),
                client: "acme".to_owned(),
                contact: "contact:0f3a9c27d481".to_owned(),
                erased: vec![],
                in_use,
                complete: in_use == 0,
                stays: vec![],
            })
        };
        assert!(is_finished(&forgotten(0)) && !is_finished(&forgotten(2)) && is_finished(&CommandOutcome::Settled));
    }
}
