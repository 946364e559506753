//! Calls of a stack that are not about tables: a command for a function, and who calls.

use std::time::Duration;

use aws_config::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_lambda::{
    error::SdkError,
    operation::{invoke::InvokeError, update_function_configuration::UpdateFunctionConfigurationError},
    primitives::Blob,
};
use aws_sdk_sts::operation::get_caller_identity::GetCallerIdentityError;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::client_stack::ClientStack;

/// How long a function may work on a command: longer than any function of the stack may run.
const INVOCATION_TIMEOUT: Duration = Duration::from_secs(130);

/// A call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// STS did not name the caller.
    #[error("AWS did not say who calls")]
    Identity(#[source] Box<SdkError<GetCallerIdentityError>>),
    /// The function was not invoked, or its response was lost.
    #[error("the function {function} could not be invoked, or its response did not arrive")]
    Invoke {
        /// The full name of the function.
        function: String,
        /// Why.
        #[source]
        source: Box<SdkError<InvokeError>>,
    },
    /// The function was not started again.
    #[error("the function {function} could not be started again")]
    Restart {
        /// The full name of the function.
        function: String,
        /// Why.
        #[source]
        source: Box<SdkError<UpdateFunctionConfigurationError>>,
    },
    /// The function did not do what the command says.
    #[error("the function {function} failed: {message}")]
    Failed {
        /// The full name of the function.
        function: String,
        /// What the function says. Holds no personal data.
        message: String,
    },
    /// The response is not of this version.
    #[error("the response of the function {function} is not of this version of tellonce; deploy this version")]
    OtherVersion {
        /// The full name of the function.
        function: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

/// The body of a response if the function failed.
#[derive(Deserialize)]
struct FunctionFailure {
    #[serde(rename = "errorMessage")]
    message: String,
}

impl ClientStack {
    /// The ARN of the caller, as STS names it. A stack on this machine names the local user.
    pub async fn identify_caller(&self) -> Result<String, CallError> {
        let identity = self.sts.get_caller_identity().send().await;
        let identity = identity.map_err(|error| CallError::Identity(Box::new(error)))?;
        Ok(identity.arn.unwrap_or_default())
    }

    /// Makes Lambda start a function again for its next invocation, without what its processes
    /// keep: a change of its description replaces them.
    pub(crate) async fn restart_function(&self, function: &str, description: &str) -> Result<(), CallError> {
        let function = self.function_name(function);
        let update = self.lambda.update_function_configuration().function_name(&function).description(description);
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(CallError::Restart { function, source: Box::new(error) }),
        }
    }

    /// Gives a function (`order-notifier`) a command, and waits for its response. The command is
    /// not repeated: the caller sees what happened.
    pub async fn command<T: DeserializeOwned>(&self, function: &str, command: &Value) -> Result<T, CallError> {
        let function = self.function_name(function);
        let timeouts = TimeoutConfig::builder().read_timeout(INVOCATION_TIMEOUT).build();
        let settings = aws_sdk_lambda::Config::builder().timeout_config(timeouts).retry_config(RetryConfig::disabled());
        let invocation = self.lambda.invoke().function_name(&function).payload(Blob::new(command.to_string()));
        let response = match invocation.customize().config_override(settings).send().await {
            Ok(response) => response,
            Err(error) => return Err(CallError::Invoke { function, source: Box::new(error) }),
        };
        let body = response.payload.map(Blob::into_inner).unwrap_or_default();
        if response.function_error.is_some() {
            let failure = serde_json::from_slice::<FunctionFailure>(&body);
            let message = failure.map_or_else(|_| "its log says why".to_owned(), |failure| failure.message);
            return Err(CallError::Failed { function, message });
        }
        serde_json::from_slice(&body).map_err(|source| CallError::OtherVersion { function, source })
    }
}
