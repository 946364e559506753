//! What the stand-ins for other people's APIs have in common: whoever asks proves himself as the real ones want it, every
//! request is counted, what was put in is kept, and [`Trouble`] makes one of them fail.
//!
//! What they answer is the business of [`crate::calendars`], [`crate::leads`], [`crate::crms`] and [`crate::team`].

mod asked;
mod signed;
mod trouble;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use anyhow::Context as _;
use axum::{
    body::Body,
    extract::{ConnectInfo, Request},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{cord::Cord, secrets::Secrets};

pub(crate) use asked::Asked;
pub(crate) use signed::is_signed;
pub use trouble::Trouble;

use trouble::Troubles;

/// What a call that is refused for its number is asked to wait, in seconds: no time at all, because functions really wait, and a
/// story of thousands of calls would.
const RETRY_AFTER_S: u32 = 0;

/// Whom the functions ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// `GET /api/v1/appointments/{id}`.
    Acuity,
    /// `GET /v2/customers/{id}`.
    Square,
    /// `GET …/{name}.ics`.
    Feed,
    /// Meta: `GET /v{version}/{id}`.
    Graph,
    /// `HubSpot` as a sender of leads: `GET /crm/v3/objects/contacts/{id}`.
    HubSpot,
    /// `HubSpot` as a CRM: contacts and communications.
    HubSpotCrm,
    /// Pipedrive: persons and notes.
    Pipedrive,
    /// Zoho: access tokens, leads or contacts, notes.
    Zoho,
    /// Google: access tokens and Sheets.
    Sheets,
    /// A CRM's own address for signed calls.
    CrmWebhook,
    /// `POST /services/…`.
    Slack,
    /// The address of a Teams workflow.
    Teams,
    /// SES: `POST /v2/email/outbound-emails`.
    Ses,
    /// SNS: `POST /`.
    Sns,
    /// The team's own address for signed calls.
    TargetWebhook,
}

/// Who may ask: what has to match is looked up anew each time, so that a rotated secret counts at once.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) peer: Peer,
    /// Acuity's user id; the others have none.
    pub(crate) user: String,
    /// Name of the secret with the key or token.
    pub(crate) secret: String,
}

/// All of them, as far as they are alike.
#[derive(Debug)]
pub struct Peers {
    troubles: Mutex<Troubles>,
    answers: Mutex<BTreeMap<Peer, BTreeMap<u16, u64>>>,
    accounts: Vec<Account>,
    secrets: Arc<Secrets>,
}

impl Peers {
    pub(crate) fn new(accounts: Vec<Account>, secrets: Arc<Secrets>) -> Self {
        Self { troubles: Mutex::default(), answers: Mutex::default(), accounts, secrets }
    }

    /// The next `times` requests to one of them end like this; troubles queue up behind each other.
    pub fn fail_next(&self, peer: Peer, trouble: Trouble, times: u32) {
        crate::lock(&self.troubles).plan(peer, trouble, times);
    }

    /// From now on a share of the requests to one of them (0.0 to 1.0) fails, after those planned by [`Self::fail_next`]: a
    /// quarter each as [`Trouble::Status`] 503, [`Trouble::Throttled`], [`Trouble::DroppedAfter`] and [`Trouble::FailedAfter`].
    /// The same seed gives the same row of troubles.
    pub fn fail_share(&self, peer: Peer, probability: f64, seed: u64) {
        crate::lock(&self.troubles).share(peer, probability, seed);
    }

    /// Whether one of them takes requests and never answers, until this says otherwise.
    pub fn hang(&self, peer: Peer, hangs: bool) {
        crate::lock(&self.troubles).hang(peer, hangs);
    }

    /// Everything works again.
    pub fn heal(&self) {
        *crate::lock(&self.troubles) = Troubles::default();
    }

    /// Requests to one of them since the start or the last [`Self::reset_requests`].
    pub fn requests(&self, peer: Peer) -> u64 {
        self.answers(peer).values().sum()
    }

    /// The same by the status of the answer; 0 stands for none.
    pub fn answers(&self, peer: Peer) -> BTreeMap<u16, u64> {
        crate::lock(&self.answers).get(&peer).cloned().unwrap_or_default()
    }

    /// Starts counting afresh.
    pub fn reset_requests(&self) {
        crate::lock(&self.answers).clear();
    }

    /// Whether the request proves to come from an account of the client.
    pub(crate) fn knows(&self, peer: Peer, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let mut accounts = self.accounts.iter().filter(|account| account.peer == peer);
        accounts.any(|Account { user, secret, .. }| {
            let Some(value) = self.secrets.current(secret) else { return false };
            let wanted = match peer {
                Peer::Acuity => format!("Basic {}", BASE64.encode(format!("{user}:{value}"))),
                Peer::Square | Peer::Feed | Peer::Graph | Peer::HubSpot | Peer::HubSpotCrm => format!("Bearer {value}"),
                // These are told apart by more than one value; whoever answers for them knows how.
                Peer::Pipedrive
                | Peer::Zoho
                | Peer::Sheets
                | Peer::CrmWebhook
                | Peer::Slack
                | Peer::Teams
                | Peer::Ses
                | Peer::Sns
                | Peer::TargetWebhook => return false,
            };
            given == Some(wanted.as_str())
        })
    }

    fn count(&self, peer: Peer, status: u16) {
        *crate::lock(&self.answers).entry(peer).or_default().entry(status).or_default() += 1;
    }

    /// Gives an answer, or what the trouble in force makes of it. `right` has the effect that the request asks for.
    pub(crate) async fn answer(&self, peer: Peer, right: impl FnOnce() -> Said) -> Response {
        let trouble = crate::lock(&self.troubles).draw(peer);
        let said = match trouble {
            None => right(),
            Some(Trouble::Hang) => {
                self.count(peer, 0);
                std::future::pending().await
            }
            Some(Trouble::Status(status)) => {
                Said::empty(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
            }
            Some(Trouble::Throttled) => Said {
                headers: vec![(header::RETRY_AFTER, RETRY_AFTER_S.to_string())],
                ..Said::empty(StatusCode::TOO_MANY_REQUESTS)
            },
            Some(Trouble::Empty) => Said { body: Vec::new(), ..right() },
            Some(Trouble::Half) => {
                let mut said = right();
                said.body.truncate(said.body.len() / 2);
                said
            }
            Some(Trouble::FailedAfter) => {
                drop(right());
                Said::empty(StatusCode::INTERNAL_SERVER_ERROR)
            }
            Some(Trouble::DroppedAfter) => {
                drop(right());
                self.count(peer, 0);
                let mut response = Response::default();
                response.extensions_mut().insert(BrokenOff);
                return response;
            }
        };
        self.count(peer, said.status.as_u16());
        let mut response = (said.status, Body::from(said.body)).into_response();
        for (name, value) in said.headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// In a response: nothing of it may be sent.
#[derive(Debug, Clone, Copy)]
struct BrokenOff;

/// Ends the connection where an answer is never to arrive. The outermost layer of whatever serves stand-ins.
pub(crate) async fn break_off(ConnectInfo(cord): ConnectInfo<Cord>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if response.extensions().get::<BrokenOff>().is_some() {
        cord.cut();
        std::future::pending::<()>().await;
    }
    response
}

/// An answer before it is sent.
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(header::HeaderName, String)>,
    pub(crate) body: Vec<u8>,
}

impl Said {
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn text(status: StatusCode, kind: &str, body: &str) -> Self {
        let headers = vec![(header::CONTENT_TYPE, kind.to_owned())];
        Self { status, headers, body: body.as_bytes().to_vec() }
    }

    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        let headers = vec![(header::CONTENT_TYPE, "application/json".to_owned())];
        Self { status, headers, body: body.to_string().into_bytes() }
    }
}

/// What was put into stand-ins. In a file, it outlives the stack.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    known: Mutex<T>,
    file: Option<PathBuf>,
}

impl<T: Default + Serialize + DeserializeOwned> Kept<T> {
    /// What `file` holds, if there is one.
    pub(crate) fn open(file: Option<PathBuf>) -> anyhow::Result<Self> {
        let known = match file.as_deref().map(|file| (file, std::fs::read_to_string(file))) {
            None => T::default(),
            Some((file, Ok(text))) => {
                serde_json::from_str(&text).with_context(|| format!("{} is unreadable", file.display()))?
            }
            Some((_, Err(e))) if e.kind() == std::io::ErrorKind::NotFound => T::default(),
            Some((file, Err(e))) => return Err(e).with_context(|| format!("can't read {}", file.display())),
        };
        Ok(Self { known: Mutex::new(known), file })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        crate::lock(&self.known)
    }

    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> anyhow::Result<R> {
        let mut known = self.lock();
        let changed = change(&mut known);
        if let Some(file) = &self.file {
            crate::write_whole(file, &serde_json::to_vec_pretty(&*known)?)?;
        }
        Ok(changed)
    }
}
