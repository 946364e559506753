//! Calendar feeds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reminder_scheduler::feed::{FeedScope, build_window, ics::parse_feed};
use tellonce_core::client_config::CalendarKind;
use tellonce_fuzz::{CONFIG, NOW};

fuzz_target!(|body: &[u8]| {
    let calendar = &CONFIG.calendars["diary"];
    let CalendarKind::Ics(rule) = &calendar.kind else { panic!("diary is a feed") };
    let window = build_window(calendar, *NOW);
    let is_known = |id: &str| id.len() % 2 == 0;
    let scope = FeedScope {
        rule,
        calendar,
        config: &CONFIG,
        window,
        is_known: &is_known,
        calendar_id: Some("diary@demo.example"),
        charset: None,
    };
    if let Ok(feed) = parse_feed(body.to_vec(), scope) {
        for (id, occurrence) in &feed.occurrences {
            assert!(window.contains(occurrence.start) || is_known(id), "{id} begins outside the window");
        }
    }
});
