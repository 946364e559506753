//! Systems that a local run calls themselves, on this machine: a feed server, a CRM and a target.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::{Request, State},
};
use tellonce_fakes::server;

use crate::{
    calendars::{NOA_PHONE, advance_to_day_before, whole_minute_in_hours},
    conversations::{line_event, message_body, settle_line_events},
    world::{World, WorldSetup},
};

const SYSTEMS_TOML: &str = r#"
[crms.own]
kind = "webhook"
url = "https://crm.example.com/webhook/entries"
requests_per_minute = 60000

[crms.other]
kind = "webhook"
url = "https://other.example.com/webhook/entries"
requests_per_minute = 60000

[targets.desk]
kind = "webhook"
url = "https://desk.example.com/webhook/alerts"

[escalations.urgent]
when = { words = { en = ["urgent"] } }
to = ["desk"]
"#;

const SIGNING_SECRET: &str = "whsec_c3Rvcmllcy1vZi1yZWFsLXN5c3RlbXMtMDE=";

/// A program on this machine: it serves a feed and accepts every post.
struct Program {
    url: String,
    state: ProgramState,
}

#[derive(Clone, Default)]
struct ProgramState {
    feed: Arc<Mutex<String>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Program {
    fn start() -> Self {
        let listener = server::bind_port(0, "a program of a story", "").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = ProgramState::default();
        let router = Router::new().fallback(answer_request).with_state(state.clone());
        server::serve_router(router, listener, "a program of a story");
        Self { url, state }
    }

    fn requests(&self) -> Vec<String> {
        let mut requests = self.state.requests.lock().unwrap().clone();
        requests.sort();
        requests
    }
}

async fn answer_request(State(state): State<ProgramState>, request: Request) -> String {
    let signed = if request.headers().contains_key("webhook-signature") { " signed" } else { "" };
    state.requests.lock().unwrap().push(format!("{} {}{signed}", request.method(), request.uri()));
    state.feed.lock().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_a_crm_and_a_target_of_this_machine_take_the_place_of_their_fakes() {
    let program = Program::start();
    let real = ["calendars.diary", "crms.own", "targets.desk"].map(|system| format!("{system}={}", program.url));
    let world = World::start_with(WorldSetup {
        extra_toml: SYSTEMS_TOML,
        line_events: true,
        extra_secrets: ["crms/own", "crms/other", "targets/desk"].map(|name| (name, SIGNING_SECRET.to_owned())).into(),
        real_systems: real.into(),
        ..WorldSetup::default()
    })
    .await;
    let start = whole_minute_in_hours(&world, 50);
    let stamp = start.strftime("%Y%m%dT%H%M%SZ");
    *program.state.feed.lock().unwrap() = format!(
        "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:real-1\r\nDTSTART:{stamp}\r\nDESCRIPTION:Phone: \
         054-555-0199\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    );
    world.stack.poll_feeds().await.unwrap();
    let at = world.now().as_second();
    world.deliver(line_event("real-1", "messages.post", &message_body("wamid.1", "This is urgent", at))).await;
    settle_line_events(&world).await;

    assert_eq!(
        program.requests(),
        ["GET /secret/diary.ics", "POST /webhook/alerts signed", "POST /webhook/entries signed"]
    );
    assert!(world.stack.team().alerts().is_empty(), "the fake target was alerted");
    assert_eq!(world.stack.crms().entries("other").len(), 1, "the other CRM has its fake");
    advance_to_day_before(&world, start).await;
    assert_eq!(world.texts_on_phone(NOA_PHONE).len(), 1, "the feed's appointment has a reminder");
}
