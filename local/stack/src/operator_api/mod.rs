//! The AWS APIs that operators call beside tables and secrets: `Invoke` and
//! `GetFunctionConfiguration` of Lambda, the queue of dead letters in SQS, and `GetCallerIdentity`
//! of STS. One server answers all of them.
//!
//! Functions have their names of the cloud here: `tellonce-{client}-order-notifier`. Signatures are
//! not verified. A caller that takes a role of the template may do what that role allows
//! ([`crate::iam`]).

mod identity;
mod lambda;
mod queue;

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    response::{IntoResponse as _, Response},
    routing::post,
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use crate::{iam::FunctionRoles, metrics::MetricLog, streams::FailureLog};

pub(crate) use lambda::LambdaApi;

/// The most bytes of a payload, as in Lambda.
const MAX_PAYLOAD_BYTES: usize = 6 * 1024 * 1024;

/// The queue of dead letters, its metric, and who may use it.
#[derive(Clone)]
pub(crate) struct QueueApi {
    pub(crate) failures: Arc<FailureLog>,
    pub(crate) metrics: Arc<MetricLog>,
    pub(crate) roles: Arc<FunctionRoles>,
}

/// The server.
pub(crate) fn build_router(lambda: LambdaApi, queue: QueueApi) -> Router {
    Router::new()
        .route("/", post(answer_post))
        .with_state(queue)
        .merge(lambda.build_router())
        .layer(DefaultBodyLimit::max(MAX_PAYLOAD_BYTES))
}

/// SQS names its operation in a header, STS in the form of its body.
async fn answer_post(
    State(QueueApi { failures, metrics, roles }): State<QueueApi>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(operation) = target.strip_prefix("AmazonSQS.") else { return identity::answer(&headers, &body) };
    let request = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let refusal = roles.check_request(&headers, &queue::required_actions(operation, &request));
    let (status, answer) = match refusal {
        Some(refusal) => (StatusCode::BAD_REQUEST, refusal),
        None => queue::answer(&failures, operation, &request),
    };
    let queue = queue::queue_name(&request);
    metrics.set_queue_depth(queue, failures.depth(queue));
    (status, [(header::CONTENT_TYPE, "application/x-amz-json-1.0")], answer.to_string()).into_response()
}
