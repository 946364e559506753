//! Stand-ins for the calendars that the functions ask: Acuity's appointments, Square's customers, and feeds.
//!
//! The cast: [`Appointment`] and [`Customer`] are what Acuity and Square know; a feed is a file in the client's folder
//! `feeds` that anybody may edit, with the [`Event`]s that the console wrote put in at its end. Whoever asks proves
//! himself as the real ones want it, with what the client's secrets hold. [`Trouble`] makes one of them fail.
//!
//! Promises answers of the shapes that the real ones document, and to count every request. A feed is found by the last
//! part of its address, whatever stands before it. Not imitated: limits of rate, and everything nobody here asks for.
//!
//! Shapes: <https://developers.acuityscheduling.com/reference/get-appointments-id>,
//! <https://developer.squareup.com/reference/square/customers-api/retrieve-customer>, RFC 5545, RFC 9110 section 13.

mod acuity;
mod feed;
mod square;

use std::{
    collections::BTreeMap,
    path::{Path as FilePath, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::Context as _;
use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{console::names_this_machine, secrets::Secrets};

pub use acuity::Appointment;
pub use feed::Event;
pub use square::Customer;

/// Whom the functions ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// `GET /api/v1/appointments/{id}`.
    Acuity,
    /// `GET /v2/customers/{id}`.
    Square,
    /// `GET …/{name}.ics`.
    Feed,
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
    /// Acuity's user id; Square has none.
    pub(crate) user: String,
    /// Name of the secret with the key or token.
    pub(crate) secret: String,
}

/// The stand-ins of a stack.
#[derive(Debug)]
pub struct Calendars {
    known: Mutex<Known>,
    troubles: Mutex<Vec<(Peer, Trouble, u32)>>,
    answers: Mutex<BTreeMap<Peer, BTreeMap<u16, u64>>>,
    /// Feeds that a test has set, by name: they hide the files.
    set: Mutex<BTreeMap<String, String>>,
    folder: PathBuf,
    file: Option<PathBuf>,
    accounts: Vec<Account>,
    secrets: Arc<Secrets>,
}

/// What was put into the stand-ins.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    appointments: BTreeMap<u64, Appointment>,
    customers: BTreeMap<String, Customer>,
    /// By the name of the feed and the event's uid.
    events: BTreeMap<String, BTreeMap<String, Event>>,
}

impl Calendars {
    /// Feeds come from `folder`, which need not exist. What is put in is kept in `file`; without one it is gone with the
    /// stack.
    pub(crate) fn open(
        folder: PathBuf,
        file: Option<PathBuf>,
        accounts: Vec<Account>,
        secrets: Arc<Secrets>,
    ) -> anyhow::Result<Self> {
        let known = match file.as_deref().map(std::fs::read_to_string) {
            None => Known::default(),
            Some(Ok(text)) => {
                serde_json::from_str(&text).context("calendars.json of the state folder is unreadable")?
            }
            Some(Err(e)) if e.kind() == std::io::ErrorKind::NotFound => Known::default(),
            Some(Err(e)) => return Err(e).context("can't read calendars.json of the state folder"),
        };
        Ok(Self {
            known: Mutex::new(known),
            troubles: Mutex::default(),
            answers: Mutex::default(),
            set: Mutex::default(),
            folder,
            file,
            accounts,
            secrets,
        })
    }

    /// Acuity has this appointment from now on; one of the same id is replaced.
    pub fn put_appointment(&self, appointment: Appointment) -> anyhow::Result<()> {
        self.change(|known| drop(known.appointments.insert(appointment.id, appointment)))
    }

    /// An appointment as Acuity has it.
    pub fn appointment(&self, id: u64) -> Option<Appointment> {
        crate::lock(&self.known).appointments.get(&id).cloned()
    }

    /// Acuity has never heard of this appointment.
    pub fn forget_appointment(&self, id: u64) -> anyhow::Result<()> {
        self.change(|known| drop(known.appointments.remove(&id)))
    }

    /// Square has this customer from now on; one of the same id is replaced.
    pub fn put_customer(&self, customer: Customer) -> anyhow::Result<()> {
        self.change(|known| drop(known.customers.insert(customer.id.clone(), customer)))
    }

    /// The feed `name` (`diary.ics`) holds this event from now on, beside what its file holds; one of the same uid is
    /// replaced.
    pub fn put_event(&self, name: &str, event: Event) -> anyhow::Result<()> {
        self.change(|known| {
            let events = known.events.entry(name.to_owned()).or_default();
            events.insert(event.uid.clone(), event);
        })
    }

    /// The event has vanished from the feed, which may be empty now.
    pub fn remove_event(&self, name: &str, uid: &str) -> anyhow::Result<()> {
        self.change(|known| drop(known.events.get_mut(name).and_then(|events| events.remove(uid))))
    }

    /// The feed `name` is this text from now on, whatever its file holds.
    pub fn set_feed(&self, name: &str, text: &str) {
        crate::lock(&self.set).insert(name.to_owned(), text.to_owned());
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

    /// The text of a feed as it is served, if there is one.
    pub fn feed(&self, name: &str) -> anyhow::Result<Option<String>> {
        if let Some(text) = crate::lock(&self.set).get(name) {
            return Ok(Some(text.clone()));
        }
        let path = self.folder.join(name);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(e).with_context(|| format!("can't read {}", path.display())),
        };
        let known = crate::lock(&self.known);
        Ok(match known.events.get(name) {
            Some(events) => Some(feed::with_events(text.as_deref(), events.values())),
            None => text,
        })
    }

    fn change(&self, change: impl FnOnce(&mut Known)) -> anyhow::Result<()> {
        let mut known = crate::lock(&self.known);
        change(&mut known);
        match &self.file {
            Some(file) => crate::write_whole(file, &serde_json::to_vec_pretty(&*known)?),
            None => Ok(()),
        }
    }

    /// Acuity's and Square's endpoints.
    pub(crate) fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/api/v1/appointments/{id}", get(acuity_appointment))
            .route("/v2/customers/{id}", get(square_customer))
            .with_state(self)
    }

    /// Whether the request proves to come from an account of the client.
    fn knows(&self, peer: Peer, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let mut accounts = self.accounts.iter().filter(|account| account.peer == peer);
        accounts.any(|Account { user, secret, .. }| {
            let Some(value) = self.secrets.current(secret) else { return false };
            let wanted = match peer {
                Peer::Acuity => format!("Basic {}", BASE64.encode(format!("{user}:{value}"))),
                Peer::Square | Peer::Feed => format!("Bearer {value}"),
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
    async fn answer(&self, peer: Peer, right: impl FnOnce() -> Said) -> Response {
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
struct Said {
    status: StatusCode,
    headers: Vec<(header::HeaderName, String)>,
    body: Vec<u8>,
}

impl Said {
    fn json(status: StatusCode, body: &Value) -> Self {
        let headers = vec![(header::CONTENT_TYPE, "application/json".to_owned())];
        Self { status, headers, body: body.to_string().into_bytes() }
    }
}

async fn acuity_appointment(
    State(calendars): State<Arc<Calendars>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let right = || {
        if !calendars.knows(Peer::Acuity, &headers) {
            return Said::json(StatusCode::UNAUTHORIZED, &acuity::unauthorized());
        }
        match id.parse().ok().and_then(|id| calendars.appointment(id)) {
            Some(appointment) => Said::json(StatusCode::OK, &appointment.answer()),
            None => Said::json(StatusCode::NOT_FOUND, &acuity::not_found(&id)),
        }
    };
    calendars.answer(Peer::Acuity, right).await
}

async fn square_customer(
    State(calendars): State<Arc<Calendars>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let right = || {
        if !calendars.knows(Peer::Square, &headers) {
            return Said::json(StatusCode::UNAUTHORIZED, &square::unauthorized());
        }
        match crate::lock(&calendars.known).customers.get(&id) {
            Some(customer) => Said::json(StatusCode::OK, &customer.answer()),
            None => Said::json(StatusCode::NOT_FOUND, &square::not_found(&id)),
        }
    };
    calendars.answer(Peer::Square, right).await
}

/// Answers requests for feeds, wherever they are said to lie; lets everything else pass. A feed may be somebody's own
/// calendar, so it is for this machine alone.
pub(crate) async fn feeds_first(State(calendars): State<Arc<Calendars>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let is_feed = names_this_machine(request.headers())
        && FilePath::new(path).extension().is_some_and(|kind| kind.eq_ignore_ascii_case("ics"));
    let name = path.rsplit('/').next().filter(|name| !name.starts_with('.') && !name.contains('\\'));
    let (Some(name), true, &Method::GET) = (name, is_feed, request.method()) else { return next.run(request).await };
    let (name, headers) = (name.to_owned(), request.headers().clone());
    let right = || match calendars.feed(&name) {
        Ok(Some(text)) => feed::answer(&text, &headers),
        Ok(None) => Said { status: StatusCode::NOT_FOUND, headers: Vec::new(), body: Vec::new() },
        Err(e) => {
            tracing::warn!("{e:#}");
            Said { status: StatusCode::INTERNAL_SERVER_ERROR, headers: Vec::new(), body: Vec::new() }
        }
    };
    calendars.answer(Peer::Feed, right).await
}

#[cfg(test)]
mod tests;
