//! Opt-outs that customers write into the conversation.

use tellonce_core::{client_config::ClientConfig, ledger::Ledger};

use crate::{
    escalation_rules,
    lid_contact::LidContacts,
    line_event::{LineMessage, MAX_OPT_OUT_AGE},
    sync_error::SyncError,
};

/// A customer's message that asks for an opt-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OptOutRequest {
    /// It is applied, with the time at which it was written. A later `opt_in` of an operator
    /// counts more.
    Valid,
    /// It is older than [`MAX_OPT_OUT_AGE`]: only a person knows whether it still holds.
    TooOld,
}

/// Whether a message consists of one of the client's opt-out phrases.
pub(crate) fn is_opt_out(config: &ClientConfig, message: &LineMessage) -> bool {
    let phrases = config.opt_out.values().flatten();
    message.text.as_deref().is_some_and(|text| escalation_rules::is_exact_phrase(text, phrases))
}

/// Whether the customer asks for an opt-out in this message or edit.
pub(crate) fn find_request(config: &ClientConfig, message: &LineMessage) -> Option<OptOutRequest> {
    if !message.has_customer_text() || !is_opt_out(config, message) {
        return None;
    }
    Some(if message.age <= MAX_OPT_OUT_AGE { OptOutRequest::Valid } else { OptOutRequest::TooOld })
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

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};
    use tellonce_core::provider::ContentKind;

    use super::*;
    use crate::line_event::MessageDirection;

    fn message(age_hours: i64, text: &str) -> LineMessage {
        LineMessage {
            message_id: "m1".into(),
            conversation_id: None,
            phone: None,
            lid: None,
            direction: MessageDirection::In,
            sent_at: Timestamp::UNIX_EPOCH,
            content: ContentKind::Written,
            kind: "text".into(),
            text: Some(text.into()),
            target: None,
            age: SignedDuration::from_hours(age_hours),
        }
    }

    #[test]
    fn an_opt_out_counts_up_to_a_week_after_it_was_written() {
        let toml = "client = \"test\"\nname = \"Shop\"\ncountry = \"IL\"\ntime_zone = \"Asia/Jerusalem\"\n\
                    languages = [\"en\"]\n[opt_out]\nen = [\"stop\"]\n[lines.main]\nline_id = \"line_1\"\n";
        let config = ClientConfig::parse(toml).unwrap();
        for (hours, expected) in [
            (0, OptOutRequest::Valid),
            (25, OptOutRequest::Valid),
            (24 * 7, OptOutRequest::Valid),
            (24 * 7 + 1, OptOutRequest::TooOld),
            (24 * 21, OptOutRequest::TooOld),
        ] {
            assert_eq!(find_request(&config, &message(hours, "Stop!")), Some(expected), "{hours} hours");
            let edit = LineMessage { content: ContentKind::Edit, ..message(hours, "stop") };
            assert_eq!(find_request(&config, &edit), Some(expected), "an edit, {hours} hours");
        }
        let ours = LineMessage { direction: MessageDirection::Out, ..message(0, "stop") };
        let reaction = LineMessage { content: ContentKind::Reaction, ..message(0, "stop") };
        for other in [message(0, "do not stop"), ours, reaction] {
            assert_eq!(find_request(&config, &other), None);
        }
    }
}
