//! Which known occurrence an occurrence of a read is: [`assign_ids`]. Pure.
//!
//! Usually its id says so. Some calendars give an event another `UID` at every read, or a position
//! in the list. A series that is moved as a whole gets new slots. So these rules apply, in this
//! order:
//!
//! 1. An occurrence with its known id, start and number is that known occurrence.
//! 2. So is one with another id and the start and the number of a known occurrence.
//! 3. So is one with a known id and another start or number: it was changed.
//! 4. So is one of a known `UID` with the number of a known occurrence that is missing, if it is at
//!    most a week away: its series was moved.
//! 5. If the feed has no known `UID` any more, its calendar makes new ones. Then the only
//!    occurrence of a person who misses one known occurrence, at most a week away, was moved.
//! 6. Every other occurrence is new. If it repeats all facts of another occurrence under another
//!    id, it is left out: the person is reminded once.
//!
//! An occurrence keeps the id under which it became known. The snapshot also holds the id that the
//! feed gave it last, and rules 1, 3 and 4 compare that one.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use tellonce_core::feed::{FactsFingerprint, KnownOccurrence};

use super::occurrence::{FeedOccurrence, possible_uids};

/// How far the times of a series, or of a person's only occurrence, may move for it to be a move.
const MAX_MOVE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// An occurrence of a read, under the id by which it is known.
#[derive(Clone, Copy)]
pub(super) struct IdentifiedOccurrence<'f> {
    /// Its id in the feed.
    pub(super) feed_id: &'f str,
    pub(super) occurrence: &'f FeedOccurrence,
}

/// The occurrences of a read by the ids under which they are known, or become known.
pub(super) fn assign_ids<'f>(
    known: &BTreeMap<String, KnownOccurrence>,
    occurrences: &'f BTreeMap<String, FeedOccurrence>,
    now: Timestamp,
) -> BTreeMap<String, IdentifiedOccurrence<'f>> {
    let mut assignment = IdAssignment::new(known, occurrences);
    assignment.assign_own_ids(|known, open| known.start == open.occurrence.start && open.has_person_of(known));
    let by_slot = |known: &KnownOccurrence| known.person.map(|person| (known.start, person));
    assignment.assign_by(by_slot, |open| open.person.map(|person| (open.occurrence.start, person)));
    assignment.assign_own_ids(|_, _| true);
    assignment.assign_within_uids(|known, open| {
        let distance = known.start.duration_since(open.occurrence.start).abs();
        known.start > now && distance <= MAX_MOVE && open.person.is_some() && open.has_person_of(known)
    });
    let uids: HashSet<&str> = occurrences.values().map(|occurrence| occurrence.uid.as_str()).collect();
    let has_uid = |id: &str| possible_uids(id).any(|uid| uids.contains(uid));
    if !known.iter().any(|(id, known)| known.start > now && has_uid(known.id_in_feed(id))) {
        assignment.assign_single_persons(now);
    }
    assignment.finish()
}

/// An occurrence without an assigned id.
struct OpenOccurrence<'f> {
    id: &'f str,
    occurrence: &'f FeedOccurrence,
    person: Option<FactsFingerprint>,
}

impl<'f> OpenOccurrence<'f> {
    fn identified(&self) -> IdentifiedOccurrence<'f> {
        IdentifiedOccurrence { feed_id: self.id, occurrence: self.occurrence }
    }

    fn has_person_of(&self, known: &KnownOccurrence) -> bool {
        known.person == self.person
    }
}

struct IdAssignment<'f, 'k> {
    /// The known occurrences that are not assigned.
    free: BTreeMap<&'k str, &'k KnownOccurrence>,
    open: Vec<OpenOccurrence<'f>>,
    assigned: BTreeMap<String, IdentifiedOccurrence<'f>>,
}

impl<'f, 'k> IdAssignment<'f, 'k> {
    fn new(known: &'k BTreeMap<String, KnownOccurrence>, occurrences: &'f BTreeMap<String, FeedOccurrence>) -> Self {
        let open =
            occurrences.iter().map(|(id, occurrence)| OpenOccurrence { id, occurrence, person: occurrence.person() });
        let mut open: Vec<_> = open.collect();
        open.sort_by_key(|open| open.occurrence.start);
        let free = known.iter().map(|(id, known)| (id.as_str(), known)).collect();
        Self { free, open, assigned: BTreeMap::new() }
    }

    /// Assigns to each open occurrence the id that `choose` returns.
    fn assign(
        &mut self,
        mut choose: impl FnMut(&BTreeMap<&'k str, &'k KnownOccurrence>, &OpenOccurrence<'f>) -> Option<&'k str>,
    ) {
        for open in std::mem::take(&mut self.open) {
            match choose(&self.free, &open) {
                Some(id) => {
                    self.free.remove(id);
                    self.assigned.insert(id.to_owned(), open.identified());
                }
                None => self.open.push(open),
            }
        }
    }

    /// Assigns the occurrences whose id in the feed is known.
    fn assign_own_ids(&mut self, is_it: impl Fn(&KnownOccurrence, &OpenOccurrence<'f>) -> bool) {
        let ids: HashMap<&'k str, &'k str> = self.free.iter().map(|(id, known)| (known.id_in_feed(id), *id)).collect();
        self.assign(|free, open| {
            let id = *ids.get(open.id)?;
            free.get(id).is_some_and(|known| is_it(known, open)).then_some(id)
        });
    }

    /// Assigns occurrences by a key. Of several known occurrences with one key, one of the same
    /// `UID` is preferred.
    fn assign_by<K: Ord>(
        &mut self,
        known_key: impl Fn(&KnownOccurrence) -> Option<K>,
        open_key: impl Fn(&OpenOccurrence<'f>) -> Option<K>,
    ) {
        let mut by_key: BTreeMap<K, Vec<&'k str>> = BTreeMap::new();
        for (id, known) in &self.free {
            if let Some(key) = known_key(known) {
                by_key.entry(key).or_default().push(id);
            }
        }
        self.assign(|free, open| {
            let ids = by_key.get_mut(&open_key(open)?).filter(|ids| !ids.is_empty())?;
            let is_own = |id: &&'k str| {
                free.get(id)
                    .is_some_and(|known| possible_uids(known.id_in_feed(id)).any(|uid| uid == open.occurrence.uid))
            };
            Some(ids.remove(ids.iter().position(is_own).unwrap_or(0)))
        });
    }

    /// Assigns occurrences of a known `UID`, the earliest first.
    fn assign_within_uids(&mut self, is_it: impl Fn(&KnownOccurrence, &OpenOccurrence<'f>) -> bool) {
        let mut by_uid: BTreeMap<&str, Vec<&'k str>> = BTreeMap::new();
        for (id, known) in &self.free {
            for uid in possible_uids(known.id_in_feed(id)) {
                by_uid.entry(uid).or_default().push(id);
            }
        }
        for ids in by_uid.values_mut() {
            ids.sort_by_key(|id| self.free[*id].start);
        }
        self.assign(|free, open| {
            let ids = by_uid.get_mut(open.occurrence.uid.as_str())?;
            let at = ids.iter().position(|id| free.get(id).is_some_and(|known| is_it(known, open)))?;
            Some(ids.remove(at))
        });
    }

    /// Assigns the occurrences of persons with one open and one missing occurrence.
    fn assign_single_persons(&mut self, now: Timestamp) {
        let missing = self.free.iter().filter(|(_, known)| known.start > now && !known.cancelled);
        let mut missing_by_person: BTreeMap<FactsFingerprint, Vec<&'k str>> = BTreeMap::new();
        for (id, known) in missing {
            if let Some(person) = known.person {
                missing_by_person.entry(person).or_default().push(id);
            }
        }
        let mut open_count: BTreeMap<FactsFingerprint, usize> = BTreeMap::new();
        let upcoming = self.open.iter().filter(|open| open.occurrence.start > now);
        for person in upcoming.filter_map(|open| open.person) {
            *open_count.entry(person).or_default() += 1;
        }
        self.assign(|free, open| {
            let is_single = |person: &FactsFingerprint| open_count.get(person) == Some(&1);
            let person = open.person.filter(|person| open.occurrence.start > now && is_single(person))?;
            let [id] = missing_by_person.get(&person)?.as_slice() else { return None };
            let distance = free.get(id)?.start.duration_since(open.occurrence.start).abs();
            (distance <= MAX_MOVE).then_some(*id)
        });
    }

    /// Gives the new occurrences their ids.
    fn finish(mut self) -> BTreeMap<String, IdentifiedOccurrence<'f>> {
        let mut facts: HashSet<FactsFingerprint> =
            self.assigned.values().map(|it| it.occurrence.fingerprint()).collect();
        for open in self.open {
            let OpenOccurrence { id, occurrence, .. } = open;
            if !facts.insert(occurrence.fingerprint()) {
                continue;
            }
            let slot = occurrence.start.strftime("%Y%m%dT%H%M%SZ");
            let mut free_id = id.to_owned();
            let mut number = 1;
            while self.assigned.contains_key(&free_id) || self.free.contains_key(free_id.as_str()) {
                free_id = match number {
                    1 => format!("{}/{slot}", occurrence.uid),
                    number => format!("{}/{slot}-{number}", occurrence.uid),
                };
                number += 1;
            }
            self.assigned.insert(free_id, open.identified());
        }
        self.assigned
    }
}
