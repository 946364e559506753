//! The AWS APIs that operators call beside tables and secrets: `Invoke` and
//! `GetFunctionConfiguration` of Lambda, the queue of dead letters in SQS, `GetCallerIdentity` of
//! STS, `FilterLogEvents` of CloudWatch Logs, and metrics and alarms of CloudWatch. One server
//! answers all of them.
//!
//! Functions have their names of the cloud here: `tellonce-{client}-order-notifier`. Signatures are
//! not verified. A caller that takes a role of the template may do what that role allows
//! ([`crate::iam`]).

mod figures;
mod identity;
mod lambda;
mod logs;
mod queue;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::post,
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use crate::{iam::FunctionRoles, metrics::MetricLog, streams::FailureLog};

pub(crate) use figures::FiguresApi;
pub(crate) use lambda::LambdaApi;
pub(crate) use logs::LogsApi;

/// The most bytes of a payload, as in Lambda.
const MAX_PAYLOAD_BYTES: usize = 6 * 1024 * 1024;

/// What the operations read, and who may call them.
#[derive(Clone)]
pub(crate) struct OperatorState {
    pub(crate) failures: Arc<FailureLog>,
    pub(crate) logs: Arc<LogsApi>,
    pub(crate) metrics: Arc<MetricLog>,
    pub(crate) roles: Arc<FunctionRoles>,
}

/// The server. Counts its requests.
pub(crate) fn build_router(
    lambda: LambdaApi,
    figures: FiguresApi,
    state: OperatorState,
    requests: Arc<AtomicU64>,
) -> Router {
    Router::new()
        .route("/", post(answer_post))
        .with_state(state)
        .merge(lambda.build_router())
        .merge(figures.build_router())
        .layer(DefaultBodyLimit::max(MAX_PAYLOAD_BYTES))
        .layer(from_fn_with_state(requests, count_request))
}

async fn count_request(State(requests): State<Arc<AtomicU64>>, request: Request, next: Next) -> Response {
    requests.fetch_add(1, Ordering::Relaxed);
    next.run(request).await
}

/// What the names of the operations of a service begin with.
const SQS: &str = "AmazonSQS.";
const LOGS: &str = "Logs_20140328.";

/// SQS and CloudWatch Logs name their operation in a header, STS in the form of its body.
async fn answer_post(State(state): State<OperatorState>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let request = || serde_json::from_slice(&body).unwrap_or(Value::Null);
    if let Some(operation) = target.strip_prefix(SQS) {
        return answer_queue(&state, &headers, operation, &request());
    }
    if let Some(operation) = target.strip_prefix(LOGS) {
        let request = request();
        let (status, answer) = match state.roles.check_request(&headers, &[logs::required_action(operation, &request)])
        {
            Some(refusal) => (StatusCode::BAD_REQUEST, refusal),
            None => state.logs.answer(operation, &request),
        };
        return (status, [(header::CONTENT_TYPE, "application/x-amz-json-1.1")], answer.to_string()).into_response();
    }
    identity::answer(&headers, &body)
}

fn answer_queue(state: &OperatorState, headers: &HeaderMap, operation: &str, request: &Value) -> Response {
    let OperatorState { failures, metrics, roles, .. } = state;
    let (status, answer) = match roles.check_request(headers, &queue::required_actions(operation, request)) {
        Some(refusal) => (StatusCode::BAD_REQUEST, refusal),
        None => queue::answer(failures, operation, request),
    };
    let queue = queue::queue_name(request);
    metrics.set_queue_depth(queue, failures.depth(queue));
    (status, [(header::CONTENT_TYPE, "application/x-amz-json-1.0")], answer.to_string()).into_response()
}
