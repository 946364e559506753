//! The client itself: names, country, time zone, languages, quiet hours and retention.

use jiff::tz::TimeZone;

use super::{FindingCollector, nearest_name, suggest_name};
use tellonce_core::{
    client_config::{ClientConfig, RepeatWindow, Retention},
    contact::{Phone, PhoneError, PhoneRule},
};

pub(super) fn check_client(config: &ClientConfig, findings: &mut FindingCollector<'_>) {
    if !is_client_id(&config.client) {
        findings.add_error(
            &["client"],
            format!("`{}` cannot be part of names in AWS", config.client),
            "use 2 to 30 lower-case letters, digits and `-`, with a letter first and no `-` last",
        );
    }
    if config.name.trim().is_empty() {
        findings.add_error(&["name"], "the name is empty", "write the name that customers know");
    }
    check_country(&config.country, &["country"], findings);
    check_time_zone(&config.time_zone, &["time_zone"], findings);
    check_languages(config, findings);
    if config.quiet_hours.is_some_and(|hours| hours.from == hours.to) {
        findings.add_error(
            &["quiet_hours", "from"],
            "the quiet hours end when they begin, so there are none",
            "write when they end, or remove quiet_hours",
        );
    }
    check_retention(config, findings);
    let has_line_events = config.lines.values().any(|line| line.events);
    if config.stores.is_empty() && config.calendars.is_empty() && config.forms.is_empty() && !has_line_events {
        let what = "there is no store, calendar or form, so no message is ever sent";
        findings.add_warning(&[], what, "add [stores.shop], [calendars.clinic] or [forms.website]");
    }
}

/// The same rule as in `template.yaml`. The id becomes part of the names of functions and secrets.
fn is_client_id(id: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (2..=30).contains(&id.len())
        && id.bytes().all(inside)
        && id.starts_with(|first: char| first.is_ascii_lowercase())
        && !id.ends_with('-')
}

/// Reports a country code without rules for phone numbers.
pub(super) fn check_country(country: &str, path: &[&str], findings: &mut FindingCollector<'_>) {
    // Only the country matters here, and not whether the number is valid.
    let unknown = Phone::parse("0212345678", country, PhoneRule::Possible) == Err(PhoneError::UnknownCountry);
    if unknown || country.len() != 2 {
        let what = format!("`{country}` is not a supported country code");
        findings.add_error(path, what, "write its two-letter code (ISO 3166-1), like `IL` or `US`");
    }
}

/// Reports an unknown time zone.
pub(super) fn check_time_zone(zone: &str, path: &[&str], findings: &mut FindingCollector<'_>) {
    if TimeZone::get(zone).is_err() {
        let zones: Vec<_> = jiff::tz::db().available().map(|zone| zone.as_str().to_owned()).collect();
        let remedy = nearest_name(zone, zones.iter().map(String::as_str))
            .map_or("write it like `Asia/Jerusalem`".to_owned(), |zone| format!("did you mean `{zone}`?"));
        findings.add_error(path, format!("there is no time zone `{zone}`"), remedy);
    }
}

/// The code of Hebrew until 1989.
const OLD_HEBREW: &str = "iw";

fn is_language_code(language: &str) -> bool {
    (2..=3).contains(&language.len()) && language.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// Whether every language is one. Otherwise the list has its finding, and what is said about the
/// texts of each language would only repeat it.
pub(super) fn has_language_codes(config: &ClientConfig) -> bool {
    config.languages.iter().all(|language| is_language_code(language) && language != OLD_HEBREW)
}

fn check_languages(config: &ClientConfig, findings: &mut FindingCollector<'_>) {
    if config.languages.is_empty() {
        findings.add_error(&["languages"], "there is no language", "name at least one, like [\"he\", \"en\"]");
    }
    for (place, language) in config.languages.iter().enumerate() {
        if language == OLD_HEBREW {
            findings.add_error(
                &["languages"],
                "`iw` is an old code, and texts are not found by it",
                "write `he` for Hebrew, here and in the texts",
            );
        } else if !is_language_code(language) {
            let what = format!("`{language}` is not the code of a language");
            findings.add_error(&["languages"], what, "write two or three lower-case letters, like `he` or `en`");
        }
        if config.languages[..place].contains(language) {
            findings.add_warning(&["languages"], format!("`{language}` is listed twice"), "remove one of them");
        }
    }
}

fn check_retention(config: &ClientConfig, findings: &mut FindingCollector<'_>) {
    let retention = config.retention;
    if !(1..=365).contains(&retention.inbox_days) {
        findings.add_error(
            &["retention", "inbox_days"],
            format!("the inbox cannot keep deliveries for {} days", retention.inbox_days),
            "write 1 to 365; 30 is usual",
        );
    }
    if !(30..=3650).contains(&retention.ledger_days) {
        findings.add_error(
            &["retention", "ledger_days"],
            format!("the ledger cannot keep rows for {} days", retention.ledger_days),
            "write 30 to 3650; 400 is usual",
        );
    }
    if retention.ledger_days < retention.inbox_days {
        findings.add_error(
            &["retention", "ledger_days"],
            "the ledger forgets before the inbox does: the message of a replayed old delivery would be sent again",
            format!("write at least {} days, as many as inbox_days has", retention.inbox_days),
        );
    }
    check_personal_days(retention, findings);
}

/// Reports a retention of personal data that is too short or too long.
fn check_personal_days(retention: Retention, findings: &mut FindingCollector<'_>) {
    let (least, most) = (retention.min_personal_days(), retention.ledger_days);
    if let Some(days) = retention.personal_days.filter(|days| *days < least || *days > most) {
        findings.add_error(
            &["retention", "personal_days"],
            format!("number, name and text of a message cannot be kept for {days} days"),
            format!("write {least} to {most}: as long as deliveries and conversations, and no longer than ledger_days"),
        );
    }
}

/// Reports a retention that does not recognise every repeat.
pub(super) fn check_inbox_retention(
    config: &ClientConfig,
    repeats: RepeatWindow,
    sender: &str,
    findings: &mut FindingCollector<'_>,
) {
    let RepeatWindow { days, reason } = repeats;
    if config.retention.inbox_days < days {
        findings.add_error(
            &["retention", "inbox_days"],
            format!("the inbox forgets too soon for {sender}: {reason}"),
            format!("write at least {days}; 30 is usual"),
        );
    }
}

/// Reports an unknown line of a store, calendar or form.
pub(super) fn check_line_exists(config: &ClientConfig, line: &str, path: &[&str], findings: &mut FindingCollector<'_>) {
    if !config.lines.contains_key(line) {
        let what = format!("there is no line `{line}`");
        findings.add_error(path, what, suggest_name(line, config.lines.keys().map(String::as_str)));
    }
}
