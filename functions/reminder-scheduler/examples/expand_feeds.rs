//! Reads calendars as the function does, for `scripts/compare_calendars.py`.
//!
//! Each line of the input is a JSON object: a `file`, the `charset` that its host would declare,
//! and the times of its reads (`nows`). The answer is one line with one object for each read.

use std::{
    io::{self, BufRead as _, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use reminder_scheduler::feed::{FeedScope, KnownIds, build_window, ics::parse_feed};
use serde::Deserialize;
use serde_json::{Value, json};
use tellonce_core::client_config::{CalendarKind, ClientConfig};

const CLIENT_TOML: &str = r#"
client = "demo"
name = "Demo"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["en"]

[lines.main]
line_id = "line-1"

[calendars.diary]
kind = "ics"
line = "main"
phone = { field = "description", after = ["Phone:"] }

[calendars.diary.reminders."24h"]
text.en = "x"
"#;

#[derive(Deserialize)]
struct FeedFile {
    file: PathBuf,
    charset: Option<String>,
    nows: Vec<Timestamp>,
}

fn main() -> anyhow::Result<()> {
    let config = ClientConfig::parse(CLIENT_TOML).context("the client of this program")?;
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let feed: FeedFile = serde_json::from_str(&line?).context("a line of the input")?;
        ensure!(!feed.nows.is_empty(), "{} is read at no time", feed.file.display());
        let reads = read_feed(&config, &feed)?;
        writeln!(output, "{}", Value::from(reads))?;
    }
    Ok(())
}

fn read_feed(config: &ClientConfig, feed: &FeedFile) -> anyhow::Result<Vec<Value>> {
    let bytes = std::fs::read(&feed.file).with_context(|| feed.file.display().to_string())?;
    let calendar = &config.calendars["diary"];
    let CalendarKind::Ics(rule) = &calendar.kind else { unreachable!("diary is a feed") };
    let reads = feed.nows.iter().map(|now| {
        let scope = FeedScope {
            rule,
            calendar,
            config,
            window: build_window(calendar, *now),
            known: &KnownIds::default(),
            calendar_id: None,
            charset: feed.charset.as_deref(),
        };
        match parse_feed(bytes.clone(), scope) {
            Ok(parsed) => {
                let occurrences = parsed.occurrences.iter().map(|(id, it)| {
                    let phone = it.attendee.as_ref().ok().map(|attendee| attendee.phone.expose());
                    json!({"id": id, "start": it.start, "status": it.status.name(), "phone": phone})
                });
                let not_understood = parsed.unparsed_events.iter().map(|(uid, error)| (uid.clone(), error.to_string()));
                let without_number = parsed.unreachable.keys().cloned();
                json!({
                    "occurrences": occurrences.collect::<Vec<_>>(),
                    "not_understood": not_understood.collect::<Value>(),
                    "without_number": without_number.collect::<Vec<_>>(),
                })
            }
            Err(error) => json!({"unreadable": error.to_string()}),
        }
    });
    Ok(reads.collect())
}
