//! Records and their links, whatever the order of the world.

use jiff::SignedDuration;
use proptest::prelude::*;
use shared::{
    client_config::Milestone,
    ledger::{Change, News, Owner, Route, Words, transition},
};

use super::*;

const TEXT: &str = "Your order 1001 is ready";
const PHONE: &str = "+972545550199";

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(100_000 + second)
}

fn owner() -> Owner {
    Owner("a".into())
}

fn claimed(order: &str, text: &str) -> Row {
    let phone = Phone::from_e164(PHONE).unwrap();
    let body = serde_json::json!({"to": PHONE, "body": text}).to_string();
    let key = Key::order("main", order, Milestone::Ready);
    let news = News {
        key: key.clone(),
        place: shared::client_config::Place::of(Milestone::Ready, None),
        instance: None,
        generation: None,
        zone: None,
        occurred_at: at(0),
        line: "main".into(),
        to: Some(phone),
        words: Words::Say(Payload { route: Route::Text, body }),
        useful_until: at(90_000),
        priority: 0,
        any_hour: false,
        not_before: None,
        delivery: String::new(),
        context: shared::ledger::Context::default(),
    };
    Row::open(&news, key, owner(), at(60), at(0))
}

fn seen(id: &str, text: &str, when: i64) -> Message {
    Message {
        id: id.into(),
        conversation: Some("conv_1".into()),
        phone: Some(Phone::from_e164(PHONE).unwrap()),
        direction: Direction::Out,
        at: at(when),
        kind: "text".into(),
        text: Some(text.into()),
    }
}

/// What happens to one message, in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The answer to the send arrives, with this id.
    Accepted,
    /// The line is seen saying it.
    Observed,
    /// A report.
    Status(&'static str),
}

const STEPS: [Step; 6] = [
    Step::Accepted,
    Step::Observed,
    Step::Status("sent"),
    Step::Status("delivered"),
    Step::Status("read"),
    Step::Status("failed"),
];

struct World {
    row: Row,
    record: Record,
    same_id: bool,
}

impl World {
    fn new(same_id: bool) -> Self {
        Self { row: claimed("1001", TEXT), record: Record::new("main", "wamid_1", 30, at(1)), same_id }
    }

    fn step(&mut self, step: Step) {
        let record = self.record.clone();
        match step {
            Step::Accepted => {
                let id = if self.same_id { "wamid_1" } else { "queued_1" };
                let accept = Change::Accept { owner: owner(), provider_id: Some(id.into()) };
                self.row = transition(&self.row, &accept, at(2)).unwrap();
            }
            Step::Observed => self.record = record.with_message(&seen("wamid_1", TEXT, 3), at(3)),
            Step::Status(word) => {
                let status = Status { id: "wamid_1".into(), fate: Fate::of(word).unwrap(), at: at(4) };
                self.record = record.with_status(&status);
            }
        }
        self.look();
    }

    /// As the function looks: the ledger's indexes, then the row.
    fn look(&mut self) {
        if !self.record.needs_look() {
            return;
        }
        let row = self.row.clone();
        let of_id = if row.provider_id.as_deref() == Some("wamid_1") { vec![row.clone()] } else { Vec::new() };
        let found = match self.record.key() {
            Some(_) => Found::Row { row: Box::new(row.clone()), weak: !self.same_id },
            None => find(&self.record, &of_id, std::slice::from_ref(&row)),
        };
        let mut applied = None;
        if let Found::Row { .. } = &found {
            let change = Change::Observe { message_id: "wamid_1".into(), fate: self.record.fate, at: at(5) };
            if let Ok(next) = transition(&row, &change, at(5)) {
                self.row = next;
                applied = Some(self.record.fate);
            }
        }
        self.record = self.record.clone().looked(&found, applied, false, at(5));
    }
}

#[test]
fn in_every_order_of_the_world_the_message_ends_as_read_and_as_itself() {
    for same_id in [true, false] {
        for order in permutations(&STEPS) {
            let mut world = World::new(same_id);
            for step in &order {
                world.step(*step);
            }
            // The clock looks again.
            world.look();
            let World { row, record, .. } = world;
            assert_eq!(row.state, State::Accepted, "{order:?}");
            assert_eq!(row.fate.word(), Some("read"), "{order:?}");
            assert!(row.fate.is_contradictory(), "a failure beside a read is remembered: {order:?}");
            assert_eq!(row.message_id.as_deref(), Some("wamid_1"), "{order:?}");
            assert!(matches!(record.link, Link::Row { weak, .. } if weak != same_id), "{order:?} {record:?}");
            assert!(!record.needs_look(), "{order:?}");
            assert!(record.due().is_none(), "{order:?}");
        }
    }
}

fn permutations(steps: &[Step]) -> Vec<Vec<Step>> {
    if steps.is_empty() {
        return vec![Vec::new()];
    }
    let without = |at: usize| [&steps[..at], &steps[at + 1..]].concat();
    let with_first =
        |at: usize| permutations(&without(at)).into_iter().map(move |rest| [&[steps[at]][..], &rest].concat());
    (0..steps.len()).flat_map(with_first).collect()
}

#[test]
fn a_send_of_unknown_outcome_is_known_once_the_line_was_seen_saying_it() {
    let lost = Change::LoseSight { owner: owner(), retry_at: at(30), reason: "no answer".into() };
    let row = transition(&claimed("1001", TEXT), &lost, at(2)).unwrap();
    let record = Record::new("main", "wamid_1", 30, at(3)).with_message(&seen("wamid_1", TEXT, 3), at(3));
    let Found::Row { row: found, weak: true } = find(&record, &[], std::slice::from_ref(&row)) else { panic!() };
    let change = Change::Observe { message_id: "wamid_1".into(), fate: Fate::default(), at: at(3) };
    let known = transition(&found, &change, at(4)).unwrap();
    assert_eq!((known.state, known.due_at), (State::Accepted, None));
}

#[test]
fn two_that_look_alike_are_not_told_apart_and_one_that_has_its_own_id_is_not_taken_again() {
    let accept = |row: &Row, id: &str| {
        transition(row, &Change::Accept { owner: owner(), provider_id: Some(id.into()) }, at(2)).unwrap()
    };
    let (one, two) = (accept(&claimed("1", TEXT), "q1"), accept(&claimed("2", TEXT), "q2"));
    let record = Record::new("main", "wamid_1", 30, at(3)).with_message(&seen("wamid_1", TEXT, 3), at(3));
    assert_eq!(find(&record, &[], &[one.clone(), two.clone()]), Found::NotYet);
    let observe = Change::Observe { message_id: "wamid_0".into(), fate: Fate::default(), at: at(3) };
    let one = transition(&one, &observe, at(3)).unwrap();
    let Found::Row { row, weak: true } = find(&record, &[], &[one, two]) else { panic!() };
    assert_eq!(row.key.subject(), "order:2");
}

#[test]
fn other_words_another_time_another_line_and_another_number_are_no_link() {
    let accept = Change::Accept { owner: owner(), provider_id: None };
    let row = transition(&claimed("1", TEXT), &accept, at(2)).unwrap();
    let found = |message: Message, line: &str| {
        let record = Record::new(line, "wamid_1", 30, at(3)).with_message(&message, at(3));
        find(&record, &[], std::slice::from_ref(&row))
    };
    assert!(matches!(found(seen("wamid_1", TEXT, 3), "main"), Found::Row { .. }));
    assert_eq!(found(seen("wamid_1", TEXT, 3), "other"), Found::Nothing);
    assert_eq!(found(seen("wamid_1", "Hello", 3), "main"), Found::Nothing);
    assert_eq!(found(seen("wamid_1", TEXT, 603), "main"), Found::Nothing);
    let other = Some(Phone::from_e164("+972545550100").unwrap());
    assert_eq!(found(Message { phone: other, ..seen("wamid_1", TEXT, 3) }, "main"), Found::Nothing);
    assert_eq!(found(Message { direction: Direction::In, ..seen("wamid_1", TEXT, 3) }, "main"), Found::Nothing);
}

#[test]
fn what_is_not_ours_is_the_teams_a_minute_later_and_not_before_however_often_it_is_looked_for() {
    let record = Record::new("main", "wamid_1", 30, at(0)).with_message(&seen("wamid_1", "Hello", 0), at(0));
    let mut early = record;
    for second in 0..10 {
        early = early.looked(&Found::Nothing, None, false, at(second));
        assert_eq!((early.link.clone(), early.due()), (Link::Unknown, Some((QUEUE.to_owned(), at(60)))));
    }
    let late = early.looked(&Found::Nothing, None, true, at(60));
    assert_eq!((late.link.clone(), late.due()), (Link::Others, None));
    assert!(late.may_be_ours(), "its id may still say so");
}

#[test]
fn a_look_that_was_overtaken_undoes_no_link() {
    let accept = Change::Accept { owner: owner(), provider_id: None };
    let row = transition(&claimed("1", TEXT), &accept, at(2)).unwrap();
    let record = Record::new("main", "wamid_1", 30, at(0)).with_message(&seen("wamid_1", TEXT, 3), at(0));
    let found = find(&record, &[], std::slice::from_ref(&row));
    let linked = record.looked(&found, Some(Fate::default()), false, at(1));
    let after = linked.clone().looked(&Found::Nothing, None, true, at(600));
    assert_eq!(after.link, linked.link);
}

#[test]
fn a_status_whose_message_is_not_known_is_looked_for_for_a_day_and_then_left() {
    let mut record = Record::new("main", "wamid_1", 30, at(0));
    let mut times = Vec::new();
    while let Some((_, due)) = record.due() {
        times.push(due.duration_since(at(0)).as_mins());
        record = record.looked(&Found::Nothing, None, true, due);
    }
    assert_eq!(times, [1, 5, 30, 180, 720, 1440]);
}

proptest! {
    #[test]
    fn reports_and_the_message_make_the_same_record_in_any_order(
        mut steps in prop::collection::vec(0..5usize, 0..12),
        shift in 0..12usize,
    ) {
        let apply = |record: Record, which: usize| match which {
            0 => record.with_message(&seen("wamid_1", TEXT, 3), at(3)),
            which => record.with_status(&Status {
                id: "wamid_1".into(),
                fate: Fate::of(["sent", "delivered", "read", "failed"][which - 1]).unwrap(),
                at: at(i64::try_from(which).unwrap()),
            }),
        };
        let new = || Record::new("main", "wamid_1", 30, at(0));
        let one = steps.iter().fold(new(), |record, step| apply(record, *step));
        if !steps.is_empty() {
            let shift = shift % steps.len();
            steps.rotate_left(shift);
        }
        steps.reverse();
        let other = steps.iter().fold(new(), |record, step| apply(record, *step));
        prop_assert_eq!(one, other);
    }
}
