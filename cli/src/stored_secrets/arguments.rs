//! The arguments of `tellonce secrets`.

use std::path::PathBuf;

use crate::{
    operator::{ActionArguments, ReasonArguments},
    stack_arguments::StackArguments,
};

#[derive(clap::Subcommand)]
pub(crate) enum SecretsCommand {
    /// Lists the secrets that the client needs: which exist, their age, their last read, and what
    /// is missing. Shows no value. Exits with code 1 if a value is missing or cannot work.
    List(ListArguments),
    /// Stores a value from standard input, or all values of a client. A terminal does not show what
    /// is typed.
    Put(PutArguments),
    /// Replaces a value at both ends: says what to do where and in which order, stores the new
    /// value, and says later how far it is.
    Rotate(RotateArguments),
}

#[derive(clap::Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    pub(super) stack: StackArguments,
    /// Do not read the secrets of roles. Their members are then not compared, and their last read
    /// stays as it is.
    #[arg(long)]
    pub(super) no_read: bool,
    /// Print JSON, with times in UTC.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(clap::Args)]
pub(crate) struct PutArguments {
    /// The value, as `tellonce secrets list` names it: webhooks/shop, lines/main, stores/shop.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(super) name: Option<String>,
    /// Store every value that the client needs: those of --from, and at a terminal those that are
    /// missing.
    #[arg(long)]
    pub(super) all: bool,
    /// A file of values, as `tellonce check --secrets` reads it. Delete it afterwards.
    #[arg(long, value_name = "FILE", requires = "all")]
    pub(super) from: Option<PathBuf>,
    /// The key of AWS KMS for secrets that do not exist yet. Without it, that of the client's other
    /// secrets.
    #[arg(long, value_name = "ARN")]
    pub(super) kms_key: Option<String>,
    /// The stack is not deployed yet, so no ledger records the command.
    #[arg(long)]
    pub(super) before_deployment: bool,
    #[command(flatten)]
    pub(super) reason: ReasonArguments,
    #[command(flatten)]
    pub(super) action: ActionArguments,
}

#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub(crate) struct RotateArguments {
    /// The value, as `tellonce secrets list` names it: webhooks/shop, lines/main, stores/shop.
    pub(super) name: String,
    /// Make a random value, if the value is one that you choose.
    #[arg(long)]
    pub(super) generate: bool,
    /// Write the new value into a new file, to enter it at the other end. Delete it afterwards.
    #[arg(long, value_name = "FILE", requires = "generate")]
    pub(super) write_value: Option<PathBuf>,
    /// The old value leaked: end it at once. Senders get 401 until they have the new one.
    #[arg(long)]
    pub(super) leaked: bool,
    /// Store another value although the old one is still accepted. It ends now.
    #[arg(long)]
    pub(super) again: bool,
    /// Only say how far the rotation is.
    #[arg(long, conflicts_with_all = ["generate", "leaked", "again"])]
    pub(super) status: bool,
    #[command(flatten)]
    pub(super) reason: ReasonArguments,
    #[command(flatten)]
    pub(super) action: ActionArguments,
}
