//! Fakes of the calendars that functions call: Acuity's appointments, Square's customers, and
//! feeds.
//!
//! Main types: [`FakeAcuityAppointment`] and [`FakeSquareCustomer`] are records of Acuity and
//! Square. A feed is a file in the client's folder `feeds`, which a person may edit. The
//! [`FakeFeedEvent`]s that the console wrote are added at its end. [`crate::services`] has what all
//! fakes share.
//!
//! Responses have the documented shapes of the real services. The last segment of a path names the
//! feed. Not imitated: rate limits, and everything that functions do not use.
//!
//! Shapes: <https://developers.acuityscheduling.com/reference/get-appointments-id>,
//! <https://developer.squareup.com/reference/square/customers-api/retrieve-customer>, RFC 5545, RFC
//! 9110 section 13.

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

use crate::services::{FakeReply, FakeService, FakeServices, FakeStorage};

pub use acuity::FakeAcuityAppointment;
pub use feed::FakeFeedEvent;
pub use square::FakeSquareCustomer;

/// The fake calendars of a stack.
#[derive(Debug)]
pub struct FakeCalendars {
    storage: FakeStorage<CalendarState>,
    /// Feeds that a test has set, by name. They replace the files.
    feed_overrides: Mutex<BTreeMap<String, String>>,
    folder: PathBuf,
    services: Arc<FakeServices>,
}

/// The records of the fakes.
#[derive(Debug, Default, Serialize, Deserialize)]
struct CalendarState {
    appointments: BTreeMap<u64, FakeAcuityAppointment>,
    customers: BTreeMap<String, FakeSquareCustomer>,
    /// By the name of the feed and the event's uid.
    events: BTreeMap<String, BTreeMap<String, FakeFeedEvent>>,
}

impl FakeCalendars {
    /// Serves the feeds in `folder`, which may be missing. Stores the records in `file`. Without a
    /// file they are lost when the stack ends.
    pub fn open(folder: PathBuf, file: Option<PathBuf>, services: Arc<FakeServices>) -> anyhow::Result<Self> {
        Ok(Self { storage: FakeStorage::open(file)?, feed_overrides: Mutex::default(), folder, services })
    }

    /// Adds an appointment to Acuity, or replaces the one with the same id.
    pub fn put_appointment(&self, appointment: FakeAcuityAppointment) -> anyhow::Result<()> {
        self.storage.change(|known| drop(known.appointments.insert(appointment.id, appointment)))
    }

    /// An appointment in Acuity.
    pub fn find_appointment(&self, id: u64) -> Option<FakeAcuityAppointment> {
        self.storage.lock().appointments.get(&id).cloned()
    }

    /// Removes an appointment from Acuity.
    pub fn forget_appointment(&self, id: u64) -> anyhow::Result<()> {
        self.storage.change(|known| drop(known.appointments.remove(&id)))
    }

    /// Adds a customer to Square, or replaces the one with the same id.
    pub fn put_customer(&self, customer: FakeSquareCustomer) -> anyhow::Result<()> {
        self.storage.change(|known| drop(known.customers.insert(customer.id.clone(), customer)))
    }

    /// Adds an event to the feed `name` (`diary.ics`), or replaces the one with the same uid. The
    /// events of the file stay.
    pub fn put_event(&self, name: &str, event: FakeFeedEvent) -> anyhow::Result<()> {
        self.storage.change(|known| {
            let events = known.events.entry(name.to_owned()).or_default();
            events.insert(event.uid.clone(), event);
        })
    }

    /// Removes an event from the feed. The feed may be empty afterwards.
    pub fn remove_event(&self, name: &str, uid: &str) -> anyhow::Result<()> {
        self.storage.change(|known| drop(known.events.get_mut(name).and_then(|events| events.remove(uid))))
    }

    /// Replaces the content of the feed `name`. Its file is ignored from then on.
    pub fn override_feed(&self, name: &str, text: &str) {
        crate::lock_mutex(&self.feed_overrides).insert(name.to_owned(), text.to_owned());
    }

    /// The text of a feed as it is served, if it exists.
    pub fn read_feed(&self, name: &str) -> anyhow::Result<Option<String>> {
        if let Some(text) = crate::lock_mutex(&self.feed_overrides).get(name) {
            return Ok(Some(text.clone()));
        }
        let path = self.folder.join(name);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(e).with_context(|| format!("could not read {}", path.display())),
        };
        let known = self.storage.lock();
        Ok(match known.events.get(name) {
            Some(events) => Some(feed::insert_events(text.as_deref(), events.values())),
            None => text,
        })
    }

    /// Acuity's and Square's endpoints.
    pub fn build_router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/api/v1/appointments/{id}", get(get_acuity_appointment))
            .route("/v2/customers/{id}", get(get_square_customer))
            .with_state(self)
    }
}

async fn get_acuity_appointment(
    State(calendars): State<Arc<FakeCalendars>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let build_reply = || {
        if !calendars.services.is_authorized(FakeService::Acuity, &headers) {
            return FakeReply::json(StatusCode::UNAUTHORIZED, &acuity::unauthorized_body());
        }
        match id.parse().ok().and_then(|id| calendars.find_appointment(id)) {
            Some(appointment) => FakeReply::json(StatusCode::OK, &appointment.response_body()),
            None => FakeReply::json(StatusCode::NOT_FOUND, &acuity::not_found_body(&id)),
        }
    };
    calendars.services.serve_reply(FakeService::Acuity, build_reply).await
}

async fn get_square_customer(
    State(calendars): State<Arc<FakeCalendars>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let build_reply = || {
        if !calendars.services.is_authorized(FakeService::Square, &headers) {
            return FakeReply::json(StatusCode::UNAUTHORIZED, &square::unauthorized_body());
        }
        match calendars.storage.lock().customers.get(&id) {
            Some(customer) => FakeReply::json(StatusCode::OK, &customer.response_body()),
            None => FakeReply::json(StatusCode::NOT_FOUND, &square::not_found_body(&id)),
        }
    };
    calendars.services.serve_reply(FakeService::Square, build_reply).await
}

/// Responds to requests for feeds in any folder and passes on all others.
///
/// A feed may be a person's real calendar. The server's guard keeps web pages and tunnels away.
pub async fn route_feed_requests(
    State(calendars): State<Arc<FakeCalendars>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let is_feed = FilePath::new(path).extension().is_some_and(|kind| kind.eq_ignore_ascii_case("ics"));
    let name = path.rsplit('/').next().filter(|name| !name.starts_with('.') && !name.contains('\\'));
    let (Some(name), true, &Method::GET) = (name, is_feed, request.method()) else { return next.run(request).await };
    let (name, headers) = (name.to_owned(), request.headers().clone());
    let build_reply = || match calendars.read_feed(&name) {
        Ok(Some(text)) => feed::feed_reply(&text, &headers),
        Ok(None) => FakeReply::empty(StatusCode::NOT_FOUND),
        Err(e) => {
            tracing::warn!("{e:#}");
            FakeReply::empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    };
    calendars.services.serve_reply(FakeService::Feed, build_reply).await
}

#[cfg(test)]
mod tests;
