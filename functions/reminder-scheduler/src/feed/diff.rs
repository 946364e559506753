//! What changed: [`compare`] holds a read against what is remembered of the last good one. Pure.
//!
//! A feed says what is; what is gone from it was cancelled. That makes a feed that lost its events by mistake dangerous:
//! an export that broke, another calendar under the same address, one that is shared without its details. So of a read in
//! which all or most of what lay ahead is gone, or has lost whom to tell, only that counts which it says of what is left:
//! that it moved or was cancelled. The rest stays as it was until an operator believes it ([`Doubt`]).
//!
//! Promises that what did not change is not reported again; that what is not understood, or lies behind the window, is not
//! taken for gone; and that a read that was interrupted at any point is made up for by the next one, whatever that says:
//! every occurrence about to be reported is written down before ([`Changes::begun`]). An event in which nobody can be
//! written to is nobody's appointment: it is not reported, unless somebody could before.

use std::{cmp::Reverse, collections::BTreeMap, fmt};

use jiff::Timestamp;
use shared::{
    appointment::{Details, Report, Standing},
    client_config::Calendar,
    feed::{Fingerprint, Known, Memory},
    ledger::Key,
};

use super::ics::{Feed, Occurrence, Window};

/// Below so many occurrences ahead, most of them can be gone for good reason: two of three were cancelled today.
const TOO_FEW_TO_DOUBT: usize = 4;

/// The calendar that a feed is of.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Its name in `client.toml`.
    pub name: &'a str,
    /// What stands there.
    pub calendar: &'a Calendar,
}

/// What a read means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is believed.
    Changes(Changes),
    /// It is not. What it says of the events that are still there counts all the same.
    Doubtful(Doubt, Changes),
}

/// What has to be reported, and what is to be remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// What to remember before the first report is taken.
    pub begun: BTreeMap<String, Known>,
    /// The reports, in the order to be taken: what ended first, then what begins soonest.
    pub changes: Vec<Change>,
}

/// One report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The occurrence.
    pub id: String,
    /// What to report of it.
    pub report: Report,
    /// What to remember of it once the report is taken; nothing, of one that is gone.
    pub then: Option<Known>,
}

impl Change {
    /// Remembers that the report was taken.
    pub fn taken(self, occurrences: &mut BTreeMap<String, Known>) {
        match self.then {
            Some(known) => occurrences.insert(self.id, known),
            None => occurrences.remove(&self.id),
        };
    }
}

/// Why a read is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    /// Occurrences that lay ahead.
    pub ahead: usize,
    /// How many of them are gone, or have lost whom to tell.
    pub gone: usize,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ahead, gone } = self;
        write!(
            f,
            "{gone} of the {ahead} appointments ahead are gone from the feed, or have lost whom to tell; they stay until \
             `believe` is set"
        )
    }
}

/// Holds a read against what is remembered. `now` is when the feed was asked for.
pub fn compare(memory: &Memory, feed: &Feed, origin: Origin<'_>, window: Window, now: Timestamp) -> Verdict {
    let mut begun = BTreeMap::new();
    let mut gone = Vec::new();
    let (mut ahead, mut lost) = (0, 0);
    for (id, known) in &memory.occurrences {
        let found = feed.occurrences.get(id);
        let here = found.is_some();
        let can_tell = !feed.cannot_tell(id) && known.start < window.until;
        if known.start > now && !known.cancelled && (here || can_tell) {
            ahead += 1;
            lost += usize::from(found.is_some_and(|it| is_news(it, Some(known)) && has_nobody(it)));
        }
        if here {
            continue;
        }
        if !can_tell {
            begun.insert(id.clone(), *known);
        } else if known.start > now && !(known.cancelled && known.said.is_some()) {
            gone.push((id, known));
        }
    }
    let doubt = Doubt { ahead, gone: lost + gone.iter().filter(|(_, known)| !known.cancelled).count() };
    let nothing_left = feed.events == 0 && ahead > 0;
    let all_gone = ahead > 1 && doubt.gone == ahead;
    let most_gone = ahead >= TOO_FEW_TO_DOUBT && doubt.gone * 2 > ahead;
    if (nothing_left || all_gone || most_gone) && !memory.believe {
        let mut left = Changes { begun: memory.occurrences.clone(), changes: Vec::new() };
        for (id, occurrence) in &feed.occurrences {
            if let Some(known) = memory.occurrences.get(id)
                && is_news(occurrence, Some(known))
                && !has_nobody(occurrence)
            {
                let (under_way, change) = origin.change(id, occurrence, Some(known), now);
                left.begun.insert(id.clone(), under_way);
                left.changes.push(change);
            }
        }
        return Verdict::Doubtful(doubt, left);
    }
    let mut changes = Vec::new();
    for (id, known) in gone {
        begun.insert(id.clone(), Known { said: None, ..*known });
        let report = origin.report(id, Standing::Cancelled, None, now);
        changes.push(Change { id: id.clone(), report, then: None });
    }
    for (id, occurrence) in &feed.occurrences {
        let known = memory.occurrences.get(id);
        match known {
            Some(known) if !is_news(occurrence, Some(known)) => {
                begun.insert(id.clone(), said(occurrence));
            }
            // Nobody's appointment, or nobody's any more.
            None if occurrence.attendee.is_err() || occurrence.start <= now => {}
            _ => {
                let (under_way, change) = origin.change(id, occurrence, known, now);
                begun.insert(id.clone(), under_way);
                changes.push(change);
            }
        }
    }
    changes.sort_by_key(|change| {
        (Reverse(change.report.standing == Standing::Cancelled), change.then.map(|then| then.start))
    });
    Verdict::Changes(Changes { begun, changes })
}

/// What is remembered of an occurrence once it is reported.
fn said(occurrence: &Occurrence) -> Known {
    let cancelled = occurrence.standing == Standing::Cancelled;
    Known { start: occurrence.start, said: Some(fingerprint(occurrence)), cancelled }
}

/// Whether an occurrence is another than the one that was reported.
fn is_news(occurrence: &Occurrence, known: Option<&Known>) -> bool {
    known.is_none_or(|known| known.said != Some(fingerprint(occurrence)))
}

/// Whether nobody can be told of an occurrence that takes place.
fn has_nobody(occurrence: &Occurrence) -> bool {
    occurrence.attendee.is_err() && occurrence.standing != Standing::Cancelled
}

impl Origin<'_> {
    /// What to remember while an occurrence is being reported, and the report.
    fn change(&self, id: &str, occurrence: &Occurrence, known: Option<&Known>, now: Timestamp) -> (Known, Change) {
        let then = said(occurrence);
        // Should this be interrupted: it lies ahead if it did before, so that it is looked for wherever it is.
        let start = known.map_or(then.start, |known| known.start.max(then.start));
        let under_way = Known { start, said: None, cancelled: known.is_some_and(|known| known.cancelled) };
        let report = self.report(id, occurrence.standing, Some(details(occurrence)), now);
        (under_way, Change { id: id.to_owned(), report, then: Some(then) })
    }

    fn report(&self, id: &str, standing: Standing, details: Option<Details>, now: Timestamp) -> Report {
        Report {
            subject: Key::appointment(self.calendar.book(), id),
            calendar: self.name.to_owned(),
            line: self.calendar.line.clone(),
            standing,
            details,
            as_of: now,
            delivery: format!("feed:{}", self.name),
            same_people: false,
            continues: None,
        }
    }
}

fn details(occurrence: &Occurrence) -> Details {
    Details {
        start: occurrence.start,
        zone: occurrence.zone.clone(),
        attendees: occurrence.attendee.iter().cloned().collect(),
        title: occurrence.title.clone(),
        place: occurrence.place.clone(),
    }
}

/// Of everything that a report of it says.
fn fingerprint(occurrence: &Occurrence) -> Fingerprint {
    let attendee = occurrence.attendee.as_ref().ok();
    Fingerprint::of(&[
        Some(occurrence.standing.name()),
        Some(&occurrence.start.to_string()),
        Some(&occurrence.zone),
        attendee.map(|attendee| attendee.phone.expose()),
        attendee.and_then(|attendee| attendee.name.as_deref()),
        occurrence.title.as_deref(),
        occurrence.place.as_deref(),
    ])
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;
    use shared::{
        appointment::{Appointment, Attendee, Learned},
        client_config::ClientConfig,
        contact::{Phone, PhoneError},
    };

    use super::*;
    use crate::feed::{
        ics::EventError,
        tests::{config, event, feed, window},
    };

    fn at(hour: i64) -> Timestamp {
        "2026-11-20T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hour)
    }

    fn around(hour: i64) -> Window {
        Window { from: at(hour - 24), until: at(hour + 24 * 16) }
    }

    /// As a poll does it, with as many reports taken as there is time for.
    fn look_through(
        config: &ClientConfig,
        memory: &mut Memory,
        feed: &Feed,
        hour: i64,
        time_for: usize,
    ) -> (Vec<Report>, Option<Doubt>) {
        let origin = Origin { name: "clinic", calendar: &config.calendars["clinic"] };
        let (doubt, Changes { begun, changes }) = match compare(memory, feed, origin, around(hour), at(hour)) {
            Verdict::Doubtful(doubt, changes) => (Some(doubt), changes),
            Verdict::Changes(changes) => (None, changes),
        };
        memory.occurrences = begun;
        memory.believe &= doubt.is_some();
        let mut reports = Vec::new();
        for change in changes.into_iter().take(time_for) {
            reports.push(change.report.clone());
            change.taken(&mut memory.occurrences);
        }
        (reports, doubt)
    }

    /// The same, of a read that is believed or says nothing of what is left.
    fn look(
        config: &ClientConfig,
        memory: &mut Memory,
        feed: &Feed,
        hour: i64,
        time_for: usize,
    ) -> Result<Vec<Report>, Doubt> {
        let (reports, doubt) = look_through(config, memory, feed, hour, time_for);
        match doubt {
            Some(doubt) => {
                assert_eq!(reports, vec![]);
                Err(doubt)
            }
            None => Ok(reports),
        }
    }

    fn plain(reports: &[Report]) -> Vec<String> {
        reports.iter().map(|report| format!("{} {}", report.subject, report.standing.name())).collect()
    }

    fn days(ids: std::ops::Range<i64>) -> Feed {
        let events: String = ids
            .map(|day| event(&format!("d{day}"), &format!("DTSTART:{}", at(day * 24 + 8).strftime("%Y%m%dT%H%M%SZ"))))
            .collect();
        feed(&events, around(0))
    }

    #[test]
    fn what_is_new_moved_cancelled_or_gone_is_reported_once() {
        let (config, mut memory) = (config(), Memory::default());
        let first = look(&config, &mut memory, &days(1..4), 0, 9).unwrap();
        assert_eq!(plain(&first), ["appointment:d1 booked", "appointment:d2 booked", "appointment:d3 booked"]);
        let report = &first[0];
        assert_eq!((report.as_of, report.delivery.as_str(), report.line.as_str()), (at(0), "feed:clinic", "main"));
        assert_eq!(look(&config, &mut memory, &days(1..4), 1, 9), Ok(vec![]));
        let mut changed = days(1..3);
        changed.occurrences.get_mut("d1").unwrap().start = at(40);
        changed.occurrences.get_mut("d2").unwrap().standing = Standing::Cancelled;
        let second = look(&config, &mut memory, &changed, 2, 9).unwrap();
        assert_eq!(plain(&second), ["appointment:d3 cancelled", "appointment:d2 cancelled", "appointment:d1 booked"]);
        assert_eq!(second[2].details.as_ref().unwrap().start, at(40));
        assert_eq!(look(&config, &mut memory, &changed, 3, 9), Ok(vec![]));
        assert_eq!(memory.occurrences.keys().collect::<Vec<_>>(), ["d1", "d2"]);
        // What was cancelled and then goes was said already; what comes back is booked.
        assert_eq!(
            plain(&look(&config, &mut memory, &days(3..4), 4, 9).unwrap()),
            ["appointment:d1 cancelled", "appointment:d3 booked"]
        );
    }

    #[test]
    fn what_only_slid_out_of_the_window_is_forgotten_and_what_lies_behind_it_is_kept() {
        let (config, mut memory) = (config(), Memory::default());
        look(&config, &mut memory, &days(1..4), 0, 9).unwrap();
        let far = Known { start: at(24 * 60), said: None, cancelled: false };
        memory.occurrences.insert("far".to_owned(), far);
        assert_eq!(look(&config, &mut memory, &days(3..4), 24 * 2 + 9, 9), Ok(vec![]));
        assert_eq!(memory.occurrences.keys().collect::<Vec<_>>(), ["d3", "far"]);
    }

    #[test]
    fn a_read_that_lost_most_or_all_changes_nothing_until_it_is_believed() {
        let (config, mut memory) = (config(), Memory::default());
        let mut with_news = days(3..4);
        with_news.occurrences.extend(days(7..9).occurrences);
        look(&config, &mut memory, &days(1..7), 0, 9).unwrap();
        let before = memory.clone();
        assert_eq!(look(&config, &mut memory, &with_news, 1, 9), Err(Doubt { ahead: 6, gone: 5 }));
        assert_eq!(look(&config, &mut memory, &days(0..0), 1, 9), Err(Doubt { ahead: 6, gone: 6 }));
        assert_eq!(memory, before);
        let half = look(&config, &mut memory.clone(), &days(1..4), 1, 9).unwrap();
        assert_eq!(half.len(), 3, "half of them may be gone for good");
        memory.believe = true;
        assert_eq!(look(&config, &mut memory, &days(0..0), 1, 9).unwrap().len(), 6);
        assert!(memory.occurrences.is_empty());
        // Of three, two may be gone; of one that was alone, an empty feed is in doubt.
        look(&config, &mut memory, &days(1..4), 2, 9).unwrap();
        assert_eq!(look(&config, &mut memory, &days(1..2), 3, 9).unwrap().len(), 2);
        assert_eq!(look(&config, &mut memory, &days(0..0), 4, 9), Err(Doubt { ahead: 1, gone: 1 }));
        // With nothing ahead there is nothing to doubt.
        assert_eq!(look(&config, &mut memory, &days(0..0), 24 * 2, 9), Ok(vec![]));
    }

    #[test]
    fn all_that_lost_whom_to_tell_or_vanished_beside_a_stranger_is_in_doubt_and_what_is_left_still_counts() {
        let (config, mut memory) = (config(), Memory::default());
        look(&config, &mut memory, &days(1..6), 0, 9).unwrap();
        let mut nobodys = days(1..6);
        for occurrence in nobodys.occurrences.values_mut() {
            occurrence.attendee = Err(PhoneError::Empty);
        }
        assert_eq!(look(&config, &mut memory, &nobodys, 1, 9), Err(Doubt { ahead: 5, gone: 5 }));
        let mut halved = days(1..3);
        halved.occurrences.get_mut("d1").unwrap().start = at(40);
        halved.occurrences.get_mut("d2").unwrap().standing = Standing::Cancelled;
        let (reports, doubt) = look_through(&config, &mut memory, &halved, 2, 9);
        assert_eq!(doubt, Some(Doubt { ahead: 5, gone: 3 }));
        assert_eq!(plain(&reports), ["appointment:d1 booked", "appointment:d2 cancelled"]);
        assert_eq!(memory.occurrences.len(), 5);
        assert_eq!(look(&config, &mut memory, &halved, 3, 9), Err(Doubt { ahead: 4, gone: 3 }));

        let mut few = Memory::default();
        look(&config, &mut few, &days(1..4), 0, 9).unwrap();
        let stranger = days(9..10);
        assert_eq!(look(&config, &mut few, &stranger, 1, 9), Err(Doubt { ahead: 3, gone: 3 }));
    }

    #[test]
    fn what_is_not_understood_stays_as_it_was_and_is_not_counted() {
        let (config, mut memory) = (config(), Memory::default());
        look(&config, &mut memory, &days(1..7), 0, 9).unwrap();
        let mut broken = days(1..2);
        broken.unreadable.extend((2..7).map(|day| (format!("d{day}"), EventError::Rule)));
        assert_eq!(look(&config, &mut memory, &broken, 1, 9), Ok(vec![]));
        assert_eq!(memory.occurrences.len(), 6);
    }

    #[test]
    fn nobodys_appointment_is_not_reported_unless_it_was_somebodys() {
        let (config, mut memory) = (config(), Memory::default());
        let mut nobodys = days(1..3);
        nobodys.occurrences.get_mut("d2").unwrap().attendee = Err(PhoneError::Empty);
        assert_eq!(plain(&look(&config, &mut memory, &nobodys, 0, 9).unwrap()), ["appointment:d1 booked"]);
        nobodys.occurrences.get_mut("d1").unwrap().attendee = Err(PhoneError::Empty);
        let gone = look(&config, &mut memory, &nobodys, 1, 9).unwrap();
        assert!(gone.len() == 1 && gone[0].details.as_ref().unwrap().attendees.is_empty());
        assert_eq!(look(&config, &mut memory, &nobodys, 2, 9), Ok(vec![]));
        // What began before it was seen is over.
        assert_eq!(look(&config, &mut Memory::default(), &days(0..1), 9, 9), Ok(vec![]));
    }

    #[test]
    fn an_appointment_has_the_subject_of_its_calendars_book() {
        let config = config();
        let origin = Origin { name: "abroad", calendar: &config.calendars["abroad"] };
        let verdict = compare(
            &Memory::default(),
            &days(1..2),
            origin,
            window("2026-11-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            at(0),
        );
        let Verdict::Changes(changes) = verdict else { panic!("{verdict:?}") };
        assert_eq!(changes.changes[0].report.subject, "appointment:abroad..d1");
    }

    /// What becomes of one appointment, or of the clock, before the next look.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Write { id: usize, day: i64, standing: Standing, phone: Option<usize> },
        Delete { id: usize },
        Damage { id: usize, damaged: bool },
        Wait { hours: i64 },
    }

    fn step() -> impl Strategy<Value = Step> {
        let standing =
            prop::sample::select(vec![Standing::Booked, Standing::Booked, Standing::Unconfirmed, Standing::Cancelled]);
        prop_oneof![
            6 => (0usize..8, -1i64..30, standing, prop::option::weighted(0.8, 0usize..2))
                .prop_map(|(id, day, standing, phone)| Step::Write { id, day, standing, phone }),
            3 => (0usize..8).prop_map(|id| Step::Delete { id }),
            1 => (0usize..8, any::<bool>()).prop_map(|(id, damaged)| Step::Damage { id, damaged }),
            2 => (1i64..100).prop_map(|hours| Step::Wait { hours }),
        ]
    }

    #[derive(Default)]
    struct World {
        truth: BTreeMap<String, Occurrence>,
        damaged: BTreeMap<String, EventError>,
        hour: i64,
    }

    impl World {
        fn happen(&mut self, step: Step) {
            match step {
                Step::Write { id, day, standing, phone } => {
                    let phone = phone.map(|which| Phone::from_e164(["+972545550199", "+972525550101"][which]).unwrap());
                    let attendee = phone.map(|phone| Attendee { phone, name: None, locale: None, zone: None });
                    let start = at(self.hour / 24 * 24 + day * 24 + 10);
                    let zone = "Asia/Jerusalem".to_owned();
                    let attendee = attendee.ok_or(PhoneError::Empty);
                    let occurrence = Occurrence { start, zone, standing, attendee, title: None, place: None };
                    self.truth.insert(format!("e{id}"), occurrence);
                }
                Step::Delete { id } => drop(self.truth.remove(&format!("e{id}"))),
                Step::Damage { id, damaged: true } => drop(self.damaged.insert(format!("e{id}"), EventError::Rule)),
                Step::Damage { id, damaged: false } => drop(self.damaged.remove(&format!("e{id}"))),
                Step::Wait { hours } => self.hour += hours,
            }
        }

        /// As [`super::super::ics::read`] would say it.
        fn feed(&self, memory: &Memory) -> Feed {
            let (window, now) = (around(self.hour), at(self.hour));
            let ahead = |id: &str| memory.occurrences.get(id).is_some_and(|known| known.start > now);
            let mut occurrences = self.truth.clone();
            occurrences.retain(|id, it| !self.damaged.contains_key(id) && (window.holds(it.start) || ahead(id)));
            Feed { occurrences, events: self.truth.len(), unreadable: self.damaged.clone() }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn whatever_happens_what_is_known_becomes_what_is_true(
            looks in prop::collection::vec((prop::collection::vec(step(), 0..6), 0usize..12, any::<bool>()), 1..25),
        ) {
            let config = config();
            let (mut world, mut memory) = (World::default(), Memory::default());
            let mut headers: BTreeMap<String, Appointment> = BTreeMap::new();
            for (steps, time_for, believe) in looks {
                for step in steps {
                    world.happen(step);
                }
                // Every look is later than the one before.
                world.hour += 1;
                memory.believe = believe;
                let before = memory.clone();
                let feed = world.feed(&memory);
                let (reports, doubt) = look_through(&config, &mut memory, &feed, world.hour, time_for);
                for report in &reports {
                    prop_assert_eq!(report.as_of, at(world.hour));
                    if let Learned::News(header) = Appointment::learn(headers.get(&report.subject), report, at(world.hour)) {
                        headers.insert(report.subject.clone(), *header);
                    }
                }
                if doubt.is_some() {
                    prop_assert!(!believe);
                    prop_assert!(memory.occurrences.keys().eq(before.occurrences.keys()), "nothing is forgotten");
                    for report in &reports {
                        let details = report.details.as_ref();
                        let named = details.is_some_and(|details| !details.attendees.is_empty());
                        prop_assert!(named || report.standing == Standing::Cancelled, "{report:?}");
                        prop_assert!(details.is_some(), "{report:?} is not in the feed");
                    }
                    continue;
                }
                let span = at(world.hour)..around(world.hour).until;
                // What lies behind the window can't be missed, but what is there can be seen there.
                let sure = before.occurrences.iter().filter(|(id, known)| {
                    let seen = feed.occurrences.contains_key(*id);
                    let ahead = span.start < known.start && !known.cancelled;
                    ahead && (seen || (known.start < span.end && !feed.cannot_tell(id)))
                });
                let (mut ahead, mut gone) = (0, 0);
                for (id, _) in sure {
                    let subject = Key::appointment("main", id);
                    ahead += 1;
                    gone += reports.iter().filter(|report| report.subject == subject && report.details.is_none()).count();
                }
                prop_assert!(believe || ahead < TOO_FEW_TO_DOUBT || gone * 2 <= ahead, "{gone} of {ahead}");
                if memory.occurrences.values().any(|known| known.said.is_none()) {
                    continue; // interrupted
                }
                let now = at(world.hour);
                prop_assert_eq!(look(&config, &mut memory.clone(), &feed, world.hour, 99), Ok(vec![]), "the same again");
                for (id, occurrence) in &world.truth {
                    if world.damaged.contains_key(id) || occurrence.start <= now || !around(world.hour).holds(occurrence.start) {
                        continue;
                    }
                    let header = headers.get(&format!("appointment:{id}"));
                    let Ok(attendee) = &occurrence.attendee else {
                        let told = header.is_some_and(|header| {
                            let somebody = header.seats.iter().any(|seat| seat.taken);
                            header.start > now && header.standing != Standing::Cancelled && somebody
                        });
                        prop_assert!(!told, "{id}");
                        continue;
                    };
                    let header = header.unwrap();
                    prop_assert_eq!((header.standing, header.start), (occurrence.standing, occurrence.start));
                    prop_assert!(header.seats.iter().all(|seat| seat.taken == (seat.attendee.phone == attendee.phone)));
                }
                for (subject, header) in &headers {
                    let id = subject.strip_prefix("appointment:").unwrap();
                    // What lies behind the window is looked for when the window reaches it.
                    let near = header.start > now && header.start < around(world.hour).until;
                    let told = near && header.standing == Standing::Booked && header.seats.iter().any(|seat| seat.taken);
                    if told && !world.damaged.contains_key(id) {
                        let truth = world.truth.get(id);
                        prop_assert!(truth.is_some_and(|it| it.start == header.start && it.standing == Standing::Booked), "{id}");
                    }
                }
            }
        }
    }
}
