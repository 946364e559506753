//! What the receiver stored for each post that is being answered.
//!
//! The response to a new delivery and to a repeat is the same, as senders expect. The write into
//! the inbox tells them apart. The SDK names the invocation in each of its requests
//! (`X-Amzn-Trace-Id`), so the table sees which post a write is for.

use std::{collections::HashMap, sync::Mutex};

use http::HeaderMap;
use serde_json::Value;

/// A delivery in an inbox.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StoredDelivery {
    /// Its key in the inbox.
    pub(crate) id: String,
    pub(crate) topic: Option<String>,
    /// When it was stored, if it was there before.
    pub(crate) first_at_ms: Option<i64>,
}

/// The posts that are being answered, by the trace of their invocation.
#[derive(Debug, Default)]
pub(crate) struct StoredDeliveries(Mutex<HashMap<String, Option<StoredDelivery>>>);

/// A write whose answer tells whether a delivery is new.
#[derive(Debug)]
pub(crate) struct InboxWrite {
    trace: String,
    id: String,
    topic: Option<String>,
}

impl StoredDeliveries {
    /// A post begins.
    pub(crate) fn begin(&self, trace: &str) {
        tellonce_fakes::lock_mutex(&self.0).insert(trace.to_owned(), None);
    }

    /// A post ends: returns what was stored for it.
    pub(crate) fn end(&self, trace: &str) -> Option<StoredDelivery> {
        tellonce_fakes::lock_mutex(&self.0).remove(trace).flatten()
    }

    /// The write of a delivery, if the request is one for a post that is being answered.
    pub(crate) fn find_write(&self, operation: &str, headers: &HeaderMap, request: &Value) -> Option<InboxWrite> {
        let trace = headers.get("x-amzn-trace-id")?.to_str().ok()?;
        if operation != "PutItem" || !tellonce_fakes::lock_mutex(&self.0).contains_key(trace) {
            return None;
        }
        let text = |name: &str| request["Item"][name]["S"].as_str().map(str::to_owned);
        Some(InboxWrite { trace: trace.to_owned(), id: text("id")?, topic: text("topic") })
    }

    /// Notes the answer to a write. The last write of a post counts: a delivery with the id of
    /// another one is stored beside it.
    pub(crate) fn note_answer(&self, write: InboxWrite, is_stored: bool, answer: &Value) {
        let first_at = answer["Item"]["received_at"]["N"].as_str().and_then(|at| at.parse().ok());
        if !is_stored && first_at.is_none() {
            return;
        }
        let stored = StoredDelivery { id: write.id, topic: write.topic, first_at_ms: first_at.filter(|_| !is_stored) };
        if let Some(noted) = tellonce_fakes::lock_mutex(&self.0).get_mut(&write.trace) {
            *noted = Some(stored);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_answer_to_the_write_tells_a_new_delivery_from_a_repeat() {
        let posts = StoredDeliveries::default();
        let headers =
            |trace: &'static str| HeaderMap::from_iter([("x-amzn-trace-id".parse().unwrap(), trace.parse().unwrap())]);
        let put = json!({"Item": {"id": {"S": "shop#1"}, "topic": {"S": "orders/create"}}});
        posts.begin("a");
        posts.begin("b");
        for (operation, trace) in [("GetItem", "a"), ("PutItem", "c")] {
            assert!(posts.find_write(operation, &headers(trace), &put).is_none(), "{operation} {trace}");
        }
        let write = |trace| posts.find_write("PutItem", &headers(trace), &put).unwrap();
        posts.note_answer(write("a"), true, &json!({}));
        posts.note_answer(write("b"), false, &json!({"Item": {"received_at": {"N": "7"}}}));
        assert_eq!(posts.end("a").unwrap().first_at_ms, None);
        assert_eq!(posts.end("b").unwrap().first_at_ms, Some(7));
        assert_eq!(posts.end("b"), None);
        // A write that failed otherwise stored nothing.
        posts.begin("a");
        posts.note_answer(write("a"), false, &json!({"__type": "InternalServerError"}));
        assert_eq!(posts.end("a"), None);
    }
}
