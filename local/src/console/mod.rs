//! The web console of a local run: see what stores, calendars and forms sent, what the ledger holds, what the customer's
//! phone shows, what CRMs and the team were told; try things.
//!
//! For one person on one machine. It shows phone numbers and names in full, which the deployed house never does, and has no
//! login: requests that name another host than this machine are refused, so that no web page can read it by a trick of
//! names. `/admin/api/{version}/graphql.json` stands in for Shopify's Admin API, for the orders of the samples alone.

mod actions;
pub mod bookings;
mod cases;
mod conversations;
mod freshen;
pub mod leads;
mod renew;
pub mod samples;
mod view;

use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use axum::{
    Json, Router,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::client_config::ClientConfig;

use crate::{Stack, template::Table};
use bookings::BookingBook;
use leads::LeadBook;
use samples::{Case, SampleBook, Targets};

const PAGE: &str = include_str!("page.html");
/// The tables that deliveries are filed in, by their logical ids: of stores, of calendars, of forms.
const INBOXES: [&str; 3] = ["StoreInbox", "BookingInbox", LEAD_INBOX];
/// That of forms.
const LEAD_INBOX: &str = "LeadInbox";
/// The page has its styles and its script inside, and asks nobody but this machine.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the console's handlers share.
struct Console {
    stack: Arc<Stack>,
    /// The client's configuration, or why it can't be read.
    client: Result<ClientConfig, String>,
    book: SampleBook,
    bookings: BookingBook,
    leads: LeadBook,
    http: reqwest::Client,
    tables: Mutex<view::Tables>,
}

type Shared = State<Arc<Console>>;

/// The console: `GET /`, `/_console/*`, and the stand-in for Shopify's Admin API. Sets no fallback.
pub fn router(stack: Arc<Stack>) -> Router {
    let client = client_of(&stack).map_err(|error| format!("{error:#}"));
    let http = stack.ezw().http().clone();
    let console = Console {
        stack,
        client,
        book: SampleBook::default(),
        bookings: BookingBook::default(),
        leads: LeadBook::default(),
        http,
        tables: Mutex::default(),
    };
    let own = Router::new()
        .route("/", get(page))
        .route("/_console/state", get(view::state))
        .route("/_console/delivery", get(view::delivery))
        .route("/_console/try", post(actions::try_case))
        .route("/_console/book", post(actions::book))
        .route("/_console/feeds", post(actions::feeds))
        .route("/_console/lead", post(actions::lead))
        .route("/_console/release", post(actions::release))
        .route("/_console/clock", post(actions::clock))
        .route("/_console/tick", post(actions::tick))
        .route("/_console/line", post(actions::line))
        .route("/_console/fault", post(actions::fault))
        .route("/_console/phone", post(actions::phone))
        .route("/_console/conversation", post(conversations::conversation))
        .route("/_console/replay", post(actions::replay))
        .route_layer(middleware::from_fn(this_machine_only));
    own.route("/admin/api/{version}/graphql.json", post(shopify_admin)).with_state(Arc::new(console))
}

fn client_of(stack: &Stack) -> anyhow::Result<ClientConfig> {
    let path = stack.client_folder().join("client.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
    ClientConfig::parse(&text).with_context(|| format!("{} is not usable", path.display()))
}

impl Console {
    fn targets(&self) -> Result<Targets, Failed> {
        let client = self.client.as_ref().map_err(Failed::wrong)?;
        Ok(Targets::of(client, |name| self.stack.secrets().current(name)))
    }

    /// The fake writes its times by the stack's clock.
    fn keep_time(&self) -> anyhow::Result<()> {
        let offset = self.stack.clock().offset();
        if self.stack.ezw().settings().clock_offset_ms == offset {
            return Ok(());
        }
        self.stack.ezw().change(|settings| settings.clock_offset_ms = offset)
    }

    fn table(&self, id: &str) -> anyhow::Result<String> {
        let table = self.stack.template().tables.iter().find(|table| table.id == id);
        Ok(table.with_context(|| format!("the template has no table {id}"))?.name.clone())
    }

    /// Names of the tables that deliveries are filed in.
    fn inboxes(&self) -> impl Iterator<Item = &str> {
        let inboxes = |table: &&Table| INBOXES.contains(&table.id.as_str());
        self.stack.template().tables.iter().filter(inboxes).map(|table| table.name.as_str())
    }
}

/// Why something asked of the console can't be done, in words for the person before it.
#[derive(Debug)]
struct Failed {
    status: StatusCode,
    said: String,
}

impl Failed {
    fn wrong(said: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, said: said.into() }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, said: format!("{:#}", error.into()) }
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"error": self.said}))).into_response()
    }
}

type Answer = Result<Json<Value>, Failed>;

/// A sentence for the person who pressed the button.
#[expect(clippy::unnecessary_wraps, reason = "the last word of every handler")]
fn said(text: impl Into<String>) -> Answer {
    Ok(Json(json!({"said": text.into()})))
}

/// Whether a request was addressed to this machine by its own name, and not by one that a page elsewhere has arranged with
/// its DNS.
pub(crate) fn names_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    matches!(name, "127.0.0.1" | "localhost" | "[::1]")
}

/// Refuses what was addressed to another name.
async fn this_machine_only(request: Request, next: Next) -> Response {
    if !names_this_machine(request.headers()) {
        let failed =
            Failed { status: StatusCode::FORBIDDEN, said: "open the console by 127.0.0.1 or localhost".to_owned() };
        return failed.into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn page() -> Html<&'static str> {
    Html(PAGE)
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

/// A look-up as the functions make it: GraphQL with the order's or the fulfilment order's id as the variable `id`.
async fn shopify_admin(Path(version): Path<String>, Json(query): Json<Value>) -> Json<Value> {
    let id = query["variables"]["id"].as_str().unwrap_or_default();
    tracing::debug!(version, "the stand-in for Shopify's Admin API was asked");
    Json(samples::shopify_answer(id))
}

/// Query of `GET /_console/delivery?id=…`.
type WithId = Query<Id>;

#[cfg(test)]
mod tests {
    use super::{leads::Deed, *};

    async fn status_of(host: &str) -> u16 {
        let app = Router::new().route("/", get(page)).route_layer(middleware::from_fn(this_machine_only));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
        let addr = listener.local_addr().expect("address");
        tokio::spawn(async move { axum::serve(listener, app).await });
        let fake = crate::fake_ezw::FakeEzw::start(0, None).await.expect("starts");
        let request = fake.http().get(format!("http://{addr}/")).header("host", host);
        request.send().await.expect("answer").status().as_u16()
    }

    #[tokio::test]
    async fn the_console_answers_to_this_machine_s_names_alone() {
        for host in ["127.0.0.1", "127.0.0.1:8787", "localhost:1", "[::1]:8787", "[::1]"] {
            assert_eq!(status_of(host).await, 200, "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:8787", "localhost.evil.example"] {
            assert_eq!(status_of(host).await, 403, "{host}");
        }
    }

    #[test]
    fn the_page_asks_nobody_else() {
        let outside = PAGE.matches("://").count();
        assert_eq!(outside, PAGE.matches("http://www.w3.org/2000/svg").count(), "only the SVG namespace is an address");
        assert!(!PAGE.contains("innerHTML"), "what comes from outside is text, never markup");
    }

    #[test]
    fn the_page_knows_every_health_preset() {
        for preset in crate::fake_ezw::HealthPreset::ALL {
            let name = serde_json::to_value(preset).expect("a name");
            assert!(PAGE.contains(&format!("{}: [\"", name.as_str().expect("text"))), "{name}");
        }
    }

    #[test]
    fn the_page_knows_every_kind_of_form_and_what_can_be_done_with_it() {
        let known = |name: &str| PAGE.contains(&format!("{name}: \"")) || PAGE.contains(&format!("\"{name}\": \""));
        for kind in shared::client_config::FormKind::ALL {
            assert!(known(kind.name()), "{kind}");
        }
        for deed in [Deed::Again, Deed::SamePerson, Deed::Test, Deed::Refuse, Deed::Crowd, Deed::Flood] {
            let name = serde_json::to_value(deed).expect("a name");
            let name = name.as_str().expect("text");
            assert!(PAGE.contains(&format!("{name}: [\"")) || PAGE.contains(&format!("\"{name}\": [\"")), "{name}");
        }
    }

    #[test]
    fn the_page_knows_everything_that_can_be_done_in_a_conversation() {
        for deed in conversations::Deed::ALL {
            let name = serde_json::to_value(deed).expect("a name");
            assert!(PAGE.contains(&format!("converse(\"{}\"", name.as_str().expect("text"))), "{name}");
        }
    }

    #[test]
    fn every_case_has_a_group_and_a_label() {
        for case in Case::ALL {
            assert!(!case.label().is_empty() && !case.expect().is_empty() && !case.group().is_empty());
        }
    }
}
