//! The deliveries that webhook-receiver refused lately, by sender. A refused request costs no
//! write, so only the log has it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    client_stack::ClientStack,
    function_logs::{FoundLines, LogError, LogFilter, LogSearch},
    sentences::count,
};

/// The most refusals of a sender that are listed.
const MAX_REFUSALS: usize = 10;
/// How far back refusals explain that a delivery is missing.
pub(crate) const RECENT: SignedDuration = SignedDuration::from_hours(24);
const MAX_REQUESTS: usize = 2;

/// A refused delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// When.
    pub at: Timestamp,
    /// The HTTP status of the response.
    pub http_status: u16,
    /// Why, as a sentence without its full stop.
    pub reason: String,
}

/// The refused deliveries of a sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SenderRefusals {
    /// The sender in client.toml. `None` for an address that names none.
    pub sender: Option<String>,
    /// How many were refused.
    pub count: usize,
    /// Whether the log was not searched to its end, so that more may have been refused.
    pub has_more: bool,
    /// The newest ones that were found, the newest first, at most ten.
    pub newest: Vec<Refusal>,
}

/// The refusals that a search of the log found.
#[derive(Debug, Default)]
pub(crate) struct FoundRefusals {
    pub(crate) senders: Vec<SenderRefusals>,
    /// Whether the log was not searched to its end.
    pub(crate) has_more: bool,
}

impl SenderRefusals {
    /// Its name for people.
    pub fn name(&self) -> &str {
        self.sender.as_deref().unwrap_or("an unknown address")
    }

    /// How often it was refused, and why last, as a part of a sentence.
    pub(crate) fn describe(&self) -> String {
        let last = self.newest.first().map(|last| format!(", last with {}: {}", last.http_status, last.reason));
        let at_least = if self.has_more { "at least " } else { "" };
        format!("{} was refused {at_least}{}{}", self.name(), count(self.count, "time"), last.unwrap_or_default())
    }
}

impl ClientStack {
    /// The deliveries that were refused since a time, by sender. Two requests at most. The caller
    /// may `logs:FilterLogEvents`.
    pub(crate) async fn read_refusals(&self, since: Timestamp) -> Result<FoundRefusals, LogError> {
        let search = LogSearch {
            function: "webhook-receiver",
            since,
            until: None,
            filter: LogFilter::Phrase("http.status"),
            requests: MAX_REQUESTS,
        };
        Ok(group_refusals(&self.search_log(search).await?))
    }
}

/// The refusals among log lines, which are the oldest first.
fn group_refusals(&FoundLines { ref lines, has_more }: &FoundLines) -> FoundRefusals {
    let mut senders: BTreeMap<Option<String>, SenderRefusals> = BTreeMap::new();
    for line in lines.iter().rev() {
        let Some(status) = line.fields.get("http.status").and_then(serde_json::Value::as_u64) else { continue };
        let sender = line.field("sender.name").map(str::to_owned);
        let none = SenderRefusals { sender: sender.clone(), count: 0, has_more, newest: vec![] };
        let of_sender = senders.entry(sender).or_insert(none);
        of_sender.count += 1;
        if of_sender.newest.len() < MAX_REFUSALS {
            let reason = line.message.strip_prefix("refused a delivery: ").unwrap_or(&line.message).to_owned();
            of_sender.newest.push(Refusal { at: line.at, http_status: u16::try_from(status).unwrap_or(0), reason });
        }
    }
    FoundRefusals { senders: senders.into_values().collect(), has_more }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::function_logs::FunctionLogLine;

    #[test]
    fn refusals_are_counted_by_sender_and_the_newest_are_listed() {
        let line = |second: i64, fields: serde_json::Value| FunctionLogLine {
            at: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second),
            function: "webhook-receiver".to_owned(),
            message: "refused a delivery: the signature does not match".to_owned(),
            fields: fields.as_object().unwrap().clone(),
            ..FunctionLogLine::default()
        };
        let mut lines: Vec<_> =
            (0..12).map(|second| line(second, json!({"sender.name": "shop", "http.status": 401}))).collect();
        lines.push(line(20, json!({"sender.name": null, "http.status": 404})));
        lines.push(line(21, json!({"delivery.id": "shop#1"})));
        let mut found = FoundLines { lines, has_more: false };
        let [unknown, shop] = &group_refusals(&found).senders[..] else { panic!("two senders") };
        assert_eq!((unknown.name(), unknown.count), ("an unknown address", 1));
        assert_eq!((shop.count, shop.newest.len()), (12, MAX_REFUSALS));
        assert_eq!(shop.newest[0].at.as_second(), 11);
        assert_eq!(shop.describe(), "shop was refused 12 times, last with 401: the signature does not match");
        found.has_more = true;
        let shop = group_refusals(&found).senders.remove(1);
        assert!(shop.describe().starts_with("shop was refused at least 12 times, "), "{}", shop.describe());
    }
}
