//! A message together with the delivery that reported it.

use tellonce_core::inbox::InboxItem;

use crate::{conversation::MessageRef, line_event::LineMessage};

/// A message together with the delivery that reported it.
#[derive(Clone, Copy)]
pub(crate) struct ReceivedMessage<'a> {
    pub(crate) delivery: &'a InboxItem,
    pub(crate) message: &'a LineMessage,
    /// Whether the delivery holds no other message.
    pub(crate) is_sole_message: bool,
}

impl<'a> ReceivedMessage<'a> {
    /// The line, by its name in `client.toml`.
    pub(crate) fn line(&self) -> &'a str {
        &self.delivery.sender
    }

    /// The reference under which a conversation remembers this message and its delivery.
    pub(crate) fn message_ref(&self) -> MessageRef {
        MessageRef {
            delivery_id: self.delivery.delivery_id().to_owned(),
            is_sole_message: self.is_sole_message,
            ..MessageRef::new(&self.message.message_id, self.message.sent_at)
        }
    }
}
