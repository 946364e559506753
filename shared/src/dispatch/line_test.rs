//! Tests of a line for the evidence of a handover: its health now, and one message that is
//! submitted twice under one key.
//!
//! Promises: the message goes through ledger, rate and health like every other. Then its bytes are
//! submitted once more under its key, which no other code does for an accepted message. So a
//! provider that does not honour keys shows it on the phone of the agency, and not of a customer.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{DispatchError, DispatchResult, Dispatcher, Invocation, LineOpening, SendSlots};
use crate::{
    client_config::Precedence,
    contact::Phone,
    fault::error_chain,
    ledger::{Content, IdempotencyKey, LedgerRow, MessageContext, MessageState, OutboundMessage},
    line::SlotReservation,
    provider::{MessageRejected, PROVIDER, Recipient, RenderedMessage, SendOutcome},
};

/// How long the message of a test waits at most for the line.
const USEFUL_FOR: SignedDuration = SignedDuration::from_mins(10);
/// The priority of the message, 0 to 100. An operator waits for it.
const PRIORITY: u8 = 100;
/// What stands in place of a delivery.
const DELIVERY: &str = "line test";

/// The health of a line, asked for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineCheck {
    /// When it was asked.
    pub at: Timestamp,
    /// Whether a message may be sent.
    pub sendable: bool,
    /// Whether the provider accepted the token: it answered with the line's health.
    #[serde(default)]
    pub token_accepted: bool,
    /// Whether the provider refused the token.
    pub token_refused: bool,
    /// The reported states, or why there are none.
    pub summary: String,
}

/// One submit of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestSubmit {
    /// When its result was known.
    pub at: Timestamp,
    /// Whether the provider accepted it.
    pub accepted: bool,
    /// The provider's id in the response, if there is one.
    pub provider_id: Option<String>,
    /// Why it was not accepted.
    pub reason: Option<String>,
}

/// The result of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineTest {
    /// The line.
    pub line: String,
    /// The idempotency key of the message.
    pub key: String,
    /// The submit of the message.
    pub first: TestSubmit,
    /// The same bytes under the same key again, if the first submit was accepted.
    pub second: Option<TestSubmit>,
    /// Whether tellonce itself refused to submit the message again, when it was dispatched once
    /// more.
    pub repeat_was_known: bool,
}

/// A test of a line failed.
#[derive(Debug, thiserror::Error)]
pub enum LineTestError {
    /// The configuration has no such line.
    #[error("the line `{0}` is not configured")]
    UnknownLine(String),
    /// The text cannot be sent.
    #[error("the text of the test cannot be sent")]
    Text(#[from] MessageRejected),
    /// The message was not dispatched.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// The row of the message is gone.
    #[error("the ledger lost the message {0}")]
    RowGone(IdempotencyKey),
}

impl Dispatcher {
    /// Asks for the health of a line now, and records it as before a send.
    pub async fn check_line(&self, line: &str) -> Result<LineCheck, LineTestError> {
        if !self.config.lines.contains_key(line) {
            return Err(LineTestError::UnknownLine(line.to_owned()));
        }
        let at = self.clock.now();
        let token = self.secrets.get_current(&self.config.line_secret_name(line), at).await;
        Ok(match token {
            Ok(token) => {
                let health = self.line_tools().check_health_now(line, token, at).await?;
                LineCheck {
                    at,
                    sendable: health.sendable,
                    token_accepted: health.token_accepted,
                    token_refused: health.token_refused,
                    summary: health.summary,
                }
            }
            Err(error) => LineCheck {
                at,
                sendable: false,
                token_accepted: false,
                token_refused: false,
                summary: error_chain(&error),
            },
        })
    }

    /// Sends one message, submits its bytes again under its key, and dispatches it again. `id` is
    /// random: it names the test.
    pub async fn test_line(
        &self,
        invocation: &Invocation,
        line: &str,
        to: &Phone,
        id: &str,
    ) -> Result<LineTest, LineTestError> {
        if !self.config.lines.contains_key(line) {
            return Err(LineTestError::UnknownLine(line.to_owned()));
        }
        let message = self.build_test_message(line, to, id)?;
        let key = message.key.clone();
        self.dispatch(invocation, message.clone()).await?;
        let row = self.ledger.read_row(&key).await.map_err(DispatchError::from)?;
        let row = row.ok_or_else(|| LineTestError::RowGone(key.clone()))?;
        let first = first_submit(&row);
        let test =
            LineTest { line: line.to_owned(), key: key.to_string(), first, second: None, repeat_was_known: false };
        if !test.first.accepted {
            return Ok(test);
        }
        let second = Some(self.submit_again(invocation, &row).await?);
        let repeated = self.dispatch(invocation, message).await?;
        let repeat_was_known = repeated == DispatchResult::AlreadyKnown(key, MessageState::Accepted);
        tracing::info!(message.key = test.key, line.name = line, "operator tested line {line} with {}", test.key);
        Ok(LineTest { second, repeat_was_known, ..test })
    }

    fn build_test_message(&self, line: &str, to: &Phone, id: &str) -> Result<OutboundMessage, MessageRejected> {
        let now = self.clock.now();
        let text = format!("Test {id} for {}: this message must arrive exactly once.", self.config.name);
        let rendered = RenderedMessage { text, button: None, document: None };
        Ok(OutboundMessage {
            key: IdempotencyKey::for_line_test(id),
            precedence: Precedence::independent(),
            instance: None,
            generation: None,
            zone: None,
            text_zone: None,
            consent: None,
            released_at: None,
            occurred_at: now,
            line: line.to_owned(),
            to: Some(to.clone()),
            content: Content::Send(PROVIDER.build_payload(&rendered, Recipient::Phone(to))?),
            useful_until: now + USEFUL_FOR,
            priority: PRIORITY,
            // The number is the agency's, and an operator asked for it.
            ignores_quiet_hours: true,
            not_before: None,
            delivery: DELIVERY.to_owned(),
            context: MessageContext::default(),
        })
    }

    /// Submits the bytes of an accepted row again under its key. The row stays as it is.
    async fn submit_again(&self, invocation: &Invocation, row: &LedgerRow) -> Result<TestSubmit, DispatchError> {
        let tools = self.line_tools();
        let mut slots = SendSlots::for_messages(1);
        let not_submitted = |reason: String| {
            let at = self.clock.now();
            Ok(TestSubmit { at, accepted: false, provider_id: None, reason: Some(format!("not submitted: {reason}")) })
        };
        let health = match tools.reserve_slot(invocation, &mut slots, &row.line, &row.key).await? {
            SlotReservation::Granted { recent_health, .. } => recent_health,
            SlotReservation::Blocked(blocked) => return not_submitted(blocked.reason()),
        };
        let access = match tools.open_line(invocation, &row.line, &row.key, health).await? {
            LineOpening::Open(access) => access,
            LineOpening::Unavailable(why) | LineOpening::Held(why) => return not_submitted(why.reason.text),
        };
        let outcome = access.send_row(row).await?;
        let at = self.clock.now();
        let refused = |reason: String| TestSubmit { at, accepted: false, provider_id: None, reason: Some(reason) };
        Ok(match outcome {
            SendOutcome::Accepted { provider_id } => TestSubmit { at, accepted: true, provider_id, reason: None },
            SendOutcome::RateLimited { .. } => refused("asked to send more slowly".to_owned()),
            SendOutcome::Unauthorized => refused("the token was refused".to_owned()),
            SendOutcome::Refused(reason)
            | SendOutcome::Conflict(reason)
            | SendOutcome::NotSent(reason)
            | SendOutcome::Unknown(reason) => refused(reason),
        })
    }
}

fn first_submit(row: &LedgerRow) -> TestSubmit {
    let accepted = row.state == MessageState::Accepted;
    let reason = || format!("{}: {}", row.state.name(), row.reason.as_deref().unwrap_or("no reason is recorded"));
    TestSubmit {
        at: row.accepted_at.unwrap_or(row.updated_at),
        accepted,
        provider_id: row.provider_id.clone(),
        reason: (!accepted).then(reason),
    }
}
