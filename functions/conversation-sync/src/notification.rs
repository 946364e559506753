//! Notifications: what the team reads when it is alerted.
//!
//! [`Notification::render_text`] is the one rendering for people. Each target sends it as plain
//! text or as a card. [`Notification::render_within`] shortens it to a target's limit.
//!
//! Promises: a quoted message is one line, and no line holds a hidden character
//! ([`cut_visible_line`]).
//! So a customer cannot write lines that look like ours. Each target escapes its own markup.

use std::fmt;

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use tellonce_core::{contact::Phone, provider::PROVIDER_NAME, wording};

use crate::{line_event::MessageDirection, record_store::e164};

/// One alert, for one target.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// The id: the same for each attempt.
    pub id: String,
    /// The escalation, by its name in `client.toml`.
    pub escalation: String,
    /// What happened, in words that continue "a customer …": "has waited for 15 minutes".
    pub reason: String,
    /// The business's name, from `name` in `client.toml`.
    pub business_name: String,
    /// The client's IANA time zone, for all times in the text.
    pub time_zone: String,
    /// The line, by its name in `client.toml`.
    pub line: String,
    /// The provider's id of the conversation.
    pub conversation_id: Option<String>,
    /// The customer's number, if it is known.
    #[serde(with = "e164::option")]
    pub phone: Option<Phone>,
    /// The private id that `WhatsApp` has for the customer: `235085806700321@lid`. Shown only by
    /// [`Self::private_id`].
    #[serde(default)]
    pub lid: Option<String>,
    /// The customer's name, if it is known.
    pub name: Option<String>,
    /// When the customer's situation began.
    pub since: Timestamp,
    /// The conversation's last messages, oldest first, with as much text as the target allows.
    pub messages: Vec<QuotedMessage>,
    /// What tellonce sent this customer last, newest first.
    pub sent_messages: Vec<SentMessage>,
    /// Whether an earlier attempt may have arrived.
    pub may_be_repeat: bool,
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification")
            .field("id", &self.id)
            .field("escalation", &self.escalation)
            .finish_non_exhaustive()
    }
}

/// A quoted message of the conversation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotedMessage {
    /// Who wrote.
    pub direction: MessageDirection,
    /// When it was written.
    pub sent_at: Timestamp,
    /// `text`, `image`, …
    pub kind: String,
    /// As much of the text as the target allows.
    pub text: Option<String>,
}

impl fmt::Debug for QuotedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuotedMessage")
            .field("direction", &self.direction)
            .field("at", &self.sent_at)
            .finish_non_exhaustive()
    }
}

/// A message of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentMessage {
    /// The idempotency key: `order:1001:ready`.
    pub key: String,
    /// When its status, acceptance or row last changed.
    pub updated_at: Timestamp,
    /// The state (`accepted`, `held`, …), or the delivery status (`delivered`, `read`, `failed`).
    pub state: String,
}

/// A notification as text.
#[derive(Clone, PartialEq, Eq)]
pub struct NotificationText {
    /// The escalation and the reason, without personal data: it may appear on a locked screen.
    pub headline: String,
    /// The rest.
    pub paragraphs: Vec<TextParagraph>,
}

/// Lines that belong together. Quoted text ends a line, so that Hebrew reorders nothing of ours.
#[derive(Clone, PartialEq, Eq)]
pub struct TextParagraph {
    /// The line above them.
    pub heading: Option<&'static str>,
    /// The lines, without line breaks.
    pub lines: Vec<String>,
}

/// As plain text.
impl fmt::Display for NotificationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline)?;
        for paragraph in &self.paragraphs {
            f.write_str("\n")?;
            for line in paragraph.heading.into_iter().chain(paragraph.lines.iter().map(String::as_str)) {
                write!(f, "\n{line}")?;
            }
        }
        Ok(())
    }
}

/// The kind of a message that its author deleted. There is nothing to see in the conversation.
pub const DELETED_KIND: &str = "deleted";
/// The longest key, name or reason, in characters.
pub const MAX_FIELD_CHARS: usize = 200;

impl Notification {
    /// Renders the notification for people.
    pub fn render_text(&self) -> NotificationText {
        let clock = ClientClock::for_notification(self);
        let field = |text: &str| cut_visible_line(text, MAX_FIELD_CHARS);
        let plain = |lines| TextParagraph { heading: None, lines };
        let mut paragraphs = Vec::new();
        if self.may_be_repeat {
            paragraphs.push(plain(vec!["Sent again: the first one may have arrived.".to_owned()]));
        }
        let name = self.name.as_deref().and_then(wording::clean_name);
        paragraphs.push(plain(vec![
            format!("Who: {}{}", self.describe_customer(), name.map(|name| format!(", {name}")).unwrap_or_default()),
            format!("Since: {} ({})", clock.format_time(self.since), clock.name),
            format!("Line: {}, {}", field(&self.line), field(&self.business_name)),
        ]));
        let quote_line = |quoted: &QuotedMessage| {
            let author = match quoted.direction {
                MessageDirection::In => "customer",
                MessageDirection::Out => "we",
            };
            format!("{}, {author}: {}", clock.format_time(quoted.sent_at), quoted.render_line())
        };
        if !self.messages.is_empty() {
            let lines = self.messages.iter().map(quote_line).collect();
            paragraphs.push(TextParagraph { heading: Some("The conversation's last messages:"), lines });
        }
        let sent_line = |sent_message: &SentMessage| {
            format!(
                "{}, {}, {}",
                field(&sent_message.key),
                describe_state(&field(&sent_message.state)),
                clock.format_time(sent_message.updated_at)
            )
        };
        if !self.sent_messages.is_empty() {
            let lines = self.sent_messages.iter().map(sent_line).collect();
            paragraphs.push(TextParagraph { heading: Some("Messages sent to this customer, newest first:"), lines });
        }
        paragraphs.push(plain(vec![match &self.conversation_id {
            Some(id) => format!("Answer in {PROVIDER_NAME}: conversation {}", field(id)),
            None => format!("Answer in {PROVIDER_NAME}."),
        }]));
        NotificationText {
            headline: format!("{}: a customer {}", field(&self.escalation), field(&self.reason)),
            paragraphs,
        }
    }

    /// The private id of a customer whose number is not known.
    pub fn private_id(&self) -> Option<&str> {
        self.lid.as_deref().filter(|_| self.phone.is_none())
    }

    /// The customer's number, else the private id.
    fn describe_customer(&self) -> String {
        match (&self.phone, self.private_id()) {
            (Some(phone), _) => phone.expose().to_owned(),
            (None, Some(lid)) => format!("number not known, WhatsApp id {}", cut_visible_line(lid, MAX_FIELD_CHARS)),
            (None, None) => "number not known".to_owned(),
        }
    }

    /// Renders at most `max_bytes` if possible. It drops the oldest quoted messages first, then the
    /// oldest sent messages, then the end of the last quoted message.
    pub fn render_within(&self, max_bytes: usize, render: impl Fn(&Self) -> String) -> String {
        let mut shorter = self.clone();
        loop {
            let rendered = render(&shorter);
            if rendered.len() <= max_bytes || !shorter.drop_least_important() {
                return rendered;
            }
        }
    }

    /// Drops the least important part; false if there is none.
    fn drop_least_important(&mut self) -> bool {
        if self.messages.len() > 1 {
            self.messages.remove(0);
            return true;
        }
        if self.sent_messages.pop().is_some() {
            return true;
        }
        match self.messages.first_mut().and_then(|quoted| quoted.text.as_mut()) {
            Some(text) if text.chars().count() > 1 => {
                *text = cut_visible_line(text, text.chars().count() / 2);
                true
            }
            _ => false,
        }
    }
}

impl QuotedMessage {
    /// The message on one line.
    fn render_line(&self) -> String {
        let kind = cut_visible_line(&self.kind, MAX_FIELD_CHARS);
        match self.text.as_deref().map(|text| cut_visible_line(text, usize::MAX)).filter(|text| !text.is_empty()) {
            Some(text) if kind == "text" => text,
            Some(text) => format!("{kind}: {text}"),
            None if kind == DELETED_KIND => kind,
            None => format!("{kind}; open {PROVIDER_NAME} to see it"),
        }
    }
}

/// Foreign text as one line of visible characters, at most `max_chars`.
pub fn cut_visible_line(text: &str, max_chars: usize) -> String {
    let line = wording::visible_line(text);
    if line.chars().count() <= max_chars {
        line
    } else {
        line.chars().take(max_chars.saturating_sub(1)).chain(['…']).collect()
    }
}

/// A message's state in plain words.
fn describe_state(name: &str) -> &str {
    match name {
        "held" => "waiting to be sent",
        "claimed" => "being sent",
        "unknown" => "perhaps sent",
        "accepted" => "sent",
        "superseded" => "not sent, overtaken by events",
        "expired" => "not sent, too late",
        "suppressed" | "incomplete" => "not sent",
        "needs-human" => "waiting for a human",
        "failed" => "could not be delivered",
        other => other,
    }
}

/// The client's clock.
struct ClientClock {
    zone: TimeZone,
    name: String,
    /// The year that is not written.
    year: i16,
}

impl ClientClock {
    fn for_notification(notification: &Notification) -> Self {
        let (zone, name) = match TimeZone::get(&notification.time_zone) {
            Ok(zone) => (zone, notification.time_zone.clone()),
            Err(_) => (TimeZone::UTC, "UTC".to_owned()),
        };
        let year = notification.since.to_zoned(zone.clone()).year();
        Self { zone, name, year }
    }

    /// `Thu 19 Nov 12:00`.
    fn format_time(&self, at: Timestamp) -> String {
        let at = at.to_zoned(self.zone.clone());
        let format = if at.year() == self.year { "%a %-d %b %H:%M" } else { "%a %-d %b %Y %H:%M" };
        at.strftime(format).to_string()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use tellonce_core::wording::is_hidden_char;

    use super::*;

    fn parse_time(moment: &str) -> Timestamp {
        moment.parse().unwrap()
    }

    pub(crate) fn quoted_message(direction: MessageDirection, moment: &str, text: Option<&str>) -> QuotedMessage {
        QuotedMessage { direction, sent_at: parse_time(moment), kind: "text".to_owned(), text: text.map(str::to_owned) }
    }

    /// A usual notification.
    pub(crate) fn sample_notification() -> Notification {
        Notification {
            id: "urgent:conv_01:1".to_owned(),
            escalation: "urgent".to_owned(),
            reason: "wrote one of the words".to_owned(),
            business_name: "Demo Shop".to_owned(),
            time_zone: "Asia/Jerusalem".to_owned(),
            line: "main".to_owned(),
            conversation_id: Some("conv_01".to_owned()),
            phone: Some(Phone::from_e164("+972545550199").unwrap()),
            lid: None,
            name: Some("Noa Levi".to_owned()),
            since: parse_time("2026-11-19T10:05:00Z"),
            messages: vec![
                quoted_message(MessageDirection::Out, "2026-11-19T10:00:00Z", Some("Your order is ready")),
                quoted_message(MessageDirection::In, "2026-11-19T10:05:00Z", Some("Urgent: it isn't\nthere")),
            ],
            sent_messages: vec![
                SentMessage {
                    key: "order:1001:ready".to_owned(),
                    updated_at: parse_time("2026-11-19T10:00:00Z"),
                    state: "delivered".to_owned(),
                },
                SentMessage {
                    key: "order:0007:shipped".to_owned(),
                    updated_at: parse_time("2025-12-31T21:30:00Z"),
                    state: "needs-human".to_owned(),
                },
            ],
            may_be_repeat: false,
        }
    }

    /// The same in Hebrew, with a picture, sent again.
    pub(crate) fn hebrew_notification() -> Notification {
        let picture = QuotedMessage {
            kind: "image".to_owned(),
            ..quoted_message(MessageDirection::In, "2026-11-19T10:04:00Z", None)
        };
        Notification {
            business_name: "חנות לדוגמה".to_owned(),
            name: Some("נועה לוי".to_owned()),
            messages: vec![
                quoted_message(MessageDirection::Out, "2026-11-19T10:00:00Z", Some("ההזמנה שלך מוכנה!")),
                QuotedMessage { text: Some("הקבלה".to_owned()), ..picture.clone() },
                picture,
                quoted_message(MessageDirection::In, "2026-11-19T10:05:00Z", Some("דחוף, מספר 1001")),
            ],
            sent_messages: Vec::new(),
            may_be_repeat: true,
            ..sample_notification()
        }
    }

    /// One without text, about a customer without a name.
    pub(crate) fn bare_notification() -> Notification {
        Notification {
            name: Some("\u{202e} ".to_owned()),
            conversation_id: None,
            messages: vec![quoted_message(MessageDirection::In, "2026-11-19T10:05:00Z", None)],
            sent_messages: Vec::new(),
            time_zone: "Nowhere/At all".to_owned(),
            ..sample_notification()
        }
    }

    /// What a customer may try: imitate our lines, mention users, format, reverse the direction.
    pub(crate) const HOSTILE_TEXT: &str = "<!channel> <@U1> @here & <https://evil.example|Answer> **b** [a](https://evil.example) \
                                      \u{202e}gnp\u{2066}.\u{0}\r\nAnswer in EZWhatsApp:\u{2028}conversation 9 <at>all</at>";

    pub(crate) fn hostile_notification() -> Notification {
        Notification {
            name: Some(HOSTILE_TEXT.to_owned()),
            messages: vec![quoted_message(MessageDirection::In, "2026-11-19T10:05:00Z", Some(HOSTILE_TEXT))],
            ..sample_notification()
        }
    }

    #[test]
    fn a_person_reads_what_happened_who_it_is_and_what_was_written() {
        insta::assert_snapshot!("plain_usual", sample_notification().render_text());
        insta::assert_snapshot!("plain_hebrew_pictures_and_sent_again", hebrew_notification().render_text());
        insta::assert_snapshot!("plain_without_text_and_name", bare_notification().render_text());
    }

    #[test]
    fn a_customer_without_a_number_is_shown_by_the_private_id_and_a_deleted_message_as_deleted() {
        let deleted = QuotedMessage {
            kind: DELETED_KIND.to_owned(),
            ..quoted_message(MessageDirection::In, "2026-11-19T10:05:00Z", None)
        };
        let lid = Some("235085806700321@lid".to_owned());
        let shown = Notification { phone: None, lid, messages: vec![deleted], ..sample_notification() };
        let text = shown.render_text().to_string();
        assert!(text.contains("Who: number not known, WhatsApp id 235085806700321@lid, Noa Levi\n"), "{text}");
        assert!(text.contains("customer: deleted\n"), "{text}");
    }

    #[test]
    fn hostile_text_stays_on_its_line_and_keeps_its_direction() {
        let rendered = hostile_notification().render_text().to_string();
        assert!(!rendered.chars().any(|c| c != '\n' && is_hidden_char(c)), "{rendered:?}");
        assert_eq!(rendered.lines().filter(|line| line.starts_with("Answer in")).count(), 1, "{rendered}");
    }

    #[test]
    fn a_text_that_is_too_long_loses_its_oldest_messages_first_and_its_newest_last() {
        let mut long = sample_notification();
        let many = (0..50).map(|n| {
            quoted_message(MessageDirection::In, "2026-11-19T10:05:00Z", Some(&format!("{n} {}", "א".repeat(400))))
        });
        long.messages = many.collect();
        let write = |notification: &Notification| notification.render_text().to_string();
        let text = long.render_within(5_000, write);
        assert!(text.len() <= 5_000 && text.contains(": 49 ") && !text.contains(": 0 ") && text.contains("order:1001"));
        let text = long.render_within(600, write);
        assert!(text.len() <= 600 && text.contains(": 49 אא") && text.contains("…") && !text.contains("order:1001"));
        assert!(long.render_within(1, write).contains("Who: +972545550199"), "what is needed stays");
        assert_eq!(sample_notification().render_within(usize::MAX, write), write(&sample_notification()));
    }

    #[test]
    fn a_notification_shows_nothing_personal_in_a_log() {
        let shown = format!("{:?} {:?}", sample_notification(), sample_notification().messages);
        assert!(!shown.contains("Noa") && !shown.contains("0199") && !shown.contains("Urgent:"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_visible_line(text in "\\PC{0,40}|.{0,40}|[ \\u{202e}\\n\\r]{0,9}", most in 1..30usize) {
            let line = cut_visible_line(&text, most);
            prop_assert!(line.chars().count() <= most);
            prop_assert!(!line.chars().any(|c| is_hidden_char(c) || (c.is_whitespace() && c != ' ')));
        }
    }
}
