//! A request to a fake.

use axum::extract::Request;
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use http_body_util::{BodyExt as _, Limited};
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// In bytes. Larger than any request of a function.
const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

/// A request with its whole body.
#[derive(Debug)]
pub(crate) struct FakeRequest {
    pub(crate) method: Method,
    pub(crate) path: String,
    query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl FakeRequest {
    /// Reads a request. Returns `None` if the body breaks off or is too large.
    pub(crate) async fn from_http(request: Request) -> Option<Self> {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await.ok()?.to_bytes();
        let query = parse_pairs(parts.uri.query().unwrap_or_default().as_bytes());
        let path = parts.uri.path().to_owned();
        Some(Self { method: parts.method, path, query, headers: parts.headers, body })
    }

    /// The segments of the path, decoded.
    pub(crate) fn path_segments(&self) -> Vec<String> {
        let decode = |segment| percent_decode_str(segment).decode_utf8_lossy().into_owned();
        self.path.split('/').skip(1).map(decode).collect()
    }

    /// The value of a query parameter.
    pub(crate) fn query_value(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A query parameter as a number, or `default`.
    pub(crate) fn query_number(&self, name: &str, default: usize) -> usize {
        self.query_value(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The credential of this scheme in the header `Authorization`.
    pub(crate) fn credential(&self, scheme: &str) -> Option<&str> {
        self.header(header::AUTHORIZATION.as_str())?.strip_prefix(scheme)?.strip_prefix(' ')
    }

    /// The body as JSON; null if it is not JSON.
    pub(crate) fn json_body(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A field of a form body.
    pub(crate) fn form_value(&self, name: &str) -> Option<String> {
        self.form_fields().into_iter().find_map(|(known, value)| (known == name).then_some(value))
    }

    /// All fields of a form body, in their order.
    pub(crate) fn form_fields(&self) -> Vec<(String, String)> {
        parse_pairs(&self.body)
    }

    /// All query parameters, in their order.
    pub(crate) fn query(&self) -> &[(String, String)] {
        &self.query
    }
}

fn parse_pairs(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text).into_owned().collect()
}
