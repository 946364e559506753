//! The Lambda Runtime API for one instance of a function.
//!
//! Each instance has its own listener, so the port identifies the caller. The endpoint serves the
//! four calls of a runtime: `next`, `response`, `error`, `init/error`. Processes, timeouts and
//! pools are in [`super::instance`].
//!
//! `lambda-simulator` 0.2 was evaluated and not used. Its simulator is one queue with one runtime.
//! It cannot tell which of several processes took an invocation. It does not notice that a process
//! died during an invocation, and it does not enforce timeouts. A pool with kill and crash
//! detection would have used only as much of it as this file has.
//!
//! Protocol: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use anyhow::Context as _;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Path, State},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http::{StatusCode, header};
use serde_json::{Value, json};
use tellonce_fakes::server;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
};

/// How a function answered an invocation.
#[derive(Debug)]
pub(super) enum InvocationResult {
    Response(Bytes),
    Error { kind: String, message: String },
}

/// State of the runtime in the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RuntimePhase {
    Starting,
    /// The runtime asked for its first invocation.
    Ready,
    /// The runtime reported that it cannot start.
    InitFailed(String),
}

/// An invocation on its way to the process.
#[derive(Debug)]
pub(super) struct PendingInvocation {
    pub(super) id: String,
    pub(super) payload: Bytes,
    /// Unix milliseconds.
    pub(super) deadline_ms: i64,
    pub(super) arn: String,
}

/// The endpoint of one instance; closed when dropped.
#[derive(Debug)]
pub(super) struct RuntimeApi {
    pub(super) addr: SocketAddr,
    pub(super) phase: watch::Receiver<RuntimePhase>,
    state: Arc<RuntimeState>,
    work: mpsc::Sender<PendingInvocation>,
    server: AbortHandle,
}

#[derive(Debug)]
struct RuntimeState {
    next: tokio::sync::Mutex<mpsc::Receiver<PendingInvocation>>,
    /// The current invocation and the channel for its result.
    current: Mutex<Option<(String, oneshot::Sender<InvocationResult>)>>,
    phase: watch::Sender<RuntimePhase>,
}

impl RuntimeApi {
    pub(super) fn start() -> anyhow::Result<Self> {
        let listener = server::bind_port(0, "a Runtime API endpoint", "")?;
        let addr = listener.local_addr()?;
        let (work, next) = mpsc::channel(1);
        let (phase_tx, phase) = watch::channel(RuntimePhase::Starting);
        let shared =
            Arc::new(RuntimeState { next: tokio::sync::Mutex::new(next), current: Mutex::new(None), phase: phase_tx });
        let root = "/2018-06-01/runtime";
        let router = Router::new()
            .route(&format!("{root}/invocation/next"), get(next_invocation))
            .route(&format!("{root}/invocation/{{id}}/response"), post(accept_response))
            .route(&format!("{root}/invocation/{{id}}/error"), post(accept_error))
            .route(&format!("{root}/init/error"), post(accept_init_error))
            .layer(DefaultBodyLimit::disable())
            .with_state(shared.clone());
        let server = server::serve_router(router, listener, "a Runtime API endpoint");
        Ok(Self { addr, phase, state: shared, work, server: server.abort_handle() })
    }

    /// Passes an invocation to the process. The receiver fails if the process ends without a
    /// response ([`Self::fail_current`]).
    pub(super) async fn send_invocation(
        &self,
        work: PendingInvocation,
    ) -> anyhow::Result<oneshot::Receiver<InvocationResult>> {
        let (sender, receiver) = oneshot::channel();
        *tellonce_fakes::lock_mutex(&self.state.current) = Some((work.id.clone(), sender));
        self.work.send(work).await.ok().context("the instance is closed")?;
        Ok(receiver)
    }

    /// The process ended: fails its current invocation.
    pub(super) fn fail_current(&self) {
        drop(tellonce_fakes::lock_mutex(&self.state.current).take());
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl RuntimeState {
    fn complete_invocation(&self, id: &str, answer: InvocationResult) -> Response {
        let mut current = tellonce_fakes::lock_mutex(&self.current);
        match current.take() {
            Some((expected, waiting)) if expected == id => {
                if waiting.send(answer).is_err() {
                    tracing::debug!("an answer came after its invocation had been given up");
                }
                (StatusCode::ACCEPTED, axum::Json(json!({"status": "OK"}))).into_response()
            }
            other => {
                *current = other;
                let body = json!({"errorType": "InvalidRequestID", "errorMessage": "Invalid request ID"});
                (StatusCode::BAD_REQUEST, axum::Json(body)).into_response()
            }
        }
    }
}

/// The trace of an invocation, as Lambda passes it on: the SDK repeats it in each request. Its time
/// is not imitated, because nothing reads it.
pub(crate) fn build_trace_id(invocation: &str) -> String {
    format!("Root=1-00000000-{};Sampled=0", invocation.replace('-', "").get(..24).unwrap_or_default())
}

async fn next_invocation(State(shared): State<Arc<RuntimeState>>) -> Response {
    shared.phase.send_if_modified(|phase| {
        let first = *phase == RuntimePhase::Starting;
        if first {
            *phase = RuntimePhase::Ready;
        }
        first
    });
    // Cancelled when the caller's connection closes. An invocation that was not taken stays queued.
    let Some(work) = shared.next.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let trace = build_trace_id(&work.id);
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", work.id),
        ("lambda-runtime-deadline-ms", work.deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", work.arn),
        ("lambda-runtime-trace-id", trace),
    ];
    (axum::response::AppendHeaders(headers), work.payload).into_response()
}

async fn accept_response(State(shared): State<Arc<RuntimeState>>, Path(id): Path<String>, body: Bytes) -> Response {
    shared.complete_invocation(&id, InvocationResult::Response(body))
}

async fn accept_error(State(shared): State<Arc<RuntimeState>>, Path(id): Path<String>, body: Bytes) -> Response {
    let (kind, message) = parse_error(&body);
    shared.complete_invocation(&id, InvocationResult::Error { kind, message })
}

async fn accept_init_error(State(shared): State<Arc<RuntimeState>>, body: Bytes) -> Response {
    let (kind, message) = parse_error(&body);
    shared.phase.send_replace(RuntimePhase::InitFailed(format!("{kind}: {message}")));
    (StatusCode::ACCEPTED, axum::Json(json!({"status": "OK"}))).into_response()
}

/// Type and message of an error document.
fn parse_error(body: &[u8]) -> (String, String) {
    let error: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let text = |name: &str| error[name].as_str().unwrap_or("unknown").to_owned();
    (text("errorType"), text("errorMessage"))
}
