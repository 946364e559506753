use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};

use super::*;
use crate::{
    host::test_host::TestHost,
    services::{FakeAccount, FakeFault},
};

const FILE: &str = "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:by-hand\nEND:VEVENT\nEND:VCALENDAR\n";

/// The fakes, served as the stack serves them.
struct CalendarFixture {
    calendars: Arc<FakeCalendars>,
    services: Arc<FakeServices>,
    host: Arc<TestHost>,
    url: String,
    http: reqwest::Client,
    folder: tempfile::TempDir,
}

fn start_fixture() -> CalendarFixture {
    let folder = tempfile::tempdir().unwrap();
    let host = Arc::new(TestHost::new(r#"{"acuity": "key", "square": "token"}"#));
    let account = |peer, user: &str, secret: &str| FakeAccount {
        service: peer,
        user_id: user.to_owned(),
        secret: secret.to_owned(),
    };
    let accounts = vec![account(FakeService::Acuity, "7", "acuity"), account(FakeService::Square, "", "square")];
    let state_file = Some(folder.path().join("calendars.json"));
    let services = Arc::new(FakeServices::new(accounts, host.clone()));
    let calendars = Arc::new(FakeCalendars::open(folder.path().join("feeds"), state_file, services.clone()).unwrap());
    let feeds = axum::middleware::from_fn_with_state(calendars.clone(), route_feed_requests);
    let app = calendars.clone().build_router().fallback(async || "another service").layer(feeds);
    let listener = crate::server::bind_port(0, "a test", "").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    crate::server::serve_router(app, listener, "a test");
    let http = tellonce_core::bootstrap::build_http_client().unwrap();
    CalendarFixture { calendars, services, host, url, http, folder }
}

impl CalendarFixture {
    async fn get_text(&self, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, String) {
        let mut request = self.http.get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.headers().clone(), response.text().await.unwrap())
    }

    async fn get_json(&self, path: &str, authorization: &str) -> (u16, Value) {
        let (status, _, body) = self.get_text(path, &[("authorization", authorization)]).await;
        (status, serde_json::from_str(&body).unwrap_or_default())
    }
}

fn basic_auth(user: &str, key: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{key}")))
}

fn feed_event(uid: &str, start: &str) -> FakeFeedEvent {
    FakeFeedEvent {
        uid: uid.to_owned(),
        start: start.parse().unwrap(),
        zone: "Asia/Jerusalem".to_owned(),
        sequence: 2,
        changed_at: "2026-11-20T07:00:00Z".parse().unwrap(),
        texts: [("summary".to_owned(), "Visit, first".to_owned()), ("description".to_owned(), "ש".repeat(60))].into(),
    }
}

#[tokio::test]
async fn acuity_returns_an_appointment_only_to_its_account() {
    let served = start_fixture();
    let path = "/api/v1/appointments/11";
    let right = basic_auth("7", "key");
    assert_eq!(served.get_json(path, &right).await.0, 404);
    let start = "2026-11-24T10:30:00Z".parse().unwrap();
    let appointment = FakeAcuityAppointment::from_recording(11, start, "Asia/Jerusalem");
    served.calendars.put_appointment(appointment.clone()).unwrap();
    let (status, answer) = served.get_json(path, &right).await;
    assert_eq!(status, 200);
    assert_eq!(answer["id"], 11);
    assert_eq!((&answer["datetime"], &answer["canceled"]), (&json!("2026-11-24T12:30:00+0200"), &json!(false)));
    assert_eq!((&answer["date"], &answer["phone"]), (&json!("November 24, 2026"), &json!("052-555-0101")));
    for wrong in [basic_auth("8", "key"), basic_auth("7", "token"), "Bearer key".to_owned(), String::new()] {
        assert_eq!(served.get_json(path, &wrong).await.0, 401, "{wrong}");
    }
    served.calendars.put_appointment(FakeAcuityAppointment { canceled: true, ..appointment }).unwrap();
    assert_eq!(served.get_json(path, &right).await.1["canceled"], true);
    served.calendars.forget_appointment(11).unwrap();
    assert_eq!(served.get_json(path, &right).await.0, 404);
    assert_eq!(served.services.replies_by_status(FakeService::Acuity), [(200, 2), (401, 4), (404, 2)].into());
}

#[tokio::test]
async fn square_returns_a_customer_only_to_its_account_and_current_token() {
    let served = start_fixture();
    let path = "/v2/customers/EX2Q";
    assert_eq!(served.get_json(path, "Bearer token").await.0, 404);
    let customer = |phone: Option<&str>| FakeSquareCustomer {
        id: "EX2Q".to_owned(),
        given_name: "Maya".to_owned(),
        family_name: "Bar".to_owned(),
        phone_number: phone.map(str::to_owned),
    };
    served.calendars.put_customer(customer(Some("+972545550199"))).unwrap();
    let (status, answer) = served.get_json(path, "Bearer token").await;
    assert_eq!((status, &answer["customer"]["phone_number"]), (200, &json!("+972545550199")));
    served.calendars.put_customer(customer(None)).unwrap();
    assert!(served.get_json(path, "Bearer token").await.1["customer"].get("phone_number").is_none());
    served.host.set_secret("square", "newer");
    assert_eq!(served.get_json(path, "Bearer token").await.0, 401);
    assert_eq!(served.get_json(path, "Bearer newer").await.0, 200);
}

#[tokio::test]
async fn a_feed_serves_its_file_at_any_address_and_is_not_sent_twice() {
    let served = start_fixture();
    assert_eq!(served.get_text("/diary.ics", &[]).await.0, 404);
    let feeds = served.folder.path().join("feeds");
    std::fs::create_dir(&feeds).unwrap();
    std::fs::write(feeds.join("diary.ics"), FILE).unwrap();
    let (status, headers, body) = served.get_text("/calendar/ical/me/private-1/diary.ics?x=1", &[]).await;
    assert_eq!((status, body.as_str()), (200, FILE));
    let etag = headers["etag"].to_str().unwrap();
    let (status, _, body) = served.get_text("/diary.ics", &[("if-none-match", etag)]).await;
    assert_eq!((status, body.as_str()), (304, ""));
    std::fs::write(feeds.join("diary.ics"), FILE.replace("by-hand", "by-hand-2")).unwrap();
    assert_eq!(served.get_text("/diary.ics", &[("if-none-match", etag)]).await.0, 200);
    assert_eq!(served.get_text("/somewhere", &[]).await.2, "another service");
    assert_eq!(served.get_text("/diary.ics", &[("host", "elsewhere.example")]).await.0, 421);
    std::fs::write(served.folder.path().join("clock.ics"), "outside").unwrap();
    for outside in ["/..%2fclock.ics", "/%2e%2e%2fclock.ics", "/..\\clock.ics", "/.ics"] {
        assert_ne!(served.get_text(outside, &[]).await.2, "outside", "{outside}");
    }
}

#[tokio::test]
async fn events_are_added_to_the_content_of_the_file() {
    let served = start_fixture();
    served.calendars.put_event("diary.ics", feed_event("one", "2026-11-24T08:30:00Z")).unwrap();
    let alone = served.calendars.read_feed("diary.ics").unwrap().unwrap();
    assert!(alone.starts_with("BEGIN:VCALENDAR\r\n") && alone.ends_with("END:VCALENDAR\r\n"));
    assert!(alone.contains("DTSTART;TZID=Asia/Jerusalem:20261124T103000\r\n"), "{alone}");
    assert!(alone.contains("SUMMARY:Visit\\, first\r\n") && alone.contains("SEQUENCE:2\r\n"));
    assert!(alone.lines().all(|line| line.len() <= 75), "{alone}");
    served.calendars.remove_event("diary.ics", "one").unwrap();
    let empty = served.calendars.read_feed("diary.ics").unwrap().unwrap();
    assert!(empty.contains("END:VCALENDAR") && !empty.contains("VEVENT"), "{empty}");
    served.calendars.put_event("diary.ics", feed_event("one", "2026-11-24T08:30:00Z")).unwrap();
    let feeds = served.folder.path().join("feeds");
    std::fs::create_dir(&feeds).unwrap();
    std::fs::write(feeds.join("diary.ics"), FILE).unwrap();
    let both = served.calendars.read_feed("diary.ics").unwrap().unwrap();
    assert!(both.contains("UID:by-hand\n") && both.contains("UID:one\r\n"));
    assert_eq!(both.matches("END:VCALENDAR").count(), 1);
    served.calendars.remove_event("diary.ics", "one").unwrap();
    assert_eq!(served.calendars.read_feed("diary.ics").unwrap().unwrap(), FILE);
    std::fs::write(feeds.join("diary.ics"), "broken").unwrap();
    served.calendars.put_event("diary.ics", feed_event("one", "2026-11-24T08:30:00Z")).unwrap();
    assert_eq!(served.calendars.read_feed("diary.ics").unwrap().unwrap(), "broken");
    served.calendars.override_feed("diary.ics", "");
    assert_eq!(served.get_text("/diary.ics", &[]).await.2, "");
}

#[tokio::test]
async fn faults_occur_in_order_and_then_requests_succeed() {
    let served = start_fixture();
    served.calendars.override_feed("diary.ics", FILE);
    for (fault, times) in
        [(FakeFault::Status(503), 2), (FakeFault::EmptyBody, 1), (FakeFault::HalfBody, 1), (FakeFault::Hang, 1)]
    {
        served.services.fail_next(FakeService::Feed, fault, times);
    }
    served.services.fail_next(FakeService::Square, FakeFault::Status(500), 1);
    for expected in [(503, 0), (503, 0), (200, 0), (200, FILE.len() / 2)] {
        let (status, _, body) = served.get_text("/diary.ics", &[]).await;
        assert_eq!((status, body.len()), expected);
    }
    assert!(
        served
            .http
            .get(format!("{}/diary.ics", served.url))
            .timeout(Duration::from_millis(300))
            .send()
            .await
            .unwrap_err()
            .is_timeout()
    );
    assert_eq!(served.get_text("/diary.ics", &[]).await.2, FILE);
    assert_eq!(served.services.replies_by_status(FakeService::Feed), [(0, 1), (200, 3), (503, 2)].into());
    assert_eq!(
        (served.services.request_count(FakeService::Feed), served.services.request_count(FakeService::Square)),
        (6, 0)
    );
    served.services.heal();
    assert_eq!(served.get_json("/v2/customers/x", "Bearer token").await.0, 404);
}

#[tokio::test]
async fn stored_items_survive_a_restart() {
    let served = start_fixture();
    let start = "2026-11-24T10:30:00Z".parse().unwrap();
    served.calendars.put_appointment(FakeAcuityAppointment::from_recording(11, start, "UTC")).unwrap();
    served.calendars.put_event("diary.ics", feed_event("one", "2026-11-24T08:30:00Z")).unwrap();
    let state_file = Some(served.folder.path().join("calendars.json"));
    let again = FakeCalendars::open(served.folder.path().join("feeds"), state_file, served.services.clone()).unwrap();
    assert_eq!(again.find_appointment(11), served.calendars.find_appointment(11));
    assert_eq!(again.read_feed("diary.ics").unwrap(), served.calendars.read_feed("diary.ics").unwrap());
}
