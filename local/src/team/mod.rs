//! Stand-ins for the places where the team is called: Slack, Teams, e-mail through SES, SNS topics, and an address that takes
//! signed calls.
//!
//! The cast: [`Team`] are all targets of the client; a [`Notice`] is one call that reached one of them, in the words that the
//! team reads. [`crate::peers`] has what is alike in all stand-ins, and makes them fail.
//!
//! Promises answers and refusals of the shapes that the real ones document, and that a notice is there for every call that was
//! taken: none of them but the signed address and an SNS topic of the kind FIFO knows a repeat. Not imitated: how fast calls may
//! follow each other, what SES has verified, and whether an AWS signature is right beyond its form.

mod aws;
mod chat;

use std::{path::PathBuf, sync::Arc};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{
    clock::Clock,
    peers::{Asked, Kept, Peer, Peers, Said, is_signed},
    secrets::Secrets,
};

/// A target of the client, as far as its stand-in has to know it.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// Its name in `client.toml`.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Name of the secret with its address, or with what its calls are signed with.
    pub(crate) secret: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Slack,
    Teams,
    Email {
        from: String,
        to: Vec<String>,
    },
    Sns {
        topic: String,
    },
    Webhook {
        /// The path of its address.
        path: String,
    },
}

/// One call that reached the team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The target, by its name in `client.toml`.
    pub target: String,
    /// What the call was known by, where a target knows a repeat.
    pub id: Option<String>,
    /// The subject, where a target has one.
    pub subject: Option<String>,
    /// What the team reads.
    pub text: String,
    /// When it came, in unix milliseconds by the stack's clock.
    pub at_ms: i64,
    /// How often the same call came again, where the target itself knows it for the same.
    pub repeats: u32,
}

/// What a target made of a call.
struct Call {
    target: String,
    id: Option<String>,
    subject: Option<String>,
    text: String,
}

/// The stand-ins of a stack.
#[derive(Debug)]
pub struct Team {
    accounts: Vec<Account>,
    notices: Kept<Vec<Notice>>,
    peers: Arc<Peers>,
    secrets: Arc<Secrets>,
    clock: Arc<Clock>,
}

impl Team {
    /// What arrived is kept in `file`; without one it is gone with the stack.
    pub(crate) fn open(
        file: Option<PathBuf>,
        accounts: Vec<Account>,
        (peers, secrets, clock): (Arc<Peers>, Arc<Secrets>, Arc<Clock>),
    ) -> anyhow::Result<Self> {
        Ok(Self { accounts, notices: Kept::open(file)?, peers, secrets, clock })
    }

    /// Names of the client's targets.
    pub fn names(&self) -> Vec<&str> {
        self.accounts.iter().map(|account| account.name.as_str()).collect()
    }

    /// Everything that reached the team, oldest first.
    pub fn notices(&self) -> Vec<Notice> {
        self.notices.lock().clone()
    }

    /// Forgets all notices.
    pub fn clear(&self) -> anyhow::Result<()> {
        self.notices.change(Vec::clear)
    }

    /// Whom a request is for, by its method, path and kind of body.
    fn recognise(&self, request: &Request) -> Option<Peer> {
        let path = request.uri().path();
        let kind = request.headers().get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if request.method() != Method::POST {
            return None;
        }
        match path {
            "/" if kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) => Some(Peer::Sns),
            "/v2/email/outbound-emails" => Some(Peer::Ses),
            _ if path.starts_with("/services/") => Some(Peer::Slack),
            _ if path.contains("/workflows/") && path.ends_with("/paths/invoke") => Some(Peer::Teams),
            _ => {
                let is_here = |account: &Account| matches!(&account.kind, Kind::Webhook { path: own } if own == path);
                self.accounts.iter().any(is_here).then_some(Peer::TargetWebhook)
            }
        }
    }

    fn said(&self, peer: Peer, asked: &Asked) -> Said {
        let taken = match peer {
            Peer::Slack => self.at_address(&Kind::Slack, asked, chat::slack),
            Peer::Teams => self.at_address(&Kind::Teams, asked, chat::teams),
            Peer::Ses => aws::email(asked, &self.accounts),
            Peer::Sns => aws::publish(asked, &self.accounts),
            _ => self.at_signed_address(asked),
        };
        let (call, answer) = match taken {
            Ok(taken) => taken,
            Err(refusal) => return refusal,
        };
        let kept = self.notices.change(|notices| keep(notices, call, self.clock.now_ms()));
        match kept {
            Ok(()) => answer,
            Err(error) => {
                tracing::warn!("{error:#}");
                Said::empty(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    /// A call to one of the targets whose address is the secret.
    fn at_address(
        &self,
        kind: &Kind,
        asked: &Asked,
        read: impl Fn(&Asked, Option<&str>) -> Result<(Call, Said), Said>,
    ) -> Result<(Call, Said), Said> {
        let is_here = |account: &&Account| {
            let address = self.secrets.current(&account.secret);
            account.kind == *kind && address.is_some_and(|address| chat::is_address_of(&address, asked))
        };
        read(asked, self.accounts.iter().find(is_here).map(|account| account.name.as_str()))
    }

    fn at_signed_address(&self, asked: &Asked) -> Result<(Call, Said), Said> {
        let now_s = self.clock.now_ms().div_euclid(1000);
        let is_own = |account: &&Account| {
            matches!(&account.kind, Kind::Webhook { path } if *path == asked.path)
                && self.secrets.current(&account.secret).is_some_and(|secret| is_signed(asked, &secret, now_s))
        };
        let target = self.accounts.iter().find(is_own).ok_or_else(|| Said::empty(StatusCode::UNAUTHORIZED))?;
        let id = asked.header("webhook-id").map(str::to_owned);
        let text = String::from_utf8_lossy(&asked.body).into_owned();
        let call = Call { target: target.name.clone(), id, subject: None, text };
        Ok((call, Said::empty(StatusCode::NO_CONTENT)))
    }
}

/// Adds a notice, or counts a repeat where the target knows it for one.
fn keep(notices: &mut Vec<Notice>, call: Call, at_ms: i64) {
    let Call { target, id, subject, text } = call;
    let same = |known: &&mut Notice| id.is_some() && known.id == id && known.target == target;
    match notices.iter_mut().find(same) {
        Some(known) => known.repeats += 1,
        None => notices.push(Notice { target, id, subject, text, at_ms, repeats: 0 }),
    }
}

/// Answers what is for the team; lets everything else pass.
pub(crate) async fn team_first(State(team): State<Arc<Team>>, request: Request, next: Next) -> Response {
    let Some(peer) = team.recognise(&request) else { return next.run(request).await };
    let Some(asked) = Asked::read(request).await else { return StatusCode::BAD_REQUEST.into_response() };
    team.peers.answer(peer, || team.said(peer, &asked)).await
}

#[cfg(test)]
mod tests;
