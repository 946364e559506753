//! Sends one message: claims it, checks its history and its line, submits it, settles it.
//!
//! Main types: [`Dispatcher`] does it; [`Invocation`] is the owner and the deadline of one function
//! invocation; [`SendSlots`] are reserved slots of a line; [`DispatchResult`] is the outcome.
//!
//! All functions that send use this module: order-notifier with order updates
//! ([`Dispatcher::dispatch`]), lead-first-touch with greetings
//! ([`Dispatcher::dispatch_first_touch`]), reminder-scheduler with reminders
//! ([`Dispatcher::dispatch_reminder`]) and with messages that waited
//! ([`Dispatcher::resume_message`]). [`apply_change()`], [`decide_message()`] and
//! [`crate::greeting`] decide about messages; this module executes.
//!
//! Flow:
//!
//! ```text
//! claim ──► history ∥ slot of the line ──► health ──► submit ──► settle
//!   1 write     1 read ∥ 1 write          (30 s cache)  1 send     1 write
//! ```
//!
//! A greeting has no history except the contact's greetings. Its claim checks these and the opt-out
//! in one transaction.
//!
//! A reminder takes slot and health first, and claims last. The claim checks the appointment's
//! header in the same transaction. So nothing happens between the last check and the send, and a
//! line that is down costs no write.
//!
//! Promises: a message is submitted only if this invocation has claimed it, its history allows it,
//! and the line's health is good. Every outcome after the claim is recorded, or the sweep finds the
//! row when the lease ends. Does **not** cover what a message says or when it becomes useful.

mod first_touch;
mod reminders;
mod send_slots;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    bootstrap::{self, AwsClients, StartError},
    client_config::{ClientConfig, LineConfig},
    clock::{Clock, Deadline},
    fault::{ClassifyFault, Fault},
    ledger::{
        ClaimOwner, IdempotencyKey, Ledger, LedgerError, LedgerRow, MessageState, OpenOutcome, OutboundMessage,
        QUIET_HOURS_REASON, RowChange, SaveOutcome, TransitionRefused, apply_change, decide_message,
    },
    line::{LineBlocked, LineState, LineStateError, SlotReservation},
    provider::{LineHealth, PROVIDER, ProviderClient, SendOutcome},
    secret::{Secret, SecretStore},
    telemetry::{self, Measurement, Metric},
};

pub use first_touch::{FirstTouchDispatchResult, GreetingRules, RELEASED_AT};
pub use reminders::ReminderDispatchResult;
pub use send_slots::SendSlots;

/// Time that one more send needs: the send itself and its settlement.
const MIN_TIME_FOR_SEND: Duration = Duration::from_secs(13);
/// A history older than this is read again before a message is sent.
const HISTORY_MAX_AGE: SignedDuration = SignedDuration::from_secs(1);
/// Recorded reason of a message to a contact who has opted out.
const OPTED_OUT_REASON: &str = "the customer has opted out";
/// How long a message waits after a submit that never left this process.
const NOT_SENT_RETRY_MINUTES: i64 = 1;

/// The outcome of dispatching a message, for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DispatchResult {
    /// The provider accepted it.
    Accepted(IdempotencyKey),
    /// It waits, or another invocation holds it.
    Waiting(IdempotencyKey, MessageState),
    /// It waits because its line is blocked. The next message for this line would wait as well.
    LineBlocked(IdempotencyKey, MessageState),
    /// It will not be sent. The row holds the reason.
    Ended(IdempotencyKey, MessageState),
    /// It was already in the ledger.
    AlreadyKnown(IdempotencyKey, MessageState),
    /// Its payload differs from the one stored under the same key.
    PayloadConflict(IdempotencyKey, MessageState),
    /// It is recorded and not sent.
    RecordedOnly(IdempotencyKey),
}

/// The outcome of an attempt.
enum AttemptResult {
    /// A change of the row.
    Change(RowChange),
    /// A change of the row, because the line is blocked.
    LineBlocked(RowChange),
}

/// A line that may be used now.
struct LineAccess {
    token: Secret,
    /// Whether the token was fetched again a moment ago.
    token_refreshed: bool,
    /// Summary of the line's health.
    health: String,
}

/// A line that may not be used now.
struct LineUnavailable {
    until: Timestamp,
    reason: String,
}

/// Dispatching failed in the middle. The sweep finds a claimed row when its lease ends.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The line's row could not be read or written.
    #[error(transparent)]
    LineState(#[from] LineStateError),
    /// Other invocations kept writing the same row.
    #[error("could not update message {0}: too many conflicting writes")]
    TooManyConflicts(IdempotencyKey),
    /// The ledger names a line that the configuration does not know.
    #[error("message {key} is for the line `{line}`, which is not configured; add [lines.{line}] and deploy")]
    UnknownLine {
        /// Its key.
        key: IdempotencyKey,
        /// The line.
        line: String,
    },
}

impl ClassifyFault for DispatchError {
    fn fault(&self) -> Fault {
        match self {
            Self::Ledger(error) => error.fault(),
            Self::LineState(error) => error.fault(),
            Self::TooManyConflicts(_) => Fault::Transient,
            Self::UnknownLine { .. } => Fault::Permanent,
        }
    }
}

/// What a function needs to send messages.
pub struct Dispatcher {
    /// The client.
    pub config: ClientConfig,
    /// The ledger.
    pub ledger: Ledger,
    /// The state of the lines.
    pub line_state: LineState,
    /// The API of the lines' provider.
    pub provider: ProviderClient,
    /// Line tokens.
    pub secrets: SecretStore,
    /// The source of the current time.
    pub clock: Clock,
    healthy_lines: Mutex<HashMap<String, (Timestamp, String)>>,
}

/// Owner and deadline of one function invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The owner of its claims.
    pub owner: ClaimOwner,
    /// When it must have ended.
    pub deadline: Deadline,
    /// Whether to request health of lines that are known to be down. The sweep finds out that way
    /// that they are back.
    pub probe_down_lines: bool,
}

impl Invocation {
    /// An invocation with the id that Lambda gives. Lambda repeats the id when it retries an
    /// invocation, so the time is part of the owner.
    pub fn new(request_id: &str, deadline: Deadline, probe_down_lines: bool, now: Timestamp) -> Self {
        let owner = ClaimOwner(format!("{request_id}@{}", now.as_microsecond()));
        Self { owner, deadline, probe_down_lines }
    }

    /// Whether there is time for one more send.
    pub fn has_time_for_send(&self) -> bool {
        self.deadline.remaining() > MIN_TIME_FOR_SEND
    }

    /// Whether there is time for the send itself and its settlement.
    fn has_time_to_submit(&self) -> bool {
        self.deadline.remaining() > PROVIDER.facts().send_timeout + Duration::from_secs(2)
    }

    /// The row after a claim by this invocation.
    fn claim_row(&self, row: &LedgerRow, now: Timestamp) -> Result<LedgerRow, TransitionRefused> {
        apply_change(row, &RowChange::Claim { owner: self.owner.clone(), lease_until: self.lease_until(now) }, now)
    }

    /// When a claim made at `now` expires.
    pub fn lease_until(&self, now: Timestamp) -> Timestamp {
        // After the deadline Lambda has ended the process. The extra second covers rounding.
        let millis = i64::try_from(self.deadline.remaining().as_millis()).unwrap_or(i64::MAX / 2);
        now + SignedDuration::from_millis(millis.min(3_600_000)) + SignedDuration::from_secs(1)
    }
}

impl Dispatcher {
    /// A dispatcher of a client. The ledger's table and the provider's base URL come from the
    /// environment.
    pub fn from_environment(config: ClientConfig, http: reqwest::Client, aws: &AwsClients) -> Result<Self, StartError> {
        let db = aws.dynamodb();
        let table = bootstrap::require_variable("LEDGER_TABLE")?;
        Ok(Self {
            ledger: Ledger::new(db.clone(), table.clone(), config.client.clone(), config.retention.ledger_days),
            line_state: LineState::new(db, table),
            provider: ProviderClient::new(http, &bootstrap::require_variable("EZW_BASE_URL")?),
            secrets: SecretStore::new(aws.secrets_manager()),
            clock: Clock::from_environment(),
            config,
            healthy_lines: Mutex::default(),
        })
    }

    /// Reads the tokens of these lines during initialisation, which runs at full speed. A token
    /// that is missing now is read again when a message needs it.
    pub async fn prefetch_line_tokens(&self, lines: impl Iterator<Item = &str>) {
        let now = self.clock.now();
        for line in lines.collect::<BTreeSet<_>>() {
            if let Err(error) = self.secrets.get_current(&self.config.line_secret_name(line), now).await {
                tracing::warn!(line.name = line, "{}", crate::fault::error_chain(&error));
            }
        }
    }

    /// Sends a message, once.
    pub async fn dispatch(
        &self,
        invocation: &Invocation,
        message: OutboundMessage,
    ) -> Result<DispatchResult, DispatchError> {
        self.find_line(&message.line, &message.key)?;
        let slots = &mut SendSlots::for_messages(1);
        let mut key = message.key.clone();
        // A second parcel, refund or invoice of the same milestone finds the first one's row under
        // its key and takes its own key.
        for _ in 0..2 {
            let now = self.clock.now();
            let row = LedgerRow::from_message(
                &message,
                key.clone(),
                invocation.owner.clone(),
                invocation.lease_until(now),
                now,
            );
            match self.ledger.open(&row).await? {
                OpenOutcome::New => return self.dispatch_new_row(invocation, slots, row).await,
                OpenOutcome::Exists(before) => match (&message.instance, &before.instance) {
                    (Some(mine), Some(theirs)) if mine != theirs && key == message.key => key = key.with_instance(mine),
                    _ => return self.dispatch_existing_row(invocation, slots, *before, &row).await,
                },
            }
        }
        Err(DispatchError::TooManyConflicts(key))
    }

    /// Resumes a message that waited.
    pub async fn resume_message(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        row: LedgerRow,
    ) -> Result<DispatchResult, DispatchError> {
        let now = self.clock.now();
        self.find_line(&row.line, &row.key)?;
        if row.useful_until <= now && row.state != MessageState::Claimed {
            return self.settle_row(row, &RowChange::Expire { owner: None }).await;
        }
        if row.generation.is_some() {
            self.resume_reminder(invocation, slots, row).await
        } else {
            self.claim_and_submit(invocation, slots, row).await
        }
    }

    /// Dispatches a row that this invocation has opened.
    async fn dispatch_new_row(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        row: LedgerRow,
    ) -> Result<DispatchResult, DispatchError> {
        match row.state {
            MessageState::Claimed => self.submit_row(invocation, slots, row).await,
            MessageState::Suppressed | MessageState::Incomplete => Ok(DispatchResult::RecordedOnly(row.key)),
            _ => {
                self.report_row(&row);
                Ok(result_of_row(row))
            }
        }
    }

    /// Dispatches a row that existed before.
    async fn dispatch_existing_row(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        before: LedgerRow,
        mine: &LedgerRow,
    ) -> Result<DispatchResult, DispatchError> {
        let now = self.clock.now();
        match before.state {
            MessageState::Claimed if before.lease_until.is_some_and(|lease| now < lease) => {
                if before.due_at.is_some() {
                    return Ok(DispatchResult::Waiting(before.key, before.state));
                }
                // Another invocation is sending it, or has just crashed. The sweep checks it when
                // the lease has ended.
                self.settle_row(before, &RowChange::Recheck).await
            }
            MessageState::Claimed => self.claim_and_submit(invocation, slots, before).await,
            MessageState::Incomplete if let Some(next) = mine.replace_incomplete(&before) => {
                match self.ledger.save(&before, &next).await? {
                    SaveOutcome::Saved => self.dispatch_new_row(invocation, slots, next).await,
                    // Another report of the same event was faster.
                    SaveOutcome::Overtaken(now) => Ok(DispatchResult::AlreadyKnown(now.key, now.state)),
                    SaveOutcome::Gone => Err(DispatchError::TooManyConflicts(before.key)),
                }
            }
            state => {
                let differs = matches!((&before.payload, &mine.payload), (Some(theirs), Some(mine)) if theirs != mine);
                if differs {
                    telemetry::count_metric(&self.config.client, Metric::PayloadConflict, now);
                    return Ok(DispatchResult::PayloadConflict(before.key, state));
                }
                Ok(DispatchResult::AlreadyKnown(before.key, state))
            }
        }
    }

    /// Claims a row that waits, and submits it.
    async fn claim_and_submit(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        row: LedgerRow,
    ) -> Result<DispatchResult, DispatchError> {
        match self.claim_row(invocation, row).await? {
            Ok(row) => self.submit_row(invocation, slots, row).await,
            Err(result) => Ok(result),
        }
    }

    /// Claims a row that waits. The inner `Err` is the outcome if the claim is not possible.
    async fn claim_row(
        &self,
        invocation: &Invocation,
        row: LedgerRow,
    ) -> Result<Result<LedgerRow, DispatchResult>, DispatchError> {
        let next = match invocation.claim_row(&row, self.clock.now()) {
            Ok(next) => next,
            Err(why) => return Ok(Err(result_of_refused_claim(row, why))),
        };
        if row.key.is_first_touch() && next.state == MessageState::Claimed {
            return self.claim_greeting(row, next).await;
        }
        Ok(match self.ledger.save(&row, &next).await? {
            SaveOutcome::Saved if next.state == MessageState::Claimed => Ok(next),
            SaveOutcome::Saved => {
                self.report_row(&next);
                Err(result_of_row(next))
            }
            // Another function was faster and handles it.
            SaveOutcome::Overtaken(now) => Err(DispatchResult::Waiting(now.key, now.state)),
            SaveOutcome::Gone => Err(DispatchResult::Ended(row.key, MessageState::Expired)),
        })
    }

    /// Attempts a send and settles the row.
    async fn submit_row(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        row: LedgerRow,
    ) -> Result<DispatchResult, DispatchError> {
        let line = self.find_line(&row.line, &row.key)?;
        let attempt = self.attempt_send(invocation, slots, &row, line).await?;
        self.settle_attempt(row, attempt).await
    }

    /// Records the outcome of an attempt.
    async fn settle_attempt(&self, row: LedgerRow, attempt: AttemptResult) -> Result<DispatchResult, DispatchError> {
        match attempt {
            AttemptResult::Change(change) => self.settle_row(row, &change).await,
            AttemptResult::LineBlocked(change) => Ok(match self.settle_row(row, &change).await? {
                DispatchResult::Waiting(key, state) => DispatchResult::LineBlocked(key, state),
                result => result,
            }),
        }
    }

    /// The line of a name. Checked before every claim, so that no row is claimed for a removed
    /// line.
    fn find_line(&self, name: &str, key: &IdempotencyKey) -> Result<&LineConfig, DispatchError> {
        let line = self.config.lines.get(name);
        line.ok_or_else(|| DispatchError::UnknownLine { key: key.clone(), line: name.to_owned() })
    }

    /// Whether history and line allow a claimed row to be sent now. `Ok` holds the line's recent
    /// good health if there is one; the inner `Err` holds the change if the row may not be sent.
    async fn check_clearance(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        row: &LedgerRow,
        line: &LineConfig,
    ) -> Result<Result<Option<String>, AttemptResult>, DispatchError> {
        let owner = || invocation.owner.clone();
        let asked_at = self.clock.now();
        if let Some(until) =
            self.config.quiet_hours_end_in_zone(row.zone.as_deref(), asked_at).filter(|_| !row.ignores_quiet_hours)
        {
            let change = RowChange::Hold { owner: owner(), until, reason: QUIET_HOURS_REASON.to_owned() };
            return Ok(Err(AttemptResult::Change(change)));
        }
        let (history, slot) = if invocation.probe_down_lines {
            // A message that waited is often superseded by now. Do not use up a slot for it.
            (self.read_history(row).await, None)
        } else {
            let (history, slot) =
                tokio::join!(self.read_history(row), self.reserve_slot(invocation, slots, &row.line, line));
            (history, Some(slot))
        };
        if let Some(change) = decide_message(row, &history?, self.clock.now()).into_change(owner()) {
            return Ok(Err(AttemptResult::Change(change)));
        }
        let slot = match slot {
            Some(slot) => slot?,
            None => self.reserve_slot(invocation, slots, &row.line, line).await?,
        };
        slots.spend_slot();
        let (known_good, drop_before) = match slot {
            SlotReservation::Granted { recent_health: known_good, drop_before } => (known_good, drop_before),
            SlotReservation::Blocked(blocked) => {
                let change = RowChange::Hold { owner: owner(), until: blocked.until(), reason: blocked.reason() };
                return Ok(Err(AttemptResult::LineBlocked(change)));
            }
        };
        if drop_before.is_some_and(|before| row.created_at < before) && !row.may_have_arrived() {
            let reason = "an operator dropped everything that waited for this line".to_owned();
            return Ok(Err(AttemptResult::Change(RowChange::Supersede { owner: owner(), reason })));
        }
        // The wait for a slot may be long enough for the history to change.
        let now = self.clock.now();
        if now.duration_since(asked_at) >= HISTORY_MAX_AGE
            && let Some(change) = self.recheck_after_wait(row, &owner(), now).await?
        {
            return Ok(Err(AttemptResult::Change(change)));
        }
        Ok(Ok(known_good))
    }

    /// The change that follows from what happened while a claimed row waited for its slot.
    async fn recheck_after_wait(
        &self,
        row: &LedgerRow,
        owner: &ClaimOwner,
        now: Timestamp,
    ) -> Result<Option<RowChange>, DispatchError> {
        if let Some(until) =
            self.config.quiet_hours_end_in_zone(row.zone.as_deref(), now).filter(|_| !row.ignores_quiet_hours)
        {
            return Ok(Some(RowChange::Hold { owner: owner.clone(), until, reason: QUIET_HOURS_REASON.to_owned() }));
        }
        if self.has_opted_out(row).await? {
            return Ok(Some(RowChange::Supersede { owner: owner.clone(), reason: OPTED_OUT_REASON.to_owned() }));
        }
        Ok(decide_message(row, &self.read_history(row).await?, now).into_change(owner.clone()))
    }

    /// All rows of a message's subject. A lead has only its first touch, so nothing is read.
    async fn read_history(&self, row: &LedgerRow) -> Result<Vec<LedgerRow>, LedgerError> {
        if row.key.is_first_touch() { Ok(Vec::new()) } else { self.ledger.read_history(row.key.subject()).await }
    }

    /// One attempt to send a claimed row.
    async fn attempt_send(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        row: &LedgerRow,
        line: &LineConfig,
    ) -> Result<AttemptResult, DispatchError> {
        let known_good = match self.check_clearance(invocation, slots, row, line).await? {
            Ok(known_good) => known_good,
            Err(attempt) => return Ok(attempt),
        };
        match self.open_line_access(invocation, &row.line, known_good).await? {
            Ok(access) => self.submit_payload(invocation, row, access).await,
            Err(LineUnavailable { until, reason }) => {
                Ok(AttemptResult::LineBlocked(RowChange::Hold { owner: invocation.owner.clone(), until, reason }))
            }
        }
    }

    /// Token and good health of a line, or until when the line is unavailable. `known_good` is the
    /// line's recent good health from the line's row.
    async fn open_line_access(
        &self,
        invocation: &Invocation,
        line: &str,
        known_good: Option<String>,
    ) -> Result<Result<LineAccess, LineUnavailable>, DispatchError> {
        let now = self.clock.now();
        let out_of_time = || LineUnavailable { until: now, reason: "the function's time ran out".to_owned() };
        if !invocation.has_time_for_send() {
            return Ok(Err(out_of_time()));
        }
        let secret_name = self.config.line_secret_name(line);
        let mut token = match self.secrets.get_current(&secret_name, now).await {
            Ok(token) => token,
            Err(error) => {
                tracing::error!(line.name = line, "{}", crate::fault::error_chain(&error));
                return Ok(Err(LineUnavailable {
                    until: now + SignedDuration::from_mins(1),
                    reason: error.to_string(),
                }));
            }
        };
        let mut refreshed = false;
        let health = loop {
            match self.check_line_health(line, known_good.clone(), &token, now).await? {
                Ok(summary) => break summary,
                Err(health) if health.token_refused && !refreshed => {
                    refreshed = true;
                    match self.refetch_token(&secret_name, now).await {
                        Some(fresh) => token = fresh,
                        None => return Ok(Err(self.block_unauthorized_line(line, now).await?)),
                    }
                }
                Err(health) if health.token_refused => {
                    return Ok(Err(self.block_unauthorized_line(line, now).await?));
                }
                Err(health) => {
                    telemetry::count_metric(&self.config.client, Metric::LineUnsendable, now);
                    let until = now + SignedDuration::from_secs(60);
                    let blocked = LineBlocked::Down { until, health: health.summary };
                    return Ok(Err(LineUnavailable { until, reason: blocked.reason() }));
                }
            }
        };
        if !invocation.has_time_to_submit() {
            return Ok(Err(out_of_time()));
        }
        Ok(Ok(LineAccess { token, token_refreshed: refreshed, health }))
    }

    /// Submits a claimed row over a line in good health.
    async fn submit_payload(
        &self,
        invocation: &Invocation,
        row: &LedgerRow,
        access: LineAccess,
    ) -> Result<AttemptResult, DispatchError> {
        let owner = invocation.owner.clone();
        let hold = |until: Timestamp, reason: String| RowChange::Hold { owner: owner.clone(), until, reason };
        let Some(payload) = &row.payload else {
            return Ok(AttemptResult::Change(RowChange::Refuse {
                owner,
                reason: "the message has no payload".to_owned(),
            }));
        };
        tracing::info!(message.key = %row.key, line.name = row.line, line.health = access.health, "checked line {}: sendable", row.line);
        let key = row.key.to_string();
        let mut outcome = self.provider.send_payload(&access.token, &key, payload).await;
        if outcome == SendOutcome::Unauthorized && !access.token_refreshed {
            // The token may have been rotated. Nothing was sent, so a newer token is tried at once.
            let secret_name = self.config.line_secret_name(&row.line);
            if let Some(fresh) = self.refetch_token(&secret_name, self.clock.now()).await {
                outcome = self.provider.send_payload(&fresh, &key, payload).await;
            }
        }
        let now = self.clock.now();
        if !matches!(outcome, SendOutcome::Accepted { .. }) {
            self.forget_line_health(&row.line);
            self.line_state.forget_health(&row.line).await?;
        }
        Ok(match outcome {
            SendOutcome::Accepted { provider_id } => AttemptResult::Change(RowChange::Accept { owner, provider_id }),
            SendOutcome::RateLimited { retry_after } => {
                let until = now + retry_after.unwrap_or(SignedDuration::from_mins(1)).max(SignedDuration::from_secs(1));
                if until.duration_since(now) > SignedDuration::from_mins(10) {
                    telemetry::count_metric(&self.config.client, Metric::LineUnsendable, now);
                }
                self.line_state.delay_next_slot(&row.line, until).await?;
                AttemptResult::LineBlocked(hold(until, format!("{} asked to send more slowly", PROVIDER.facts().name)))
            }
            SendOutcome::Unauthorized => {
                let LineUnavailable { until, reason } = self.block_unauthorized_line(&row.line, now).await?;
                AttemptResult::LineBlocked(hold(until, reason))
            }
            SendOutcome::Refused(reason) => AttemptResult::Change(RowChange::Refuse { owner, reason }),
            SendOutcome::Conflict(reason) => AttemptResult::Change(RowChange::Conflict { owner, reason }),
            SendOutcome::NotSent(reason) => {
                AttemptResult::LineBlocked(hold(now + SignedDuration::from_mins(NOT_SENT_RETRY_MINUTES), reason))
            }
            SendOutcome::Unknown(reason) => {
                let wait = PROVIDER.facts().unknown_outcome.retry_delay(row.attempts);
                AttemptResult::LineBlocked(RowChange::OutcomeUnknown { owner, retry_at: now + wait, reason })
            }
        })
    }

    /// Summary of the line's good health, at most
    /// [`crate::provider::ProviderFacts::health_valid_seconds`] old. The inner `Err` holds a health
    /// that is not good.
    async fn check_line_health(
        &self,
        line: &str,
        known_good: Option<String>,
        token: &Secret,
        now: Timestamp,
    ) -> Result<Result<String, LineHealth>, DispatchError> {
        let fresh =
            |at: &Timestamp| now.duration_since(*at) < SignedDuration::from_secs(PROVIDER.facts().health_valid_seconds);
        let cached =
            self.lock_healthy_lines().get(line).filter(|(at, _)| fresh(at)).map(|(_, summary)| summary.clone());
        if let Some(summary) = cached.or(known_good) {
            return Ok(Ok(summary));
        }
        let health = self.provider.get_health(line, token).await;
        if !health.token_refused {
            self.line_state.record_health(line, &health, now).await?;
        }
        if !health.sendable {
            self.forget_line_health(line);
            return Ok(Err(health));
        }
        self.lock_healthy_lines().insert(line.to_owned(), (now, health.summary.clone()));
        Ok(Ok(health.summary))
    }

    fn lock_healthy_lines(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Timestamp, String)>> {
        self.healthy_lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_line_health(&self, line: &str) {
        self.lock_healthy_lines().remove(line);
    }

    async fn refetch_token(&self, secret_name: &str, now: Timestamp) -> Option<Secret> {
        match self.secrets.refetch(secret_name, now).await {
            Ok(token) => token,
            Err(error) => {
                tracing::error!("{}", crate::fault::error_chain(&error));
                None
            }
        }
    }

    async fn block_unauthorized_line(&self, line: &str, now: Timestamp) -> Result<LineUnavailable, DispatchError> {
        telemetry::count_metric(&self.config.client, Metric::LineUnauthorized, now);
        let blocked = self.line_state.open_breaker(line, now).await?;
        Ok(LineUnavailable { until: blocked.until(), reason: blocked.reason() })
    }

    /// Applies a change to the row, or to the row that replaced it meanwhile, as long as the change
    /// is allowed.
    async fn settle_row(&self, mut row: LedgerRow, change: &RowChange) -> Result<DispatchResult, DispatchError> {
        for _ in 0..4 {
            let next = match apply_change(&row, change, self.clock.now()) {
                Ok(next) => next,
                // Another invocation holds it, or it is settled. That write stands.
                Err(
                    TransitionRefused::Settled
                    | TransitionRefused::HeldByAnother
                    | TransitionRefused::NotClaimed
                    | TransitionRefused::NotDue,
                ) => {
                    return Ok(DispatchResult::AlreadyKnown(row.key, row.state));
                }
            };
            match self.ledger.save(&row, &next).await? {
                SaveOutcome::Saved => {
                    self.report_row(&next);
                    return Ok(result_of_row(next));
                }
                SaveOutcome::Overtaken(now) => row = *now,
                SaveOutcome::Gone => return Ok(DispatchResult::Ended(row.key, MessageState::Expired)),
            }
        }
        Err(DispatchError::TooManyConflicts(row.key))
    }

    /// Logs and counts the state of a message.
    fn report_row(&self, row: &LedgerRow) {
        let metric = match row.state {
            MessageState::Accepted => Some(Metric::MessagesAccepted),
            MessageState::Held => Some(Metric::MessagesHeld),
            MessageState::Expired => Some(Metric::MessagesExpired),
            MessageState::NeedsHuman => Some(Metric::MessagesNeedingHuman),
            MessageState::Unknown => Some(Metric::MessagesUnknown),
            MessageState::Refused => Some(Metric::SendRefused),
            MessageState::Superseded | MessageState::Suppressed | MessageState::Incomplete | MessageState::Claimed => {
                None
            }
        };
        if let Some(metric) = metric {
            telemetry::count_metric(&self.config.client, metric, row.updated_at);
        }
        if row.key.is_first_touch() && row.state == MessageState::Accepted {
            telemetry::record_measurement(
                &self.config.client,
                Measurement::FirstTouchSeconds,
                self.seconds_waited(row),
                row.updated_at,
            );
        }
        tracing::info!(
            message.key = %row.key,
            message.state = row.state.name(),
            message.reason = row.reason,
            message.provider_id = row.provider_id,
            delivery.id = row.delivery,
            line.name = row.line,
            "recorded message {} as {}", row.key, row.state.name()
        );
    }
}

/// The outcome for a row that cannot be claimed.
fn result_of_refused_claim(row: LedgerRow, why: TransitionRefused) -> DispatchResult {
    match why {
        TransitionRefused::Settled => DispatchResult::AlreadyKnown(row.key, row.state),
        TransitionRefused::HeldByAnother | TransitionRefused::NotDue | TransitionRefused::NotClaimed => {
            DispatchResult::Waiting(row.key, row.state)
        }
    }
}

fn result_of_row(row: LedgerRow) -> DispatchResult {
    match row.state {
        MessageState::Accepted => DispatchResult::Accepted(row.key),
        MessageState::Suppressed | MessageState::Incomplete => DispatchResult::RecordedOnly(row.key),
        MessageState::Held | MessageState::Claimed | MessageState::Unknown => {
            DispatchResult::Waiting(row.key, row.state)
        }
        MessageState::Refused | MessageState::Superseded | MessageState::Expired | MessageState::NeedsHuman => {
            DispatchResult::Ended(row.key, row.state)
        }
    }
}
