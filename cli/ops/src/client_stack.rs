//! The stack of one client: in an AWS account, or on this machine.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_lambda::{
    error::SdkError,
    operation::get_function_configuration::{GetFunctionConfigurationError, GetFunctionConfigurationOutput},
};
use jiff::Timestamp;
use tellonce_core::{
    bootstrap::{StartError, build_http_client},
    clock::Clock,
    sdk_http::sdk_http_client,
};

use crate::{
    client_tables::{ClientTables, TableNames},
    local_stack::{LocalEndpoints, LocalStackFile},
};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The region of a stack on this machine.
const LOCAL_REGION: &str = "eu-central-1";

/// The function whose environment names all tables.
const FUNCTION_WITH_ALL_TABLES: &str = "reminder-scheduler";

/// A stack cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// The HTTP client could not be made.
    #[error("the HTTP client could not be made")]
    Client(#[from] StartError),
    /// Nothing names a region.
    #[error("no region is set; name one with --region, AWS_REGION or the profile")]
    NoRegion,
    /// The account has no such stack.
    #[error(
        "this account has no function {function} in {region}; check the profile, the region and the `client` in client.toml"
    )]
    NotDeployed {
        /// The function.
        function: String,
        /// The region.
        region: String,
    },
    /// A stack that was killed leaves its file.
    #[error("the stack on this machine did not answer; start it again")]
    Stopped(#[source] Box<SdkError<GetFunctionConfigurationError>>),
    /// The function could not be read.
    #[error("the settings of the function {function} could not be read")]
    Function {
        /// The function.
        function: String,
        /// Why.
        #[source]
        source: Box<SdkError<GetFunctionConfigurationError>>,
    },
    /// The function names no tables.
    #[error("the function {0} names no tables; deploy this version of tellonce")]
    OtherVersion(String),
}

/// The stack of one client, and the AWS services that it uses. To make one sends no request.
#[derive(Debug, Clone)]
pub struct ClientStack {
    client: String,
    region: String,
    is_local: bool,
    /// Where senders post to, and the provider, of a stack on this machine.
    addresses: (Option<String>, Option<String>),
    clock: Clock,
    pub(crate) cloudwatch: aws_sdk_cloudwatch::Client,
    pub(crate) logs: aws_sdk_cloudwatchlogs::Client,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) lambda: aws_sdk_lambda::Client,
    pub(crate) secrets_manager: aws_sdk_secretsmanager::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) sts: aws_sdk_sts::Client,
}

impl ClientStack {
    /// The stack of a client in the account of a profile. Credentials and region are found as the
    /// AWS command line finds them.
    pub async fn in_account(client: &str, profile: Option<&str>, region: Option<&str>) -> Result<Self, StackError> {
        let http = build_http_client()?;
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(sdk_http_client(&http, TIMEOUT));
        if let Some(profile) = profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = region {
            loader = loader.region(Region::new(region.to_owned()));
        }
        Self::new(client, &loader.load().await, None, Clock::default())
    }

    /// The stack of a client on this machine. `caller` is the access key id of the requests, by
    /// which the stack names who called. The stack verifies no signature.
    pub fn on_this_machine(client: &str, file: &LocalStackFile, caller: &str) -> Result<Self, StackError> {
        let credentials = Credentials::new(caller, "local", None, None, "local stack");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(LOCAL_REGION))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(sdk_http_client(&build_http_client()?, TIMEOUT))
            .build();
        Self::new(client, &config, Some(&file.endpoints), Clock::moved_by(file.clock.clone()))
    }

    fn new(
        client: &str,
        config: &SdkConfig,
        endpoints: Option<&LocalEndpoints>,
        clock: Clock,
    ) -> Result<Self, StackError> {
        let at = |endpoint: fn(&LocalEndpoints) -> &String| match endpoints {
            Some(endpoints) => config.to_builder().endpoint_url(endpoint(endpoints)).build(),
            None => config.clone(),
        };
        Ok(Self {
            client: client.to_owned(),
            region: config.region().ok_or(StackError::NoRegion)?.to_string(),
            is_local: endpoints.is_some(),
            addresses: endpoints.map(|of| (of.gateway.clone(), of.provider.clone())).unwrap_or_default(),
            clock,
            cloudwatch: aws_sdk_cloudwatch::Client::new(&at(|of| &of.cloudwatch)),
            logs: aws_sdk_cloudwatchlogs::Client::new(&at(|of| &of.logs)),
            dynamodb: aws_sdk_dynamodb::Client::new(&at(|of| &of.dynamodb)),
            lambda: aws_sdk_lambda::Client::new(&at(|of| &of.lambda)),
            secrets_manager: aws_sdk_secretsmanager::Client::new(&at(|of| &of.secrets_manager)),
            sqs: aws_sdk_sqs::Client::new(&at(|of| &of.sqs)),
            sts: aws_sdk_sts::Client::new(&at(|of| &of.sts)),
        })
    }

    /// The id of the client.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Whether the stack runs on this machine.
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// Where senders post to on this machine, without the path of a route.
    pub fn local_gateway(&self) -> Option<&str> {
        self.addresses.0.as_deref()
    }

    /// The fake provider on this machine.
    pub fn local_provider(&self) -> Option<&str> {
        self.addresses.1.as_deref()
    }

    /// The time now, by the clock of the stack.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The full name of a function: `tellonce-acme-order-notifier`. All functions have fixed names.
    pub(crate) fn function_name(&self, function: &str) -> String {
        format!("tellonce-{}-{function}", self.client)
    }

    /// The tables, by their names in the environment of a function. One request. The caller may
    /// `lambda:GetFunctionConfiguration`.
    pub async fn find_tables(&self) -> Result<ClientTables, StackError> {
        let function = self.function_name(FUNCTION_WITH_ALL_TABLES);
        let found = match self.lambda.get_function_configuration().function_name(&function).send().await {
            Ok(found) => found,
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(GetFunctionConfigurationError::is_resource_not_found_exception) =>
            {
                return Err(StackError::NotDeployed { function, region: self.region.clone() });
            }
            Err(error @ SdkError::DispatchFailure(_)) if self.is_local => {
                return Err(StackError::Stopped(Box::new(error)));
            }
            Err(error) => return Err(StackError::Function { function, source: Box::new(error) }),
        };
        let names = read_names(&found).ok_or(StackError::OtherVersion(function))?;
        Ok(ClientTables::new(self.dynamodb.clone(), names))
    }
}

fn read_names(function: &GetFunctionConfigurationOutput) -> Option<TableNames> {
    let variables = function.environment()?.variables()?;
    TableNames::from_variables(|name| variables.get(name).cloned())
}

#[cfg(test)]
mod tests {
    use loopback::{FakeApi, http_response};

    use super::*;

    async fn find_with_reply(reply: &str) -> (String, Result<ClientTables, StackError>) {
        let api = FakeApi::start().await.unwrap();
        let url = api.base_url().unwrap();
        let file = LocalStackFile {
            client: "clients/acme".into(),
            clock: "no-clock".into(),
            endpoints: LocalEndpoints::new(url.clone(), url.clone(), &url),
        };
        let stack = ClientStack::on_this_machine("acme", &file, "dana").unwrap();
        let (asked, found) = tokio::join!(api.reply_once(reply), stack.find_tables());
        (asked.unwrap(), found)
    }

    #[tokio::test]
    async fn the_names_of_the_tables_come_from_the_environment_of_a_function() {
        let variables = r#"{"LEDGER_TABLE":"l","STORE_INBOX_TABLE":"s","BOOKING_INBOX_TABLE":"b",
            "LEAD_INBOX_TABLE":"f","LINE_INBOX_TABLE":"e"}"#;
        let reply = http_response("200 OK", &format!(r#"{{"Environment":{{"Variables":{variables}}}}}"#));
        let (asked, found) = find_with_reply(&reply).await;
        assert!(
            asked.starts_with("GET /2015-03-31/functions/tellonce-acme-reminder-scheduler/configuration "),
            "{asked}"
        );
        assert_eq!(found.unwrap().names.ledger, "l");
        let (_, found) = find_with_reply(&http_response("200 OK", "{}")).await;
        assert!(matches!(found, Err(StackError::OtherVersion(_))), "{found:?}");
    }

    #[tokio::test]
    async fn an_account_without_the_stack_is_named() {
        let reply =
            "HTTP/1.1 404 Not Found\r\nx-amzn-errortype: ResourceNotFoundException\r\ncontent-length: 2\r\n\r\n{}";
        let (_, found) = find_with_reply(reply).await;
        let error = found.unwrap_err();
        let expected = "this account has no function tellonce-acme-reminder-scheduler in eu-central-1";
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}
