//! Telling one message: claim it, look at its story and at the line, submit it, settle it.
//!
//! All functions that send go this way: order-notifier with news ([`Dispatcher::dispatch`]), lead-first-touch with greetings
//! ([`Dispatcher::dispatch_first_touch`]), reminder-scheduler with reminders ([`Dispatcher::dispatch_reminder`]) and with what waited ([`Dispatcher::resume_message`]).
//! Nothing here decides anything about messages: [`apply_change()`], [`decide()`] and [`crate::greeting`] do.
//!
//! ```text
//! claim ──► story ∥ slot of the line ──► health ──► submit ──► settle
//!   1 write     1 read ∥ 1 write        (30 s cache)  1 send     1 write
//! ```
//!
//! A greeting has no story but what its reader has heard, and asks for that, and for their wish, with its claim.
//!
//! A reminder goes the other way round: slot, health, and then the claim, which asks the appointment's header in the same
//! transaction. So nothing lies between the last look at the truth and the send, and a line that is down costs no write.
//!
//! Promises that nothing is submitted that is not claimed by us, beside its whole story, over a line that is known to be
//! good; and that whatever happens after the claim is written down, or found again when the claim's lease ends.

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

/// A send may take so long; with less time left than this and a little, none is begun.
const MIN_TIME_FOR_SEND: Duration = Duration::from_secs(13);
/// Older than this, a story is read again before a message is sent.
const HISTORY_MAX_AGE: SignedDuration = SignedDuration::from_secs(1);
/// Why a message is not sent whose reader has asked for that.
const OPTED_OUT_REASON: &str = "its reader does not want to be written to";
/// How long a message waits that never left us.
const NOT_SENT_RETRY_MINUTES: i64 = 1;

/// What became of a message for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DispatchResult {
    /// `EZWhatsApp` took it.
    Accepted(IdempotencyKey),
    /// It waits, or somebody else has it in hand.
    Waiting(IdempotencyKey, MessageState),
    /// It waits because its line takes nothing now: the next one for this line would wait as well.
    LineBlocked(IdempotencyKey, MessageState),
    /// It will not be sent: the row says why.
    Ended(IdempotencyKey, MessageState),
    /// It was in the ledger before.
    AlreadyKnown(IdempotencyKey, MessageState),
    /// Another text under a key that was used before.
    PayloadConflict(IdempotencyKey, MessageState),
    /// The fact is written down; nobody is told.
    RecordedOnly(IdempotencyKey),
}

/// What an attempt leads to.
enum AttemptResult {
    /// This change.
    Change(RowChange),
    /// This change, because the line takes nothing now.
    LineBlocked(RowChange),
}

/// The way to `EZWhatsApp` over one line.
struct LineAccess {
    token: Secret,
    /// Whether the token was asked for again a moment ago.
    token_refreshed: bool,
    /// What the line said of itself.
    health: String,
}

/// There is no such way now.
struct LineUnavailable {
    until: Timestamp,
    reason: String,
}

/// Telling failed in the middle: whatever was claimed is found again when its lease ends.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The line's row could not be read or written.
    #[error(transparent)]
    LineState(#[from] LineStateError),
    /// Others kept writing the same row.
    #[error("the message {0} is written by others again and again")]
    TooManyConflicts(IdempotencyKey),
    /// The ledger names a line that the configuration does not know.
    #[error("the message {key} is for the line `{line}`, which the configuration does not have")]
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

/// What a function needs to tell messages.
pub struct Dispatcher {
    /// The client.
    pub config: ClientConfig,
    /// The ledger.
    pub ledger: Ledger,
    /// The lines' rows.
    pub line_state: LineState,
    /// The API of the lines' provider.
    pub provider: ProviderClient,
    /// Line tokens.
    pub secrets: SecretStore,
    /// Where `test_now` comes from.
    pub clock: Clock,
    healthy_lines: Mutex<HashMap<String, (Timestamp, String)>>,
}

/// One invocation's right to send: who it is, and until when it runs.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Who claims.
    pub owner: ClaimOwner,
    /// When it must have ended.
    pub deadline: Deadline,
    /// Whether to ask lines that are known to be down: the clock's way to find out that they are back.
    pub probe_down_lines: bool,
}

impl Invocation {
    /// The shift of an invocation. Lambda repeats a request id when it tries an invocation again, so the time is part
    /// of the owner.
    pub fn new(request_id: &str, deadline: Deadline, probe_down_lines: bool, now: Timestamp) -> Self {
        let owner = ClaimOwner(format!("{request_id}@{}", now.as_microsecond()));
        Self { owner, deadline, probe_down_lines: probe_down_lines }
    }

    /// Whether there is time for one more send.
    pub fn has_time_for_send(&self) -> bool {
        self.deadline.remaining() > MIN_TIME_FOR_SEND
    }

    /// Whether there is time for the send itself and for writing down what came of it.
    fn has_time_to_submit(&self) -> bool {
        self.deadline.remaining() > PROVIDER.facts().send_timeout + Duration::from_secs(2)
    }

    /// A row claimed for this shift, if it may be.
    fn claim_row(&self, row: &LedgerRow, now: Timestamp) -> Result<LedgerRow, TransitionRefused> {
        apply_change(row, &RowChange::Claim { owner: self.owner.clone(), lease_until: self.lease_until(now) }, now)
    }

    /// Until when whatever it claims at `test_now` is its own.
    pub fn lease_until(&self, now: Timestamp) -> Timestamp {
        // Beyond the deadline a frozen or slow process is dead; the second covers rounding.
        let millis = i64::try_from(self.deadline.remaining().as_millis()).unwrap_or(i64::MAX / 2);
        now + SignedDuration::from_millis(millis.min(3_600_000)) + SignedDuration::from_secs(1)
    }
}

impl Dispatcher {
    /// For a client, over a function's own clients; the ledger's table and where `EZWhatsApp` is come from the
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

    /// Reads the tokens of these lines while initialisation still runs at full speed. One that is missing now is asked for
    /// again when a message needs it.
    pub async fn prefetch_line_tokens(&self, lines: impl Iterator<Item = &str>) {
        let now = self.clock.now();
        for line in lines.collect::<BTreeSet<_>>() {
            if let Err(error) = self.secrets.get_current(&self.config.line_secret_name(line), now).await {
                tracing::warn!(line.name = line, "{}", crate::fault::error_chain(&error));
            }
        }
    }

    /// Tells news, once.
    pub async fn dispatch(
        &self,
        invocation: &Invocation,
        message: OutboundMessage,
    ) -> Result<DispatchResult, DispatchError> {
        self.find_line(&message.line, &message.key)?;
        let slots = &mut SendSlots::for_messages(1);
        let mut key = message.key.clone();
        // A second parcel, refund or invoice of the same milestone finds the first one's row in its way and takes a
        // key of its own.
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

    /// Goes on with a message that waited.
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

    /// A row that is new and ours.
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

    /// A row that was there before.
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
                // Somebody is at it, or died at it a moment ago. The clock looks when the lease has ended.
                self.settle_row(before, &RowChange::Recheck).await
            }
            MessageState::Claimed => self.claim_and_submit(invocation, slots, before).await,
            MessageState::Incomplete if let Some(next) = mine.replace_incomplete(&before) => {
                match self.ledger.save(&before, &next).await? {
                    SaveOutcome::Saved => self.dispatch_new_row(invocation, slots, next).await,
                    // Another report of it was quicker.
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

    /// Claims a row that waits, and goes on with it.
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

    /// Claims a row that waits, or says what became of it instead.
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
            // Another function was quicker: it is in hand.
            SaveOutcome::Overtaken(now) => Err(DispatchResult::Waiting(now.key, now.state)),
            SaveOutcome::Gone => Err(DispatchResult::Ended(row.key, MessageState::Expired)),
        })
    }

    /// Everything between the claim and its settlement.
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

    /// Writes down what an attempt led to.
    async fn settle_attempt(&self, row: LedgerRow, attempt: AttemptResult) -> Result<DispatchResult, DispatchError> {
        match attempt {
            AttemptResult::Change(change) => self.settle_row(row, &change).await,
            AttemptResult::LineBlocked(change) => Ok(match self.settle_row(row, &change).await? {
                DispatchResult::Waiting(key, state) => DispatchResult::LineBlocked(key, state),
                result => result,
            }),
        }
    }

    /// The line of a name. Asked for before anything is claimed, so that nothing is claimed for a line that is gone.
    fn find_line(&self, name: &str, key: &IdempotencyKey) -> Result<&LineConfig, DispatchError> {
        let line = self.config.lines.get(name);
        line.ok_or_else(|| DispatchError::UnknownLine { key: key.clone(), line: name.to_owned() })
    }

    /// Whether a claimed row may go out now: beside its story, and over its line. If so, what somebody has just seen of
    /// the line's health, if anybody has; if not, the change that it leads to.
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
            // What waited is often old news by now: no slot of the pace for that.
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
            let reason = "somebody dropped everything that waited for this line".to_owned();
            return Ok(Err(AttemptResult::Change(RowChange::Supersede { owner: owner(), reason })));
        }
        // A slot may be some while off, and the story goes on meanwhile.
        let now = self.clock.now();
        if now.duration_since(asked_at) >= HISTORY_MAX_AGE
            && let Some(change) = self.recheck_after_wait(row, &owner(), now).await?
        {
            return Ok(Err(AttemptResult::Change(change)));
        }
        Ok(Ok(known_good))
    }

    /// What has happened to a claimed row while it waited for its slot, if anything.
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

    /// All that is known of a message's subject; of a lead there is nothing but its first touch.
    async fn read_history(&self, row: &LedgerRow) -> Result<Vec<LedgerRow>, LedgerError> {
        if row.key.is_first_touch() { Ok(Vec::new()) } else { self.ledger.read_history(row.key.subject()).await }
    }

    /// One attempt at a claimed row: the change that it leads to.
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

    /// The way to `EZWhatsApp` over a line that is known to be good, or until when there is none. `recent_health` is what
    /// somebody has just seen of its health, if anybody has.
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

    /// Submits a claimed row over a line that is good: the change that it leads to.
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
                reason: "it holds nothing to send".to_owned(),
            }));
        };
        tracing::info!(message.key = %row.key, line.name = row.line, line.health = access.health, "line is sendable");
        let key = row.key.to_string();
        let mut outcome = self.provider.send_payload(&access.token, &key, payload).await;
        if outcome == SendOutcome::Unauthorized && !access.token_refreshed {
            // The token was rotated between two reads of it: nothing was sent, so the new one may be tried at once.
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
                AttemptResult::LineBlocked(hold(until, format!("{} asked for a slower pace", PROVIDER.facts().name)))
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

    /// What the line says of itself, no older than [`crate::provider::ProviderFacts::health_valid_seconds`] if it is good.
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

    /// Writes a change down, over whatever the row has become meanwhile, as long as the change may still happen.
    async fn settle_row(&self, mut row: LedgerRow, change: &RowChange) -> Result<DispatchResult, DispatchError> {
        for _ in 0..4 {
            let next = match apply_change(&row, change, self.clock.now()) {
                Ok(next) => next,
                // Somebody else has it, or it is settled: what they wrote stands.
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

    /// One log line and one count for where a message is now.
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
            "message is {}", row.state.name()
        );
    }
}

/// What a row that cannot be claimed is.
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
