//! News: what becomes a row when it is told for the first time.

use jiff::Timestamp;

use super::{
    fate::Fate,
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
    /// For a reminder: the generation of the appointment that it is made for.
    pub generation: Option<u64>,
    /// The IANA zone in which quiet hours are kept for it, when it is not the client's.
    pub zone: Option<String>,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The line that speaks.
    pub line: String,
    /// Who is told.
    pub to: Option<Phone>,
    /// What is said of it.
    pub words: Words,
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

/// What is said of a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Words {
    /// This.
    Say(Payload),
    /// Nothing, and that is meant: why.
    Never(String),
    /// Nothing, because something is missing: what.
    NotYet(String),
}

impl Words {
    /// Why nothing is said, if so.
    pub fn silence(&self) -> Option<&str> {
        match self {
            Self::Say(_) => None,
            Self::Never(reason) | Self::NotYet(reason) => Some(reason),
        }
    }
}

impl Row {
    /// The first row of news under `key`: claimed, unless it is only to be known, came too late, or has to wait for the
    /// end of the quiet hours.
    pub fn open(news: &News, key: Key, owner: Owner, lease_until: Timestamp, now: Timestamp) -> Self {
        let late = news.useful_until <= now;
        let (state, due_at, reason) = match (&news.words, news.not_before.filter(|at| *at > now)) {
            (Words::Never(reason), _) => (State::Noted, None, Some(reason.clone())),
            (Words::NotYet(reason), _) => (State::Unsaid, None, Some(reason.clone())),
            (Words::Say(_), _) if late => (State::Expired, None, Some("no longer useful when it arrived".to_owned())),
            (Words::Say(_), Some(at)) => (State::Held, Some(at.min(news.useful_until)), Some(QUIET_HOURS.to_owned())),
            (Words::Say(_), None) => (State::Claimed, None, None),
        };
        let payload = match &news.words {
            Words::Say(payload) => Some(payload.clone()),
            Words::Never(_) | Words::NotYet(_) => None,
        };
        let claimed = state == State::Claimed;
        Self {
            key,
            state,
            version: 1,
            place: news.place.clone(),
            instance: news.instance.clone(),
            generation: news.generation,
            zone: news.zone.clone(),
            occurred_at: news.occurred_at,
            line: news.line.clone(),
            to: news.to.clone(),
            payload,
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
            accepted_at: None,
            message_id: None,
            fate: Fate::default(),
            fate_at: None,
            delivery: news.delivery.clone(),
            context: news.context.clone(),
            created_at: now,
            updated_at: now,
        }
    }

    /// This row in the place of one that could not say it, if it can.
    #[must_use]
    pub fn in_place_of(&self, unsaid: &Self) -> Option<Self> {
        (unsaid.state == State::Unsaid && self.payload.is_some()).then(|| Self {
            version: unsaid.version + 1,
            created_at: unsaid.created_at,
            ..self.clone()
        })
    }
}

/// The name in [`Context::values`] of the zone whose clocks a reminder's text speaks of.
pub const SPOKEN_ZONE: &str = "time_zone";

/// Why a message waits for the morning.
pub const QUIET_HOURS: &str = "these are quiet hours";
