//! The tables of a client in an AWS account.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_lambda::{
    error::SdkError,
    operation::get_function_configuration::{GetFunctionConfigurationError, GetFunctionConfigurationOutput},
};
use tellonce_core::{
    bootstrap::{StartError, build_http_client},
    sdk_http::sdk_http_client,
};

use crate::client_tables::{ClientTables, TableNames};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An account cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
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

/// The tables of a client in the account of a profile. Credentials and region are found as the AWS
/// command line finds them. The caller may `lambda:GetFunctionConfiguration`, and `dynamodb:Query`
/// and `dynamodb:GetItem` on the tables.
pub async fn connect_account(
    client: &str,
    profile: Option<&str>,
    region: Option<&str>,
) -> Result<ClientTables, AccountError> {
    let http = build_http_client()?;
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(sdk_http_client(&http, TIMEOUT));
    if let Some(profile) = profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    find_tables(&loader.load().await, client).await
}

/// The tables, by their names in the environment of a function. All functions have fixed names.
async fn find_tables(config: &SdkConfig, client: &str) -> Result<ClientTables, AccountError> {
    let region = config.region().ok_or(AccountError::NoRegion)?.to_string();
    let function = format!("tellonce-{client}-reminder-scheduler");
    let lambda = aws_sdk_lambda::Client::new(config);
    let found = match lambda.get_function_configuration().function_name(&function).send().await {
        Ok(found) => found,
        Err(error)
            if error.as_service_error().is_some_and(GetFunctionConfigurationError::is_resource_not_found_exception) =>
        {
            return Err(AccountError::NotDeployed { function, region });
        }
        Err(error) => return Err(AccountError::Function { function, source: Box::new(error) }),
    };
    let names = read_names(&found).ok_or(AccountError::OtherVersion(function))?;
    Ok(ClientTables::new(aws_sdk_dynamodb::Client::new(config), names))
}

fn read_names(function: &GetFunctionConfigurationOutput) -> Option<TableNames> {
    let variables = function.environment()?.variables()?;
    TableNames::from_variables(|name| variables.get(name).cloned())
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
    use loopback::{FakeApi, http_response};

    use super::*;

    fn test_config(endpoint: &str) -> SdkConfig {
        let credentials = Credentials::new("example", "example", None, None, "test");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .endpoint_url(endpoint)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(sdk_http_client(&build_http_client().unwrap(), TIMEOUT))
            .build()
    }

    async fn find_with_reply(reply: &str) -> (String, Result<ClientTables, AccountError>) {
        let lambda = FakeApi::start().await.unwrap();
        let config = test_config(&lambda.base_url().unwrap());
        let (asked, found) = tokio::join!(lambda.reply_once(reply), find_tables(&config, "acme"));
        (asked.unwrap(), found)
    }

    #[tokio::test]
    async fn the_names_of_the_tables_come_from_the_environment_of_a_function() {
        let variables =
            r#"{"LEDGER_TABLE":"l","STORE_INBOX_TABLE":"s","BOOKING_INBOX_TABLE":"b","LEAD_INBOX_TABLE":"f"}"#;
        let reply = http_response("200 OK", &format!(r#"{{"Environment":{{"Variables":{variables}}}}}"#));
        let (asked, found) = find_with_reply(&reply).await;
        assert!(
            asked.starts_with("GET /2015-03-31/functions/tellonce-acme-reminder-scheduler/configuration "),
            "{asked}"
        );
        assert_eq!(found.unwrap().names.ledger, "l");
        let (_, found) = find_with_reply(&http_response("200 OK", "{}")).await;
        assert!(matches!(found, Err(AccountError::OtherVersion(_))), "{found:?}");
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
