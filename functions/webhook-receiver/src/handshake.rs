//! The handshake of Meta, which checks the address before it posts deliveries.

use crate::http_response::ReceiveError;

/// The handshake: an agreed token, and a challenge that the response must repeat.
#[derive(Clone, Copy)]
pub(super) struct MetaHandshake<'q> {
    /// The token that the sender presents.
    pub(super) token: &'q str,
    /// The text to repeat unchanged.
    pub(super) challenge: &'q str,
}

impl<'q> MetaHandshake<'q> {
    /// Reads the handshake from the query's parameters.
    pub(super) fn from_query(query_parameter: impl Fn(&str) -> Option<&'q str>) -> Result<Self, ReceiveError> {
        let is_subscribe = query_parameter("hub.mode") == Some("subscribe");
        let token = query_parameter("hub.verify_token").filter(|token| !token.is_empty());
        let challenge = query_parameter("hub.challenge").filter(|challenge| !challenge.is_empty());
        match (is_subscribe, token, challenge) {
            (true, Some(token), Some(challenge)) => Ok(Self { token, challenge }),
            _ => Err(ReceiveError::InvalidHandshake),
        }
    }
}
