//! Conversations: waits, alerts, and messages in any order.

use proptest::prelude::*;

use super::*;

const CLIENT_TOML: &str = r#"
client = "test"
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

fn at_minute(minute: i64) -> Timestamp {
    // A Thursday, 12:00 in Jerusalem.
    "2026-11-19T10:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(minute)
}

fn build_message(id: &str, direction: MessageDirection, minute: i64) -> LineMessage {
    LineMessage {
        message_id: id.into(),
        conversation_id: Some("conv_1".into()),
        phone: None,
        lid: None,
        direction,
        sent_at: at_minute(minute),
        content: ContentKind::Written,
        kind: "text".into(),
        text: Some(format!("text of {id}")),
        target: None,
        age: SignedDuration::ZERO,
    }
}

fn new_conversation() -> Conversation {
    Conversation::new("main", Some("conv_1"), None, 30, at_minute(0))
}

fn test_config() -> ClientConfig {
    ClientConfig::parse(CLIENT_TOML).unwrap()
}

fn add_message_and_schedule(conversation: &mut Conversation, message: &LineMessage) {
    conversation.add_message(message);
    conversation.check_at = conversation.next_check(&test_config());
}

#[test]
fn the_team_is_alerted_once_for_a_customer_who_waits_too_long() {
    let (config, mut conversation) = (test_config(), new_conversation());
    add_message_and_schedule(&mut conversation, &build_message("m1", MessageDirection::In, 0));
    add_message_and_schedule(&mut conversation, &build_message("m2", MessageDirection::In, 3));
    assert_eq!(conversation.due_in_queue(), Some((CONVERSATION_QUEUE.to_owned(), at_minute(15))));
    assert!(conversation.raise_overdue_alerts(&config, at_minute(14)).is_empty());
    let due = conversation.raise_overdue_alerts(&config, at_minute(15));
    assert_eq!((due.len(), due[0].trigger.message_id.as_str()), (1, "m1"));
    // If a run dies before it creates the notifications, the next one creates the same.
    assert_eq!(conversation.due_in_queue(), Some((CONVERSATION_QUEUE.to_owned(), at_minute(17))));
    assert_eq!(conversation.raise_overdue_alerts(&config, at_minute(17)), due);
    conversation.confirm_alert(&config, "slow", "m1");
    assert!(
        conversation.raise_overdue_alerts(&config, at_minute(600)).is_empty() && conversation.due_in_queue().is_none()
    );
}

#[test]
fn a_wait_that_begins_during_a_cooldown_raises_an_alert_when_the_cooldown_ends() {
    let (config, mut conversation) = (test_config(), new_conversation());
    add_message_and_schedule(&mut conversation, &build_message("m1", MessageDirection::In, 0));
    assert_eq!(conversation.raise_overdue_alerts(&config, at_minute(15)).len(), 1);
    conversation.confirm_alert(&config, "slow", "m1");
    conversation.note_team_reply(at_minute(20));
    add_message_and_schedule(&mut conversation, &build_message("m3", MessageDirection::In, 21));
    assert!(conversation.raise_overdue_alerts(&config, at_minute(40)).is_empty());
    assert_eq!(conversation.due_in_queue(), Some((CONVERSATION_QUEUE.to_owned(), at_minute(15 + 240))));
    assert_eq!(conversation.raise_overdue_alerts(&config, at_minute(15 + 240)).len(), 1);
}

#[test]
fn a_reply_ends_the_wait_and_a_possible_reply_delays_the_alert() {
    let (config, mut conversation) = (test_config(), new_conversation());
    conversation.add_message(&build_message("m1", MessageDirection::In, 0));
    conversation.note_possible_reply(at_minute(14));
    assert!(conversation.raise_overdue_alerts(&config, at_minute(15)).is_empty());
    assert!(conversation.check_at.unwrap() > at_minute(15));
    conversation.note_team_reply(at_minute(14));
    assert!(
        conversation.raise_overdue_alerts(&config, at_minute(60)).is_empty() && conversation.waiting_since.is_none()
    );
}

#[test]
fn a_wait_outside_business_hours_raises_no_alert_before_they_begin() {
    let (config, mut conversation) = (test_config(), new_conversation());
    // Thursday, 20:00 in Jerusalem; then come Friday and Saturday.
    add_message_and_schedule(&mut conversation, &build_message("m1", MessageDirection::In, 8 * 60));
    assert!(conversation.raise_overdue_alerts(&config, at_minute(20 * 60)).is_empty());
    assert_eq!(conversation.check_at.unwrap().to_string(), "2026-11-22T07:15:00Z");
}

#[test]
fn one_alert_covers_its_cooldown_and_the_same_message_read_again() {
    let mut conversation = new_conversation();
    let cooldown = "4h".parse().unwrap();
    let mut raise_alert = |escalation: &str, id: &str, minute, delivery: &str| {
        let trigger = MessageRef { delivery_id: delivery.into(), ..MessageRef::new(id, at_minute(minute)) };
        conversation.raise_alert(escalation, cooldown, trigger).map(|moment| moment.delivery_id)
    };
    assert_eq!(raise_alert("urgent", "m1", 0, "d1").as_deref(), Some("d1"));
    assert_eq!(raise_alert("urgent", "m1", 0, "d2").as_deref(), Some("d1"), "read again, in another delivery");
    assert_eq!(raise_alert("urgent", "m2", 10, "d3"), None);
    assert_eq!(raise_alert("urgent", "m0", -10, "d4"), None, "late, and older");
    assert_eq!(raise_alert("urgent", "m3", 240, "d5").as_deref(), Some("d5"));
    assert_eq!(raise_alert("other", "m2", 10, "d3").as_deref(), Some("d3"));
}

#[test]
fn a_conversation_without_an_id_is_keyed_by_its_customer() {
    let subject_for = |id, contact| Conversation::item_key("main", id, contact).map(|place| place.subject);
    assert_eq!(subject_for(Some("conv_1"), None).as_deref(), Some("conversation:main:conv_1"));
    assert_eq!(subject_for(None, Some("contact:ab12")).as_deref(), Some("conversation:main:.pab12"));
    assert_eq!(subject_for(None, None), None);
}

fn build_change(id: &str, content: ContentKind, target: &str, minute: i64, text: Option<&str>) -> LineMessage {
    LineMessage {
        content,
        target: Some(target.to_owned()),
        text: text.map(str::to_owned),
        ..build_message(id, MessageDirection::In, minute)
    }
}

#[test]
fn an_edit_changes_the_text_of_its_message_and_neither_begins_nor_ends_a_wait() {
    let mut conversation = new_conversation();
    conversation.add_message(&build_message("m1", MessageDirection::In, 0));
    conversation.add_message(&build_change("e2", ContentKind::Edit, "m1", 2, Some("second")));
    conversation.add_message(&build_change("e1", ContentKind::Edit, "m1", 1, Some("first")));
    assert_eq!(conversation.last_messages.len(), 1);
    assert_eq!(conversation.last_messages[0].text.as_deref(), Some("second"), "the newest edit counts");
    assert_eq!(conversation.waiting_since, Some(MessageRef::new("m1", at_minute(0))));
    assert_eq!(conversation.first_message_id.as_deref(), Some("m1"));
}

#[test]
fn a_deleted_message_waits_for_no_answer_and_the_next_one_does() {
    let mut conversation = new_conversation();
    conversation.add_message(&build_message("m1", MessageDirection::In, 0));
    conversation.add_message(&build_change("d1", ContentKind::Deletion, "m1", 1, None));
    assert_eq!((conversation.waiting_since.clone(), conversation.last_messages[0].kind.as_str()), (None, "deleted"));
    let mut conversation = new_conversation();
    conversation.add_message(&build_message("m1", MessageDirection::In, 0));
    conversation.add_message(&build_message("m2", MessageDirection::In, 5));
    conversation.add_message(&build_change("d1", ContentKind::Deletion, "m1", 6, None));
    assert_eq!(conversation.waiting_since, Some(MessageRef::new("m2", at_minute(5))));
}

#[test]
fn other_events_and_old_messages_begin_no_wait() {
    let mut conversation = new_conversation();
    for content in [
        ContentKind::Reaction,
        ContentKind::Poll,
        ContentKind::Call,
        ContentKind::Notice,
        ContentKind::Empty,
        ContentKind::Action,
    ] {
        conversation.add_message(&LineMessage { content, ..build_message("x", MessageDirection::In, 0) });
    }
    assert!(conversation.last_messages.is_empty() && conversation.first_message_id.is_none());
    let old =
        LineMessage { age: SignedDuration::from_hours(48), ..build_message("h1", MessageDirection::In, -60 * 48) };
    conversation.add_message(&old);
    assert!(conversation.waiting_since.is_none() && conversation.next_check(&test_config()).is_none());
    assert_eq!(conversation.last_messages[0].sent_at, at_minute(-60 * 48), "with its own date");
}

proptest! {
    #[test]
    fn edits_and_deletions_in_any_order_make_the_same_conversation(order in Just(vec![0, 1, 2, 3, 4]).prop_shuffle()) {
        let events = [
            build_message("m1", MessageDirection::In, 0),
            build_message("m2", MessageDirection::In, 3),
            build_change("e1", ContentKind::Edit, "m2", 4, Some("edited")),
            build_change("e2", ContentKind::Edit, "m1", 5, Some("never shown")),
            build_change("d1", ContentKind::Deletion, "m1", 6, None),
        ];
        let mut conversation = new_conversation();
        for index in order {
            let event: &LineMessage = &events[index];
            conversation.add_message(event);
        }
        let shown: Vec<_> = conversation.last_messages.iter().map(|known| (known.kind.as_str(), known.text.as_deref())).collect();
        prop_assert_eq!(shown, [("deleted", None), ("text", Some("edited"))]);
        prop_assert_eq!(conversation.waiting_since, Some(MessageRef::new("m2", at_minute(3))));
    }

    #[test]
    fn messages_in_any_order_and_any_number_of_times_make_the_same_conversation(
        mut received in prop::collection::vec((0..9usize, any::<bool>()), 0..20),
        seed in any::<u64>(),
    ) {
        // Of each message there is one version.
        received.sort_by_key(|(id, _)| *id);
        received.dedup_by_key(|(id, _)| *id);
        let received: Vec<LineMessage> = received
            .iter()
            .map(|(id, inbound)| {
                let direction = if *inbound { MessageDirection::In } else { MessageDirection::Out };
                build_message(&format!("m{id}"), direction, i64::try_from(*id).unwrap())
            })
            .collect();
        let take = |messages: &[LineMessage]| {
            let mut conversation = new_conversation();
            for message in messages {
                conversation.add_message(message);
            }
            conversation.first_message_id = None;
            conversation
        };
        let mut shuffled = received.clone();
        let mut state = seed;
        for index in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(index, usize::try_from(state >> 33).unwrap() % (index + 1));
        }
        let (one, other) = (take(&received), take(&shuffled));
        prop_assert_eq!(&one.waiting_since, &other.waiting_since);
        if received.len() <= MAX_LAST_MESSAGES {
            shuffled.extend_from_slice(&received);
            prop_assert_eq!(&one, &take(&shuffled));
        }
    }
}

#[test]
fn what_was_kept_under_a_private_id_moves_to_the_number_and_a_second_time_changes_nothing() {
    let mut private = new_conversation();
    private.lid = Some("235085806700321@lid".into());
    add_message_and_schedule(&mut private, &build_message("m1", MessageDirection::In, 0));
    private.raise_alert("first", TimeSpan(SignedDuration::from_hours(1)), MessageRef::new("m1", at_minute(0)));
    let mut numbered = new_conversation();
    numbered.phone = Some("+972545550199".into());
    add_message_and_schedule(&mut numbered, &build_message("m2", MessageDirection::In, 5));
    numbered.merge(private.clone(), "conversation:main:.pab");
    let ids = |conversation: &Conversation| -> Vec<String> {
        conversation.last_messages.iter().map(|message| message.id.clone()).collect()
    };
    assert_eq!(ids(&numbered), ["m1", "m2"]);
    assert_eq!(numbered.waiting_since, Some(MessageRef::new("m1", at_minute(0))), "since the first");
    assert_eq!(numbered.alerts["first"].raised_in.as_deref(), Some("conversation:main:.pab"));
    assert!(numbered.phone.is_some() && numbered.lid.is_some());
    let again = {
        let mut again = numbered.clone();
        again.merge(private.clone(), "conversation:main:.pab");
        again
    };
    assert_eq!(again, numbered);
    // The answer of the team in one row answers the other one, too.
    let mut answered = new_conversation();
    answered.note_team_reply(at_minute(6));
    answered.merge(private.clone(), "conversation:main:.pab");
    assert_eq!(answered.waiting_since, None);
    let mut later = private.clone();
    later.add_message(&build_message("m3", MessageDirection::In, 9));
    answered.merge(later, "conversation:main:.pab");
    assert_eq!(answered.waiting_since, Some(MessageRef::new("m3", at_minute(9))), "after the answer");
    let mut deleted = new_conversation();
    deleted.add_message(&build_change("d1", ContentKind::Deletion, "m1", 6, None));
    deleted.merge(private.clone(), "conversation:main:.pab");
    assert_eq!(deleted.waiting_since, None, "a deletion that came under the number");
    let left = private.without_contents();
    assert!(left.waiting_since.is_none() && left.next_check(&test_config()).is_none() && left.alerts.is_empty());
    assert_eq!(left.expires_at(), private.expires_at());
}

#[test]
fn a_message_that_could_not_be_read_at_first_gets_its_text_when_it_comes_again() {
    let mut conversation = new_conversation();
    let unread = LineMessage {
        content: ContentKind::Unknown,
        kind: "ciphertext".into(),
        text: None,
        ..build_message("m1", MessageDirection::In, 0)
    };
    conversation.add_message(&unread);
    assert_eq!(conversation.waiting_since, Some(MessageRef::new("m1", at_minute(0))));
    conversation.add_message(&build_message("m1", MessageDirection::In, 0));
    conversation.add_message(&unread);
    let [message] = &conversation.last_messages[..] else { panic!("{:?}", conversation.last_messages) };
    assert_eq!((message.kind.as_str(), message.text.as_deref()), ("text", Some("text of m1")));
}

#[test]
fn an_earlier_message_that_comes_later_is_not_the_last_one() {
    let mut conversation = new_conversation();
    for (id, minute, last) in [("b", 2, "b"), ("a", 1, "b"), ("c", 3, "c"), ("b", 2, "c")] {
        conversation.note_received(MessageRef::new(id, at_minute(minute)));
        assert_eq!(conversation.last_received.as_ref().unwrap().message_id, last);
    }
}
