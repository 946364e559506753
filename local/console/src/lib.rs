//! The web console of a local run.
//!
//! It shows deliveries, ledger rows, the customer's phone, and what CRMs and the team received. It
//! posts sample deliveries.
//!
//! It is for one person on one machine. It has no login, and it shows phone numbers and names in
//! full, which the deployed system never does. It refuses requests whose `Host` names another
//! machine, so no web page can read it through its own DNS name.

mod actions;
pub mod bookings;
mod conversations;
pub mod leads;
mod sample_cases;
mod sample_delivery;
mod sample_rewriting;
pub mod samples;
mod state_view;
#[cfg(test)]
mod test_host;

use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use axum::{
    Json, Router,
    extract::{Query, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tellonce_core::client_config::ClientConfig;
use tellonce_fakes::server::has_local_host;
use tellonce_stack::{LocalStack, template::TemplateTable};

use bookings::BookingSampleFactory;
use leads::LeadSampleFactory;
use samples::{ConsoleSample, OrderSampleFactory, SampleTargets};

const PAGE: &str = include_str!("page.html");
/// The inbox tables of stores, calendars and forms, by their ids in the template.
const INBOXES: [&str; 3] = ["StoreInbox", "BookingInbox", LEAD_INBOX];
/// The inbox table of forms.
const LEAD_INBOX: &str = "LeadInbox";
/// The page contains its styles and its script, and sends requests only to this machine.
const PAGE_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The state that the console's handlers share.
struct ConsoleState {
    stack: Arc<LocalStack>,
    /// The client's configuration, or why it could not be read.
    client: Result<ClientConfig, String>,
    order_samples: OrderSampleFactory,
    booking_samples: BookingSampleFactory,
    lead_samples: LeadSampleFactory,
    http: reqwest::Client,
    table_cache: Mutex<state_view::TableCache>,
}

type SharedConsole = State<Arc<ConsoleState>>;

/// The routes of the console: `GET /` and `/_console/*`. Sets no fallback.
pub fn build_router(stack: Arc<LocalStack>) -> Router {
    let client = read_client_config(&stack).map_err(|error| format!("{error:#}"));
    let http = stack.ezw().http().clone();
    let console = ConsoleState {
        stack,
        client,
        order_samples: OrderSampleFactory::default(),
        booking_samples: BookingSampleFactory::default(),
        lead_samples: LeadSampleFactory::default(),
        http,
        table_cache: Mutex::default(),
    };
    Router::new()
        .route("/", get(serve_page))
        .route("/_console/state", get(state_view::get_state))
        .route("/_console/delivery", get(state_view::get_delivery))
        .route("/_console/try", post(actions::post_sample))
        .route("/_console/book", post(actions::change_booking))
        .route("/_console/feeds", post(actions::read_feeds))
        .route("/_console/lead", post(actions::submit_lead))
        .route("/_console/release", post(actions::release_leads))
        .route("/_console/clock", post(actions::move_clock))
        .route("/_console/tick", post(actions::run_schedule_now))
        .route("/_console/line", post(actions::change_line))
        .route("/_console/fault", post(actions::set_fault))
        .route("/_console/phone", post(actions::write_from_phone))
        .route("/_console/conversation", post(conversations::act_in_conversation))
        .route("/_console/replay", post(actions::replay_delivery))
        .route_layer(middleware::from_fn(require_local_host))
        .with_state(Arc::new(console))
}

fn read_client_config(stack: &LocalStack) -> anyhow::Result<ClientConfig> {
    let path = stack.client_folder().join("client.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
    ClientConfig::parse(&text).with_context(|| format!("{} is not valid", path.display()))
}

impl ConsoleState {
    fn sample_targets(&self) -> Result<SampleTargets, ConsoleError> {
        let client = self.client.as_ref().map_err(ConsoleError::bad_request)?;
        Ok(SampleTargets::from_config(client, |name| self.stack.secrets().current_value(name)))
    }

    /// Sets the clock of the fake provider to the stack's clock.
    fn sync_fake_clock(&self) -> anyhow::Result<()> {
        let offset = self.stack.clock().offset_ms();
        if self.stack.ezw().settings().clock_offset_ms == offset {
            return Ok(());
        }
        self.stack.ezw().change_settings(|settings| settings.clock_offset_ms = offset)
    }

    fn table_name(&self, id: &str) -> anyhow::Result<String> {
        let table = self.stack.template().tables.iter().find(|table| table.id == id);
        Ok(table.with_context(|| format!("the template has no table {id}"))?.name.clone())
    }

    /// Names of the inbox tables of stores, calendars and forms.
    fn inbox_table_names(&self) -> impl Iterator<Item = &str> {
        let inboxes = |table: &&TemplateTable| INBOXES.contains(&table.id.as_str());
        self.stack.template().tables.iter().filter(inboxes).map(|table| table.name.as_str())
    }
}

/// The reason why an action failed, in words for the person at the console.
#[derive(Debug)]
struct ConsoleError {
    status: StatusCode,
    message: String,
}

impl ConsoleError {
    fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into() }
    }
}

impl<E: Into<anyhow::Error>> From<E> for ConsoleError {
    fn from(error: E) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, message: format!("{:#}", error.into()) }
    }
}

impl IntoResponse for ConsoleError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"error": self.message}))).into_response()
    }
}

type ConsoleResponse = Result<Json<Value>, ConsoleError>;

/// A sentence for the person who pressed the button.
#[expect(clippy::unnecessary_wraps, reason = "every handler ends with it")]
fn reply_with_message(text: impl Into<String>) -> ConsoleResponse {
    Ok(Json(json!({"message": text.into()})))
}

/// Refuses requests to another host name.
async fn require_local_host(request: Request, next: Next) -> Response {
    if !has_local_host(request.headers()) {
        let error = ConsoleError {
            status: StatusCode::FORBIDDEN,
            message: "open the console at 127.0.0.1 or localhost".to_owned(),
        };
        return error.into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_SECURITY_POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn serve_page() -> Html<&'static str> {
    Html(PAGE)
}

#[derive(Deserialize)]
struct DeliverySelector {
    id: String,
}

/// Query of `GET /_console/delivery?id=…`.
type DeliveryQuery = Query<DeliverySelector>;

#[cfg(test)]
mod tests {
    use super::{leads::LeadAction, *};

    async fn fetch_status(host: &str) -> u16 {
        let app = Router::new().route("/", get(serve_page)).route_layer(middleware::from_fn(require_local_host));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
        let addr = listener.local_addr().expect("address");
        tokio::spawn(async move { axum::serve(listener, app).await });
        let fake = tellonce_fakes::ezw::FakeEzw::start(0, None).await.expect("starts");
        let request = fake.http().get(format!("http://{addr}/")).header("host", host);
        request.send().await.expect("answer").status().as_u16()
    }

    #[tokio::test]
    async fn the_console_serves_only_local_host_names() {
        for host in ["127.0.0.1", "127.0.0.1:8787", "localhost:1", "[::1]:8787", "[::1]"] {
            assert_eq!(fetch_status(host).await, 200, "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:8787", "localhost.evil.example"] {
            assert_eq!(fetch_status(host).await, 403, "{host}");
        }
    }

    #[test]
    fn the_page_requests_nothing_from_other_hosts() {
        let outside = PAGE.matches("://").count();
        assert_eq!(outside, PAGE.matches("http://www.w3.org/2000/svg").count(), "only the SVG namespace is an address");
        assert!(!PAGE.contains("innerHTML"), "received values are text and never markup");
    }

    #[test]
    fn the_page_knows_every_health_preset() {
        for preset in tellonce_fakes::ezw::HealthPreset::ALL {
            let name = serde_json::to_value(preset).expect("a name");
            assert!(PAGE.contains(&format!("{}: [\"", name.as_str().expect("text"))), "{name}");
        }
    }

    #[test]
    fn the_page_has_every_form_kind_and_lead_action() {
        let known = |name: &str| PAGE.contains(&format!("{name}: \"")) || PAGE.contains(&format!("\"{name}\": \""));
        for kind in tellonce_core::client_config::FormKind::ALL {
            assert!(known(kind.name()), "{kind}");
        }
        for action in [
            LeadAction::Repeat,
            LeadAction::SamePerson,
            LeadAction::Test,
            LeadAction::WithoutConsent,
            LeadAction::Crowd,
            LeadAction::Flood,
        ] {
            let name = serde_json::to_value(action).expect("a name");
            let name = name.as_str().expect("text");
            assert!(PAGE.contains(&format!("{name}: [\"")) || PAGE.contains(&format!("\"{name}\": [\"")), "{name}");
        }
    }

    #[test]
    fn the_page_has_every_conversation_action() {
        for action in conversations::ConversationAction::ALL {
            let name = serde_json::to_value(action).expect("a name");
            assert!(PAGE.contains(&format!("converse(\"{}\"", name.as_str().expect("text"))), "{name}");
        }
    }

    #[test]
    fn every_case_has_a_group_and_a_label() {
        for case in ConsoleSample::ALL {
            assert!(!case.label().is_empty() && !case.expected_result().is_empty() && !case.group().is_empty());
        }
    }
}
