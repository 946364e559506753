//! Stand-ins for the calendars that the functions ask: Acuity's appointments, Square's customers, and feeds.
//!
//! The cast: [`Appointment`] and [`Customer`] are what Acuity and Square know; a feed is a file in the client's folder
//! `feeds` that anybody may edit, with the [`Event`]s that the console wrote put in at its end. [`crate::peers`] has what is
//! alike in all of them.
//!
//! Promises answers of the shapes that the real ones document. A feed is found by the last part of its address, whatever
//! stands before it. Not imitated: limits of rate, and everything nobody here asks for.
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
    extract::{Path, Request, State},
    middleware::Next,
    response::Response,
    routing::get,
};
use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{
    console::names_this_machine,
    peers::{Kept, Peer, Peers, Said},
};

pub use acuity::Appointment;
pub use feed::Event;
pub use square::Customer;

/// The stand-ins of a stack.
#[derive(Debug)]
pub struct Calendars {
    known: Kept<Known>,
    /// Feeds that a test has set, by name: they hide the files.
    set: Mutex<BTreeMap<String, String>>,
    folder: PathBuf,
    peers: Arc<Peers>,
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
    pub(crate) fn open(folder: PathBuf, file: Option<PathBuf>, peers: Arc<Peers>) -> anyhow::Result<Self> {
        Ok(Self { known: Kept::open(file)?, set: Mutex::default(), folder, peers })
    }

    /// Acuity has this appointment from now on; one of the same id is replaced.
    pub fn put_appointment(&self, appointment: Appointment) -> anyhow::Result<()> {
        self.known.change(|known| drop(known.appointments.insert(appointment.id, appointment)))
    }

    /// An appointment as Acuity has it.
    pub fn appointment(&self, id: u64) -> Option<Appointment> {
        self.known.lock().appointments.get(&id).cloned()
    }

    /// Acuity has never heard of this appointment.
    pub fn forget_appointment(&self, id: u64) -> anyhow::Result<()> {
        self.known.change(|known| drop(known.appointments.remove(&id)))
    }

    /// Square has this customer from now on; one of the same id is replaced.
    pub fn put_customer(&self, customer: Customer) -> anyhow::Result<()> {
        self.known.change(|known| drop(known.customers.insert(customer.id.clone(), customer)))
    }

    /// The feed `name` (`diary.ics`) holds this event from now on, beside what its file holds; one of the same uid is
    /// replaced.
    pub fn put_event(&self, name: &str, event: Event) -> anyhow::Result<()> {
        self.known.change(|known| {
            let events = known.events.entry(name.to_owned()).or_default();
            events.insert(event.uid.clone(), event);
        })
    }

    /// The event has vanished from the feed, which may be empty now.
    pub fn remove_event(&self, name: &str, uid: &str) -> anyhow::Result<()> {
        self.known.change(|known| drop(known.events.get_mut(name).and_then(|events| events.remove(uid))))
    }

    /// The feed `name` is this text from now on, whatever its file holds.
    pub fn set_feed(&self, name: &str, text: &str) {
        crate::lock(&self.set).insert(name.to_owned(), text.to_owned());
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
        let known = self.known.lock();
        Ok(match known.events.get(name) {
            Some(events) => Some(feed::with_events(text.as_deref(), events.values())),
            None => text,
        })
    }

    /// Acuity's and Square's endpoints.
    pub(crate) fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/api/v1/appointments/{id}", get(acuity_appointment))
            .route("/v2/customers/{id}", get(square_customer))
            .with_state(self)
    }
}

async fn acuity_appointment(
    State(calendars): State<Arc<Calendars>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let right = || {
        if !calendars.peers.knows(Peer::Acuity, &headers) {
            return Said::json(StatusCode::UNAUTHORIZED, &acuity::unauthorized());
        }
        match id.parse().ok().and_then(|id| calendars.appointment(id)) {
            Some(appointment) => Said::json(StatusCode::OK, &appointment.answer()),
            None => Said::json(StatusCode::NOT_FOUND, &acuity::not_found(&id)),
        }
    };
    calendars.peers.answer(Peer::Acuity, right).await
}

async fn square_customer(
    State(calendars): State<Arc<Calendars>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let right = || {
        if !calendars.peers.knows(Peer::Square, &headers) {
            return Said::json(StatusCode::UNAUTHORIZED, &square::unauthorized());
        }
        match calendars.known.lock().customers.get(&id) {
            Some(customer) => Said::json(StatusCode::OK, &customer.answer()),
            None => Said::json(StatusCode::NOT_FOUND, &square::not_found(&id)),
        }
    };
    calendars.peers.answer(Peer::Square, right).await
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
    calendars.peers.answer(Peer::Feed, right).await
}

#[cfg(test)]
mod tests;
