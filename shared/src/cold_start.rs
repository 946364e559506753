//! What a function prepares before its first event: environment, HTTP client, AWS clients, runtime.
//!
//! Cold start is a feature, so: one TLS stack (`rustls` with `ring`) and one connection pool (`reqwest`) for AWS,
//! `EZWhatsApp` and the stores alike; roots compiled in, not loaded from the machine; region and credentials taken
//! from the variables that Lambda sets, without probing; a runtime on the current thread.
//!
//! Everything stays overridable the standard way: `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_DYNAMODB`,
//! `AWS_ENDPOINT_URL_SECRETS_MANAGER`, and `AWS_CA_BUNDLE` for one more root.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use aws_sdk_dynamodb::config::{
    BehaviorVersion, Credentials, Region, SharedHttpClient, http::HttpRequest, retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::HttpResponse,
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use rustls::{
    ClientConfig as TlsConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::client_config::ClientConfig;

/// A function cannot start like this.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A variable that the template gives is missing.
    #[error("the environment variable {0} is not set; template.yaml sets it for every function")]
    Missing(&'static str),
    /// The configuration layer is not there.
    #[error("cannot read the client configuration at {path}")]
    ConfigUnreadable {
        /// Where it was looked for.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The configuration is not what this version reads.
    #[error("the client configuration at {path} does not parse; run `tellonce check` on it")]
    ConfigMalformed {
        /// Where it stands.
        path: String,
        /// What is wrong.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The extra root certificates cannot be used.
    #[error("cannot use the certificates that AWS_CA_BUNDLE names: {0}")]
    CaBundle(String),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The HTTP client cannot be built.
    #[error("cannot build the HTTP client")]
    Http(#[from] reqwest::Error),
    /// The async runtime cannot be built.
    #[error("cannot start the async runtime")]
    Runtime(#[from] std::io::Error),
}

/// A variable of the environment; empty counts as not set.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A variable that must be set.
pub fn required(name: &'static str) -> Result<String, StartError> {
    variable(name).ok_or(StartError::Missing(name))
}

/// The client's configuration, from the file that `CLIENT_CONFIG` names (the client layer puts it at
/// `/opt/client.toml`).
pub fn client_config() -> Result<ClientConfig, StartError> {
    let path = required("CLIENT_CONFIG")?;
    let text =
        std::fs::read_to_string(&path).map_err(|source| StartError::ConfigUnreadable { path: path.clone(), source })?;
    ClientConfig::parse(&text).map_err(|source| StartError::ConfigMalformed { path, source: Box::new(source) })
}

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The one HTTP client of a function.
///
/// Redirects are not followed: none of our peers sends any, and an `Authorization` header must not travel. Requests
/// without a timeout of their own end after ten seconds.
pub fn http_client() -> Result<reqwest::Client, StartError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = variable("AWS_CA_BUNDLE") {
        let certificates = CertificateDer::pem_file_iter(&path).map_err(|e| StartError::CaBundle(e.to_string()))?;
        for certificate in certificates {
            roots.add(certificate.map_err(|e| StartError::CaBundle(e.to_string()))?)?;
        }
    }
    let tls = TlsConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    #[expect(clippy::disallowed_methods, reason = "the one place that builds an HTTP client, with its timeouts")]
    let builder = reqwest::Client::builder();
    Ok(builder
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        .pool_idle_timeout(Duration::from_secs(50))
        .build()?)
}

/// AWS clients over the function's own HTTP client.
#[derive(Debug, Clone)]
pub struct Aws {
    pool: reqwest::Client,
    http: SharedHttpClient,
    region: Region,
    credentials: Credentials,
    dynamodb: OnceLock<aws_sdk_dynamodb::Client>,
}

impl Aws {
    /// Region and credentials from the variables that Lambda sets.
    pub fn from_environment(http: &reqwest::Client) -> Result<Self, StartError> {
        let connector = SharedHttpConnector::new(OverReqwest(http.clone()));
        Ok(Self {
            dynamodb: OnceLock::new(),
            pool: http.clone(),
            http: http_client_fn(move |_, _| connector.clone()),
            region: Region::new(required("AWS_REGION")?),
            credentials: Credentials::new(
                required("AWS_ACCESS_KEY_ID")?,
                required("AWS_SECRET_ACCESS_KEY")?,
                variable("AWS_SESSION_TOKEN"),
                None,
                "environment",
            ),
        })
    }

    /// The `DynamoDB` client: made once, however many rooms write to tables.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        self.dynamodb.get_or_init(|| self.make_dynamodb()).clone()
    }

    fn make_dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let mut config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(self.region.clone())
            .credentials_provider(self.credentials.clone())
            .http_client(self.http.clone())
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .retry_config(RetryConfig::standard().with_max_attempts(4).with_initial_backoff(Duration::from_millis(50)))
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(2)).build());
        config.set_endpoint_url(dynamodb_endpoint());
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// Opens a connection to `DynamoDB` ahead of the first request, because initialisation runs at full speed and a small
    /// function's first event does not. A plain `GET /` is answered by the regional endpoint without a signature
    /// ("healthy: dynamodb…"), reads no table and costs nothing. Whether it works decides nothing.
    pub async fn open_dynamodb(&self) {
        let endpoint = dynamodb_endpoint().unwrap_or_else(|| format!("https://dynamodb.{}.amazonaws.com", self.region));
        if let Err(error) = self.pool.get(endpoint).timeout(CONNECT_TIMEOUT).send().await {
            tracing::debug!("no connection to DynamoDB ahead of time: {}", error.without_url());
        }
    }

    /// A Secrets Manager client.
    pub fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        let mut config = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(self.region.clone())
            .credentials_provider(self.credentials.clone())
            .http_client(self.http.clone())
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .retry_config(RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(50)))
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(2)).build());
        config.set_endpoint_url(variable("AWS_ENDPOINT_URL_SECRETS_MANAGER").or_else(|| variable("AWS_ENDPOINT_URL")));
        aws_sdk_secretsmanager::Client::from_conf(config.build())
    }
}

fn dynamodb_endpoint() -> Option<String> {
    variable("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| variable("AWS_ENDPOINT_URL"))
}

/// The AWS SDK's requests over `reqwest`: one TLS stack, one set of roots, one pool.
#[derive(Debug)]
struct OverReqwest(reqwest::Client);

impl HttpConnector for OverReqwest {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|e| ConnectorError::user(e.into()))?;
            // The two services we call send whole bodies, never streams.
            let request = request.map(|body| body.bytes().map(bytes::Bytes::copy_from_slice).unwrap_or_default());
            let request = reqwest::Request::try_from(request).map_err(|e| ConnectorError::user(e.into()))?;
            let response = client.execute(request).await.map_err(connector_error)?;
            let (mut parts, ()) = http::Response::new(()).into_parts();
            parts.status = response.status();
            parts.headers = response.headers().clone();
            let body = response.bytes().await.map_err(connector_error)?;
            HttpResponse::try_from(http::Response::from_parts(parts, SdkBody::from(body)))
                .map_err(|e| ConnectorError::other(e.into(), None))
        })
    }
}

fn connector_error(error: reqwest::Error) -> ConnectorError {
    if error.is_timeout() { ConnectorError::timeout(error.into()) } else { ConnectorError::io(error.into()) }
}

/// Runs a function's life on the current thread: `main` is this and nothing else.
pub fn run<F, E>(life: F) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
    E: From<StartError>,
{
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::from)?.block_on(life)
}
