//! Opt-outs that customers write into the conversation.

use tellonce_core::{client_config::ClientConfig, ledger::Ledger};

use crate::{
    escalation_rules,
    line_event::{LineMessage, MessageDirection},
    sync_error::SyncError,
};

/// Whether a message consists of one of the client's opt-out phrases.
pub(crate) fn is_opt_out(config: &ClientConfig, message: &LineMessage) -> bool {
    let phrases = config.opt_out.values().flatten();
    message.text.as_deref().is_some_and(|text| escalation_rules::is_exact_phrase(text, phrases))
}

/// Records a customer's opt-out if the message asks for one.
pub(crate) async fn apply_opt_out(
    config: &ClientConfig,
    ledger: &Ledger,
    message: &LineMessage,
) -> Result<(), SyncError> {
    let is_request = message.direction == MessageDirection::In && is_opt_out(config, message);
    let Some(phone) = message.phone.as_ref().filter(|_| is_request) else { return Ok(()) };
    let contact = ledger.contact_subject(phone);
    if ledger.opt_out(&contact, message.sent_at).await? {
        tracing::info!(contact.key = contact, "recorded opt-out of {contact}");
    }
    Ok(())
}
