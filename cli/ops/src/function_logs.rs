//! The log lines of the functions and of the API, through CloudWatch Logs.
//!
//! Promises: a search sends a limited number of requests. It returns what those found, the oldest
//! first.

use aws_sdk_cloudwatchlogs::{
    error::SdkError, operation::filter_log_events::FilterLogEventsError, types::FilteredLogEvent,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::client_stack::ClientStack;

/// The functions of a stack, in the order of a delivery's way.
pub const FUNCTIONS: [&str; 5] =
    ["webhook-receiver", "order-notifier", "reminder-scheduler", "lead-first-touch", "conversation-sync"];

/// The access log of the API, by the name that a person gives it.
pub const API_LOG: &str = "api";

/// The most lines of one response.
const MAX_PAGE_LINES: i32 = 1000;

/// A log could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the log group {group} could not be read")]
pub struct LogError {
    /// The log group.
    pub group: String,
    /// Why.
    #[source]
    source: Box<SdkError<FilterLogEventsError>>,
}

/// Which lines are searched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogSearch<'a> {
    /// The name of the function, such as `order-notifier`, or [`API_LOG`].
    pub(crate) function: &'a str,
    /// Written at this time or later.
    pub(crate) since: Timestamp,
    /// Written before this time.
    pub(crate) until: Option<Timestamp>,
    /// Which of them.
    pub(crate) filter: LogFilter<'a>,
    /// The most requests.
    pub(crate) requests: usize,
}

/// Which lines a search finds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LogFilter<'a> {
    /// All of them.
    All,
    /// Those that contain a text.
    Phrase(&'a str),
    /// Those that contain any of these words.
    AnyOf(&'a [&'a str]),
}

impl LogFilter<'_> {
    fn to_pattern(self) -> Option<String> {
        match self {
            Self::All => None,
            Self::Phrase(phrase) => Some(quote_phrase(phrase)),
            Self::AnyOf(words) => {
                let words = words.iter().map(|word| format!("?{}", quote_phrase(word)));
                Some(words.collect::<Vec<_>>().join(" "))
            }
        }
    }
}

/// The lines that a search found.
#[derive(Debug, Default)]
pub(crate) struct FoundLines {
    pub(crate) lines: Vec<FunctionLogLine>,
    /// Whether the log was not searched to its end.
    pub(crate) has_more: bool,
}

/// A log line of a function or of the API.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FunctionLogLine {
    /// What the log calls it. No two lines have the same.
    #[serde(skip)]
    pub(crate) id: String,
    /// When it was written.
    pub at: Timestamp,
    /// The function, without the client's name, or [`API_LOG`].
    pub function: String,
    /// `INFO`, `WARN`, `ERROR`. Absent for metrics and for Lambda's own lines.
    pub level: Option<String>,
    /// What happened.
    pub message: String,
    /// All members of the line, as docs/logging.md lists them.
    pub fields: Map<String, Value>,
}

impl FunctionLogLine {
    fn of_event(function: &str, event: &FilteredLogEvent) -> Option<Self> {
        let text = event.message()?;
        let fields = serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
        let own_text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            id: event.event_id().unwrap_or_default().to_owned(),
            at: Timestamp::from_millisecond(event.timestamp()?).ok()?,
            function: function.to_owned(),
            level: own_text("level"),
            message: own_text("message").unwrap_or_else(|| text.trim_end().to_owned()),
            fields,
        })
    }

    /// The text of a member.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }
}

impl ClientStack {
    /// The log group of a function, or of the API.
    pub(crate) fn log_group(&self, function: &str) -> String {
        match function {
            API_LOG => format!("/aws/vendedlogs/apigateway/tellonce-{}", self.client()),
            function => format!("/aws/lambda/{}", self.function_name(function)),
        }
    }

    /// Searches a log.
    pub(crate) async fn search_log(&self, search: LogSearch<'_>) -> Result<FoundLines, LogError> {
        let group = self.log_group(search.function);
        let mut found = FoundLines::default();
        let mut token = None;
        for _ in 0..search.requests {
            let page = self
                .logs
                .filter_log_events()
                .log_group_name(&group)
                .start_time(search.since.as_millisecond())
                .set_end_time(search.until.map(Timestamp::as_millisecond))
                .set_filter_pattern(search.filter.to_pattern())
                .limit(MAX_PAGE_LINES)
                .set_next_token(token.take());
            let page = page.send().await.map_err(|error| LogError { group: group.clone(), source: Box::new(error) })?;
            let lines = page.events().iter().filter_map(|event| FunctionLogLine::of_event(search.function, event));
            found.lines.extend(lines);
            token = page.next_token;
            found.has_more = token.is_some();
            if token.is_none() {
                break;
            }
        }
        found.lines.sort_by_key(|line| line.at);
        Ok(found)
    }
}

/// A filter pattern for lines that contain a phrase. A quotation mark or a backslash has another
/// form in a pattern and in JSON, so the pattern has the longest part without them.
fn quote_phrase(phrase: &str) -> String {
    let longest = phrase.split(['"', '\\']).max_by_key(|part| part.len()).unwrap_or_default();
    format!("\"{longest}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> FilteredLogEvent {
        FilteredLogEvent::builder().timestamp(1_795_979_835_120).message(text).build()
    }

    #[test]
    fn a_line_has_its_fields_and_lambda_s_own_line_is_its_text() {
        let text = r#"{"level":"INFO","message":"stored delivery shop#1","delivery.id":"shop#1"}"#;
        let line = FunctionLogLine::of_event("webhook-receiver", &event(text)).unwrap();
        assert_eq!((line.level.as_deref(), line.message.as_str()), (Some("INFO"), "stored delivery shop#1"));
        assert_eq!(line.field("delivery.id"), Some("shop#1"));
        let line = FunctionLogLine::of_event("webhook-receiver", &event("Runtime exited\n")).unwrap();
        assert_eq!((line.level, line.message.as_str()), (None, "Runtime exited"));
    }

    #[test]
    fn a_phrase_is_quoted_without_what_a_pattern_would_misread() {
        assert_eq!(quote_phrase("shop#1"), "\"shop#1\"");
        assert_eq!(quote_phrase(r#"a"shop#longest\b"#), "\"shop#longest\"");
    }
}
