//! What a person does on a customer's phone, or in the provider's app.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use tellonce_core::provider::PROVIDER_NAME;
use tellonce_fakes::provider::{PhoneMessage, PhoneMessageDirection};

use super::console_state::{ConsoleError, ConsoleResponse, SharedConsole, reply_with_message};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ConversationAction {
    /// The customer writes.
    Write,
    /// The team replies in the provider's app.
    TeamReply,
    /// The customer sends a picture.
    Picture,
    /// The customer reads all messages that arrived.
    Read,
    /// The customer's phone is switched off.
    PhoneOff,
    /// The customer's phone is switched on.
    PhoneOn,
    /// The last message to the customer fails.
    Fail,
}

impl ConversationAction {
    #[cfg(test)]
    pub(super) const ALL: [Self; 7] =
        [Self::Write, Self::TeamReply, Self::Picture, Self::Read, Self::PhoneOff, Self::PhoneOn, Self::Fail];
}

#[derive(Deserialize)]
pub(super) struct ConversationRequest {
    action: ConversationAction,
    contact: String,
    /// The provider's id of the line.
    line: String,
    #[serde(default)]
    text: String,
}

/// Performs an action on the customer's phone or in the provider's app.
pub(super) async fn act_in_conversation(
    State(console): SharedConsole,
    Json(wanted): Json<ConversationRequest>,
) -> ConsoleResponse {
    console.sync_fake_clock()?;
    let (provider, ConversationRequest { action, contact, line, text }) = (console.stack.provider(), wanted);
    let digits = contact.strip_prefix('+').unwrap_or_default();
    if !(7..=15).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ConsoleError::bad_request("Write the number with its country code, like +972525550101."));
    }
    if text.trim().is_empty() && matches!(action, ConversationAction::Write | ConversationAction::TeamReply) {
        return Err(ConsoleError::bad_request("Write a text first."));
    }
    match action {
        ConversationAction::Write => {
            provider.write_from_phone(&contact, &text, &line)?;
            reply_with_message("The customer wrote to the line")
        }
        ConversationAction::TeamReply => {
            provider.reply_as_team(&contact, &text, &line)?;
            reply_with_message(format!("The team replied in {PROVIDER_NAME}"))
        }
        ConversationAction::Picture => {
            let picture = tellonce_fakes::provider::InboundPhoneMessage {
                from: contact,
                text,
                kind: "image".to_owned(),
                group: None,
            };
            provider.write_message(picture, &line)?;
            reply_with_message("The customer sent a picture")
        }
        ConversationAction::Read => reply_with_message(match provider.read_messages(&contact)? {
            0 => "This customer has no unread message".to_owned(),
            1 => "The customer read one message".to_owned(),
            read => format!("The customer read {read} messages"),
        }),
        ConversationAction::PhoneOff => {
            provider.set_silent(&contact, true)?;
            reply_with_message("The customer’s phone is off: messages wait, and no delivery status is reported")
        }
        ConversationAction::PhoneOn => {
            provider.set_silent(&contact, false)?;
            reply_with_message("The customer’s phone is on again and receives the waiting messages")
        }
        ConversationAction::Fail => {
            let messages = provider.messages();
            let is_meant = |message: &&PhoneMessage| {
                message.contact == contact
                    && message.line == line
                    && message.direction == PhoneMessageDirection::ToCustomer
            };
            let Some(last) = messages.iter().rfind(is_meant) else {
                return Err(ConsoleError::bad_request("This customer has no message yet."));
            };
            provider.report_status(&last.id, "failed")?;
            reply_with_message("The last message to this customer failed")
        }
    }
}
