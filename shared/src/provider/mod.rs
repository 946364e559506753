//! The provider of the `WhatsApp` lines: its API, and everything that is true of this provider
//! only.
//!
//! Main types: [`Provider`] names the provider; [`ProviderFacts`] are its limits, names and rules;
//! [`RenderedMessage`] becomes a [`Payload`]; [`ProviderClient`] sends payloads and asks for
//! [`LineHealth`]; [`LineEventBody`] is a delivery of a line; [`WebhookRegistration`] is a
//! registered webhook.
//!
//! Flow: the rest of the workspace uses [`PROVIDER`] and the types of this module. Each provider is
//! one folder below it and one arm of [`Provider`]. The provider is known at compile time, so there
//! is no trait.
//!
//! Promises: no code outside this module knows a path, a field, a header or a limit of its API.
//! Does **not** cover the variable that holds the base URL (`dispatch` reads it), and does not
//! decide when a message is sent.

mod client;
mod ezwhatsapp;
mod facts;
mod line_event;
mod message;
mod registration;
mod response;

use reqwest::Client;
use url::Url;

pub use client::ProviderClient;
pub use facts::{LineEventHeaders, ProviderFacts, UnknownOutcomeRules};
pub use line_event::{
    ContentKind, DeliveryProgress, LineContact, LineContent, LineEventBody, LineEventItem, LineEventKind,
    ReportedStatus,
};
pub use message::{MessageRejected, Payload, PayloadContents, Recipient, RenderedMessage, SendRoute};
pub use registration::{
    ListedWebhook, NoResponse, RegistrationError, RegistrationRefusal, WebhookCallError, WebhookRegistration,
};
pub use response::{LineHealth, SendOutcome};

use crate::{
    contact::Phone,
    json::{JsonError, RawJson},
    secret::Secret,
};

/// A provider of `WhatsApp` lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// `EZWhatsApp`. Facts and their sources: `docs/ezwhatsapp.md`.
    EzWhatsApp,
}

/// The provider of all lines.
pub const PROVIDER: Provider = Provider::EzWhatsApp;
/// The name of [`PROVIDER`], for texts that people read.
pub const PROVIDER_NAME: &str = PROVIDER.facts().name;

impl Provider {
    /// Limits, names and rules of this provider.
    pub const fn facts(self) -> &'static ProviderFacts {
        match self {
            Self::EzWhatsApp => &ezwhatsapp::FACTS,
        }
    }

    /// The path below the API's base that a route submits to. The ledger stores it.
    pub const fn route_path(self, route: SendRoute) -> &'static str {
        match self {
            Self::EzWhatsApp => ezwhatsapp::message::route_path(route),
        }
    }

    /// The route of a stored path.
    pub fn route_from_path(self, path: &str) -> Option<SendRoute> {
        SendRoute::ALL.into_iter().find(|route| self.route_path(*route) == path)
    }

    /// The route and the exact bytes that every attempt submits.
    pub fn build_payload(self, message: &RenderedMessage, to: Recipient<'_>) -> Result<Payload, MessageRejected> {
        match self {
            Self::EzWhatsApp => ezwhatsapp::message::build_payload(message, to),
        }
    }

    /// The fields of a stored payload.
    pub fn parse_payload(self, payload: &Payload) -> PayloadContents {
        match self {
            Self::EzWhatsApp => ezwhatsapp::message::parse_payload(payload),
        }
    }

    /// Parses the body of a line event. Items stay raw JSON until [`Self::parse_line_event_item`].
    pub fn parse_line_event(self, body: &[u8]) -> Result<LineEventBody<'_>, JsonError> {
        match self {
            Self::EzWhatsApp => ezwhatsapp::line_event::parse_body(body),
        }
    }

    /// The kind of a line event by its name in the header or body; `None` for an unknown name.
    pub fn line_event_kind(self, name: &str) -> Option<LineEventKind> {
        match self {
            Self::EzWhatsApp => ezwhatsapp::line_event::kind_of(name),
        }
    }

    /// The fields of one message or status; `None` if the item is not an object.
    pub fn parse_line_event_item(self, item: RawJson<'_>) -> Option<LineEventItem<'_>> {
        match self {
            Self::EzWhatsApp => ezwhatsapp::line_event::parse_item(item),
        }
    }

    /// The status that a word reports, in any case; `None` for an unknown word.
    pub fn parse_status(self, word: &str) -> Option<ReportedStatus> {
        match self {
            Self::EzWhatsApp => ezwhatsapp::line_event::parse_status(word),
        }
    }

    /// The path below the base URL that registers a webhook, by its segments.
    pub const fn registration_path(self) -> &'static [&'static str] {
        match self {
            Self::EzWhatsApp => &ezwhatsapp::webhook_registration::PATH,
        }
    }

    /// The fields of a registration as the operator sees them before the call, in order: name and
    /// value.
    pub fn registration_fields(self, target_url: &str) -> Vec<(&'static str, String)> {
        match self {
            Self::EzWhatsApp => ezwhatsapp::webhook_registration::request_fields(target_url),
        }
    }

    /// Registers the URL that receives a line's events, in one call.
    pub async fn register_webhook(
        self,
        http: &Client,
        endpoint: &Url,
        token: &Secret,
        target_url: &str,
    ) -> Result<WebhookRegistration, RegistrationError> {
        match self {
            Self::EzWhatsApp => ezwhatsapp::webhook_registration::register(http, endpoint, token, target_url).await,
        }
    }

    /// Lists the webhooks of a token's line. `endpoint` is the address that registers them.
    pub async fn list_webhooks(
        self,
        http: &Client,
        endpoint: &Url,
        token: &Secret,
    ) -> Result<Vec<ListedWebhook>, WebhookCallError> {
        match self {
            Self::EzWhatsApp => ezwhatsapp::webhook_registration::list(http, endpoint, token).await,
        }
    }

    /// Deletes a webhook of a token's line by its id, in one call.
    pub async fn remove_webhook(
        self,
        http: &Client,
        endpoint: &Url,
        token: &Secret,
        id: &str,
    ) -> Result<(), WebhookCallError> {
        match self {
            Self::EzWhatsApp => ezwhatsapp::webhook_registration::remove(http, endpoint, token, id).await,
        }
    }
}

impl RenderedMessage {
    /// The payload of a message to a phone number.
    pub fn build_payload(&self, to: &Phone) -> Result<Payload, MessageRejected> {
        PROVIDER.build_payload(self, Recipient::Phone(to))
    }

    /// The payload of a reply in a conversation that the line reported. The id of a conversation
    /// addresses the reply better than a number does. A reply has no document.
    pub fn build_payload_in_conversation(&self, conversation: &str) -> Result<Payload, MessageRejected> {
        PROVIDER.build_payload(self, Recipient::Conversation(conversation))
    }
}

impl SendRoute {
    /// The path below the API's base.
    pub const fn path(self) -> &'static str {
        PROVIDER.route_path(self)
    }

    /// The route of a path.
    pub fn from_path(path: &str) -> Option<Self> {
        PROVIDER.route_from_path(path)
    }
}

impl Payload {
    /// The fields of the body.
    pub fn contents(&self) -> PayloadContents {
        PROVIDER.parse_payload(self)
    }
}
