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
    function_logs::{API_LOG, FoundLines, FunctionLogLine, LogError, LogSearch},
};

/// The most requests for one log.
const REQUESTS: usize = 20;
/// CloudWatch shows a line some seconds after it was written, and not always in order.
const LATENESS: SignedDuration = SignedDuration::from_secs(30);
/// What a function's line contains if a problem is in it. Most lines with one of these words are
/// one; [`is_problem`] decides.
const PROBLEM_PATTERN: &str = r#"?WARN ?ERROR ?attention ?"platform." ?panicked ?Runtime"#;

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
#[derive(Debug)]
pub struct FoundLogLines {
    /// The lines, the oldest first.
    pub lines: Vec<FunctionLogLine>,
    /// If there may be more: the time until which all are here.
    pub complete_until: Option<Timestamp>,
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
        let mut all = FoundLogLines { lines: Vec::new(), complete_until: None };
        for log in &request.logs {
            let text = request.text.as_deref();
            let search = LogSearch { function: log, since, until, phrase: text, requests: REQUESTS };
            // A pattern has either a phrase or alternatives, and a request's status is a number.
            let found = if text.is_none() && request.only_problems && log != API_LOG {
                self.search_log_by(search, Some(PROBLEM_PATTERN)).await?
            } else {
                self.search_log(search).await?
            };
            all.add(found, since);
        }
        if let Some(until) = all.complete_until {
            all.lines.retain(|line| line.at <= until);
        }
        all.lines.retain_mut(|line| word_line(line) && (!request.only_problems || is_problem(line)));
        all.lines.sort_by_key(|line| line.at);
        Ok(all)
    }
}

impl FoundLogLines {
    fn add(&mut self, found: FoundLines, since: Timestamp) {
        if found.has_more {
            let reached = found.lines.last().map_or(since, |line| line.at);
            self.complete_until = Some(self.complete_until.map_or(reached, |until| until.min(reached)));
        }
        self.lines.extend(found.lines);
    }
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
        self.since = self.since.min(stack.now());
        let found = stack.read_log_lines(&self.request, self.since, None).await?;
        Ok(self.keep_new(found.lines))
    }

    fn keep_new(&mut self, mut lines: Vec<FunctionLogLine>) -> Vec<FunctionLogLine> {
        lines.retain(|line| self.returned.insert((line.at, line.function.clone(), line.id.clone())));
        if let Some(newest) = lines.last() {
            self.since = self.since.max(newest.at - LATENESS);
        }
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
        let mut all = FoundLogLines { lines: Vec::new(), complete_until: None };
        all.add(found(9, false), at(1));
        assert_eq!(all.complete_until, None);
        all.add(found(7, true), at(1));
        all.add(found(8, true), at(1));
        assert_eq!(all.complete_until, Some(at(7)));
        all.add(FoundLines { lines: Vec::new(), has_more: true }, at(1));
        assert_eq!(all.complete_until, Some(at(1)), "nothing was found before the requests were used up");
    }

    #[test]
    fn a_line_that_comes_late_is_returned_and_none_is_returned_twice() {
        let request = LogRequest { logs: Vec::new(), text: None, only_problems: false };
        let mut follower = LogFollower::new(request, Timestamp::UNIX_EPOCH);
        let lines = |seconds: &[i64]| -> Vec<_> {
            seconds.iter().map(|second| line(*second, "order-notifier", None, &json!({}))).collect()
        };
        let seconds =
            |lines: Vec<FunctionLogLine>| -> Vec<_> { lines.iter().map(|line| line.at.as_second()).collect() };
        assert_eq!(seconds(follower.keep_new(lines(&[100, 110]))), [100, 110]);
        assert_eq!(follower.since.as_second(), 80, "what is written late is asked for again");
        assert_eq!(seconds(follower.keep_new(lines(&[90, 100, 110, 111]))), [90, 111]);
        assert_eq!(seconds(follower.keep_new(lines(&[90, 100, 110, 111]))), [0; 0]);
    }
}
