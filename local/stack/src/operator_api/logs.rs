//! `FilterLogEvents` of CloudWatch Logs, from the files with the output of the functions and the
//! access log.
//!
//! A line has the time that it names. Of filter patterns, the local stack has terms: words and
//! quoted phrases that a line contains all of, or any of those with `?` before them.
//!
//! Shapes: <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html>
//! and <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html>.

use std::path::PathBuf;

use http::StatusCode;
use serde_json::{Value, json};

use crate::{ACCOUNT, REGION, access_log, iam::RequestedAction};

/// The most events of a response, as in AWS.
const MAX_EVENTS: usize = 10_000;

/// The logs of the functions, by the names of their groups in the cloud.
#[derive(Debug)]
pub(crate) struct LogsApi {
    /// What the group of each function begins with.
    group_prefix: String,
    /// The group of the access log.
    access_group: String,
    /// The folder with a file for each group.
    folder: PathBuf,
}

impl LogsApi {
    pub(crate) fn new(client: &str, folder: PathBuf) -> Self {
        Self {
            group_prefix: format!("/aws/lambda/tellonce-{client}-"),
            access_group: format!("/aws/vendedlogs/apigateway/tellonce-{client}"),
            folder,
        }
    }

    /// The name of the file of a group, without `.log`.
    fn find_file<'a>(&self, group: &'a str) -> Option<&'a str> {
        if group == self.access_group {
            return Some(access_log::NAME);
        }
        group.strip_prefix(&self.group_prefix).filter(|name| is_plain(name))
    }

    pub(super) fn answer(&self, operation: &str, request: &Value) -> (StatusCode, Value) {
        if operation != "FilterLogEvents" {
            return refuse(
                "InvalidOperationException",
                &format!("the local stack has no {operation} of CloudWatch Logs"),
            );
        }
        let group = request["logGroupName"].as_str().unwrap_or_default();
        let Some(name) = self.find_file(group) else {
            return refuse("ResourceNotFoundException", "The specified log group does not exist.");
        };
        let Ok(pattern) = FilterPattern::parse(request["filterPattern"].as_str().unwrap_or_default()) else {
            return refuse("InvalidParameterException", "the local stack knows filter patterns of terms only");
        };
        // A function that was never started has no file.
        let text = std::fs::read(self.folder.join(format!("{name}.log"))).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let since = request["startTime"].as_i64().unwrap_or(i64::MIN);
        let until = request["endTime"].as_i64().unwrap_or(i64::MAX);
        let lines = (0..).zip(text.lines()).filter_map(|(number, line)| read_line(number, line));
        let mut events: Vec<LogEvent<'_>> =
            lines.filter(|event| pattern.matches(event.text) && (since..=until).contains(&event.at)).collect();
        events.sort_by_key(|event| event.at);
        let from = request["nextToken"].as_str().and_then(|token| token.parse::<usize>().ok()).unwrap_or(0);
        let limit = request["limit"].as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MAX_EVENTS);
        let page: Vec<Value> = events.iter().skip(from).take(limit).map(LogEvent::describe).collect();
        let next = from + page.len();
        let mut answer = json!({"events": page, "searchedLogStreams": []});
        if next < events.len() {
            answer["nextToken"] = json!(next.to_string());
        }
        (StatusCode::OK, answer)
    }
}

/// The action that an operation needs. AWS names the streams of the group.
pub(super) fn required_action(operation: &str, request: &Value) -> RequestedAction {
    let group = request["logGroupName"].as_str().unwrap_or_default();
    let resource = format!("arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:log-stream:");
    RequestedAction::new(&format!("logs:{operation}"), resource)
}

fn refuse(kind: &str, message: &str) -> (StatusCode, Value) {
    (StatusCode::BAD_REQUEST, json!({"__type": kind, "message": message}))
}

fn is_plain(function: &str) -> bool {
    !function.is_empty() && function.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

/// A line of a log.
#[derive(Debug)]
struct LogEvent<'a> {
    /// Its place in the file, which stays.
    number: u64,
    /// In unix milliseconds.
    at: i64,
    text: &'a str,
}

/// Reads a line of a file: the time at which the stack read it, a process id, and what it says.
fn read_line(number: u64, line: &str) -> Option<LogEvent<'_>> {
    let mut parts = line.splitn(3, ' ');
    let read_at = parts.next()?.parse().ok()?;
    let text = parts.nth(1)?;
    Some(LogEvent { number, at: find_time(text).unwrap_or(read_at), text })
}

/// The time that a line names, in unix milliseconds.
fn find_time(line: &str) -> Option<i64> {
    let fields: Value = serde_json::from_str(line).ok()?;
    let own = fields["timestamp"].as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok());
    own.map(jiff::Timestamp::as_millisecond).or_else(|| fields["_aws"]["Timestamp"].as_i64())
}

impl LogEvent<'_> {
    fn describe(&self) -> Value {
        json!({
            "eventId": format!("{:056}", self.number),
            "logStreamName": "local",
            "timestamp": self.at,
            "ingestionTime": self.at,
            "message": self.text,
        })
    }
}

/// The terms that a line must contain.
#[derive(Debug, Default)]
struct FilterPattern {
    all: Vec<String>,
    any: Vec<String>,
}

/// A pattern that the local stack does not know.
#[derive(Debug)]
struct UnknownPattern;

impl FilterPattern {
    fn parse(text: &str) -> Result<Self, UnknownPattern> {
        let mut pattern = Self::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (is_any, term) = rest.strip_prefix('?').map_or((false, rest), |term| (true, term));
            let (term, after) = match term.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').ok_or(UnknownPattern)?,
                None => term.split_once(' ').unwrap_or((term, "")),
            };
            if term.starts_with(['{', '[', '%', '-']) {
                return Err(UnknownPattern);
            }
            if is_any { &mut pattern.any } else { &mut pattern.all }.push(term.to_owned());
            rest = after.trim_start();
        }
        Ok(pattern)
    }

    fn matches(&self, line: &str) -> bool {
        let has = |term: &String| line.contains(term.as_str());
        self.all.iter().all(has) && (self.any.is_empty() || self.any.iter().any(has))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(request: &Value) -> (StatusCode, Value) {
        let folder = tempfile::tempdir().unwrap();
        let lines = [
            r#"5000 17 {"timestamp":"1970-01-01T00:00:02.000Z","level":"INFO","delivery.id":"shop#2"}"#,
            r#"5001 17 {"timestamp":"1970-01-01T00:00:01.000Z","level":"WARN","delivery.id":"shop#1"}"#,
            r#"5002 17 {"_aws":{"Timestamp":3000},"attention":1}"#,
            "6000 17 the process ended",
        ];
        std::fs::write(folder.path().join("order-notifier.log"), lines.join("\n")).unwrap();
        let api = LogsApi::new("demo", folder.path().to_owned());
        let mut request = request.clone();
        request["logGroupName"] = json!("/aws/lambda/tellonce-demo-order-notifier");
        api.answer("FilterLogEvents", &request)
    }

    fn times(request: &Value) -> Vec<i64> {
        let (_, answer) = search(request);
        answer["events"].as_array().unwrap().iter().map(|event| event["timestamp"].as_i64().unwrap()).collect()
    }

    #[test]
    fn lines_are_found_by_their_own_time_and_by_terms() {
        assert_eq!(times(&json!({})), [1000, 2000, 3000, 6000]);
        assert_eq!(times(&json!({"startTime": 2000, "endTime": 3000})), [2000, 3000]);
        assert_eq!(times(&json!({"filterPattern": "\"shop#1\" WARN"})), [1000]);
        assert_eq!(times(&json!({"filterPattern": "?WARN ?\"process ended\""})), [1000, 6000]);
        assert_eq!(times(&json!({"filterPattern": "\"shop#1\" INFO"})), [0; 0]);
    }

    #[test]
    fn an_event_keeps_its_id_whatever_else_is_found() {
        let ids = |request: &Value| -> Vec<String> {
            let (_, answer) = search(request);
            answer["events"].as_array().unwrap().iter().map(|event| event["eventId"].to_string()).collect()
        };
        let all = ids(&json!({}));
        assert_eq!(ids(&json!({"startTime": 2000})), all[1..]);
    }

    #[test]
    fn a_long_answer_has_pages() {
        let (_, first) = search(&json!({"limit": 3}));
        assert_eq!((first["events"].as_array().unwrap().len(), first["nextToken"].as_str()), (3, Some("3")));
        let (_, rest) = search(&json!({"limit": 3, "nextToken": "3"}));
        assert_eq!((rest["events"].as_array().unwrap().len(), rest["nextToken"].as_str()), (1, None));
    }

    #[test]
    fn what_the_local_stack_does_not_have_is_refused() {
        for pattern in ["{ $.attention = 1 }", "\"open", "%a%"] {
            assert_eq!(search(&json!({"filterPattern": pattern})).0, StatusCode::BAD_REQUEST, "{pattern}");
        }
        let api = LogsApi::new("demo", "absent".into());
        let access_log = json!({"logGroupName": "/aws/vendedlogs/apigateway/tellonce-demo"});
        assert_eq!(api.answer("FilterLogEvents", &access_log).0, StatusCode::OK);
        for group in ["/aws/lambda/other", "/aws/lambda/tellonce-demo-../x"] {
            let (_, answer) = api.answer("FilterLogEvents", &json!({"logGroupName": group}));
            assert_eq!(answer["__type"], "ResourceNotFoundException");
        }
    }
}
