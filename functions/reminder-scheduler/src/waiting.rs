//! What waits although it should have gone, and which gauges show it. Pure.
//!
//! Main types: a [`Wait`] is one message, or one appointment with a due reminder; a [`LineWait`] is
//! the longest wait of a line.
//!
//! Promises: an entry that cannot be read counts. The gauge of everything that waits is the one of
//! the alarm, so one outage raises one alarm, whatever waits and on however many lines. Does
//! **not** decide when a message is sent.

use std::{cmp::Reverse, collections::BTreeMap};

use jiff::{SignedDuration, Timestamp};
use tellonce_core::{
    client_config::ClientConfig,
    ledger::{DueItem, DueKind, IdempotencyKey},
    telemetry::Gauge,
};

/// After this time a message of unknown outcome is in the log only. The line answered other
/// messages or the alarm was raised by now, and the next tries take hours. It must not hide an
/// outage that begins in that time. If it stays unknown, it ends as `needs-human`, which counts in
/// `attention`.
const UNKNOWN_IN_GAUGE: SignedDuration = SignedDuration::from_hours(1);

/// Something that waits although it should have gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    /// The line, or what waits apart from it.
    pub(crate) place: String,
    /// The message or the appointment.
    pub(crate) key: IdempotencyKey,
    /// Since when it should have gone.
    pub(crate) since: Timestamp,
    /// Where its reason is.
    pub(crate) kind: WaitKind,
}

/// What waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WaitKind {
    /// A message that was held. Its row says why.
    Held,
    /// A message whose outcome has been unknown for an hour. Its row says why.
    LongUnknown,
    /// A message or an appointment that is due and was not processed yet.
    Due,
    /// A message whose line was removed from `client.toml`.
    RemovedLine,
    /// An appointment that cannot be read, and why.
    Unreadable(String),
}

impl Wait {
    /// Whether a gauge shows it.
    pub(crate) fn is_in_gauge(&self) -> bool {
        self.kind != WaitKind::LongUnknown
    }

    fn is_unusual(&self, now: Timestamp) -> bool {
        now.duration_since(self.since) >= Gauge::USUAL_WAIT
    }
}

/// The longest wait of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineWait {
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
        let since = item.waiting_since.unwrap_or(item.due_at);
        let (place, kind) = match (&item.kind, item.waiting_since) {
            // It waits for a person, or for another version of tellonce, and not for the line.
            (DueKind::Unreadable(error), _) => (format!("{line}, unreadable"), WaitKind::Unreadable(error.to_string())),
            _ if !config.lines.contains_key(line) => (line.to_owned(), WaitKind::RemovedLine),
            _ if item.outcome_unknown && now.duration_since(since) >= UNKNOWN_IN_GAUGE => {
                (format!("{line}, outcome unknown"), WaitKind::LongUnknown)
            }
            (_, Some(_)) => (line.to_owned(), WaitKind::Held),
            (_, None) => (line.to_owned(), WaitKind::Due),
        };
        Wait { place, key: item.key.clone(), since, kind }
    });
    waits.filter(|wait| wait.since <= now).collect()
}

/// The gauges of what has waited longer than usual, with their values in seconds.
pub(crate) fn measure_gauges(waits: &[Wait], now: Timestamp) -> Vec<(Gauge, i64)> {
    let oldest = |is_counted: fn(&Wait) -> bool| {
        let counted = waits.iter().filter(|wait| wait.is_in_gauge() && wait.is_unusual(now) && is_counted(wait));
        counted.map(|wait| now.duration_since(wait.since).as_secs()).max()
    };
    let all = oldest(|_| true).map(|seconds| (Gauge::OldestDueSeconds, seconds));
    let first_touches = oldest(|wait| wait.key.is_greeting()).map(|seconds| (Gauge::OldestFirstTouchSeconds, seconds));
    all.into_iter().chain(first_touches).collect()
}

/// The longest wait of each line that has waited longer than usual. The longest comes first.
pub(crate) fn measure_lines(waits: Vec<Wait>, now: Timestamp) -> Vec<LineWait> {
    let mut lines: BTreeMap<String, LineWait> = BTreeMap::new();
    for wait in waits.into_iter().filter(|wait| wait.is_unusual(now)) {
        match lines.get_mut(&wait.place) {
            Some(line) => {
                line.count += 1;
                if wait.since < line.oldest.since {
                    line.oldest = wait;
                }
            }
            None => {
                lines.insert(wait.place.clone(), LineWait { oldest: wait, count: 1 });
            }
        }
    }
    let mut lines: Vec<LineWait> = lines.into_values().collect();
    lines.sort_by_key(|line| Reverse(now.duration_since(line.oldest.since)));
    lines
}

#[cfg(test)]
mod tests {
    use tellonce_core::ledger::LedgerItemError;

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
            outcome_unknown: false,
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
        let kinds: Vec<WaitKind> = waits.into_iter().map(|wait| wait.kind).collect();
        assert_eq!(kinds, [WaitKind::Held, WaitKind::Due, WaitKind::Held]);
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
    fn an_entry_that_cannot_be_read_waits_with_its_error() {
        let error = LedgerItemError::NewerVersion { key: "appointment:1:state".into(), attribute: "appointment" };
        let unreadable = DueItem { kind: DueKind::Unreadable(error.clone()), ..item(order(1), -3000, None) };
        let queue = [unreadable, item(lead(2), 0, Some(0))];
        let lines = measure_lines(find_waits(&config(), "main", &queue, at_minute(6)), at_minute(6));
        let places: Vec<_> = lines.iter().map(|line| line.oldest.place.as_str()).collect();
        assert_eq!(places, ["main, unreadable", "main"]);
        assert_eq!(lines[0].oldest.kind, WaitKind::Unreadable(error.to_string()));
    }

    #[test]
    fn an_outcome_that_is_unknown_for_an_hour_is_listed_and_no_longer_in_a_gauge() {
        let unknown = DueItem { outcome_unknown: true, ..item(lead(1), 65, Some(-70)) };
        let queue = [unknown, item(order(2), 10, Some(-15))];
        let find = |now: i64| find_waits(&config(), "main", &queue, at_minute(now));
        let both = [(Gauge::OldestDueSeconds, 59 * 60), (Gauge::OldestFirstTouchSeconds, 59 * 60)];
        assert_eq!(measure_gauges(&find(-11), at_minute(-11)), both);
        assert_eq!(measure_gauges(&find(-10), at_minute(-10)), [(Gauge::OldestDueSeconds, 5 * 60)]);
        let lines = measure_lines(find(-10), at_minute(-10));
        let listed: Vec<_> = lines.iter().map(|line| (line.oldest.place.as_str(), line.count)).collect();
        assert_eq!(listed, [("main, outcome unknown", 1), ("main", 1)]);
    }

    #[test]
    fn what_waits_for_a_minute_is_not_a_wait() {
        let young = vec![wait(order(1), 9), wait(lead(2), 9)];
        assert_eq!(measure_gauges(&young, at_minute(10)), []);
        assert_eq!(measure_lines(young, at_minute(10)), []);
    }

    #[test]
    fn the_gauge_of_the_alarm_is_of_everything_that_waits_and_the_other_of_first_touches() {
        let elsewhere = Wait { place: "other".into(), ..wait(order(3), -5) };
        let waits = vec![wait(order(1), 0), wait(lead(2), 4), elsewhere.clone()];
        let gauges = measure_gauges(&waits, at_minute(30));
        assert_eq!(gauges, [(Gauge::OldestDueSeconds, 35 * 60), (Gauge::OldestFirstTouchSeconds, 26 * 60)]);
        assert_eq!(measure_gauges(&waits[..1], at_minute(30)), [(Gauge::OldestDueSeconds, 30 * 60)]);
        let lines = measure_lines(waits, at_minute(30));
        let expected = [LineWait { oldest: elsewhere, count: 1 }, LineWait { oldest: wait(order(1), 0), count: 2 }];
        assert_eq!(lines, expected);
    }
}
