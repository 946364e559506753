//! What a function prepares before its first event: environment, HTTP client, AWS clients, runtime.
//!
//! A cold start must be fast:
//! - One TLS stack (`rustls` with `ring`) and one connection pool (`reqwest`) serve AWS, the
//!   provider and the stores.
//! - Root certificates are compiled in, not loaded from the machine.
//! - Region and credentials come from the variables that Lambda sets, without probing.
//! - The runtime runs on the current thread.
//!
//! Endpoints are overridable the standard way: `AWS_ENDPOINT_URL`, or for one service
//! `AWS_ENDPOINT_URL_DYNAMODB`, `AWS_ENDPOINT_URL_SECRETS_MANAGER`, `AWS_ENDPOINT_URL_SESV2`,
//! `AWS_ENDPOINT_URL_SNS`. `AWS_CA_BUNDLE` adds root certificates.
//!
//! Promises: no other module reads the environment or builds an HTTP client.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
    time::Duration,
};

use aws_sdk_dynamodb::config::{
    BehaviorVersion, Credentials, IdentityCache, Region, SharedCredentialsProvider, StalledStreamProtectionConfig,
    retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_types::SdkConfig;
use rustls::{
    ClientConfig as TlsConfig, RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::{
    client_config::ClientConfig, conflict_retry::ConflictClassifier, fault::error_chain, sdk_http::sdk_http_client,
};

/// Why a function ended, as Lambda's runtime takes it.
pub type FunctionError = Box<dyn std::error::Error + Send + Sync>;

/// A function could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A variable that `template.yaml` sets is missing.
    #[error("the environment variable {0} is not set; template.yaml sets it for every function")]
    MissingVariable(&'static str),
    /// The configuration file could not be read.
    #[error("could not read the client configuration at {path}; deploy the client layer")]
    ConfigUnreadable {
        /// The path of the file.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The configuration does not parse.
    #[error("the client configuration at {path} does not parse; run `tellonce check` on it")]
    ConfigMalformed {
        /// The path of the file.
        path: String,
        /// What is wrong.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The configuration is another client's: `ClientDir` does not belong to `Client`.
    #[error(
        "the client configuration at {path} is of client `{configured}`, but the stack is of client `{deployed}`; build \
         and deploy with the Client and the ClientDir of one client"
    )]
    OtherClient {
        /// The path of the file.
        path: String,
        /// The `client` in the file.
        configured: String,
        /// The parameter `Client` of the stack.
        deployed: String,
    },
    /// The extra root certificates could not be loaded.
    #[error("could not load the certificates in AWS_CA_BUNDLE: {0}")]
    CaBundle(String),
    /// TLS could not be set up.
    #[error("could not set up TLS")]
    Tls(#[from] rustls::Error),
    /// The HTTP client could not be built.
    #[error("could not build the HTTP client")]
    Http(#[from] reqwest::Error),
    /// The ledger could not be reached.
    #[error("could not connect to the ledger's table")]
    Ledger(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The async runtime could not be built.
    #[error("could not start the async runtime")]
    Runtime(#[from] std::io::Error),
}

/// Reads a variable of the environment. An empty value counts as missing.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn read_variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Reads a variable that must be set.
pub fn require_variable(name: &'static str) -> Result<String, StartError> {
    read_variable(name).ok_or(StartError::MissingVariable(name))
}

/// Loads the client's configuration from the file that `CLIENT_CONFIG` names. The client layer puts
/// it at `/opt/client.toml`. `CLIENT` is the client of the stack, whose tables, role and secrets
/// the function has: the file must be of the same client.
pub fn load_client_config() -> Result<ClientConfig, StartError> {
    let path = require_variable("CLIENT_CONFIG")?;
    let text =
        std::fs::read_to_string(&path).map_err(|source| StartError::ConfigUnreadable { path: path.clone(), source })?;
    let config = ClientConfig::parse(&text)
        .map_err(|source| StartError::ConfigMalformed { path: path.clone(), source: Box::new(source) })?;
    let deployed = require_variable("CLIENT")?;
    if config.client == deployed {
        Ok(config)
    } else {
        Err(StartError::OtherClient { path, configured: config.client, deployed })
    }
}

/// Longest time to open a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Builds the HTTP client of a function.
///
/// Redirects are not followed: no API that a function calls sends any, and an `Authorization`
/// header must not reach another host. Requests without their own timeout end after ten seconds.
pub fn build_http_client() -> Result<reqwest::Client, StartError> {
    Ok(prepare_http_client_builder()?.build()?)
}

/// Builds the same client with its own name resolution, for addresses that come from the
/// configuration or from outside.
pub fn build_http_client_with_resolver(
    resolver: impl reqwest::dns::Resolve + 'static,
) -> Result<reqwest::Client, StartError> {
    Ok(prepare_http_client_builder()?.dns_resolver(Arc::new(resolver)).build()?)
}

fn prepare_http_client_builder() -> Result<reqwest::ClientBuilder, StartError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = read_variable("AWS_CA_BUNDLE") {
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
        .pool_idle_timeout(Duration::from_secs(50)))
}

/// Attempts of a read or write of a table: the first, and three repeats.
const TABLE_ATTEMPTS: u32 = 4;
/// Attempts to read a secret.
const SECRET_ATTEMPTS: u32 = 3;
/// The pause before the second attempt is random, up to this limit. It doubles with each attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// How long a function waits for tables and secrets.
#[derive(Debug, Clone, Copy)]
pub struct AwsTimeouts {
    /// For one attempt.
    pub attempt: Duration,
    /// For all attempts of a call, with the pauses between them.
    pub operation: Duration,
}

impl Default for AwsTimeouts {
    /// For functions that work for a minute or longer: 2 s, and 8 s for all attempts.
    fn default() -> Self {
        Self { attempt: Duration::from_secs(2), operation: Duration::from_secs(8) }
    }
}

/// Longest wait for an e-mail or an SNS message. It is sent once and takes longer.
const SEND_TIMEOUTS: AwsTimeouts = AwsTimeouts { attempt: Duration::from_secs(10), operation: Duration::from_secs(10) };

/// AWS clients that use the function's HTTP client.
#[derive(Debug, Clone)]
pub struct AwsClients {
    http: reqwest::Client,
    region: Region,
    /// Settings of all clients.
    common: SdkConfig,
    endpoints: AwsEndpoints,
    timeouts: AwsTimeouts,
    dynamodb: OnceLock<aws_sdk_dynamodb::Client>,
    ses: OnceLock<aws_sdk_sesv2::Client>,
    sns: OnceLock<aws_sdk_sns::Client>,
}

/// Overridden endpoints.
#[derive(Debug, Clone)]
struct AwsEndpoints {
    dynamodb: Option<String>,
    secrets_manager: Option<String>,
    ses: Option<String>,
    sns: Option<String>,
}

impl AwsClients {
    /// Reads region, credentials and endpoints from the variables that Lambda sets.
    pub fn from_environment(http: &reqwest::Client) -> Result<Self, StartError> {
        Self::from_variables(http, read_variable)
    }

    /// Reads region, credentials and endpoints from variables that `read` returns by name.
    pub fn from_variables(
        http: &reqwest::Client,
        read: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, StartError> {
        let required = |name| read(name).ok_or(StartError::MissingVariable(name));
        let endpoint = |name| read(name).or_else(|| read("AWS_ENDPOINT_URL"));
        let credentials = Credentials::new(
            required("AWS_ACCESS_KEY_ID")?,
            required("AWS_SECRET_ACCESS_KEY")?,
            read("AWS_SESSION_TOKEN"),
            None,
            "environment",
        );
        let region = Region::new(required("AWS_REGION")?);
        let common = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(region.clone())
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            // Credentials of Lambda's variables do not change, so there is nothing to cache.
            .identity_cache(IdentityCache::no_cache())
            .http_client(sdk_http_client(http, SEND_TIMEOUTS.attempt))
            // All bodies are small and whole: the timeout of the attempt is enough.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .build();
        Ok(Self {
            http: http.clone(),
            region,
            common,
            endpoints: AwsEndpoints {
                dynamodb: endpoint("AWS_ENDPOINT_URL_DYNAMODB"),
                secrets_manager: endpoint("AWS_ENDPOINT_URL_SECRETS_MANAGER"),
                ses: endpoint("AWS_ENDPOINT_URL_SESV2"),
                sns: endpoint("AWS_ENDPOINT_URL_SNS"),
            },
            timeouts: AwsTimeouts::default(),
            dynamodb: OnceLock::new(),
            ses: OnceLock::new(),
            sns: OnceLock::new(),
        })
    }

    /// The same with other times to wait for tables and secrets.
    #[must_use]
    pub fn with_timeouts(self, timeouts: AwsTimeouts) -> Self {
        Self { timeouts, ..self }
    }

    /// The settings of a client with this number of attempts and these timeouts. The connector
    /// applies the timeout of an attempt: each timer of the SDK costs a system call in every
    /// request.
    fn build_sdk_config(&self, endpoint: Option<&String>, attempts: u32, timeouts: AwsTimeouts) -> SdkConfig {
        let retry = RetryConfig::standard().with_max_attempts(attempts).with_initial_backoff(FIRST_PAUSE);
        let timeout =
            TimeoutConfig::builder().read_timeout(timeouts.attempt).operation_timeout(timeouts.operation).build();
        let mut config = self.common.to_builder().retry_config(retry).timeout_config(timeout);
        config.set_endpoint_url(endpoint.cloned());
        config.build()
    }

    /// The `DynamoDB` client, created once for all modules.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let make = || {
            let config = self.build_sdk_config(self.endpoints.dynamodb.as_ref(), TABLE_ATTEMPTS, self.timeouts);
            let config = aws_sdk_dynamodb::config::Builder::from(&config).retry_classifier(ConflictClassifier);
            aws_sdk_dynamodb::Client::from_conf(config.build())
        };
        self.dynamodb.get_or_init(make).clone()
    }

    /// Opens a connection to `DynamoDB` before the first request, because initialisation runs at
    /// full speed and the first event of a small function does not. The regional endpoint answers a
    /// plain `GET /` without a signature ("healthy: dynamodb…"), reads no table and costs nothing.
    /// A failure has no effect.
    pub async fn preconnect_dynamodb(&self) {
        self.preconnect("dynamodb", self.endpoints.dynamodb.as_ref()).await;
    }

    /// The same for Secrets Manager, for a function that does not know yet which secret it needs.
    /// AWS does not document what its endpoint answers to a `GET`: any answer leaves a connection.
    pub async fn preconnect_secrets_manager(&self) {
        self.preconnect("secretsmanager", self.endpoints.secrets_manager.as_ref()).await;
    }

    async fn preconnect(&self, service: &str, endpoint: Option<&String>) {
        let regional = || format!("https://{service}.{}.amazonaws.com", self.region);
        let endpoint = endpoint.cloned().unwrap_or_else(regional);
        if let Err(error) = self.http.get(endpoint).timeout(CONNECT_TIMEOUT).send().await {
            tracing::debug!("could not preconnect to {service}: {}", error.without_url());
        }
    }

    /// A Secrets Manager client.
    pub fn secrets_manager(&self) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.build_sdk_config(
            self.endpoints.secrets_manager.as_ref(),
            SECRET_ATTEMPTS,
            self.timeouts,
        ))
    }

    /// The SES client, created at its first use, because most clients send no e-mail. It tries
    /// once: after a lost response a retry would send a second e-mail.
    pub fn ses(&self) -> &aws_sdk_sesv2::Client {
        let make = || aws_sdk_sesv2::Client::new(&self.build_sdk_config(self.endpoints.ses.as_ref(), 1, SEND_TIMEOUTS));
        self.ses.get_or_init(make)
    }

    /// The SNS client, created at its first use. It tries once, for the same reason.
    pub fn sns(&self) -> &aws_sdk_sns::Client {
        let make = || aws_sdk_sns::Client::new(&self.build_sdk_config(self.endpoints.sns.as_ref(), 1, SEND_TIMEOUTS));
        self.sns.get_or_init(make)
    }
}

/// Logs where code panics. The message is left out: it may contain text that a customer or a
/// stranger wrote, such as the string that was cut inside a character.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(panic.location = place, "panicked at {place}, which is a bug in tellonce");
    }));
}

/// Runs a function on the current thread, and logs why it ended. `main` calls only this.
pub fn run_function<F>(function: F) -> Result<(), FunctionError>
where
    F: Future<Output = Result<(), FunctionError>>,
{
    log_panics();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::from)?;
    let result = runtime.block_on(function);
    if let Err(error) = &result {
        tracing::error!("ended: {}", error_chain(&**error));
    }
    result
}

#[cfg(test)]
pub(crate) mod tests {
    use aws_sdk_dynamodb::error::SdkError;
    use loopback::{FakeApi, http_response};

    use super::*;

    /// A fake of AWS, and clients that call it.
    pub(crate) async fn start_fake_aws() -> (FakeApi, AwsClients) {
        let fake_api = FakeApi::start().await.unwrap();
        let aws = aws_with_endpoint("AWS_ENDPOINT_URL", &fake_api.base_url().unwrap());
        (fake_api, aws)
    }

    fn aws_with_endpoint(endpoint: &'static str, url: &str) -> AwsClients {
        let read = |name: &'static str| match name {
            "AWS_REGION" => Some("eu-west-1".to_owned()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("example".to_owned()),
            name if name == endpoint => Some(url.to_owned()),
            "AWS_ENDPOINT_URL" => Some("http://127.0.0.1:1".to_owned()),
            _ => None,
        };
        AwsClients::from_variables(&build_http_client().unwrap(), read).unwrap()
    }

    #[test]
    fn a_missing_region_or_credential_is_an_error() {
        let error = AwsClients::from_variables(&build_http_client().unwrap(), |_| None).unwrap_err();
        assert!(matches!(error, StartError::MissingVariable(_)), "{error}");
    }

    #[tokio::test]
    async fn each_client_calls_the_endpoint_of_its_own_service() {
        let fake_api = FakeApi::start().await.unwrap();
        let url = fake_api.base_url().unwrap();
        let no = http_response("400 Bad Request", "{}");

        let dynamodb = aws_with_endpoint("AWS_ENDPOINT_URL_DYNAMODB", &url).dynamodb();
        let (asked, _) = tokio::join!(fake_api.reply_once(&no), dynamodb.list_tables().send());
        assert!(asked.unwrap().contains("DynamoDB_20120810.ListTables"));
        let secrets = aws_with_endpoint("AWS_ENDPOINT_URL_SECRETS_MANAGER", &url).secrets_manager();
        let (asked, _) = tokio::join!(fake_api.reply_once(&no), secrets.get_secret_value().secret_id("a").send());
        assert!(asked.unwrap().contains("secretsmanager.GetSecretValue"));
        let ses = aws_with_endpoint("AWS_ENDPOINT_URL_SESV2", &url).ses().clone();
        let (asked, _) = tokio::join!(fake_api.reply_once(&no), ses.get_account().send());
        assert!(asked.unwrap().starts_with("GET /v2/email/account "));
        let sns = aws_with_endpoint("AWS_ENDPOINT_URL_SNS", &url).sns().clone();
        let (asked, _) = tokio::join!(fake_api.reply_once(&no), sns.list_topics().send());
        assert!(asked.unwrap().contains("Action=ListTopics"));
    }

    #[tokio::test]
    async fn a_table_that_hangs_is_an_error_when_the_time_of_the_function_is_up() {
        // Connections are accepted by the system, and nothing answers.
        let (_fake_api, aws) = start_fake_aws().await;
        let timeouts = AwsTimeouts { attempt: Duration::from_millis(50), operation: Duration::from_millis(120) };
        let aws = aws.with_timeouts(timeouts);
        let error = aws.dynamodb().list_tables().send().await.unwrap_err();
        assert!(matches!(error, SdkError::TimeoutError(_)), "{error:?}");
    }

    #[tokio::test]
    async fn emails_and_sns_messages_are_tried_once() {
        let (fake_api, aws) = start_fake_aws().await;
        let trouble = http_response("503 Service Unavailable", "{}");
        // The fake replies once, so a second try would time out.
        let (_, answer) = tokio::join!(fake_api.reply_once(&trouble), aws.ses().get_account().send());
        assert_eq!(answer.unwrap_err().raw_response().map(|raw| raw.status().as_u16()), Some(503));
        let (_, answer) = tokio::join!(fake_api.reply_once(&trouble), aws.sns().list_topics().send());
        assert_eq!(answer.unwrap_err().raw_response().map(|raw| raw.status().as_u16()), Some(503));
    }

    #[tokio::test]
    async fn an_attempt_without_a_response_ends_after_its_timeout_and_is_repeated() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let aws = aws_with_endpoint("AWS_ENDPOINT_URL", &url);
        let timeouts = AwsTimeouts { attempt: Duration::from_millis(50), operation: Duration::from_secs(10) };
        let config = aws.build_sdk_config(Some(&url), 2, timeouts);
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        let mut connections = Vec::new();
        let accept_all = async {
            loop {
                connections.push(silent.accept().await.unwrap());
            }
        };
        let error = tokio::select! {
            result = dynamodb.list_tables().send() => result.unwrap_err(),
            () = accept_all => unreachable!(),
        };
        assert!(matches!(&error, SdkError::DispatchFailure(failure) if failure.is_timeout()), "{error:?}");
        assert_eq!(connections.len(), 2);
    }
}
