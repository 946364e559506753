//! The commands of an operator: what each will do, and its effect.
//!
//! Main types: an [`OperatorCommand`] is asked for; a [`Plan`] says what it will do, with counts;
//! [`CommandRunner::run`] does it and returns a [`CommandOutcome`].
//!
//! Flow: the plan is made from the present state and has no effect. A person confirms it. The
//! command is recorded in the ledger, has its effect, and its outcome is recorded.
//!
//! Promises: no plan, outcome, error or record holds a number, a name or a text of a customer.

mod access;
mod contact;
mod dead_letters;
mod done;
mod feed;
mod forget_receipt;
mod form;
mod line;
mod line_test;
mod operator_error;
mod person;
mod replay;
mod resend;
mod task_queue;

use std::fmt;

use serde::Serialize;
use tellonce_core::{client_config::ClientConfig, contact::Phone, dispatch::LineTest, ledger::ResendDecision};

use crate::{client_stack::ClientStack, client_tables::ClientTables, operations::Operation, sentences::count};

pub use access::Progress;
pub(crate) use contact::find_pseudonym;
pub use contact::{ContactReport, CustomerAddress, OptOutPlan};
pub use dead_letters::{DeadLetter, DeadLettersPlan, DeadLettersResult, ReplaySpan};
pub use done::DonePlan;
pub use feed::FeedPlan;
pub use forget_receipt::{ForgetReceipt, PersonCount};
pub use form::FormPlan;
pub use line::{LineAction, LinePlan};
pub use line_test::{LineTestPlan, LineTestVerdict};
pub use operator_error::OperatorError;
pub use person::{ForgetPlan, PersonEntry, PersonExport};
pub use replay::{DeliveryPlan, ReplayPlan, ReplaySelection};
pub use resend::ResendPlan;
pub use task_queue::{QueueAction, QueuePlan};

use access::StackAccess;
pub(crate) use line_test::TESTING_FUNCTION;
use line_test::describe_test;

/// What the command of a line's test begins with. The line follows.
pub(crate) const TEST_COMMAND: &str = "test the line ";
/// What the command of the replay of one delivery begins with. The delivery follows.
pub(crate) const REPLAY_COMMAND: &str = "replay the delivery ";

/// A command of an operator.
#[derive(Debug, Clone)]
pub enum OperatorCommand {
    /// Stops or starts a line, or drops what waits for it.
    Line {
        /// What happens.
        action: LineAction,
        /// The line.
        line: String,
    },
    /// Sends one message twice under one key, to a number of the agency's.
    TestLine {
        /// The line.
        line: String,
        /// The number.
        phone: Phone,
    },
    /// Greets or drops the leads of a held form.
    Form {
        /// The form.
        form: String,
        /// Whether its leads are greeted.
        greets: bool,
    },
    /// Accepts the next read of a suspect feed.
    AcceptFeed {
        /// The calendar.
        calendar: String,
    },
    /// Lets the refused tasks of a queue wait again, or drops what is not done.
    Queue {
        /// What happens.
        action: QueueAction,
        /// The queue: `crm:sales`, `target:team`.
        queue: String,
    },
    /// Opts a customer out, or takes the opt-out back.
    OptOut {
        /// The customer's number.
        phone: Phone,
        /// Whether the customer opts out.
        opts_out: bool,
    },
    /// Erases what is stored of a person.
    Forget {
        /// The person's number.
        phone: Phone,
    },
    /// Takes a message or a delivery from the list of what needs a person.
    Done {
        /// The key of the message, or the id of the delivery.
        name: String,
    },
    /// Sends a message again that ended without having been sent.
    Resend {
        /// The key of the message.
        key: String,
        /// What the operator decided.
        decision: ResendDecision,
    },
    /// Replays one delivery.
    ReplayDelivery {
        /// Its id in the inbox: `shop#b54557e4`.
        delivery: String,
    },
    /// Replays deliveries.
    Replay(ReplaySelection),
    /// Deletes what the queue of dead letters holds.
    DeadLetters {
        /// Whether the deliveries are replayed first.
        replays: bool,
    },
}

/// What a command will do.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plan {
    /// To a line.
    Line(LinePlan),
    /// A test of a line.
    LineTest(LineTestPlan),
    /// To a form.
    Form(FormPlan),
    /// To a feed.
    Feed(FeedPlan),
    /// To a queue.
    Queue(QueuePlan),
    /// To a contact.
    OptOut(OptOutPlan),
    /// To what is stored of a person.
    Forget(ForgetPlan),
    /// To the list of what needs a person.
    Done(DonePlan),
    /// To a message that ended.
    Resend(ResendPlan),
    /// To one delivery.
    Delivery(DeliveryPlan),
    /// To deliveries.
    Replay(ReplayPlan),
    /// To the queue of dead letters.
    DeadLetters(DeadLettersPlan),
}

impl Plan {
    /// Whether the command would change nothing.
    pub fn changes_nothing(&self) -> bool {
        match self {
            Self::Line(plan) => plan.action == LineAction::Release && plan.stopped.is_none(),
            // A held form may have leads on their way.
            Self::LineTest(_) | Self::Form(_) | Self::Feed(_) | Self::Done(_) | Self::Resend(_) | Self::Delivery(_) => {
                false
            }
            Self::Queue(plan) => plan.changes_nothing(),
            Self::OptOut(plan) => plan.contact.opted_out_at.is_some() == plan.opts_out,
            Self::Forget(plan) => plan.found.is_empty(),
            Self::Replay(plan) => plan.outcomes.is_empty(),
            Self::DeadLetters(plan) => plan.letters.is_empty(),
        }
    }
}

/// The command of a plan in words, without personal data: `hold the line main`.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(plan) => match plan.action {
                LineAction::Hold => write!(f, "hold the line {}", plan.line),
                LineAction::Release => write!(f, "release the line {}", plan.line),
                LineAction::Drop => write!(f, "drop what waits for the line {}", plan.line),
            },
            Self::LineTest(plan) => write!(f, "{TEST_COMMAND}{}", plan.line),
            Self::Form(plan) if plan.greets => write!(f, "release the leads of the form {}", plan.form),
            Self::Form(plan) => write!(f, "drop the held leads of the form {}", plan.form),
            Self::Feed(plan) => write!(f, "accept the next read of the feed {}", plan.calendar),
            Self::Queue(plan) => match plan.action {
                QueueAction::Retry => write!(f, "retry the refused tasks of {}", plan.queue),
                QueueAction::Drop => write!(f, "drop the tasks of {}", plan.queue),
            },
            Self::OptOut(plan) if plan.opts_out => write!(f, "opt out {}", plan.contact.contact),
            Self::OptOut(plan) => write!(f, "take back the opt-out of {}", plan.contact.contact),
            Self::Forget(plan) => write!(f, "forget {}", plan.contact.contact),
            Self::Done(plan) => write!(f, "settle {}", plan.need.name),
            Self::Resend(plan) => write!(f, "resend {}", plan.key),
            Self::Delivery(plan) => write!(f, "{REPLAY_COMMAND}{}", plan.delivery),
            Self::Replay(plan) => write!(f, "replay {}", plan.selection),
            Self::DeadLetters(plan) if plan.replays => write!(f, "replay {}", count(plan.letters.len(), "dead letter")),
            Self::DeadLetters(plan) => write!(f, "delete {}", count(plan.letters.len(), "dead letter")),
        }
    }
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandOutcome {
    /// A line was stopped, was started, or drops what waits.
    Line(LineAction),
    /// What a test of a line showed.
    LineTested(LineTest),
    /// So many deliveries of a form were released or dropped.
    Leads {
        /// Whether the leads are greeted.
        greets: bool,
        /// How many deliveries.
        deliveries: usize,
    },
    /// The next read of a feed counts.
    FeedAccepted,
    /// So many refused tasks wait again.
    Retried(usize),
    /// So many tasks are never done.
    Dropped(usize),
    /// Whether an opt-out changed.
    OptOutChanged(bool),
    /// What was erased of a person.
    Forgotten(ForgetReceipt),
    /// It is settled.
    Settled,
    /// A message waits again. Holds its key.
    Resent(String),
    /// So many deliveries are processed again.
    Replayed(usize),
    /// What became of the dead letters.
    DeadLetters(DeadLettersResult),
}

/// In words, as the ledger records it.
impl fmt::Display for CommandOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(LineAction::Hold) => f.write_str("the line is stopped"),
            Self::Line(LineAction::Release) => f.write_str("the line sends again"),
            Self::Line(LineAction::Drop) => f.write_str("what waited is dropped when its turn comes"),
            Self::LineTested(test) => f.write_str(&describe_test(test)),
            Self::Leads { greets: true, deliveries } => write!(f, "released {}", count(*deliveries, "lead")),
            Self::Leads { greets: false, deliveries } => write!(f, "dropped {}", count(*deliveries, "lead")),
            Self::FeedAccepted => f.write_str("the next read of the feed counts"),
            Self::Retried(tasks) => write!(f, "{} again", count(*tasks, "task waits|tasks wait")),
            Self::Dropped(tasks) => write!(f, "dropped {}", count(*tasks, "task")),
            Self::OptOutChanged(true) => f.write_str("the opt-out is changed"),
            Self::OptOutChanged(false) => f.write_str("nothing changed"),
            Self::Forgotten(receipt) => {
                write!(f, "erased {}", count(receipt.items(), "item"))?;
                match receipt.in_use {
                    0 => Ok(()),
                    in_use => write!(f, "; {} in use: repeat the command", count(in_use, "item is|items are")),
                }
            }
            Self::Settled => f.write_str("it is settled"),
            Self::Resent(key) => write!(f, "{key} goes out within a minute or two, if its line can send"),
            Self::Replayed(deliveries) => write!(f, "replayed {}", count(*deliveries, "delivery|deliveries")),
            Self::DeadLetters(DeadLettersResult { replayed, deleted, kept }) => write!(
                f,
                "replayed {}, deleted {}, kept {kept}",
                count(*replayed, "delivery|deliveries"),
                count(*deleted, "dead letter")
            ),
        }
    }
}

/// Plans and runs the commands of one operator on one stack.
pub struct CommandRunner<'a> {
    stack: &'a ClientStack,
    tables: ClientTables,
    config: &'a ClientConfig,
    who: String,
    on_progress: Box<dyn Fn(Progress) + Sync + 'a>,
}

impl<'a> CommandRunner<'a> {
    /// Finds the tables of the stack, and who the caller is. `on_progress` hears from commands that
    /// need several invocations.
    pub async fn connect(
        stack: &'a ClientStack,
        config: &'a ClientConfig,
        on_progress: impl Fn(Progress) + Sync + 'a,
    ) -> Result<Self, OperatorError> {
        let tables = stack.find_tables().await?;
        let who = stack.identify_caller().await?;
        Ok(Self { stack, tables, config, who, on_progress: Box::new(on_progress) })
    }

    /// What a command will do. Has no effect.
    pub async fn plan(&self, command: OperatorCommand) -> Result<Plan, OperatorError> {
        let access = self.access();
        Ok(match command {
            OperatorCommand::Line { action, line } => Plan::Line(line::plan(access, action, line).await?),
            OperatorCommand::TestLine { line, phone } => Plan::LineTest(line_test::plan(access, line, phone).await?),
            OperatorCommand::Form { form, greets } => Plan::Form(form::plan(access, form, greets).await?),
            OperatorCommand::AcceptFeed { calendar } => Plan::Feed(feed::plan(access, calendar).await?),
            OperatorCommand::Queue { action, queue } => Plan::Queue(task_queue::plan(access, action, queue).await?),
            OperatorCommand::OptOut { phone, opts_out } => Plan::OptOut(contact::plan(access, phone, opts_out).await?),
            OperatorCommand::Forget { phone } => Plan::Forget(person::plan(access, &phone).await?),
            OperatorCommand::Done { name } => Plan::Done(done::plan(access, name).await?),
            OperatorCommand::Resend { key, decision } => Plan::Resend(resend::plan(access, key, decision).await?),
            OperatorCommand::ReplayDelivery { delivery } => {
                Plan::Delivery(replay::plan_delivery(access, delivery).await?)
            }
            OperatorCommand::Replay(selection) => Plan::Replay(replay::plan(access, selection).await?),
            OperatorCommand::DeadLetters { replays } => Plan::DeadLetters(dead_letters::plan(access, replays).await?),
        })
    }

    /// Does what a plan says, and records it: before the effect, and with the outcome after it.
    pub async fn run(&self, plan: &Plan, because: Option<&str>) -> Result<CommandOutcome, OperatorError> {
        let log = self.tables.operation_log();
        let mut erased = None;
        let work = async {
            let outcome = self.apply(plan, because.unwrap_or("no reason given")).await?;
            if let CommandOutcome::Forgotten(receipt) = &outcome {
                erased = Some(Box::new(receipt.clone()));
            }
            Ok(outcome)
        };
        let done = log.record(self.stack, &self.who, &plan.to_string(), because, work).await;
        match (done, erased) {
            // It was done and could not be recorded.
            (Err(source), Some(receipt)) => Err(OperatorError::ForgetEndedEarly { receipt, source: Box::new(source) }),
            (done, _) => done,
        }
    }

    async fn apply(&self, plan: &Plan, because: &str) -> Result<CommandOutcome, OperatorError> {
        let access = self.access();
        Ok(match plan {
            Plan::Line(plan) => {
                line::run(access, plan, because).await?;
                CommandOutcome::Line(plan.action)
            }
            Plan::LineTest(plan) => CommandOutcome::LineTested(line_test::run(access, plan).await?),
            Plan::Form(plan) => {
                CommandOutcome::Leads { greets: plan.greets, deliveries: form::run(access, plan).await? }
            }
            Plan::Feed(plan) => {
                feed::run(access, plan).await?;
                CommandOutcome::FeedAccepted
            }
            Plan::Queue(plan) => {
                let tasks = task_queue::run(access, plan).await?;
                match plan.action {
                    QueueAction::Retry => CommandOutcome::Retried(tasks),
                    QueueAction::Drop => CommandOutcome::Dropped(tasks),
                }
            }
            Plan::OptOut(plan) => CommandOutcome::OptOutChanged(contact::run(access, plan).await?),
            Plan::Forget(plan) => CommandOutcome::Forgotten(person::run(access, plan).await?),
            Plan::Done(plan) => {
                done::run(access, plan).await?;
                CommandOutcome::Settled
            }
            Plan::Resend(plan) => CommandOutcome::Resent(resend::run(access, plan).await?),
            Plan::Delivery(plan) => {
                replay::run_delivery(access, plan).await?;
                CommandOutcome::Replayed(1)
            }
            Plan::Replay(plan) => CommandOutcome::Replayed(replay::run(access, plan).await?),
            Plan::DeadLetters(plan) => CommandOutcome::DeadLetters(dead_letters::run(access, plan).await?),
        })
    }

    /// Everything that is stored of a person. Changes nothing, and is recorded: what it returns is
    /// personal data.
    pub async fn export_person(&self, phone: &Phone, because: Option<&str>) -> Result<PersonExport, OperatorError> {
        let contact = self.find_contact(&CustomerAddress::Number(phone.clone())).await?;
        let command = format!("export what is stored of {}", contact.contact);
        let log = self.tables.operation_log();
        let work = person::export(self.access(), contact, phone);
        log.record(self.stack, &self.who, &command, because, work).await
    }

    /// The ARN of the caller, as STS names it.
    pub fn who(&self) -> &str {
        &self.who
    }

    /// The contact of a customer. Changes nothing.
    pub async fn find_contact(&self, customer: &CustomerAddress) -> Result<ContactReport, OperatorError> {
        contact::find(self.access(), customer).await
    }

    /// What is stored of a delivery, by its id in the inbox. Changes nothing.
    pub async fn find_delivery(&self, delivery: String) -> Result<DeliveryPlan, OperatorError> {
        replay::plan_delivery(self.access(), delivery).await
    }

    /// What the queue of dead letters holds. Changes nothing.
    pub async fn list_dead_letters(&self) -> Result<Vec<DeadLetter>, OperatorError> {
        dead_letters::list(self.access()).await
    }

    fn access(&self) -> StackAccess<'_> {
        StackAccess {
            stack: self.stack,
            tables: &self.tables,
            config: self.config,
            on_progress: self.on_progress.as_ref(),
        }
    }
}

/// The newest operations of a stack, the newest first; at most `most`.
pub async fn list_operations(stack: &ClientStack, most: u16) -> Result<Vec<Operation>, OperatorError> {
    let tables = stack.find_tables().await?;
    Ok(tables.operation_log().list_newest(most).await?)
}
