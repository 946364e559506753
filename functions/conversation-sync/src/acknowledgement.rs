//! Acknowledgements: the reply in the conversation that an escalation may configure.

use tellonce_core::{
    client_config::{ClientConfig, Precedence},
    dispatch::{Dispatcher, Invocation},
    hash::sha256_hex,
    ledger::{Content, IdempotencyKey, MessageContext, OutboundMessage},
    provider::Payload,
    wording,
};

use crate::{
    alert::Alert,
    conversation::{Conversation, MessageRef, received_message::ReceivedMessage},
    escalation_rules,
    opt_out::is_opt_out,
    sync_error::SyncError,
};

/// Priority among all that waits, 0 to 100. High: the customer is looking at the phone.
const ACKNOWLEDGEMENT_PRIORITY: u8 = 90;
/// The name under which a conversation keeps its last acknowledgement. No escalation has it.
const ACKNOWLEDGEMENT_ALERT_NAME: &str = "";

/// An acknowledgement to send.
pub(crate) struct PendingAcknowledgement {
    /// The escalation that configures it.
    escalation: String,
    /// The message, and the delivery that reported it first.
    trigger: MessageRef,
}

/// Plans the acknowledgement of a message, if one of its alerts configures one. A message gets at
/// most one, and a conversation at most one within the alert's cooldown.
pub(crate) fn plan_acknowledgement(
    config: &ClientConfig,
    conversation: &mut Conversation,
    received: ReceivedMessage<'_>,
    alerts: &[Alert],
) -> Option<PendingAcknowledgement> {
    let message = received.message;
    // Our own messages, edits, old messages and opt-outs get none. Without a conversation there is
    // no place for it.
    if !message.is_customer_writing() || message.conversation_id.is_none() || is_opt_out(config, message) {
        return None;
    }
    let escalations = &config.escalations;
    let has_acknowledgement =
        |alert: &&Alert| escalations.get(&alert.escalation).is_some_and(|rule| rule.acknowledge.is_some());
    let alert = alerts.iter().find(has_acknowledgement)?;
    let cooldown = escalations.get(&alert.escalation)?.cooldown;
    let trigger = conversation.raise_alert(ACKNOWLEDGEMENT_ALERT_NAME, cooldown, received.message_ref())?;
    Some(PendingAcknowledgement { escalation: alert.escalation.clone(), trigger })
}

/// Sends an acknowledgement into the conversation of the customer's message.
pub(crate) async fn send_acknowledgement(
    dispatcher: &Dispatcher,
    invocation: &Invocation,
    received: ReceivedMessage<'_>,
    conversation: &Conversation,
    pending: PendingAcknowledgement,
) -> Result<(), SyncError> {
    let message = received.message;
    let PendingAcknowledgement { escalation, trigger } = pending;
    let Some(rule) = dispatcher.config.escalations.get(&escalation) else { return Ok(()) };
    let (Some(template), Some(conversation_id)) = (&rule.acknowledge, &message.conversation_id) else {
        return Ok(());
    };
    // If a phrase raised the alert, the reply is in the language of that phrase.
    let language = escalation_rules::find_language(&rule.when, message.text.as_deref().unwrap_or_default())
        .filter(|language| template.text.contains_key(*language))
        .unwrap_or_else(|| dispatcher.config.language_for(None));
    let name = conversation.name.as_deref();
    let payload = wording::build_acknowledgement(template, language, &dispatcher.config.name, name)
        .map_err(|error| error.to_string())
        .and_then(|reply| reply.build_payload_in_conversation(conversation_id).map_err(|error| error.to_string()));
    match payload {
        Ok(payload) => {
            let useful_until = message.sent_at + template.useful_for.0;
            let outbound = build_outbound(received, conversation, &trigger, payload, useful_until);
            dispatcher.dispatch(invocation, outbound).await?;
        }
        Err(error) => {
            tracing::error!(
                escalation.name = escalation,
                "could not build the acknowledgement of {escalation}: {error}"
            );
        }
    }
    Ok(())
}

fn build_outbound(
    received: ReceivedMessage<'_>,
    conversation: &Conversation,
    trigger: &MessageRef,
    payload: Payload,
    useful_until: jiff::Timestamp,
) -> OutboundMessage {
    // The key names the first delivery: a later one of the same message gets no second reply.
    let key = IdempotencyKey::for_acknowledgement(&trigger.delivery_id);
    OutboundMessage {
        key: if trigger.is_sole_message {
            key
        } else {
            key.with_instance(&sha256_hex(trigger.message_id.as_bytes(), 12))
        },
        precedence: Precedence::independent(),
        instance: None,
        generation: None,
        zone: None,
        text_zone: None,
        consent: None,
        released_at: None,
        occurred_at: received.message.sent_at,
        line: conversation.line.clone(),
        to: received.message.phone.clone(),
        content: Content::Send(payload),
        useful_until,
        priority: ACKNOWLEDGEMENT_PRIORITY,
        // The customer wrote a moment ago.
        ignores_quiet_hours: true,
        not_before: None,
        delivery: received.delivery.id.clone(),
        context: MessageContext { name: conversation.name.clone(), ..MessageContext::default() },
    }
}
