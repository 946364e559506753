//! What conversation-sync does for the customer: an answer in the conversation, where somebody configured one, and their wish
//! not to be written to.

use tellonce_core::{
    client_config::Precedence,
    hash::sha256_hex,
    inbox::InboxItem,
    ledger::{Content, IdempotencyKey, MessageContext, OutboundMessage},
    wording,
};

use crate::{
    ConversationSync,
    conversation::{Conversation, MessageRef},
    crm::MessageDirection,
    delivery_flow::{Alert, SyncError, WorkContext},
    escalation_rules,
    line_event::LineMessage,
};

/// How useful an answer is beside everything else that waits, 0 to 100: somebody is looking at their phone.
const ACKNOWLEDGEMENT_PRIORITY: u8 = 90;
/// The name under which a conversation remembers its last answer. No escalation is called so.
const ACKNOWLEDGEMENT_ALERT_NAME: &str = "";

/// An answer to a message.
pub(crate) struct PendingAcknowledgement {
    /// The escalation that it belongs to.
    escalation: String,
    /// The message, and the delivery that it was read in first.
    trigger: MessageRef,
}

impl ConversationSync {
    /// The answer to a message, if a call that it set off has one. Whatever a message sets off, it is answered once, and a
    /// conversation once in the time that the call stands for.
    pub(crate) fn plan_acknowledgement(
        &self,
        conversation: &mut Conversation,
        entry: &InboxItem,
        message: &LineMessage,
        is_sole_message: bool,
        alerts: &[Alert],
    ) -> Option<PendingAcknowledgement> {
        // Nobody answers what the line said itself, nor somebody who asks to be left alone. Without a conversation there is
        // nowhere to answer.
        if message.direction == MessageDirection::Out || message.conversation_id.is_none() || self.is_opt_out(message) {
            return None;
        }
        let escalations = &self.dispatcher.config.escalations;
        let has_acknowledgement =
            |call: &&Alert| escalations.get(&call.escalation).is_some_and(|rule| rule.acknowledge.is_some());
        let alert = alerts.iter().find(has_acknowledgement)?;
        let cooldown = escalations.get(&alert.escalation)?.cooldown;
        let trigger = MessageRef::from_delivery(message, entry.delivery_id(), is_sole_message);
        let trigger = conversation.raise_alert(ACKNOWLEDGEMENT_ALERT_NAME, cooldown, trigger)?;
        Some(PendingAcknowledgement { escalation: alert.escalation.clone(), trigger })
    }

    /// Answers a customer's message in its conversation.
    pub(crate) async fn send_acknowledgement(
        &self,
        work: &WorkContext<'_>,
        entry: &InboxItem,
        message: &LineMessage,
        conversation: &Conversation,
        pending: PendingAcknowledgement,
    ) -> Result<(), SyncError> {
        let PendingAcknowledgement { escalation, trigger } = pending;
        let Some(rule) = self.dispatcher.config.escalations.get(&escalation) else { return Ok(()) };
        let (Some(template), Some(conversation_id)) = (&rule.acknowledge, &message.conversation_id) else {
            return Ok(());
        };
        // They are answered in the language whose word they used, if it was a word.
        let language = escalation_rules::find_language(&rule.when, message.text.as_deref().unwrap_or_default());
        let language = language.filter(|language| template.text.contains_key(*language));
        let language = language.unwrap_or_else(|| self.dispatcher.config.language_for(None));
        let (business, name) = (&self.dispatcher.config.name, conversation.name.as_deref());
        let payload = wording::build_acknowledgement(template, language, business, name)
            .map_err(|error| error.to_string())
            .and_then(|message| {
                message.build_payload_in_conversation(conversation_id).map_err(|error| error.to_string())
            });
        let payload = match payload {
            Ok(payload) => payload,
            Err(error) => {
                tracing::error!(escalation = escalation, "an acknowledgement cannot be made: {error}");
                return Ok(());
            }
        };
        // Of the delivery that it was read in first: another one of the same message is no reason for another answer.
        let key = IdempotencyKey::for_acknowledgement(&trigger.delivery_id);
        let outbound = OutboundMessage {
            key: if trigger.is_sole_message {
                key
            } else {
                key.with_instance(&sha256_hex(trigger.message_id.as_bytes(), 12))
            },
            precedence: Precedence::independent(),
            instance: None,
            generation: None,
            zone: None,
            occurred_at: message.sent_at,
            line: conversation.line.clone(),
            to: message.phone.clone(),
            content: Content::Send(payload),
            useful_until: message.sent_at + template.useful_for.0,
            priority: ACKNOWLEDGEMENT_PRIORITY,
            // They wrote a moment ago.
            ignores_quiet_hours: true,
            not_before: None,
            delivery: entry.id.clone(),
            context: MessageContext { name: conversation.name.clone(), ..MessageContext::default() },
        };
        self.dispatcher.dispatch(work.invocation, outbound).await?;
        Ok(())
    }

    fn is_opt_out(&self, message: &LineMessage) -> bool {
        let phrases = self.dispatcher.config.opt_out.values().flatten();
        message.text.as_deref().is_some_and(|text| escalation_rules::is_exact_phrase(text, phrases))
    }

    /// Writes down that a customer asked not to be written to, if that is what they wrote.
    pub(crate) async fn apply_opt_out(&self, message: &LineMessage) -> Result<(), SyncError> {
        let is_request = message.direction == MessageDirection::In && self.is_opt_out(message);
        let Some(phone) = message.phone.as_ref().filter(|_| is_request) else { return Ok(()) };
        let contact = self.dispatcher.ledger.contact_subject(phone);
        if self.dispatcher.ledger.opt_out(&contact, message.sent_at).await? {
            tracing::info!(contact = contact, "a customer asked not to be written to");
        }
        Ok(())
    }
}
