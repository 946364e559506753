//! Opt-outs that customers write into the conversation.

use tellonce_core::{client_config::ClientConfig, ledger::Ledger};

use crate::{escalation_rules, lid_contact::LidContacts, line_event::LineMessage, sync_error::SyncError};

/// Whether a message consists of one of the client's opt-out phrases.
pub(crate) fn is_opt_out(config: &ClientConfig, message: &LineMessage) -> bool {
    let phrases = config.opt_out.values().flatten();
    message.text.as_deref().is_some_and(|text| escalation_rules::is_exact_phrase(text, phrases))
}

/// Whether the customer asks for an opt-out now. An old message does not: the customer may have
/// agreed since.
pub(crate) fn asks_for_opt_out(config: &ClientConfig, message: &LineMessage) -> bool {
    message.has_current_text() && is_opt_out(config, message)
}

/// Records the opt-out of a message that asks for one. Without a number it waits under the private
/// id. Returns whether it is kept under either.
pub(crate) async fn apply_opt_out(
    ledger: &Ledger,
    lid_contacts: &LidContacts<'_>,
    message: &LineMessage,
) -> Result<bool, SyncError> {
    let Some(phone) = &message.phone else {
        let Some(lid) = &message.lid else { return Ok(false) };
        lid_contacts.hold_opt_out(lid, message.sent_at).await?;
        return Ok(true);
    };
    let contact = ledger.contact_subject(phone);
    if ledger.opt_out(&contact, message.sent_at).await? {
        tracing::info!(contact.key = contact, "recorded opt-out of {contact}");
    }
    Ok(true)
}
