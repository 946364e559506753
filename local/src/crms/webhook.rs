//! What an address that takes signed calls does with one, once its signature holds.

use http::StatusCode;

use super::book::Book;
use crate::peers::{Asked, Said};

/// Takes a call in, unless one of the same `webhook-id` came before: that one is counted.
pub(super) fn said(asked: &Asked, book: &mut Book, now_ms: i64) -> Said {
    let id = asked.header("webhook-id").unwrap_or_default();
    match book.written.iter_mut().find(|written| written.id == id) {
        Some(written) => written.repeats += 1,
        None => book.write_as(id, asked.json(), now_ms),
    }
    Said::empty(StatusCode::NO_CONTENT)
}
