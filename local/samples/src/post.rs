//! What a sender posts.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::sample_file::{read_body, read_sample_text};

/// One webhook request, ready to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookPost {
    /// Where to: `/stores/shop`, `/bookings/clinic`, `/leads/jotform/<secret>`.
    pub path: String,
    /// Name and value of each header.
    pub headers: Vec<(String, String)>,
    /// The raw bytes.
    pub body: Vec<u8>,
}

impl WebhookPost {
    /// A post with a `Content-Type` and no other header.
    pub fn new(path: impl Into<String>, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let content_type = ("Content-Type".to_owned(), content_type.to_owned());
        Self { path: path.into(), headers: vec![content_type], body: body.into() }
    }

    /// A recorded delivery, such as `stores/shopify/orders_paid`, posted to `path`. It has no
    /// `Content-Length`: the client that posts counts for itself.
    pub fn from_sample(case: &str, path: impl Into<String>) -> Self {
        let text = read_sample_text(&format!("{case}.headers.txt"));
        let headers = text.lines().filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { path: path.into(), headers, body: read_body(case) }.with_header("Content-Length", None)
    }

    /// The same post with another body.
    #[must_use]
    pub fn with_body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// The same post with another value of a header, or without the header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: Option<&str>) -> Self {
        let known = self.headers.iter().position(|(known, _)| known.eq_ignore_ascii_case(name));
        match (known, value) {
            (Some(at), Some(value)) => value.clone_into(&mut self.headers[at].1),
            (Some(at), None) => drop(self.headers.remove(at)),
            (None, Some(value)) => self.headers.push((name.to_owned(), value.to_owned())),
            (None, None) => {}
        }
        self
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn body_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// Name of the store, calendar, form or line that it is from.
    pub fn sender_name(&self) -> &str {
        self.path.split('/').nth(2).unwrap_or_default()
    }
}

/// The headers as a receiver has them.
///
/// # Panics
///
/// If a name or a value is not allowed in a header.
pub fn build_header_map<N: AsRef<str>, V: AsRef<str>>(headers: &[(N, V)]) -> HeaderMap {
    let pair = |(name, value): &(N, V)| {
        let name: HeaderName = name.as_ref().parse().expect("the name of a header");
        (name, HeaderValue::from_str(value.as_ref()).expect("the value of a header"))
    };
    headers.iter().map(pair).collect()
}
