//! Accepts the next read of a suspect feed.

use jiff::Timestamp;
use serde::Serialize;
use tellonce_core::feed::FeedStore;

use super::{access::StackAccess, operator_error::OperatorError};

/// What a command will do to a feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FeedPlan {
    /// The calendar.
    pub calendar: String,
    /// What is wrong, as the feed's row says it.
    pub problem: Option<String>,
    /// Since when the feed is suspect.
    pub suspect_since: Option<Timestamp>,
    /// Since when new appointments wait.
    pub postponing_since: Option<Timestamp>,
    /// When it was last read and accepted.
    pub read_at: Option<Timestamp>,
    /// How many appointments that read had.
    pub appointments: usize,
}

pub(super) async fn plan(access: StackAccess<'_>, calendar: String) -> Result<FeedPlan, OperatorError> {
    StackAccess::require_known("feed", &calendar, access.config.feed_names())?;
    let snapshot = feed_store(access).load(&calendar).await?;
    if snapshot.suspect_since.is_none() && snapshot.postponing_since.is_none() {
        return Err(OperatorError::NothingToAccept(calendar));
    }
    Ok(FeedPlan {
        calendar,
        problem: snapshot.problem,
        suspect_since: snapshot.suspect_since,
        postponing_since: snapshot.postponing_since,
        read_at: snapshot.read_at,
        appointments: snapshot.occurrences.len(),
    })
}

pub(super) async fn run(access: StackAccess<'_>, plan: &FeedPlan) -> Result<(), OperatorError> {
    if feed_store(access).accept_next_read(&plan.calendar).await? {
        return Ok(());
    }
    Err(OperatorError::NothingToAccept(plan.calendar.clone()))
}

fn feed_store(access: StackAccess<'_>) -> FeedStore {
    FeedStore::new(access.stack.dynamodb.clone(), access.tables.names.ledger.clone())
}
