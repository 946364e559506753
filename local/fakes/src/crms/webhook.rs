//! The address of a CRM that takes signed calls. The signature was verified before.

use http::StatusCode;

use super::records::FakeCrmRecords;
use crate::services::{FakeReply, FakeRequest};

/// Records a call, or counts a repeat of a known `webhook-id`.
pub(super) fn reply_to_request(request: &FakeRequest, records: &mut FakeCrmRecords, now_ms: i64) -> FakeReply {
    let id = request.header("webhook-id").unwrap_or_default();
    match records.entries.iter_mut().find(|written| written.id == id) {
        Some(written) => written.repeats += 1,
        None => records.add_entry_with_id(id, request.json_body(), now_ms),
    }
    FakeReply::empty(StatusCode::NO_CONTENT)
}
