//! Targets: where the team is alerted.
//!
//! [`TargetClient::send_notification`] sends a [`Notification`] in the target's format. Its error
//! states whether the call may have taken effect. No target can be asked whether it has a
//! notification, so a repeat states that it is one.
//!
//! Promises: a customer's text mentions no user, formats nothing and stays within the target's
//! limits.

mod aws_errors;
mod email;
mod slack;
mod sns;
mod teams;
#[cfg(test)]
mod tests;
mod webhook;

use jiff::Timestamp;
use reqwest::Url;
use tellonce_core::{bootstrap::AwsClients, client_config::TargetKind, secret::Secret};

use crate::{
    api_client::{ApiClient, ApiError},
    notification::Notification,
};

/// One target of the client.
pub struct TargetClient<'a> {
    /// The kind of target.
    pub kind: &'a TargetKind,
    /// Calls the target within its rate limit. For AWS services only the rate limiter is used.
    pub api_client: ApiClient<'a>,
    /// An address or a signing key. E-mail and SNS have none.
    pub credential: Option<Secret>,
    /// The clients of SES and SNS.
    pub aws: &'a AwsClients,
}

impl TargetClient<'_> {
    /// Sends a notification.
    pub async fn send_notification(&self, notification: &Notification, now: Timestamp) -> Result<(), ApiError> {
        match self.kind {
            TargetKind::Slack => slack::post_to_slack(self, notification).await,
            TargetKind::Teams => teams::post_to_teams(self, notification).await,
            TargetKind::Email(mail) => email::send_mail(self, &mail.from, &mail.to, notification).await,
            TargetKind::Sns(topic) => sns::publish_to_sns(self, &topic.topic_arn, notification).await,
            TargetKind::Webhook(webhook) => webhook::post_to_webhook(self, &webhook.url, notification, now).await,
        }
    }

    /// The URL in the secret, if it is an https URL of a host that `is_host` accepts. Local runs
    /// and tests replace its origin.
    fn parse_secret_url(&self, expected: &'static str, is_host: impl Fn(&str) -> bool) -> Result<Url, ApiError> {
        let malformed = || ApiError::MalformedSecret { secret: self.api_client.secret_name.to_owned(), expected };
        let secret = self.credential.as_ref().ok_or_else(malformed)?;
        let url = Url::parse(secret.expose().trim()).map_err(|_| malformed())?;
        let usable = url.scheme() == "https"
            && url.host_str().is_some_and(is_host)
            && url.port().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !usable {
            return Err(malformed());
        }
        self.api_client.redirect_to_base_url(url)
    }

    /// The error when the URL in the secret is rejected or leads nowhere: it must be replaced.
    fn rejected_address_error(&self, status: reqwest::StatusCode) -> ApiError {
        ApiError::CredentialRejected { status: status.as_u16(), secret: self.api_client.secret_name.to_owned() }
    }
}

/// A reason code, if it is one word. Free text could quote a customer.
fn parse_reason_code(code: &str) -> Option<String> {
    /// Longer than any code that these services document.
    const MAX_CODE_CHARS: usize = 64;
    let code = code.trim();
    let is_word = (1..=MAX_CODE_CHARS).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        && !code.bytes().all(|byte| byte.is_ascii_digit());
    is_word.then(|| code.to_owned())
}
