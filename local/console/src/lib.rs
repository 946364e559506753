//! The web console of a local run.
//!
//! Each of its pages answers one question: what happened, where a message is, what a customer got.
//! It posts sample deliveries, moves the clock, and breaks things on purpose.
//!
//! It is for one person on one machine. It has no login, and it shows phone numbers and names in
//! full, which the deployed system never does. The guard of `tellonce_fakes::server` refuses web
//! pages of other origins and requests that name another machine.

mod actions;
mod appointment_list;
mod assets;
mod bar;
pub mod bookings;
mod config_lines;
mod console_state;
mod conversations;
mod customers;
mod deliveries;
pub mod leads;
mod look;
mod message_pages;
mod now_page;
mod parts;
mod people;
mod sample_cases;
mod sample_values;
pub mod samples;
mod settings_page;
mod snapshot;
mod standing;
mod tables_view;
#[cfg(test)]
mod test_host;
mod try_panel;

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use tellonce_stack::LocalStack;

use console_state::ConsoleState;

/// The page loads its own files only, and sends requests only to this machine.
const PAGE_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes of the console: its pages and `/_console/*`. Sets no fallback.
pub fn build_router(stack: Arc<LocalStack>) -> Router {
    let console = Arc::new(ConsoleState::new(stack));
    let actions = Router::new()
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
        .route_layer(middleware::from_fn_with_state(console.clone(), count_action));
    let looks =
        Router::new().route("/_console/look", post(look::look)).route("/_console/delivery", get(actions::get_delivery));
    assets::add_page_routes(actions.merge(looks))
        .route_layer(middleware::from_fn(set_security_headers))
        .with_state(console)
}

/// Counts the requests that may change what the page shows: before the change and after it.
async fn count_action(State(console): State<Arc<ConsoleState>>, request: Request, next: Next) -> Response {
    console.action_count.fetch_add(1, Ordering::SeqCst);
    let response = next.run(request).await;
    console.action_count.fetch_add(1, Ordering::SeqCst);
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

#[cfg(test)]
mod tests {
    use super::{leads::LeadAction, samples::ConsoleSample, *};

    fn page_files() -> impl Iterator<Item = (&'static str, &'static str)> {
        assets::FILES.into_iter().map(|(name, _, text)| (name, text)).chain([("index.html", assets::DOCUMENT)])
    }

    fn script(name: &str) -> &'static str {
        page_files().find(|(file, _)| *file == name).expect("a file").1
    }

    #[test]
    fn the_page_requests_nothing_from_other_hosts() {
        for (name, text) in page_files() {
            let outside = text.matches("://").count();
            assert_eq!(outside, text.matches("http://www.w3.org/2000/svg").count(), "{name}: only the SVG namespace");
            for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!text.contains(markup), "{name}: received values are text and never markup");
            }
        }
    }

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/page");
        let on_disk = std::fs::read_dir(folder).expect("a folder").count();
        assert_eq!(on_disk, page_files().count());
    }

    #[test]
    fn the_page_knows_every_health_preset_form_kind_and_action() {
        let has = |file: &str, name: &serde_json::Value| {
            let name = name.as_str().expect("text");
            let known = script(file).contains(&format!("{name}:")) || script(file).contains(&format!("\"{name}\":"));
            assert!(known, "{file}: {name}");
        };
        for preset in tellonce_fakes::provider::HealthPreset::ALL {
            has("format.js", &serde_json::to_value(preset).expect("a name"));
        }
        for kind in tellonce_core::client_config::FormKind::ALL {
            has("format.js", &serde_json::json!(kind.facts().name));
        }
        for action in [
            LeadAction::Repeat,
            LeadAction::SamePerson,
            LeadAction::Test,
            LeadAction::WithoutConsent,
            LeadAction::Crowd,
            LeadAction::Flood,
        ] {
            has("forms.js", &serde_json::to_value(action).expect("a name"));
        }
    }

    #[test]
    fn the_page_has_every_conversation_action() {
        for action in conversations::ConversationAction::ALL {
            let name = serde_json::to_value(action).expect("a name");
            let called = format!("converse(\"{}\"", name.as_str().expect("text"));
            assert!(page_files().any(|(_, text)| text.contains(&called)), "{name}");
        }
    }

    #[test]
    fn every_case_has_a_group_and_a_label() {
        for case in ConsoleSample::ALL {
            assert!(!case.label().is_empty() && !case.expected_result().is_empty() && !case.group().is_empty());
        }
    }
}
