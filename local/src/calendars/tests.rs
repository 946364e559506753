use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};

use super::*;
use crate::{
    clock::Clock,
    peers::{Account, Trouble},
    secrets::Secrets,
};

const FILE: &str = "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:by-hand\nEND:VEVENT\nEND:VCALENDAR\n";

/// The stand-ins, served as the stack serves them.
struct Served {
    calendars: Arc<Calendars>,
    peers: Arc<Peers>,
    secrets: Arc<Secrets>,
    url: String,
    http: reqwest::Client,
    folder: tempfile::TempDir,
}

async fn served() -> Served {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Clock::open(&folder.path().join("clock")).unwrap());
    let secrets = r#"{"acuity": "key", "square": "token"}"#;
    let secrets = Arc::new(Secrets::parse(secrets, clock).unwrap());
    let account = |peer, user: &str, secret: &str| Account { peer, user: user.to_owned(), secret: secret.to_owned() };
    let accounts = vec![account(Peer::Acuity, "7", "acuity"), account(Peer::Square, "", "square")];
    let kept = Some(folder.path().join("calendars.json"));
    let peers = Arc::new(Peers::new(accounts, secrets.clone()));
    let calendars = Arc::new(Calendars::open(folder.path().join("feeds"), kept, peers.clone()).unwrap());
    let feeds = axum::middleware::from_fn_with_state(calendars.clone(), feeds_first);
    let app = calendars.clone().router().fallback(async || "somebody else").layer(feeds);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let http = shared::cold_start::http_client().unwrap();
    Served { calendars, peers, secrets, url, http, folder }
}

impl Served {
    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> (u16, HeaderMap, String) {
        let mut request = self.http.get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.headers().clone(), answer.text().await.unwrap())
    }

    async fn json(&self, path: &str, authorization: &str) -> (u16, Value) {
        let (status, _, body) = self.get(path, &[("authorization", authorization)]).await;
        (status, serde_json::from_str(&body).unwrap_or_default())
    }
}

fn basic(user: &str, key: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{key}")))
}

fn event(uid: &str, start: &str) -> Event {
    Event {
        uid: uid.to_owned(),
        start: start.parse().unwrap(),
        zone: "Asia/Jerusalem".to_owned(),
        sequence: 2,
        changed_at: "2026-11-20T07:00:00Z".parse().unwrap(),
        texts: [("summary".to_owned(), "Visit, first".to_owned()), ("description".to_owned(), "ש".repeat(60))].into(),
    }
}

#[tokio::test]
async fn acuity_tells_an_appointment_to_its_account_alone() {
    let served = served().await;
    let path = "/api/v1/appointments/11";
    let right = basic("7", "key");
    assert_eq!(served.json(path, &right).await.0, 404);
    let start = "2026-11-24T10:30:00Z".parse().unwrap();
    let appointment = Appointment::recorded(11, start, "Asia/Jerusalem");
    served.calendars.put_appointment(appointment.clone()).unwrap();
    let (status, answer) = served.json(path, &right).await;
    assert_eq!(status, 200);
    assert_eq!(answer["id"], 11);
    assert_eq!((&answer["datetime"], &answer["canceled"]), (&json!("2026-11-24T12:30:00+0200"), &json!(false)));
    assert_eq!((&answer["date"], &answer["phone"]), (&json!("November 24, 2026"), &json!("052-555-0101")));
    for wrong in [basic("8", "key"), basic("7", "token"), "Bearer key".to_owned(), String::new()] {
        assert_eq!(served.json(path, &wrong).await.0, 401, "{wrong}");
    }
    served.calendars.put_appointment(Appointment { canceled: true, ..appointment }).unwrap();
    assert_eq!(served.json(path, &right).await.1["canceled"], true);
    served.calendars.forget_appointment(11).unwrap();
    assert_eq!(served.json(path, &right).await.0, 404);
    assert_eq!(served.peers.answers(Peer::Acuity), [(200, 2), (401, 4), (404, 2)].into());
}

#[tokio::test]
async fn square_tells_a_customer_to_its_account_alone_until_the_token_is_another() {
    let served = served().await;
    let path = "/v2/customers/EX2Q";
    assert_eq!(served.json(path, "Bearer token").await.0, 404);
    let customer = |phone: Option<&str>| Customer {
        id: "EX2Q".to_owned(),
        given_name: "Maya".to_owned(),
        family_name: "Bar".to_owned(),
        phone_number: phone.map(str::to_owned),
    };
    served.calendars.put_customer(customer(Some("+972545550199"))).unwrap();
    let (status, answer) = served.json(path, "Bearer token").await;
    assert_eq!((status, &answer["customer"]["phone_number"]), (200, &json!("+972545550199")));
    served.calendars.put_customer(customer(None)).unwrap();
    assert!(served.json(path, "Bearer token").await.1["customer"].get("phone_number").is_none());
    served.secrets.rotate("square", "newer");
    assert_eq!(served.json(path, "Bearer token").await.0, 401);
    assert_eq!(served.json(path, "Bearer newer").await.0, 200);
}

#[tokio::test]
async fn a_feed_is_its_file_at_any_address_and_is_not_sent_twice() {
    let served = served().await;
    assert_eq!(served.get("/diary.ics", &[]).await.0, 404);
    let feeds = served.folder.path().join("feeds");
    std::fs::create_dir(&feeds).unwrap();
    std::fs::write(feeds.join("diary.ics"), FILE).unwrap();
    let (status, headers, body) = served.get("/calendar/ical/me/private-1/diary.ics?x=1", &[]).await;
    assert_eq!((status, body.as_str()), (200, FILE));
    let etag = headers["etag"].to_str().unwrap();
    let (status, _, body) = served.get("/diary.ics", &[("if-none-match", etag)]).await;
    assert_eq!((status, body.as_str()), (304, ""));
    std::fs::write(feeds.join("diary.ics"), FILE.replace("by-hand", "by-hand-2")).unwrap();
    assert_eq!(served.get("/diary.ics", &[("if-none-match", etag)]).await.0, 200);
    assert_eq!(served.get("/somewhere", &[]).await.2, "somebody else");
    assert_eq!(served.get("/diary.ics", &[("host", "elsewhere.example")]).await.2, "somebody else");
    std::fs::write(served.folder.path().join("clock.ics"), "outside").unwrap();
    for outside in ["/..%2fclock.ics", "/%2e%2e%2fclock.ics", "/..\\clock.ics", "/.ics"] {
        assert_ne!(served.get(outside, &[]).await.2, "outside", "{outside}");
    }
}

#[tokio::test]
async fn events_are_put_in_beside_what_the_file_holds() {
    let served = served().await;
    served.calendars.put_event("diary.ics", event("one", "2026-11-24T08:30:00Z")).unwrap();
    let alone = served.calendars.feed("diary.ics").unwrap().unwrap();
    assert!(alone.starts_with("BEGIN:VCALENDAR\r\n") && alone.ends_with("END:VCALENDAR\r\n"));
    assert!(alone.contains("DTSTART;TZID=Asia/Jerusalem:20261124T103000\r\n"), "{alone}");
    assert!(alone.contains("SUMMARY:Visit\\, first\r\n") && alone.contains("SEQUENCE:2\r\n"));
    assert!(alone.lines().all(|line| line.len() <= 75), "{alone}");
    served.calendars.remove_event("diary.ics", "one").unwrap();
    let empty = served.calendars.feed("diary.ics").unwrap().unwrap();
    assert!(empty.contains("END:VCALENDAR") && !empty.contains("VEVENT"), "{empty}");
    served.calendars.put_event("diary.ics", event("one", "2026-11-24T08:30:00Z")).unwrap();
    let feeds = served.folder.path().join("feeds");
    std::fs::create_dir(&feeds).unwrap();
    std::fs::write(feeds.join("diary.ics"), FILE).unwrap();
    let both = served.calendars.feed("diary.ics").unwrap().unwrap();
    assert!(both.contains("UID:by-hand\n") && both.contains("UID:one\r\n"));
    assert_eq!(both.matches("END:VCALENDAR").count(), 1);
    served.calendars.remove_event("diary.ics", "one").unwrap();
    assert_eq!(served.calendars.feed("diary.ics").unwrap().unwrap(), FILE);
    std::fs::write(feeds.join("diary.ics"), "broken").unwrap();
    served.calendars.put_event("diary.ics", event("one", "2026-11-24T08:30:00Z")).unwrap();
    assert_eq!(served.calendars.feed("diary.ics").unwrap().unwrap(), "broken");
    served.calendars.set_feed("diary.ics", "");
    assert_eq!(served.get("/diary.ics", &[]).await.2, "");
}

#[tokio::test]
async fn troubles_come_one_after_the_other_and_then_it_works_again() {
    let served = served().await;
    served.calendars.set_feed("diary.ics", FILE);
    for (trouble, times) in [(Trouble::Status(503), 2), (Trouble::Empty, 1), (Trouble::Half, 1), (Trouble::Hang, 1)] {
        served.peers.fail_next(Peer::Feed, trouble, times);
    }
    served.peers.fail_next(Peer::Square, Trouble::Status(500), 1);
    for expected in [(503, 0), (503, 0), (200, 0), (200, FILE.len() / 2)] {
        let (status, _, body) = served.get("/diary.ics", &[]).await;
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
    assert_eq!(served.get("/diary.ics", &[]).await.2, FILE);
    assert_eq!(served.peers.answers(Peer::Feed), [(0, 1), (200, 3), (503, 2)].into());
    assert_eq!((served.peers.requests(Peer::Feed), served.peers.requests(Peer::Square)), (6, 0));
    served.peers.heal();
    assert_eq!(served.json("/v2/customers/x", "Bearer token").await.0, 404);
}

#[tokio::test]
async fn what_was_put_in_is_kept() {
    let served = served().await;
    let start = "2026-11-24T10:30:00Z".parse().unwrap();
    served.calendars.put_appointment(Appointment::recorded(11, start, "UTC")).unwrap();
    served.calendars.put_event("diary.ics", event("one", "2026-11-24T08:30:00Z")).unwrap();
    let kept = Some(served.folder.path().join("calendars.json"));
    let again = Calendars::open(served.folder.path().join("feeds"), kept, served.peers.clone()).unwrap();
    assert_eq!(again.appointment(11), served.calendars.appointment(11));
    assert_eq!(again.feed("diary.ics").unwrap(), served.calendars.feed("diary.ics").unwrap());
}
