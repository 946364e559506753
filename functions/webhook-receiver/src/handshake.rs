//! The question that Meta asks before it posts to an address: is it ours?

use super::ReceiveError;

/// The question: a token that was agreed on, and something to repeat by which we answer yes.
#[derive(Clone, Copy)]
pub(super) struct MetaHandshake<'q> {
    /// The token that it knows.
    pub(super) token: &'q str,
    /// What to repeat, as it is.
    pub(super) challenge: &'q str,
}

impl<'q> MetaHandshake<'q> {
    /// Reads it from a query's parameters, by name.
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
