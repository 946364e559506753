//! The HTTP client of the project, as the AWS SDK calls it.

use std::time::Duration;

use aws_sdk_dynamodb::config::{RuntimeComponents, http::HttpRequest};
use aws_smithy_runtime_api::client::{
    http::{
        HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
        http_client_fn,
    },
    orchestrator::HttpResponse,
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;

use crate::http_body;

/// The largest response of an AWS service that is read: more than a page of `DynamoDB` (1 MB) in
/// JSON.
const MAX_AWS_RESPONSE_BYTES: usize = 16 * 1024 * 1024;

/// The HTTP client for clients of the AWS SDK. It applies the timeout of an attempt: the client's
/// read timeout, or `usual_timeout`.
pub fn sdk_http_client(http: &reqwest::Client, usual_timeout: Duration) -> SharedHttpClient {
    let client = http.clone();
    http_client_fn(move |settings: &HttpConnectorSettings, _: &RuntimeComponents| {
        let timeout = settings.read_timeout().unwrap_or(usual_timeout);
        SharedHttpConnector::new(ReqwestConnector { client: client.clone(), timeout })
    })
}

/// Sends the AWS SDK's requests with `reqwest`: one TLS stack, one set of roots, one pool.
#[derive(Debug)]
struct ReqwestConnector {
    client: reqwest::Client,
    /// For one attempt: from the connection to the last byte of the response.
    timeout: Duration,
}

impl HttpConnector for ReqwestConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (client, timeout) = (self.client.clone(), self.timeout);
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|e| ConnectorError::user(e.into()))?;
            // All requests have whole bodies, never streams.
            let request = request.map(|body| body.bytes().map(bytes::Bytes::copy_from_slice).unwrap_or_default());
            let mut request = reqwest::Request::try_from(request).map_err(|e| ConnectorError::user(e.into()))?;
            *request.timeout_mut() = Some(timeout);
            let mut response = client.execute(request).await.map_err(to_connector_error)?;
            let (mut parts, ()) = http::Response::new(()).into_parts();
            parts.status = response.status();
            parts.headers = std::mem::take(response.headers_mut());
            let body =
                http_body::read_body_up_to(MAX_AWS_RESPONSE_BYTES, response).await.map_err(to_connector_error)?;
            let body = body.ok_or_else(|| ConnectorError::other("the response is too large".into(), None))?;
            HttpResponse::try_from(http::Response::from_parts(parts, SdkBody::from(body)))
                .map_err(|e| ConnectorError::other(e.into(), None))
        })
    }
}

fn to_connector_error(error: reqwest::Error) -> ConnectorError {
    if error.is_timeout() { ConnectorError::timeout(error.into()) } else { ConnectorError::io(error.into()) }
}
