//! The configured senders of webhooks.

use tellonce_core::{client_config::FormKind, delivery::DeliveryProof};

/// The configured sender that a request's path names.
#[derive(Debug, Clone, Copy)]
pub struct WebhookSender<'a> {
    /// The sender's name in `client.toml`.
    pub name: &'a str,
    /// The kind, which decides the inbox.
    pub kind: SenderKind,
    /// The proof that its deliveries must carry.
    pub proof: DeliveryProof<'a>,
}

impl WebhookSender<'_> {
    /// Whether the sender checks the address with a GET before it posts.
    pub(crate) fn requires_handshake(&self) -> bool {
        self.kind == SenderKind::Form(FormKind::Meta)
    }
}

/// The kind of a sender. Each kind has its own inbox, because another function consumes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SenderKind {
    /// A store at `/stores/{store}`. order-notifier consumes its deliveries.
    Store,
    /// A calendar at `/bookings/{calendar}`. reminder-scheduler consumes its deliveries.
    Calendar,
    /// A form at `/leads/{form}`, or at `/leads/{form}/{secret}` if its address is secret.
    /// lead-first-touch consumes its deliveries.
    Form(FormKind),
    /// A line of `EZWhatsApp` at `/lines/{line}/{secret}`. conversation-sync consumes its events.
    Line,
}
