//! The arguments of the commands of an operator.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;

use crate::stack_arguments::StackArguments;

#[derive(clap::Subcommand)]
pub(crate) enum OperatorCliCommand {
    /// Stops a line: nothing is sent over it from now on, and its messages wait.
    Hold(HoldArguments),
    /// Starts a line again. What is still useful goes out within the line's rate.
    Release(LineArguments),
    /// Drops the messages that wait for a line now, such as those with a wrong text, or the tasks
    /// of a CRM or a target that are not done.
    Drop(DropArguments),
    /// Decides about the leads of a held form.
    #[command(subcommand)]
    Form(FormCommand),
    /// Decides about a suspect feed.
    #[command(subcommand)]
    Feed(FeedCommand),
    /// Lets the refused entries of a CRM, or the refused alerts of a target, wait again.
    Retry(RetryArguments),
    /// Opts a customer out of reminders and greetings.
    OptOut(ContactArguments),
    /// Takes a customer's opt-out back.
    OptIn(ContactArguments),
    /// Shows the key of a customer's rows and the opt-out. Changes nothing.
    Contact(FindContactArguments),
    /// Answers a privacy request: exports or erases what is stored of a person.
    #[command(subcommand)]
    Person(PersonCliCommand),
    /// Takes a message or a delivery from the list of what needs a person: it is settled.
    Done(DoneArguments),
    /// Sends a message again that ended without having been sent: refused, expired, or not found by
    /// a person who looked. Refuses what may have arrived.
    Resend(ResendArguments),
    /// Processes deliveries again: one by its id, or those of a time, an outcome or a sender. No
    /// message is sent twice.
    Replay(ReplayArguments),
    /// Lists the batches of deliveries that functions gave up, or replays them.
    Dead(DeadArguments),
    /// Lists who changed something with these commands, when and why, the newest first. Changes
    /// nothing.
    Operations(OperationsArguments),
}

/// The arguments of every command that changes something.
#[derive(clap::Args)]
pub(crate) struct ActionArguments {
    #[command(flatten)]
    pub(crate) stack: StackArguments,
    /// Do not ask for confirmation.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print the plan and the outcome as JSON, with times in UTC.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The reason of a command that does not require one.
#[derive(clap::Args)]
pub(crate) struct ReasonArguments {
    /// The reason, for the list of operations. Name no customer in it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) because: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct HoldArguments {
    /// The line, by its name in client.toml.
    pub(super) line: String,
    /// The reason. Name no customer in it.
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    pub(super) because: String,
    #[command(flatten)]
    pub(super) action: ActionArguments,
}

#[derive(clap::Args)]
pub(crate) struct LineArguments {
    /// The line, by its name in client.toml.
    pub(super) line: String,
    #[command(flatten)]
    pub(super) reason: ReasonArguments,
    #[command(flatten)]
    pub(super) action: ActionArguments,
}

#[derive(clap::Args)]
pub(crate) struct DropArguments {
    /// The line, by its name in client.toml, or a queue: crm: or target: and the name, such as
    /// crm:sales. A queue that client.toml no longer has can be dropped, too.
    #[arg(value_name = "LINE|QUEUE")]
    pub(super) name: String,
    #[command(flatten)]
    pub(super) reason: ReasonArguments,
    #[command(flatten)]
    pub(super) action: ActionArguments,
}

#[derive(clap::Subcommand)]
pub(crate) enum FormCommand {
    /// Greets the held leads while their greeting is useful. The form greets again.
    Release(FormArguments),
    /// Greets none of the held leads. The form greets again.
    Drop(FormArguments),
}

#[derive(clap::Args)]
pub(crate) struct FormArguments {
    /// The form, by its name in client.toml.
    pub(super) form: String,
    #[command(flatten)]
    pub(super) reason: ReasonArguments,
    #[command(flatten)]
    pub(super) action: ActionArguments,
}

#[derive(clap::Subcommand)]
pub(crate) enum FeedCommand {
    /// The next read counts: removed appointments are cancelled, and those that wait are known.
    Accept(FeedArguments),
}

#[derive(clap::Args)]
pub(crate) struct FeedArguments {
    /// The calendar, by its name in client.toml.
    pub(super) calendar: String,
    #[command(flatten)]
    pub(super) reason: ReasonArguments,
    #[command(flatten)]
    pub(super) action: ActionArguments,
}

#[derive(clap::Args)]
pub(crate) struct RetryArguments {
    /// The queue: crm: or target: and the name in client.toml, such as crm:sales.
    pub(super) queue: String,
    #[command(flatten)]
    pub(super) reason: ReasonArguments,
    #[command(flatten)]
    pub(super) action: ActionArguments,
}

#[derive(clap::Args)]
pub(crate) struct DoneArguments {
    /// The key of the message or the id of the delivery, as `tellonce needs` lists it.
    pub(super) name: String,
    #[command(flatten)]
    pub(super) reason: ReasonArguments,
    #[command(flatten)]
    pub(super) action: ActionArguments,
}

#[derive(clap::Args)]
pub(crate) struct ResendArguments {
    /// The key of the message, such as order:1001:ready.
    pub(super) key: String,
    /// Until when the message is useful from now on: 2026-11-29T18:00 in the client's zone,
    /// 2026-11-29T16:00:00Z, or 2h for in two hours. Required if it expired.
    #[arg(long, value_name = "TIME")]
    pub(super) useful_until: Option<String>,
    /// A person looked into the conversation, and the message is not there. Required if it may have
    /// arrived.
    #[arg(long)]
    pub(super) not_there: bool,
    #[command(flatten)]
    pub(super) reason: ReasonArguments,
    #[command(flatten)]
    pub(super) action: ActionArguments,
}

/// Where a number comes from. It is not an argument, because arguments stay in the shell's history.
#[derive(clap::Args)]
pub(crate) struct PhoneArguments {
    /// The file with the customer's number, such as +972545550199, or - for standard input.
    #[arg(long, value_name = "FILE")]
    pub(super) phone_file: PathBuf,
}

#[derive(clap::Args)]
pub(crate) struct ContactArguments {
    #[command(flatten)]
    pub(super) phone: PhoneArguments,
    #[command(flatten)]
    pub(super) reason: ReasonArguments,
    #[command(flatten)]
    pub(super) action: ActionArguments,
}

#[derive(clap::Subcommand)]
pub(crate) enum PersonCliCommand {
    /// Writes everything that is stored of a person into a file. Changes nothing.
    Export(ExportPersonArguments),
    /// Erases number, name and texts of a person everywhere. Keys and states stay, so that nothing
    /// is sent again, and so does the opt-out.
    Forget(ForgetPersonArguments),
}

#[derive(clap::Args)]
pub(crate) struct ExportPersonArguments {
    #[command(flatten)]
    pub(super) phone: PhoneArguments,
    /// The new file, readable by you only; - for the terminal.
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
    /// Write words for people instead of JSON.
    #[arg(long)]
    pub(super) text: bool,
    #[command(flatten)]
    pub(super) reason: ReasonArguments,
    #[command(flatten)]
    pub(super) stack: StackArguments,
}

#[derive(clap::Args)]
pub(crate) struct ForgetPersonArguments {
    #[command(flatten)]
    pub(super) phone: PhoneArguments,
    /// A new file for the receipt. It holds no personal data.
    #[arg(long, value_name = "FILE")]
    pub(super) receipt: Option<PathBuf>,
    #[command(flatten)]
    pub(super) reason: ReasonArguments,
    #[command(flatten)]
    pub(super) action: ActionArguments,
}

#[derive(clap::Args)]
pub(crate) struct FindContactArguments {
    #[command(flatten)]
    pub(super) phone: PhoneArguments,
    #[command(flatten)]
    pub(super) stack: StackArguments,
    /// Print JSON, with times in UTC.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(clap::Args)]
pub(crate) struct ReplayArguments {
    /// One delivery, by its id in the inbox, such as shop#b54557e4.
    #[arg(conflicts_with_all = ["function", "sender", "outcome", "failed", "since", "until"])]
    pub(super) delivery: Option<String>,
    /// The deliveries that this function processes: order-notifier, reminder-scheduler,
    /// lead-first-touch or conversation-sync.
    #[arg(long, value_name = "NAME")]
    pub(super) function: Option<String>,
    /// The deliveries of this store, calendar, form or line.
    #[arg(long, value_name = "NAME")]
    pub(super) sender: Option<String>,
    /// The deliveries with this outcome; none for those without an outcome.
    #[arg(long, value_name = "CODE")]
    pub(super) outcome: Option<String>,
    /// The deliveries that could not be processed: failed, lookup-failed, newer-version and
    /// quarantined.
    #[arg(long, conflicts_with = "outcome")]
    pub(super) failed: bool,
    /// Received from this time on: 2026-11-29T10:00 in the client's zone, 2026-11-29T10:00:00Z, or
    /// 2h for two hours ago.
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<String>,
    /// Received before this time.
    #[arg(long, value_name = "TIME")]
    pub(super) until: Option<String>,
    /// Show which deliveries match, and stop.
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) reason: ReasonArguments,
    #[command(flatten)]
    pub(super) action: ActionArguments,
}

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DeadArguments {
    #[command(subcommand)]
    pub(super) command: Option<DeadCommand>,
    #[command(flatten)]
    pub(super) stack: StackArguments,
    /// Print JSON, with times in UTC.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(clap::Subcommand)]
pub(crate) enum DeadCommand {
    /// Replays the deliveries of the times that the dead letters name, and deletes the letters.
    Replay(ChangeDeadArguments),
    /// Deletes the dead letters and replays nothing.
    Delete(ChangeDeadArguments),
}

#[derive(clap::Args)]
pub(crate) struct ChangeDeadArguments {
    #[command(flatten)]
    pub(super) reason: ReasonArguments,
    #[command(flatten)]
    pub(super) action: ActionArguments,
}

#[derive(clap::Args)]
pub(crate) struct OperationsArguments {
    /// How many are listed at most.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(super) limit: u16,
    #[command(flatten)]
    pub(super) stack: StackArguments,
    /// Print JSON, with times in UTC.
    #[arg(long)]
    pub(super) json: bool,
}
