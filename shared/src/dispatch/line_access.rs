//! The access to a line that a send needs: its token and its good health. Opens the line's breaker
//! when the token is refused.

use jiff::{SignedDuration, Timestamp};

use super::{DispatchError, Invocation, LineOpening, LineUnavailable, line_tools::LineTools};
use crate::{
    fault::error_chain,
    ledger::{IdempotencyKey, LedgerRow, Reason, StepCode},
    line::LineBlocked,
    provider::{LineHealth, PROVIDER, PROVIDER_NAME, SendOutcome},
    secret::Secret,
};

/// A line that may be used now.
pub(super) struct LineAccess<'a> {
    tools: LineTools<'a>,
    line: &'a str,
    token: Secret,
    /// Whether the token was fetched again a moment ago.
    is_token_fresh: bool,
    /// Summary of the line's health.
    health: String,
}

impl<'a> LineTools<'a> {
    /// Token and good health of a line. `recent_health` is the line's good health from its row.
    pub(super) async fn open_line(
        self,
        invocation: &Invocation,
        line: &str,
        key: &IdempotencyKey,
        recent_health: Option<String>,
    ) -> Result<LineOpening<LineAccess<'a>>, DispatchError> {
        let (line, _) = self.find_line(line, key)?;
        let now = self.clock.now();
        let out_of_time = || {
            let reason = Reason::new(StepCode::OutOfTime, "the function's time ran out");
            LineOpening::Unavailable(LineUnavailable { until: now, reason })
        };
        if !invocation.has_time_for_send() {
            return Ok(out_of_time());
        }
        let token = match self.secrets.get_current(&self.config.line_secret_name(line), now).await {
            Ok(token) => token,
            Err(error) => {
                tracing::error!(line.name = line, "{}", error_chain(&error));
                let until = now + SignedDuration::from_mins(1);
                let reason = Reason::new(StepCode::SecretUnreadable, error.to_string());
                return Ok(LineOpening::Unavailable(LineUnavailable { until, reason }));
            }
        };
        let mut access = LineAccess { tools: self, line, token, is_token_fresh: false, health: String::new() };
        match self.healthy_lines.get(line, now).or(recent_health) {
            Some(health) => access.health = health,
            None => {
                if let Some(unavailable) = access.check_health(now).await? {
                    return Ok(LineOpening::Unavailable(unavailable));
                }
            }
        }
        Ok(if invocation.has_time_to_submit() { LineOpening::Open(access) } else { out_of_time() })
    }

    /// Requests the health of a line now, whatever is known of it.
    pub(super) async fn check_health_now(
        self,
        line: &str,
        token: Secret,
        now: Timestamp,
    ) -> Result<LineHealth, DispatchError> {
        LineAccess { tools: self, line, token, is_token_fresh: false, health: String::new() }.request_health(now).await
    }

    /// Delays the next slot of a line, because the provider asked for that.
    pub(super) async fn delay_line(self, line: &str, until: Timestamp) -> Result<LineUnavailable, DispatchError> {
        self.line_state.delay_next_slot(line, until).await?;
        let text = format!("{PROVIDER_NAME} asked to send more slowly");
        Ok(LineUnavailable { until, reason: Reason::new(StepCode::ProviderBusy, text) })
    }

    /// Opens the breaker of a line whose token was refused.
    pub(super) async fn block_unauthorized_line(self, line: &str) -> Result<LineUnavailable, DispatchError> {
        Ok(self.line_state.open_breaker(line, self.clock.now()).await?.into())
    }
}

impl LineAccess<'_> {
    /// Submits a claimed row.
    pub(super) async fn send_row(mut self, row: &LedgerRow) -> Result<SendOutcome, DispatchError> {
        let Some(payload) = &row.payload else {
            return Ok(SendOutcome::Refused("the message has no payload".to_owned()));
        };
        tracing::info!(message.key = %row.key, line.name = self.line, line.health = self.health, "checked line {}: sendable", self.line);
        let LineTools { provider, healthy_lines, line_state, clock, .. } = self.tools;
        let key = row.key.to_string();
        let mut outcome = provider.send_payload(&self.token, &key, payload).await;
        // The token may have been rotated. Nothing was sent, so a newer token is tried at once.
        if outcome == SendOutcome::Unauthorized && !self.is_token_fresh && self.refetch_token(clock.now()).await {
            outcome = provider.send_payload(&self.token, &key, payload).await;
        }
        if !matches!(outcome, SendOutcome::Accepted { .. }) {
            healthy_lines.lock().remove(self.line);
            line_state.forget_health(self.line).await?;
        }
        Ok(outcome)
    }

    /// Requests the line's health, again with a newer token if the token is refused. Returns why
    /// the line may not be used if its health is not good.
    async fn check_health(&mut self, now: Timestamp) -> Result<Option<LineUnavailable>, DispatchError> {
        let tools = self.tools;
        loop {
            let health = self.request_health(now).await?;
            if health.sendable {
                self.health = health.summary;
                return Ok(None);
            }
            if !health.token_refused {
                let until = now + SignedDuration::from_secs(PROVIDER.facts().down_recheck_seconds);
                return Ok(Some(LineBlocked::Down { until, health: health.summary }.into()));
            }
            if self.is_token_fresh || !self.refetch_token(now).await {
                return Ok(Some(tools.block_unauthorized_line(self.line).await?));
            }
        }
    }

    /// Requests the line's health once and records it.
    async fn request_health(&self, now: Timestamp) -> Result<LineHealth, DispatchError> {
        let LineTools { provider, healthy_lines, line_state, .. } = self.tools;
        let health = provider.get_health(self.line, &self.token).await;
        if !health.token_refused {
            line_state.record_health(self.line, &health, now).await?;
        }
        if health.sendable {
            healthy_lines.lock().insert(self.line.to_owned(), (now, health.summary.clone()));
        } else {
            healthy_lines.lock().remove(self.line);
        }
        Ok(health)
    }

    /// Reads the token again. Returns whether it is another one.
    async fn refetch_token(&mut self, now: Timestamp) -> bool {
        self.is_token_fresh = true;
        let LineTools { config, secrets, .. } = self.tools;
        match secrets.refetch(&config.line_secret_name(self.line), &self.token, now).await {
            Ok(Some(token)) => {
                self.token = token;
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::error!("{}", error_chain(&error));
                false
            }
        }
    }
}
