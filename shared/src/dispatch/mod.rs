//! Sends one message: claims it, checks its history and its line, submits it, settles it.
//!
//! Main types: [`Dispatcher`] does it; [`MessageDriver`] decides each of its steps; [`Invocation`]
//! is the owner and the deadline of one function invocation; [`SendSlots`] are reserved slots of a
//! line; [`DispatchResult`] is the outcome.
//!
//! All functions that send use this module: order-notifier with order updates
//! ([`Dispatcher::dispatch`]), lead-first-touch with greetings
//! ([`Dispatcher::dispatch_greeting`]), reminder-scheduler with reminders
//! ([`Dispatcher::dispatch_reminder`]) and with messages that waited
//! ([`Dispatcher::resume_message`]). An operator tests a line with [`Dispatcher::test_line`].
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
//! and the line's health is good. The one exception is the second submit of a line's test. Every
//! outcome after the claim is recorded, or the sweep finds the row when the lease ends. Does
//! **not** cover what a message says or when it becomes useful.

mod dispatch_error;
mod dispatch_result;
mod driver;
mod first_contacts;
mod greetings;
mod invocation;
mod known_contacts;
mod line_access;
mod line_test;
mod line_tools;
#[cfg(test)]
mod model;
mod reminders;
mod send_slots;

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{
    bootstrap::{self, AwsClients, StartError},
    client_config::ClientConfig,
    clock::Clock,
    contact::Phone,
    fault::error_chain,
    ledger::{IdempotencyKey, Ledger, LedgerError, LedgerRow, MessageState, OutboundMessage},
    line::{LineState, LineStatus, SlotReservation},
    provider::ProviderClient,
    secret::SecretStore,
    telemetry::{self, Measurement, Metric},
};
use known_contacts::KnownContacts;
use line_access::LineAccess;
use line_tools::{HealthCache, LineTools};

pub use dispatch_error::DispatchError;
pub use dispatch_result::{DispatchResult, GreetingResult, LineCondition, ReminderDispatchResult};
pub use driver::{
    DispatchEvent, GreetingOpening, GreetingRules, LineOpening, LineUnavailable, MessageDriver, NextStep,
    OpenGreetingStep, OpenReminderStep, ReminderClaim, ReminderOpening, RowWrite,
};
pub use invocation::Invocation;
pub use line_test::{LineCheck, LineTest, LineTestError, TestSubmit};
pub use send_slots::SendSlots;

/// What a function needs to send messages.
pub struct Dispatcher {
    /// The client.
    pub config: ClientConfig,
    /// The ledger.
    pub ledger: Ledger,
    /// Line tokens.
    pub secrets: SecretStore,
    /// The source of the current time.
    pub clock: Clock,
    line_state: LineState,
    provider: ProviderClient,
    healthy_lines: HealthCache,
    known_contacts: KnownContacts,
}

impl Dispatcher {
    /// A dispatcher of a client. The ledger's table and the provider's base URL come from the
    /// environment.
    ///
    /// Also does what the first message would wait for, because initialisation runs at full speed:
    /// it connects to the ledger and reads the tokens of the lines that `find_lines` names. A token
    /// that is missing now is read again when a message needs it.
    pub async fn from_environment(
        config: ClientConfig,
        http: reqwest::Client,
        aws: &AwsClients,
        find_lines: fn(&ClientConfig) -> BTreeSet<&str>,
    ) -> Result<Self, StartError> {
        let db = aws.dynamodb();
        let table = bootstrap::require_variable("LEDGER_TABLE")?;
        let provider = ProviderClient::new(http, &bootstrap::require_variable("PROVIDER_BASE_URL")?);
        let secrets = SecretStore::new(aws.secrets_manager(), config.secrets);
        let clock = Clock::from_environment();
        let (ledger, ()) = tokio::join!(
            Ledger::connect(db.clone(), table.clone(), config.retention.ledger_days),
            prefetch_line_tokens(&config, &secrets, clock.now(), find_lines(&config))
        );
        let ledger = ledger.map_err(|error| StartError::Ledger(Box::new(error)))?;
        let line_state = LineState::new(db, table);
        Ok(Self {
            config,
            ledger,
            secrets,
            clock,
            line_state,
            provider,
            healthy_lines: HealthCache::default(),
            known_contacts: KnownContacts::default(),
        })
    }

    /// Sends a message, once.
    pub async fn dispatch(
        &self,
        invocation: &Invocation,
        message: OutboundMessage,
    ) -> Result<DispatchResult, DispatchError> {
        self.line_tools().find_line(&message.line, &message.key)?;
        let row = self.driver(invocation).build_row(&message);
        let open = NextStep::Open { row, has_instance_key: false };
        Ok(self.execute_steps(invocation, &mut SendSlots::for_messages(1), open).await?.in_flight_as_known())
    }

    /// Resumes a message that waited.
    pub async fn resume_message(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        row: LedgerRow,
    ) -> Result<DispatchResult, DispatchError> {
        // A useless message expires, even if its line was removed from `client.toml`.
        if row.useful_until > self.clock.now() {
            self.line_tools().find_line(&row.line, &row.key)?;
        }
        let first = self.driver(invocation).next_step(DispatchEvent::Due(row));
        self.execute_steps(invocation, slots, first).await
    }

    /// Keeps the key of a message to a person who is forgotten, without the message: it is not sent
    /// if its event comes again. A message that has a row stays as it is.
    pub async fn keep_key(&self, invocation: &Invocation, message: &OutboundMessage) -> Result<(), LedgerError> {
        let row = self.driver(invocation).build_row(message);
        self.ledger.keep_key(row, self.clock.now()).await
    }

    /// What operators should know of a line.
    pub async fn read_line_status(&self, line: &str) -> Result<LineStatus, DispatchError> {
        Ok(self.line_state.read_status(line, self.clock.now()).await?)
    }

    /// What the access to lines may touch.
    fn line_tools(&self) -> LineTools<'_> {
        let Self { config, secrets, clock, line_state, provider, healthy_lines, .. } = self;
        LineTools { config, secrets, clock, line_state, provider, healthy_lines }
    }

    /// The driver of an invocation, for one decision.
    fn driver<'a>(&'a self, invocation: &'a Invocation) -> MessageDriver<'a> {
        let now = self.clock.now();
        let lease_until = invocation.lease_until(now);
        MessageDriver { config: &self.config, owner: &invocation.owner, lease_until, now }
    }

    /// Executes a step, and all steps that follow from it.
    async fn execute_steps<'a>(
        &'a self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        mut step: NextStep<LineAccess<'a>>,
    ) -> Result<DispatchResult, DispatchError> {
        let (mut early_slot, mut knows_customer) = (None, false);
        loop {
            let event = match step {
                NextStep::Open { row, has_instance_key } => {
                    let outcome = self.ledger.open(&row).await?;
                    DispatchEvent::Opened(row, has_instance_key, outcome)
                }
                NextStep::Save(write) => {
                    let outcome = self.ledger.save(&write.before, &write.after).await?;
                    DispatchEvent::Saved(write, outcome)
                }
                NextStep::ClaimGreeting(write) => {
                    let outcome = self.claim_greeting(&write).await?;
                    DispatchEvent::GreetingClaimed(write, outcome)
                }
                NextStep::ClaimReminder(claim) => {
                    let outcome = self.claim_reminder(slots, &claim.write).await?;
                    DispatchEvent::ReminderClaimed(claim, outcome)
                }
                NextStep::ReadHistory { row, read_at } => {
                    let history = self.read_history(invocation, slots, &row, &mut early_slot).await?;
                    knows_customer = is_known_customer(&row, &history);
                    DispatchEvent::HistoryRead(row, read_at, history)
                }
                NextStep::ReserveSlot { row, read_at } => {
                    let slot = self.take_slot(invocation, slots, &row, early_slot.take()).await?;
                    DispatchEvent::SlotReserved(row, read_at, slot)
                }
                NextStep::Recheck { row, recent_health } => self.recheck_row(row, recent_health).await?,
                NextStep::OpenLine { row, recent_health } => {
                    let stranger = row.to.as_ref().filter(|_| !knows_customer);
                    let opening = self.open_line(invocation, &row.line, &row.key, recent_health, stranger).await?;
                    DispatchEvent::LineOpened(row, opening)
                }
                NextStep::Submit(row, access) => {
                    let outcome = access.send_row(&row).await?;
                    DispatchEvent::Sent(row, outcome)
                }
                NextStep::DelayLine(row, until) => self.block_line(row, Some(until)).await?,
                NextStep::BlockLine(row) => self.block_line(row, None).await?,
                NextStep::Recorded { row, line } => {
                    self.report_row(&row);
                    return Ok(DispatchResult::of_row(row, line));
                }
                NextStep::Done(result) => return Ok(self.count_conflict(result)),
                NextStep::GiveUp(key) => return Err(DispatchError::TooManyConflicts(key)),
            };
            step = self.driver(invocation).next_step(event);
        }
    }

    /// Reads the history of a claimed row. A message that has not waited reserves a slot at the
    /// same time.
    async fn read_history(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        row: &LedgerRow,
        early_slot: &mut Option<Result<SlotReservation, DispatchError>>,
    ) -> Result<Vec<LedgerRow>, DispatchError> {
        if invocation.is_sweep() {
            // A message that waited is often superseded by now. Do not use up a slot for it.
            return Ok(self.read_rows_of_subject(row).await?);
        }
        let (history, slot) = tokio::join!(
            self.read_rows_of_subject(row),
            self.line_tools().reserve_slot(invocation, slots, &row.line, &row.key)
        );
        *early_slot = Some(slot);
        Ok(history?)
    }

    /// Takes the slot that is reserved, or reserves one. A claimed row uses it up. A reminder is
    /// claimed later.
    async fn take_slot(
        &self,
        invocation: &Invocation,
        slots: &mut SendSlots,
        row: &LedgerRow,
        early_slot: Option<Result<SlotReservation, DispatchError>>,
    ) -> Result<SlotReservation, DispatchError> {
        let slot = match early_slot {
            Some(slot) => slot?,
            None => self.line_tools().reserve_slot(invocation, slots, &row.line, &row.key).await?,
        };
        if !row.is_reminder() {
            slots.spend_slot();
        }
        Ok(slot)
    }

    /// Opens a line for a message. `stranger` is the customer, unless an earlier message is known.
    async fn open_line<'a>(
        &'a self,
        invocation: &Invocation,
        line: &str,
        key: &IdempotencyKey,
        recent_health: Option<String>,
        stranger: Option<&Phone>,
    ) -> Result<LineOpening<LineAccess<'a>>, DispatchError> {
        match self.line_tools().open_line(invocation, line, key, recent_health).await? {
            LineOpening::Open(access) => self.limit_first_contacts(access, line, stranger).await,
            blocked => Ok(blocked),
        }
    }

    /// Blocks the line of a row: until a time that the provider asked for, or because its token was
    /// refused.
    async fn block_line<L>(&self, row: LedgerRow, until: Option<Timestamp>) -> Result<DispatchEvent<L>, DispatchError> {
        let unavailable = match until {
            Some(until) => self.line_tools().delay_line(&row.line, until).await?,
            None => self.line_tools().block_unauthorized_line(&row.line).await?,
        };
        Ok(DispatchEvent::LineBlocked(row, unavailable))
    }

    /// Reads what may have changed while a claimed row waited for its slot.
    async fn recheck_row<L>(
        &self,
        row: LedgerRow,
        recent_health: Option<String>,
    ) -> Result<DispatchEvent<L>, DispatchError> {
        let has_opted_out = self.has_opted_out(&row).await?;
        let history = self.read_rows_of_subject(&row).await?;
        Ok(DispatchEvent::Rechecked { row, recent_health, has_opted_out, history })
    }

    /// All rows of a message's subject. A lead has only its first touch, so nothing is read.
    async fn read_rows_of_subject(&self, row: &LedgerRow) -> Result<Vec<LedgerRow>, LedgerError> {
        if row.key.is_greeting() { Ok(Vec::new()) } else { self.ledger.read_history(row.key.subject()).await }
    }

    fn count_conflict(&self, result: DispatchResult) -> DispatchResult {
        if let DispatchResult::PayloadConflict(..) = result {
            telemetry::count_metric(&self.config.client, Metric::PayloadConflict, self.clock.now());
        }
        result
    }

    /// Logs and counts the state of a message. An outage that paged already is not counted again
    /// for each message that expires in it.
    fn report_row(&self, row: &LedgerRow) {
        let metric = match row.state {
            MessageState::Accepted => Some(Metric::MessagesAccepted),
            MessageState::Held => Some(Metric::MessagesHeld),
            MessageState::Expired if was_paged(&self.config, row) => None,
            MessageState::Expired => Some(Metric::MessagesExpired),
            MessageState::NeedsHuman => Some(Metric::MessagesNeedingHuman),
            MessageState::Unknown => Some(Metric::MessagesUnknown),
            MessageState::Refused => Some(Metric::SendRefused),
            MessageState::Incomplete if row.is_reminder() => Some(Metric::RemindersIncomplete),
            MessageState::Superseded | MessageState::Suppressed | MessageState::Incomplete | MessageState::Claimed => {
                None
            }
        };
        if let Some(metric) = metric {
            telemetry::count_metric(&self.config.client, metric, row.updated_at);
        }
        if row.key.is_greeting() && row.state == MessageState::Accepted {
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

/// Whether the wait of an expired message raised an alarm. What becomes useless in the quiet hours
/// was in the gauge until they began.
fn was_paged(config: &ClientConfig, row: &LedgerRow) -> bool {
    let quiet_since = if row.ignores_quiet_hours {
        None
    } else {
        config.quiet_hours_start_in_zone(row.zone.as_deref(), row.useful_until)
    };
    row.waiting_since.is_some_and(|since| telemetry::was_paged(since, quiet_since, row.updated_at))
}

/// Whether the history of a row's subject shows that its customer got an earlier message, under
/// either form of the number.
fn is_known_customer(row: &LedgerRow, history: &[LedgerRow]) -> bool {
    let is_same_customer = |before: &LedgerRow| match (&before.to, &row.to) {
        (Some(before), Some(to)) => before.is_same_contact(to),
        (before, to) => before.is_none() && to.is_none(),
    };
    history.iter().any(|before| before.state == MessageState::Accepted && is_same_customer(before))
}

async fn prefetch_line_tokens(config: &ClientConfig, secrets: &SecretStore, now: Timestamp, lines: BTreeSet<&str>) {
    for line in lines {
        if let Err(error) = secrets.get_current(&config.line_secret_name(line), now).await {
            tracing::warn!(line.name = line, "{}", error_chain(&error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        contact::Phone,
        ledger::{ClaimOwner, Reason, RowChange, StepCode, apply_change, waiting_row},
    };

    fn row_to(number: Option<&str>, state: MessageState) -> LedgerRow {
        let to = number.map(|number| Phone::from_e164(number).unwrap());
        LedgerRow { state, to, ..waiting_row() }
    }

    #[test]
    fn a_customer_who_got_a_message_under_either_form_of_the_number_is_known() {
        let row = row_to(Some("+5511987654321"), MessageState::Held);
        for (number, state, expected) in [
            (Some("+5511987654321"), MessageState::Accepted, true),
            (Some("+551187654321"), MessageState::Accepted, true),
            (Some("+551187654321"), MessageState::Held, false),
            (Some("+5511987654322"), MessageState::Accepted, false),
            (None, MessageState::Accepted, false),
        ] {
            assert_eq!(is_known_customer(&row, &[row_to(number, state)]), expected, "{number:?}");
        }
    }

    /// A message that its line holds from 20:40 on, and that is useful until 23:00, as it expired.
    fn expire_in_the_night(due_at: &str, quiet_hours: &str) -> (ClientConfig, LedgerRow) {
        let config = ClientConfig::parse(&format!(
            "client = \"demo\"\nname = \"Demo\"\ncountry = \"IL\"\ntime_zone = \"UTC\"\nlanguages = [\"en\"]\n\
             quiet_hours = {quiet_hours}\n[lines.main]\nline_id = \"line_1\"\n"
        ))
        .unwrap();
        let at = |time: &str| format!("2026-11-29T{time}:00Z").parse::<Timestamp>().unwrap();
        let owner = || ClaimOwner("sweep".to_owned());
        let mut row = LedgerRow { due_at: Some(at(due_at)), useful_until: at("23:00"), ..waiting_row() };
        let held = |until: Timestamp, reason| RowChange::Hold { owner: owner(), until, reason };
        for (now, hold) in [
            (due_at, held(at("21:05"), Reason::new(StepCode::LineDown, "line down"))),
            ("21:05", held(at("23:59"), Reason::quiet_hours())),
        ] {
            let claim = RowChange::Claim { owner: owner(), lease_until: at(now) };
            row = apply_change(&row, &claim, at(now)).unwrap();
            row = apply_change(&row, &hold, at(now)).unwrap();
        }
        let row = apply_change(&row, &RowChange::Expire { owner: None }, at("23:00")).unwrap();
        (config, row)
    }

    #[test]
    fn a_message_that_waited_long_before_the_quiet_hours_in_which_it_expired_has_paged() {
        let night = "{ from = \"21:00\", to = \"23:59\" }";
        for (due_at, quiet_hours, expected) in [
            ("20:40", night, true),
            ("20:50", night, false),
            ("20:50", "{ from = \"21:04\", to = \"23:59\" }", true),
            // It did not wait before they began.
            ("21:01", night, false),
        ] {
            let (config, row) = expire_in_the_night(due_at, quiet_hours);
            assert_eq!(was_paged(&config, &row), expected, "{due_at} {quiet_hours}");
            let urgent = LedgerRow { ignores_quiet_hours: true, ..row };
            assert!(was_paged(&config, &urgent), "its gauge was written all the time");
        }
    }
}
