//! Targets: where the team is called.
//!
//! [`TargetClient::call`] writes a [`Notification`] in the target's own way, and says by its error whether the call may have
//! taken effect. None of the targets can be asked whether a notice is there, so a repeat says that it is one.
//!
//! Promised: what a customer wrote mentions nobody, formats nothing and stays within the target's limits.

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

/// One target of the client, ready to be called.
pub struct TargetClient<'a> {
    /// What it is.
    pub kind: &'a TargetKind,
    /// Calls it, at its pace. For AWS services only the pace is used.
    pub api_client: ApiClient<'a>,
    /// Its secret: an address, or what signs. E-mail and SNS have none.
    pub credential: Option<Secret>,
    /// Sends e-mail and publishes.
    pub aws: &'a AwsClients,
}

impl TargetClient<'_> {
    /// Calls the team.
    pub async fn send_notification(&self, notification: &Notification, now: Timestamp) -> Result<(), ApiError> {
        match self.kind {
            TargetKind::Slack => slack::post_to_slack(self, notification).await,
            TargetKind::Teams => teams::post_to_teams(self, notification).await,
            TargetKind::Email { from, to } => email::send_mail(self, from, to, notification).await,
            TargetKind::Sns { topic_arn } => sns::publish_to_sns(self, topic_arn, notification).await,
            TargetKind::Webhook { url } => webhook::post_to_webhook(self, url, notification, now).await,
        }
    }

    /// The address that is the credential, if it is an https address of a host that `is_host` knows; else the secret is not
    /// `what` it should be. In local runs and tests the origin is that which stands in for it.
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
        let Some(base_url) = self.api_client.base_url else { return Ok(url) };
        let mut local_url = Url::parse(base_url).map_err(|_| ApiError::AddressNotAllowed("it is no URL"))?;
        local_url.set_path(url.path());
        local_url.set_query(url.query());
        Ok(local_url)
    }

    /// An address that is a secret is not accepted, or leads nowhere: it must be replaced.
    fn rejected_address_error(&self, status: reqwest::StatusCode) -> ApiError {
        ApiError::CredentialRejected { status: status.as_u16(), secret: self.api_client.secret_name.to_owned() }
    }
}

/// How often a target is called at most, a minute, unless the client says otherwise.
///
/// Slack takes about one a second for each webhook (<https://docs.slack.dev/apis/web-api/rate-limits>), Teams four
/// (<https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook>), SES in its
/// sandbox one a second (<https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas.html>). The others are our own
/// cautious figures.
pub const fn default_requests_per_minute(kind: &TargetKind) -> u32 {
    match kind {
        TargetKind::Slack | TargetKind::Email { .. } => 60,
        TargetKind::Teams => 120,
        TargetKind::Sns { .. } | TargetKind::Webhook { .. } => 300,
    }
}

/// A reason code, if it is a word and no free text, which could quote somebody.
fn parse_reason_code(code: &str) -> Option<String> {
    /// Longer than any code that these services document.
    const MAX_CODE_CHARS: usize = 64;
    let code = code.trim();
    let is_word = (1..=MAX_CODE_CHARS).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        && !code.bytes().all(|byte| byte.is_ascii_digit());
    is_word.then(|| code.to_owned())
}
