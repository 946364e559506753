//! conversation-sync: copies the messages of a line into the client's CRMs, and alerts the team
//! when a customer needs a person.
//!
//! Flow: [`run`] receives a batch of the line inbox's stream, a batch of new entries from the
//! ledger's stream, the clock's event, or an operator's command. `line_event_flow` takes each
//! delivery through: [`line_event_parser`] parses it, `lid_contact` finds the number behind a
//! private id, [`message_record`] joins statuses to ledger rows, [`conversation`] stores which
//! customer waits, and [`escalation_rules`] choose the alerts.
//! One [`task::QueueTask`] is created for each CRM and each target. [`queue_worker`] delivers the
//! tasks: alerts right after the batch, entries as soon as the ledger's stream reports them, and
//! every minute what is still due. So an alert never waits for an entry.
//!
//! Promises:
//! - A message becomes one entry in each CRM, however often the line reports it.
//! - An alert becomes one notification for each target.
//! - A CRM or target that fails delays its tasks and loses none.
//!
//! Time: an invocation has 120 s. A batch ends in time as [`tellonce_core::batch`] says. The clock
//! reports for 20 s at most. Its checks begin no row after 30 s. A task is begun with at least 35 s
//! left. The queues are given up 1 s before the deadline, so a table that hangs ends no process.
//!
//! The provider stays the source of truth: this function writes no owner and no assignment, and
//! keeps of a conversation only what a notification needs.

mod acknowledgement;
pub mod alert;
pub mod api_client;
pub mod conversation;
pub mod crm;
mod due_checks;
pub mod escalation_rules;
mod lid_contact;
pub mod line_event;
mod line_event_flow;
mod line_event_outcome;
pub mod line_event_parser;
pub mod message_record;
pub mod notification;
pub mod operator;
mod opt_out;
pub mod person;
pub mod queue_worker;
mod reconcile;
pub mod record_store;
mod sync_error;
pub mod target;
pub mod task;
#[cfg(test)]
mod unusual_samples;
mod webhook_event;

use std::{collections::BTreeSet, time::Duration};

use lambda_runtime::{LambdaEvent, service_fn};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tellonce_core::{
    batch::{BatchFailures, BatchProcessor, StreamEvent},
    bootstrap::{self, AwsClients, StartError},
    clock::{Deadline, RESPONSE_TIME},
    dispatch::{Dispatcher, Invocation},
    fault::{ClassifyFault, Fault, catch_panic},
    heartbeat::{HeartbeatPath, HeartbeatReceipts},
    inbox::Inbox,
    telemetry,
};

use alert::AlertSender;
use due_checks::DueChecks;
use lid_contact::{KnownLids, LidContacts};
use line_event_flow::LineEventFlow;
use operator::{CommandResult, SyncCommand, SyncOperator, SyncOperatorError};
use person::PersonSearch;
use queue_worker::{QueueWorker, RunBudget, WaitReport};
use reconcile::Reconciler;
use record_store::{RecordStore, RecordStoreError};
use task::created_tasks::CreatedTasks;

/// Deliveries in progress at the same time. Those that meet at one row repeat their change.
const CONCURRENT_DELIVERIES: usize = 4;
/// How long a batch works on its queues. After that it starts no further task, because a slow CRM
/// or target must not delay the records behind it. The clock delivers the rest.
const QUEUE_TIME_PER_BATCH: Duration = Duration::from_secs(5);
/// How long the clock reports what waits. A call to a table ends within eight seconds.
const REPORT_TIME: Duration = Duration::from_secs(20);
/// How long the clock checks records and conversations before it works the queues.
const DUE_CHECK_TIME: Duration = Duration::from_secs(30);
/// The source of `EventBridge`'s scheduled events.
const EVENTBRIDGE_SOURCE: &str = "aws.events";

/// Everything that lives as long as the process.
struct ConversationSync {
    dispatcher: Dispatcher,
    inbox: Inbox,
    receipts: HeartbeatReceipts,
    minute_receipts: HeartbeatReceipts,
    store: RecordStore,
    ledger_table: String,
    queue_worker: QueueWorker,
    known_lids: KnownLids,
}

/// `EventBridge`'s event of every minute.
#[derive(Deserialize)]
struct ScheduleEvent {
    source: String,
}

/// A part of the clock's work failed. The minute leaves no receipt, and the next one tries again.
#[derive(Debug, thiserror::Error)]
enum ScheduleError {
    /// Records or conversations could not be checked.
    #[error(transparent)]
    Checks(#[from] RecordStoreError),
    /// What waits in the queues could not be found out.
    #[error("could not find out what waits in all queues of CRMs and targets")]
    IncompleteReport,
}

impl ClassifyFault for ScheduleError {
    fn fault(&self) -> Fault {
        match self {
            Self::Checks(error) => error.fault(),
            Self::IncompleteReport => Fault::Transient,
        }
    }
}

/// The result of an invocation.
#[derive(Serialize)]
#[serde(untagged)]
enum SyncResponse {
    Batch(BatchFailures),
    Command(CommandResult),
    Scheduled,
}

/// Runs the function until Lambda ends it.
pub async fn run() -> Result<(), lambda_runtime::Error> {
    telemetry::start_logging();
    let sync = ConversationSync::from_environment().await?;
    let sync = &sync;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| async move {
        let deadline = Deadline::from_system_time(event.context.deadline());
        let now = sync.dispatcher.clock.now();
        let invocation = Invocation::for_deliveries(&event.context.request_id, deadline, now);
        let payload = event.payload.get();
        Ok::<_, lambda_runtime::Error>(if let Ok(batch) = serde_json::from_str::<StreamEvent>(payload) {
            SyncResponse::Batch(match CreatedTasks::from_batch(&batch, &sync.ledger_table) {
                Some(created) => {
                    Box::pin(sync.deliver_tasks(&invocation, &created)).await;
                    BatchFailures::default()
                }
                None => Box::pin(sync.process_batch(&invocation, batch)).await,
            })
        } else if serde_json::from_str::<ScheduleEvent>(payload).is_ok_and(|tick| tick.source == EVENTBRIDGE_SOURCE) {
            Box::pin(sync.run_scheduled(&invocation)).await?;
            sync.minute_receipts.record_run(sync.dispatcher.clock.now()).await;
            SyncResponse::Scheduled
        } else {
            // An operator wrote it, perhaps with a typing error.
            let command =
                serde_json::from_str::<SyncCommand>(payload).map_err(|_| SyncOperatorError::UnknownCommand)?;
            SyncResponse::Command(Box::pin(sync.operator().run_command(&command, deadline)).await?)
        })
    }))
    .await
}

impl ConversationSync {
    /// Prepares what the first event needs. Reads no line token: most clients grant this function
    /// none.
    async fn from_environment() -> Result<Self, StartError> {
        let config = bootstrap::load_client_config()?;
        let http = bootstrap::build_http_client()?;
        let aws = AwsClients::from_environment(&http)?;
        let inbox =
            Inbox::new(aws.dynamodb(), bootstrap::require_variable("LINE_INBOX_TABLE")?, config.retention.inbox_days);
        let ledger_table = bootstrap::require_variable("LEDGER_TABLE")?;
        let store = RecordStore::new(aws.dynamodb(), ledger_table.clone());
        let queue_worker =
            QueueWorker::from_environment(&config, http.clone(), &aws, store.clone(), ledger_table.clone());
        let version = config.version.as_str();
        let new_receipts =
            |path| HeartbeatReceipts::new(aws.dynamodb(), ledger_table.clone(), path, version.to_owned());
        let receipts = new_receipts(HeartbeatPath::LineInbox);
        let minute_receipts = new_receipts(HeartbeatPath::ConversationSyncMinute);
        let dispatcher = Dispatcher::from_environment(config, http, &aws, |_| BTreeSet::new()).await?;
        Ok(Self {
            dispatcher,
            inbox,
            receipts,
            minute_receipts,
            store,
            ledger_table,
            queue_worker,
            known_lids: KnownLids::default(),
        })
    }

    /// Processes a batch of line events, then delivers the alerts that it raised. Returns the
    /// deliveries to retry.
    async fn process_batch(&self, invocation: &Invocation, event: StreamEvent) -> BatchFailures {
        let created = CreatedTasks::default();
        let alerts = self.alert_sender(&created);
        let lid_contacts = self.lid_contacts();
        let reconciler = self.reconciler(&alerts, &lid_contacts);
        let flow = LineEventFlow {
            dispatcher: &self.dispatcher,
            invocation,
            store: &self.store,
            alerts: &alerts,
            reconciler: &reconciler,
            lid_contacts: &lid_contacts,
        };
        let batch = BatchProcessor {
            inbox: &self.inbox,
            receipts: &self.receipts,
            client: &self.dispatcher.config.client,
            clock: &self.dispatcher.clock,
            deadline: invocation.deadline,
        };
        let process = async |item: &_| flow.process_delivery(item).await;
        let failures = batch.process_batch(event, CONCURRENT_DELIVERIES, process).await;
        self.deliver_tasks(invocation, &created).await;
        failures
    }

    /// Delivers new tasks. A task that is not delivered stays due.
    async fn deliver_tasks(&self, invocation: &Invocation, created: &CreatedTasks) {
        let stop_at = Deadline::from_now(QUEUE_TIME_PER_BATCH);
        let budget = RunBudget { invocation, stop_at, include_due_tasks: false, empty_queues: BTreeSet::new() };
        self.work_queues(created, &budget).await;
    }

    /// Works the queues until the time is up. What that interrupts is taken up again as after the
    /// end of a process.
    async fn work_queues(&self, created: &CreatedTasks, budget: &RunBudget<'_>) {
        let work = self.queue_worker.work_queues(&self.dispatcher, created, budget);
        if budget.invocation.deadline.run_until(RESPONSE_TIME, work).await.is_none() {
            tracing::error!("gave up the queues of CRMs and targets: the time was up");
        }
    }

    /// Reports which tasks wait, checks the records and conversations that are due, then delivers
    /// all tasks that are due.
    async fn run_scheduled(&self, invocation: &Invocation) -> Result<(), ScheduleError> {
        // First, so that it is written even if the rest runs out of time.
        let report = catch_panic(self.queue_worker.report_waits(&self.dispatcher));
        let WaitReport { empty: empty_queues, is_complete } =
            match Deadline::from_now(REPORT_TIME).run_until(Duration::ZERO, report).await {
                Some(report) => report.unwrap_or_default(),
                None => WaitReport::default(),
            };
        let created = CreatedTasks::default();
        let alerts = self.alert_sender(&created);
        let lid_contacts = self.lid_contacts();
        let due_checks = DueChecks {
            clock: &self.dispatcher.clock,
            store: &self.store,
            alerts: &alerts,
            reconciler: &self.reconciler(&alerts, &lid_contacts),
            lid_contacts: &lid_contacts,
        };
        let checked = due_checks.run(Deadline::from_now(DUE_CHECK_TIME)).await;
        let budget = RunBudget { invocation, stop_at: invocation.deadline, include_due_tasks: true, empty_queues };
        self.work_queues(&created, &budget).await;
        checked?;
        if is_complete { Ok(()) } else { Err(ScheduleError::IncompleteReport) }
    }

    fn alert_sender<'a>(&'a self, created: &'a CreatedTasks) -> AlertSender<'a> {
        let Dispatcher { config, ledger, clock, .. } = &self.dispatcher;
        AlertSender { config, ledger, clock, store: &self.store, created }
    }

    fn reconciler<'a>(&'a self, alerts: &'a AlertSender<'a>, lid_contacts: &'a LidContacts<'a>) -> Reconciler<'a> {
        let Dispatcher { config, ledger, clock, .. } = &self.dispatcher;
        Reconciler { config, ledger, clock, store: &self.store, alerts, lid_contacts }
    }

    fn lid_contacts(&self) -> LidContacts<'_> {
        let Dispatcher { config, ledger, clock, .. } = &self.dispatcher;
        LidContacts { config, ledger, clock, store: &self.store, inbox: &self.inbox, known: &self.known_lids }
    }

    fn operator(&self) -> SyncOperator<'_> {
        let Dispatcher { ledger, clock, .. } = &self.dispatcher;
        let person = PersonSearch { dispatcher: &self.dispatcher, store: &self.store, inbox: &self.inbox };
        let queue_names = self.queue_worker.queue_names().collect();
        SyncOperator { ledger, clock, store: &self.store, inbox: &self.inbox, queue_names, person }
    }
}
