//! Fake team targets: Slack, Teams, e-mail through SES, SNS topics, and an address that takes
//! signed calls.
//!
//! Main types: [`FakeTeam`] are all targets of the client. A [`TeamAlert`] is one accepted call,
//! with the text that the team reads. [`crate::services`] has what all fakes share and makes them
//! fail.
//!
//! Each call to Slack, to Teams and to the signed address is checked by a description of it. A call
//! that contradicts the description gets the real service's 400. Every accepted call is recorded as
//! an alert. Only the signed address and a FIFO topic of SNS recognise a repeat. Not
//! imitated: rate limits, verified identities of SES, and AWS signatures beyond their form.

mod aws;
mod chat;
mod target;

use std::{path::PathBuf, sync::Arc};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use tellonce_core::client_config::TargetKind;

use crate::services::{DescriptionViolation, FakeReply, FakeRequest, FakeService, FakeServices, FakeStorage};

pub use target::FakeTeamTarget;

use target::ReceivedAlert;

/// One alert that reached the team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamAlert {
    /// The target, by its name in `client.toml`.
    pub target: String,
    /// The id of the call, if the target recognises repeats.
    pub id: Option<String>,
    /// The subject, if the target has one.
    pub subject: Option<String>,
    /// The text that the team reads.
    pub text: String,
    /// The time of receipt, in unix milliseconds by the stack's clock.
    pub at_ms: i64,
    /// How many times the call was repeated, if the target recognises repeats.
    pub repeats: u32,
}

/// The fake targets of a stack.
#[derive(Debug)]
pub struct FakeTeam {
    targets: Vec<FakeTeamTarget>,
    alerts: FakeStorage<Vec<TeamAlert>>,
    services: Arc<FakeServices>,
}

impl FakeTeam {
    /// Stores the alerts in `file`. Without a file they are lost when the stack ends.
    pub fn open(
        file: Option<PathBuf>,
        accounts: Vec<FakeTeamTarget>,
        services: Arc<FakeServices>,
    ) -> anyhow::Result<Self> {
        Ok(Self { targets: accounts, alerts: FakeStorage::open(file)?, services })
    }

    /// How often the alerts changed.
    pub fn change_count(&self) -> u64 {
        self.alerts.change_count()
    }

    /// All alerts, oldest first.
    pub fn alerts(&self) -> Vec<TeamAlert> {
        self.alerts.lock().clone()
    }

    /// Removes all alerts.
    pub fn clear_alerts(&self) -> anyhow::Result<()> {
        self.alerts.change(Vec::clear)
    }

    /// The service of a request, by its method, path and content type.
    fn recognize_service(&self, request: &Request) -> Option<FakeService> {
        let path = request.uri().path();
        let kind = request.headers().get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if request.method() != Method::POST {
            return None;
        }
        match path {
            "/" if kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) => {
                Some(FakeService::Target("sns"))
            }
            "/v2/email/outbound-emails" => Some(FakeService::Target("email")),
            _ if path.starts_with("/services/") => Some(FakeService::Target("slack")),
            _ if path.contains("/workflows/") && path.ends_with("/paths/invoke") => Some(FakeService::Target("teams")),
            _ => {
                let is_own = self.targets.iter().any(|account| account.is_webhook_at(path));
                is_own.then_some(FakeService::Target("webhook"))
            }
        }
    }

    fn reply_to_request(
        &self,
        service: FakeService,
        request: &FakeRequest,
        violation: Option<&DescriptionViolation>,
    ) -> FakeReply {
        let received = match service {
            FakeService::Target("slack") => self.receive_at_address(&TargetKind::Slack, request, |request, target| {
                chat::receive_slack(request, target, violation)
            }),
            FakeService::Target("teams") => self.receive_at_address(&TargetKind::Teams, request, |request, target| {
                chat::receive_teams(request, target, violation)
            }),
            FakeService::Target("email") => aws::receive_email(request, &self.targets),
            FakeService::Target("sns") => aws::receive_publish(request, &self.targets),
            _ => self.receive_signed_alert(request, violation),
        };
        let (alert, reply) = match received {
            Ok(taken) => taken,
            Err(refusal) => return refusal,
        };
        let stored = self.alerts.change(|alerts| record_alert(alerts, alert, self.services.host().now_ms()));
        match stored {
            Ok(()) => reply,
            Err(error) => {
                tracing::warn!("{error:#}");
                FakeReply::empty(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    /// A call to a target whose secret is its address.
    fn receive_at_address(
        &self,
        kind: &TargetKind,
        request: &FakeRequest,
        parse_alert: impl Fn(&FakeRequest, Option<&str>) -> Result<(ReceivedAlert, FakeReply), FakeReply>,
    ) -> Result<(ReceivedAlert, FakeReply), FakeReply> {
        let is_here = |account: &&FakeTeamTarget| {
            let address = self.services.host().secret_value(&account.secret);
            account.kind == *kind && address.is_some_and(|address| chat::is_address_of(&address, request))
        };
        parse_alert(request, self.targets.iter().find(is_here).map(|account| account.name.as_str()))
    }

    fn receive_signed_alert(
        &self,
        request: &FakeRequest,
        violation: Option<&DescriptionViolation>,
    ) -> Result<(ReceivedAlert, FakeReply), FakeReply> {
        let is_own = |account: &&FakeTeamTarget| {
            account.is_webhook_at(&request.path) && self.services.is_signed_with(request, &account.secret)
        };
        let target = self.targets.iter().find(is_own).ok_or_else(|| FakeReply::empty(StatusCode::UNAUTHORIZED))?;
        if violation.is_some() {
            return Err(FakeReply::empty(StatusCode::BAD_REQUEST));
        }
        let id = request.header("webhook-id").map(str::to_owned);
        let text = String::from_utf8_lossy(&request.body).into_owned();
        let alert = ReceivedAlert { target: target.name.clone(), id, subject: None, text };
        Ok((alert, FakeReply::empty(StatusCode::NO_CONTENT)))
    }
}

/// Adds an alert, or counts a repeat if the target recognises it.
fn record_alert(alerts: &mut Vec<TeamAlert>, alert: ReceivedAlert, at_ms: i64) {
    let ReceivedAlert { target, id, subject, text } = alert;
    let same = |known: &&mut TeamAlert| id.is_some() && known.id == id && known.target == target;
    match alerts.iter_mut().find(same) {
        Some(known) => known.repeats += 1,
        None => alerts.push(TeamAlert { target, id, subject, text, at_ms, repeats: 0 }),
    }
}

/// Responds to requests for the team's targets and passes on all others.
pub async fn route_team_requests(State(team): State<Arc<FakeTeam>>, request: Request, next: Next) -> Response {
    let Some(service) = team.recognize_service(&request) else { return next.run(request).await };
    let Some(request) = FakeRequest::from_http(request).await else { return StatusCode::BAD_REQUEST.into_response() };
    let build_reply = |violation: Option<&_>| team.reply_to_request(service, &request, violation);
    team.services.serve_described(service, &request, build_reply).await
}

#[cfg(test)]
mod tests;
