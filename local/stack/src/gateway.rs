//! API Gateway on this machine: the template's HTTP API routes on 127.0.0.1.
//!
//! Functions get payloads of format 2.0 as API Gateway makes them, errors and limits included.
//!
//! Long because each rule of API Gateway about requests and responses has its test here.
//!
//! Payload:
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::{ConnectInfo, RawPathParams, Request},
    response::{IntoResponse as _, Response},
    routing::any,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value, json};
use tellonce_core::content_type;
use tellonce_fakes::{generate_id, server::ConnectionAbort};

use crate::{
    ACCOUNT,
    access_log::AccessLog,
    clock::LocalClock,
    functions::{FunctionPool, InvokeError},
    metrics::MetricLog,
    post_recorder::PostRecorder,
    template::{HttpRoute, SamTemplate},
};

/// Largest body: Lambda's limit for a synchronous payload, which is below API Gateway's own 10 MB.
const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;
/// API Gateway's limit for an integration.
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);
/// Media types whose bodies arrive as text; all others are base64.
const TEXT_TYPES: [&str; 3] = ["application/json", "application/javascript", "application/xml"];

/// The route of a request that has none, in the access log.
const NO_ROUTE: &str = "-";

/// The routes of a template and the functions behind them.
#[derive(Debug)]
pub(crate) struct HttpGateway {
    routes: Vec<(HttpRoute, String)>,
    /// The stage, if its addresses begin with its name.
    stage: Option<String>,
    /// Id of the API in metrics.
    api: String,
    functions: Arc<FunctionPool>,
    clock: Arc<LocalClock>,
    metrics: Arc<MetricLog>,
    posts: PostRecorder,
    access_log: AccessLog,
}

impl HttpGateway {
    pub(crate) fn new(
        template: &SamTemplate,
        functions: Arc<FunctionPool>,
        clock: Arc<LocalClock>,
        metrics: Arc<MetricLog>,
        posts: PostRecorder,
        access_log: AccessLog,
    ) -> Self {
        let routes = template
            .functions
            .iter()
            .flat_map(|function| function.routes.iter().map(|route| (route.clone(), function.name.clone())))
            .collect();
        let (stage, api) = (template.address_segment.clone(), template.api.clone());
        Self { routes, stage, api, functions, clock, metrics, posts, access_log }
    }

    /// What comes before the path of every route: nothing, or the stage.
    pub(crate) fn address_prefix(&self) -> String {
        self.stage.as_ref().map(|stage| format!("/{stage}")).unwrap_or_default()
    }

    /// Method and path of every route, and its function.
    pub(crate) fn routes(&self) -> &[(HttpRoute, String)] {
        &self.routes
    }

    /// The template's routes. Every other path and method is answered 404.
    ///
    /// API Gateway and axum write a parameter the same way (`{store}`), and in both it takes one
    /// segment that is not empty. API Gateway answers 404 where axum would answer 405, so a path
    /// takes every method here and [`Self::serve_request`] compares the method.
    pub(crate) fn build_router(self: Arc<Self>) -> Router {
        let paths: BTreeSet<String> = self.routes.iter().map(|(route, _)| route.path.clone()).collect();
        let mut router = Router::new();
        for path in paths {
            let gateway = self.clone();
            let route_path = path.clone();
            let handler = move |parameters: RawPathParams, request: Request| async move {
                let parameters = parameters.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                let method = request.method().clone();
                let response = gateway.serve_request(&route_path, parameters, request).await;
                let has_route = gateway.find_route(&route_path, &method).is_some();
                let route = if has_route { format!("{method} {route_path}") } else { NO_ROUTE.to_owned() };
                gateway.log_response(&route, response)
            };
            router = router.route(&format!("{}{path}", self.address_prefix()), any(handler));
        }
        router.fallback(async move |method: Method| {
            if method == Method::POST {
                self.posts.record_unknown_address();
            }
            self.log_response(NO_ROUTE, not_found())
        })
    }

    /// The route of a request, and its function.
    fn find_route(&self, path: &str, method: &Method) -> Option<&(HttpRoute, String)> {
        self.routes.iter().find(|(route, _)| route.path == path && route.method == method.as_str())
    }

    /// Writes a response to the access log, and counts those of a client's or a server's fault, as
    /// API Gateway does
    /// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html>).
    fn log_response(&self, route: &str, response: Response) -> Response {
        let status = response.status();
        self.access_log.add_request(route, status.as_u16());
        if status.is_client_error() || status.is_server_error() {
            let name = if status.is_client_error() { "4xx" } else { "5xx" };
            self.metrics.count_event("AWS/ApiGateway", name, ("ApiId", &self.api));
        }
        response
    }

    async fn serve_request(&self, path: &str, parameters: BTreeMap<String, String>, request: Request) -> Response {
        let peer = request.extensions().get::<ConnectInfo<ConnectionAbort>>();
        let peer = peer.map_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)), |ConnectInfo(abort)| abort.peer_addr());
        let (parts, body) = request.into_parts();
        let Some((route, function)) = self.find_route(path, &parts.method) else { return not_found() };
        let body = match Limited::new(body, MAX_BODY_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(e) if e.is::<LengthLimitError>() => {
                return json_message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
            }
            Err(_) => return json_message(StatusCode::BAD_REQUEST, "Bad Request"),
        };
        let mut event = build_event(&parts, &body, route, &parameters, peer, self.clock.now_ms());
        if let Some(stage) = &self.stage {
            event["requestContext"]["stage"] = json!(stage);
        }
        if parts.method == Method::POST {
            let sender = route_sender(route, &parameters);
            self.posts.write_files(sender.1, &parts.headers, &body, self.clock.now_ms());
            self.invoke_for_post(function, &event, sender).await
        } else {
            self.invoke_function(function, &event).await
        }
    }

    /// Invokes the function, and adds the post to the activity.
    async fn invoke_for_post(&self, function: &str, event: &Value, sender: (&str, &str)) -> Response {
        let id = event["requestContext"]["requestId"].as_str().unwrap_or_default();
        self.posts.begin(id);
        let response = self.invoke_function(function, event).await;
        self.posts.finish(id, sender, response).await
    }

    /// The id of the invocation is that of the request.
    async fn invoke_function(&self, function: &str, event: &Value) -> Response {
        let id = event["requestContext"]["requestId"].as_str().unwrap_or_default().to_owned();
        let invocation = self.functions.invoke_with_id(function, id, event.to_string().into());
        match tokio::time::timeout(INTEGRATION_TIMEOUT, invocation).await {
            Ok(Ok(answer)) => build_response(&answer).unwrap_or_else(|problem| {
                tracing::warn!("{function} returned an unusable response to the gateway: {problem}");
                json_message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
            }),
            Ok(Err(e)) => {
                tracing::warn!("{function}: {e}");
                let status = match e {
                    InvokeError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                };
                json_message(status, "Internal Server Error")
            }
            Err(_) => json_message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        }
    }
}

/// The kind of a route's senders, and the name of the sender in the path. The secret at the end of
/// some paths is left out.
fn route_sender<'r>(route: &'r HttpRoute, parameters: &'r BTreeMap<String, String>) -> (&'r str, &'r str) {
    let mut segments = route.path.trim_start_matches('/').split('/');
    let kind = segments.next().unwrap_or_default();
    let name = segments.next().unwrap_or_default().trim_matches(['{', '}']);
    (kind, parameters.get(name).map_or(name, String::as_str))
}

fn not_found() -> Response {
    json_message(StatusCode::NOT_FOUND, "Not Found")
}

fn json_message(status: StatusCode, text: &str) -> Response {
    (status, axum::Json(json!({"message": text}))).into_response()
}

/// The payload, format 2.0.
pub fn build_event(
    parts: &Parts,
    body: &Bytes,
    route: &HttpRoute,
    parameters: &BTreeMap<String, String>,
    peer: SocketAddr,
    now_ms: i64,
) -> Value {
    let route_key = format!("{} {}", route.method, route.path);
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    let header = |name: HeaderName| parts.headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    let host = header(header::HOST).unwrap_or_else(|| "127.0.0.1".to_owned());
    let now = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": query,
        "headers": join_headers(&parts.headers),
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "local",
            "domainName": host,
            "domainPrefix": "local",
            "http": {
                "method": parts.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": peer.ip().to_string(),
                "userAgent": header(header::USER_AGENT).unwrap_or_default(),
            },
            "requestId": generate_id(),
            "routeKey": route_key,
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            "timeEpoch": now_ms,
        },
        "isBase64Encoded": false,
    });
    if let Some(cookies) = collect_cookies(&parts.headers) {
        event["cookies"] = cookies;
    }
    if !query.is_empty() {
        event["queryStringParameters"] = parse_query(query);
    }
    if !parameters.is_empty() {
        event["pathParameters"] = json!(parameters);
    }
    if !body.is_empty() {
        let kind = header(header::CONTENT_TYPE).unwrap_or_default();
        let (text, encoded) = encode_body(body, &kind);
        event["body"] = json!(text);
        event["isBase64Encoded"] = json!(encoded);
    }
    event
}

/// The body as text where its media type is textual, in base64 otherwise.
fn encode_body(body: &Bytes, content_type: &str) -> (String, bool) {
    let media_type = content_type::media_type(content_type);
    let textual = media_type.starts_with("text/") || TEXT_TYPES.contains(&media_type.as_str());
    match std::str::from_utf8(body) {
        Ok(text) if textual => (text.to_owned(), false),
        _ => (STANDARD.encode(body), true),
    }
}

/// Lower-cased names; several values of one name are joined by commas. Cookies travel separately.
fn join_headers(headers: &HeaderMap) -> Map<String, Value> {
    let mut joined = Map::new();
    for name in headers.keys().filter(|name| **name != header::COOKIE) {
        let values: Vec<_> = headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
        joined.insert(name.as_str().to_owned(), json!(values.join(",")));
    }
    joined
}

fn collect_cookies(headers: &HeaderMap) -> Option<Value> {
    let cookies: Vec<String> = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split("; ").map(str::to_owned))
        .collect();
    (!cookies.is_empty()).then(|| json!(cookies))
}

fn parse_query(query: &str) -> Value {
    let mut parameters: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        parameters
            .entry(name.into_owned())
            .and_modify(|values| {
                values.push(',');
                values.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    json!(parameters)
}

/// A function's answer as a response. An answer without `statusCode` is itself the body, as API
/// Gateway infers.
fn build_response(payload: &[u8]) -> Result<Response, String> {
    let value: Value = serde_json::from_slice(payload).map_err(|e| e.to_string())?;
    let Some(status) = value.get("statusCode") else {
        return Ok(([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response());
    };
    let status = status.as_u64().and_then(|n| u16::try_from(n).ok()).and_then(|n| StatusCode::from_u16(n).ok());
    let status = status.ok_or("its statusCode is not an HTTP status")?;
    let body = match &value["body"] {
        Value::Null => Vec::new(),
        Value::String(text) if value["isBase64Encoded"] == true => STANDARD.decode(text).map_err(|e| e.to_string())?,
        Value::String(text) => text.clone().into_bytes(),
        other => return Err(format!("its body is not a text but {other}")),
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    for (name, value) in value["headers"].as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        headers.insert(parse_header_name(name)?, parse_header_value(&text)?);
    }
    for (name, values) in value["multiValueHeaders"].as_object().into_iter().flatten() {
        for value in values.as_array().into_iter().flatten().filter_map(Value::as_str) {
            headers.append(parse_header_name(name)?, parse_header_value(value)?);
        }
    }
    for cookie in value["cookies"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        headers.append(header::SET_COOKIE, parse_header_value(cookie)?);
    }
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain;charset=UTF-8"));
    headers.insert("apigw-requestid", parse_header_value(&generate_id())?);
    Ok(response)
}

fn parse_header_name(name: &str) -> Result<HeaderName, String> {
    name.parse().map_err(|_| format!("{name:?} is not a header name"))
}

fn parse_header_value(value: &str) -> Result<HeaderValue, String> {
    value.parse().map_err(|_| "a header's value has unprintable characters".to_owned())
}

#[cfg(test)]
mod tests {
    use tellonce_fakes::server::{bind_port, serve_router};

    use super::*;
    use crate::activity::ActivityLog;

    const PAYLOAD_ROUTE: &str = "/stores/{store}";

    /// A gateway without functions: a request that reaches a route fails with 500.
    fn test_router(routes: &[(&str, &str)], stage: Option<&str>) -> Router {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(LocalClock::open(&dir.path().join("clock")).unwrap());
        let metrics = Arc::new(MetricLog::new(clock.clone()));
        let setup = crate::functions::FunctionSetup {
            binaries: "/nowhere".as_ref(),
            directory: "/".as_ref(),
            logs: &std::env::temp_dir(),
            metrics: &metrics,
            max_instances: 1,
            spare_time: Duration::ZERO,
        };
        let functions = FunctionPool::prepare(&[], &setup, |_| BTreeMap::new()).unwrap();
        let routes = routes.iter().map(|(method, path)| (test_route(method, path), "absent".to_owned())).collect();
        let stage = stage.map(str::to_owned);
        let api = "Api".to_owned();
        let log = Arc::new(ActivityLog::open(clock.clone(), None).unwrap());
        let posts = PostRecorder { log, stored: Arc::default(), files: None };
        let functions = Arc::new(functions);
        // The open file is enough.
        let folder = tempfile::tempdir().unwrap();
        let access_log = AccessLog::open(folder.path(), clock.clone()).unwrap();
        Arc::new(HttpGateway { routes, stage, api, functions, clock, metrics, posts, access_log }).build_router()
    }

    fn test_route(method: &str, path: &str) -> HttpRoute {
        HttpRoute { method: method.to_owned(), path: path.to_owned() }
    }

    /// Serves a router and returns its URL.
    fn serve(router: Router) -> String {
        let listener = bind_port(0, "the test", "").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        serve_router(router, listener, "the test gateway");
        url
    }

    async fn status_of(url: &str, method: &str, path: &str, body: Vec<u8>) -> StatusCode {
        let http = tellonce_core::bootstrap::build_http_client().unwrap();
        let request = http.request(method.parse().unwrap(), format!("{url}{path}")).body(body);
        request.send().await.unwrap().status()
    }

    #[tokio::test]
    async fn a_route_takes_its_method_and_one_segment_for_each_parameter() {
        let routes = [("POST", "/stores/{store}"), ("GET", "/leads/{form}"), ("POST", "/leads/{form}")];
        let url = serve(test_router(&routes, None));
        let reached = StatusCode::INTERNAL_SERVER_ERROR;
        for (method, path) in [("POST", "/stores/a%20b+c"), ("GET", "/leads/a"), ("POST", "/leads/a")] {
            assert_eq!(status_of(&url, method, path, Vec::new()).await, reached, "{method} {path}");
        }
        for (method, path) in [
            ("POST", "/stores"),
            ("POST", "/stores/"),
            ("POST", "/stores/a/b"),
            ("POST", "/Stores/a"),
            ("POST", "/stores/a/"),
            ("POST", "/"),
            ("GET", "/stores/a"),
            ("HEAD", "/leads/a"),
        ] {
            assert_eq!(status_of(&url, method, path, Vec::new()).await, StatusCode::NOT_FOUND, "{method} {path}");
        }
    }

    #[tokio::test]
    async fn the_name_of_a_stage_begins_every_address() {
        let url = serve(test_router(&[("POST", "/stores/{store}")], Some("stage-1")));
        for (path, status) in [
            ("/stage-1/stores/a", StatusCode::INTERNAL_SERVER_ERROR),
            ("/stores/a", StatusCode::NOT_FOUND),
            ("/stage-2/stores/a", StatusCode::NOT_FOUND),
        ] {
            assert_eq!(status_of(&url, "POST", path, Vec::new()).await, status, "{path}");
        }
    }

    #[test]
    fn a_payload_has_the_shape_of_format_two() {
        let request = http::Request::post("/stores/shop?a=1&a=2&b=%C3%A9")
            .header("X-Shopify-Topic", "orders/create")
            .header("X-Many", "1")
            .header("X-Many", "2")
            .header("Cookie", "a=1; b=2")
            .header("Content-Type", "application/json; charset=utf-8")
            .header("User-Agent", "test")
            .body(())
            .unwrap();
        let (parts, ()) = request.into_parts();
        let parameters = BTreeMap::from([("store".to_owned(), "shop".to_owned())]);
        let event = build_event(
            &parts,
            &Bytes::from_static(b"{\"a\":1}"),
            &test_route("POST", PAYLOAD_ROUTE),
            &parameters,
            ([127, 0, 0, 1], 9).into(),
            1_767_679_201_500,
        );
        assert_eq!(event["version"], "2.0");
        assert_eq!(event["routeKey"], "POST /stores/{store}");
        assert_eq!(event["rawPath"], "/stores/shop");
        assert_eq!(event["queryStringParameters"], json!({"a": "1,2", "b": "é"}));
        assert_eq!(event["headers"]["x-shopify-topic"], "orders/create");
        assert_eq!(event["headers"]["x-many"], "1,2");
        assert!(event["headers"].get("cookie").is_none());
        assert_eq!(event["cookies"], json!(["a=1", "b=2"]));
        assert_eq!(event["pathParameters"], json!({"store": "shop"}));
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("{\"a\":1}"), &json!(false)));
        assert_eq!(event["requestContext"]["http"]["method"], "POST");
        assert_eq!(event["requestContext"]["timeEpoch"], 1_767_679_201_500_i64);
        assert_eq!(event["requestContext"]["time"], "06/Jan/2026:06:00:01 +0000");
    }

    #[test]
    fn bodies_that_are_no_text_travel_as_base64() {
        let body = Bytes::from_static(b"a=1");
        assert_eq!(encode_body(&body, "application/x-www-form-urlencoded"), ("YT0x".to_owned(), true));
        assert_eq!(encode_body(&body, ""), ("YT0x".to_owned(), true));
        assert_eq!(encode_body(&body, "TEXT/plain"), ("a=1".to_owned(), false));
        assert_eq!(encode_body(&Bytes::from_static(b"\xff"), "application/json"), ("/w==".to_owned(), true));
    }

    #[test]
    fn a_function_result_becomes_a_response() {
        let payload = json!({"statusCode": 401, "headers": {"X-Why": "no"}, "cookies": ["a=1"], "body": "aGk=", "isBase64Encoded": true});
        let response = super::build_response(payload.to_string().as_bytes()).unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()["x-why"], "no");
        assert_eq!(response.headers()["set-cookie"], "a=1");
        let inferred = super::build_response(b"{\"fine\":true}").unwrap();
        assert_eq!(
            (inferred.status(), &inferred.headers()["content-type"]),
            (StatusCode::OK, &HeaderValue::from_static("application/json"))
        );
        assert!(super::build_response(b"{\"statusCode\":\"x\"}").is_err());
        assert!(super::build_response(b"no json").is_err());
    }

    #[tokio::test]
    async fn a_body_above_the_limit_is_too_large() {
        let url = serve(test_router(&[("POST", "/a")], None));
        let status = status_of(&url, "POST", "/a", vec![b'a'; MAX_BODY_BYTES + 1]).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
