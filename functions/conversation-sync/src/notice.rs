//! Notices: what the team is told when it is called, in words.
//!
//! [`Notice::words`] is the one rendering for people. Each target writes it in its own way: as it is displayed, or as a card.
//! [`Notice::within`] makes what is written fit where there is a limit.
//!
//! Promised: a message is one line, whatever its customer put into it, and no line holds a character that is not seen
//! ([`clean`]); so nobody can write lines that look like ours. What a target takes for markup, it escapes itself.

use std::fmt;

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use shared::{contact::Phone, wording::is_hidden};

use crate::{crm::Direction, e164};

/// One call to the team.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its id: the same for each try of the same notice at the same target.
    pub id: String,
    /// The escalation, by its name in `client.toml`.
    pub escalation: String,
    /// What happened, in words that go on from "a customer": "wrote one of the words", "has waited for 15 minutes".
    pub why: String,
    /// The client's name.
    pub business: String,
    /// The client's IANA time zone, in which times are written.
    pub time_zone: String,
    /// The line, by our name.
    pub line: String,
    /// `EZWhatsApp`'s id of the conversation.
    pub conversation: Option<String>,
    /// The customer, if the line said their number.
    #[serde(with = "e164::option")]
    pub phone: Option<Phone>,
    /// Their name, if we know it.
    pub name: Option<String>,
    /// When it happened.
    pub at: Timestamp,
    /// The conversation's last messages, oldest first, as far as this target is told.
    pub messages: Vec<Said>,
    /// What we told this customer last, newest first.
    pub told: Vec<Told>,
    /// Whether an earlier try may have arrived.
    pub repeated: bool,
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notice").field("id", &self.id).field("escalation", &self.escalation).finish_non_exhaustive()
    }
}

/// A message of the conversation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Who wrote.
    pub direction: Direction,
    /// When.
    pub at: Timestamp,
    /// What it is: `text`, `image`, …
    pub kind: String,
    /// As much of its text as is told.
    pub text: Option<String>,
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Said").field("direction", &self.direction).field("at", &self.at).finish_non_exhaustive()
    }
}

/// A message that we sent, as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its key: `order:1001:ready`.
    pub key: String,
    /// When it was told, or last written down.
    pub at: Timestamp,
    /// Where it is: `accepted`, `held`, …, or what the phone reported: `delivered`, `read`, `failed`.
    pub state: String,
}

/// A notice in words.
#[derive(Clone, PartialEq, Eq)]
pub struct Words {
    /// What happened and by which rule. Names nobody: it may stand on a locked screen.
    pub headline: String,
    /// The rest.
    pub paragraphs: Vec<Paragraph>,
}

/// Lines that belong together. What others wrote stands at the end of a line, so that Hebrew turns nothing of ours around.
#[derive(Clone, PartialEq, Eq)]
pub struct Paragraph {
    /// What is above them.
    pub heading: Option<&'static str>,
    /// The lines, without line breaks.
    pub lines: Vec<String>,
}

/// As plain text.
impl fmt::Display for Words {
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

/// A key, a name, a reason are cut at so many characters. Longer ones are not meant to be read.
pub const LONGEST_FIELD: usize = 200;

impl Notice {
    /// What a person reads.
    pub fn words(&self) -> Words {
        let clock = Clock::of(self);
        let field = |text: &str| clean(text, LONGEST_FIELD);
        let plain = |lines| Paragraph { heading: None, lines };
        let mut paragraphs = Vec::new();
        if self.repeated {
            paragraphs.push(plain(vec!["Sent again: it isn't known whether the first one arrived.".to_owned()]));
        }
        let name = self.name.as_deref().map(field).filter(|name| !name.is_empty());
        paragraphs.push(plain(vec![
            format!(
                "Who: {}{}",
                self.phone.as_ref().map_or("number not known", Phone::expose),
                name.map(|name| format!(", {name}")).unwrap_or_default()
            ),
            format!("Since: {} ({})", clock.tell(self.at), clock.name),
            format!("Line: {}, {}", field(&self.line), field(&self.business)),
        ]));
        let said = |said: &Said| {
            let who = match said.direction {
                Direction::In => "customer",
                Direction::Out => "we",
            };
            format!("{}, {who}: {}", clock.tell(said.at), said.words())
        };
        if !self.messages.is_empty() {
            let lines = self.messages.iter().map(said).collect();
            paragraphs.push(Paragraph { heading: Some("The conversation's last messages:"), lines });
        }
        let told =
            |told: &Told| format!("{}, {}, {}", field(&told.key), state(&field(&told.state)), clock.tell(told.at));
        if !self.told.is_empty() {
            let lines = self.told.iter().map(told).collect();
            paragraphs.push(Paragraph { heading: Some("What we told this customer, newest first:"), lines });
        }
        paragraphs.push(plain(vec![match &self.conversation {
            Some(id) => format!("Answer in EZWhatsApp: conversation {}", field(id)),
            None => "Answer in EZWhatsApp.".to_owned(),
        }]));
        Words { headline: format!("{}: a customer {}", field(&self.escalation), field(&self.why)), paragraphs }
    }

    /// Writes it so that it takes no more than `most` bytes, if that can be done without the conversation's oldest messages,
    /// then without what we told longest ago, then without the end of the last message.
    pub fn within(&self, most: usize, write: impl Fn(&Self) -> String) -> String {
        let mut shorter = self.clone();
        loop {
            let written = write(&shorter);
            if written.len() <= most || !shorter.shorten() {
                return written;
            }
        }
    }

    /// Leaves out what is missed least; false if there is nothing of that kind.
    fn shorten(&mut self) -> bool {
        if self.messages.len() > 1 {
            self.messages.remove(0);
            return true;
        }
        if self.told.pop().is_some() {
            return true;
        }
        match self.messages.first_mut().and_then(|said| said.text.as_mut()) {
            Some(text) if text.chars().count() > 1 => {
                *text = clean(text, text.chars().count() / 2);
                true
            }
            _ => false,
        }
    }
}

impl Said {
    /// The message on one line.
    fn words(&self) -> String {
        let kind = clean(&self.kind, LONGEST_FIELD);
        match self.text.as_deref().map(|text| clean(text, usize::MAX)).filter(|text| !text.is_empty()) {
            Some(text) if kind == "text" => text,
            Some(text) => format!("{kind}: {text}"),
            None => format!("{kind}; open EZWhatsApp to see it"),
        }
    }
}

/// Text that somebody else wrote as one line of visible characters, no longer than `most` of them.
pub fn clean(text: &str, most: usize) -> String {
    let visible: String =
        text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !is_hidden(*c)).collect();
    let line = visible.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most { line } else { line.chars().take(most.saturating_sub(1)).chain(['…']).collect() }
}

/// A message's state in plain words, where its name is none.
fn state(name: &str) -> &str {
    match name {
        "held" => "waiting to be sent",
        "claimed" => "being sent",
        "unknown" => "perhaps sent",
        "accepted" => "sent",
        "superseded" => "not sent, overtaken by events",
        "expired" => "not sent, too late",
        "noted" | "unsaid" => "not sent",
        "needs-human" => "waiting for a human",
        "failed" => "could not be delivered",
        other => other,
    }
}

/// The client's clock.
struct Clock {
    zone: TimeZone,
    name: String,
    /// The year that goes without saying.
    year: i16,
}

impl Clock {
    fn of(notice: &Notice) -> Self {
        let (zone, name) = match TimeZone::get(&notice.time_zone) {
            Ok(zone) => (zone, notice.time_zone.clone()),
            Err(_) => (TimeZone::UTC, "UTC".to_owned()),
        };
        let year = notice.at.to_zoned(zone.clone()).year();
        Self { zone, name, year }
    }

    /// `Thu 19 Nov 12:00`.
    fn tell(&self, at: Timestamp) -> String {
        let at = at.to_zoned(self.zone.clone());
        let format = if at.year() == self.year { "%a %-d %b %H:%M" } else { "%a %-d %b %Y %H:%M" };
        at.strftime(format).to_string()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(moment: &str) -> Timestamp {
        moment.parse().unwrap()
    }

    pub(crate) fn said(direction: Direction, moment: &str, text: Option<&str>) -> Said {
        Said { direction, at: at(moment), kind: "text".to_owned(), text: text.map(str::to_owned) }
    }

    /// A notice as it comes most often.
    pub(crate) fn notice() -> Notice {
        Notice {
            id: "urgent:conv_01:1".to_owned(),
            escalation: "urgent".to_owned(),
            why: "wrote one of the words".to_owned(),
            business: "Demo Shop".to_owned(),
            time_zone: "Asia/Jerusalem".to_owned(),
            line: "main".to_owned(),
            conversation: Some("conv_01".to_owned()),
            phone: Some(Phone::from_e164("+972545550199").unwrap()),
            name: Some("Noa Levi".to_owned()),
            at: at("2026-11-19T10:05:00Z"),
            messages: vec![
                said(Direction::Out, "2026-11-19T10:00:00Z", Some("Your order is ready")),
                said(Direction::In, "2026-11-19T10:05:00Z", Some("Urgent: it isn't\nthere")),
            ],
            told: vec![
                Told {
                    key: "order:1001:ready".to_owned(),
                    at: at("2026-11-19T10:00:00Z"),
                    state: "delivered".to_owned(),
                },
                Told {
                    key: "order:0007:shipped".to_owned(),
                    at: at("2025-12-31T21:30:00Z"),
                    state: "needs-human".to_owned(),
                },
            ],
            repeated: false,
        }
    }

    /// The same in Hebrew, with a picture, sent again.
    pub(crate) fn hebrew() -> Notice {
        let picture = Said { kind: "image".to_owned(), ..said(Direction::In, "2026-11-19T10:04:00Z", None) };
        Notice {
            business: "חנות לדוגמה".to_owned(),
            name: Some("נועה לוי".to_owned()),
            messages: vec![
                said(Direction::Out, "2026-11-19T10:00:00Z", Some("ההזמנה שלך מוכנה!")),
                Said { text: Some("הקבלה".to_owned()), ..picture.clone() },
                picture,
                said(Direction::In, "2026-11-19T10:05:00Z", Some("דחוף, מספר 1001")),
            ],
            told: Vec::new(),
            repeated: true,
            ..notice()
        }
    }

    /// One that is told no text, of somebody without a name.
    pub(crate) fn bare() -> Notice {
        Notice {
            name: Some("\u{202e} ".to_owned()),
            conversation: None,
            messages: vec![said(Direction::In, "2026-11-19T10:05:00Z", None)],
            told: Vec::new(),
            time_zone: "Nowhere/At all".to_owned(),
            ..notice()
        }
    }

    /// What a customer may try: to look like us, to mention, to format, to turn around.
    pub(crate) const HOSTILE: &str = "<!channel> <@U1> @here & <https://evil.example|Answer> **b** [a](https://evil.example) \
                                      \u{202e}gnp\u{2066}.\u{0}\r\nAnswer in EZWhatsApp:\u{2028}conversation 9 <at>all</at>";

    pub(crate) fn hostile() -> Notice {
        Notice {
            name: Some(HOSTILE.to_owned()),
            messages: vec![said(Direction::In, "2026-11-19T10:05:00Z", Some(HOSTILE))],
            ..notice()
        }
    }

    #[test]
    fn a_person_reads_what_happened_who_it_is_and_what_was_said() {
        insta::assert_snapshot!("plain_usual", notice().words());
        insta::assert_snapshot!("plain_hebrew_pictures_and_sent_again", hebrew().words());
        insta::assert_snapshot!("plain_without_text_and_name", bare().words());
    }

    #[test]
    fn hostile_text_stays_on_its_line_and_keeps_its_direction() {
        let words = hostile().words().to_string();
        assert!(!words.chars().any(|c| c != '\n' && is_hidden(c)), "{words:?}");
        assert_eq!(words.lines().filter(|line| line.starts_with("Answer in")).count(), 1, "{words}");
    }

    #[test]
    fn what_is_too_long_loses_its_oldest_messages_first_and_its_newest_last() {
        let mut long = notice();
        let many =
            (0..50).map(|n| said(Direction::In, "2026-11-19T10:05:00Z", Some(&format!("{n} {}", "א".repeat(400)))));
        long.messages = many.collect();
        let write = |notice: &Notice| notice.words().to_string();
        let text = long.within(5_000, write);
        assert!(text.len() <= 5_000 && text.contains(": 49 ") && !text.contains(": 0 ") && text.contains("order:1001"));
        let text = long.within(600, write);
        assert!(text.len() <= 600 && text.contains(": 49 אא") && text.contains("…") && !text.contains("order:1001"));
        assert!(long.within(1, write).contains("Who: +972545550199"), "what is needed stays");
        assert_eq!(notice().within(usize::MAX, write), write(&notice()));
    }

    #[test]
    fn a_notice_shows_nothing_personal_in_a_log() {
        let shown = format!("{:?} {:?}", notice(), notice().messages);
        assert!(!shown.contains("Noa") && !shown.contains("0199") && !shown.contains("Urgent:"), "{shown}");
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_one_visible_line(text in "\\PC{0,40}|.{0,40}|[ \\u{202e}\\n\\r]{0,9}", most in 1..30usize) {
            let line = clean(&text, most);
            prop_assert!(line.chars().count() <= most);
            prop_assert!(!line.chars().any(|c| is_hidden(c) || (c.is_whitespace() && c != ' ')));
        }
    }
}
