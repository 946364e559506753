//! The web console of a local run.
//!
//! It shows deliveries, ledger rows, the customer's phone, and what CRMs and the team received. It
//! posts sample deliveries.
//!
//! It is for one person on one machine. It has no login, and it shows phone numbers and names in
//! full, which the deployed system never does. The guard of `tellonce_fakes::server` refuses web
//! pages of other origins and requests that name another machine.

mod actions;
pub mod bookings;
mod console_state;
mod conversations;
pub mod leads;
mod sample_cases;
mod sample_values;
pub mod samples;
mod state_view;
mod tables_view;
#[cfg(test)]
mod test_host;

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, Method, header},
    middleware::{self, Next},
    response::{Html, Response},
    routing::{get, post},
};
use tellonce_core::provider::PROVIDER_NAME;
use tellonce_stack::LocalStack;

use console_state::ConsoleState;

const PAGE: &str = include_str!("page.html");
/// Stands in the page where it names the provider.
const PROVIDER_PLACEHOLDER: &str = "%PROVIDER%";
/// The page contains its styles and its script, and sends requests only to this machine.
const PAGE_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes of the console: `GET /` and `/_console/*`. Sets no fallback.
pub fn build_router(stack: Arc<LocalStack>) -> Router {
    let console = Arc::new(ConsoleState::new(stack));
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
        .route_layer(middleware::from_fn(set_security_headers))
        .route_layer(middleware::from_fn_with_state(console.clone(), count_action))
        .with_state(console)
}

/// Counts the requests that may change what the page shows: before the change and after it.
async fn count_action(State(console): State<Arc<ConsoleState>>, request: Request, next: Next) -> Response {
    let is_action = request.method() != Method::GET;
    console.action_count.fetch_add(u64::from(is_action), Ordering::SeqCst);
    let response = next.run(request).await;
    console.action_count.fetch_add(u64::from(is_action), Ordering::SeqCst);
    response
}

async fn set_security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_SECURITY_POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn serve_page() -> Html<String> {
    Html(PAGE.replace(PROVIDER_PLACEHOLDER, PROVIDER_NAME))
}

#[cfg(test)]
mod tests {
    use super::{leads::LeadAction, samples::ConsoleSample, *};

    #[test]
    fn the_page_requests_nothing_from_other_hosts() {
        let outside = PAGE.matches("://").count();
        assert_eq!(outside, PAGE.matches("http://www.w3.org/2000/svg").count(), "only the SVG namespace is an address");
        assert!(!PAGE.contains("innerHTML"), "received values are text and never markup");
    }

    #[test]
    fn the_page_knows_every_health_preset() {
        for preset in tellonce_fakes::provider::HealthPreset::ALL {
            let name = serde_json::to_value(preset).expect("a name");
            assert!(PAGE.contains(&format!("{}: [\"", name.as_str().expect("text"))), "{name}");
        }
    }

    #[test]
    fn the_page_has_every_form_kind_and_lead_action() {
        let known = |name: &str| PAGE.contains(&format!("{name}: \"")) || PAGE.contains(&format!("\"{name}\": \""));
        for kind in tellonce_core::client_config::FormKind::ALL {
            assert!(known(kind.facts().name), "{kind}");
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
