//! Lines for the terminal: what came in, and what became of it.

use jiff::{Timestamp, tz::TimeZone};
use tellonce_core::ledger::StepCode;
use tellonce_ops::describe_step;
use tellonce_stack::activity::{ActivityEntry, ActivityEvent, GatewayPost, PostResult};

/// Writes one line for each entry, with times of the client's zone.
pub(crate) struct ActivityLines {
    pub(crate) zone: TimeZone,
}

impl ActivityLines {
    /// `18:28:46  order:5436:ready  sent: …`. `None` for what another line says.
    pub(crate) fn render(&self, entry: &ActivityEntry) -> Option<String> {
        let (about, what) = match &entry.event {
            // The steps of the messages say what the line reports.
            ActivityEvent::Post(post) if post.kind == "lines" && post.result == PostResult::CameIn => return None,
            ActivityEvent::Message { code, .. } if code == StepCode::Sent.name() => return None,
            ActivityEvent::Post(post) => (name_post(post), self.describe_post(post)),
            ActivityEvent::Outcome { delivery, text, .. } => (delivery.clone(), format!("no message: {text}")),
            ActivityEvent::Message { key, code, detail, .. } => {
                (key.clone(), describe_message(code, detail.as_deref()))
            }
            ActivityEvent::Run { text } => ("this run".to_owned(), text.clone()),
        };
        Some(format!("{}  {about}  {what}", self.format_time(entry.at_ms)))
    }

    fn describe_post(&self, post: &GatewayPost) -> String {
        let reason = post.reason.as_deref().unwrap_or("no reason given");
        match post.result {
            PostResult::CameIn => "came in".to_owned(),
            PostResult::Repeat => match post.first_at_ms {
                Some(first) => {
                    format!("again: recognised, nothing is sent (it came in at {})", self.format_time(first))
                }
                None => "again: recognised, nothing is sent".to_owned(),
            },
            PostResult::Answered => "answered, nothing to store".to_owned(),
            PostResult::Forged | PostResult::Refused => format!("refused ({}): {reason}", post.status),
            PostResult::Failed => format!("failed ({}): {reason}", post.status),
        }
    }

    fn format_time(&self, at_ms: i64) -> String {
        let at = Timestamp::from_millisecond(at_ms).unwrap_or_default();
        at.to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string()
    }
}

fn name_post(post: &GatewayPost) -> String {
    match (post.sender.as_str(), &post.topic) {
        ("", _) => "unknown address".to_owned(),
        (sender, Some(topic)) => format!("{sender} {topic}"),
        (sender, None) => sender.to_owned(),
    }
}

/// The words of `tellonce explain`. A code of another version stands for itself.
fn describe_message(code: &str, detail: Option<&str>) -> String {
    match describe_step(code, detail) {
        Some((label, why)) => format!("{label}: {why}"),
        None => code.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(result: PostResult, status: u16, reason: Option<&str>) -> ActivityEvent {
        ActivityEvent::Post(GatewayPost {
            kind: "stores".to_owned(),
            sender: "shop".to_owned(),
            topic: Some("orders/create".to_owned()),
            status,
            result,
            reason: reason.map(str::to_owned),
            delivery: None,
            first_at_ms: (result == PostResult::Repeat).then_some(0),
        })
    }

    fn message(code: &str, detail: Option<&str>) -> ActivityEvent {
        ActivityEvent::Message {
            key: "order:1:ready".to_owned(),
            delivery: "shop#1".to_owned(),
            order_number: None,
            state: String::new(),
            code: code.to_owned(),
            detail: detail.map(str::to_owned),
        }
    }

    #[test]
    fn each_event_is_one_line_in_words() {
        let lines = ActivityLines { zone: TimeZone::UTC };
        for (event, line) in [
            (post(PostResult::CameIn, 200, None), "shop orders/create  came in"),
            (
                post(PostResult::Repeat, 200, None),
                "shop orders/create  again: recognised, nothing is sent (it came in at 00:00:00)",
            ),
            (
                post(PostResult::Forged, 401, Some("the signature does not match")),
                "shop orders/create  refused (401): the signature does not match",
            ),
            (message("accepted", None), "order:1:ready  sent: EZWhatsApp accepted it"),
            (message("delivered", None), "order:1:ready  arrived: it is on the phone"),
            (
                message("line-down", Some("the phone must be linked again")),
                "order:1:ready  waits: the phone must be linked again; check the line in EZWhatsApp",
            ),
            (message("of-tomorrow", None), "order:1:ready  of-tomorrow"),
            (
                ActivityEvent::Outcome {
                    delivery: "shop#1".to_owned(),
                    code: "no-phone".to_owned(),
                    text: "the order has no phone number".to_owned(),
                },
                "shop#1  no message: the order has no phone number",
            ),
        ] {
            let entry = ActivityEntry { number: 1, at_ms: 61_000, event };
            assert_eq!(lines.render(&entry), Some(format!("00:01:01  {line}")));
        }
        let repeated = ActivityEntry { number: 1, at_ms: 0, event: message("sent", None) };
        assert_eq!(lines.render(&repeated), None, "the provider accepted it before");
    }
}
