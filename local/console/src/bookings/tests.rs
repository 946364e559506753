use std::sync::Arc;

use tellonce_core::delivery::Refusal;

use super::*;
use tellonce_fakes::services::FakeServices;

use crate::test_host::{IdleHost, body_json, demo_config, verify_post};

fn test_secret(name: &str) -> Option<String> {
    Some(match name.rsplit('/').next()? {
        "crm" => "whsec_c3RhbmRhcmQtd2ViaG9va3MtdGVzdC1zZWNyZXQtMDE=".to_owned(),
        "diary" if name.contains("/calendars/") => "https://calendar.example/secret/diary.ics".to_owned(),
        other => format!("test-secret-of-{other}"),
    })
}

fn parse_time(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn test_now() -> Timestamp {
    parse_time("2026-11-20T08:00:00Z")
}

/// The samples of a client, without a stack.
struct BookingSampleFixture {
    config: ClientConfig,
    calendars: FakeCalendars,
    samples: BookingSampleFactory,
    _folder: tempfile::TempDir,
}

impl BookingSampleFixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let services = Arc::new(FakeServices::new(Vec::new(), Arc::new(IdleHost)));
        let calendars = FakeCalendars::open(folder.path().join("feeds"), None, services).unwrap();
        Self { config: demo_config(), calendars, samples: BookingSampleFactory::default(), _folder: folder }
    }

    fn try_action(&self, name: &str, action: BookingAction, start: &str) -> anyhow::Result<DeliveryBatch> {
        let context = BookingSampleContext { config: &self.config, secret: &test_secret, calendars: &self.calendars };
        self.samples.apply_action(&context, name, action, parse_time(start), test_now())
    }

    fn apply_action(&self, name: &str, action: BookingAction, start: &str) -> Vec<WebhookPost> {
        self.try_action(name, action, start).unwrap().deliveries
    }

    /// Verifies a delivery as the receiver does.
    fn verify_delivery(&self, delivery: &WebhookPost) -> Result<(), Refusal> {
        let name = delivery.sender_name();
        let proof = self.config.calendars[name].kind.proof().unwrap();
        let secret = test_secret(&self.config.webhook_secret_name(name));
        verify_post(delivery, proof, secret, test_now()).map(drop)
    }

    /// The name of the calendar of this kind.
    fn calendar_of_kind(&self, kind: &str) -> String {
        let mut calendars = self.config.calendars.iter();
        calendars.find(|(_, calendar)| calendar.kind.facts().name == kind).unwrap().0.clone()
    }
}

const TUESDAY: &str = "2026-11-24T08:30:00Z";
const WEDNESDAY: &str = "2026-11-25T09:00:00Z";

#[test]
fn the_receiver_accepts_every_action_on_every_demo_calendar() {
    let fixture = BookingSampleFixture::new();
    for (name, calendar) in &fixture.config.calendars {
        for (action, start) in
            [(BookingAction::Book, TUESDAY), (BookingAction::Move, WEDNESDAY), (BookingAction::Cancel, TUESDAY)]
        {
            let deliveries = fixture.apply_action(name, action, start);
            assert_eq!(deliveries.is_empty(), calendar.kind.proof().is_none(), "{name}");
            for delivery in deliveries {
                assert_eq!(delivery.path, format!("/bookings/{name}"));
                assert_eq!(fixture.verify_delivery(&delivery), Ok(()), "{name} {action:?}");
            }
        }
    }
}

#[test]
fn a_cal_com_move_links_its_new_id_to_the_previous_one() {
    let fixture = BookingSampleFixture::new();
    let name = fixture.calendar_of_kind("calcom");
    let booked = body_json(&fixture.apply_action(&name, BookingAction::Book, TUESDAY)[0]);
    assert_eq!(
        (&booked["triggerEvent"], &booked["payload"]["startTime"]),
        (&json!("BOOKING_CREATED"), &json!(TUESDAY))
    );
    assert_eq!(
        (&booked["createdAt"], &booked["payload"]["endTime"]),
        (&json!("2026-11-20T08:00:00.000Z"), &json!("2026-11-24T09:00:00Z"))
    );
    let moved = body_json(&fixture.apply_action(&name, BookingAction::Move, WEDNESDAY)[0]);
    let payload = &moved["payload"];
    assert_eq!((&moved["triggerEvent"], &payload["startTime"]), (&json!("BOOKING_RESCHEDULED"), &json!(WEDNESDAY)));
    assert_eq!(
        (&payload["rescheduleUid"], &payload["rescheduleStartTime"]),
        (&booked["payload"]["uid"], &json!(TUESDAY))
    );
    assert_ne!(payload["uid"], booked["payload"]["uid"]);
    let cancelled = body_json(&fixture.apply_action(&name, BookingAction::Cancel, TUESDAY)[0]);
    assert_eq!(
        (&cancelled["payload"]["uid"], &cancelled["payload"]["startTime"]),
        (&payload["uid"], &json!(WEDNESDAY))
    );
    assert!(
        fixture.try_action(&name, BookingAction::Move, TUESDAY).is_err(),
        "there is no current appointment any more"
    );
}

#[test]
fn a_calendly_move_has_two_deliveries_in_either_order() {
    let fixture = BookingSampleFixture::new();
    let name = fixture.calendar_of_kind("calendly");
    let booked = body_json(&fixture.apply_action(&name, BookingAction::Book, TUESDAY)[0])["payload"].clone();
    assert_eq!(booked["scheduled_event"]["start_time"], "2026-11-24T08:30:00.000000Z");
    let mut first = std::collections::BTreeSet::new();
    let mut before = booked["uri"].clone();
    for round in 0..64 {
        let start = if round % 2 == 0 { WEDNESDAY } else { TUESDAY };
        let mut halves: Vec<Value> =
            fixture.apply_action(&name, BookingAction::Move, start).iter().map(body_json).collect();
        first.insert(halves[0]["event"].to_string());
        halves.sort_by_key(|half| half["event"].to_string());
        let [ended, begun] = halves.as_slice() else { panic!("two halves") };
        assert_eq!((&ended["event"], &ended["payload"]["rescheduled"]), (&json!("invitee.canceled"), &json!(true)));
        assert_eq!((&ended["payload"]["uri"], &begun["payload"]["old_invitee"]), (&before, &before));
        assert_eq!(ended["payload"]["new_invitee"], begun["payload"]["uri"]);
        assert_eq!(begun["payload"]["rescheduled"], false);
        before = begun["payload"]["uri"].clone();
    }
    assert_eq!(first.len(), 2, "each half is first at times");
    let cancelled = body_json(&fixture.apply_action(&name, BookingAction::Cancel, TUESDAY)[0]);
    assert_eq!((&cancelled["payload"]["uri"], &cancelled["payload"]["rescheduled"]), (&before, &json!(false)));
}

#[test]
fn acuity_posts_every_change_twice_and_serves_the_current_appointment() {
    let fixture = BookingSampleFixture::new();
    let name = fixture.calendar_of_kind("acuity");
    let booked = fixture.apply_action(&name, BookingAction::Book, TUESDAY);
    let id = booked[0].body_text().split("&id=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let actions = |deliveries: &[WebhookPost]| -> Vec<String> {
        assert!(deliveries.iter().all(|one| one.body_text().contains(&format!("&id={id}&"))));
        deliveries.iter().map(|one| one.body_text().split('&').next().unwrap().to_owned()).collect()
    };
    assert_eq!(actions(&booked), ["action=scheduled", "action=changed"]);
    let known = || fixture.calendars.find_appointment(id.parse().unwrap()).unwrap();
    assert_eq!((known().start, known().canceled), (parse_time(TUESDAY), false));
    assert_eq!(
        actions(&fixture.apply_action(&name, BookingAction::Move, WEDNESDAY)),
        ["action=rescheduled", "action=changed"]
    );
    assert_eq!((known().start, known().canceled), (parse_time(WEDNESDAY), false));
    assert_eq!(
        actions(&fixture.apply_action(&name, BookingAction::Cancel, TUESDAY)),
        ["action=canceled", "action=changed"]
    );
    assert_eq!((known().start, known().canceled), (parse_time(WEDNESDAY), true));
}

#[test]
fn square_counts_the_versions_of_a_booking() {
    let fixture = BookingSampleFixture::new();
    let name = fixture.calendar_of_kind("square");
    let parts = |delivery: &WebhookPost| {
        let event = body_json(delivery);
        let booking = event["data"]["object"]["booking"].clone();
        (
            event["type"].clone(),
            booking["id"].clone(),
            booking["version"].clone(),
            booking["status"].clone(),
            booking["start_at"].clone(),
        )
    };
    let booked = parts(&fixture.apply_action(&name, BookingAction::Book, TUESDAY)[0]);
    let id = booked.1.clone();
    assert_eq!(booked, (json!("booking.created"), id.clone(), json!(0), json!("ACCEPTED"), json!(TUESDAY)));
    let moved = parts(&fixture.apply_action(&name, BookingAction::Move, WEDNESDAY)[0]);
    assert_eq!(moved, (json!("booking.updated"), id.clone(), json!(1), json!("ACCEPTED"), json!(WEDNESDAY)));
    let cancelled = parts(&fixture.apply_action(&name, BookingAction::Cancel, TUESDAY)[0]);
    assert_eq!(cancelled, (json!("booking.updated"), id, json!(2), json!("CANCELLED_BY_CUSTOMER"), json!(WEDNESDAY)));
}

#[test]
fn a_custom_body_has_its_fields_where_the_client_config_says() {
    let fixture = BookingSampleFixture::new();
    let name = fixture.calendar_of_kind("custom");
    let CalendarKind::Custom(custom) = &fixture.config.calendars[&name].kind else { panic!("{name}") };
    let (fields, statuses) = (&custom.fields, &custom.statuses);
    let booked = body_json(&fixture.apply_action(&name, BookingAction::Book, TUESDAY)[0]);
    assert_eq!(fields.start.find_in(&booked).unwrap(), "2026-11-24T10:30:00+02:00");
    assert_eq!(fields.phone.find_in(&booked).unwrap(), PERSON.2);
    let status = fields.status.as_ref().unwrap();
    assert_eq!(statuses[status.find_in(&booked).unwrap().as_str().unwrap()], BookingStatus::Booked);
    let cancelled = body_json(&fixture.apply_action(&name, BookingAction::Cancel, TUESDAY)[0]);
    assert_eq!(fields.id.find_in(&cancelled), fields.id.find_in(&booked));
    assert_eq!(statuses[status.find_in(&cancelled).unwrap().as_str().unwrap()], BookingStatus::Cancelled);
}

#[test]
fn a_feed_event_is_written_where_the_client_rules_read() {
    let fixture = BookingSampleFixture::new();
    let name = fixture.calendar_of_kind("ics");
    let pushed = fixture.apply_action(&name, BookingAction::Book, TUESDAY);
    assert_eq!(pushed[0].header("x-goog-resource-state"), Some("exists"));
    let feed = || fixture.calendars.read_feed("diary.ics").unwrap().unwrap_or_default();
    assert!(feed().contains("SUMMARY:Consultation - Adi Sela\r\n"), "{}", feed());
    assert!(feed().contains("DESCRIPTION:Phone: +972 52-555-0164\r\n"), "{}", feed());
    assert!(feed().contains("DTSTART;TZID=Asia/Jerusalem:20261124T103000\r\n") && feed().contains("SEQUENCE:0\r\n"));
    fixture.apply_action(&name, BookingAction::Move, WEDNESDAY);
    assert!(feed().contains("DTSTART;TZID=Asia/Jerusalem:20261125T110000\r\n") && feed().contains("SEQUENCE:1\r\n"));
    assert_eq!(feed().matches("BEGIN:VEVENT").count(), 1);
    fixture.apply_action(&name, BookingAction::Cancel, TUESDAY);
    assert!(!feed().contains("BEGIN:VEVENT"));
    let mut texts = BTreeMap::new();
    put_text(&mut texts, &FeedTextRule { field: "X-Phone".to_owned(), after: Vec::new() }, "1");
    assert_eq!(texts, [("x-phone".to_owned(), "1".to_owned())].into());
}

#[test]
fn an_appointment_moves_to_the_given_time_or_one_day_later_if_unchanged() {
    let fixture = BookingSampleFixture::new();
    let name = fixture.calendar_of_kind("custom");
    assert!(
        fixture.try_action(&name, BookingAction::Cancel, TUESDAY).err().unwrap().to_string().contains("book one first")
    );
    assert!(
        fixture
            .try_action("missing", BookingAction::Book, TUESDAY)
            .err()
            .unwrap()
            .to_string()
            .contains("no calendar missing")
    );
    fixture.apply_action(&name, BookingAction::Book, TUESDAY);
    fixture.apply_action(&name, BookingAction::Move, TUESDAY);
    assert_eq!(fixture.samples.current_start(&name), Some(parse_time("2026-11-25T08:30:00Z")));
    let moved = fixture.try_action(&name, BookingAction::Move, WEDNESDAY).unwrap();
    assert_eq!(moved.about, format!("{name}: moved to Wed 25 Nov, 11:00"));
    fixture.apply_action(&name, BookingAction::Cancel, TUESDAY);
    assert_eq!(fixture.samples.current_start(&name), None);
}
