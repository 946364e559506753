//! Maps the errors of AWS services.

use std::error::Error;

use aws_sdk_sesv2::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use super::parse_reason_code;
use crate::api_client::ApiError;

/// Maps an error. Keeps only status and code of the response: its text may quote an address.
///
/// Source of the codes:
/// <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html>,
/// <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html> and their pages "Common Errors".
pub(super) fn map_aws_error<E>(error: SdkError<E, HttpResponse>) -> ApiError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let status = error.raw_response().map(|raw| raw.status().as_u16());
    let (status, code) = match (status, error.as_service_error()) {
        (Some(status), Some(service)) => (status, service.code().and_then(parse_reason_code)),
        // Not a response of the service. The error holds all of it, so it is not kept.
        (Some(status), None) => return ApiError::UnexpectedResponse { status },
        (None, _) if was_never_sent(&error) => return ApiError::AwsUnreachable(Box::new(error)),
        (None, _) => return ApiError::AwsNoResponse(Box::new(error)),
    };
    let is_one_of = |codes: &[&str]| code.as_deref().is_some_and(|code| codes.contains(&code));
    if status == 429 || is_one_of(&THROTTLING_CODES) {
        return ApiError::Throttled { status, retry_after: None };
    }
    match status {
        // The call took effect; the response is unreadable.
        200..300 => ApiError::UnexpectedResponse { status },
        408 | 500.. => ApiError::ServerError { status },
        400 | 413 if !is_one_of(&BLOCKED_CODES) => ApiError::Refused { status, code },
        _ => ApiError::Blocked { status, code: code.unwrap_or_else(|| "no code".to_owned()) },
    }
}

/// Codes that ask to wait: too many calls, or an account that may not send for now.
const THROTTLING_CODES: [&str; 9] = [
    "TooManyRequestsException",
    "LimitExceededException",
    "SendingPausedException",
    "KMSThrottling",
    "Throttling",
    "ThrottlingException",
    "Throttled",
    "ThrottledException",
    "RequestLimitExceeded",
];

/// Codes that block all calls until an operator changes something: the role may not call or use the
/// topic's key, the account is suspended, the domain of `from` is not verified, or the topic or its
/// key is gone or switched off.
const BLOCKED_CODES: [&str; 12] = [
    "NotAuthorized",
    "RequestExpired",
    "IncompleteSignature",
    "AccessDeniedException",
    "KMSAccessDenied",
    "KMSDisabled",
    "KMSInvalidState",
    "KMSNotFound",
    "AccountSuspendedException",
    "MailFromDomainNotVerifiedException",
    "NotFoundException",
    "NotFound",
];

/// Whether a call without a response was never sent.
fn was_never_sent<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: Error + 'static,
{
    if matches!(error, SdkError::ConstructionFailure(_)) {
        return true;
    }
    std::iter::successors(error.source(), |error: &&(dyn Error + 'static)| (*error).source())
        .filter_map(|error| error.downcast_ref::<reqwest::Error>())
        .any(|error| error.is_connect() || error.is_builder())
}
