//! The reply to a browser that posts a form.
//!
//! If the browser posts the form itself, its person sees what the receiver responds. So the reply
//! is a page, or a redirect to the form's `thanks_url`. Nothing in the request chooses where the
//! redirect leads or what the page says. If a script posts, it gets the reply of
//! [`crate::http_response`], and the browser lets a page of any site read it. That reply shows no
//! more than every sender sees. Source: <https://fetch.spec.whatwg.org/#http-cors-protocol>.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use lambda_http::{Body, Request, Response};
use tellonce_core::{client_config::ClientConfig, content_type::media_type, secret::Secret};

use crate::{
    http_response::{self, AcceptedReply, ReceiveError},
    routing::{find_sender, remove_address_segment},
    sender::SenderKind,
};

/// A person who waits for a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    /// The words of the page.
    words: &'static PageWords,
    /// The business that the person wrote to, if the path names one of its forms.
    business: Option<&'a str>,
    /// Where the form sends the person.
    thanks_url: Option<&'a str>,
}

#[derive(Debug)]
struct PageWords {
    language: &'static str,
    direction: &'static str,
    received: [&'static str; 2],
    refused: [&'static str; 2],
}

/// The languages of the page, the one for all other languages first.
static PAGE_WORDS: [PageWords; 2] = [
    PageWords {
        language: "en",
        direction: "ltr",
        received: ["Thank you", "Your message has arrived."],
        refused: ["Your message did not arrive", "Please write to us in another way."],
    },
    PageWords {
        language: "he",
        direction: "rtl",
        received: ["תודה", "ההודעה התקבלה."],
        refused: ["ההודעה לא התקבלה", "אפשר לפנות אלינו בדרך אחרת."],
    },
];

/// What posts from a browser.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BrowserPost<'a> {
    /// The browser itself, for a person.
    Person(Reader<'a>),
    /// A script of a page.
    Script,
}

/// The browser behind a request; `None` if another system posts.
pub(crate) fn find_browser<'a>(
    config: &'a ClientConfig,
    segment: Option<&Secret>,
    request: &Request,
) -> Option<BrowserPost<'a>> {
    let is_native = is_native_post(request.headers());
    if !is_native && !request.headers().contains_key(header::ORIGIN) {
        return None;
    }
    let path = remove_address_segment(segment, request.uri().path()).ok();
    let sender = path.and_then(|path| find_sender(config, path).ok()).filter(|sender| sender.kind == SenderKind::Form);
    let form = sender.and_then(|sender| config.forms.get(sender.name));
    if !is_native {
        return form.map(|_| BrowserPost::Script);
    }
    let mut languages = form.and_then(|form| form.language.as_ref()).into_iter().chain(&config.languages);
    let words = languages.find_map(|language| PAGE_WORDS.iter().find(|words| words.language == language));
    Some(BrowserPost::Person(Reader {
        words: words.unwrap_or(&PAGE_WORDS[0]),
        business: form.map(|form| form.name.as_deref().unwrap_or(&config.name)),
        thanks_url: form.and_then(|form| form.thanks_url.as_deref()),
    }))
}

/// Whether a browser posts a form and will show the reply. A script asks for anything or for JSON,
/// and a browser says so if a script posts.
fn is_native_post(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let wants_page = text(header::ACCEPT).split(',').any(|range| media_type(range) == "text/html");
    let content_type = media_type(text(header::CONTENT_TYPE));
    let is_form = matches!(&*content_type, "application/x-www-form-urlencoded" | "multipart/form-data");
    let navigates = headers.get("sec-fetch-mode").is_none_or(|mode| mode == "navigate");
    wants_page && is_form && navigates
}

/// The response to a request. `browser` is the browser that reads it, if there is one.
pub(crate) fn build_response(
    outcome: Result<AcceptedReply, ReceiveError>,
    browser: Option<BrowserPost<'_>>,
) -> Response<Body> {
    match (browser, outcome) {
        (Some(BrowserPost::Person(reader)), Ok(AcceptedReply::Empty)) => reader.build_received(),
        (Some(BrowserPost::Person(reader)), Err(reason)) => {
            let mut response = reader.build_refused(&reason);
            if let Some(allowed) = reason.allowed_methods() {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
            }
            response
        }
        (Some(BrowserPost::Script), outcome) => {
            let mut response = http_response::build_response(outcome);
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            response
        }
        (_, outcome) => http_response::build_response(outcome),
    }
}

impl Reader<'_> {
    /// The reply to an accepted form: the form's own page, or a short one.
    fn build_received(&self) -> Response<Body> {
        let location = self.thanks_url.and_then(|url| HeaderValue::from_str(url).ok());
        let Some(location) = location else {
            return self.build_page(StatusCode::OK, self.words.received, "");
        };
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::SEE_OTHER;
        response.headers_mut().insert(header::LOCATION, location);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    /// The page about a refused form. Its last line is for the developer of the form.
    fn build_refused(&self, reason: &ReceiveError) -> Response<Body> {
        self.build_page(reason.status_code(), self.words.refused, &reason.public_message())
    }

    fn build_page(&self, status: StatusCode, [title, text]: [&str; 2], detail: &str) -> Response<Body> {
        let PageWords { language, direction, .. } = self.words;
        let business = html_escape::encode_text(self.business.unwrap_or_default());
        let detail = html_escape::encode_text(detail);
        let page = format!(
            "<!DOCTYPE html>\n<html lang=\"{language}\" dir=\"{direction}\">\n<head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title></head>\n\
             <body><h1>{title}</h1><p>{text}</p><p>{business}</p><p><small dir=\"ltr\">{detail}</small></p></body>\n</html>\n"
        );
        let mut response = Response::new(Body::Text(page));
        *response.status_mut() = status;
        for (name, value) in [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
            (header::CACHE_CONTROL, "no-store"),
            // The address may end in a secret.
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_a_browser_that_shows_the_reply_gets_a_page() {
        const CHROME: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        const FORM: &str = "application/x-www-form-urlencoded";
        for (accept, content_type, mode, expected) in [
            (CHROME, FORM, Some("navigate"), true),
            (CHROME, FORM, None, true),
            ("TEXT/HTML;q=0.5", "multipart/form-data; boundary=x", None, true),
            (CHROME, "application/x-www-form-urlencoded; charset=windows-1255", None, true),
            (CHROME, FORM, Some("cors"), false),
            (CHROME, "application/json", None, false),
            ("*/*", FORM, None, false),
            ("application/json, text/plain, */*", FORM, None, false),
            ("application/json", FORM, Some("navigate"), false),
        ] {
            let mut given = headers(&[("accept", accept), ("content-type", content_type)]);
            if let Some(mode) = mode {
                given.insert("sec-fetch-mode", HeaderValue::from_static(mode));
            }
            assert_eq!(is_native_post(&given), expected, "{accept} {content_type} {mode:?}");
        }
        assert!(!is_native_post(&HeaderMap::new()));
    }

    #[test]
    fn a_page_shows_texts_as_texts() {
        let reader = Reader { words: &PAGE_WORDS[1], business: Some("<b>A & B</b>"), thanks_url: None };
        let page = reader.build_received();
        let Body::Text(text) = page.body() else { panic!("no text") };
        assert!(text.contains("&lt;b&gt;A &amp; B&lt;/b&gt;") && text.contains("lang=\"he\" dir=\"rtl\""), "{text}");
        let refused = reader.build_refused(&ReceiveError::UnknownRoute);
        assert_eq!(refused.status(), StatusCode::NOT_FOUND);
        let Body::Text(text) = refused.body() else { panic!("no text") };
        assert!(text.contains("no sender is configured for this path"), "{text}");
    }
}
