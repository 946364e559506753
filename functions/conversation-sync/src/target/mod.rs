//! Targets: where the team is called.
//!
//! [`TargetClient::call`] writes a [`Notice`] in the target's own way, and says by its error whether the call may have
//! taken effect. None of the targets can be asked whether a notice is there, so a repeat says that it is one.
//!
//! Promised: what a customer wrote mentions nobody, formats nothing and stays within the target's limits.

mod aws;
mod email;
mod slack;
mod sns;
mod teams;
#[cfg(test)]
mod tests;
mod webhook;

use jiff::Timestamp;
use reqwest::Url;
use shared::{client_config::TargetKind, cold_start::Aws, secret::Secret};

use crate::{
    call::{CallError, Caller},
    notice::Notice,
};

/// One target of the client, ready to be called.
pub struct TargetClient<'a> {
    /// What it is.
    pub kind: &'a TargetKind,
    /// Calls it, at its pace. For AWS services only the pace is used.
    pub caller: Caller<'a>,
    /// Its secret: an address, or what signs. E-mail and SNS have none.
    pub credential: Option<Secret>,
    /// Sends e-mail and publishes.
    pub aws: &'a Aws,
}

impl TargetClient<'_> {
    /// Calls the team.
    pub async fn call(&self, notice: &Notice, now: Timestamp) -> Result<(), CallError> {
        match self.kind {
            TargetKind::Slack => slack::call(self, notice).await,
            TargetKind::Teams => teams::call(self, notice).await,
            TargetKind::Email { from, to } => email::call(self, from, to, notice).await,
            TargetKind::Sns { topic_arn } => sns::call(self, topic_arn, notice).await,
            TargetKind::Webhook { url } => webhook::call(self, url, notice, now).await,
        }
    }

    /// The address that is the credential, if it is an https address of a host that `is_host` knows; else the secret is not
    /// `what` it should be. In local runs and tests the origin is that which stands in for it.
    fn secret_address(&self, what: &'static str, is_host: impl Fn(&str) -> bool) -> Result<Url, CallError> {
        let malformed = || CallError::Malformed { secret: self.caller.secret.to_owned(), what };
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
        let Some(base_url) = self.caller.base_url else { return Ok(url) };
        let mut stand_in = Url::parse(base_url).map_err(|_| CallError::Address("it is no URL"))?;
        stand_in.set_path(url.path());
        stand_in.set_query(url.query());
        Ok(stand_in)
    }

    /// An address that is a secret is not accepted, or leads nowhere: it must be replaced.
    fn bad_address(&self, status: reqwest::StatusCode) -> CallError {
        CallError::Credential { status: status.as_u16(), secret: self.caller.secret.to_owned() }
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
fn word(code: &str) -> Option<String> {
    /// Longer than any code that these services document.
    const LONGEST: usize = 64;
    let code = code.trim();
    let is_word = (1..=LONGEST).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        && !code.bytes().all(|byte| byte.is_ascii_digit());
    is_word.then(|| code.to_owned())
}
