//! Answers what an agency asks about the messages of a client, and gives the commands of an
//! operator: in an AWS account, or to a stack on this machine.
//!
//! Main types: a [`ClientStack`] reaches the stack of a client; [`ClientTables`] reads its tables;
//! a [`SubjectReport`] says what happened to all messages of one order, appointment or lead; a
//! [`CommandRunner`] plans a command, and runs it; a [`SecretsReport`] says how the secrets are; a
//! [`SecretKeeper`] stores values.
//!
//! Promises: only [`CommandRunner::run`] and [`SecretKeeper::run`] change something. What is
//! returned names no customer: numbers are masked, and texts, names and places are left out. Only a
//! [`PersonExport`] holds what is stored of a person. Nothing holds a value of a secret.

mod absence;
mod calls;
mod client_stack;
mod client_tables;
mod customer_messages;
mod delivery_trace;
mod evidence;
mod explain;
mod function_logs;
mod inbox_kind;
mod local_stack;
mod log_lines;
mod month_report;
mod needs;
mod operations;
mod operator;
mod overview;
mod refusals;
mod report;
mod secrets;
mod sentences;
mod table_scan;
mod today;

pub use absence::{AbsenceReport, ChainLink, ChainStep, SettingToChange};
pub use calls::CallError;
pub use client_stack::{ClientStack, StackError};
pub use client_tables::{ClientTables, OpsError, TableNames};
pub use customer_messages::CustomerReport;
pub use delivery_trace::{DeliveryTrace, TracedAppointment, TracedOutcome, TracedTask};
pub use evidence::{EvidenceArea, EvidenceCheck, EvidenceError, EvidenceResult, StackEvidence};
pub use explain::Explanation;
pub use function_logs::{API_LOG, FUNCTIONS, FunctionLogLine, LogError};
pub use local_stack::{LocalEndpoints, LocalStackError, LocalStackFile};
pub use log_lines::{FoundLogLines, LogFollower, LogRequest};
pub use month_report::{KindCounts, MessageKind, MonthReport, Outage, WaitCounts, WaitReason};
pub use needs::{Need, Needs};
pub use operations::{Operation, OperationsError};
pub use operator::{
    CommandOutcome, CommandRunner, ContactReport, CustomerAddress, DeadLetter, DeadLettersPlan, DeadLettersResult,
    DeliveryPlan, DonePlan, FeedPlan, ForgetPlan, ForgetReceipt, FormPlan, LineAction, LinePlan, LineTestPlan,
    LineTestVerdict, OperatorCommand, OperatorError, OptOutPlan, PersonCount, PersonEntry, PersonExport, Plan,
    Progress, QueueAction, QueuePlan, ReplayPlan, ReplaySelection, ReplaySpan, ResendPlan, list_operations,
};
pub use overview::{FeedOverview, FormOverview, LineOverview, MAX_LISTED, Overview, PartOverview, QueueOverview, Wait};
pub use refusals::{Refusal, SenderRefusals};
pub use report::{
    AbsentMessage, AppointmentReport, DeliveryReport, MessageReport, ReportStep, Standing, SubjectReport,
    UnsentReminder,
};
pub use secrets::{
    NewValues, RotationReport, SecretChange, SecretKeeper, SecretReport, SecretsError, SecretsOutcome, SecretsPlan,
    SecretsReport, ValueReport, ValueState, VersionReport,
};
pub use sentences::describe_step;
pub use table_scan::{ScanCost, ScanProgress};
pub use today::{RaisedAlarm, Today};
