//! Calendar feeds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reminder_scheduler::feed::{FeedScope, KnownIds, build_window, ics::parse_feed};
use tellonce_core::client_config::CalendarKind;
use tellonce_fuzz::{CONFIG, NOW};

fuzz_target!(|body: &[u8]| {
    let calendar = &CONFIG.calendars["diary"];
    let CalendarKind::Ics(rule) = &calendar.kind else { panic!("diary is a feed") };
    let window = build_window(calendar, *NOW);
    let known = KnownIds::new(["1", "a", "appt-1001@clinic.example.co.il", "none/20261124T080000Z"]);
    let scope = FeedScope {
        rule,
        calendar,
        config: &CONFIG,
        window,
        known: &known,
        calendar_id: Some("diary@demo.example"),
        charset: None,
    };
    if let Ok(feed) = parse_feed(body.to_vec(), scope) {
        for (id, occurrence) in &feed.occurrences {
            assert!(window.contains(occurrence.start) || known.contains(id), "{id} begins outside the window");
        }
    }
});
