//! Deliveries of a line.

#![no_main]

use conversation_sync::line_event_parser::parse_line_event;
use libfuzzer_sys::fuzz_target;
use tellonce_fuzz::{NOW, assert_complete_number, choose};

const TOPICS: [Option<&str>; 5] =
    [Some("messages.post"), Some("statuses.post"), Some("chats.post"), Some("other"), None];

fuzz_target!(|input: &[u8]| {
    let Some((topic, body)) = choose(&TOPICS, input) else { return };
    if let Ok(parsed) = parse_line_event(*topic, body, *NOW) {
        for message in &parsed.messages {
            assert!(!message.message_id.is_empty() && message.message_id.len() <= 256);
            message.phone.iter().for_each(assert_complete_number);
        }
    }
});
