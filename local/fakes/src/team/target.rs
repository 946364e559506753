//! The targets of the client, and the alert that reaches one.

use tellonce_core::client_config::{TargetKind, WebhookTarget};

use crate::services::is_path_of;

/// A target of the client, with what its fake needs.
#[derive(Debug, Clone)]
pub struct FakeTeamTarget {
    /// The target's name in `client.toml`.
    pub name: String,
    /// Its kind, with the settings of that kind.
    pub kind: TargetKind,
    /// Name of the secret that holds its address, or the key that signs its calls.
    pub secret: String,
}

impl FakeTeamTarget {
    /// Whether it is an address of the team's own, at this path.
    pub(super) fn is_webhook_at(&self, path: &str) -> bool {
        matches!(&self.kind, TargetKind::Webhook(WebhookTarget { url }) if is_path_of(url, path))
    }
}

/// The alert in an accepted call.
pub(super) struct ReceivedAlert {
    pub(super) target: String,
    pub(super) id: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) text: String,
}
