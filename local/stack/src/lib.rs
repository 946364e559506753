//! The local stack: runs the deployed functions on one machine. Never deployed.
//!
//! [`LocalStack::start`] reads the wiring from `template.yaml` and starts the function binaries,
//! each in its own process behind a Lambda Runtime API endpoint. Around them it runs an embedded
//! DynamoDB with streams, Secrets Manager over a local file, what operators call in AWS, API
//! Gateway routes, the schedules, and the fakes of `tellonce-fakes`. Everything listens on
//! 127.0.0.1 only; it needs no account and no Docker.
//!
//! Roles are enforced for tables, secrets and what operators call (`iam`). Not imitated: other
//! permissions, memory and CPU limits, concurrency limits.

mod access_log;
pub mod activity;
pub mod alarms;
pub mod build;
pub mod clock;
pub mod dynamo;
pub mod functions;
pub mod gateway;
pub mod iam;
mod log_file;
pub mod metrics;
mod operator_api;
mod post_recorder;
mod recording;
mod schedule;
pub mod secrets;
mod stack;
mod state;
mod stored_deliveries;
pub mod streams;
pub mod template;

pub use stack::{ConsoleBuilder, LoadedClient, LocalStack, RealSystem, StackOptions};
pub use tellonce_fakes::REGION;

/// The AWS account of the stack.
pub const ACCOUNT: &str = "000000000000";
