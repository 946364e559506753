//! The event of API Gateway, before and after it is an HTTP request.
//!
//! `lambda_http` panics if an event does not form a request: a raw space in the query, an odd
//! `host` or `x-forwarded-proto`, base64 that is none. A stranger chooses all of these. So this
//! module parses the event first, and `lambda_http` gets only what it can take.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderName, Uri, header};
use lambda_http::{
    Body, Request, Response,
    aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse},
    request::LambdaRequest,
};
use url::Url;

/// The headers that `lambda_http` builds the address of a request from. The receiver needs only the
/// path, and no proof depends on these headers.
const ADDRESS_HEADERS: [HeaderName; 3] =
    [header::HOST, HeaderName::from_static("x-forwarded-proto"), HeaderName::from_static("x-forwarded-port")];

/// Why an event is not an HTTP request. Holds nothing of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedEvent {
    /// The event lacks a field of API Gateway, or a header or the method is malformed.
    #[error("the event is not an HTTP request of API Gateway")]
    NotARequest,
    /// A path or a query with characters that must be encoded.
    #[error("the path or the query has characters that must be percent-encoded")]
    Address,
    /// The body is marked as base64 and is not base64.
    #[error("the body is not base64")]
    Body,
}

/// Parses the payload of an invocation (HTTP API, payload format 2.0).
pub fn parse_request(payload: &str) -> Result<Request, MalformedEvent> {
    let mut event: ApiGatewayV2httpRequest = serde_json::from_str(payload).map_err(|_| MalformedEvent::NotARequest)?;
    check_address(event.raw_path.as_deref().unwrap_or_default(), event.raw_query_string.as_deref())?;
    for name in &ADDRESS_HEADERS {
        event.headers.remove(name);
    }
    event.request_context.domain_name = None;
    let is_base64 = std::mem::take(&mut event.is_base64_encoded);
    let body = match event.body.take() {
        None => Body::Empty,
        Some(text) if is_base64 => Body::Binary(BASE64.decode(text).map_err(|_| MalformedEvent::Body)?),
        Some(text) => Body::Text(text),
    };
    let mut request = Request::from(LambdaRequest::ApiGatewayV2(event));
    *request.body_mut() = body;
    Ok(request)
}

/// Checks that path and query form an address. API Gateway has decoded the path, and `lambda_http`
/// encodes it again. The query is as the caller wrote it.
fn check_address(path: &str, query: Option<&str>) -> Result<(), MalformedEvent> {
    // Without a slash at its start the path would become part of the host name.
    if !path.starts_with('/') {
        return Err(MalformedEvent::Address);
    }
    let url = Url::parse(&format!("http://localhost{path}")).map_err(|_| MalformedEvent::Address)?;
    let address = format!("{}?{}", url.path(), query.unwrap_or_default());
    address.parse::<Uri>().map(drop).map_err(|_| MalformedEvent::Address)
}

/// The response as API Gateway takes it.
pub(super) fn build_gateway_response(response: Response<Body>) -> ApiGatewayV2httpResponse {
    let (parts, body) = response.into_parts();
    let mut gateway_response = ApiGatewayV2httpResponse::default();
    gateway_response.status_code = parts.status.as_u16().into();
    gateway_response.headers = parts.headers;
    gateway_response.body = Some(body).filter(|body| !matches!(body, Body::Empty));
    gateway_response
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// An event as API Gateway builds it.
    fn sample_event() -> Value {
        json!({
            "version": "2.0",
            "routeKey": "POST /stores/{store}",
            "rawPath": "/stores/shop",
            "rawQueryString": "a=1&b=%20",
            "headers": {"host": "x.execute-api.eu-west-1.amazonaws.com", "x-forwarded-proto": "https", "x-test": "1"},
            "requestContext": {
                "accountId": "1",
                "apiId": "x",
                "domainName": "x.execute-api.eu-west-1.amazonaws.com",
                "http": {
                    "method": "POST", "path": "/stores/shop", "protocol": "HTTP/1.1",
                    "sourceIp": "192.0.2.1", "userAgent": "test"
                },
                "requestId": "r",
                "routeKey": "POST /stores/{store}",
                "stage": "$default",
                "time": "29/Nov/2026:00:00:00 +0000",
                "timeEpoch": 1_796_000_000_000_i64
            },
            "body": "{}",
            "isBase64Encoded": false
        })
    }

    fn changed_event(pointer: &str, value: &Value) -> String {
        let mut event = sample_event();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        event.pointer_mut(parent).unwrap()[name] = value.clone();
        event.to_string()
    }

    #[test]
    fn an_event_becomes_a_request_with_its_path_query_headers_and_body() {
        let request = parse_request(&sample_event().to_string()).unwrap();
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/stores/shop"));
        // The path of a named stage begins with its name, whether or not the event's path does.
        for path in ["/stage-1/stores/shop", "/stores/shop"] {
            let mut event = sample_event();
            (event["rawPath"], event["requestContext"]["stage"]) = (json!(path), json!("stage-1"));
            assert_eq!(parse_request(&event.to_string()).unwrap().uri().path(), "/stage-1/stores/shop");
        }
        assert_eq!(request.uri().query(), Some("a=1&b=%20"));
        assert_eq!(request.headers()["x-test"], "1");
        assert_eq!(request.body(), &Body::Text("{}".to_owned()));
        let with_bytes = changed_event("/body", &json!("/w=="));
        let mut event: Value = serde_json::from_str(&with_bytes).unwrap();
        event["isBase64Encoded"] = json!(true);
        assert_eq!(parse_request(&event.to_string()).unwrap().body(), &Body::Binary(vec![0xff]));
    }

    #[test]
    fn headers_that_name_a_host_or_a_scheme_change_nothing() {
        for (name, value) in [
            ("x-forwarded-proto", "https,http"),
            ("x-forwarded-proto", "a b"),
            ("x-forwarded-port", "443,80"),
            ("host", "a b"),
            ("host", "[::"),
            ("host", ""),
        ] {
            let request = parse_request(&changed_event(&format!("/headers/{name}"), &json!(value))).unwrap();
            assert_eq!(request.uri().path(), "/stores/shop", "{name}: {value}");
        }
        for domain in [json!("a b"), json!(""), Value::Null] {
            let event = changed_event("/requestContext/domainName", &domain);
            assert_eq!(parse_request(&event).unwrap().uri().path(), "/stores/shop", "{domain}");
        }
    }

    #[test]
    fn an_address_with_raw_characters_is_malformed() {
        for query in ["a=b c", "a=<b>", "a=>b", "a=\u{7f}", "a=\n", &"a".repeat(70_000)] {
            let refused = parse_request(&changed_event("/rawQueryString", &json!(query)));
            assert_eq!(refused.err(), Some(MalformedEvent::Address), "{query}");
        }
        for path in ["", "stores/shop", ":80/stores/shop", "@host/stores/shop"] {
            let refused = parse_request(&changed_event("/rawPath", &json!(path)));
            assert_eq!(refused.err(), Some(MalformedEvent::Address), "{path}");
        }
    }

    #[test]
    fn a_path_that_the_gateway_decoded_is_encoded_again() {
        for (path, expected) in [
            ("/stores/sh op", "/stores/sh%20op"),
            ("/stores/\"<>", "/stores/%22%3C%3E"),
            ("/stores/\u{5d0}", "/stores/%D7%90"),
            ("//host/stores", "//host/stores"),
            ("/stores/shop?a#b", "/stores/shop"),
        ] {
            let request = parse_request(&changed_event("/rawPath", &json!(path))).unwrap();
            assert_eq!(request.uri().path(), expected, "{path}");
        }
    }

    #[test]
    fn a_body_that_is_not_base64_is_malformed() {
        for body in ["%%%", "a", "ab=c", "\u{5d0}"] {
            let mut event = sample_event();
            (event["body"], event["isBase64Encoded"]) = (json!(body), json!(true));
            assert_eq!(parse_request(&event.to_string()).err(), Some(MalformedEvent::Body), "{body}");
        }
    }

    #[test]
    fn an_event_of_another_kind_is_not_a_request() {
        for payload in ["{}", "[]", "null", "1", "{\"Records\": []}", "{\"requestContext\": {}}", "{", ""] {
            assert_eq!(parse_request(payload).err(), Some(MalformedEvent::NotARequest), "{payload}");
        }
        let event = changed_event("/headers/x-test", &json!("a\nb"));
        assert_eq!(parse_request(&event).err(), Some(MalformedEvent::NotARequest));
    }

    /// Any text, with the characters that break addresses more often than chance would choose them.
    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof!["[ \"<>`{}|\\\\^\\[\\]%?#/:@&=,\u{0}-\u{1f}a-z0-9\u{5d0}]{0,20}", ".{0,40}"]
    }

    /// A value of any JSON type.
    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any_text().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            Just(Value::Null),
            Just(json!([])),
            Just(json!({})),
            prop::collection::vec(any_text(), 0..3).prop_map(|texts| json!(texts)),
        ]
    }

    const FIELDS: [&str; 16] = [
        "/rawPath",
        "/rawQueryString",
        "/body",
        "/isBase64Encoded",
        "/headers",
        "/headers/host",
        "/headers/x-forwarded-proto",
        "/headers/x-forwarded-port",
        "/headers/content-type",
        "/cookies",
        "/queryStringParameters",
        "/pathParameters",
        "/requestContext/domainName",
        "/requestContext/stage",
        "/requestContext/http",
        "/requestContext/http/method",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn no_event_panics(
            changes in prop::collection::vec((prop::sample::select(&FIELDS[..]), any_value()), 1..4),
            header in any_text(),
        ) {
            let mut event = sample_event();
            event["headers"][header] = json!("x");
            for (pointer, value) in changes {
                let (parent, name) = pointer.rsplit_once('/').unwrap();
                if let Some(Value::Object(parent)) = event.pointer_mut(parent) {
                    parent.insert(name.to_owned(), value);
                }
            }
            if let Ok(request) = parse_request(&event.to_string()) {
                prop_assert!(request.uri().path().starts_with('/'));
            }
        }
    }
}
