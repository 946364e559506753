//! Writes the posts at the gateway into the activity.

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt as _, Collected};
use serde_json::Value;

use crate::{
    activity::{ActivityEvent, ActivityLog, GatewayPost},
    functions::build_trace_id,
    recording::DeliveryRecording,
    stored_deliveries::StoredDeliveries,
};

/// Where posts are written.
#[derive(Debug)]
pub(crate) struct PostRecorder {
    pub(crate) log: Arc<ActivityLog>,
    /// What the posts that are being answered stored.
    pub(crate) stored: Arc<StoredDeliveries>,
    /// Where deliveries are written as files.
    pub(crate) files: Option<DeliveryRecording>,
}

impl PostRecorder {
    /// Writes a post into files, if the run records deliveries.
    pub(crate) fn write_files(&self, sender: &str, headers: &HeaderMap, body: &Bytes, now_ms: i64) {
        if let Some(files) = &self.files {
            files.write(sender, headers, body, now_ms);
        }
    }

    /// A post begins, before its function is invoked with this id.
    pub(crate) fn begin(&self, invocation: &str) {
        self.stored.begin(&build_trace_id(invocation));
    }

    /// A post to a sender's address ends: its kind and its name.
    pub(crate) async fn finish(&self, invocation: &str, sender: (&str, &str), response: Response) -> Response {
        let stored = self.stored.end(&build_trace_id(invocation));
        let (parts, body) = response.into_parts();
        // A function's response is in memory already, so reading it cannot fail.
        let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
        let answer: Option<Value> = serde_json::from_slice(&body).ok();
        let reason = answer.and_then(|answer| answer["message"].as_str().map(str::to_owned));
        let post = GatewayPost::new(sender, parts.status.as_u16(), reason, stored);
        self.log.add(ActivityEvent::Post(post));
        Response::from_parts(parts, body.into())
    }

    /// A post that no route takes.
    pub(crate) fn record_unknown_address(&self) {
        let reason = Some("no route takes this address".to_owned());
        self.log.add(ActivityEvent::Post(GatewayPost::new(("", ""), 404, reason, None)));
    }
}
