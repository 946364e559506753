//! Records and their links, in every order of events.

use jiff::SignedDuration;
use proptest::prelude::*;
use tellonce_core::{
    client_config::Milestone,
    ledger::{ClaimOwner, Content, OutboundMessage, RowChange, apply_change},
    provider::{ContentKind, SendRoute},
};

use super::*;

const TEXT: &str = "Your order 1001 is ready";
const PHONE: &str = "+972545550199";

fn at_second(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(100_000 + second)
}

fn test_owner() -> ClaimOwner {
    ClaimOwner("a".into())
}

fn claimed_row(order: &str, text: &str) -> LedgerRow {
    let phone = Phone::from_e164(PHONE).unwrap();
    let body = serde_json::json!({"to": PHONE, "body": text}).to_string();
    let key = IdempotencyKey::for_order("main", order, Milestone::Ready);
    let message = OutboundMessage {
        key,
        precedence: tellonce_core::client_config::Precedence::of_milestone(Milestone::Ready, None),
        instance: None,
        generation: None,
        zone: None,
        text_zone: None,
        consent: None,
        released_at: None,
        occurred_at: at_second(0),
        line: "main".into(),
        to: Some(phone),
        content: Content::Send(Payload { route: SendRoute::Text, body }),
        useful_until: at_second(90_000),
        priority: 0,
        ignores_quiet_hours: false,
        not_before: None,
        delivery: String::new(),
        context: tellonce_core::ledger::MessageContext::default(),
    };
    LedgerRow::from_message(&message, test_owner(), at_second(60), at_second(0))
}

fn observed_message(id: &str, text: &str, second: i64) -> LineMessage {
    LineMessage {
        message_id: id.into(),
        conversation_id: Some("conv_1".into()),
        phone: Some(Phone::from_e164(PHONE).unwrap()),
        lid: None,
        direction: MessageDirection::Out,
        sent_at: at_second(second),
        content: ContentKind::Written,
        kind: "text".into(),
        text: Some(text.into()),
        target: None,
        age: SignedDuration::ZERO,
    }
}

/// Finds the row of a record whose message names the customer's number.
fn match_record(record: &MessageRecord, rows_with_id: &[LedgerRow], sent_rows: &[LedgerRow]) -> LedgerMatch {
    let phone = record.observed.as_ref().and_then(ObservedMessage::phone);
    find_match(record, rows_with_id, sent_rows, phone.as_ref())
}

/// An event of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RecordStep {
    /// The response to the send arrives.
    Accepted,
    /// The line reports the message.
    Observed,
    /// The line reports a status.
    Status(&'static str),
    /// More than a minute passes, and the clock checks the record.
    MinuteLater,
}

const STEPS: [RecordStep; 6] = [
    RecordStep::Accepted,
    RecordStep::Observed,
    RecordStep::Status("sent"),
    RecordStep::Status("delivered"),
    RecordStep::Status("read"),
    RecordStep::Status("failed"),
];

struct RecordModel {
    row: LedgerRow,
    record: MessageRecord,
    same_id: bool,
    /// Whether the line names the customer by a private id whose number is unknown.
    is_private: bool,
}

impl RecordModel {
    fn new(same_id: bool) -> Self {
        Self {
            row: claimed_row("1001", TEXT),
            record: MessageRecord::new("main", "wamid_1", 30, at_second(1)),
            same_id,
            is_private: false,
        }
    }

    /// The response to the first submit was lost. The next one gets it.
    fn after_lost_response() -> Self {
        let lost =
            RowChange::OutcomeUnknown { owner: test_owner(), retry_at: at_second(2), reason: "no answer".into() };
        let model = Self::new(true);
        Self { row: apply_change(&model.row, &lost, at_second(2)).unwrap(), is_private: true, ..model }
    }

    fn apply_step(&mut self, step: RecordStep) {
        let record = self.record.clone();
        match step {
            RecordStep::Accepted => {
                let id = if self.same_id { "wamid_1" } else { "queued_1" };
                if self.row.state == MessageState::Unknown {
                    let claim = RowChange::Claim { owner: test_owner(), lease_until: at_second(60) };
                    self.row = apply_change(&self.row, &claim, at_second(2)).unwrap();
                }
                let accept = RowChange::Accept { owner: test_owner(), provider_id: Some(id.into()) };
                self.row = apply_change(&self.row, &accept, at_second(2)).unwrap();
                // Another function writes it, and checks no record.
                return;
            }
            RecordStep::Observed => {
                if !self.apply_by_id(DeliveryStatus::sent()) {
                    let mut message = observed_message("wamid_1", TEXT, 3);
                    if self.is_private {
                        (message.phone, message.lid) = (None, Lid::parse("235085806700321@lid"));
                    }
                    self.record = record.with_message(&message, at_second(3));
                }
            }
            RecordStep::Status(word) => {
                let delivery_status = DeliveryStatus::from_status(word).unwrap();
                let message_id = "wamid_1".into();
                let status = StatusReport { message_id, delivery_status, reported_at: at_second(4), lid: None };
                if !self.apply_by_id(delivery_status) {
                    self.record = record.with_status(&status);
                }
            }
            RecordStep::MinuteLater => return self.check_by_clock(),
        }
        if self.record.needs_check() || self.record.may_be_ours() {
            self.reconcile(false, at_second(5));
        }
    }

    fn check_by_clock(&mut self) {
        if self.record.needs_check() {
            self.reconcile(true, at_second(100));
        }
    }

    /// Applies a report to the row with the reported id. Returns whether there is one.
    fn apply_by_id(&mut self, delivery_status: DeliveryStatus) -> bool {
        if self.row.provider_id.as_deref() != Some("wamid_1")
            || (self.row.attempts > 0 && self.row.message_id.is_none())
        {
            return false;
        }
        let (message_id, at) = ("wamid_1".into(), at_second(5));
        let change = RowChange::StatusReported { message_id, conversation_id: None, delivery_status, at };
        self.row = apply_change(&self.row, &change, at_second(5)).unwrap();
        true
    }

    fn has_record(&self) -> bool {
        self.record != Self::new(self.same_id).record
    }

    /// Searches as the function does: the ledger's indexes, then the row.
    fn reconcile(&mut self, is_scheduled: bool, now: Timestamp) {
        if !self.has_record() {
            return;
        }
        let row = self.row.clone();
        let rows_with_id = if row.provider_id.as_deref() == Some("wamid_1") { vec![row.clone()] } else { Vec::new() };
        let found = match self.record.ledger_key() {
            Some(_) => LedgerMatch::Row { row: Box::new(row.clone()), weak: !self.same_id },
            None => match_record(&self.record, &rows_with_id, std::slice::from_ref(&row)),
        };
        let mut applied_status = None;
        if let LedgerMatch::Row { .. } = &found {
            let change = RowChange::StatusReported {
                message_id: "wamid_1".into(),
                conversation_id: None,
                delivery_status: self.record.delivery_status,
                at: at_second(5),
            };
            if let Ok(next) = apply_change(&row, &change, at_second(5)) {
                self.row = next;
                applied_status = Some(self.record.delivery_status);
            }
        }
        self.record = self.record.clone().with_lookup(&found, applied_status, is_scheduled, now);
    }
}

#[test]
fn in_every_order_of_events_the_message_ends_as_read_and_linked_to_its_own_row() {
    for same_id in [true, false] {
        for order in list_permutations(&STEPS) {
            let mut model = RecordModel::new(same_id);
            for step in &order {
                model.apply_step(*step);
            }
            model.check_by_clock();
            let has_record = model.has_record();
            let RecordModel { row, record, .. } = model;
            assert_eq!(row.state, MessageState::Accepted, "{order:?}");
            assert_eq!(row.delivery_status.status_name(), Some("read"), "{order:?}");
            assert!(row.delivery_status.is_contradictory(), "a failure beside a read is remembered: {order:?}");
            assert_eq!(row.message_id.as_deref(), Some("wamid_1"), "{order:?}");
            if !has_record {
                assert!(same_id && order[0] == RecordStep::Accepted, "the row had each report: {order:?}");
                continue;
            }
            assert!(matches!(record.link, LedgerLink::Row { weak, .. } if weak != same_id), "{order:?} {record:?}");
            assert!(!record.needs_check(), "{order:?}");
            assert!(record.due_in_queue().is_none(), "{order:?}");
        }
    }
}

#[test]
fn after_a_lost_response_every_earlier_report_reaches_the_row_also_if_the_message_counted_as_the_teams() {
    let mut of_the_team = 0;
    for order in list_permutations(&[&STEPS[..], &[RecordStep::MinuteLater]].concat()) {
        let mut model = RecordModel::after_lost_response();
        for step in &order {
            model.apply_step(*step);
            of_the_team += usize::from(model.record.link == LedgerLink::Foreign);
        }
        model.check_by_clock();
        let RecordModel { row, record, .. } = model;
        assert_eq!(row.delivery_status.status_name(), Some("read"), "{order:?}");
        assert!(row.delivery_status.is_contradictory(), "the failure is known: {order:?}");
        assert_eq!(row.message_id.as_deref(), Some("wamid_1"), "{order:?}");
        assert!(matches!(record.link, LedgerLink::Row { weak: false, .. }), "{order:?} {record:?}");
        assert!(record.due_in_queue().is_none(), "{order:?}");
    }
    assert!(of_the_team > 1000, "{of_the_team}");
}

fn list_permutations(steps: &[RecordStep]) -> Vec<Vec<RecordStep>> {
    if steps.is_empty() {
        return vec![Vec::new()];
    }
    let without = |at: usize| [&steps[..at], &steps[at + 1..]].concat();
    let with_first =
        |at: usize| list_permutations(&without(at)).into_iter().map(move |rest| [&[steps[at]][..], &rest].concat());
    (0..steps.len()).flat_map(with_first).collect()
}

#[test]
fn an_unknown_outcome_is_resolved_once_the_message_is_observed_on_the_line() {
    let lost = RowChange::OutcomeUnknown { owner: test_owner(), retry_at: at_second(30), reason: "no answer".into() };
    let row = apply_change(&claimed_row("1001", TEXT), &lost, at_second(2)).unwrap();
    let record = MessageRecord::new("main", "wamid_1", 30, at_second(3))
        .with_message(&observed_message("wamid_1", TEXT, 3), at_second(3));
    let LedgerMatch::Row { row: found, weak: true } = match_record(&record, &[], std::slice::from_ref(&row)) else {
        panic!()
    };
    let change = RowChange::StatusReported {
        message_id: "wamid_1".into(),
        conversation_id: None,
        delivery_status: DeliveryStatus::default(),
        at: at_second(3),
    };
    let known = apply_change(&found, &change, at_second(4)).unwrap();
    assert_eq!((known.state, known.due_at), (MessageState::Accepted, None));
}

#[test]
fn two_messages_that_look_alike_are_not_linked_and_one_with_its_own_id_is_not_linked_again() {
    let accept = |row: &LedgerRow, id: &str| {
        apply_change(row, &RowChange::Accept { owner: test_owner(), provider_id: Some(id.into()) }, at_second(2))
            .unwrap()
    };
    let (one, two) = (accept(&claimed_row("1", TEXT), "q1"), accept(&claimed_row("2", TEXT), "q2"));
    let record = MessageRecord::new("main", "wamid_1", 30, at_second(3))
        .with_message(&observed_message("wamid_1", TEXT, 3), at_second(3));
    assert_eq!(match_record(&record, &[], &[one.clone(), two.clone()]), LedgerMatch::Undecided);
    let observation = RowChange::StatusReported {
        message_id: "wamid_0".into(),
        conversation_id: None,
        delivery_status: DeliveryStatus::default(),
        at: at_second(3),
    };
    let one = apply_change(&one, &observation, at_second(3)).unwrap();
    let LedgerMatch::Row { row, weak: true } = match_record(&record, &[], &[one, two]) else { panic!() };
    assert_eq!(row.key.subject(), "order:2");
}

#[test]
fn the_other_form_of_a_number_and_the_number_of_a_private_id_make_a_link() {
    let accept = RowChange::Accept { owner: test_owner(), provider_id: None };
    let mut row = apply_change(&claimed_row("1", TEXT), &accept, at_second(2)).unwrap();
    row.to = Some(Phone::from_e164("+5511987654321").unwrap());
    let record_of = |message: LineMessage| {
        MessageRecord::new("main", "wamid_1", 30, at_second(3)).with_message(&message, at_second(3))
    };
    let reported = Some(Phone::from_e164("+551187654321").unwrap());
    let record = record_of(LineMessage { phone: reported.clone(), ..observed_message("wamid_1", TEXT, 3) });
    assert!(matches!(match_record(&record, &[], std::slice::from_ref(&row)), LedgerMatch::Row { weak: true, .. }));
    let lid = Lid::parse("235085806700321@lid");
    let record = record_of(LineMessage { phone: None, lid: lid.clone(), ..observed_message("wamid_1", TEXT, 3) });
    assert_eq!(record.lid(), lid);
    assert_eq!(match_record(&record, &[], std::slice::from_ref(&row)), LedgerMatch::NoMatch, "no number yet");
    let found = find_match(&record, &[], std::slice::from_ref(&row), reported.as_ref());
    assert!(matches!(found, LedgerMatch::Row { weak: true, .. }));
}

#[test]
fn a_different_text_time_line_or_number_makes_no_link() {
    let accept = RowChange::Accept { owner: test_owner(), provider_id: None };
    let row = apply_change(&claimed_row("1", TEXT), &accept, at_second(2)).unwrap();
    let match_of = |message: LineMessage, line: &str| {
        let record = MessageRecord::new(line, "wamid_1", 30, at_second(3)).with_message(&message, at_second(3));
        match_record(&record, &[], std::slice::from_ref(&row))
    };
    assert!(matches!(match_of(observed_message("wamid_1", TEXT, 3), "main"), LedgerMatch::Row { .. }));
    assert_eq!(match_of(observed_message("wamid_1", TEXT, 3), "other"), LedgerMatch::NoMatch);
    assert_eq!(match_of(observed_message("wamid_1", "Hello", 3), "main"), LedgerMatch::NoMatch);
    assert_eq!(match_of(observed_message("wamid_1", TEXT, 603), "main"), LedgerMatch::NoMatch);
    let other = Some(Phone::from_e164("+972545550100").unwrap());
    assert_eq!(
        match_of(LineMessage { phone: other, ..observed_message("wamid_1", TEXT, 3) }, "main"),
        LedgerMatch::NoMatch
    );
    assert_eq!(
        match_of(LineMessage { direction: MessageDirection::In, ..observed_message("wamid_1", TEXT, 3) }, "main"),
        LedgerMatch::NoMatch
    );
}

#[test]
fn a_message_that_is_not_ours_becomes_the_teams_after_a_minute_however_often_it_is_checked() {
    let record = MessageRecord::new("main", "wamid_1", 30, at_second(0))
        .with_message(&observed_message("wamid_1", "Hello", 0), at_second(0));
    let mut early = record;
    for second in 0..10 {
        early = early.with_lookup(&LedgerMatch::NoMatch, None, false, at_second(second));
        assert_eq!(
            (early.link.clone(), early.due_in_queue()),
            (LedgerLink::Unknown, Some((RECORD_QUEUE.to_owned(), at_second(60))))
        );
    }
    let late = early.with_lookup(&LedgerMatch::NoMatch, None, true, at_second(60));
    assert_eq!((late.link.clone(), late.due_in_queue()), (LedgerLink::Foreign, None));
    assert!(late.may_be_ours(), "its id may still link it");
}

#[test]
fn an_overtaken_lookup_undoes_no_link() {
    let accept = RowChange::Accept { owner: test_owner(), provider_id: None };
    let row = apply_change(&claimed_row("1", TEXT), &accept, at_second(2)).unwrap();
    let record = MessageRecord::new("main", "wamid_1", 30, at_second(0))
        .with_message(&observed_message("wamid_1", TEXT, 3), at_second(0));
    let found = match_record(&record, &[], std::slice::from_ref(&row));
    let linked = record.with_lookup(&found, Some(DeliveryStatus::default()), false, at_second(1));
    let after = linked.clone().with_lookup(&LedgerMatch::NoMatch, None, true, at_second(600));
    assert_eq!(after.link, linked.link);
}

#[test]
fn a_status_without_a_known_message_is_checked_for_a_day_and_then_left() {
    let mut record = MessageRecord::new("main", "wamid_1", 30, at_second(0));
    let mut times = Vec::new();
    while let Some((_, due)) = record.due_in_queue() {
        times.push(due.duration_since(at_second(0)).as_mins());
        record = record.with_lookup(&LedgerMatch::NoMatch, None, true, due);
    }
    assert_eq!(times, [1, 5, 30, 180, 720, 1440]);
}

proptest! {
    #[test]
    fn reports_and_the_message_make_the_same_record_in_any_order(
        mut steps in prop::collection::vec(0..5usize, 0..12),
        shift in 0..12usize,
    ) {
        let apply = |record: MessageRecord, which: usize| match which {
            0 => record.with_message(&observed_message("wamid_1", TEXT, 3), at_second(3)),
            which => record.with_status(&StatusReport {
                message_id: "wamid_1".into(),
                delivery_status: DeliveryStatus::from_status(["sent", "delivered", "read", "failed"][which - 1]).unwrap(),
                reported_at: at_second(i64::try_from(which).unwrap()),
                lid: None,
            }),
        };
        let new = || MessageRecord::new("main", "wamid_1", 30, at_second(0));
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
