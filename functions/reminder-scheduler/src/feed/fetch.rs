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
use shared::{
    clock::Deadline,
    fault::{Fault, Faulty},
    feed::{Fingerprint, Memory},
    secret::{Secret, SecretError},
};

use super::ics::{FeedError, MAX_BODY_BYTES};

/// How long a host may take for its answer, redirects and all. Calendars of thousands of events are made anew for each
/// request by some.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// How often a feed is read whole at the least, whatever its host says of changes: what lies ahead moves on although
/// nothing changed.
const READ_WHOLE_EVERY: SignedDuration = SignedDuration::from_hours(24);
/// How many redirects are followed. The shared client follows none.
const MAX_REDIRECTS: usize = 3;
/// The longest validator that is kept, in bytes.
const MAX_VALIDATOR_BYTES: usize = 512;

/// Why a feed cannot be had or read. Holds neither its address nor anything of it.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableFeed {
    /// The address could not be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// What is stored as the address is none.
    #[error("the secret {secret} holds no https:// or webcal:// address")]
    Address {
        /// Its name.
        secret: String,
    },
    /// No answer came.
    #[error("the feed's host did not answer")]
    Unreachable(#[source] reqwest::Error),
    /// Trouble on the host's side, or too many questions.
    #[error("the feed's host has trouble (HTTP {status})")]
    Trouble {
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
    Redirects,
    /// It sends us to where the address would travel in the open.
    #[error("the feed's host redirects to an address that is not https")]
    RedirectInTheOpen,
    /// It came, and cannot be read.
    #[error("the feed cannot be read")]
    Body(#[from] FeedError),
}

impl Faulty for UnreadableFeed {
    fn fault(&self) -> Fault {
        match self {
            // Nothing is written by asking, so an unknown outcome is as good as none.
            Self::Secret(_) | Self::Unreachable(_) | Self::Trouble { .. } => Fault::Transient,
            Self::Address { .. } | Self::Refused { .. } | Self::Redirects | Self::RedirectInTheOpen | Self::Body(_) => {
                Fault::Permanent
            }
        }
    }
}

/// What a host answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The same as at the last good read.
    Unchanged,
    /// The feed.
    Body {
        /// Its bytes.
        body: Vec<u8>,
        /// What to ask with next time.
        validators: Validators,
    },
}

/// What makes the next question a cheap one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Validators {
    etag: Option<String>,
    last_modified: Option<String>,
    address: Fingerprint,
}

impl Validators {
    fn of(headers: &HeaderMap, address: Fingerprint) -> Self {
        let header = |name| {
            let value = headers.get(name)?.to_str().ok()?;
            (value.len() <= MAX_VALIDATOR_BYTES).then(|| value.to_owned())
        };
        Self { etag: header(ETAG), last_modified: header(LAST_MODIFIED), address }
    }

    /// Keeps them with the read that they are of.
    pub(super) fn keep(self, memory: &mut Memory) {
        memory.etag = self.etag;
        memory.last_modified = self.last_modified;
        memory.address = Some(self.address);
    }
}

/// Whether "nothing changed" would be an answer: the last read was good, of this address, and not long ago.
fn may_be_unchanged(memory: &Memory, address: Fingerprint, now: Timestamp) -> bool {
    memory.address == Some(address)
        && memory.read_at.is_some_and(|read| now.duration_since(read) < READ_WHOLE_EVERY)
        && memory.doubted_since.is_none()
        && !memory.believe
        && memory.occurrences.values().all(|known| known.said.is_some())
}

/// Asks for a feed. `None` in the place of an error says that the address itself is none.
pub(super) async fn fetch(
    http: &reqwest::Client,
    address: &Secret,
    base_url: Option<&str>,
    memory: &Memory,
    now: Timestamp,
    deadline: Deadline,
) -> Result<Answer, Option<UnreadableFeed>> {
    let mut url = url(address, base_url).ok_or(None)?;
    let address = Fingerprint::of(&[Some(url.as_str())]);
    let conditional = may_be_unchanged(memory, address, now);
    for _ in 0..=MAX_REDIRECTS {
        let mut request = http
            .get(url.clone())
            .timeout(deadline.remaining())
            .header(ACCEPT, "text/calendar, */*;q=0.5")
            // Some hosts refuse whoever does not say what they are.
            .header(USER_AGENT, "tellonce");
        if let (true, Some(etag)) = (conditional, &memory.etag) {
            request = request.header(IF_NONE_MATCH, etag);
        }
        if let (true, Some(last_modified)) = (conditional, &memory.last_modified) {
            request = request.header(IF_MODIFIED_SINCE, last_modified);
        }
        let response = request.send().await.map_err(unreachable)?;
        match response.status().as_u16() {
            200 => {
                let validators = Validators::of(response.headers(), address);
                return Ok(Answer::Body { body: body(response).await?, validators });
            }
            304 if conditional => return Ok(Answer::Unchanged),
            status @ (301 | 302 | 303 | 307 | 308) => {
                let location = response.headers().get(LOCATION).and_then(|to| to.to_str().ok());
                let to = location.and_then(|to| url.join(to).ok()).ok_or(UnreadableFeed::Refused { status })?;
                if !may_travel(&to, base_url) {
                    return Err(Some(UnreadableFeed::RedirectInTheOpen));
                }
                url = to;
            }
            status @ (408 | 425 | 429 | 500..) => return Err(Some(UnreadableFeed::Trouble { status })),
            status => return Err(Some(UnreadableFeed::Refused { status })),
        }
    }
    Err(Some(UnreadableFeed::Redirects))
}

async fn body(response: Response) -> Result<Vec<u8>, UnreadableFeed> {
    let read = shared::body::up_to(MAX_BODY_BYTES, response).await.map_err(unreachable)?;
    read.ok_or_else(|| FeedError::TooLarge.into())
}

fn unreachable(error: reqwest::Error) -> UnreadableFeed {
    UnreadableFeed::Unreachable(error.without_url())
}

/// Where to ask. `base_url` takes the place of the address's origin.
fn url(address: &Secret, base_url: Option<&str>) -> Option<Url> {
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
    may_travel(&url, None).then_some(url)
}

/// Whether an address may be asked for: over https, or at the origin that was put in its place.
fn may_travel(url: &Url, base_url: Option<&str>) -> bool {
    let replaced = base_url.and_then(|base| Url::parse(base).ok()).is_some_and(|base| base.origin() == url.origin());
    url.has_host() && (url.scheme() == "https" || replaced)
}

#[cfg(test)]
mod tests {
    use loopback::{Peer, response};
    use shared::feed::Known;

    use super::*;

    fn at(hour: i64) -> Timestamp {
        "2026-11-20T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(hour)
    }

    #[test]
    fn what_the_recorded_feed_says_of_its_version_makes_the_next_question_a_cheap_one() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/bookings/ics/feed.headers.txt");
        let text = std::fs::read_to_string(file).unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once(": "));
        let headers: HeaderMap = pairs
            .map(|(name, value)| (name.parse::<reqwest::header::HeaderName>().unwrap(), value.parse().unwrap()))
            .collect();
        let mut memory = Memory::default();
        Validators::of(&headers, Fingerprint::of(&[None])).keep(&mut memory);
        assert_eq!((memory.etag.as_deref(), memory.last_modified), (Some("\"feed-1\""), None));
    }

    #[test]
    fn an_address_is_https_by_whatever_name() {
        let of = |address: &str, base| url(&Secret::new(address), base).map(String::from);
        let wanted = Some("https://calendar.example.com/ical/a%40b/private-1/basic.ics?x=1".to_owned());
        for scheme in ["https", "webcal", "WEBCAL", "webcals"] {
            assert_eq!(
                of(&format!(" {scheme}://calendar.example.com/ical/a%40b/private-1/basic.ics?x=1\n"), None),
                wanted
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
    fn nothing_changed_is_an_answer_only_to_the_last_good_read() {
        let address = Fingerprint::of(&[Some("a")]);
        let good = Memory { address: Some(address), read_at: Some(at(0)), ..Memory::default() };
        assert!(may_be_unchanged(&good, address, at(23)));
        assert!(!may_be_unchanged(&good, address, at(24)), "what lies ahead has moved on");
        assert!(!may_be_unchanged(&good, Fingerprint::of(&[Some("b")]), at(1)), "the address was replaced");
        assert!(!may_be_unchanged(&Memory::default(), address, at(1)));
        assert!(!may_be_unchanged(&Memory { doubted_since: Some(at(0)), ..good.clone() }, address, at(1)));
        assert!(!may_be_unchanged(&Memory { believe: true, ..good.clone() }, address, at(1)));
        let mut interrupted = good;
        interrupted.occurrences.insert("a".to_owned(), Known { start: at(9), said: None, cancelled: false });
        assert!(!may_be_unchanged(&interrupted, address, at(1)));
    }

    /// Answers one request after the other, and returns them.
    async fn host(peer: &Peer, answers: &[String]) -> Vec<String> {
        let mut requests = Vec::new();
        for answer in answers {
            requests.push(peer.answer(answer).await.unwrap().to_lowercase());
        }
        requests
    }

    const ADDRESS: &str = "webcal://calendar.example.com/private-hunter2/basic.ics?k=hunter2";

    async fn ask(memory: &Memory, answers: &[String]) -> (Vec<String>, Result<Answer, UnreadableFeed>) {
        let peer = Peer::start().await.unwrap();
        let http = shared::cold_start::http_client().unwrap();
        let base = peer.url().unwrap();
        let (address, deadline) = (Secret::new(ADDRESS), Deadline::after(Duration::from_secs(5)));
        let fetched = fetch(&http, &address, Some(&base), memory, at(1), deadline);
        let (requests, fetched) = tokio::join!(host(&peer, answers), fetched);
        (requests, fetched.map_err(|error| error.unwrap()))
    }

    #[tokio::test]
    async fn the_second_question_names_what_the_first_answer_said() {
        let peer = Peer::start().await.unwrap();
        let http = shared::cold_start::http_client().unwrap();
        let base = peer.url().unwrap();
        let (address, deadline) = (Secret::new(ADDRESS), Deadline::after(Duration::from_secs(5)));
        let first =
            response("200 OK\r\nETag: \"feed-1\"\r\nLast-Modified: Fri, 20 Nov 2026 00:00:00 GMT", "BEGIN:VCALENDAR");
        let answers = [first, response("304 Not Modified", "")];
        let mut memory = Memory { read_at: Some(at(0)), ..Memory::default() };
        let asking = async {
            let answer = fetch(&http, &address, Some(&base), &memory, at(1), deadline).await.unwrap();
            let Answer::Body { body, validators } = answer else { panic!("{answer:?}") };
            assert_eq!(body, b"BEGIN:VCALENDAR");
            validators.keep(&mut memory);
            fetch(&http, &address, Some(&base), &memory, at(1), deadline).await.unwrap()
        };
        let (requests, second) = tokio::join!(host(&peer, &answers), asking);
        assert_eq!(second, Answer::Unchanged);
        assert!(requests[0].starts_with("get /private-hunter2/basic.ics?k=hunter2 http/1.1\r\n"), "{}", requests[0]);
        assert!(!requests[0].contains("if-none-match") && !requests[0].contains("if-modified-since"));
        assert!(requests[1].contains("if-none-match: \"feed-1\"\r\n"), "{}", requests[1]);
        assert!(requests[1].contains("if-modified-since: fri, 20 nov 2026 00:00:00 gmt\r\n"), "{}", requests[1]);
    }

    #[tokio::test]
    async fn three_redirects_are_followed_and_none_into_the_open() {
        let to = |place: &str| response(&format!("302 Found\r\nLocation: {place}"), "");
        let there = response("200 OK", "BEGIN:VCALENDAR");
        let (requests, fetched) = ask(&Memory::default(), &[to("/b"), to("c?d"), to("/e"), there]).await;
        assert!(matches!(fetched, Ok(Answer::Body { .. })));
        assert!(requests[2].starts_with("get /c?d http"), "{}", requests[2]);
        let (_, fetched) = ask(&Memory::default(), &[to("/b"), to("/b"), to("/b"), to("/b")]).await;
        assert!(matches!(fetched, Err(UnreadableFeed::Redirects)));
        for open in ["http://calendar.example.com/b", "http://127.0.0.1:1/", "file:///etc/passwd", "webcal://a/b"] {
            let (_, fetched) = ask(&Memory::default(), &[to(open)]).await;
            assert!(matches!(fetched, Err(UnreadableFeed::RedirectInTheOpen)), "{open}");
        }
        let (_, fetched) = ask(&Memory::default(), &[response("301 Moved Permanently", "")]).await;
        assert!(matches!(fetched, Err(UnreadableFeed::Refused { status: 301 })));
    }

    #[tokio::test]
    async fn every_trouble_has_a_reason_that_tells_nothing() {
        let endless = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}", "x".repeat(MAX_BODY_BYTES + 1));
        for (given, fault, says) in [
            (response("503 Service Unavailable", ""), Fault::Transient, "503"),
            (response("429 Too Many Requests", ""), Fault::Transient, "429"),
            (response("404 Not Found", ""), Fault::Permanent, "store the new one"),
            (response("304 Not Modified", ""), Fault::Permanent, "304"),
            (endless, Fault::Permanent, "larger"),
            (format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", MAX_BODY_BYTES + 1), Fault::Permanent, "larger"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nBEGIN".to_owned(), Fault::Transient, "did not answer"),
            ("no http".to_owned(), Fault::Transient, "did not answer"),
        ] {
            let (_, fetched) = ask(&Memory::default(), &[given]).await;
            let error = fetched.unwrap_err();
            let text = shared::fault::chain(&error);
            assert!(error.fault() == fault && text.contains(says), "{text}");
            assert!(!format!("{text} {error:?}").contains("hunter2"), "{text} {error:?}");
        }
    }
}
