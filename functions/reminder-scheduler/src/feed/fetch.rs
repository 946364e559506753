//! Fetching a feed: one GET, and what its host says to make the next one cheaper.
//!
//! The address is a secret: whoever knows it reads the calendar. So it is in no error, no log and no `Debug` text, and
//! travels over https only, on redirects too. (The one exception is an origin that `CALENDAR_BASE_URL` puts in its place,
//! for local runs and tests.)

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::{
    Response, Url,
    header::{ACCEPT, ETAG, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, USER_AGENT},
};
use tellonce_core::{
    clock::Deadline,
    fault::{ClassifyFault, Fault},
    feed::{FactsFingerprint, FeedSnapshot},
    secret::{Secret, SecretError},
};

use super::ics::{FeedParseError, MAX_BODY_BYTES};

/// How long a host may take for its answer, redirects and all. Calendars of thousands of events are made anew for each
/// request by some.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(15);
/// How often a feed is read whole at the least, whatever its host says of changes: what lies ahead moves on although
/// nothing changed.
const FULL_READ_INTERVAL: SignedDuration = SignedDuration::from_hours(24);
/// How many redirects are followed. The shared client follows none.
const MAX_REDIRECTS: usize = 3;
/// The longest validator that is kept, in bytes.
const MAX_VALIDATOR_BYTES: usize = 512;

/// Why a feed cannot be had or read. Holds neither its address nor anything of it.
#[derive(Debug, thiserror::Error)]
pub enum FeedFetchError {
    /// The address could not be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// What is stored as the address is none.
    #[error("the secret {secret} holds no https:// or webcal:// address")]
    InvalidAddress {
        /// Its name.
        secret: String,
    },
    /// No answer came.
    #[error("the feed's host did not answer")]
    Unreachable(#[source] reqwest::Error),
    /// Trouble on the host's side, or too many questions.
    #[error("the feed's host has trouble (HTTP {status})")]
    Unavailable {
        /// HTTP status.
        status: u16,
    },
    /// The address is not, or no longer, one of a feed.
    #[error("the feed's host refuses (HTTP {status}); if the address was reset, store the new one")]
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// It sends us in circles.
    #[error("the feed's host redirects more than {MAX_REDIRECTS} times")]
    TooManyRedirects,
    /// It sends us to where the address would travel in the open.
    #[error("the feed's host redirects to an address that is not https")]
    InsecureRedirect,
    /// It came, and cannot be read.
    #[error("the feed cannot be read")]
    Parse(#[from] FeedParseError),
}

impl ClassifyFault for FeedFetchError {
    fn fault(&self) -> Fault {
        match self {
            // Nothing is written by asking, so an unknown outcome is as good as none.
            Self::Secret(_) | Self::Unreachable(_) | Self::Unavailable { .. } => Fault::Transient,
            Self::InvalidAddress { .. }
            | Self::Refused { .. }
            | Self::TooManyRedirects
            | Self::InsecureRedirect
            | Self::Parse(_) => Fault::Permanent,
        }
    }
}

/// What a host answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FeedResponse {
    /// The same as at the last good read.
    Unchanged,
    /// The feed.
    Body {
        /// Its bytes.
        body: Vec<u8>,
        /// What to ask with next time.
        validators: CacheValidators,
    },
}

/// What makes the next question a cheap one.
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

    /// Keeps them with the read that they are of.
    pub(super) fn save_to(self, snapshot: &mut FeedSnapshot) {
        snapshot.etag = self.etag;
        snapshot.last_modified = self.last_modified;
        snapshot.address = Some(self.address_fingerprint);
    }
}

/// Whether "nothing changed" would be an answer: the last read was good, of this address, and not long ago.
fn can_be_unchanged(snapshot: &FeedSnapshot, address: FactsFingerprint, now: Timestamp) -> bool {
    snapshot.address == Some(address)
        && snapshot.read_at.is_some_and(|read| now.duration_since(read) < FULL_READ_INTERVAL)
        && snapshot.suspect_since.is_none()
        && !snapshot.accept_next_read
        && snapshot.occurrences.values().all(|known| known.fingerprint.is_some())
}

/// Asks for a feed. `OnlyMissing` in the place of an error says that the address itself is none.
pub(super) async fn fetch_feed(
    http: &reqwest::Client,
    address: &Secret,
    base_url: Option<&str>,
    snapshot: &FeedSnapshot,
    now: Timestamp,
    deadline: Deadline,
) -> Result<FeedResponse, Option<FeedFetchError>> {
    let mut url = resolve_url(address, base_url).ok_or(None)?;
    let address = FactsFingerprint::of_facts(&[Some(url.as_str())]);
    let conditional = can_be_unchanged(snapshot, address, now);
    for _ in 0..=MAX_REDIRECTS {
        let mut request = http
            .get(url.clone())
            .timeout(deadline.remaining())
            .header(ACCEPT, "text/calendar, */*;q=0.5")
            // Some hosts refuse whoever does not say what they are.
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
                let validators = CacheValidators::from_headers(response.headers(), address);
                return Ok(FeedResponse::Body { body: read_body(response).await?, validators });
            }
            304 if conditional => return Ok(FeedResponse::Unchanged),
            status @ (301 | 302 | 303 | 307 | 308) => {
                let location = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
                let to = location.and_then(|to| url.join(to).ok()).ok_or(FeedFetchError::Refused { status })?;
                if !is_allowed_url(&to, base_url) {
                    return Err(Some(FeedFetchError::InsecureRedirect));
                }
                url = to;
            }
            status @ (408 | 425 | 429 | 500..) => return Err(Some(FeedFetchError::Unavailable { status })),
            status => return Err(Some(FeedFetchError::Refused { status })),
        }
    }
    Err(Some(FeedFetchError::TooManyRedirects))
}

async fn read_body(response: Response) -> Result<Vec<u8>, FeedFetchError> {
    let read = tellonce_core::http_body::read_body_up_to(MAX_BODY_BYTES, response).await.map_err(unreachable_error)?;
    read.ok_or_else(|| FeedParseError::TooLarge.into())
}

fn unreachable_error(error: reqwest::Error) -> FeedFetchError {
    FeedFetchError::Unreachable(error.without_url())
}

/// Where to ask. `base_url` takes the place of the address's origin.
fn resolve_url(address: &Secret, base_url: Option<&str>) -> Option<Url> {
    let address = address.expose().trim();
    // Calendar programs' own name for https.
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
    is_allowed_url(&url, None).then_some(url)
}

/// Whether an address may be asked for: over https, or at the origin that was put in its place.
fn is_allowed_url(url: &Url, base_url: Option<&str>) -> bool {
    let replaced = base_url.and_then(|base| Url::parse(base).ok()).is_some_and(|base| base.origin() == url.origin());
    url.has_host() && (url.scheme() == "https" || replaced)
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
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/bookings/ics/feed.headers.txt");
        let text = std::fs::read_to_string(file).unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once(": "));
        let headers: HeaderMap = pairs
            .map(|(name, value)| (name.parse::<reqwest::header::HeaderName>().unwrap(), value.parse().unwrap()))
            .collect();
        let mut snapshot = FeedSnapshot::default();
        CacheValidators::from_headers(&headers, FactsFingerprint::of_facts(&[None])).save_to(&mut snapshot);
        assert_eq!((snapshot.etag.as_deref(), snapshot.last_modified), (Some("\"feed-1\""), None));
    }

    #[test]
    fn an_address_resolves_to_https_for_every_accepted_scheme() {
        let of = |address: &str, base| resolve_url(&Secret::new(address), base).map(String::from);
        let expected = Some("https://calendar.example.com/ical/a%40b/private-1/basic.ics?x=1".to_owned());
        for scheme in ["https", "webcal", "WEBCAL", "webcals"] {
            assert_eq!(
                of(&format!(" {scheme}://calendar.example.com/ical/a%40b/private-1/basic.ics?x=1\n"), None),
                expected
            );
        }
        let local =
            of("webcal://calendar.example.com/ical/a%40b/private-1/basic.ics?x=1", Some("http://127.0.0.1:9/x"));
        assert_eq!(local.as_deref(), Some("http://127.0.0.1:9/ical/a%40b/private-1/basic.ics?x=1"));
        for none in ["", "hunter2", "http://calendar.example.com/a.ics", "file:///etc/passwd", "https://", "ftp://a/b"]
        {
            assert_eq!(of(none, None), None, "{none}");
        }
    }

    #[test]
    fn not_modified_is_accepted_only_after_a_recent_good_read() {
        let address = FactsFingerprint::of_facts(&[Some("a")]);
        let good = FeedSnapshot { address: Some(address), read_at: Some(at_hour(0)), ..FeedSnapshot::default() };
        assert!(can_be_unchanged(&good, address, at_hour(23)));
        assert!(!can_be_unchanged(&good, address, at_hour(24)), "what lies ahead has moved on");
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
        interrupted
            .occurrences
            .insert("a".to_owned(), KnownOccurrence { start: at_hour(9), fingerprint: None, cancelled: false });
        assert!(!can_be_unchanged(&interrupted, address, at_hour(1)));
    }

    /// Answers one request after the other, and returns them.
    async fn serve_responses(api: &FakeApi, replies: &[String]) -> Vec<String> {
        let mut requests = Vec::new();
        for reply in replies {
            requests.push(api.reply_once(reply).await.unwrap().to_lowercase());
        }
        requests
    }

    const ADDRESS: &str = "webcal://calendar.example.com/private-hunter2/basic.ics?k=hunter2";

    async fn fetch_from(
        snapshot: &FeedSnapshot,
        replies: &[String],
    ) -> (Vec<String>, Result<FeedResponse, FeedFetchError>) {
        let api = FakeApi::start().await.unwrap();
        let http = tellonce_core::bootstrap::build_http_client().unwrap();
        let base = api.base_url().unwrap();
        let (address, deadline) = (Secret::new(ADDRESS), Deadline::from_now(Duration::from_secs(5)));
        let fetched = fetch_feed(&http, &address, Some(&base), snapshot, at_hour(1), deadline);
        let (requests, fetched) = tokio::join!(serve_responses(&api, replies), fetched);
        (requests, fetched.map_err(|error| error.unwrap()))
    }

    #[tokio::test]
    async fn the_second_request_sends_the_validators_of_the_first_response() {
        let api = FakeApi::start().await.unwrap();
        let http = tellonce_core::bootstrap::build_http_client().unwrap();
        let base = api.base_url().unwrap();
        let (address, deadline) = (Secret::new(ADDRESS), Deadline::from_now(Duration::from_secs(5)));
        let first = http_response(
            "200 OK\r\nETag: \"feed-1\"\r\nLast-Modified: Fri, 20 Nov 2026 00:00:00 GMT",
            "BEGIN:VCALENDAR",
        );
        let replies = [first, http_response("304 Not Modified", "")];
        let mut snapshot = FeedSnapshot { read_at: Some(at_hour(0)), ..FeedSnapshot::default() };
        let asking = async {
            let response = fetch_feed(&http, &address, Some(&base), &snapshot, at_hour(1), deadline).await.unwrap();
            let FeedResponse::Body { body, validators } = response else { panic!("{response:?}") };
            assert_eq!(body, b"BEGIN:VCALENDAR");
            validators.save_to(&mut snapshot);
            fetch_feed(&http, &address, Some(&base), &snapshot, at_hour(1), deadline).await.unwrap()
        };
        let (requests, second) = tokio::join!(serve_responses(&api, &replies), asking);
        assert_eq!(second, FeedResponse::Unchanged);
        assert!(requests[0].starts_with("get /private-hunter2/basic.ics?k=hunter2 http/1.1\r\n"), "{}", requests[0]);
        assert!(!requests[0].contains("if-none-match") && !requests[0].contains("if-modified-since"));
        assert!(requests[1].contains("if-none-match: \"feed-1\"\r\n"), "{}", requests[1]);
        assert!(requests[1].contains("if-modified-since: fri, 20 nov 2026 00:00:00 gmt\r\n"), "{}", requests[1]);
    }

    #[tokio::test]
    async fn three_redirects_are_followed_but_none_to_an_insecure_address() {
        let to = |place: &str| http_response(&format!("302 Found\r\nLocation: {place}"), "");
        let there = http_response("200 OK", "BEGIN:VCALENDAR");
        let (requests, fetched) = fetch_from(&FeedSnapshot::default(), &[to("/b"), to("c?d"), to("/e"), there]).await;
        assert!(matches!(fetched, Ok(FeedResponse::Body { .. })));
        assert!(requests[2].starts_with("get /c?d http"), "{}", requests[2]);
        let (_, fetched) = fetch_from(&FeedSnapshot::default(), &[to("/b"), to("/b"), to("/b"), to("/b")]).await;
        assert!(matches!(fetched, Err(FeedFetchError::TooManyRedirects)));
        for open in ["http://calendar.example.com/b", "http://127.0.0.1:1/", "file:///etc/passwd", "webcal://a/b"] {
            let (_, fetched) = fetch_from(&FeedSnapshot::default(), &[to(open)]).await;
            assert!(matches!(fetched, Err(FeedFetchError::InsecureRedirect)), "{open}");
        }
        let (_, fetched) = fetch_from(&FeedSnapshot::default(), &[http_response("301 Moved Permanently", "")]).await;
        assert!(matches!(fetched, Err(FeedFetchError::Refused { status: 301 })));
    }

    #[tokio::test]
    async fn every_failure_has_a_reason_without_secrets() {
        let endless = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", "x".repeat(MAX_BODY_BYTES + 1));
        for (given, fault, expected_text) in [
            (http_response("503 Service Unavailable", ""), Fault::Transient, "503"),
            (http_response("429 Too Many Requests", ""), Fault::Transient, "429"),
            (http_response("404 Not Found", ""), Fault::Permanent, "store the new one"),
            (http_response("304 Not Modified", ""), Fault::Permanent, "304"),
            (endless, Fault::Permanent, "larger"),
            (format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", MAX_BODY_BYTES + 1), Fault::Permanent, "larger"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nBEGIN".to_owned(), Fault::Transient, "did not answer"),
            ("no http".to_owned(), Fault::Transient, "did not answer"),
        ] {
            let (_, fetched) = fetch_from(&FeedSnapshot::default(), &[given]).await;
            let error = fetched.unwrap_err();
            let text = tellonce_core::fault::error_chain(&error);
            assert!(error.fault() == fault && text.contains(expected_text), "{text}");
            assert!(!format!("{text} {error:?}").contains("hunter2"), "{text} {error:?}");
        }
    }
}
