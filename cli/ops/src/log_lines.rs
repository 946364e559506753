//! The log lines that a person asks for, from several logs in the order of their times, and those
//! that are written after that.
//!
//! Promises: a line of the result is whole. A search that could not reach its end says until when
//! it got. A follower returns each line once.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    client_stack::ClientStack,
    function_logs::{API_LOG, FoundLines, FunctionLogLine, LogError, LogFilter, LogSearch},
};

/// The most requests for one log.
const REQUESTS: usize = 20;
/// CloudWatch shows a line some seconds after it was written, and not always in order.
const LATENESS: SignedDuration = SignedDuration::from_secs(30);
/// What a function's line contains if a problem is in it. Most lines with one of these words are
/// one; [`is_problem`] decides.
const PROBLEM_WORDS: [&str; 6] = ["WARN", "ERROR", "attention", "platform.", "panicked", "Runtime"];

/// Which lines a person asks for.
#[derive(Debug, Clone)]
pub struct LogRequest {
    /// Functions, or [`API_LOG`].
    pub logs: Vec<String>,
    /// A text that each line contains, such as `order:1001` or the id of a delivery.
    pub text: Option<String>,
    /// Only lines with a problem: warnings, errors, what needs a person, invocations that failed,
    /// and requests that were answered 4xx or 5xx.
    pub only_problems: bool,
}

/// The lines that were asked for.
#[derive(Debug, Default)]
pub struct FoundLogLines {
    /// The lines, the oldest first.
    pub lines: Vec<FunctionLogLine>,
    /// If there may be more: the time until which all are here.
    pub complete_until: Option<Timestamp>,
    /// The logs that were not searched to their end, and in which no line was found until then.
    pub unsearched: Vec<String>,
}

impl ClientStack {
    /// The lines of a time. At most 20 requests for each log. The caller may
    /// `logs:FilterLogEvents`.
    pub async fn read_log_lines(
        &self,
        request: &LogRequest,
        since: Timestamp,
        until: Option<Timestamp>,
    ) -> Result<FoundLogLines, LogError> {
        let mut all = FoundLogLines::default();
        for log in &request.logs {
            // A filter has either a phrase or alternatives, and a request's status is a number.
            let filter = match &request.text {
                Some(text) => LogFilter::Phrase(text),
                None if request.only_problems && log != API_LOG => LogFilter::AnyOf(&PROBLEM_WORDS),
                None => LogFilter::All,
            };
            let found = self.search_log(LogSearch { function: log, since, until, filter, requests: REQUESTS }).await?;
            all.add(log, found);
        }
        if let Some(until) = all.complete_until {
            all.lines.retain(|line| line.at <= until);
        }
        all.lines.retain(|line| request.text.as_deref().is_none_or(|text| has_text(line, text)));
        all.lines.retain_mut(|line| word_line(line) && (!request.only_problems || is_problem(line)));
        all.lines.sort_by_key(|line| line.at);
        Ok(all)
    }
}

impl FoundLogLines {
    fn add(&mut self, log: &str, found: FoundLines) {
        match found.lines.last().map(|line| line.at) {
            Some(reached) if found.has_more => {
                self.complete_until = Some(self.complete_until.map_or(reached, |until| until.min(reached)));
            }
            None if found.has_more => self.unsearched.push(log.to_owned()),
            _ => {}
        }
        self.lines.extend(found.lines);
    }
}

/// Whether a line contains a text. A search by a phrase is less exact.
fn has_text(line: &FunctionLogLine, text: &str) -> bool {
    let has = |value: &Value| value.as_str().is_some_and(|value| value.contains(text));
    let is_in_json = || serde_json::to_string(&line.fields).is_ok_and(|json| json.contains(text));
    line.message.contains(text) || line.fields.values().any(has) || is_in_json()
}

/// Words what the functions do not word themselves. Returns false for a metric that only counts:
/// the dashboard has those.
fn word_line(line: &mut FunctionLogLine) -> bool {
    let text = |name: &str| line.field(name).unwrap_or("?").to_owned();
    if line.fields.contains_key("_aws") {
        line.message = format!("needs a person: {}", text("reason"));
        return line.fields.contains_key("attention");
    }
    if line.function == API_LOG && line.fields.contains_key("route") {
        line.message = format!("{} was answered {}", text("route"), text("status"));
    } else if let Some(kind) = line.field("type").filter(|kind| kind.starts_with("platform.")) {
        let status = line.fields.get("record").and_then(|record| record["status"].as_str());
        line.message = match status {
            Some(status) => format!("Lambda: {kind}: {status}"),
            None => format!("Lambda: {kind}"),
        };
    }
    true
}

fn is_problem(line: &FunctionLogLine) -> bool {
    if line.function == API_LOG {
        return line.field("status").is_some_and(|status| status.starts_with(['4', '5']));
    }
    match line.level.as_deref() {
        Some(level) => matches!(level, "WARN" | "ERROR"),
        // Of Lambda's own lines, a report says how an invocation ended.
        None => {
            line.fields.get("record").is_none_or(|record| record["status"].as_str() != Some("success"))
                && line.fields.get("type").and_then(Value::as_str) != Some("platform.start")
        }
    }
}

/// Returns lines as they are written.
#[derive(Debug)]
pub struct LogFollower {
    request: LogRequest,
    since: Timestamp,
    /// The lines since `since` that were returned: time, log and id.
    returned: BTreeSet<(Timestamp, String, String)>,
}

impl LogFollower {
    /// Follows the logs from a time on.
    pub fn new(request: LogRequest, since: Timestamp) -> Self {
        Self { request, since, returned: BTreeSet::new() }
    }

    /// The lines that were not returned before, the oldest first.
    pub async fn read_new_lines(&mut self, stack: &ClientStack) -> Result<Vec<FunctionLogLine>, LogError> {
        // The clock of a stack on this machine can be set back.
        let now = stack.now();
        self.since = self.since.min(now);
        let found = stack.read_log_lines(&self.request, self.since, None).await?;
        Ok(self.keep_new(found, now))
    }

    /// The time from which the next search begins moves on, also if no line was found.
    fn keep_new(&mut self, found: FoundLogLines, now: Timestamp) -> Vec<FunctionLogLine> {
        let mut lines = found.lines;
        lines.retain(|line| self.returned.insert((line.at, line.function.clone(), line.id.clone())));
        let searched_until = found.complete_until.unwrap_or(now - LATENESS);
        self.since = self.since.max(searched_until);
        self.returned.retain(|(at, ..)| *at >= self.since);
        lines
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(second: i64, function: &str, level: Option<&str>, fields: &Value) -> FunctionLogLine {
        FunctionLogLine {
            id: second.to_string(),
            at: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second),
            function: function.to_owned(),
            level: level.map(str::to_owned),
            message: fields.to_string(),
            fields: fields.as_object().unwrap().clone(),
        }
    }

    #[test]
    fn a_problem_differs_from_what_went_well_and_is_worded() {
        let report = |status: &str| json!({"type": "platform.report", "record": {"status": status}});
        let request = |status: &str| json!({"route": "POST /stores/{store}", "status": status});
        for (function, level, fields, expected) in [
            ("order-notifier", Some("WARN"), json!({}), Some("{}")),
            ("order-notifier", Some("INFO"), json!({}), None),
            ("order-notifier", None, report("timeout"), Some("Lambda: platform.report: timeout")),
            ("order-notifier", None, report("success"), None),
            ("order-notifier", None, json!({"type": "platform.start", "record": {}}), None),
            (
                "order-notifier",
                None,
                json!({"_aws": {}, "attention": 1, "reason": "expired"}),
                Some("needs a person: expired"),
            ),
            ("order-notifier", None, json!({"_aws": {}, "messages_accepted": 1}), None),
            (API_LOG, None, request("429"), Some("POST /stores/{store} was answered 429")),
            (API_LOG, None, request("200"), None),
        ] {
            let mut line = line(1, function, level, &fields);
            let shown = word_line(&mut line) && is_problem(&line);
            assert_eq!(shown.then_some(line.message.as_str()), expected, "{fields}");
        }
    }

    #[test]
    fn a_search_without_its_end_is_complete_until_the_first_gap() {
        let at = |second| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
        let found = |second, has_more| FoundLines { lines: vec![line(second, "f", None, &json!({}))], has_more };
        let mut all = FoundLogLines::default();
        all.add("order-notifier", found(9, false));
        assert_eq!(all.complete_until, None);
        all.add("webhook-receiver", found(7, true));
        all.add("conversation-sync", found(8, true));
        all.add("reminder-scheduler", FoundLines { lines: Vec::new(), has_more: true });
        assert_eq!((all.complete_until, &all.unsearched[..]), (Some(at(7)), &["reminder-scheduler".to_owned()][..]));
    }

    #[test]
    fn a_line_has_the_whole_text_and_not_only_its_longest_part() {
        let named = line(1, "f", None, &json!({"line.name": "a\"b long"}));
        assert!(has_text(&named, "a\"b long") && has_text(&named, "line.name") && !has_text(&named, "c\"b long"));
    }

    #[test]
    fn a_line_that_comes_late_is_returned_and_none_is_returned_twice() {
        let request = LogRequest { logs: Vec::new(), text: None, only_problems: false };
        let mut follower = LogFollower::new(request, Timestamp::UNIX_EPOCH);
        let mut read = |seconds: &[i64], now: i64, complete_until: Option<i64>| -> Vec<i64> {
            let at = |second| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second);
            let lines = seconds.iter().map(|second| line(*second, "order-notifier", None, &json!({}))).collect();
            let found = FoundLogLines { lines, complete_until: complete_until.map(at), unsearched: Vec::new() };
            let new = follower.keep_new(found, at(now)).iter().map(|line| line.at.as_second()).collect();
            assert!(follower.since == complete_until.map_or(at(now) - LATENESS, at), "the next search begins later");
            new
        };
        assert_eq!(read(&[100, 110], 112, None), [100, 110]);
        assert_eq!(read(&[90, 100, 110, 111], 114, None), [90, 111]);
        assert_eq!(read(&[90, 100, 110, 111], 116, None), [0; 0]);
        assert_eq!(read(&[], 500, None), [0; 0]);
        assert_eq!(read(&[501, 502], 900, Some(502)), [501, 502]);
    }
}
