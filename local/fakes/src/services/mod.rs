//! Shared by the fakes of [`crate::calendars`], [`crate::leads`], [`crate::crms`] and
//! [`crate::team`].
//!
//! Main types: [`FakeServices`] checks credentials as the real services do, counts requests, makes
//! a service fail by a [`FakeFault`], and checks each request by the vendor's own description
//! (`descriptions`). `FakeStorage` keeps the records of a fake.

mod descriptions;
mod faults;
mod request;
mod service;
mod signature;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
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
use url::Url;

use crate::{FakeHost, server::ConnectionAbort};

pub use descriptions::DescriptionViolation;
pub use faults::FakeFault;
pub(crate) use request::FakeRequest;
pub use service::FakeService;

use faults::FakeFaults;
use signature::is_signed;

/// `Retry-After` of a throttled call, in seconds. Zero, because functions really wait and a test
/// makes thousands of calls.
const RETRY_AFTER_S: u32 = 0;

/// An account that may call a service. Its secret is read for every request.
#[derive(Debug, Clone)]
pub struct FakeAccount {
    /// The service that it belongs to.
    pub service: FakeService,
    /// Acuity's user id; empty for other services.
    pub user_id: String,
    /// Name of the secret with the key or token.
    pub secret: String,
}

/// Accounts, counters and faults of all fakes.
#[derive(Debug)]
pub struct FakeServices {
    faults: Mutex<FakeFaults>,
    reply_counts: Mutex<BTreeMap<FakeService, BTreeMap<u16, u64>>>,
    violations: Mutex<Vec<DescriptionViolation>>,
    accounts: Vec<FakeAccount>,
    host: Arc<dyn FakeHost>,
}

impl FakeServices {
    /// `accounts` are those of calendars and of senders of leads. CRMs and team targets add their
    /// own.
    pub fn new(accounts: Vec<FakeAccount>, host: Arc<dyn FakeHost>) -> Self {
        Self { faults: Mutex::default(), reply_counts: Mutex::default(), violations: Mutex::default(), accounts, host }
    }

    /// The clock and the secrets.
    pub(crate) fn host(&self) -> &dyn FakeHost {
        self.host.as_ref()
    }

    /// Makes the next `times` requests to a service fail. Planned faults queue up.
    pub fn fail_next(&self, service: FakeService, fault: FakeFault, times: u32) {
        crate::lock_mutex(&self.faults).plan_faults(service, Some(fault), times);
    }

    /// Lets the next `times` requests to a service through. Faults planned after this come later.
    pub fn spare_next(&self, service: FakeService, times: u32) {
        crate::lock_mutex(&self.faults).plan_faults(service, None, times);
    }

    /// Makes a share (0.0 to 1.0) of the requests to a service fail, after those of
    /// [`Self::fail_next`].
    ///
    /// A quarter each is [`FakeFault::Status`] 503, [`FakeFault::Throttled`],
    /// [`FakeFault::DroppedAfter`] and [`FakeFault::FailedAfter`]. The same seed gives the same
    /// faults.
    pub fn fail_share(&self, service: FakeService, probability: f64, seed: u64) {
        crate::lock_mutex(&self.faults).set_share(service, probability, seed);
    }

    /// Sets whether a service takes requests and never answers.
    pub fn set_hanging(&self, service: FakeService, hangs: bool) {
        crate::lock_mutex(&self.faults).set_hanging(service, hangs);
    }

    /// Makes a service take so long for each request, before the request has an effect.
    pub fn set_delay(&self, service: FakeService, delay: Duration) {
        crate::lock_mutex(&self.faults).set_delay(service, delay);
    }

    /// Removes all faults.
    pub fn heal(&self) {
        *crate::lock_mutex(&self.faults) = FakeFaults::default();
    }

    /// Requests to a service since the start or the last [`Self::reset_counts`].
    pub fn request_count(&self, service: FakeService) -> u64 {
        self.replies_by_status(service).values().sum()
    }

    /// Requests to a service by the status of the response; 0 counts requests without one.
    pub fn replies_by_status(&self, service: FakeService) -> BTreeMap<u16, u64> {
        crate::lock_mutex(&self.reply_counts).get(&service).cloned().unwrap_or_default()
    }

    /// The services with requests since the start or the last [`Self::reset_counts`].
    pub fn called_services(&self) -> Vec<FakeService> {
        crate::lock_mutex(&self.reply_counts).keys().copied().collect()
    }

    /// Resets the counts.
    pub fn reset_counts(&self) {
        crate::lock_mutex(&self.reply_counts).clear();
    }

    /// The requests, and the fakes' own replies, that contradict the vendors' descriptions, since
    /// the start. Must stay empty.
    pub fn violations(&self) -> Vec<DescriptionViolation> {
        crate::lock_mutex(&self.violations).clone()
    }

    fn record_check(&self, checked: Result<(), DescriptionViolation>) -> Option<DescriptionViolation> {
        let violation = checked.err()?;
        tracing::error!("contradicts the vendor's description: {violation}");
        crate::lock_mutex(&self.violations).push(violation.clone());
        Some(violation)
    }

    /// Sends a reply like [`Self::serve_reply`]. Before that, the request is checked by the
    /// description of its service. `build_reply` gets what contradicts it, and refuses the request
    /// as the vendor does. The reply is checked, too.
    pub(crate) async fn serve_described(
        &self,
        service: FakeService,
        request: &FakeRequest,
        build_reply: impl FnOnce(Option<&DescriptionViolation>) -> FakeReply,
    ) -> Response {
        // A planned fault must not hide a wrong request.
        let violation = self.record_check(descriptions::check_request(service, request));
        let build_checked = || {
            let reply = build_reply(violation.as_ref());
            self.record_check(descriptions::check_reply(service, request, reply.status, &reply.body));
            reply
        };
        self.serve_reply(service, build_checked).await
    }

    /// Whether a request has the credential of an account.
    pub(crate) fn is_authorized(&self, service: FakeService, headers: &HeaderMap) -> bool {
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let mut accounts = self.accounts.iter().filter(|account| account.service == service);
        accounts.any(|FakeAccount { user_id: user, secret, .. }| {
            let Some(value) = self.host.secret_value(secret) else { return false };
            let wanted = match service {
                FakeService::Acuity => format!("Basic {}", BASE64.encode(format!("{user}:{value}"))),
                FakeService::Square | FakeService::Feed | FakeService::Graph | FakeService::HubSpot => {
                    format!("Bearer {value}")
                }
                // These check more than one value; each fake does it.
                FakeService::Crm(_) | FakeService::Target(_) => return false,
            };
            authorization == Some(wanted.as_str())
        })
    }

    /// Whether a call is signed with the current value of this secret.
    pub(crate) fn is_signed_with(&self, request: &FakeRequest, secret_name: &str) -> bool {
        let now_s = self.host.now_ms().div_euclid(1000);
        self.host.secret_value(secret_name).is_some_and(|secret| is_signed(request, &secret, now_s))
    }

    fn count_reply(&self, service: FakeService, status: u16) {
        *crate::lock_mutex(&self.reply_counts).entry(service).or_default().entry(status).or_default() += 1;
    }

    /// Sends a reply, or applies the current fault. `build_reply` has the request's effect.
    pub(crate) async fn serve_reply(&self, service: FakeService, build_reply: impl FnOnce() -> FakeReply) -> Response {
        let (fault, delay) = {
            let mut faults = crate::lock_mutex(&self.faults);
            (faults.draw_fault(service), faults.delay(service))
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let reply = match fault {
            None => build_reply(),
            Some(FakeFault::Hang) => {
                self.count_reply(service, 0);
                std::future::pending().await
            }
            Some(FakeFault::Status(status)) => {
                FakeReply::empty(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
            }
            Some(FakeFault::Throttled) => FakeReply {
                headers: vec![(header::RETRY_AFTER, RETRY_AFTER_S.to_string())],
                ..FakeReply::empty(StatusCode::TOO_MANY_REQUESTS)
            },
            Some(FakeFault::EmptyBody) => FakeReply { body: Vec::new(), ..build_reply() },
            Some(FakeFault::HalfBody) => {
                let mut reply = build_reply();
                reply.body.truncate(reply.body.len() / 2);
                reply
            }
            Some(FakeFault::FailedAfter) => {
                drop(build_reply());
                FakeReply::empty(StatusCode::INTERNAL_SERVER_ERROR)
            }
            Some(FakeFault::DroppedAfter) => {
                drop(build_reply());
                self.count_reply(service, 0);
                let mut response = Response::default();
                response.extensions_mut().insert(DroppedReply);
                return response;
            }
        };
        self.count_reply(service, reply.status.as_u16());
        let mut response = (reply.status, Body::from(reply.body)).into_response();
        for (name, value) in reply.headers {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// Marks a response that must not be sent.
#[derive(Debug, Clone, Copy)]
struct DroppedReply;

/// Breaks the connection of a dropped reply. It is the outermost layer of the server.
pub async fn abort_dropped_replies(
    ConnectInfo(connection): ConnectInfo<ConnectionAbort>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    if response.extensions().get::<DroppedReply>().is_some() {
        connection.abort();
        std::future::pending::<()>().await;
    }
    response
}

/// Whether an address has this path.
pub(crate) fn is_path_of(url: &str, path: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.path() == path)
}

/// A reply before it is sent.
pub(crate) struct FakeReply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(header::HeaderName, String)>,
    pub(crate) body: Vec<u8>,
}

impl FakeReply {
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

/// Records of a fake. With a file they survive a restart.
#[derive(Debug)]
pub(crate) struct FakeStorage<T> {
    value: Mutex<T>,
    file: Option<PathBuf>,
    changes: AtomicU64,
}

impl<T: Default + Serialize + DeserializeOwned> FakeStorage<T> {
    /// Opens the records in `file`, if there is one.
    pub(crate) fn open(file: Option<PathBuf>) -> anyhow::Result<Self> {
        let value = match file.as_deref().map(|file| (file, std::fs::read_to_string(file))) {
            None => T::default(),
            Some((file, Ok(text))) => {
                serde_json::from_str(&text).with_context(|| format!("{} is unreadable", file.display()))?
            }
            Some((_, Err(e))) if e.kind() == std::io::ErrorKind::NotFound => T::default(),
            Some((file, Err(e))) => return Err(e).with_context(|| format!("could not read {}", file.display())),
        };
        Ok(Self { value: Mutex::new(value), file, changes: AtomicU64::new(0) })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        crate::lock_mutex(&self.value)
    }

    /// How often the records were changed.
    pub(crate) fn change_count(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> anyhow::Result<R> {
        let mut value = self.lock();
        let changed = change(&mut value);
        self.changes.fetch_add(1, Ordering::SeqCst);
        if let Some(file) = &self.file {
            crate::replace_file(file, &serde_json::to_vec_pretty(&*value)?)?;
        }
        Ok(changed)
    }
}
