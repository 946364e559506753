//! What waits although it should have gone, and which gauge shows it. Pure.
//!
//! Main types: a [`Wait`] is one message, or one appointment with a due reminder; a [`LineWait`] is
//! the longest wait of a line, with the [`WaitAlarm`] that is raised for it.
//!
//! Promises: an entry that cannot be read counts. A line is in one gauge at a time, so that one
//! outage raises one alarm. Does **not** decide when a message is sent.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use jiff::{SignedDuration, Timestamp};
use tellonce_core::{
    client_config::ClientConfig,
    ledger::{DueItem, DueKind, IdempotencyKey},
    telemetry::Gauge,
};

/// Something that waits although it should have gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    /// The line, or the other place where it waits. One place raises one alarm.
    pub(crate) place: String,
    /// The message or the appointment.
    pub(crate) key: IdempotencyKey,
    /// Since when it should have gone.
    pub(crate) since: Timestamp,
    /// Where its reason is.
    pub(crate) kind: WaitKind,
}

/// What waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitKind {
    /// A message that was held. Its row says why.
    Held,
    /// A message or an appointment that is due and was not processed yet.
    Due,
    /// A message whose line is no longer configured.
    RemovedLine,
    /// The queue of a line that cannot be read, whatever waits in it.
    UnreadQueue,
    /// An appointment that cannot be read.
    Damaged,
}

/// The alarm that is raised for a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WaitAlarm {
    /// `first-touches-waiting`.
    FirstTouches,
    /// `messages-waiting`.
    Messages,
}

impl WaitAlarm {
    /// Both alarms.
    pub(crate) const ALL: [Self; 2] = [Self::FirstTouches, Self::Messages];

    /// The alarm of a message.
    fn of_message(key: &IdempotencyKey) -> Self {
        if key.is_greeting() { Self::FirstTouches } else { Self::Messages }
    }

    /// Its gauge.
    pub(crate) const fn gauge(self) -> Gauge {
        match self {
            Self::FirstTouches => Gauge::OldestFirstTouchSeconds,
            Self::Messages => Gauge::OldestDueSeconds,
        }
    }

    /// The threshold of the alarm in `template.yaml`.
    pub(crate) const fn patience(self) -> SignedDuration {
        match self {
            Self::FirstTouches => SignedDuration::from_mins(5),
            Self::Messages => SignedDuration::from_mins(10),
        }
    }
}

/// The longest wait of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineWait {
    /// The alarm that is raised for the line.
    pub(crate) alarm: WaitAlarm,
    /// What has waited longest.
    pub(crate) oldest: Wait,
    /// How many messages and appointments wait.
    pub(crate) count: usize,
}

/// What waits in the queue of a line.
pub(crate) fn find_waits(config: &ClientConfig, line: &str, queue: &[DueItem], now: Timestamp) -> Vec<Wait> {
    // A message that is due when the quiet hours begin, and that no sweep has reached since.
    let is_quiet = |item: &DueItem| {
        item.kind == DueKind::Message
            && !item.ignores_quiet_hours
            && config.quiet_hours_end_in_zone(item.zone.as_deref(), now).is_some()
    };
    let waits = queue.iter().filter(|item| !is_quiet(item)).map(|item| {
        let (place, kind) = match (&item.kind, item.waiting_since) {
            // It waits for a person. It must not hide an outage of its line.
            (DueKind::Damaged, _) => (format!("{line}, damaged"), WaitKind::Damaged),
            _ if !config.lines.contains_key(line) => (line.to_owned(), WaitKind::RemovedLine),
            (_, Some(_)) => (line.to_owned(), WaitKind::Held),
            (_, None) => (line.to_owned(), WaitKind::Due),
        };
        Wait { place, key: item.key.clone(), since: item.waiting_since.unwrap_or(item.due_at), kind }
    });
    waits.filter(|wait| wait.since <= now).collect()
}

/// The longest wait of each line that has waited longer than usual. The longest comes first.
///
/// The alarm of a line is the one that is raised first. `raised` keeps it until nothing of the line
/// waits any more: the first touches go out first after an outage, and the rest must not raise the
/// other alarm.
pub(crate) fn measure_lines(
    waits: Vec<Wait>,
    raised: &mut BTreeMap<String, WaitAlarm>,
    now: Timestamp,
) -> Vec<LineWait> {
    let mut by_place: BTreeMap<String, Vec<Wait>> = BTreeMap::new();
    for wait in waits.into_iter().filter(|wait| now.duration_since(wait.since) >= Gauge::USUAL_WAIT) {
        by_place.entry(wait.place.clone()).or_default().push(wait);
    }
    let still_raised: BTreeSet<&String> = by_place.keys().collect();
    raised.retain(|place, _| still_raised.contains(place));
    let mut lines: Vec<LineWait> = Vec::new();
    for (place, waits) in by_place {
        let raised_at = |wait: &&Wait| wait.since.saturating_add(WaitAlarm::of_message(&wait.key).patience()).ok();
        let Some(first) = waits.iter().min_by_key(raised_at).map(|wait| WaitAlarm::of_message(&wait.key)) else {
            continue;
        };
        let alarm = *raised.entry(place).or_insert(first);
        let count = waits.len();
        if let Some(oldest) = waits.into_iter().min_by_key(|wait| wait.since) {
            lines.push(LineWait { alarm, oldest, count });
        }
    }
    lines.sort_by_key(|line| Reverse(now.duration_since(line.oldest.since)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_minute(minute: i64) -> Timestamp {
        // Noon in the zone of the configuration.
        "2026-11-29T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
    }

    fn config() -> ClientConfig {
        ClientConfig::parse(
            "client = \"demo\"\nname = \"Demo\"\ncountry = \"IL\"\ntime_zone = \"Asia/Jerusalem\"\n\
             languages = [\"en\"]\nquiet_hours = { from = \"13:00\", to = \"14:00\" }\n[lines.main]\nline_id = \"line_1\"\n",
        )
        .unwrap()
    }

    fn order(number: u32) -> IdempotencyKey {
        IdempotencyKey::from_parts(format!("order:{number}"), "ready")
    }

    fn lead(number: u32) -> IdempotencyKey {
        IdempotencyKey::for_lead_subject(&format!("lead:{number}"))
    }

    fn item(key: IdempotencyKey, due: i64, waiting_since: Option<i64>) -> DueItem {
        DueItem {
            key,
            kind: DueKind::Message,
            due_at: at_minute(due),
            waiting_since: waiting_since.map(at_minute),
            zone: None,
            ignores_quiet_hours: false,
            priority: 0,
            useful_until: at_minute(600),
        }
    }

    fn wait(key: IdempotencyKey, since: i64) -> Wait {
        Wait { place: "main".into(), key, since: at_minute(since), kind: WaitKind::Held }
    }

    fn minutes(waits: &[Wait], now: i64) -> Vec<i64> {
        waits.iter().map(|wait| at_minute(now).duration_since(wait.since).as_secs() / 60).collect()
    }

    #[test]
    fn a_wait_begins_when_a_message_should_have_gone_however_often_it_was_held() {
        let queue = [item(order(1), 12, Some(-180)), item(order(2), 4, None), item(order(3), 9, Some(2))];
        let waits = find_waits(&config(), "main", &queue, at_minute(10));
        assert_eq!(minutes(&waits, 10), [190, 6, 8], "held, due, held and due");
        assert_eq!([waits[0].kind, waits[1].kind], [WaitKind::Held, WaitKind::Due]);
    }

    #[test]
    fn in_quiet_hours_only_what_ignores_them_waits() {
        let urgent = DueItem { ignores_quiet_hours: true, ..item(order(1), 50, None) };
        let abroad = DueItem { zone: Some("Asia/Dubai".into()), ..item(order(3), 50, None) };
        let queue = [urgent, item(order(2), 50, Some(20)), abroad];
        let waits = find_waits(&config(), "main", &queue, at_minute(70));
        assert_eq!(waits.iter().map(|wait| wait.key.clone()).collect::<Vec<_>>(), [order(1), order(3)]);
        assert_eq!(find_waits(&config(), "main", &queue, at_minute(130)).len(), 3, "they are over");
    }

    #[test]
    fn a_damaged_entry_waits_and_hides_no_outage_of_its_line() {
        let damaged = DueItem { kind: DueKind::Damaged, ..item(order(1), -3000, None) };
        let queue = [damaged, item(lead(2), 0, Some(0))];
        let lines =
            measure_lines(find_waits(&config(), "main", &queue, at_minute(6)), &mut BTreeMap::new(), at_minute(6));
        let alarms: Vec<_> = lines.iter().map(|line| (line.alarm, line.oldest.place.as_str())).collect();
        assert_eq!(alarms, [(WaitAlarm::Messages, "main, damaged"), (WaitAlarm::FirstTouches, "main")]);
    }

    #[test]
    fn an_alarm_of_the_template_has_the_patience_of_its_gauge() {
        let template = include_str!("../../../template.yaml");
        for alarm in WaitAlarm::ALL {
            let (_, block) = template.split_once(&format!("MetricName: {}\n", alarm.gauge().name())).unwrap();
            let threshold = block.split_once("Threshold: ").unwrap().1.lines().next().unwrap();
            assert_eq!(threshold, alarm.patience().as_secs().to_string(), "{alarm:?}");
        }
    }

    #[test]
    fn what_waits_for_a_minute_is_not_a_wait() {
        let young = vec![wait(order(1), 9), wait(lead(2), 9)];
        assert_eq!(measure_lines(young, &mut BTreeMap::new(), at_minute(10)), []);
    }

    #[test]
    fn an_outage_of_a_line_is_in_one_gauge_until_the_line_has_caught_up() {
        let mut raised = BTreeMap::new();
        // The lead waits since minute 4: its alarm is raised at 9, that of the order at 10.
        let waits = || vec![wait(order(1), 0), wait(lead(2), 4)];
        let during = measure_lines(waits(), &mut raised, at_minute(30));
        assert_eq!(during.len(), 1);
        assert_eq!((during[0].alarm, during[0].count), (WaitAlarm::FirstTouches, 2));
        assert_eq!(during[0].oldest, wait(order(1), 0), "the longest wait of the line");
        let drained = measure_lines(vec![wait(order(1), 0)], &mut raised, at_minute(31));
        assert_eq!(drained[0].alarm, WaitAlarm::FirstTouches, "the greeting went out first");
        assert_eq!(measure_lines(Vec::new(), &mut raised, at_minute(32)), []);
        let next = measure_lines(vec![wait(order(3), 40)], &mut raised, at_minute(50));
        assert_eq!(next[0].alarm, WaitAlarm::Messages, "another outage");
        // Of a lead that came later, the order's alarm is raised first.
        let later = measure_lines(vec![wait(order(1), 0), wait(lead(2), 6)], &mut BTreeMap::new(), at_minute(12));
        assert_eq!(later[0].alarm, WaitAlarm::Messages);
    }
}
