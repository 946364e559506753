//! What tellonce sent to a customer lately, as the ledger records it.

use jiff::{SignedDuration, Timestamp};
use tellonce_core::{
    appointment::Appointment,
    client_config::{ClientConfig, EscalationTrigger},
    contact::Phone,
    fault::error_chain,
    ledger::{Ledger, LedgerError, LedgerRow},
};

use crate::sync_error::unless_newer_version;

/// How far back the history reaches.
const HISTORY_PERIOD: SignedDuration = SignedDuration::from_hours(24 * 90);
/// The most rows of a history.
const HISTORY_LIMIT: i32 = 10;
/// The most appointments of a customer that are read.
const MAX_APPOINTMENTS: usize = 3;

/// The rows sent to this number, newest first. Without a number there are none.
pub(crate) async fn load_sent_rows(
    ledger: &Ledger,
    phone: Option<&Phone>,
    now: Timestamp,
) -> Result<Vec<LedgerRow>, LedgerError> {
    match phone {
        Some(phone) => ledger.find_sent_to(phone, now - HISTORY_PERIOD, HISTORY_LIMIT).await,
        None => Ok(Vec::new()),
    }
}

/// The same, or nothing if only a newer version of tellonce can read it: an alert that depends on
/// no history must not wait for that version.
pub(crate) async fn load_known_rows(
    ledger: &Ledger,
    phone: Option<&Phone>,
    now: Timestamp,
) -> Result<Vec<LedgerRow>, LedgerError> {
    let sent_rows = load_sent_rows(ledger, phone, now).await;
    Ok(unless_newer_version("use a customer's sent messages", sent_rows)?.unwrap_or_default())
}

/// The same, or nothing if the ledger fails: a notification without history is better than none.
pub(crate) async fn try_load_sent_rows(ledger: &Ledger, phone: Option<&Phone>, now: Timestamp) -> Vec<LedgerRow> {
    match load_sent_rows(ledger, phone, now).await {
        Ok(sent_rows) => sent_rows,
        Err(error) => {
            tracing::error!("could not read a customer's sent messages: {}", error_chain(&error));
            Vec::new()
        }
    }
}

/// The appointments among the sent rows, if an escalation of the line depends on appointments.
pub(crate) async fn load_appointments(
    config: &ClientConfig,
    ledger: &Ledger,
    line: &str,
    sent_rows: &[LedgerRow],
) -> Result<Vec<Appointment>, LedgerError> {
    let is_needed = config
        .escalations
        .values()
        .any(|escalation| matches!(escalation.when, EscalationTrigger::Appointment(_)) && escalation.covers_line(line));
    if !is_needed {
        return Ok(Vec::new());
    }
    let mut subjects: Vec<&str> = sent_rows.iter().map(|row| row.key.subject()).collect();
    subjects.retain(|subject| subject.starts_with("appointment:"));
    subjects.dedup();
    let mut appointments = Vec::new();
    for subject in subjects.into_iter().take(MAX_APPOINTMENTS) {
        let appointment = ledger.read_appointment(subject).await;
        appointments.extend(unless_newer_version("use an appointment", appointment)?.flatten());
    }
    Ok(appointments)
}
