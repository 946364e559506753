//! News: what becomes a row when it is told for the first time.

use jiff::Timestamp;

use super::{
    key::Key,
    row::{Context, Owner, Payload, Row, State},
};
use crate::{client_config::Place, contact::Phone};

/// News to tell, complete with its words.
#[derive(Debug, Clone)]
pub struct News {
    /// Its idempotency key.
    pub key: Key,
    /// Where it stands in its subject's story.
    pub place: Place,
    /// What tells it apart from others of the same key's stage, if anything does.
    pub instance: Option<String>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The line that speaks.
    pub line: String,
    /// Who is told.
    pub to: Option<Phone>,
    /// What is said; nothing if the fact is only to be known.
    pub payload: Option<Payload>,
    /// Why nothing is said, if so.
    pub reason: Option<String>,
    /// When it stops being useful.
    pub useful_until: Timestamp,
    /// Most useful first: 0 to 100.
    pub priority: u8,
    /// Whether it may be told in the client's quiet hours.
    pub any_hour: bool,
    /// Not before then: the end of the quiet hours that it came in.
    pub not_before: Option<Timestamp>,
    /// The delivery it came from.
    pub delivery: String,
    /// For later events of the same subject.
    pub context: Context,
}

impl Row {
    /// The first row of news under `key`: claimed, unless it is only to be known, came too late, or has to wait for the
    /// end of the quiet hours.
    pub fn open(news: &News, key: Key, owner: Owner, lease_until: Timestamp, now: Timestamp) -> Self {
        let (state, due_at, reason) = if news.payload.is_none() {
            (State::Noted, None, news.reason.clone())
        } else if news.useful_until <= now {
            (State::Expired, None, Some("no longer useful when it arrived".to_owned()))
        } else if let Some(at) = news.not_before.filter(|at| *at > now) {
            (State::Held, Some(at.min(news.useful_until)), Some(QUIET_HOURS.to_owned()))
        } else {
            (State::Claimed, None, news.reason.clone())
        };
        let claimed = state == State::Claimed;
        Self {
            key,
            state,
            version: 1,
            place: news.place.clone(),
            instance: news.instance.clone(),
            occurred_at: news.occurred_at,
            line: news.line.clone(),
            to: news.to.clone(),
            payload: news.payload.clone(),
            useful_until: news.useful_until,
            priority: news.priority,
            any_hour: news.any_hour,
            owner: claimed.then_some(owner),
            lease_until: claimed.then_some(lease_until),
            due_at,
            attempts: 0,
            first_attempt_at: None,
            reason,
            provider_id: None,
            delivery: news.delivery.clone(),
            context: news.context.clone(),
            created_at: now,
            updated_at: now,
        }
    }
}

/// Why a message waits for the morning.
pub const QUIET_HOURS: &str = "these are quiet hours";
