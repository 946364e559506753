//! A ledger in memory, for one preview.
//!
//! Walks a message through [`transition`] and [`decide`] as `shared::telling` does, over a line that always takes it.
//! Time passes only where the next delivery, or the end of the preview, makes it pass: what waits is then told when its
//! time has come.

use std::collections::BTreeMap;

use jiff::Timestamp;
use shared::ledger::{Change, Key, News, Owner, Row, State, decide, transition};

use super::{MessageShown, message};

/// Everything that is remembered.
#[derive(Default)]
pub(super) struct Scratch {
    rows: BTreeMap<Key, Row>,
}

/// What the ledger had to say about news.
pub(super) enum Met {
    /// It is new, under this key.
    New(Key),
    /// It was told, or is in hand, under this key.
    Known(Key, State),
    /// The same, with another text.
    Differs(Key, State),
}

impl Scratch {
    /// All that is known of a subject.
    pub(super) fn story(&self, subject: &str) -> Vec<Row> {
        self.rows.values().filter(|row| row.key.subject() == subject).cloned().collect()
    }

    /// The row of a key.
    pub(super) fn row(&self, key: &Key) -> Option<&Row> {
        self.rows.get(key)
    }

    /// What became of a message when all is over: what was sent, or why nothing was.
    pub(super) fn fate(&self, key: &Key) -> Option<Result<MessageShown, String>> {
        let row = self.row(key)?;
        if row.state == State::Accepted {
            return Some(Ok(message(row, row.payload.as_ref()?, row.updated_at)));
        }
        let reason = row.reason.as_deref().unwrap_or_default();
        // What is only noted has its own code in front already.
        let noted = matches!(row.state, State::Noted | State::Unsaid);
        Some(Err(if noted { reason.to_owned() } else { format!("{}: {reason}", row.state.name()) }))
    }

    /// Tells news, once.
    pub(super) fn tell(&mut self, news: &News, now: Timestamp) -> Met {
        let mut key = news.key.clone();
        loop {
            let Some(before) = self.rows.get(&key) else {
                self.begin(Row::open(news, key.clone(), owner(), now, now), now);
                return Met::New(key);
            };
            match (&news.instance, &before.instance) {
                (Some(mine), Some(theirs)) if mine != theirs && key == news.key => key = key.for_instance(mine),
                _ => {
                    let mine = Row::open(news, key.clone(), owner(), now, now);
                    if let Some(next) = mine.in_place_of(before) {
                        self.begin(next, now);
                        return Met::New(key);
                    }
                    let state = before.state;
                    let differs = matches!((&before.payload, &mine.payload), (Some(a), Some(b)) if a != b);
                    return if differs { Met::Differs(key, state) } else { Met::Known(key, state) };
                }
            }
        }
    }

    /// Lets time pass until `until`: whatever is due before is told, or found to be untrue or too late.
    pub(super) fn pass(&mut self, until: Timestamp) {
        loop {
            let due = self.rows.values().filter_map(|row| Some((row.due_at.filter(|due| *due <= until)?, row)));
            let first = due.min_by_key(|(due, row)| (*due, std::cmp::Reverse(row.priority)));
            let Some((now, row)) = first.map(|(due, row)| (due, row.clone())) else { return };
            let change = if row.useful_until <= now {
                Change::Expire { owner: None }
            } else {
                Change::Claim { owner: owner(), lease_until: now }
            };
            match transition(&row, &change, now) {
                Ok(next) if next.state == State::Claimed => self.send(next, now),
                Ok(next) => self.keep(next),
                // Nobody else is here to hold it; not to go round for ever, it stays as it is.
                Err(_) => self.keep(Row { due_at: None, ..row }),
            }
        }
    }

    fn begin(&mut self, row: Row, now: Timestamp) {
        if row.state == State::Claimed { self.send(row, now) } else { self.keep(row) }
    }

    /// One attempt at a claimed row, over a line that takes everything.
    fn send(&mut self, row: Row, now: Timestamp) {
        let verdict = decide(&row, &self.story(row.key.subject()), now);
        let change = verdict.change(owner()).unwrap_or(Change::Accept { owner: owner(), provider_id: None });
        let next = transition(&row, &change, now).unwrap_or(row);
        self.keep(next);
    }

    fn keep(&mut self, row: Row) {
        self.rows.insert(row.key.clone(), row);
    }
}

fn owner() -> Owner {
    Owner("preview".to_owned())
}
