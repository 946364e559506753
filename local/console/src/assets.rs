//! The files of the page. It is plain HTML, CSS and JavaScript modules, and needs no build.

use axum::{
    Router,
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};

/// Name, media type and content of each file in `page/`.
pub(super) const FILES: [(&str, &str, &str); 14] = [
    ("style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("app.js", SCRIPT, include_str!("page/app.js")),
    ("api.js", SCRIPT, include_str!("page/api.js")),
    ("bar.js", SCRIPT, include_str!("page/bar.js")),
    ("dom.js", SCRIPT, include_str!("page/dom.js")),
    ("format.js", SCRIPT, include_str!("page/format.js")),
    ("lists.js", SCRIPT, include_str!("page/lists.js")),
    ("now.js", SCRIPT, include_str!("page/now.js")),
    ("messages.js", SCRIPT, include_str!("page/messages.js")),
    ("customers.js", SCRIPT, include_str!("page/customers.js")),
    ("appointments.js", SCRIPT, include_str!("page/appointments.js")),
    ("forms.js", SCRIPT, include_str!("page/forms.js")),
    ("settings.js", SCRIPT, include_str!("page/settings.js")),
    ("phone.js", SCRIPT, include_str!("page/phone.js")),
];
const SCRIPT: &str = "text/javascript; charset=utf-8";
/// The same document for every address: its script shows what the address names.
pub(super) const DOCUMENT: &str = include_str!("page/index.html");
/// The pages, each with an address that can be copied.
const PAGES: [&str; 10] = [
    "/",
    "/messages",
    "/messages/{id}",
    "/deliveries/{id}",
    "/customers",
    "/customers/{id}",
    "/appointments",
    "/appointments/{id}",
    "/forms",
    "/settings",
];

/// Routes of the pages and their files.
pub(super) fn add_page_routes<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    let document = async || ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], DOCUMENT);
    let router = PAGES.into_iter().fold(router, |router, page| router.route(page, get(document)));
    router.route("/_console/page/{file}", get(serve_file))
}

async fn serve_file(Path(name): Path<String>) -> Response {
    match FILES.into_iter().find(|(file, ..)| *file == name) {
        Some((_, kind, content)) => ([(header::CONTENT_TYPE, kind)], content).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
