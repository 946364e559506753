//! The calendars: who they are, whose appointments they report on, and where things stand in what they send.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{
    Findings,
    books::{self, Book, Shelf},
    client, instead, is_plain_name, reminders,
    stores::{pointer_fits, scheme_fits, scheme_window},
};
use crate::client_config::{
    BookingFields, BookingStatus, CalendarKind, ClientConfig, CustomScheme, FeedRule, JsonPointer, Span, TextRule,
};

/// How often a feed may be asked for, in minutes: as often as the schedule runs, and once a day.
const OFTENEST_MINUTES: i64 = 5;
const SELDOMEST_MINUTES: i64 = 24 * 60;

/// The fields of an event that a value can stand in, besides those of the calendar's own.
const EVENT_FIELDS: [&str; 3] = ["summary", "description", "location"];

pub(super) fn look(config: &ClientConfig, findings: &mut Findings<'_>) {
    for (name, calendar) in &config.calendars {
        let at = |field: &'static str| ["calendars", name.as_str(), field];
        if !is_plain_name(name, 40) {
            findings.error(
                &["calendars", name],
                format!("`{name}` cannot be the name of a calendar: it becomes part of its URL and of a secret's name"),
                "use lower-case letters, digits, `-` and `_`, at most 40",
            );
        }
        if config.stores.contains_key(name) {
            findings.error(
                &["calendars", name],
                format!(
                    "there is a store `{name}` too: both would be verified with the secret {}",
                    config.webhook_secret(name)
                ),
                "give one of them another name",
            );
        }
        client::line_exists(config, &calendar.line, &at("line"), findings);
        if let Some(country) = &calendar.country {
            client::country(country, &at("country"), findings);
        }
        if let Some(zone) = &calendar.time_zone {
            client::time_zone(zone, &at("time_zone"), findings);
        }
        if calendar.name.as_deref().is_some_and(|shown| shown.trim().is_empty()) {
            let remedy = "write it, or remove it: the client's name is used then";
            findings.error(&at("name"), "the calendar's name is empty", remedy);
        }
        if let Some((days, why)) = retry_window(&calendar.kind) {
            client::inbox_remembers(config, days, why, &format!("the calendar `{name}`"), findings);
        }
        kind(name, &calendar.kind, findings);
        reminders::look(config, name, calendar, findings);
    }
    books::look(&shelf(config), findings);
    twins(config, findings);
}

/// How many days a sender may take to send the same delivery again, and why; none where a repeat does no harm or is not
/// known. Sources: `docs/senders.md`.
fn retry_window(kind: &CalendarKind) -> Option<(u16, &'static str)> {
    match kind {
        CalendarKind::Calendly { .. } => Some((2, "Calendly repeats for 24 hours")),
        CalendarKind::Square { .. } => Some((2, "Square repeats for about 24 hours")),
        CalendarKind::Custom { verify, .. } => Some(scheme_window(verify)),
        // What Acuity and Google post makes us ask them, as often as they post it.
        CalendarKind::CalCom | CalendarKind::Acuity { .. } | CalendarKind::Ics(_) => None,
    }
}

fn kind(name: &str, kind: &CalendarKind, findings: &mut Findings<'_>) {
    match kind {
        CalendarKind::CalCom => {}
        CalendarKind::Calendly { phone_question } => {
            if phone_question.as_deref().is_some_and(|question| question.trim().is_empty()) {
                let remedy = "copy the question from Calendly word for word, or remove this";
                findings.error(&["calendars", name, "phone_question"], "the question is empty", remedy);
            }
        }
        CalendarKind::Acuity { user_id } => {
            if user_id.is_empty() || !user_id.bytes().all(|byte| byte.is_ascii_digit()) {
                findings.error(
                    &["calendars", name, "user_id"],
                    format!("`{user_id}` is not the numeric user id of an Acuity account"),
                    "copy it from Acuity, Integrations, API, where it stands beside the key",
                );
            }
        }
        CalendarKind::Square { notification_url } => {
            let path = ["calendars", name, "notification_url"];
            client::registered_address(notification_url, "Square", &format!("/bookings/{name}"), &path, findings);
        }
        CalendarKind::Custom { verify, fields, statuses } => custom(name, verify, fields, statuses, findings),
        CalendarKind::Ics(feed) => ics(name, feed, findings),
    }
}

fn custom(
    name: &str,
    verify: &CustomScheme,
    fields: &BookingFields,
    statuses: &BTreeMap<String, BookingStatus>,
    findings: &mut Findings<'_>,
) {
    scheme_fits(verify, &["calendars", name, "verify"], findings);
    for (field, pointer) in pointers(fields) {
        pointer_fits(pointer, &["calendars", name, "fields", field], findings);
    }
    let path = ["calendars", name, "statuses"];
    let means = |wanted| statuses.values().any(|status| *status == wanted);
    match (&fields.status, statuses.is_empty()) {
        (Some(_), true) => findings.error(
            &["calendars", name, "fields", "status"],
            "no status means anything, so no delivery changes anything",
            format!("add [calendars.{name}.statuses] with the sender's words, like confirmed = \"booked\""),
        ),
        (None, false) => findings.error(
            &path,
            "nothing says where the status stands, so these are never looked up",
            format!("add it to [calendars.{name}.fields], like status = \"/status\""),
        ),
        (None, true) => findings.warn(
            &["calendars", name, "fields"],
            "without a status every delivery books: whoever cancels is reminded all the same",
            "point at the sender's status, or have it send one when an appointment is cancelled",
        ),
        (Some(_), false) if !means(BookingStatus::Booked) => findings.error(
            &path,
            "no status means `booked`, so nobody is ever reminded",
            "add the sender's word for an appointment that takes place, like confirmed = \"booked\"",
        ),
        (Some(_), false) if !means(BookingStatus::Cancelled) => findings.warn(
            &path,
            "no status means `cancelled`: whoever cancels is reminded all the same",
            "add the sender's word for it, like canceled = \"cancelled\"",
        ),
        (Some(_), false) => {}
    }
    if statuses.keys().any(|status| status.trim().is_empty()) {
        findings.error(&path, "a status has no name", "write it as it stands in the sender's JSON");
    }
}

fn pointers(fields: &BookingFields) -> impl Iterator<Item = (&'static str, &JsonPointer)> {
    let optional = [
        ("time_zone", &fields.time_zone),
        ("country", &fields.country),
        ("name", &fields.name),
        ("locale", &fields.locale),
        ("status", &fields.status),
        ("previous_id", &fields.previous_id),
        ("occurred_at", &fields.occurred_at),
        ("delivery_id", &fields.delivery_id),
        ("title", &fields.title),
        ("place", &fields.place),
    ];
    let needed = [("id", &fields.id), ("start", &fields.start), ("phone", &fields.phone)];
    needed.into_iter().chain(optional.into_iter().filter_map(|(name, pointer)| Some((name, pointer.as_ref()?))))
}

fn ics(name: &str, feed: &FeedRule, findings: &mut Findings<'_>) {
    let Span(every) = feed.every;
    let usual = SignedDuration::from_mins(OFTENEST_MINUTES)..=SignedDuration::from_mins(SELDOMEST_MINUTES);
    if !usual.contains(&every) {
        let remedy = "write \"5m\" to \"1d\"; \"15m\" is usual";
        findings.error(&["calendars", name, "every"], "a feed is asked for every five minutes to once a day", remedy);
    }
    text_rule(&feed.phone, &["calendars", name, "phone"], findings);
    if let Some(person) = &feed.person {
        text_rule(person, &["calendars", name, "person"], findings);
    }
}

fn text_rule(rule: &TextRule, at: &[&str], findings: &mut Findings<'_>) {
    let field = rule.field.as_str();
    let own = field.strip_prefix("x-").is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    });
    if !own && !EVENT_FIELDS.contains(&field) {
        let remedy =
            format!("{}; a property of the calendar's own is written like `x-phone`", instead(field, EVENT_FIELDS));
        findings.error(&[at, &["field"]].concat(), format!("an event has no field `{field}`"), remedy);
    }
    if rule.after.iter().any(|words| words.trim().is_empty()) {
        let remedy =
            "write the words that stand before the value, like \"Phone:\", or leave `after` out for the whole field";
        findings.error(
            &[at, &["after"]].concat(),
            "nothing stands before the value, and nothing is found by that",
            remedy,
        );
    }
}

fn shelf(config: &ClientConfig) -> Shelf<'_> {
    Shelf {
        table: "calendars",
        sender: "calendar",
        setting: "book",
        of: "appointment",
        danger: "each would move or cancel the other",
        books: config
            .calendars
            .iter()
            .map(|(name, calendar)| Book { sender: name, name: calendar.book(), written: calendar.book.is_some() })
            .collect(),
    }
}

/// Two calendars that are the same account.
fn twins(config: &ClientConfig, findings: &mut Findings<'_>) {
    let mut seen: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for (name, calendar) in &config.calendars {
        let (field, account) = match &calendar.kind {
            CalendarKind::Acuity { user_id } => ("user_id", user_id),
            CalendarKind::Square { notification_url } => ("notification_url", notification_url),
            CalendarKind::CalCom
            | CalendarKind::Calendly { .. }
            | CalendarKind::Custom { .. }
            | CalendarKind::Ics(_) => {
                continue;
            }
        };
        if let Some(twin) = seen.insert((field, account), name) {
            findings.warn(
                &["calendars", name, field],
                format!("the calendar `{twin}` is the same account: its appointments would be reminded of twice"),
                "keep one of them, or correct a copied line",
            );
        }
    }
}
