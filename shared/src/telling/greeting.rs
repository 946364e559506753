//! Greetings on their way out: whoever left their number hears from us once, however many of us know of it.

use jiff::{SignedDuration, Timestamp};

use super::{OPTED_OUT, Shift, Slots, TellError, Teller, Told};
use crate::{
    client_config::{Limit, RepeatRule},
    greeting::{Greeting, Heard, Meeting},
    ledger::{Change, Claim, Key, News, Opened, Owner, Row, Saved, State, Words},
};

/// The name in [`crate::ledger::Context::values`] of when a human let a lead go.
pub const RELEASED_AT: &str = "released_at";

/// How often what somebody has heard is read anew when others write it at the same time.
const TRIES: usize = 8;

/// What becomes of somebody who was greeted before.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// When it is the same person again.
    pub repeat: RepeatRule,
    /// How many forms may greet one number.
    pub per_phone: Limit,
}

/// What came of a greeting for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Greeted {
    /// Its row is in the ledger, and is this now.
    Told(Told),
    /// They were greeted already, and nobody is told. Its row says by which lead.
    Repeat,
    /// As many forms as may have greeted this number, and nobody is told. Its row says so.
    TooOften,
    /// They do not want to be written to. Nothing was opened.
    OptedOut,
}

impl Teller {
    /// Greets somebody, once: opens the lead's row, and writes down that they were greeted, in one transaction that holds
    /// only if they have not been meanwhile, and have not asked to be left alone. `form` is the form's name. `news` has
    /// words and somebody to tell.
    pub async fn greet(&self, shift: &Shift, news: &News, form: &str, rules: Rules) -> Result<Greeted, TellError> {
        self.line_of(&news.line, &news.key)?;
        let slots = &mut Slots::of(1);
        let contact = self.contact(news.to.as_ref());
        // Most people leave their number for the first time: that is tried before anything is read.
        let mut heard = Heard::default();
        for _ in 0..TRIES {
            let now = self.clock.now();
            let next = Greeting { form: form.to_owned(), lead: news.key.subject().to_owned(), at: now };
            let mut row = Row::open(news, news.key.clone(), shift.owner.clone(), shift.lease_until(now), now);
            // Its delivery may not come as far again, should this function die: its form may be held by then.
            row.due_at = row.due_at.or(row.lease_until);
            let after = match heard.meet(&next, rules.repeat, rules.per_phone) {
                Meeting::Greet(after) => after,
                Meeting::Repeat(before) if before.lead == next.lead => {
                    return match self.ledger.read(&news.key).await? {
                        Some(there) => self.meet(shift, slots, there, &row).await.map(Greeted::Told),
                        // Its row's time has run out. What it said was said.
                        None => Ok(Greeted::Told(Told::Known(news.key.clone(), State::Expired))),
                    };
                }
                Meeting::Repeat(before) if !self.was_said(&before).await? => {
                    heard = heard.without(&before.lead);
                    continue;
                }
                Meeting::Repeat(before) => {
                    let reason = before.in_the_way();
                    return Ok(self.write_down(shift, slots, news, reason).await?.unwrap_or(Greeted::Repeat));
                }
                Meeting::TooOften(limit) => {
                    let reason = format!("too-often: this number was greeted {} times already", limit.leads);
                    return Ok(self.write_down(shift, slots, news, reason).await?.unwrap_or(Greeted::TooOften));
                }
            };
            match self.ledger.open_greeting(&row, &heard, &after, &contact).await? {
                Claim::Yes => return self.begin(shift, slots, row).await.map(Greeted::Told),
                Claim::OptedOut => return Ok(Greeted::OptedOut),
                Claim::RowChanged(Some(there)) => {
                    return self.meet(shift, slots, *there, &row).await.map(Greeted::Told);
                }
                Claim::HeaderChanged(now) => heard = now.map(|now| *now).unwrap_or_default(),
                Claim::RowChanged(None) => {}
            }
        }
        Err(TellError::Contended(news.key.clone()))
    }

    /// Writes down that somebody is not greeted, and why; gives what is there already if something is.
    async fn write_down(
        &self,
        shift: &Shift,
        slots: &mut Slots,
        news: &News,
        reason: String,
    ) -> Result<Option<Greeted>, TellError> {
        let now = self.clock.now();
        let silent = News { words: Words::Never(reason), ..news.clone() };
        let row = Row::open(&silent, news.key.clone(), shift.owner.clone(), shift.lease_until(now), now);
        Ok(match self.ledger.open(&row).await? {
            Opened::New => None,
            Opened::Exists(there) => Some(Greeted::Told(self.meet(shift, slots, *there, &row).await?)),
        })
    }

    /// Whether somebody heard a greeting, may have heard it, or still will.
    async fn was_said(&self, greeting: &Greeting) -> Result<bool, TellError> {
        let row = self.ledger.read(&Key::first_touch_of(&greeting.lead)).await?;
        // A row is remembered for longer than any window: that it is gone says nothing about the greeting.
        let Some(row) = row else { return Ok(true) };
        Ok(row.may_have_arrived()
            || match row.state {
                State::Held | State::Claimed | State::Unknown | State::Accepted | State::NeedsHuman => true,
                State::Refused | State::Superseded | State::Expired | State::Noted | State::Unsaid => false,
            })
    }

    /// Claims a greeting that waited; says what became of it instead if it may not be said any more.
    pub(super) async fn claim_greeting(&self, row: Row, next: Row) -> Result<Result<Row, Told>, TellError> {
        let contact = self.contact(row.to.as_ref());
        Ok(match self.ledger.claim_greeting(&row, &next, &contact).await? {
            Claim::Yes => Ok(next),
            Claim::RowChanged(Some(now)) => Err(Told::Waits(now.key, now.state)),
            Claim::RowChanged(None) | Claim::HeaderChanged(_) => Err(Told::Ended(row.key, State::Expired)),
            Claim::OptedOut => {
                // Claimed like any other row, for nothing but to write that down.
                match self.ledger.save(&row, &next).await? {
                    Saved::Yes => {
                        let owner = next.owner.clone().unwrap_or(Owner(String::new()));
                        let reason = OPTED_OUT.to_owned();
                        Err(self.settle(next, &Change::Supersede { owner, reason }).await?)
                    }
                    Saved::Overtaken(now) => Err(Told::Waits(now.key, now.state)),
                    Saved::Gone => Err(Told::Ended(row.key, State::Expired)),
                }
            }
        })
    }

    /// Whether the reader of a greeting has asked not to be written to.
    pub(super) async fn opted_out(&self, row: &Row) -> Result<bool, TellError> {
        Ok(row.key.is_leads() && self.ledger.opted_out(&self.contact(row.to.as_ref())).await?)
    }

    /// How long somebody has waited for an accepted greeting, in seconds: from the submission, from the end of the quiet
    /// hours that it came in, or from when a human let it go.
    pub(super) fn waited(&self, row: &Row) -> f64 {
        let quiet_until = self.config.quiet_until_in(row.zone.as_deref(), row.occurred_at).filter(|_| !row.any_hour);
        let released = row.context.values.get(RELEASED_AT).and_then(|at| at.parse().ok());
        let from: Timestamp = [quiet_until, released].into_iter().flatten().fold(row.occurred_at, Timestamp::max);
        row.updated_at.duration_since(from).max(SignedDuration::ZERO).as_secs_f64()
    }
}
