//! The configured senders of webhooks.

use tellonce_core::client_config::{BodyTypes, DeliveryProof};

/// The configured sender that a request's path names.
#[derive(Debug, Clone, Copy)]
pub struct WebhookSender<'a> {
    /// The sender's name in `client.toml`.
    pub name: &'a str,
    /// The kind, which decides the inbox.
    pub kind: SenderKind,
    /// The proof that its deliveries must carry.
    pub proof: DeliveryProof<'a>,
    /// The bodies that it posts. None if any body is accepted.
    pub body: Option<BodyTypes>,
    /// Whether it checks the address with a GET before it posts.
    pub requires_handshake: bool,
    /// Whether it parses the reply as JSON.
    pub reads_reply: bool,
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
    Form,
    /// A line of the provider at `/lines/{line}/{secret}`. conversation-sync consumes its events.
    Line,
}
