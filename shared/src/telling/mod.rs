//! Telling one message: claim it, look at its story and at the line, submit it, settle it.
//!
//! All functions that send go this way: order-notifier with news ([`Teller::tell`]), lead-first-touch with greetings
//! ([`Teller::greet`]), reminder-scheduler with reminders ([`Teller::remind`]) and with what waited ([`Teller::resume`]).
//! Nothing here decides anything about messages: [`transition()`], [`decide()`] and [`crate::greeting`] do.
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

mod greeting;
mod reminding;
mod slots;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    client_config::{ClientConfig, Line},
    clock::{Clock, Deadline},
    cold_start::{self, Aws, StartError},
    fault::{Fault, Faulty},
    ledger::{
        Change, Key, Ledger, LedgerError, News, NotNow, Opened, Owner, QUIET_HOURS, Row, Saved, State, decide,
        transition,
    },
    line::{Closed, Desk, DeskError, Ezw, HEALTH_GOOD_SECONDS, Health, Reservation, SEND_TIMEOUT, SendOutcome},
    observe::{self, Measure, Metric},
    secret::{Secret, Secrets},
};

pub use greeting::{Greeted, RELEASED_AT, Rules};
pub use reminding::Reminded;
pub use slots::Slots;

/// A send may take so long; with less time left than this and a little, none is begun.
const TIME_FOR_A_SEND: Duration = Duration::from_secs(13);
/// Older than this, a story is read again before a message is sent.
const STORY_GOES_STALE: SignedDuration = SignedDuration::from_secs(1);
/// How long after each submit of unknown outcome the same key is tried again: soon after a dropped connection, and still
/// within reach of a trouble that lasts hours.
const UNKNOWN_WAITS: [SignedDuration; 4] = [
    SignedDuration::from_secs(30),
    SignedDuration::from_mins(3),
    SignedDuration::from_mins(20),
    SignedDuration::from_hours(2),
];
/// Why a message is not sent whose reader has asked for that.
const OPTED_OUT: &str = "its reader does not want to be written to";
/// How long a message waits that never left us.
const NOT_SENT_MINUTES: i64 = 1;

/// What became of a message for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// `EZWhatsApp` took it.
    Accepted(Key),
    /// It waits, or somebody else has it in hand.
    Waits(Key, State),
    /// It waits because its line takes nothing now: the next one for this line would wait as well.
    LineClosed(Key, State),
    /// It will not be sent: the row says why.
    Ended(Key, State),
    /// It was in the ledger before.
    Known(Key, State),
    /// Another text under a key that was used before.
    Differs(Key, State),
    /// The fact is written down; nobody is told.
    Noted(Key),
}

/// What an attempt leads to.
enum Attempt {
    /// This change.
    Done(Change),
    /// This change, because the line takes nothing now.
    LineClosed(Change),
}

/// The way to `EZWhatsApp` over one line.
struct Access {
    token: Secret,
    /// Whether the token was asked for again a moment ago.
    refreshed: bool,
    /// What the line said of itself.
    health: String,
}

/// There is no such way now.
struct NoAccess {
    until: Timestamp,
    reason: String,
}

/// Telling failed in the middle: whatever was claimed is found again when its lease ends.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The line's row could not be read or written.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// Others kept writing the same row.
    #[error("the message {0} is written by others again and again")]
    Contended(Key),
    /// The ledger names a line that the configuration does not know.
    #[error("the message {key} is for the line `{line}`, which the configuration does not have")]
    LineUnknown {
        /// Its key.
        key: Key,
        /// The line.
        line: String,
    },
}

impl Faulty for TellError {
    fn fault(&self) -> Fault {
        match self {
            Self::Ledger(error) => error.fault(),
            Self::Desk(error) => error.fault(),
            Self::Contended(_) => Fault::Transient,
            Self::LineUnknown { .. } => Fault::Permanent,
        }
    }
}

/// What a function needs to tell messages.
pub struct Teller {
    /// The client.
    pub config: ClientConfig,
    /// The ledger.
    pub ledger: Ledger,
    /// The lines' rows.
    pub desk: Desk,
    /// `EZWhatsApp`.
    pub ezw: Ezw,
    /// Line tokens.
    pub secrets: Secrets,
    /// Where `now` comes from.
    pub clock: Clock,
    healthy: Mutex<HashMap<String, (Timestamp, String)>>,
}

/// One invocation's right to send: who it is, and until when it runs.
#[derive(Debug, Clone)]
pub struct Shift {
    /// Who claims.
    pub owner: Owner,
    /// When it must have ended.
    pub deadline: Deadline,
    /// Whether to ask lines that are known to be down: the clock's way to find out that they are back.
    pub look_anyway: bool,
}

impl Shift {
    /// The shift of an invocation. Lambda repeats a request id when it tries an invocation again, so the time is part
    /// of the owner.
    pub fn new(request_id: &str, deadline: Deadline, look_anyway: bool, now: Timestamp) -> Self {
        let owner = Owner(format!("{request_id}@{}", now.as_microsecond()));
        Self { owner, deadline, look_anyway }
    }

    /// Whether there is time for one more send.
    pub fn has_time(&self) -> bool {
        self.deadline.remaining() > TIME_FOR_A_SEND
    }

    /// Whether there is time for the send itself and for writing down what came of it.
    fn has_time_to_send(&self) -> bool {
        self.deadline.remaining() > SEND_TIMEOUT + Duration::from_secs(2)
    }

    /// A row claimed for this shift, if it may be.
    fn claim(&self, row: &Row, now: Timestamp) -> Result<Row, NotNow> {
        transition(row, &Change::Claim { owner: self.owner.clone(), lease_until: self.lease_until(now) }, now)
    }

    /// Until when whatever it claims at `now` is its own.
    pub fn lease_until(&self, now: Timestamp) -> Timestamp {
        // Beyond the deadline a frozen or slow process is dead; the second covers rounding.
        let millis = i64::try_from(self.deadline.remaining().as_millis()).unwrap_or(i64::MAX / 2);
        now + SignedDuration::from_millis(millis.min(3_600_000)) + SignedDuration::from_secs(1)
    }
}

impl Teller {
    /// For a client, over a function's own clients; the ledger's table and where `EZWhatsApp` is come from the
    /// environment.
    pub fn from_environment(config: ClientConfig, http: reqwest::Client, aws: &Aws) -> Result<Self, StartError> {
        let db = aws.dynamodb();
        let table = cold_start::required("LEDGER_TABLE")?;
        Ok(Self {
            ledger: Ledger::new(db.clone(), table.clone(), config.client.clone(), config.keep.ledger_days),
            desk: Desk::new(db, table),
            ezw: Ezw::new(http, &cold_start::required("EZW_BASE_URL")?),
            secrets: Secrets::new(aws.secrets_manager()),
            clock: Clock::from_environment(),
            config,
            healthy: Mutex::default(),
        })
    }

    /// Reads the tokens of these lines while initialisation still runs at full speed. One that is missing now is asked for
    /// again when a message needs it.
    pub async fn prepare(&self, lines: impl Iterator<Item = &str>) {
        let now = self.clock.now();
        for line in lines.collect::<BTreeSet<_>>() {
            if let Err(error) = self.secrets.current(&self.config.line_secret(line), now).await {
                tracing::warn!(line.name = line, "{}", crate::fault::chain(&error));
            }
        }
    }

    /// Tells news, once.
    pub async fn tell(&self, shift: &Shift, news: News) -> Result<Told, TellError> {
        self.line_of(&news.line, &news.key)?;
        let slots = &mut Slots::of(1);
        let mut key = news.key.clone();
        // A second parcel, refund or invoice of the same milestone finds the first one's row in its way and takes a
        // key of its own.
        for _ in 0..2 {
            let now = self.clock.now();
            let row = Row::open(&news, key.clone(), shift.owner.clone(), shift.lease_until(now), now);
            match self.ledger.open(&row).await? {
                Opened::New => return self.begin(shift, slots, row).await,
                Opened::Exists(before) => match (&news.instance, &before.instance) {
                    (Some(mine), Some(theirs)) if mine != theirs && key == news.key => key = key.for_instance(mine),
                    _ => return self.meet(shift, slots, *before, &row).await,
                },
            }
        }
        Err(TellError::Contended(key))
    }

    /// Goes on with a message that waited.
    pub async fn resume(&self, shift: &Shift, slots: &mut Slots, row: Row) -> Result<Told, TellError> {
        let now = self.clock.now();
        self.line_of(&row.line, &row.key)?;
        if row.useful_until <= now && row.state != State::Claimed {
            return self.settle(row, &Change::Expire { owner: None }).await;
        }
        if row.generation.is_some() {
            self.resume_reminder(shift, slots, row).await
        } else {
            self.take(shift, slots, row).await
        }
    }

    /// A row that is new and ours.
    async fn begin(&self, shift: &Shift, slots: &mut Slots, row: Row) -> Result<Told, TellError> {
        match row.state {
            State::Claimed => self.submit(shift, slots, row).await,
            State::Noted | State::Unsaid => Ok(Told::Noted(row.key)),
            _ => {
                self.report(&row);
                Ok(told(row))
            }
        }
    }

    /// A row that was there before.
    async fn meet(&self, shift: &Shift, slots: &mut Slots, before: Row, mine: &Row) -> Result<Told, TellError> {
        let now = self.clock.now();
        match before.state {
            State::Claimed if before.lease_until.is_some_and(|lease| now < lease) => {
                if before.due_at.is_some() {
                    return Ok(Told::Waits(before.key, before.state));
                }
                // Somebody is at it, or died at it a moment ago. The clock looks when the lease has ended.
                self.settle(before, &Change::Watch).await
            }
            State::Claimed => self.take(shift, slots, before).await,
            State::Unsaid if let Some(next) = mine.in_place_of(&before) => {
                match self.ledger.save(&before, &next).await? {
                    Saved::Yes => self.begin(shift, slots, next).await,
                    // Another report of it was quicker.
                    Saved::Overtaken(now) => Ok(Told::Known(now.key, now.state)),
                    Saved::Gone => Err(TellError::Contended(before.key)),
                }
            }
            state => {
                let differs = matches!((&before.payload, &mine.payload), (Some(theirs), Some(mine)) if theirs != mine);
                if differs {
                    observe::count(&self.config.client, Metric::PayloadConflict, now);
                    return Ok(Told::Differs(before.key, state));
                }
                Ok(Told::Known(before.key, state))
            }
        }
    }

    /// Claims a row that waits, and goes on with it.
    async fn take(&self, shift: &Shift, slots: &mut Slots, row: Row) -> Result<Told, TellError> {
        match self.claim(shift, row).await? {
            Ok(row) => self.submit(shift, slots, row).await,
            Err(told) => Ok(told),
        }
    }

    /// Claims a row that waits, or says what became of it instead.
    async fn claim(&self, shift: &Shift, row: Row) -> Result<Result<Row, Told>, TellError> {
        let next = match shift.claim(&row, self.clock.now()) {
            Ok(next) => next,
            Err(why) => return Ok(Err(not_claimed(row, why))),
        };
        if row.key.is_leads() && next.state == State::Claimed {
            return self.claim_greeting(row, next).await;
        }
        Ok(match self.ledger.save(&row, &next).await? {
            Saved::Yes if next.state == State::Claimed => Ok(next),
            Saved::Yes => {
                self.report(&next);
                Err(told(next))
            }
            // Another function was quicker: it is in hand.
            Saved::Overtaken(now) => Err(Told::Waits(now.key, now.state)),
            Saved::Gone => Err(Told::Ended(row.key, State::Expired)),
        })
    }

    /// Everything between the claim and its settlement.
    async fn submit(&self, shift: &Shift, slots: &mut Slots, row: Row) -> Result<Told, TellError> {
        let line = self.line_of(&row.line, &row.key)?;
        let attempt = self.attempt(shift, slots, &row, line).await?;
        self.conclude(row, attempt).await
    }

    /// Writes down what an attempt led to.
    async fn conclude(&self, row: Row, attempt: Attempt) -> Result<Told, TellError> {
        match attempt {
            Attempt::Done(change) => self.settle(row, &change).await,
            Attempt::LineClosed(change) => Ok(match self.settle(row, &change).await? {
                Told::Waits(key, state) => Told::LineClosed(key, state),
                told => told,
            }),
        }
    }

    /// The line of a name. Asked for before anything is claimed, so that nothing is claimed for a line that is gone.
    fn line_of(&self, name: &str, key: &Key) -> Result<&Line, TellError> {
        let line = self.config.lines.get(name);
        line.ok_or_else(|| TellError::LineUnknown { key: key.clone(), line: name.to_owned() })
    }

    /// Whether a claimed row may go out now: beside its story, and over its line. If so, what somebody has just seen of
    /// the line's health, if anybody has; if not, the change that it leads to.
    async fn clearance(
        &self,
        shift: &Shift,
        slots: &mut Slots,
        row: &Row,
        line: &Line,
    ) -> Result<Result<Option<String>, Attempt>, TellError> {
        let owner = || shift.owner.clone();
        let asked_at = self.clock.now();
        if let Some(until) = self.config.quiet_until_in(row.zone.as_deref(), asked_at).filter(|_| !row.any_hour) {
            let change = Change::Hold { owner: owner(), until, reason: QUIET_HOURS.to_owned() };
            return Ok(Err(Attempt::Done(change)));
        }
        let (story, slot) = if shift.look_anyway {
            // What waited is often old news by now: no slot of the pace for that.
            (self.story(row).await, None)
        } else {
            let (story, slot) = tokio::join!(self.story(row), self.slot(shift, slots, &row.line, line));
            (story, Some(slot))
        };
        if let Some(change) = decide(row, &story?, self.clock.now()).change(owner()) {
            return Ok(Err(Attempt::Done(change)));
        }
        let slot = match slot {
            Some(slot) => slot?,
            None => self.slot(shift, slots, &row.line, line).await?,
        };
        slots.spend();
        let (known_good, drop_before) = match slot {
            Reservation::Granted { known_good, drop_before } => (known_good, drop_before),
            Reservation::Closed(closed) => {
                let change = Change::Hold { owner: owner(), until: closed.until(), reason: closed.reason() };
                return Ok(Err(Attempt::LineClosed(change)));
            }
        };
        if drop_before.is_some_and(|before| row.created_at < before) && !row.may_have_arrived() {
            let reason = "somebody dropped everything that waited for this line".to_owned();
            return Ok(Err(Attempt::Done(Change::Supersede { owner: owner(), reason })));
        }
        // A slot may be some while off, and the story goes on meanwhile.
        let now = self.clock.now();
        if now.duration_since(asked_at) >= STORY_GOES_STALE
            && let Some(change) = self.overtaken(row, &owner(), now).await?
        {
            return Ok(Err(Attempt::Done(change)));
        }
        Ok(Ok(known_good))
    }

    /// What has happened to a claimed row while it waited for its slot, if anything.
    async fn overtaken(&self, row: &Row, owner: &Owner, now: Timestamp) -> Result<Option<Change>, TellError> {
        if let Some(until) = self.config.quiet_until_in(row.zone.as_deref(), now).filter(|_| !row.any_hour) {
            return Ok(Some(Change::Hold { owner: owner.clone(), until, reason: QUIET_HOURS.to_owned() }));
        }
        if self.opted_out(row).await? {
            return Ok(Some(Change::Supersede { owner: owner.clone(), reason: OPTED_OUT.to_owned() }));
        }
        Ok(decide(row, &self.story(row).await?, now).change(owner.clone()))
    }

    /// All that is known of a message's subject; of a lead there is nothing but its first touch.
    async fn story(&self, row: &Row) -> Result<Vec<Row>, LedgerError> {
        if row.key.is_leads() { Ok(Vec::new()) } else { self.ledger.story(row.key.subject()).await }
    }

    /// One attempt at a claimed row: the change that it leads to.
    async fn attempt(&self, shift: &Shift, slots: &mut Slots, row: &Row, line: &Line) -> Result<Attempt, TellError> {
        let known_good = match self.clearance(shift, slots, row, line).await? {
            Ok(known_good) => known_good,
            Err(attempt) => return Ok(attempt),
        };
        match self.access(shift, &row.line, known_good).await? {
            Ok(access) => self.deliver(shift, row, access).await,
            Err(NoAccess { until, reason }) => {
                Ok(Attempt::LineClosed(Change::Hold { owner: shift.owner.clone(), until, reason }))
            }
        }
    }

    /// The way to `EZWhatsApp` over a line that is known to be good, or until when there is none. `known_good` is what
    /// somebody has just seen of its health, if anybody has.
    async fn access(
        &self,
        shift: &Shift,
        line: &str,
        known_good: Option<String>,
    ) -> Result<Result<Access, NoAccess>, TellError> {
        let now = self.clock.now();
        let out_of_time = || NoAccess { until: now, reason: "the function's time ran out".to_owned() };
        if !shift.has_time() {
            return Ok(Err(out_of_time()));
        }
        let secret_name = self.config.line_secret(line);
        let mut token = match self.secrets.current(&secret_name, now).await {
            Ok(token) => token,
            Err(error) => {
                tracing::error!(line.name = line, "{}", crate::fault::chain(&error));
                return Ok(Err(NoAccess { until: now + SignedDuration::from_mins(1), reason: error.to_string() }));
            }
        };
        let mut refreshed = false;
        let health = loop {
            match self.health(line, known_good.clone(), &token, now).await? {
                Ok(said) => break said,
                Err(health) if health.http_status == 401 && !refreshed => {
                    refreshed = true;
                    match self.fresh_token(&secret_name, now).await {
                        Some(fresh) => token = fresh,
                        None => return Ok(Err(self.unauthorized(line, now).await?)),
                    }
                }
                Err(health) if health.http_status == 401 => return Ok(Err(self.unauthorized(line, now).await?)),
                Err(health) => {
                    observe::count(&self.config.client, Metric::LineUnsendable, now);
                    let until = now + SignedDuration::from_secs(60);
                    let closed = Closed::Down { until, said: health.summary() };
                    return Ok(Err(NoAccess { until, reason: closed.reason() }));
                }
            }
        };
        if !shift.has_time_to_send() {
            return Ok(Err(out_of_time()));
        }
        Ok(Ok(Access { token, refreshed, health }))
    }

    /// Submits a claimed row over a line that is good: the change that it leads to.
    async fn deliver(&self, shift: &Shift, row: &Row, access: Access) -> Result<Attempt, TellError> {
        let owner = shift.owner.clone();
        let hold = |until: Timestamp, reason: String| Change::Hold { owner: owner.clone(), until, reason };
        let Some(payload) = &row.payload else {
            return Ok(Attempt::Done(Change::Refuse { owner, reason: "it holds nothing to send".to_owned() }));
        };
        tracing::info!(message.key = %row.key, line.name = row.line, line.health = access.health, "line is sendable");
        let mut outcome = self.ezw.send(&access.token, &row.key, payload).await;
        if outcome == SendOutcome::Unauthorized && !access.refreshed {
            // The token was rotated between two reads of it: nothing was sent, so the new one may be tried at once.
            let secret_name = self.config.line_secret(&row.line);
            if let Some(fresh) = self.fresh_token(&secret_name, self.clock.now()).await {
                outcome = self.ezw.send(&fresh, &row.key, payload).await;
            }
        }
        let now = self.clock.now();
        if !matches!(outcome, SendOutcome::Accepted { .. }) {
            self.forget_health(&row.line);
            self.desk.forget_health(&row.line).await?;
        }
        Ok(match outcome {
            SendOutcome::Accepted { provider_id } => Attempt::Done(Change::Accept { owner, provider_id }),
            SendOutcome::TooFast { retry_after } => {
                let until = now + retry_after.unwrap_or(SignedDuration::from_mins(1)).max(SignedDuration::from_secs(1));
                if until.duration_since(now) > SignedDuration::from_mins(10) {
                    observe::count(&self.config.client, Metric::LineUnsendable, now);
                }
                self.desk.slow_down(&row.line, until).await?;
                Attempt::LineClosed(hold(until, "EZWhatsApp asked for a slower pace".to_owned()))
            }
            SendOutcome::Unauthorized => {
                let NoAccess { until, reason } = self.unauthorized(&row.line, now).await?;
                Attempt::LineClosed(hold(until, reason))
            }
            SendOutcome::Refused(reason) => Attempt::Done(Change::Refuse { owner, reason }),
            SendOutcome::Contested(reason) => Attempt::Done(Change::Contest { owner, reason }),
            SendOutcome::NotSent(reason) => {
                Attempt::LineClosed(hold(now + SignedDuration::from_mins(NOT_SENT_MINUTES), reason))
            }
            SendOutcome::Unknown(reason) => {
                let wait =
                    UNKNOWN_WAITS[usize::try_from(row.attempts).unwrap_or(usize::MAX).min(UNKNOWN_WAITS.len() - 1)];
                Attempt::LineClosed(Change::LoseSight { owner, retry_at: now + wait, reason })
            }
        })
    }

    /// What the line says of itself, no older than [`HEALTH_GOOD_SECONDS`] if it is good.
    async fn health(
        &self,
        line: &str,
        known_good: Option<String>,
        token: &Secret,
        now: Timestamp,
    ) -> Result<Result<String, Health>, TellError> {
        let fresh = |at: &Timestamp| now.duration_since(*at) < SignedDuration::from_secs(HEALTH_GOOD_SECONDS);
        let remembered = self.remembered().get(line).filter(|(at, _)| fresh(at)).map(|(_, said)| said.clone());
        if let Some(said) = remembered.or(known_good) {
            return Ok(Ok(said));
        }
        let health = self.ezw.health(token).await;
        let said = health.summary();
        tracing::info!(
            line.name = line,
            line.sendable = health.sendable,
            line.effective_send_state = health.effective_send_state,
            line.lifecycle_state = health.lifecycle_state,
            line.status = health.status,
            line.http_status = health.http_status,
            "asked for the line's health"
        );
        if health.http_status != 401 {
            self.desk.note_health(line, &health, now).await?;
        }
        if !health.is_sendable() {
            self.forget_health(line);
            return Ok(Err(health));
        }
        self.remembered().insert(line.to_owned(), (now, said.clone()));
        Ok(Ok(said))
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Timestamp, String)>> {
        self.healthy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_health(&self, line: &str) {
        self.remembered().remove(line);
    }

    async fn fresh_token(&self, secret_name: &str, now: Timestamp) -> Option<Secret> {
        match self.secrets.refetch(secret_name, now).await {
            Ok(token) => token,
            Err(error) => {
                tracing::error!("{}", crate::fault::chain(&error));
                None
            }
        }
    }

    async fn unauthorized(&self, line: &str, now: Timestamp) -> Result<NoAccess, TellError> {
        observe::count(&self.config.client, Metric::LineUnauthorized, now);
        let closed = self.desk.open_breaker(line, now).await?;
        Ok(NoAccess { until: closed.until(), reason: closed.reason() })
    }

    /// Writes a change down, over whatever the row has become meanwhile, as long as the change may still happen.
    async fn settle(&self, mut row: Row, change: &Change) -> Result<Told, TellError> {
        for _ in 0..4 {
            let next = match transition(&row, change, self.clock.now()) {
                Ok(next) => next,
                // Somebody else has it, or it is settled: what they wrote stands.
                Err(NotNow::Settled | NotNow::NotYours | NotNow::NotClaimed | NotNow::NotDue) => {
                    return Ok(Told::Known(row.key, row.state));
                }
            };
            match self.ledger.save(&row, &next).await? {
                Saved::Yes => {
                    self.report(&next);
                    return Ok(told(next));
                }
                Saved::Overtaken(now) => row = *now,
                Saved::Gone => return Ok(Told::Ended(row.key, State::Expired)),
            }
        }
        Err(TellError::Contended(row.key))
    }

    /// One log line and one count for where a message is now.
    fn report(&self, row: &Row) {
        let metric = match row.state {
            State::Accepted => Some(Metric::MessagesAccepted),
            State::Held => Some(Metric::MessagesHeld),
            State::Expired => Some(Metric::MessagesExpired),
            State::NeedsHuman => Some(Metric::MessagesNeedingHuman),
            State::Unknown => Some(Metric::MessagesUnknown),
            State::Refused => Some(Metric::SendRefused),
            State::Superseded | State::Noted | State::Unsaid | State::Claimed => None,
        };
        if let Some(metric) = metric {
            observe::count(&self.config.client, metric, row.updated_at);
        }
        if row.key.is_leads() && row.state == State::Accepted {
            observe::measure(&self.config.client, Measure::FirstTouchSeconds, self.waited(row), row.updated_at);
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
fn not_claimed(row: Row, why: NotNow) -> Told {
    match why {
        NotNow::Settled => Told::Known(row.key, row.state),
        NotNow::NotYours | NotNow::NotDue | NotNow::NotClaimed => Told::Waits(row.key, row.state),
    }
}

fn told(row: Row) -> Told {
    match row.state {
        State::Accepted => Told::Accepted(row.key),
        State::Noted | State::Unsaid => Told::Noted(row.key),
        State::Held | State::Claimed | State::Unknown => Told::Waits(row.key, row.state),
        State::Refused | State::Superseded | State::Expired | State::NeedsHuman => Told::Ended(row.key, row.state),
    }
}
