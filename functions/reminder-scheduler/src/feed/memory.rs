//! Test of the memory that a hostile body takes. Each body is parsed in a process of its own, which
//! asks the kernel for the largest memory it had (Linux only).

use std::process::Command;

use tellonce_core::{bootstrap::read_variable, client_config::CalendarKind};

use super::{
    ics::parse_feed,
    occurrence::{FeedScope, KnownIds},
    parse_error::MAX_BODY_BYTES,
    tests::{feed_config, winter_window},
};

/// Names the body that the child process parses.
const BODY_VARIABLE: &str = "TELLONCE_TEST_FEED_BODY";

/// The rest is for the process itself, its connections, and the snapshot.
const MAX_SHARE_OF_FUNCTION: u64 = 2;

const BODIES: [&str; 11] = [
    "short lines",
    "dates",
    "dates in a long zone",
    "parameters",
    "events",
    "invitations",
    "copies of a long title",
    "no text",
    "deep nesting",
    "zones",
    "wide characters",
];

fn one_event(lines: &str) -> Vec<u8> {
    format!(
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nDTSTART:20261101T080000Z\nDESCRIPTION:Phone: 054-555-0199\n{lines}\n\
         END:VEVENT\nEND:VCALENDAR\n"
    )
    .into_bytes()
}

/// Repeats `part` until a body is as large as a body may be.
fn fill(part: &str) -> String {
    part.repeat((MAX_BODY_BYTES - 1_000) / part.len())
}

fn many_events(lines: &str) -> Vec<u8> {
    let size = MAX_BODY_BYTES - 1_000;
    let mut body = String::with_capacity(MAX_BODY_BYTES);
    body.push_str("BEGIN:VCALENDAR\n");
    for number in 0..49_000 {
        let event = format!("BEGIN:VEVENT\nUID:{number:0>40}\nDTSTART:20261124T083000Z\n{lines}END:VEVENT\n");
        if body.len() + event.len() > size {
            break;
        }
        body.push_str(&event);
    }
    body.push_str("END:VCALENDAR\n");
    body.into_bytes()
}

fn hostile_body(name: &str) -> Vec<u8> {
    match name {
        "short lines" => one_event(&fill("UID:\n")),
        "dates" => one_event(&format!("EXDATE:{}", fill("20261124,"))),
        "dates in a long zone" => {
            one_event(&format!("RDATE;TZID={}:{}", "x".repeat(60_000), "20261124T080000,".repeat(400_000)))
        }
        "parameters" => one_event(&format!("EXDATE{}:20261124", fill(";A="))),
        "events" => many_events("DESCRIPTION:Phone: 054-555-0199\n"),
        "invitations" => many_events("DESCRIPTION:Phone: 054-555-0199\nORGANIZER:mailto:eve@evil.example\n"),
        "copies of a long title" => one_event(&format!("RRULE:FREQ=HOURLY\nSUMMARY:{}", "x".repeat(60_000))),
        "no text" => {
            let mut body = one_event("SUMMARY:");
            let at = body.windows(8).position(|part| part == b"SUMMARY:").unwrap() + 8;
            body.splice(at..at, std::iter::repeat_n(0xff, MAX_BODY_BYTES - 1_000));
            body
        }
        "deep nesting" => fill("BEGIN:VCALENDAR\n").into_bytes(),
        "zones" => {
            format!("BEGIN:VCALENDAR\n{}END:VCALENDAR\n", fill("BEGIN:VTIMEZONE\nTZID:a\nEND:VTIMEZONE\n")).into()
        }
        "wide characters" => {
            let mut body: Vec<u8> = one_event("SUMMARY:").into_iter().flat_map(|byte| [byte, 0]).collect();
            let (at, rest) = (body.len() / 2, (MAX_BODY_BYTES - body.len()) / 2);
            body.splice(at / 2 * 2..at / 2 * 2, 0x0915_u16.to_le_bytes().repeat(rest));
            body
        }
        other => panic!("{other}"),
    }
}

/// A line of this process's status, in KiB.
fn own_memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let found = status.lines().find_map(|it| it.strip_prefix(line)).unwrap();
    found.trim_matches([':', ' ', '\t', 'k', 'B']).parse().unwrap()
}

/// The memory of the function, in KiB.
fn function_memory() -> u64 {
    let template = include_str!("../../../../template.yaml");
    let size = template.lines().find_map(|line| line.trim().strip_prefix("MemorySize: ")).unwrap();
    size.parse::<u64>().unwrap() * 1024
}

#[test]
fn the_child_process_parses_one_body() {
    let Some(name) = read_variable(BODY_VARIABLE) else { return };
    let config = feed_config();
    let calendar = &config.calendars["clinic"];
    let CalendarKind::Ics(rule) = &calendar.kind else { panic!() };
    let body = hostile_body(&name);
    assert!(body.len() <= MAX_BODY_BYTES);
    let (length, before) = (body.len() as u64 / 1024, own_memory("VmRSS"));
    // The kernel forgets the peak so far, which belongs to the test.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let scope = FeedScope {
        rule,
        calendar,
        config: &config,
        window: winter_window(),
        known: &KnownIds::default(),
        calendar_id: None,
        charset: None,
    };
    let result = parse_feed(body, scope);
    let peak = own_memory("VmHWM") - before + length;
    assert!(peak <= function_memory() / MAX_SHARE_OF_FUNCTION, "{name}: {peak} KiB");
    drop(result);
}

#[cfg(target_os = "linux")]
#[test]
fn no_body_takes_more_than_half_of_the_functions_memory() {
    for name in BODIES {
        let arguments = ["--exact", "feed::memory::the_child_process_parses_one_body"];
        let child = Command::new(std::env::current_exe().unwrap()).args(arguments).env(BODY_VARIABLE, name).output();
        let child = child.unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && output.contains("1 passed"), "{output}");
    }
}
