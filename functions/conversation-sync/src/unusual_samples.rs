//! Every unusual line event of `events/unusual/line_events`, through the parser, the conversation
//! and the rules, compared with the facts of its manifest.

use std::collections::BTreeSet;

use jiff::Timestamp;
use tellonce_core::{client_config::ClientConfig, contact::Phone, provider::PROVIDER};
use tellonce_samples::{SampleDelivery, assert_all_files_listed, sample_deliveries};

use crate::{
    conversation::Conversation,
    escalation_rules::{RuleContext, find_triggered_escalations},
    line_event::ParsedLineEvent,
    line_event_parser::parse_line_event,
    opt_out::{self, OptOutRequest},
};

const FOLDER: &str = "unusual/line_events";
/// All deliveries are received on a Friday, outside the business hours.
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
[opt_out]
en = ["stop"]
[lines.main]
line_id = "line_h2"
events = true
[targets.team]
kind = "slack"
[escalations.urgent]
when = { words = { en = ["urgent", "broken"] } }
to = ["team"]
[escalations.first]
when = "first-message"
to = ["team"]
[escalations.after-hours]
when = "after-hours"
to = ["team"]
[escalations.slow]
when = { unanswered = "15m" }
to = ["team"]
"#;

fn received_at() -> Timestamp {
    "2026-11-20T07:00:05Z".parse().unwrap()
}

fn parse_sample(sample: &SampleDelivery) -> ParsedLineEvent {
    let header = PROVIDER.facts().line_event_headers.event;
    let topic = sample.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(header));
    assert!(topic.is_some(), "{} names no event", sample.full_name());
    let topic = topic.map(|(_, topic)| topic.as_str());
    parse_line_event(topic, &sample.body, received_at()).unwrap()
}

/// A conversation and the escalations that its last delivery triggers.
struct Outcome {
    conversation: Conversation,
    alerts: BTreeSet<String>,
}

/// The outcome of a delivery and of those before it.
fn process(config: &ClientConfig, samples: &[SampleDelivery], name: &str) -> Outcome {
    let sample = samples.iter().find(|sample| sample.name == name).unwrap_or_else(|| panic!("no case {name}"));
    let mut conversation = match sample.text_fact("after") {
        Some(before) => process(config, samples, before).conversation,
        None => Conversation::new("main", None, None, 30, received_at()),
    };
    let mut alerts = BTreeSet::new();
    for message in parse_sample(sample).messages {
        conversation.add_message(&message);
        conversation.check_at = conversation.next_check(config);
        let context = RuleContext::default();
        let triggered = find_triggered_escalations(config, &conversation, &message, &context, received_at());
        alerts.extend(triggered.into_iter().map(|triggered| triggered.escalation.to_owned()));
    }
    Outcome { conversation, alerts }
}

#[test]
fn every_unusual_line_event_is_read_as_its_manifest_says() {
    assert_all_files_listed(FOLDER, &[]);
    let config = ClientConfig::parse(CLIENT_TOML).unwrap();
    let samples = sample_deliveries(FOLDER);
    assert!(samples.len() >= 28, "{} cases", samples.len());
    for sample in &samples {
        let (title, facts) = (sample.full_name(), &sample.facts);
        let parsed = parse_sample(sample);
        assert!(parsed.skip_reasons.is_empty(), "{title}: {:?}", parsed.skip_reasons);
        assert_eq!(parsed.has_unreadable_times, facts["has_unreadable_time"].as_bool().unwrap_or(false), "{title}");
        let message = &parsed.messages[0];
        assert_eq!(Some(message.content.name()), sample.text_fact("kind"), "{title}");
        assert_eq!(message.phone.as_ref().map(Phone::expose), sample.text_fact("phone"), "{title}");
        let lid = message.lid.as_ref().map(tellonce_core::contact::Lid::digits);
        assert_eq!(lid, sample.text_fact("lid"), "{title}");
        assert_eq!(message.target.as_deref(), sample.text_fact("target"), "{title}");
        for (fact, value) in [("text", message.text.clone()), ("at", Some(message.sent_at.to_string()))] {
            if facts.get(fact).is_some() {
                assert_eq!(value.as_deref(), sample.text_fact(fact), "{title}: {fact}");
            }
        }
        for message in &parsed.messages {
            assert_eq!(message.is_old(), facts["is_old"].as_bool().unwrap_or(false), "{title}");
            let asks = opt_out::find_request(&config, message) == Some(OptOutRequest::Valid);
            assert_eq!(asks, facts["opt_out"].as_bool().unwrap_or(false), "{title}: opt-out");
            // An acknowledgement follows an alert, and only if the customer writes now.
            let is_written = matches!(message.content.name(), "message" | "unknown") && !message.is_old();
            assert_eq!(message.is_customer_writing(), is_written, "{title}");
        }
        let Outcome { conversation, alerts } = process(&config, &samples, &sample.name);
        let expected = facts["alerts"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
        assert_eq!(alerts, expected.collect(), "{title}: alerts");
        assert_eq!(conversation.waiting_since.is_some(), facts["waits"].as_bool().unwrap(), "{title}: waits");
        assert_eq!(conversation.check_at.is_some(), facts["waits"].as_bool().unwrap(), "{title}: unanswered");
        if facts.get("last_text").is_some() {
            let last = conversation.last_messages.last().unwrap();
            assert_eq!(last.text.as_deref(), sample.text_fact("last_text"), "{title}");
        }
        assert!(!format!("{parsed:?} {conversation:?}").contains("545550199"), "{title}");
    }
}
