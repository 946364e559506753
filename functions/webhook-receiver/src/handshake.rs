//! The question that Meta asks before it posts to an address: is it ours?

use super::NotAccepted;

/// The question: a token that was agreed on, and something to repeat by which we answer yes.
#[derive(Clone, Copy)]
pub(super) struct Handshake<'q> {
    /// The token that it knows.
    pub(super) token: &'q str,
    /// What to repeat, as it is.
    pub(super) challenge: &'q str,
}

impl<'q> Handshake<'q> {
    /// Reads it from a query's parameters, by name.
    pub(super) fn read(parameter: impl Fn(&str) -> Option<&'q str>) -> Result<Self, NotAccepted> {
        let subscribes = parameter("hub.mode") == Some("subscribe");
        let token = parameter("hub.verify_token").filter(|token| !token.is_empty());
        let challenge = parameter("hub.challenge").filter(|challenge| !challenge.is_empty());
        match (subscribes, token, challenge) {
            (true, Some(token), Some(challenge)) => Ok(Self { token, challenge }),
            _ => Err(NotAccepted::NoHandshake),
        }
    }
}
