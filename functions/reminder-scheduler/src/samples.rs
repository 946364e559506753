//! Every sample delivery of `events/bookings`, verified, parsed and compared with the facts of its
//! manifest, and corrupted samples. Feeds (`ics`) have separate tests.
//!
//! Long because it compares every booking system with its manifest.

use std::{collections::BTreeMap, ops::Deref, sync::LazyLock};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use proptest::prelude::*;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tellonce_core::{
    appointment::{Appointment, AppointmentStatus, ReportResult},
    client_config::{CalcomCalendar, CalendarKind, ClientConfig},
    delivery::{Unverified, VerificationOutcome, Verified, verify_delivery},
    lookup::LookupResponse,
    secret::Secret,
};

use crate::{
    booking::{Booking, BookingEventKind, LookupRequest, ParsedBooking},
    booking_outcome::BookingSkipReason,
    booking_parser::{parse_booking, parse_booking_response},
};

/// A client with one calendar of each kind.
const CLIENT_TOML: &str = r#"
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
own_texts = true
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

/// The folder of samples and the calendar that they are delivered to.
const SENDER_CALENDARS: [(&str, &str); 7] = [
    ("calcom", "clinic"),
    ("calendly", "intro"),
    ("acuity", "acuity"),
    ("square", "salon"),
    ("google_calendar", "google"),
    ("standardwebhooks", "crm"),
    ("static_header", "n8n"),
];

pub(crate) fn sample_config() -> &'static ClientConfig {
    static CONFIG: LazyLock<ClientConfig> = LazyLock::new(|| ClientConfig::parse(CLIENT_TOML).unwrap());
    &CONFIG
}

/// When the deliveries of the tests are received: later than every time in the samples.
pub(crate) fn received_at() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

pub(crate) fn parse_time(time: &str) -> Timestamp {
    time.parse().unwrap()
}

/// Parses a body as a delivery to one of the client's calendars.
pub(crate) fn parse_as(calendar: &str, body: impl AsRef<[u8]>) -> ParsedBooking {
    parse_with_config(sample_config(), calendar, body)
}

pub(crate) fn parse_with_config(config: &ClientConfig, calendar: &str, body: impl AsRef<[u8]>) -> ParsedBooking {
    parse_booking(&config.calendars[calendar], config, &BTreeMap::new(), body.as_ref(), received_at())
}

pub(crate) fn expect_bookings(parsed: ParsedBooking) -> Vec<Booking> {
    match parsed {
        ParsedBooking::Bookings(bookings) => bookings,
        other => panic!("expected bookings: {other:?}"),
    }
}

pub(crate) fn expect_booking(parsed: ParsedBooking) -> Booking {
    let mut bookings = expect_bookings(parsed);
    assert_eq!(bookings.len(), 1, "{bookings:?}");
    bookings.remove(0)
}

pub(crate) fn expect_skip(parsed: ParsedBooking) -> BookingSkipReason {
    match parsed {
        ParsedBooking::Skipped(reason) => reason,
        other => panic!("expected a skipped delivery: {other:?}"),
    }
}

/// The number of the only attendee.
pub(crate) fn only_phone(booking: &Booking) -> &str {
    let attendees = &booking.details.as_ref().unwrap().attendees;
    assert_eq!(attendees.len(), 1, "{attendees:?}");
    attendees[0].phone.expose()
}

fn sample_folder(system: &str) -> String {
    format!("bookings/{system}")
}

/// A sample's body as JSON.
pub(crate) fn sample_json(system: &str, case: &str) -> Value {
    tellonce_samples::read_sample_json(&format!("{}/{case}.json", sample_folder(system)))
}

/// A sample's body with changed members in one of its objects.
pub(crate) fn changed_sample(system: &str, case: &str, object: &str, members: &Value) -> String {
    let mut body = sample_json(system, case);
    let object = body.pointer_mut(object).unwrap();
    for (name, value) in members.as_object().unwrap() {
        object[name] = value.clone();
    }
    body.to_string()
}

/// The sample of Acuity's response.
pub(crate) fn acuity_response() -> Value {
    sample_json("acuity", "_appointment.response")
}

/// Square's response, with changed members.
pub(crate) fn square_customer(members: &Value) -> Value {
    let mut customer = json!({
        "id": "EX2QSVGTZN4K1E5QE1CBFNVQ8M", "created_at": "2026-03-23T20:21:54.859Z", "given_name": "Lior",
        "family_name": "Ben-Ami", "email_address": "lior@example.com", "phone_number": "+972-54-555-0199",
        "address": {"address_line_1": "1 Main St", "country": "IL"}, "version": 0,
    });
    for (name, value) in members.as_object().unwrap() {
        customer[name] = value.clone();
    }
    json!({ "customer": customer })
}

/// The parsed delivery, completed with `body` as the lookup's response.
fn complete_with_body(calendar: &str, parsed: ParsedBooking, body: &[u8]) -> ParsedBooking {
    let config = sample_config();
    match parsed {
        ParsedBooking::NeedsLookup(request) => parse_booking_response(
            request,
            &LookupResponse::Found(body.to_vec()),
            received_at(),
            &config.calendars[calendar],
            config,
        ),
        other => other,
    }
}

struct BookingSample {
    calendar: &'static str,
    headers: HeaderMap,
    secret: Secret,
    now: Timestamp,
    sample: tellonce_samples::SampleDelivery,
}

impl Deref for BookingSample {
    type Target = tellonce_samples::SampleDelivery;

    fn deref(&self) -> &tellonce_samples::SampleDelivery {
        &self.sample
    }
}

fn sample_cases() -> Vec<BookingSample> {
    let mut cases = Vec::new();
    for (system, calendar) in SENDER_CALENDARS {
        for sample in tellonce_samples::sample_deliveries(&sample_folder(system)) {
            cases.push(BookingSample {
                calendar,
                headers: tellonce_samples::build_header_map(&sample.headers),
                secret: Secret::new(sample.auth["secret"].as_str().unwrap()),
                now: sample.auth["now"].as_i64().map_or(received_at(), |now| Timestamp::from_second(now).unwrap()),
                sample,
            });
        }
    }
    cases
}

impl BookingSample {
    /// The verified delivery, `None` for a ping, or the text of the refusal.
    fn verify_sample<'a>(&'a self, config: &'a ClientConfig) -> Result<Option<Verified<'a>>, String> {
        let proof = config.calendars[self.calendar].kind.proof().unwrap();
        let unverified = Unverified { headers: &self.headers, body: &self.body };
        match verify_delivery(self.calendar, proof, &self.secret, unverified, self.now) {
            Ok(VerificationOutcome::Verified(verified)) => Ok(Some(verified)),
            Ok(VerificationOutcome::Ping) => Ok(None),
            Err(refusal) => Err(refusal.to_string()),
        }
    }

    /// The delivery, parsed as it is read from the inbox.
    fn parse_sample(&self) -> ParsedBooking {
        let config = sample_config();
        let headers = self.verify_sample(config).unwrap().map(|verified| verified.headers).unwrap_or_default();
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        parse_booking(&config.calendars[self.calendar], config, &headers, &self.body, received_at())
    }

    fn check_bookings(&self, bookings: &[Booking]) {
        let name = &self.full_name();
        let (booking, before) = bookings.split_last().unwrap();
        if self.text_fact("kind") == Some("appointment.reschedule_old_half") {
            assert_eq!(
                (booking.kind, booking.status),
                (BookingEventKind::MovedAway, AppointmentStatus::Moved),
                "{name}"
            );
            assert_eq!(self.facts["must_not_message"], json!(true), "{name}");
        } else {
            assert_eq!(Some(booking.kind.name()), self.text_fact("kind"), "{name}");
            let cancelled = booking.kind == BookingEventKind::Cancelled;
            assert_eq!(
                booking.status,
                if cancelled { AppointmentStatus::Cancelled } else { AppointmentStatus::Booked },
                "{name}"
            );
        }
        assert_eq!(Some(&*booking.id), self.text_fact("entity_id"), "{name}");
        assert_eq!(booking.previous_id.as_deref(), self.text_fact("previous_entity_id"), "{name}");
        let old: Vec<_> = before.iter().map(|old| (Some(&*old.id), old.status)).collect();
        match self.text_fact("previous_entity_id") {
            Some(previous) => assert_eq!(old, [(Some(previous), AppointmentStatus::Moved)], "{name}"),
            None => assert!(old.is_empty(), "{name}: {old:?}"),
        }
        if let Some(occurred_at) = self.text_fact("occurred_at") {
            assert_eq!(booking.occurred_at, parse_time(occurred_at), "{name}");
        }
        if let Some(start) = self.text_fact("starts_at") {
            assert_eq!(booking.details.as_ref().unwrap().start, parse_time(start), "{name}");
        }
        if let Some(zone) = self.text_fact("timezone") {
            assert_eq!(booking.details.as_ref().unwrap().zone, zone, "{name}");
        }
        if let Some(number) = self.text_fact("phone_e164") {
            let attendee = &booking.details.as_ref().unwrap().attendees[0];
            assert_eq!(
                (only_phone(booking), attendee.name.as_deref()),
                (number, self.text_fact("customer_name")),
                "{name}"
            );
            assert_eq!(attendee.locale.as_deref(), self.text_fact("locale"), "{name}");
            assert_eq!(booking.unreachable_reason, None, "{name}");
        }
    }
}

/// The unusual deliveries of Cal.com.
const UNUSUAL_CALCOM: &str = "unusual/calcom";

/// The header after the unusual deliveries up to this one.
fn header_after(case: &tellonce_samples::SampleDelivery, config: &ClientConfig) -> Option<Appointment> {
    let mut deliveries = tellonce_samples::sample_deliveries(UNUSUAL_CALCOM);
    deliveries.retain(|other| other.name == case.name || Some(&*other.name) == case.text_fact("follows"));
    let mut header = None;
    for delivery in deliveries {
        let booking = expect_booking(parse_with_config(config, "clinic", &delivery.body));
        assert_eq!(Some(&*booking.id), delivery.text_fact("entity_id"), "{}", delivery.name);
        assert_eq!(Some(booking.kind.name()), delivery.text_fact("kind"), "{}", delivery.name);
        let report = booking.to_report("clinic", &config.calendars["clinic"], &delivery.name, None);
        let result = Appointment::apply_report(header.as_ref(), &report, received_at());
        let reason = booking.unreachable_reason.map(|reason| reason.after_report(&result).code());
        assert_eq!(
            reason,
            delivery.text_fact("outcome").or(delivery.text_fact("without_question")),
            "{}",
            delivery.name
        );
        if let ReportResult::Updated(updated) = result {
            header = Some(*updated);
        }
    }
    header
}

#[test]
fn every_unusual_delivery_of_calcom_gives_the_facts_of_its_manifest() {
    let config = sample_config();
    for case in tellonce_samples::sample_deliveries(UNUSUAL_CALCOM) {
        let (name, headers) = (&case.name, tellonce_samples::build_header_map(&case.headers));
        let secret = Secret::new(case.auth["secret"].as_str().unwrap());
        let unverified = Unverified { headers: &headers, body: &case.body };
        let proof = config.calendars["clinic"].kind.proof().unwrap();
        assert!(verify_delivery("clinic", proof, &secret, unverified, received_at()).is_ok(), "{name}");
        let header = header_after(&case, config).unwrap();
        if let Some(status) = case.text_fact("status") {
            assert_eq!(header.status.name(), status, "{name}");
        }
        let attending = header.attendees.iter().find(|entry| entry.attending);
        assert_eq!(
            attending.and_then(|entry| entry.attendee()).map(|attendee| attendee.phone.expose()),
            case.text_fact("phone_e164"),
            "{name}"
        );
        for (question, number) in case.facts["phone_question"].as_object().into_iter().flatten() {
            let mut config = config.clone();
            config.calendars.get_mut("clinic").unwrap().kind =
                CalendarKind::CalCom(CalcomCalendar { phone_question: Some(question.clone()) });
            let booking = expect_booking(parse_with_config(&config, "clinic", &case.body));
            let attendees = booking.details.unwrap().attendees;
            let number = number.as_str();
            assert_eq!(attendees.first().map(|attendee| attendee.phone.expose()), number, "{name}: {question}");
        }
    }
    tellonce_samples::assert_all_files_listed(UNUSUAL_CALCOM, &[]);
}

#[test]
fn every_sample_is_verified_or_refused_as_its_manifest_states() {
    let config = sample_config();
    for case in sample_cases() {
        let verified = case.verify_sample(config);
        assert_eq!(verified.is_ok(), case.facts["verify"] == json!(true), "{}: {verified:?}", case.full_name());
        let Ok(verified) = verified else { continue };
        assert_eq!(verified.is_none(), case.text_fact("kind") == Some("handshake"), "{}", case.full_name());
        if let (Some(verified), Some(id)) = (verified, case.text_fact("delivery_id")) {
            assert_eq!(verified.delivery_id, id, "{}", case.full_name());
        }
    }
}

#[test]
fn every_sample_parses_to_the_facts_of_its_manifest() {
    let mut parsed_count = 0;
    // Refused deliveries and handshakes are never parsed.
    let is_parsed =
        |case: &BookingSample| case.facts["verify"] == json!(true) && case.text_fact("kind") != Some("handshake");
    for case in sample_cases().into_iter().filter(is_parsed) {
        let name = &case.full_name();
        match (case.parse_sample(), case.text_fact("kind").unwrap()) {
            (ParsedBooking::Bookings(bookings), _) => {
                parsed_count += 1;
                assert_eq!(case.text_fact("needs_lookup"), None, "{name}");
                case.check_bookings(&bookings);
            }
            (ParsedBooking::NeedsLookup(request), kind) => {
                parsed_count += 1;
                let (expected_lookup, id) = match &request {
                    LookupRequest::Acuity { appointment_id, kind } => {
                        assert_eq!(Some(kind.name()), case.text_fact("kind"), "{name}");
                        ("GET /api/v1/appointments/{id}", appointment_id)
                    }
                    LookupRequest::Square { booking, .. } => {
                        assert_eq!(booking.kind.name(), kind, "{name}");
                        assert_eq!(
                            booking.details.as_ref().unwrap().start,
                            parse_time(case.text_fact("starts_at").unwrap())
                        );
                        ("GET /v2/customers/{id}", &booking.id)
                    }
                };
                assert_eq!(case.text_fact("needs_lookup"), Some(expected_lookup), "{name}");
                assert_eq!(case.text_fact("entity_id"), Some(&**id), "{name}");
            }
            (ParsedBooking::SyncFeed, kind) => {
                parsed_count += 1;
                assert_eq!(kind, "calendar.changed", "{name}");
            }
            (ParsedBooking::Skipped(BookingSkipReason::Ping), "ping") => {}
            (other, kind) => panic!("{name}: {kind} is parsed as {other:?}"),
        }
    }
    assert!(parsed_count >= 15, "only {parsed_count} samples report something");
}

#[test]
fn both_deliveries_of_a_move_reference_each_other() {
    let cases = sample_cases();
    for old in cases.iter().filter(|case| case.text_fact("new_entity_id").is_some()) {
        let new = cases.iter().find(|new| new.text_fact("entity_id") == old.text_fact("new_entity_id")).unwrap();
        let (old, new) = (expect_booking(old.parse_sample()), expect_bookings(new.parse_sample()));
        assert_eq!(new.iter().map(|new| &new.id).next(), Some(&old.id));
        assert_eq!(new.last().unwrap().previous_id, Some(old.id));
    }
}

#[test]
fn every_sample_file_is_tested() {
    for (system, _) in SENDER_CALENDARS {
        let response_files: &[&str] = match system {
            // Completes the deliveries of Acuity, here and in `lookup`.
            "acuity" => &["_appointment.response.json"],
            // A response of Google's events API, stored as a record. tellonce does not call that
            // API: a push notification makes it read the calendar's feed, whose sample is in `ics`.
            "google_calendar" => &["_events_list.response.json"],
            _ => &[],
        };
        tellonce_samples::assert_all_files_listed(&sample_folder(system), response_files);
    }
    let known: Vec<&str> = SENDER_CALENDARS.iter().map(|(system, _)| *system).chain(["ics"]).collect();
    tellonce_samples::assert_all_folders_known("bookings", &known);
}

#[test]
fn bodies_that_are_not_understood_are_never_quoted() {
    let bodies: [&[u8]; 6] = [
        b"",
        b"{\"payload\":\"secret-5\"",
        b"{\"triggerEvent\":\"\xff\"}",
        b"[\"secret-5\"]",
        b"{\"triggerEvent\":\"BOOKING_CREATED\",\"event\":\"invitee.created\",\"payload\":\"secret-5\",\"data\":\"secret-5\"}",
        b"action=scheduled&i=secret-5",
    ];
    for body in bodies {
        for (_, calendar) in SENDER_CALENDARS.into_iter().filter(|(_, calendar)| *calendar != "google") {
            let reason = expect_skip(parse_as(calendar, body));
            assert_eq!(reason.code(), "not-understood", "{calendar}: {body:?}");
            assert!(reason.needs_attention() && !format!("{reason} {reason:?}").contains("secret"), "{reason}");
        }
    }
}

#[test]
fn a_configured_zone_applies_to_the_appointment_and_attendees_have_their_own() {
    let client = CLIENT_TOML.replace("kind = \"calcom\"\n", "kind = \"calcom\"\ntime_zone = \"Europe/London\"\n");
    let config = ClientConfig::parse(&client).unwrap();
    let body = sample_json("calcom", "booking_created").to_string();
    let details = expect_booking(parse_with_config(&config, "clinic", body)).details.unwrap();
    assert_eq!((&*details.zone, details.attendees[0].zone.as_deref()), ("Europe/London", Some("Asia/Jerusalem")));
}

#[test]
fn a_number_without_a_prefix_belongs_to_the_calendars_country() {
    let client = CLIENT_TOML.replace("kind = \"calcom\"\n", "kind = \"calcom\"\ncountry = \"US\"\n");
    let config = ClientConfig::parse(&client).unwrap();
    let mut body = sample_json("calcom", "booking_created");
    body["payload"]["responses"]["attendeePhoneNumber"]["value"] = json!("(202) 555-0123");
    assert_eq!(only_phone(&expect_booking(parse_with_config(&config, "clinic", body.to_string()))), "+12025550123");
}

fn check_promises(parsed: &ParsedBooking) {
    let text = format!("{parsed:?}");
    let bookings = match parsed {
        ParsedBooking::Bookings(bookings) => bookings.as_slice(),
        ParsedBooking::NeedsLookup(LookupRequest::Square { booking, customer_id }) => {
            assert!(!customer_id.is_empty() && booking.details.is_some());
            std::slice::from_ref(&**booking)
        }
        ParsedBooking::NeedsLookup(LookupRequest::Acuity { appointment_id, .. }) => {
            assert!(!appointment_id.is_empty());
            return;
        }
        ParsedBooking::SyncFeed => return,
        ParsedBooking::Skipped(reason) => {
            assert!(!reason.code().is_empty() && !reason.to_string().is_empty());
            return;
        }
    };
    assert!(!bookings.is_empty());
    for (at, booking) in bookings.iter().enumerate() {
        let ended = booking.status.is_over();
        assert!(ended || booking.details.is_some(), "an appointment that takes place has no start: {text}");
        assert!(!booking.id.is_empty());
        assert!(booking.occurred_at <= received_at() + SignedDuration::from_mins(10));
        if let Some(previous) = &booking.previous_id {
            let old = bookings[..at].iter().find(|old| old.id == *previous).unwrap();
            assert!(old.status == AppointmentStatus::Moved && *previous != booking.id, "{text}");
        }
        let Some(details) = &booking.details else { continue };
        assert!(TimeZone::get(&details.zone).is_ok());
        assert!(booking.unreachable_reason.is_none() || details.attendees.is_empty());
        if !ended && matches!(parsed, ParsedBooking::Bookings(_)) {
            assert_eq!(booking.unreachable_reason.is_some(), details.attendees.is_empty(), "{text}");
        }
        assert!(
            details.place.as_deref().is_none_or(|place| !place.contains("://") && !place.contains("integrations:"))
        );
        // `Debug` shows ids, which may contain any text.
        let text_without_ids = bookings.iter().fold(text.clone(), |text, booking| {
            let text = text.replace(&booking.id, "");
            booking.previous_id.iter().fold(text, |text, id| text.replace(id, ""))
        });
        for attendee in &details.attendees {
            assert!(!text_without_ids.contains(attendee.phone.expose()), "{text}");
            assert!(attendee.zone.as_deref().is_none_or(|zone| TimeZone::get(zone).is_ok()));
        }
    }
}

/// Parses a body for every calendar, and uses the same bytes as the response of each lookup.
fn check_all_calendars(body: &[u8]) {
    for (_, calendar) in SENDER_CALENDARS {
        let parsed = parse_as(calendar, body);
        check_promises(&parsed);
        check_promises(&complete_with_body(calendar, parsed, body));
    }
    let square = parse_as("salon", sample_json("square", "booking_created").to_string());
    check_promises(&complete_with_body("salon", square, body));
    let acuity = parse_as("acuity", "action=scheduled&id=1126438001");
    check_promises(&complete_with_body("acuity", acuity, body));
}

fn sample_bodies() -> &'static [Vec<u8>] {
    static BODIES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let responses = [acuity_response().to_string(), square_customer(&json!({})).to_string()];
        sample_cases()
            .into_iter()
            .map(|case| case.sample.body)
            .filter(|body| !body.is_empty())
            .chain(responses.map(Into::into))
            .collect()
    });
    &BODIES
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn corrupted_bodies_never_panic_or_break_the_promises(body in tellonce_samples::corrupted_body(sample_bodies())) {
        check_all_calendars(&body);
    }

    #[test]
    fn any_value_in_any_field_never_panics_or_breaks_the_promises(
        which in any::<prop::sample::Index>(),
        at in 0_usize..150,
        with in prop::sample::select(vec![
            "null", "[]", "{}", "\"\"", "true", "-1", "1e400", "\"1.0E+6\"", "\"<b>\\u202e&amp;\"", "[null]", "[[{}]]",
            "\"99999-12-31T23:59:60Z\"", "\"http://x.example/\"", "123456789012345678901234567890", "{\"a\":{\"b\":[]}}",
            "\"CANCELLED\"", "\"PENDING\"", "\"Etc/Unknown\"", "\"2026-11-24\"", "\"+972545550199\"",
        ]),
    ) {
        let body: &Vec<u8> = which.get(sample_bodies());
        if let Some(body) = tellonce_samples::replace_nth_value(body, at, with) {
            check_all_calendars(body.as_bytes());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        check_all_calendars(&body);
    }

    #[test]
    fn an_id_of_any_length_preserves_its_digits(id in "[1-9][0-9]{16,38}") {
        let raw = |mut sample: Value, pointer: &str| {
            *sample.pointer_mut(pointer).unwrap() = json!("@@");
            sample.to_string().replace("\"@@\"", &id)
        };
        let custom = raw(sample_json("standardwebhooks", "appointment_booked"), "/data/id");
        prop_assert_eq!(&expect_booking(parse_as("crm", custom)).id, &id);
        let calcom = raw(sample_json("calcom", "booking_created"), "/payload/uid");
        prop_assert_eq!(&expect_booking(parse_as("clinic", calcom)).id, &id);
        let square = raw(sample_json("square", "booking_created"), "/data/object/booking/id");
        let ParsedBooking::NeedsLookup(LookupRequest::Square { booking, .. }) = parse_as("salon", square) else { panic!() };
        prop_assert_eq!(&booking.id, &id);
        let form = parse_as("acuity", format!("action=changed&id={id}"));
        let ParsedBooking::NeedsLookup(LookupRequest::Acuity { appointment_id, .. }) = &form else { panic!() };
        prop_assert_eq!(appointment_id, &id);
        let response = raw(acuity_response(), "/id");
        prop_assert_eq!(&expect_booking(complete_with_body("acuity", form, response.as_bytes())).id, &id);
    }

    #[test]
    fn a_custom_senders_json_pointer_may_contain_any_key(
        keys in prop::collection::vec("[ab~/0]{1,3}", 1..4),
        id in "[a-z]{1,8}",
    ) {
        let mut document = json!(id);
        let mut pointer = String::new();
        for key in keys.iter().rev() {
            document = json!({ key: document });
            pointer = format!("/{}{pointer}", key.replace('~', "~0").replace('/', "~1"));
        }
        let client = CLIENT_TOML.replace("\"/data/id\"", &format!("\"/data/id{pointer}\""));
        let mut body = sample_json("standardwebhooks", "appointment_booked");
        body["data"]["id"] = document;
        let CalendarKind::Custom(custom) = &ClientConfig::parse(&client).unwrap().calendars["crm"].kind else { panic!() };
        prop_assert!(custom.fields.id.as_str().ends_with(&pointer));
        prop_assert_eq!(expect_booking(parse_with_config(&ClientConfig::parse(&client).unwrap(), "crm", body.to_string())).id, id);
    }
}
