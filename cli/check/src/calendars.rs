//! The calendars: names, proofs, id scopes, and the fields in what they send.

use jiff::SignedDuration;

use super::{
    FindingCollector, client,
    id_scopes::{self, IdScopeTable, SenderIdScope},
    kind_settings::{check_accounts, check_kind_settings},
    names::{add_shared_name, check_name, check_shown_name, suggest_name},
    reminders,
    stores::{check_pointer, check_scheme},
};
use tellonce_core::client_config::{
    BookingFields, BookingStatus, CalendarKind, ClientConfig, CustomCalendar, FeedRule, FeedTextRule, JsonPointer,
    TimeSpan,
};

/// The shortest and the longest interval of a feed, in minutes: the interval of the schedule, and a
/// day.
const MIN_POLL_MINUTES: i64 = 5;
const MAX_POLL_MINUTES: i64 = 24 * 60;
/// The most appointments that a feed can hold, and so the highest `new_per_day`.
const MAX_NEW_PER_DAY: u32 = 5000;

/// Domains where every person can have an address.
const PUBLIC_MAIL_DOMAINS: [&str; 16] = [
    "@gmail.com",
    "@googlemail.com",
    "@outlook.com",
    "@hotmail.com",
    "@live.com",
    "@msn.com",
    "@yahoo.com",
    "@icloud.com",
    "@me.com",
    "@mac.com",
    "@aol.com",
    "@gmx.com",
    "@gmx.net",
    "@proton.me",
    "@walla.co.il",
    "@walla.com",
];

/// The standard fields of an event that a value can be in.
const EVENT_FIELDS: [&str; 3] = ["summary", "description", "location"];

pub(super) fn check_calendars(config: &ClientConfig, findings: &mut FindingCollector<'_>) {
    for (name, calendar) in &config.calendars {
        let at = |field: &'static str| ["calendars", name.as_str(), field];
        check_name(["calendars", name], "a calendar", "its URL and of a secret's name", findings);
        if config.stores.contains_key(name) {
            add_shared_name(config, ["calendars", name], "store", findings);
        }
        client::check_line_exists(config, &calendar.line, &at("line"), findings);
        if let Some(country) = &calendar.country {
            client::check_country(country, &at("country"), findings);
        }
        if let Some(zone) = &calendar.time_zone {
            client::check_time_zone(zone, &at("time_zone"), findings);
        }
        check_shown_name(["calendars", name], "calendar", calendar.name.as_deref(), findings);
        if let Some(repeats) = calendar.kind.sender().and_then(|sender| sender.repeats) {
            client::check_inbox_retention(config, repeats, &format!("the calendar `{name}`"), findings);
        }
        let facts = calendar.kind.facts();
        check_kind_settings(["calendars", name], facts.label, facts.settings, findings);
        match &calendar.kind {
            CalendarKind::Custom(calendar) => check_custom(name, calendar, findings),
            CalendarKind::Ics(feed) => check_ics(name, feed, findings),
            _ => {}
        }
        reminders::check_reminders(config, name, calendar, findings);
    }
    id_scopes::check_id_scopes(&id_scope_table(config), findings);
    let accounts =
        config.calendars.iter().map(|(name, calendar)| (name.as_str(), calendar.kind.facts().account_setting));
    let describe =
        |twin: &str| format!("the calendar `{twin}` is the same account: its customers would be reminded twice");
    check_accounts("calendars", accounts, describe, findings);
}

fn check_custom(name: &str, calendar: &CustomCalendar, findings: &mut FindingCollector<'_>) {
    let CustomCalendar { verify, fields, statuses, own_texts } = calendar;
    check_scheme(verify, &["calendars", name, "verify"], findings);
    for (field, pointer) in named_pointers(fields) {
        check_pointer(pointer, &["calendars", name, "fields", field], findings);
    }
    let unused = [("title", &fields.title), ("place", &fields.place)].into_iter().filter(|(_, field)| field.is_some());
    for (field, _) in unused.filter(|_| !own_texts) {
        findings.add_warning(
            &["calendars", name, "fields", field],
            format!("without own_texts = true this field has no effect, because a customer may type the {field}"),
            "write own_texts = true if only the client writes it, or remove the field",
        );
    }
    let path = ["calendars", name, "statuses"];
    let has_status = |wanted| statuses.values().any(|status| *status == wanted);
    match (&fields.status, statuses.is_empty()) {
        (Some(_), true) => findings.add_error(
            &["calendars", name, "fields", "status"],
            "no status has a meaning, so no delivery changes an appointment",
            format!("add [calendars.{name}.statuses] with the sender's statuses, like confirmed = \"booked\""),
        ),
        (None, false) => findings.add_error(
            &path,
            "the field of the status is missing, so these statuses are never used",
            format!("add it to [calendars.{name}.fields], like status = \"/status\""),
        ),
        (None, true) => findings.add_warning(
            &["calendars", name, "fields"],
            "without a status every delivery books: customers who cancel are reminded anyway",
            "name the field of the sender's status, or have the sender post one when an appointment is cancelled",
        ),
        (Some(_), false) if !has_status(BookingStatus::Booked) => findings.add_error(
            &path,
            "no status means `booked`, so no reminder is ever sent",
            "add the sender's status for an appointment that takes place, like confirmed = \"booked\"",
        ),
        (Some(_), false) if !has_status(BookingStatus::Cancelled) => findings.add_warning(
            &path,
            "no status means `cancelled`: customers who cancel are reminded anyway",
            "add the sender's status for it, like canceled = \"cancelled\"",
        ),
        (Some(_), false) => {}
    }
    if statuses.keys().any(|status| status.trim().is_empty()) {
        findings.add_error(&path, "a status has no name", "write it as it is in the sender's JSON");
    }
}

fn named_pointers(fields: &BookingFields) -> impl Iterator<Item = (&'static str, &JsonPointer)> {
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

fn check_ics(name: &str, feed: &FeedRule, findings: &mut FindingCollector<'_>) {
    let TimeSpan(poll_every) = feed.poll_every;
    let usual = SignedDuration::from_mins(MIN_POLL_MINUTES)..=SignedDuration::from_mins(MAX_POLL_MINUTES);
    if !usual.contains(&poll_every) {
        let remedy = "write \"5m\" to \"1d\"; \"15m\" is usual";
        findings.add_error(
            &["calendars", name, "poll_every"],
            "the interval of a feed must be five minutes to one day",
            remedy,
        );
    }
    if !(1..=MAX_NEW_PER_DAY).contains(&feed.new_per_day) {
        let what = format!("the new appointments of a day must be 1 to {MAX_NEW_PER_DAY}");
        let remedy = "write the number of the best day of a year; 200 is usual";
        findings.add_error(&["calendars", name, "new_per_day"], what, remedy);
    }
    for public in feed.organizers.iter().filter(|rule| PUBLIC_MAIL_DOMAINS.contains(&rule.as_str())) {
        let what = format!("every person can have an address at `{}`, and could make appointments", public.as_str());
        let remedy = "write the whole addresses of the client's people";
        findings.add_error(&["calendars", name, "organizers"], what, remedy);
    }
    check_text_rule(&feed.phone, &["calendars", name, "phone"], findings);
    if let Some(person) = &feed.person {
        check_text_rule(person, &["calendars", name, "person"], findings);
    }
}

fn check_text_rule(rule: &FeedTextRule, at: &[&str], findings: &mut FindingCollector<'_>) {
    let field = rule.field.as_str();
    let own = field.strip_prefix("x-").is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    });
    if !own && !EVENT_FIELDS.contains(&field) {
        let remedy = format!("{}; a property of your own is written like `x-phone`", suggest_name(field, EVENT_FIELDS));
        findings.add_error(&[at, &["field"]].concat(), format!("an event has no field `{field}`"), remedy);
    }
    if rule.after.iter().any(|words| words.trim().is_empty()) {
        let remedy = "write the words before the value, like \"Phone:\", or leave `after` out for the whole field";
        findings.add_error(&[at, &["after"]].concat(), "`after` is empty, so no value is found", remedy);
    }
}

fn id_scope_table(config: &ClientConfig) -> IdScopeTable<'_> {
    IdScopeTable {
        table: "calendars",
        sender: "calendar",
        setting: "id_scope",
        entity: "appointment",
        danger: "each would move or cancel the other",
        scopes: config
            .calendars
            .iter()
            .map(|(name, calendar)| SenderIdScope {
                sender: name,
                name: calendar.id_scope(),
                is_explicit: calendar.id_scope.is_some(),
            })
            .collect(),
    }
}
