//! Every sample delivery of `events/bookings`, verified, read and held against the facts of its manifest; and samples torn
//! apart. Feeds (`ics`) have their own tests.

use std::{collections::BTreeMap, ops::Deref, sync::LazyLock};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use proptest::prelude::*;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use shared::{
    appointment::Standing,
    client_config::{CalendarKind, ClientConfig},
    delivery::{Checked, Proof, Unverified, Verified, verify},
    read_back::Answer,
    secret::Secret,
};

use crate::{
    booking::{Booking, Kind, NothingBecause, ReadBack, Reading, read},
    read_back::complete,
};

/// A client with one calendar of each kind.
const CLIENT: &str = r#"
client = "demo"
name = "Demo"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["he", "en"]

[lines.main]
line_id = "line-1"

[calendars.clinic]
kind = "calcom"
line = "main"

[calendars.intro]
kind = "calendly"
line = "main"
phone_question = "Phone Number"

[calendars.acuity]
kind = "acuity"
line = "main"
user_id = "13579"

[calendars.salon]
kind = "square"
line = "main"
notification_url = "https://hooks.example.com/t/demo/square"

[calendars.google]
kind = "ics"
line = "main"
phone = { field = "description", after = ["phone:"] }
google_push = true

[calendars.crm]
kind = "custom"
line = "main"
verify = { scheme = "standard-webhooks" }
statuses = { confirmed = "booked", requested = "unconfirmed", cancelled = "cancelled" }
[calendars.crm.fields]
id = "/data/id"
start = "/data/start"
time_zone = "/data/time_zone"
phone = "/data/customer/phone"
country = "/data/customer/country"
name = "/data/customer/name"
locale = "/data/customer/locale"
status = "/data/status"
occurred_at = "/timestamp"
title = "/data/service"
place = "/data/room"

[calendars.n8n]
kind = "custom"
line = "main"
verify = { scheme = "static-header", header = "X-Webhook-Token" }
statuses = { BOOKED = "booked", GONE = "cancelled" }
[calendars.n8n.fields]
id = "/booking/number"
previous_id = "/booking/replaces"
start = "/booking/start"
status = "/booking/state"
phone = "/client/mobile"
name = "/client/fullName"
delivery_id = "/event_id"
"#;

/// Folder → calendar.
const SYSTEMS: [(&str, &str); 7] = [
    ("calcom", "clinic"),
    ("calendly", "intro"),
    ("acuity", "acuity"),
    ("square", "salon"),
    ("google_calendar", "google"),
    ("standardwebhooks", "crm"),
    ("static_header", "n8n"),
];

pub(crate) fn config() -> &'static ClientConfig {
    static CONFIG: LazyLock<ClientConfig> = LazyLock::new(|| ClientConfig::parse(CLIENT).unwrap());
    &CONFIG
}

/// When the deliveries of the tests are received: after everything in the samples.
pub(crate) fn received_at() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

pub(crate) fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

/// Reads a body as a delivery to one of the client's calendars.
pub(crate) fn read_as(calendar: &str, body: impl AsRef<[u8]>) -> Reading {
    read_for(config(), calendar, body)
}

pub(crate) fn read_for(config: &ClientConfig, calendar: &str, body: impl AsRef<[u8]>) -> Reading {
    read(&config.calendars[calendar], config, &BTreeMap::new(), body.as_ref(), received_at())
}

/// What is reported.
pub(crate) fn reports(reading: Reading) -> Vec<Booking> {
    match reading {
        Reading::Reports(reports) => reports,
        other => panic!("no report: {other:?}"),
    }
}

/// The one appointment that is reported.
pub(crate) fn booking(reading: Reading) -> Booking {
    let mut reports = reports(reading);
    assert_eq!(reports.len(), 1, "{reports:?}");
    reports.remove(0)
}

/// Why nothing is reported.
pub(crate) fn reason(reading: Reading) -> NothingBecause {
    match reading {
        Reading::Nothing(reason) => reason,
        other => panic!("not nothing: {other:?}"),
    }
}

/// The number of the one who takes part.
pub(crate) fn phone(booking: &Booking) -> &str {
    let attendees = &booking.details.as_ref().unwrap().attendees;
    assert_eq!(attendees.len(), 1, "{attendees:?}");
    attendees[0].phone.expose()
}

fn of(system: &str) -> String {
    format!("bookings/{system}")
}

/// A sample's body as JSON, to be changed.
pub(crate) fn sample(system: &str, case: &str) -> Value {
    events::json(&of(system), case)
}

/// A sample's body with other members at the top of one of its objects.
pub(crate) fn changed(system: &str, case: &str, object: &str, members: &Value) -> String {
    let mut body = sample(system, case);
    let object = body.pointer_mut(object).unwrap();
    for (name, value) in members.as_object().unwrap() {
        object[name] = value.clone();
    }
    body.to_string()
}

/// The sample of what Acuity answers.
pub(crate) fn acuity_answer() -> Value {
    sample("acuity", "_appointment.response")
}

/// The reading, completed with what the booking systems' samples answer.
fn completed(calendar: &str, reading: Reading, answer: &[u8]) -> Reading {
    let config = config();
    match reading {
        Reading::ReadBack(what) => {
            complete(what, &Answer::Found(answer.to_vec()), received_at(), &config.calendars[calendar], config)
        }
        other => other,
    }
}

struct Case {
    calendar: &'static str,
    headers: HeaderMap,
    secret: Secret,
    now: Timestamp,
    sample: events::Case,
}

impl Deref for Case {
    type Target = events::Case;

    fn deref(&self) -> &events::Case {
        &self.sample
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (system, calendar) in SYSTEMS {
        for sample in events::cases(&of(system)) {
            let headers = sample
                .headers
                .iter()
                .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()));
            cases.push(Case {
                calendar,
                headers: headers.collect(),
                secret: Secret::new(sample.auth["secret"].as_str().unwrap()),
                now: sample.auth["now"].as_i64().map_or(received_at(), |now| Timestamp::from_second(now).unwrap()),
                sample,
            });
        }
    }
    cases
}

impl Case {
    /// What is behind the door; none if it stays outside or only knocks.
    fn verified<'a>(&'a self, config: &'a ClientConfig) -> Result<Option<Verified<'a>>, String> {
        let proof = Proof::of_calendar(&config.calendars[self.calendar]).unwrap();
        let unverified = Unverified { headers: &self.headers, body: &self.body };
        match verify(self.calendar, proof, &self.secret, unverified, self.now) {
            Ok(Checked::Verified(verified)) => Ok(Some(verified)),
            Ok(Checked::Ping) => Ok(None),
            Err(refusal) => Err(refusal.to_string()),
        }
    }

    /// As it is read from the inbox.
    fn read(&self) -> Reading {
        let config = config();
        let headers = self.verified(config).unwrap().map(|verified| verified.headers).unwrap_or_default();
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        read(&config.calendars[self.calendar], config, &headers, &self.body, received_at())
    }

    fn check(&self, reports: &[Booking]) {
        let name = &self.title();
        let (booking, before) = reports.split_last().unwrap();
        if self.fact("kind") == Some("appointment.reschedule_old_half") {
            assert_eq!((booking.kind, booking.standing), (Kind::MovedAway, Standing::Moved), "{name}");
            assert_eq!(self.facts["must_not_message"], json!(true), "{name}");
        } else {
            assert_eq!(Some(booking.kind.name()), self.fact("kind"), "{name}");
            let cancelled = booking.kind == Kind::Cancelled;
            assert_eq!(booking.standing, if cancelled { Standing::Cancelled } else { Standing::Booked }, "{name}");
        }
        assert_eq!(Some(&*booking.id), self.fact("entity_id"), "{name}");
        assert_eq!(booking.previous_id.as_deref(), self.fact("previous_entity_id"), "{name}");
        let old: Vec<_> = before.iter().map(|old| (Some(&*old.id), old.standing)).collect();
        match self.fact("previous_entity_id") {
            Some(previous) => assert_eq!(old, [(Some(previous), Standing::Moved)], "{name}"),
            None => assert!(old.is_empty(), "{name}: {old:?}"),
        }
        if let Some(occurred_at) = self.fact("occurred_at") {
            assert_eq!(booking.occurred_at, at(occurred_at), "{name}");
        }
        if let Some(start) = self.fact("starts_at") {
            assert_eq!(booking.details.as_ref().unwrap().start, at(start), "{name}");
        }
        if let Some(zone) = self.fact("timezone") {
            assert_eq!(booking.details.as_ref().unwrap().zone, zone, "{name}");
        }
        if let Some(number) = self.fact("phone_e164") {
            let attendee = &booking.details.as_ref().unwrap().attendees[0];
            assert_eq!((phone(booking), attendee.name.as_deref()), (number, self.fact("customer_name")), "{name}");
            assert_eq!(attendee.locale.as_deref(), self.fact("locale"), "{name}");
            assert_eq!(booking.unreachable, None, "{name}");
        }
    }
}

#[test]
fn every_sample_is_believed_or_refused_as_its_manifest_says() {
    let config = config();
    for case in cases() {
        let verified = case.verified(config);
        assert_eq!(verified.is_ok(), case.facts["verify"] == json!(true), "{}: {verified:?}", case.title());
        let Ok(verified) = verified else { continue };
        assert_eq!(verified.is_none(), case.fact("kind") == Some("handshake"), "{}", case.title());
        if let (Some(verified), Some(id)) = (verified, case.fact("delivery_id")) {
            assert_eq!(verified.delivery_id, id, "{}", case.title());
        }
    }
}

#[test]
fn every_sample_says_what_its_manifest_says() {
    let mut said = 0;
    // What stays at the door is never read.
    let read = |case: &Case| case.facts["verify"] == json!(true) && case.fact("kind") != Some("handshake");
    for case in cases().into_iter().filter(read) {
        let name = &case.title();
        match (case.read(), case.fact("kind").unwrap()) {
            (Reading::Reports(reports), _) => {
                said += 1;
                assert_eq!(case.fact("needs_lookup"), None, "{name}");
                case.check(&reports);
            }
            (Reading::ReadBack(what), kind) => {
                said += 1;
                let (asked, id) = match &what {
                    ReadBack::Acuity { appointment_id, kind } => {
                        assert_eq!(Some(kind.name()), case.fact("kind"), "{name}");
                        ("GET /api/v1/appointments/{id}", appointment_id)
                    }
                    ReadBack::Square { booking, .. } => {
                        assert_eq!(booking.kind.name(), kind, "{name}");
                        assert_eq!(booking.details.as_ref().unwrap().start, at(case.fact("starts_at").unwrap()));
                        ("GET /v2/customers/{id}", &booking.id)
                    }
                };
                assert_eq!(case.fact("needs_lookup"), Some(asked), "{name}");
                assert_eq!(case.fact("entity_id"), Some(&**id), "{name}");
            }
            (Reading::SyncFeed, kind) => {
                said += 1;
                assert_eq!(kind, "calendar.changed", "{name}");
            }
            (Reading::Nothing(NothingBecause::Ping), "ping") => {}
            (other, kind) => panic!("{name}: {kind} is read as {other:?}"),
        }
    }
    assert!(said >= 15, "only {said} samples say something");
}

#[test]
fn the_halves_of_a_move_name_each_other() {
    let cases = cases();
    for old in cases.iter().filter(|case| case.fact("new_entity_id").is_some()) {
        let new = cases.iter().find(|new| new.fact("entity_id") == old.fact("new_entity_id")).unwrap();
        let (old, new) = (booking(old.read()), reports(new.read()));
        assert_eq!(new.iter().map(|new| &new.id).next(), Some(&old.id));
        assert_eq!(new.last().unwrap().previous_id, Some(old.id));
    }
}

#[test]
fn no_sample_is_left_unread() {
    for (system, _) in SYSTEMS {
        let besides: &[&str] = match system {
            // Completes the deliveries of Acuity, here and in `read_back`.
            "acuity" => &["_appointment.response.json"],
            // An answer of Google's events API. Nobody asks that API: a push notification makes us ask for the calendar's
            // feed, whose sample is in `ics`. Kept as the record of what the API would say.
            "google_calendar" => &["_events_list.response.json"],
            _ => &[],
        };
        events::assert_all_listed(&of(system), besides);
    }
    let known: Vec<&str> = SYSTEMS.iter().map(|(system, _)| *system).chain(["ics"]).collect();
    events::assert_all_known("bookings", &known);
}

#[test]
fn bodies_that_are_not_understood_are_quoted_by_nobody() {
    let bodies: [&[u8]; 6] = [
        b"",
        b"{\"payload\":\"secret-5\"",
        b"{\"triggerEvent\":\"\xff\"}",
        b"[\"secret-5\"]",
        b"{\"triggerEvent\":\"BOOKING_CREATED\",\"event\":\"invitee.created\",\"payload\":\"secret-5\",\"data\":\"secret-5\"}",
        b"action=scheduled&i=secret-5",
    ];
    for body in bodies {
        for (_, calendar) in SYSTEMS.into_iter().filter(|(_, calendar)| *calendar != "google") {
            let reason = reason(read_as(calendar, body));
            assert_eq!(reason.code(), "not-understood", "{calendar}: {body:?}");
            assert!(reason.needs_attention() && !format!("{reason} {reason:?}").contains("secret"), "{reason}");
        }
    }
}

#[test]
fn a_configured_zone_is_the_appointments_and_an_attendee_keeps_their_own() {
    let client = CLIENT.replace("kind = \"calcom\"\n", "kind = \"calcom\"\ntime_zone = \"Europe/London\"\n");
    let config = ClientConfig::parse(&client).unwrap();
    let body = sample("calcom", "booking_created").to_string();
    let details = booking(read_for(&config, "clinic", body)).details.unwrap();
    assert_eq!((&*details.zone, details.attendees[0].zone.as_deref()), ("Europe/London", Some("Asia/Jerusalem")));
}

#[test]
fn a_number_without_a_prefix_is_of_the_calendars_country() {
    let client = CLIENT.replace("kind = \"calcom\"\n", "kind = \"calcom\"\ncountry = \"US\"\n");
    let config = ClientConfig::parse(&client).unwrap();
    let mut body = sample("calcom", "booking_created");
    body["payload"]["responses"]["attendeePhoneNumber"]["value"] = json!("(202) 555-0123");
    assert_eq!(phone(&booking(read_for(&config, "clinic", body.to_string()))), "+12025550123");
}

fn check_promises(reading: &Reading) {
    let shown = format!("{reading:?}");
    let bookings = match reading {
        Reading::Reports(reports) => reports.as_slice(),
        Reading::ReadBack(ReadBack::Square { booking, customer_id }) => {
            assert!(!customer_id.is_empty() && booking.details.is_some());
            std::slice::from_ref(&**booking)
        }
        Reading::ReadBack(ReadBack::Acuity { appointment_id, .. }) => {
            assert!(!appointment_id.is_empty());
            return;
        }
        Reading::SyncFeed => return,
        Reading::Nothing(reason) => {
            assert!(!reason.code().is_empty() && !reason.to_string().is_empty());
            return;
        }
    };
    assert!(!bookings.is_empty());
    for (at, booking) in bookings.iter().enumerate() {
        let ended = booking.standing.is_over();
        assert!(ended || booking.details.is_some(), "an appointment that takes place without a start: {shown}");
        assert!(!booking.id.is_empty());
        assert!(booking.occurred_at <= received_at() + SignedDuration::from_mins(10));
        if let Some(previous) = &booking.previous_id {
            let old = bookings[..at].iter().find(|old| old.id == *previous).unwrap();
            assert!(old.standing == Standing::Moved && *previous != booking.id, "{shown}");
        }
        let Some(details) = &booking.details else { continue };
        assert!(TimeZone::get(&details.zone).is_ok());
        assert!(booking.unreachable.is_none() || details.attendees.is_empty());
        if !ended && matches!(reading, Reading::Reports(_)) {
            assert_eq!(booking.unreachable.is_some(), details.attendees.is_empty(), "{shown}");
        }
        assert!(
            details.place.as_deref().is_none_or(|place| !place.contains("://") && !place.contains("integrations:"))
        );
        // An id is shown, whatever it is.
        let beside_ids = bookings.iter().fold(shown.clone(), |shown, booking| {
            let shown = shown.replace(&booking.id, "");
            booking.previous_id.iter().fold(shown, |shown, id| shown.replace(id, ""))
        });
        for attendee in &details.attendees {
            let names_itself = beside_ids.contains(attendee.phone.expose());
            assert!(!names_itself, "{shown}");
            assert!(attendee.zone.as_deref().is_none_or(|zone| TimeZone::get(zone).is_ok()));
        }
    }
}

/// Reads under every calendar, and completes what has to be read back with the same bytes.
fn check_everywhere(body: &[u8]) {
    for (_, calendar) in SYSTEMS {
        let reading = read_as(calendar, body);
        check_promises(&reading);
        check_promises(&completed(calendar, reading, body));
    }
    let square = read_as("salon", sample("square", "booking_created").to_string());
    check_promises(&completed("salon", square, body));
    let acuity = read_as("acuity", "action=scheduled&id=1126438001");
    check_promises(&completed("acuity", acuity, body));
}

fn bodies() -> &'static [Vec<u8>] {
    static BODIES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let answers = [acuity_answer().to_string(), crate::read_back::tests::customer(&json!({})).to_string()];
        cases()
            .into_iter()
            .map(|case| case.sample.body)
            .filter(|body| !body.is_empty())
            .chain(answers.map(Into::into))
            .collect()
    });
    &BODIES
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn torn_bytes_never_make_it_panic_or_promise_too_much(body in events::torn(bodies())) {
        check_everywhere(&body);
    }

    #[test]
    fn any_value_in_any_place_never_makes_it_panic_or_promise_too_much(
        which in any::<prop::sample::Index>(),
        at in 0_usize..150,
        with in prop::sample::select(vec![
            "null", "[]", "{}", "\"\"", "true", "-1", "1e400", "\"1.0E+6\"", "\"<b>\\u202e&amp;\"", "[null]", "[[{}]]",
            "\"99999-12-31T23:59:60Z\"", "\"http://x.example/\"", "123456789012345678901234567890", "{\"a\":{\"b\":[]}}",
            "\"CANCELLED\"", "\"PENDING\"", "\"Etc/Unknown\"", "\"2026-11-24\"", "\"+972545550199\"",
        ]),
    ) {
        let body: &Vec<u8> = which.get(bodies());
        if let Some(body) = events::with_value(body, at, with) {
            check_everywhere(body.as_bytes());
        }
    }

    #[test]
    fn any_bytes_never_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        check_everywhere(&body);
    }

    #[test]
    fn an_id_of_any_length_stays_the_digits_it_was_written_as(id in "[1-9][0-9]{16,38}") {
        let raw = |mut sample: Value, pointer: &str| {
            *sample.pointer_mut(pointer).unwrap() = json!("@@");
            sample.to_string().replace("\"@@\"", &id)
        };
        let ours = raw(sample("standardwebhooks", "appointment_booked"), "/data/id");
        prop_assert_eq!(&booking(read_as("crm", ours)).id, &id);
        let calcom = raw(sample("calcom", "booking_created"), "/payload/uid");
        prop_assert_eq!(&booking(read_as("clinic", calcom)).id, &id);
        let square = raw(sample("square", "booking_created"), "/data/object/booking/id");
        let Reading::ReadBack(ReadBack::Square { booking, .. }) = read_as("salon", square) else { panic!() };
        prop_assert_eq!(&booking.id, &id);
        let form = read_as("acuity", format!("action=changed&id={id}"));
        let Reading::ReadBack(ReadBack::Acuity { appointment_id, .. }) = &form else { panic!() };
        prop_assert_eq!(appointment_id, &id);
        let answer = raw(acuity_answer(), "/id");
        prop_assert_eq!(&crate::samples::booking(completed("acuity", form, answer.as_bytes())).id, &id);
    }

    #[test]
    fn a_pointer_of_a_custom_sender_leads_through_any_names(
        keys in prop::collection::vec("[ab~/0]{1,3}", 1..4),
        id in "[a-z]{1,8}",
    ) {
        let mut document = json!(id);
        let mut pointer = String::new();
        for key in keys.iter().rev() {
            document = json!({ key: document });
            pointer = format!("/{}{pointer}", key.replace('~', "~0").replace('/', "~1"));
        }
        let client = CLIENT.replace("\"/data/id\"", &format!("\"/data/id{pointer}\""));
        let mut body = sample("standardwebhooks", "appointment_booked");
        body["data"]["id"] = document;
        let CalendarKind::Custom { fields, .. } = &ClientConfig::parse(&client).unwrap().calendars["crm"].kind else { panic!() };
        prop_assert!(fields.id.as_str().ends_with(&pointer));
        prop_assert_eq!(booking(read_for(&ClientConfig::parse(&client).unwrap(), "crm", body.to_string())).id, id);
    }
}
