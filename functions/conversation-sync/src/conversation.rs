//! What is known of a conversation: its last messages, whether somebody waits for an answer, and when the team was called.
//!
//! Not its truth, which is in `EZWhatsApp`: only as much as it takes to call the team once, with the words that led to it.
//! Messages come in any order, so times are those at which they were written.

use std::{collections::BTreeMap, fmt};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use shared::{
    client_config::{ClientConfig, Escalation, MessageText, Span, Trigger},
    ledger::Key,
};

use crate::{
    crm::Direction,
    event::Message,
    notice::Said,
    store::{Kept, Place},
};

/// How many of a conversation's last messages are kept, for notices.
const LAST: usize = 6;
/// As much of each is kept, in characters.
const LONGEST_TEXT: usize = 500;
/// As long as it takes to know whether what the line said is ours: see [`crate::record`].
const UNSURE: SignedDuration = SignedDuration::from_secs(150);
/// How long after a call for somebody who waits it is looked whether its notices were made.
const MADE: SignedDuration = SignedDuration::from_mins(2);
/// The queue of conversations in which somebody waits.
pub const QUEUE: &str = "queue:conversations";

/// What is known of one conversation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// The line, by our name.
    pub line: String,
    /// `EZWhatsApp`'s id of it.
    pub id: Option<String>,
    /// The customer's number.
    pub phone: Option<String>,
    /// Their name, as the ledger knows it.
    pub name: Option<String>,
    /// The first message of theirs that we know of.
    pub first: Option<String>,
    /// The last messages, oldest first.
    pub last: Vec<Line>,
    /// Since when they wait for an answer, and the message that began it.
    pub waiting: Option<Moment>,
    /// When the team wrote last.
    pub answered_at: Option<Timestamp>,
    /// Until then it is not known whether the line's last message was the team's.
    pub unsure_until: Option<Timestamp>,
    /// The last call of each escalation; under no name, the last answer to one.
    pub calls: BTreeMap<String, Moment>,
    /// Of each escalation for whoever waits, the message that its notices were made for.
    pub called_for: BTreeMap<String, String>,
    /// When to look whether they still wait.
    pub look_at: Option<Timestamp>,
    /// When something was written last.
    pub touched_at: Timestamp,
    /// For how many days it is remembered.
    pub keep_days: u16,
}

/// A message, and when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Its id.
    pub message: String,
    /// When.
    pub at: Timestamp,
    /// The delivery that it was read in first; none where a report or the clock led to the call.
    pub delivery: String,
    /// Whether it was the only message in that one.
    pub alone: bool,
}

impl Moment {
    /// Of a message that a delivery holds.
    pub fn of(message: &Message, delivery: &str, alone: bool) -> Self {
        Self { alone, delivery: delivery.to_owned(), ..Self::new(&message.id, message.at) }
    }

    /// Of a message, wherever it was read.
    pub fn new(message: &str, at: Timestamp) -> Self {
        Self { message: message.to_owned(), at, delivery: String::new(), alone: false }
    }
}

/// One of the last messages.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its id.
    pub id: String,
    /// Who wrote.
    pub direction: Direction,
    /// When.
    pub at: Timestamp,
    /// What it is.
    pub kind: String,
    /// Its text, or the beginning of it.
    pub text: Option<String>,
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation")
            .field("line", &self.line)
            .field("id", &self.id)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("id", &self.id).field("direction", &self.direction).finish_non_exhaustive()
    }
}

impl Conversation {
    /// Of which nothing is known.
    pub fn new(line: &str, id: Option<&str>, phone: Option<&str>, keep_days: u16, now: Timestamp) -> Self {
        Self {
            line: line.to_owned(),
            id: id.map(str::to_owned),
            phone: phone.map(str::to_owned),
            name: None,
            first: None,
            last: Vec::new(),
            waiting: None,
            answered_at: None,
            unsure_until: None,
            calls: BTreeMap::new(),
            called_for: BTreeMap::new(),
            look_at: None,
            touched_at: now,
            keep_days,
        }
    }

    /// Where it stands: under its own id, or where a line doesn't give one under `contact`, the customer's hash.
    pub fn place(line: &str, id: Option<&str>, contact: Option<&str>) -> Option<Place> {
        // No word of the keys' alphabet begins so.
        let last = id.map(Key::word).or_else(|| Some(format!(".p{}", contact?.rsplit(':').next()?)))?;
        Some(Place::state(format!("conversation:{line}:{last}")))
    }

    /// Takes a message in. One that was taken in before changes nothing.
    pub fn hear(&mut self, message: &Message) {
        self.id = self.id.take().or_else(|| message.conversation.clone());
        self.phone = self.phone.take().or_else(|| message.phone.as_ref().map(|phone| phone.expose().to_owned()));
        self.touched_at = self.touched_at.max(message.at);
        if message.direction == Direction::In {
            self.first.get_or_insert_with(|| message.id.clone());
            let unanswered = self.answered_at.is_none_or(|answered| answered < message.at);
            if unanswered && self.waiting.as_ref().is_none_or(|waiting| message.at < waiting.at) {
                self.waiting = Some(Moment::new(&message.id, message.at));
            }
        }
        if self.last.iter().any(|line| line.id == message.id) {
            return;
        }
        let text = message.text.as_ref().map(|text| text.chars().take(LONGEST_TEXT).collect());
        let line = Line {
            id: message.id.clone(),
            direction: message.direction,
            at: message.at,
            kind: message.kind.clone(),
            text,
        };
        let place = self.last.partition_point(|other| (other.at, &other.id) <= (line.at, &line.id));
        self.last.insert(place, line);
        if self.last.len() > LAST {
            self.last.remove(0);
        }
    }

    /// The line said something, and it is not known yet whether that was the team.
    pub fn perhaps_answered(&mut self, now: Timestamp) {
        self.unsure_until = Some(now + UNSURE);
    }

    /// The team wrote at that time.
    pub fn answered(&mut self, at: Timestamp) {
        self.answered_at = self.answered_at.max(Some(at));
        if let Some(waiting) = self.waiting.as_ref().filter(|waiting| waiting.at <= at) {
            // A call whose notices were never made stands for none that follows.
            let (message, called_for) = (&waiting.message, &self.called_for);
            self.calls.retain(|name, call| {
                call.message != *message || !call.delivery.is_empty() || called_for.get(name) == Some(message)
            });
            // Whatever they wrote after it waits on.
            let after = self.last.iter().find(|line| line.direction == Direction::In && line.at > at);
            self.waiting = after.map(|line| Moment::new(&line.id, line.at));
        }
    }

    /// Calls the team for a message, unless it was called for another one within this time. Gives the moment that it is
    /// called for: the one that was written down, if the same message was read before.
    pub fn call(&mut self, escalation: &str, within: Span, moment: Moment) -> Option<Moment> {
        if let Some(last) = self.calls.get(escalation) {
            if last.message == moment.message {
                return Some(last.clone());
            }
            if moment.at.duration_since(last.at) < within.0 {
                return None;
            }
        }
        self.calls.insert(escalation.to_owned(), moment.clone());
        Some(moment)
    }

    /// The escalations that are due because nobody answered: those whose notices are not known to be made, too. Sets when
    /// to look again.
    pub fn overdue(&mut self, config: &ClientConfig, now: Timestamp) -> Vec<(String, Moment)> {
        let mut due = Vec::new();
        for (name, within, at) in self.waits(config) {
            let Some(waiting) = self.waiting.as_ref().filter(|_| at <= now) else { continue };
            let moment = Moment::new(&waiting.message, at);
            due.extend(self.call(&name, within, moment).map(|moment| (name, moment)));
        }
        self.look_at = if due.is_empty() { self.next_look(config) } else { Some(now + MADE) };
        due
    }

    /// The notices of a call for whoever waits were made.
    pub fn made(&mut self, config: &ClientConfig, escalation: &str, message: &str) {
        self.called_for.insert(escalation.to_owned(), message.to_owned());
        self.look_at = self.next_look(config);
    }

    /// When to look whether somebody still waits, if anybody does.
    pub fn next_look(&self, config: &ClientConfig) -> Option<Timestamp> {
        self.waits(config).into_iter().map(|(_, _, at)| at).min()
    }

    /// The escalations that whoever waits now is going to set off, with their windows, and when.
    fn waits(&self, config: &ClientConfig) -> Vec<(String, Span, Timestamp)> {
        let Some(waiting) = &self.waiting else { return Vec::new() };
        let wait = |(name, escalation): (&String, &Escalation)| {
            let Trigger::Unanswered(span) = &escalation.when else { return None };
            // Once for each wait, however long it lasts.
            let called = self.called_for.get(name).is_some_and(|message| *message == waiting.message);
            if called || !escalation.is_for(&self.line) {
                return None;
            }
            let at = opening(config, waiting.at) + span.0;
            let at = self.unsure_until.map_or(at, |unsure| at.max(unsure));
            // A call that stands for this one, too, stands for it only so long.
            let last = self.calls.get(name).filter(|call| call.message != waiting.message);
            let at = last.map_or(at, |last| at.max(last.at + escalation.within.0));
            Some((name.clone(), escalation.within, at))
        };
        config.escalations.iter().filter_map(wait).collect()
    }

    /// The last messages, as far as somebody is told.
    pub fn told(&self, text: MessageText) -> Vec<Said> {
        let said = |line: &Line| Said {
            direction: line.direction,
            at: line.at,
            kind: line.kind.clone(),
            text: line.text.as_deref().and_then(|said| text.of(said)),
        };
        self.last.iter().map(said).collect()
    }
}

/// The first moment from `at` on at which somebody is there to answer; `at` itself where no hours are given.
pub fn opening(config: &ClientConfig, at: Timestamp) -> Timestamp {
    let Some(zone) = config.zone_or_own(None) else { return at };
    if config.business_hours.is_empty() || config.business_hours.iter().any(|hours| hours.hold(at, &zone)) {
        return at;
    }
    config.business_hours.iter().filter_map(|hours| next_opening(hours, at, &zone)).min().unwrap_or(at)
}

fn next_opening(hours: &shared::client_config::OpenHours, at: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let mut date = at.to_zoned(zone.clone()).date();
    for _ in 0..8 {
        let opens = date.to_datetime(hours.from.0).to_zoned(zone.clone()).ok()?.timestamp();
        if opens >= at && hours.hold(opens, zone) {
            return Some(opens);
        }
        date = date.tomorrow().ok()?;
    }
    None
}

impl Kept for Conversation {
    fn due(&self) -> Option<(String, Timestamp)> {
        self.look_at.map(|at| (QUEUE.to_owned(), at))
    }

    fn forget_at(&self) -> Option<Timestamp> {
        let kept = SignedDuration::from_hours(24 * i64::from(self.keep_days));
        self.touched_at.saturating_add(kept).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLIENT: &str = r#"
client = "story"
name = "Shop"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["en"]
[[business_hours]]
days = ["sun", "mon", "tue", "wed", "thu"]
from = "09:00"
to = "18:00"
[lines.main]
line_id = "line_1"
events = true
[targets.team]
kind = "slack"
[escalations.slow]
when = { unanswered = "15m" }
to = ["team"]
"#;

    fn at(minute: i64) -> Timestamp {
        // A Thursday, 12:00 in Jerusalem.
        "2026-11-19T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
    }

    fn message(id: &str, direction: Direction, minute: i64) -> Message {
        Message {
            id: id.into(),
            conversation: Some("conv_1".into()),
            phone: None,
            direction,
            at: at(minute),
            kind: "text".into(),
            text: Some(format!("text of {id}")),
        }
    }

    fn new() -> Conversation {
        Conversation::new("main", Some("conv_1"), None, 30, at(0))
    }

    fn config() -> ClientConfig {
        ClientConfig::parse(CLIENT).unwrap()
    }

    fn heard(conversation: &mut Conversation, message: &Message) {
        conversation.hear(message);
        conversation.look_at = conversation.next_look(&config());
    }

    #[test]
    fn whoever_waits_too_long_is_called_for_once() {
        let (config, mut conversation) = (config(), new());
        heard(&mut conversation, &message("m1", Direction::In, 0));
        heard(&mut conversation, &message("m2", Direction::In, 3));
        assert_eq!(conversation.due(), Some((QUEUE.to_owned(), at(15))));
        assert!(conversation.overdue(&config, at(14)).is_empty());
        let due = conversation.overdue(&config, at(15));
        assert_eq!((due.len(), due[0].1.message.as_str()), (1, "m1"));
        // Whoever died before the notices were made is followed by somebody who makes the same ones.
        assert_eq!(conversation.due(), Some((QUEUE.to_owned(), at(17))));
        assert_eq!(conversation.overdue(&config, at(17)), due);
        conversation.made(&config, "slow", "m1");
        assert!(conversation.overdue(&config, at(600)).is_empty() && conversation.due().is_none());
    }

    #[test]
    fn a_wait_that_begins_in_the_window_of_another_is_called_for_when_that_is_over() {
        let (config, mut conversation) = (config(), new());
        heard(&mut conversation, &message("m1", Direction::In, 0));
        assert_eq!(conversation.overdue(&config, at(15)).len(), 1);
        conversation.made(&config, "slow", "m1");
        conversation.answered(at(20));
        heard(&mut conversation, &message("m3", Direction::In, 21));
        assert!(conversation.overdue(&config, at(40)).is_empty());
        assert_eq!(conversation.due(), Some((QUEUE.to_owned(), at(15 + 240))));
        assert_eq!(conversation.overdue(&config, at(15 + 240)).len(), 1);
    }

    #[test]
    fn an_answer_ends_the_wait_and_what_may_be_one_delays_the_call() {
        let (config, mut conversation) = (config(), new());
        conversation.hear(&message("m1", Direction::In, 0));
        conversation.perhaps_answered(at(14));
        assert!(conversation.overdue(&config, at(15)).is_empty());
        assert!(conversation.look_at.unwrap() > at(15));
        conversation.answered(at(14));
        assert!(conversation.overdue(&config, at(60)).is_empty() && conversation.waiting.is_none());
    }

    #[test]
    fn nobody_is_called_for_a_wait_outside_the_business_hours_before_they_begin() {
        let (config, mut conversation) = (config(), new());
        // Thursday, 20:00 in Jerusalem; then come Friday and Saturday.
        heard(&mut conversation, &message("m1", Direction::In, 8 * 60));
        assert!(conversation.overdue(&config, at(20 * 60)).is_empty());
        assert_eq!(conversation.look_at.unwrap().to_string(), "2026-11-22T07:15:00Z");
    }

    #[test]
    fn one_call_stands_for_its_window_and_for_its_own_message_again() {
        let mut conversation = new();
        let within = "4h".parse().unwrap();
        let mut call = |escalation: &str, id: &str, minute, delivery: &str| {
            let moment = Moment { delivery: delivery.into(), ..Moment::new(id, at(minute)) };
            conversation.call(escalation, within, moment).map(|moment| moment.delivery)
        };
        assert_eq!(call("urgent", "m1", 0, "d1").as_deref(), Some("d1"));
        assert_eq!(call("urgent", "m1", 0, "d2").as_deref(), Some("d1"), "read again, in another delivery");
        assert_eq!(call("urgent", "m2", 10, "d3"), None);
        assert_eq!(call("urgent", "m0", -10, "d4"), None, "late, and older");
        assert_eq!(call("urgent", "m3", 240, "d5").as_deref(), Some("d5"));
        assert_eq!(call("other", "m2", 10, "d3").as_deref(), Some("d3"));
    }

    #[test]
    fn a_conversation_without_an_id_goes_by_its_customer() {
        let place = |id, contact| Conversation::place("main", id, contact).map(|place| place.subject);
        assert_eq!(place(Some("conv_1"), None).as_deref(), Some("conversation:main:conv_1"));
        assert_eq!(place(None, Some("contact:ab12")).as_deref(), Some("conversation:main:.pab12"));
        assert_eq!(place(None, None), None);
    }

    proptest! {
        #[test]
        fn messages_in_any_order_and_however_often_make_the_same_conversation(
            mut heard in prop::collection::vec((0..9usize, any::<bool>()), 0..20),
            seed in any::<u64>(),
        ) {
            // Of each message there is one version.
            heard.sort_by_key(|(id, _)| *id);
            heard.dedup_by_key(|(id, _)| *id);
            let heard: Vec<Message> = heard
                .iter()
                .map(|(id, inbound)| {
                    let direction = if *inbound { Direction::In } else { Direction::Out };
                    message(&format!("m{id}"), direction, i64::try_from(*id).unwrap())
                })
                .collect();
            let take = |messages: &[Message]| {
                let mut conversation = new();
                for message in messages {
                    conversation.hear(message);
                }
                conversation.first = None;
                conversation
            };
            let mut shuffled = heard.clone();
            let mut state = seed;
            for index in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                shuffled.swap(index, usize::try_from(state >> 33).unwrap() % (index + 1));
            }
            let (one, other) = (take(&heard), take(&shuffled));
            prop_assert_eq!(&one.waiting, &other.waiting);
            if heard.len() <= LAST {
                shuffled.extend_from_slice(&heard);
                prop_assert_eq!(&one, &take(&shuffled));
            }
        }
    }
}
