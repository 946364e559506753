//! Answers what an agency asks about the messages of a client, from the client's tables: in an AWS
//! account, or of a stack on this machine.
//!
//! Main types: [`ClientTables`] reads the tables of a client; a [`SubjectReport`] says what
//! happened to all messages of one order, appointment or lead.
//!
//! Promises: it writes nothing and reads no secret. What it returns names no customer: numbers are
//! masked, and texts, names and places are left out.

mod account;
mod client_tables;
mod local_stack;
mod report;
mod sentences;

pub use account::{AccountError, connect_account};
pub use client_tables::{ClientTables, OpsError, TableNames};
pub use local_stack::{LocalStackError, LocalStackFile};
pub use report::{AppointmentReport, MessageReport, ReportStep, Standing, SubjectReport, UnsentReminder};
