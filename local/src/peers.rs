//! What the stand-ins for other people's APIs have in common: whoever asks proves himself as the real ones want it, every
//! request is counted, what was put in is kept, and [`Trouble`] makes one of them fail.
//!
//! What they answer is [`crate::calendars`]' and [`crate::leads`]' business.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use anyhow::Context as _;
use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::secrets::Secrets;

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
    /// `GET /crm/v3/objects/contacts/{id}`.
    HubSpot,
}

/// How one of them fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It answers with this status and no body.
    Status(u16),
    /// It takes the request and never answers.
    Hang,
    /// It answers 200 with an empty body.
    Empty,
    /// It answers 200 with the first half of the body.
    Half,
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
    troubles: Mutex<Vec<(Peer, Trouble, u32)>>,
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
        crate::lock(&self.troubles).push((peer, trouble, times));
    }

    /// Everything works again.
    pub fn heal(&self) {
        crate::lock(&self.troubles).clear();
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
                Peer::Square | Peer::Feed | Peer::Graph | Peer::HubSpot => format!("Bearer {value}"),
            };
            given == Some(wanted.as_str())
        })
    }

    /// The trouble that the next request meets.
    fn trouble(&self, peer: Peer) -> Option<Trouble> {
        let mut troubles = crate::lock(&self.troubles);
        let next = troubles.iter_mut().find(|(of, _, left)| *of == peer && *left > 0)?;
        next.2 -= 1;
        let trouble = next.1;
        troubles.retain(|(_, _, left)| *left > 0);
        Some(trouble)
    }

    fn count(&self, peer: Peer, status: u16) {
        *crate::lock(&self.answers).entry(peer).or_default().entry(status).or_default() += 1;
    }

    /// Gives an answer, or what the trouble in force makes of it.
    pub(crate) async fn answer(&self, peer: Peer, right: impl FnOnce() -> Said) -> Response {
        let trouble = self.trouble(peer);
        if trouble == Some(Trouble::Hang) {
            self.count(peer, 0);
            std::future::pending::<()>().await;
        }
        let mut said = right();
        match trouble {
            Some(Trouble::Status(status)) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                said = Said { status, headers: Vec::new(), body: Vec::new() };
            }
            Some(Trouble::Empty) => said.body.clear(),
            Some(Trouble::Half) => said.body.truncate(said.body.len() / 2),
            Some(Trouble::Hang) | None => {}
        }
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

/// An answer before it is sent.
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(header::HeaderName, String)>,
    pub(crate) body: Vec<u8>,
}

impl Said {
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

    pub(crate) fn change(&self, change: impl FnOnce(&mut T)) -> anyhow::Result<()> {
        let mut known = self.lock();
        change(&mut known);
        match &self.file {
            Some(file) => crate::write_whole(file, &serde_json::to_vec_pretty(&*known)?),
            None => Ok(()),
        }
    }
}
