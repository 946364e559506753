//! Whether a claimed message may be sent now, given everything else the ledger knows of its subject.
//!
//! Two senders that claim two messages of one order at the same time each see the other's claim or are seen by it,
//! because both write their claim *before* they read the story. So one of them gives way: the older news is dropped,
//! or the newer waits until the older is out.

use jiff::Timestamp;

use super::row::{Row, State};

/// What to do with a claimed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Send it.
    Send,
    /// It is untrue beside what is known.
    Untrue {
        /// The stage that made it so.
        because: String,
    },
    /// It is no longer useful.
    Expired,
    /// An older message of the same subject is on its way; it must come first.
    Wait {
        /// Until when.
        until: Timestamp,
        /// For which stage.
        stage: String,
    },
}

/// Decides about a claimed message beside all rows of its subject (it may be among them).
pub fn decide(row: &Row, story: &[Row], now: Timestamp) -> Verdict {
    if row.useful_until <= now {
        return Verdict::Expired;
    }
    let others = || story.iter().filter(|other| other.key != row.key);
    if let Some(newer) = others().find(|other| row.place.is_untrue_beside(&other.place)) {
        return Verdict::Untrue { because: newer.key.stage().to_owned() };
    }
    let on_its_way = others()
        .filter(|other| other.state == State::Claimed && other.place.is_untrue_beside(&row.place))
        .filter_map(|other| other.lease_until.filter(|lease| now < *lease).map(|lease| (lease, other)))
        .max_by_key(|(lease, _)| *lease);
    match on_its_way {
        Some((until, other)) => Verdict::Wait { until, stage: other.key.stage().to_owned() },
        None => Verdict::Send,
    }
}
