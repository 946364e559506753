//! Which requests a server of the local stack takes.
//!
//! A web page can point its own DNS name at 127.0.0.1 and read what listens there, or post to
//! 127.0.0.1 from its own origin. Both happen in the browser of the person at this machine. So a
//! request has to name this machine. A page of another origin reaches only the endpoints of forms,
//! as every website does.
//!
//! Source of the `Sec-Fetch-*` headers: <https://www.w3.org/TR/fetch-metadata/>.

use std::sync::Arc;

use anyhow::ensure;
use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use tower_service::Service as _;

/// The name under which a tunnel received a request, if the tunnel changes `Host`.
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The host name of a tunnel, in lower case and without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicHost(String);

impl PublicHost {
    /// Parses a name such as `abc.tunnel.example`.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let name = text.to_ascii_lowercase();
        let is_name =
            name.contains('.') && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
        ensure!(is_name, "`{text}` is not a host name; give the tunnel's name without https:// and without a port");
        Ok(Self(name))
    }
}

/// Routes that a request to a tunnel's host reaches.
#[derive(Debug, Clone)]
pub struct PublicRoutes {
    /// The names of the tunnel.
    pub hosts: Vec<PublicHost>,
    /// The only routes behind these names.
    pub router: Router,
}

/// Where a request comes from.
#[derive(Debug, PartialEq, Eq)]
enum RequestSource {
    ThisMachine,
    PublicHost,
    ForeignHost,
    ForeignPage,
}

/// Puts the guard before all routes of a router.
pub(super) fn guard_router(router: Router, public: Option<PublicRoutes>) -> Router {
    router.layer(from_fn_with_state(Arc::new(public), check_request))
}

async fn check_request(State(public): State<Arc<Option<PublicRoutes>>>, request: Request, next: Next) -> Response {
    let hosts = public.as_ref().as_ref().map_or(&[][..], |public| &public.hosts);
    match (classify_request(request.method(), request.headers(), hosts), public.as_ref()) {
        (RequestSource::ThisMachine, _) => next.run(request).await,
        (RequestSource::PublicHost, Some(public)) => match public.router.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        // A website's page posts its form to an endpoint. That is public, and checks each post.
        (RequestSource::ForeignPage, Some(public)) if is_form_post(&request) => {
            match public.router.clone().call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
        (RequestSource::ForeignPage, _) => {
            let text =
                "a web page of another origin may not call the local stack; open the console at its own address\n";
            (StatusCode::FORBIDDEN, text).into_response()
        }
        (RequestSource::ForeignHost | RequestSource::PublicHost, _) => {
            let text = "the local stack answers requests to 127.0.0.1 and localhost only; to receive webhooks through a \
                        tunnel, start it with --public-host and the tunnel's host name\n";
            (StatusCode::MISDIRECTED_REQUEST, text).into_response()
        }
    }
}

fn classify_request(method: &Method, headers: &HeaderMap, public: &[PublicHost]) -> RequestSource {
    let Some(host) = single_value(headers, &header::HOST) else { return RequestSource::ForeignHost };
    let forwarded = headers.get_all(FORWARDED_HOST).iter().flat_map(|value| value.to_str().unwrap_or("?").split(','));
    let names: Vec<String> =
        std::iter::once(host).chain(forwarded).map(|host| host_name(host.trim()).to_ascii_lowercase()).collect();
    // A tunnel may write `localhost` as the host. It does say that it forwards.
    let is_forwarded =
        headers.keys().any(|name| *name == header::FORWARDED || name.as_str().starts_with("x-forwarded-"));
    if names.iter().all(|name| is_this_machine(name)) && (!is_forwarded || headers.contains_key(FORWARDED_HOST)) {
        return if is_foreign_page(method, headers, host) {
            RequestSource::ForeignPage
        } else {
            RequestSource::ThisMachine
        };
    }
    let is_known = |name: &String| is_this_machine(name) || public.iter().any(|PublicHost(known)| known == name);
    if names.iter().all(is_known) { RequestSource::PublicHost } else { RequestSource::ForeignHost }
}

/// Whether a request may be a page's form: a post to the endpoint of a form, which may stand behind
/// the segment of the stack's addresses.
fn is_form_post(request: &Request) -> bool {
    let path = request.uri().path();
    let behind_segment = path.get(1..).and_then(|path| path.split_once('/')).map_or("", |(_, path)| path);
    // The console's own paths begin with an underscore, and a segment does not.
    let is_endpoint = path.starts_with("/leads/") || (behind_segment.starts_with("leads/") && !path.starts_with("/_"));
    request.method() == Method::POST && is_endpoint
}

/// Whether a browser sends the request for a page of another origin than `http://{host}`. A link to
/// the console may be followed from any page, because the page cannot read the response.
fn is_foreign_page(method: &Method, headers: &HeaderMap, host: &str) -> bool {
    let own_origin = format!("http://{host}");
    if headers
        .get_all(header::ORIGIN)
        .iter()
        .any(|origin| !origin.as_bytes().eq_ignore_ascii_case(own_origin.as_bytes()))
    {
        return true;
    }
    let is_link = method == Method::GET && single_value(headers, &FETCH_MODE) == Some("navigate");
    headers.contains_key(FETCH_SITE)
        && !matches!(single_value(headers, &FETCH_SITE), Some("same-origin" | "none"))
        && !is_link
}

/// The value of a header that occurs once.
fn single_value<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())?.to_str().ok()
}

/// A `Host` value without its port.
fn host_name(host: &str) -> &str {
    host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name })
}

fn is_this_machine(name: &str) -> bool {
    matches!(name, "127.0.0.1" | "localhost" | "[::1]")
}

#[cfg(test)]
mod tests {
    use axum::routing::any;

    use super::*;
    use crate::server::{bind_port, serve_public_router, serve_router};

    fn classify(method: &str, headers: &[(&str, &str)]) -> RequestSource {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        classify_request(&method.parse().unwrap(), &map, &[PublicHost::parse("Hooks.Example.com").unwrap()])
    }

    #[test]
    fn only_names_of_this_machine_and_of_the_tunnel_are_accepted() {
        for host in ["127.0.0.1", "127.0.0.1:8787", "localhost:1", "LOCALHOST", "[::1]:8787", "[::1]"] {
            assert_eq!(classify("GET", &[("host", host)]), RequestSource::ThisMachine, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8787",
            "127.0.0.1.evil.example:8787",
            "localhost.evil.example",
            "evil.example:127.0.0.1",
            "a.hooks.example.com",
            "127.0.0.2",
            "[::2]",
            "",
        ] {
            assert_eq!(classify("GET", &[("host", host)]), RequestSource::ForeignHost, "{host}");
        }
        assert_eq!(classify("GET", &[]), RequestSource::ForeignHost);
        assert_eq!(classify("GET", &[("host", "localhost"), ("host", "evil.example")]), RequestSource::ForeignHost);
        for host in ["hooks.example.com", "HOOKS.example.com:443"] {
            assert_eq!(
                classify("POST", &[("host", host), ("origin", "https://shop.example")]),
                RequestSource::PublicHost
            );
        }
    }

    #[test]
    fn a_tunnel_that_rewrites_the_host_still_counts_as_a_tunnel() {
        let of = |forwarded: &str| classify("GET", &[("host", "localhost:8787"), ("x-forwarded-host", forwarded)]);
        assert_eq!(of("hooks.example.com"), RequestSource::PublicHost);
        assert_eq!(of("localhost, hooks.example.com"), RequestSource::PublicHost);
        assert_eq!(of("evil.example"), RequestSource::ForeignHost);
        assert_eq!(of("localhost:8787"), RequestSource::ThisMachine);
    }

    #[test]
    fn a_page_of_another_origin_changes_and_reads_nothing() {
        let of = |method: &str, name: &str, value: &str| classify(method, &[("host", "127.0.0.1:8787"), (name, value)]);
        for origin in ["http://127.0.0.1:8787", "HTTP://127.0.0.1:8787"] {
            assert_eq!(of("POST", "origin", origin), RequestSource::ThisMachine, "{origin}");
        }
        for origin in [
            "https://evil.example",
            "null",
            "http://localhost:8787",
            "http://127.0.0.1:3000",
            "https://127.0.0.1:8787",
            "",
        ] {
            for method in ["POST", "GET", "OPTIONS"] {
                assert_eq!(of(method, "origin", origin), RequestSource::ForeignPage, "{method} {origin}");
            }
        }
        for site in ["cross-site", "same-site", "other"] {
            assert_eq!(of("GET", "sec-fetch-site", site), RequestSource::ForeignPage, "{site}");
        }
        for site in ["same-origin", "none"] {
            assert_eq!(of("POST", "sec-fetch-site", site), RequestSource::ThisMachine, "{site}");
        }
        let link = [("host", "localhost:8787"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        assert_eq!(classify("GET", &link), RequestSource::ThisMachine);
        assert_eq!(classify("POST", &link), RequestSource::ForeignPage);
    }

    #[tokio::test]
    async fn a_page_of_another_origin_posts_its_form_and_nothing_else() {
        let http = tellonce_core::bootstrap::build_http_client().unwrap();
        let public = PublicRoutes { hosts: Vec::new(), router: Router::new().fallback(any(async || "an endpoint")) };
        let listener = bind_port(0, "a test", "").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let local = Router::new().fallback(any(async || "the console"));
        let server = serve_public_router(local, public, listener, "a test");
        for (method, path, status) in [
            (Method::POST, "/leads/site/secret", 200),
            (Method::POST, "/segment/leads/site/secret", 200),
            (Method::GET, "/leads/site/secret", 403),
            (Method::POST, "/stores/shop", 403),
            (Method::POST, "/_console/leads/", 403),
            (Method::POST, "/a/b/leads/site", 403),
        ] {
            let request = http.request(method.clone(), format!("{url}{path}")).header("origin", "https://page.example");
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), status, "{method} {path}");
            if status == 200 {
                assert_eq!(response.text().await.unwrap(), "an endpoint");
            }
        }
        server.abort();
    }

    #[test]
    fn a_tunnel_is_named_by_its_host_name_only() {
        assert_eq!(PublicHost::parse("Hooks.Example.com").unwrap(), PublicHost("hooks.example.com".to_owned()));
        for text in ["https://hooks.example.com", "hooks.example.com:443", "hooks", "", "*.example.com", "a b.c"] {
            let error = PublicHost::parse(text).unwrap_err().to_string();
            assert!(error.contains("without https://"), "{error}");
        }
    }

    #[tokio::test]
    async fn every_path_is_guarded_and_a_tunnel_reaches_its_own_routes_only() {
        let http = tellonce_core::bootstrap::build_http_client().unwrap();
        let local = || Router::new().route("/console", any(async || "console")).route("/hooks", any(async || "hooks"));
        let public = PublicRoutes {
            hosts: vec![PublicHost::parse("hooks.example.com").unwrap()],
            router: Router::new().route("/hooks", any(async || "hooks")),
        };
        let (plain, tunnelled) = (bind_port(0, "a test", "").unwrap(), bind_port(0, "a test", "").unwrap());
        let urls = [&plain, &tunnelled].map(|listener| format!("http://{}", listener.local_addr().unwrap()));
        let servers =
            [serve_router(local(), plain, "a test"), serve_public_router(local(), public, tunnelled, "a test")];
        let [plain, tunnelled] = urls;
        for (url, host, path, status) in [
            (&plain, "localhost", "/console", 200),
            (&plain, "localhost", "/absent", 404),
            (&plain, "evil.example", "/console", 421),
            (&plain, "evil.example", "/absent", 421),
            (&plain, "hooks.example.com", "/hooks", 421),
            (&tunnelled, "localhost", "/console", 200),
            (&tunnelled, "hooks.example.com", "/hooks", 200),
            (&tunnelled, "hooks.example.com", "/console", 404),
            (&tunnelled, "evil.example", "/hooks", 421),
        ] {
            let response = http.get(format!("{url}{path}")).header("host", host).send().await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{host} {path}");
            if status == 421 {
                assert!(response.text().await.unwrap().contains("--public-host"));
            }
        }
        for server in servers {
            server.abort();
        }
    }
}
