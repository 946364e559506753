use std::{path::PathBuf, sync::Arc};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use shared::{
    delivery::{Checked, Proof, Refusal, Unverified, verify},
    secret::Secret,
};

use super::*;
use crate::{clock::Clock, peers::Peers, secrets::Secrets};

fn demo() -> ClientConfig {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../clients/demo/client.toml");
    ClientConfig::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn secret_of(name: &str) -> Option<String> {
    Some(match name.rsplit('/').next()? {
        "crm" => "whsec_c3RhbmRhcmQtd2ViaG9va3MtdGVzdC1zZWNyZXQtMDE=".to_owned(),
        "diary" if name.contains("/calendars/") => "https://calendar.example/secret/diary.ics".to_owned(),
        other => format!("test-secret-of-{other}"),
    })
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-11-20T08:00:00Z")
}

/// A client's console at work, without a stack.
struct Fixture {
    config: ClientConfig,
    calendars: Calendars,
    book: BookingBook,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Clock::open(&folder.path().join("clock")).unwrap());
        let secrets = Arc::new(Secrets::parse("{}", clock).unwrap());
        let peers = Arc::new(Peers::new(Vec::new(), secrets));
        let calendars = Calendars::open(folder.path().join("feeds"), None, peers).unwrap();
        Self { config: demo(), calendars, book: BookingBook::default(), _folder: folder }
    }

    fn try_make(&self, name: &str, deed: Deed, start: &str) -> anyhow::Result<Batch> {
        let desk = Desk { config: &self.config, secret: &secret_of, calendars: &self.calendars };
        self.book.make(&desk, name, deed, at(start), now())
    }

    fn make(&self, name: &str, deed: Deed, start: &str) -> Vec<Delivery> {
        self.try_make(name, deed, start).unwrap().deliveries
    }

    /// What the receiver makes of a delivery.
    fn believed(&self, delivery: &Delivery) -> Result<(), Refusal> {
        let name = delivery.sender();
        let secret = Secret::new(secret_of(&self.config.webhook_secret(name)).unwrap());
        let pair = |(name, value): &(String, String)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        };
        let headers: HeaderMap = delivery.headers.iter().map(pair).collect();
        let unverified = Unverified { headers: &headers, body: delivery.body.as_bytes() };
        let proof = Proof::of_calendar(&self.config.calendars[name]).unwrap();
        match verify(name, proof, &secret, unverified, now())? {
            Checked::Verified(_) => Ok(()),
            Checked::Ping => panic!("a booking is no ping"),
        }
    }

    /// A calendar of this kind.
    fn calendar(&self, kind: &str) -> String {
        let mut calendars = self.config.calendars.iter();
        calendars.find(|(_, calendar)| calendar.kind.name() == kind).unwrap().0.clone()
    }
}

fn json_of(delivery: &Delivery) -> Value {
    serde_json::from_str(&delivery.body).unwrap()
}

const TUESDAY: &str = "2026-11-24T08:30:00Z";
const WEDNESDAY: &str = "2026-11-25T09:00:00Z";

#[test]
fn whatever_is_done_with_any_calendar_of_the_demo_is_believed_by_the_receiver() {
    let fixture = Fixture::new();
    for (name, calendar) in &fixture.config.calendars {
        for (deed, start) in [(Deed::Book, TUESDAY), (Deed::Move, WEDNESDAY), (Deed::Cancel, TUESDAY)] {
            let deliveries = fixture.make(name, deed, start);
            assert_eq!(deliveries.is_empty(), !calendar.kind.posts(), "{name}");
            for delivery in deliveries {
                assert_eq!(delivery.path, format!("/bookings/{name}"));
                assert_eq!(fixture.believed(&delivery), Ok(()), "{name} {deed:?}");
            }
        }
    }
}

#[test]
fn a_move_of_cal_com_points_from_a_new_id_to_the_one_in_hand() {
    let fixture = Fixture::new();
    let name = fixture.calendar("calcom");
    let booked = json_of(&fixture.make(&name, Deed::Book, TUESDAY)[0]);
    assert_eq!(
        (&booked["triggerEvent"], &booked["payload"]["startTime"]),
        (&json!("BOOKING_CREATED"), &json!(TUESDAY))
    );
    assert_eq!(
        (&booked["createdAt"], &booked["payload"]["endTime"]),
        (&json!("2026-11-20T08:00:00.000Z"), &json!("2026-11-24T09:00:00Z"))
    );
    let moved = json_of(&fixture.make(&name, Deed::Move, WEDNESDAY)[0]);
    let payload = &moved["payload"];
    assert_eq!((&moved["triggerEvent"], &payload["startTime"]), (&json!("BOOKING_RESCHEDULED"), &json!(WEDNESDAY)));
    assert_eq!(
        (&payload["rescheduleUid"], &payload["rescheduleStartTime"]),
        (&booked["payload"]["uid"], &json!(TUESDAY))
    );
    assert_ne!(payload["uid"], booked["payload"]["uid"]);
    let cancelled = json_of(&fixture.make(&name, Deed::Cancel, TUESDAY)[0]);
    assert_eq!(
        (&cancelled["payload"]["uid"], &cancelled["payload"]["startTime"]),
        (&payload["uid"], &json!(WEDNESDAY))
    );
    assert!(fixture.try_make(&name, Deed::Move, TUESDAY).is_err(), "nothing is in hand any more");
}

#[test]
fn a_move_of_calendly_has_two_halves_in_either_order() {
    let fixture = Fixture::new();
    let name = fixture.calendar("calendly");
    let booked = json_of(&fixture.make(&name, Deed::Book, TUESDAY)[0])["payload"].clone();
    assert_eq!(booked["scheduled_event"]["start_time"], "2026-11-24T08:30:00.000000Z");
    let mut first = std::collections::BTreeSet::new();
    let mut before = booked["uri"].clone();
    for round in 0..64 {
        let start = if round % 2 == 0 { WEDNESDAY } else { TUESDAY };
        let mut halves: Vec<Value> = fixture.make(&name, Deed::Move, start).iter().map(json_of).collect();
        first.insert(halves[0]["event"].to_string());
        halves.sort_by_key(|half| half["event"].to_string());
        let [ended, begun] = halves.as_slice() else { panic!("two halves") };
        assert_eq!((&ended["event"], &ended["payload"]["rescheduled"]), (&json!("invitee.canceled"), &json!(true)));
        assert_eq!((&ended["payload"]["uri"], &begun["payload"]["old_invitee"]), (&before, &before));
        assert_eq!(ended["payload"]["new_invitee"], begun["payload"]["uri"]);
        assert_eq!(begun["payload"]["rescheduled"], false);
        before = begun["payload"]["uri"].clone();
    }
    assert_eq!(first.len(), 2, "each half comes first at times");
    let cancelled = json_of(&fixture.make(&name, Deed::Cancel, TUESDAY)[0]);
    assert_eq!((&cancelled["payload"]["uri"], &cancelled["payload"]["rescheduled"]), (&before, &json!(false)));
}

#[test]
fn acuity_says_everything_twice_and_has_the_appointment_as_it_now_is() {
    let fixture = Fixture::new();
    let name = fixture.calendar("acuity");
    let booked = fixture.make(&name, Deed::Book, TUESDAY);
    let id = booked[0].body.split("&id=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let actions = |deliveries: &[Delivery]| -> Vec<String> {
        assert!(deliveries.iter().all(|one| one.body.contains(&format!("&id={id}&"))));
        deliveries.iter().map(|one| one.body.split('&').next().unwrap().to_owned()).collect()
    };
    assert_eq!(actions(&booked), ["action=scheduled", "action=changed"]);
    let known = || fixture.calendars.appointment(id.parse().unwrap()).unwrap();
    assert_eq!((known().start, known().canceled), (at(TUESDAY), false));
    assert_eq!(actions(&fixture.make(&name, Deed::Move, WEDNESDAY)), ["action=rescheduled", "action=changed"]);
    assert_eq!((known().start, known().canceled), (at(WEDNESDAY), false));
    assert_eq!(actions(&fixture.make(&name, Deed::Cancel, TUESDAY)), ["action=canceled", "action=changed"]);
    assert_eq!((known().start, known().canceled), (at(WEDNESDAY), true));
}

#[test]
fn square_counts_the_versions_of_a_booking() {
    let fixture = Fixture::new();
    let name = fixture.calendar("square");
    let parts = |delivery: &Delivery| {
        let event = json_of(delivery);
        let booking = event["data"]["object"]["booking"].clone();
        (
            event["type"].clone(),
            booking["id"].clone(),
            booking["version"].clone(),
            booking["status"].clone(),
            booking["start_at"].clone(),
        )
    };
    let booked = parts(&fixture.make(&name, Deed::Book, TUESDAY)[0]);
    let id = booked.1.clone();
    assert_eq!(booked, (json!("booking.created"), id.clone(), json!(0), json!("ACCEPTED"), json!(TUESDAY)));
    let moved = parts(&fixture.make(&name, Deed::Move, WEDNESDAY)[0]);
    assert_eq!(moved, (json!("booking.updated"), id.clone(), json!(1), json!("ACCEPTED"), json!(WEDNESDAY)));
    let cancelled = parts(&fixture.make(&name, Deed::Cancel, TUESDAY)[0]);
    assert_eq!(cancelled, (json!("booking.updated"), id, json!(2), json!("CANCELLED_BY_CUSTOMER"), json!(WEDNESDAY)));
}

#[test]
fn a_custom_sender_s_facts_stand_where_the_client_says() {
    let fixture = Fixture::new();
    let name = fixture.calendar("custom");
    let CalendarKind::Custom { fields, statuses, .. } = &fixture.config.calendars[&name].kind else { panic!("{name}") };
    let booked = json_of(&fixture.make(&name, Deed::Book, TUESDAY)[0]);
    assert_eq!(fields.start.of(&booked).unwrap(), "2026-11-24T10:30:00+02:00");
    assert_eq!(fields.phone.of(&booked).unwrap(), PERSON.2);
    let status = fields.status.as_ref().unwrap();
    assert_eq!(statuses[status.of(&booked).unwrap().as_str().unwrap()], BookingStatus::Booked);
    let cancelled = json_of(&fixture.make(&name, Deed::Cancel, TUESDAY)[0]);
    assert_eq!(fields.id.of(&cancelled), fields.id.of(&booked));
    assert_eq!(statuses[status.of(&cancelled).unwrap().as_str().unwrap()], BookingStatus::Cancelled);
}

#[test]
fn an_event_is_written_where_the_client_s_rules_look() {
    let fixture = Fixture::new();
    let name = fixture.calendar("ics");
    let pushed = fixture.make(&name, Deed::Book, TUESDAY);
    assert_eq!(pushed[0].header("x-goog-resource-state"), Some("exists"));
    let feed = || fixture.calendars.feed("diary.ics").unwrap().unwrap_or_default();
    assert!(feed().contains("SUMMARY:Consultation - Adi Sela\r\n"), "{}", feed());
    assert!(feed().contains("DESCRIPTION:Phone: 052-555-0101\r\n"), "{}", feed());
    assert!(feed().contains("DTSTART;TZID=Asia/Jerusalem:20261124T103000\r\n") && feed().contains("SEQUENCE:0\r\n"));
    fixture.make(&name, Deed::Move, WEDNESDAY);
    assert!(feed().contains("DTSTART;TZID=Asia/Jerusalem:20261125T110000\r\n") && feed().contains("SEQUENCE:1\r\n"));
    assert_eq!(feed().matches("BEGIN:VEVENT").count(), 1);
    fixture.make(&name, Deed::Cancel, TUESDAY);
    assert!(!feed().contains("BEGIN:VEVENT"));
    let mut texts = BTreeMap::new();
    put_text(&mut texts, &TextRule { field: "X-Phone".to_owned(), after: Vec::new() }, "1");
    assert_eq!(texts, [("x-phone".to_owned(), "1".to_owned())].into());
}

#[test]
fn an_appointment_moves_to_the_time_asked_for_or_by_a_day_when_it_is_there_already() {
    let fixture = Fixture::new();
    let name = fixture.calendar("custom");
    assert!(fixture.try_make(&name, Deed::Cancel, TUESDAY).err().unwrap().to_string().contains("book something first"));
    assert!(fixture.try_make("nobody", Deed::Book, TUESDAY).err().unwrap().to_string().contains("no calendar nobody"));
    fixture.make(&name, Deed::Book, TUESDAY);
    fixture.make(&name, Deed::Move, TUESDAY);
    assert_eq!(fixture.book.in_hand(&name), Some(at("2026-11-25T08:30:00Z")));
    let moved = fixture.try_make(&name, Deed::Move, WEDNESDAY).unwrap();
    assert_eq!(moved.about, format!("{name}: moved to Wed 25 Nov, 11:00"));
    fixture.make(&name, Deed::Cancel, TUESDAY);
    assert_eq!(fixture.book.in_hand(&name), None);
}
