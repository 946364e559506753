//! Fetching a feed: one GET, and the validators that make the next one cheaper.
//!
//! Main types: [`FeedFetchError`], [`FeedResponse`], [`CacheValidators`].
//!
//! Promise: the address is a secret, because it gives access to the calendar. It appears in no
//! error, no log and no `Debug` text. The address and every redirect are https and lead into the
//! public internet. The only exception is the origin in `CALENDAR_BASE_URL`, for local runs and
//! tests.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::{
    Client, Response, Url,
    header::{
        ACCEPT, CONTENT_TYPE, ETAG, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, USER_AGENT,
    },
};
use tellonce_core::{
    bootstrap::StartError,
    clock::Deadline,
    content_type::find_charset,
    fault::{ClassifyFault, Fault},
    feed::{FactsFingerprint, FeedSnapshot},
    public_address::{PublicAddressError, check_callable_url},
    public_client,
    secret::{Secret, SecretError},
};

use super::parse_error::{FeedParseError, MAX_BODY_BYTES};

/// How long a fetch may take, redirects included. Some hosts generate calendars of thousands of
/// events for each request.
pub(crate) const FETCH_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest time between two full reads, even if the host reports no change: the window moves
/// on.
const FULL_READ_INTERVAL: SignedDuration = SignedDuration::from_hours(24);
/// How many redirects are followed. The shared HTTP client follows none.
const MAX_REDIRECTS: usize = 3;
/// The longest validator that is stored, in bytes.
const MAX_VALIDATOR_BYTES: usize = 512;

/// Why a feed could not be fetched or parsed. Contains neither its address nor its content.
#[derive(Debug, thiserror::Error)]
pub enum FeedFetchError {
    /// The address could not be loaded.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The secret does not contain an address of a feed.
    #[error("secret {secret} does not contain an https:// or webcal:// address; store the feed's address")]
    InvalidAddress {
        /// The name of the secret.
        secret: String,
    },
    /// The host did not answer.
    #[error("host of the feed did not answer")]
    Unreachable(#[source] reqwest::Error),
    /// The host failed, or limits the number of requests.
    #[error("host of the feed is unavailable (HTTP {status})")]
    Unavailable {
        /// HTTP status.
        status: u16,
    },
    /// The address is not, or no longer, the address of a feed.
    #[error("host of the feed refused the request (HTTP {status}); if the address was reset, store the new one")]
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// The host redirects too often.
    #[error("host of the feed redirected more than {MAX_REDIRECTS} times")]
    TooManyRedirects,
    /// The host redirects to where the address would be sent unencrypted.
    #[error("host of the feed redirected to an address that is not https")]
    InsecureRedirect,
    /// The address, or one that the host redirects to, is in an inner network.
    #[error("address of the feed, or of its redirect, is not on the public internet")]
    NotPublic,
    /// The HTTP client for public addresses could not be built.
    #[error(transparent)]
    Client(#[from] StartError),
    /// The body could not be parsed.
    #[error("could not parse the feed")]
    Parse(#[from] FeedParseError),
}

impl ClassifyFault for FeedFetchError {
    fn fault(&self) -> Fault {
        match self {
            // A GET changes nothing, so a request with an unknown outcome may be repeated.
            Self::Secret(_) | Self::Client(_) | Self::Unreachable(_) | Self::Unavailable { .. } => Fault::Transient,
            Self::InvalidAddress { .. }
            | Self::Refused { .. }
            | Self::TooManyRedirects
            | Self::InsecureRedirect
            | Self::NotPublic
            | Self::Parse(_) => Fault::Permanent,
        }
    }
}

impl FeedFetchError {
    /// Whether the host was too slow for the time of the fetch.
    pub(super) fn is_timeout(&self) -> bool {
        matches!(self, Self::Unreachable(error) if error.is_timeout())
    }
}

/// The response of a feed's host.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FeedResponse {
    /// The feed is the same as at the last accepted read.
    Unchanged,
    /// The feed, and the validators for the next request.
    Body(FeedBody, CacheValidators),
}

/// The feed of a host.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FeedBody {
    pub(super) bytes: Vec<u8>,
    /// The calendar's id, if the address names it.
    pub(super) calendar_id: Option<String>,
    /// The character set in `Content-Type`.
    pub(super) charset: Option<String>,
}

/// What makes the next request conditional.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CacheValidators {
    etag: Option<String>,
    last_modified: Option<String>,
    address_fingerprint: FactsFingerprint,
}

impl CacheValidators {
    fn from_headers(headers: &HeaderMap, address_fingerprint: FactsFingerprint) -> Self {
        let header = |name| {
            let value = headers.get(name)?.to_str().ok()?;
            (value.len() <= MAX_VALIDATOR_BYTES).then(|| value.to_owned())
        };
        Self { etag: header(ETAG), last_modified: header(LAST_MODIFIED), address_fingerprint }
    }

    /// Stores the validators with the read that they belong to.
    pub(super) fn save_to(self, snapshot: &mut FeedSnapshot) {
        snapshot.etag = self.etag;
        snapshot.last_modified = self.last_modified;
        snapshot.address = Some(self.address_fingerprint);
    }
}

/// Whether the response "not modified" is acceptable: the last read was accepted, from this
/// address, and recent.
fn can_be_unchanged(snapshot: &FeedSnapshot, address: FactsFingerprint, now: Timestamp) -> bool {
    snapshot.address == Some(address)
        && snapshot.read_at.is_some_and(|read_at| now.duration_since(read_at) < FULL_READ_INTERVAL)
        && snapshot.suspect_since.is_none()
        && !snapshot.accept_next_read
        && snapshot.occurrences.values().all(|known| known.fingerprint.is_some())
}

/// A feed's address and the name of its secret.
#[derive(Clone, Copy)]
pub(super) struct FeedAddress<'a> {
    pub(super) address: &'a Secret,
    pub(super) secret_name: &'a str,
    /// Replaces the origin of the address in local runs and tests.
    pub(super) base_url: Option<&'a str>,
    /// The settings that a read depends on. After a change of them, the response "not modified" is
    /// not acceptable.
    pub(super) settings: &'a str,
}

/// Fetches a feed.
pub(super) async fn fetch_feed(
    http: &Client,
    feed_address: FeedAddress<'_>,
    snapshot: &FeedSnapshot,
    now: Timestamp,
    deadline: Deadline,
) -> Result<FeedResponse, FeedFetchError> {
    let FeedAddress { address, secret_name, base_url, settings } = feed_address;
    let mut url = resolve_url(address, base_url)
        .ok_or_else(|| FeedFetchError::InvalidAddress { secret: secret_name.to_owned() })?;
    let calendar_id = find_calendar_id(&url);
    let fingerprint = FactsFingerprint::of_facts(&[Some(url.as_str()), Some(settings)]);
    let conditional = can_be_unchanged(snapshot, fingerprint, now);
    for _ in 0..=MAX_REDIRECTS {
        let mut request = choose_client(http, &url, base_url)?
            .get(url.clone())
            .timeout(deadline.remaining())
            .header(ACCEPT, "text/calendar, */*;q=0.5")
            // Some hosts refuse requests without a user agent.
            .header(USER_AGENT, "tellonce");
        if let (true, Some(etag)) = (conditional, &snapshot.etag) {
            request = request.header(IF_NONE_MATCH, etag);
        }
        if let (true, Some(last_modified)) = (conditional, &snapshot.last_modified) {
            request = request.header(IF_MODIFIED_SINCE, last_modified);
        }
        let response = request.send().await.map_err(unreachable_error)?;
        match response.status().as_u16() {
            200 => {
                let validators = CacheValidators::from_headers(response.headers(), fingerprint);
                let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
                let charset = content_type.and_then(find_charset).map(str::to_owned);
                let body = FeedBody { bytes: read_body(response).await?, calendar_id, charset };
                return Ok(FeedResponse::Body(body, validators));
            }
            304 if conditional => return Ok(FeedResponse::Unchanged),
            status @ (301 | 302 | 303 | 307 | 308) => {
                let location = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
                let to = location.and_then(|to| url.join(to).ok()).ok_or(FeedFetchError::Refused { status })?;
                url = to;
            }
            status @ (408 | 425 | 429 | 500..) => return Err(FeedFetchError::Unavailable { status }),
            status => return Err(FeedFetchError::Refused { status }),
        }
    }
    Err(FeedFetchError::TooManyRedirects)
}

async fn read_body(response: Response) -> Result<Vec<u8>, FeedFetchError> {
    let read = tellonce_core::http_body::read_body_up_to(MAX_BODY_BYTES, response).await.map_err(unreachable_error)?;
    read.ok_or_else(|| FeedParseError::TooLarge.into())
}

fn unreachable_error(error: reqwest::Error) -> FeedFetchError {
    if public_client::is_not_public(&error) {
        return FeedFetchError::NotPublic;
    }
    FeedFetchError::Unreachable(error.without_url())
}

/// The client for one request of a fetch: the first, or one after a redirect. `http` calls only the
/// origin that replaces the real one.
fn choose_client<'h>(http: &'h Client, url: &Url, base_url: Option<&str>) -> Result<&'h Client, FeedFetchError> {
    if base_url.and_then(|base| Url::parse(base).ok()).is_some_and(|base| base.origin() == url.origin()) {
        return Ok(http);
    }
    check_callable_url(url).map_err(|error| match error {
        PublicAddressError::NotHttps => FeedFetchError::InsecureRedirect,
        _ => FeedFetchError::NotPublic,
    })?;
    Ok(public_client::public_client()?)
}

/// The URL of a feed. `base_url` replaces the origin of the address.
fn resolve_url(address: &Secret, base_url: Option<&str>) -> Option<Url> {
    let address = address.expose().trim();
    // Calendar programs use `webcal` for https.
    let address = match address.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("webcal") || scheme.eq_ignore_ascii_case("webcals") => {
            format!("https://{rest}")
        }
        _ => address.to_owned(),
    };
    let url = Url::parse(&address).ok()?;
    if let Some(base_url) = base_url {
        let mut replaced = Url::parse(base_url).ok()?;
        replaced.set_path(url.path());
        replaced.set_query(url.query());
        return Some(replaced);
    }
    (url.scheme() == "https" && url.has_host()).then_some(url)
}

/// The part of a path that is an e-mail address: Google's addresses of feeds contain the id of the
/// calendar, `/calendar/ical/anna%40clinic.example/private-…/basic.ics`.
fn find_calendar_id(url: &Url) -> Option<String> {
    let mut parts = url.path_segments()?.map(|part| part.replace("%40", "@"));
    parts.find(|part| part.contains('@'))
}

#[cfg(test)]
mod tests {
    use loopback::{FakeApi, http_response};
    use tellonce_core::feed::KnownOccurrence;

    use super::*;

    fn at_hour(hour: i64) -> Timestamp {
        "2026-11-20T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hour)
    }

    #[test]
    fn the_recorded_feeds_headers_allow_a_conditional_request() {
        let recorded = tellonce_samples::WebhookPost::from_sample("bookings/ics/feed", "");
        let headers = tellonce_samples::build_header_map(&recorded.headers);
        let mut snapshot = FeedSnapshot::default();
        CacheValidators::from_headers(&headers, FactsFingerprint::of_facts(&[None])).save_to(&mut snapshot);
        assert_eq!((snapshot.etag.as_deref(), snapshot.last_modified), (Some("\"feed-1\""), None));
    }

    #[test]
    fn an_address_resolves_to_https_for_every_accepted_scheme() {
        let resolved = |address: &str, base| resolve_url(&Secret::new(address), base).map(String::from);
        let expected = Some("https://calendar.example.com/ical/a%40b/private-1/basic.ics?x=1".to_owned());
        for scheme in ["https", "webcal", "WEBCAL", "webcals"] {
            assert_eq!(
                resolved(&format!(" {scheme}://calendar.example.com/ical/a%40b/private-1/basic.ics?x=1\n"), None),
                expected
            );
        }
        let local =
            resolved("webcal://calendar.example.com/ical/a%40b/private-1/basic.ics?x=1", Some("http://127.0.0.1:9/x"));
        assert_eq!(local.as_deref(), Some("http://127.0.0.1:9/ical/a%40b/private-1/basic.ics?x=1"));
        for invalid in
            ["", "hunter2", "http://calendar.example.com/a.ics", "file:///etc/passwd", "https://", "ftp://a/b"]
        {
            assert_eq!(resolved(invalid, None), None, "{invalid}");
        }
    }

    #[test]
    fn not_modified_is_accepted_only_after_a_recent_good_read() {
        let address = FactsFingerprint::of_facts(&[Some("a")]);
        let good = FeedSnapshot { address: Some(address), read_at: Some(at_hour(0)), ..FeedSnapshot::default() };
        assert!(can_be_unchanged(&good, address, at_hour(23)));
        assert!(!can_be_unchanged(&good, address, at_hour(24)), "the window has moved on");
        assert!(
            !can_be_unchanged(&good, FactsFingerprint::of_facts(&[Some("b")]), at_hour(1)),
            "the address was replaced"
        );
        assert!(!can_be_unchanged(&FeedSnapshot::default(), address, at_hour(1)));
        assert!(!can_be_unchanged(
            &FeedSnapshot { suspect_since: Some(at_hour(0)), ..good.clone() },
            address,
            at_hour(1)
        ));
        assert!(!can_be_unchanged(&FeedSnapshot { accept_next_read: true, ..good.clone() }, address, at_hour(1)));
        let mut interrupted = good;
        interrupted.occurrences.insert(
            "a".to_owned(),
            KnownOccurrence { start: at_hour(9), fingerprint: None, cancelled: false, person: None, feed_id: None },
        );
        assert!(!can_be_unchanged(&interrupted, address, at_hour(1)));
    }

    /// Answers one request after the other and returns the requests.
    async fn serve_responses(api: &FakeApi, replies: &[String]) -> Vec<String> {
        let mut requests = Vec::new();
        for reply in replies {
            requests.push(api.reply_once(reply).await.unwrap().to_lowercase());
        }
        requests
    }

    const ADDRESS: &str = "webcal://calendar.example.com/private-hunter2/basic.ics?k=hunter2";

    fn feed_address<'a>(address: &'a Secret, base_url: &'a str) -> FeedAddress<'a> {
        let secret_name = "tellonce/demo/calendars/diary";
        FeedAddress { address, secret_name, base_url: Some(base_url), settings: "a" }
    }

    #[test]
    fn the_id_of_a_google_calendar_is_part_of_its_address() {
        let id = |url: &str| find_calendar_id(&Url::parse(url).unwrap());
        let google = "https://calendar.google.com/calendar/ical";
        for (path, expected) in [
            ("anna%40clinic.example/private-1/basic.ics", Some("anna@clinic.example")),
            ("anna@clinic.example/private-1/basic.ics", Some("anna@clinic.example")),
            ("c_1ab%40group.calendar.google.com/private-1/basic.ics", Some("c_1ab@group.calendar.google.com")),
            ("private-1/basic.ics?owner=anna%40clinic.example", None),
        ] {
            assert_eq!(id(&format!("{google}/{path}")).as_deref(), expected, "{path}");
        }
    }

    async fn fetch_from(
        snapshot: &FeedSnapshot,
        replies: &[String],
    ) -> (Vec<String>, Result<FeedResponse, FeedFetchError>) {
        let api = FakeApi::start().await.unwrap();
        let http = tellonce_core::bootstrap::build_http_client().unwrap();
        let base = api.base_url().unwrap();
        let (address, deadline) = (Secret::new(ADDRESS), Deadline::from_now(Duration::from_secs(5)));
        let fetched = fetch_feed(&http, feed_address(&address, &base), snapshot, at_hour(1), deadline);
        tokio::join!(serve_responses(&api, replies), fetched)
    }

    #[tokio::test]
    async fn the_second_request_sends_the_validators_of_the_first_response() {
        let api = FakeApi::start().await.unwrap();
        let http = tellonce_core::bootstrap::build_http_client().unwrap();
        let base = api.base_url().unwrap();
        let (address, deadline) = (Secret::new(ADDRESS), Deadline::from_now(Duration::from_secs(5)));
        let first = http_response(
            "200 OK\r\nContent-Type: text/calendar; charset=\"UTF-8\"\r\nETag: \"feed-1\"\r\nLast-Modified: Fri, 20 Nov 2026 00:00:00 GMT",
            "BEGIN:VCALENDAR",
        );
        let replies = [first.clone(), http_response("304 Not Modified", ""), first];
        let mut snapshot = FeedSnapshot { read_at: Some(at_hour(0)), ..FeedSnapshot::default() };
        let fetch_twice = async {
            let feed = feed_address(&address, &base);
            let response = fetch_feed(&http, feed, &snapshot, at_hour(1), deadline).await.unwrap();
            let FeedResponse::Body(body, validators) = response else { panic!("{response:?}") };
            assert_eq!((body.bytes.as_slice(), body.charset.as_deref()), (&b"BEGIN:VCALENDAR"[..], Some("UTF-8")));
            validators.save_to(&mut snapshot);
            let second = fetch_feed(&http, feed, &snapshot, at_hour(1), deadline).await.unwrap();
            let changed = FeedAddress { settings: "b", ..feed };
            (second, fetch_feed(&http, changed, &snapshot, at_hour(1), deadline).await.unwrap())
        };
        let (requests, (second, third)) = tokio::join!(serve_responses(&api, &replies), fetch_twice);
        assert_eq!(second, FeedResponse::Unchanged);
        assert!(matches!(third, FeedResponse::Body(..)) && !requests[2].contains("if-none-match"), "new settings");
        assert!(requests[0].starts_with("get /private-hunter2/basic.ics?k=hunter2 http/1.1\r\n"), "{}", requests[0]);
        assert!(!requests[0].contains("if-none-match") && !requests[0].contains("if-modified-since"));
        assert!(requests[1].contains("if-none-match: \"feed-1\"\r\n"), "{}", requests[1]);
        assert!(requests[1].contains("if-modified-since: fri, 20 nov 2026 00:00:00 gmt\r\n"), "{}", requests[1]);
    }

    #[tokio::test]
    async fn three_redirects_are_followed_but_none_to_an_insecure_or_inner_address() {
        let to = |place: &str| http_response(&format!("302 Found\r\nLocation: {place}"), "");
        let there = http_response("200 OK", "BEGIN:VCALENDAR");
        let (requests, fetched) = fetch_from(&FeedSnapshot::default(), &[to("/b"), to("c?d"), to("/e"), there]).await;
        assert!(matches!(fetched, Ok(FeedResponse::Body(..))));
        assert!(requests[2].starts_with("get /c?d http"), "{}", requests[2]);
        let (_, fetched) = fetch_from(&FeedSnapshot::default(), &[to("/b"), to("/b"), to("/b"), to("/b")]).await;
        assert!(matches!(fetched, Err(FeedFetchError::TooManyRedirects)));
        for insecure in ["http://calendar.example.com/b", "http://127.0.0.1:1/", "file:///etc/passwd", "webcal://a/b"] {
            let (_, fetched) = fetch_from(&FeedSnapshot::default(), &[to(insecure)]).await;
            assert!(matches!(fetched, Err(FeedFetchError::InsecureRedirect)), "{insecure}");
        }
        for inner in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://[::1]/",
            "https://169.254.169.254/latest/meta-data/",
            "https://localhost:1/hunter2",
        ] {
            let (_, fetched) = fetch_from(&FeedSnapshot::default(), &[to("/b"), to(inner)]).await;
            let error = fetched.unwrap_err();
            assert!(
                matches!(error, FeedFetchError::NotPublic) && error.fault() == Fault::Permanent,
                "{inner}: {error:?}"
            );
        }
        let (_, fetched) = fetch_from(&FeedSnapshot::default(), &[http_response("301 Moved Permanently", "")]).await;
        assert!(matches!(fetched, Err(FeedFetchError::Refused { status: 301 })));
    }

    #[tokio::test]
    async fn an_address_in_an_inner_network_is_never_called() {
        let http = tellonce_core::bootstrap::build_http_client().unwrap();
        for inner in
            ["https://localhost:1/hunter2.ics", "webcal://10.0.0.1/hunter2.ics", "https://[fd00::1]/hunter2.ics"]
        {
            let address = Secret::new(inner);
            let feed = FeedAddress { base_url: None, ..feed_address(&address, "") };
            let deadline = Deadline::from_now(Duration::from_secs(5));
            let error = fetch_feed(&http, feed, &FeedSnapshot::default(), at_hour(1), deadline).await.unwrap_err();
            assert!(matches!(error, FeedFetchError::NotPublic), "{error:?}");
        }
    }

    #[tokio::test]
    async fn every_failure_has_a_reason_without_secrets() {
        let endless = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", "x".repeat(MAX_BODY_BYTES + 1));
        for (reply, fault, expected_text) in [
            (http_response("503 Service Unavailable", ""), Fault::Transient, "503"),
            (http_response("429 Too Many Requests", ""), Fault::Transient, "429"),
            (http_response("404 Not Found", ""), Fault::Permanent, "store the new one"),
            (http_response("304 Not Modified", ""), Fault::Permanent, "304"),
            (endless, Fault::Permanent, "larger"),
            (format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", MAX_BODY_BYTES + 1), Fault::Permanent, "larger"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nBEGIN".to_owned(), Fault::Transient, "did not answer"),
            ("no http".to_owned(), Fault::Transient, "did not answer"),
        ] {
            let (_, fetched) = fetch_from(&FeedSnapshot::default(), &[reply]).await;
            let error = fetched.unwrap_err();
            let text = tellonce_core::fault::error_chain(&error);
            assert!(error.fault() == fault && text.contains(expected_text), "{text}");
            assert!(!format!("{text} {error:?}").contains("hunter2"), "{text} {error:?}");
        }
    }
}
