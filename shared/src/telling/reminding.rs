//! Reminders on their way out: the claim is the last thing before the send, and asks the appointment's header.

use jiff::Timestamp;

use super::{NoAccess, OPTED_OUT, Shift, Slots, TellError, Teller, Told, not_claimed, told};
use crate::{
    appointment::{Appointment, Outcome},
    client_config::Line,
    contact::Phone,
    ledger::{Change, Claim, News, QUIET_HOURS, Row, SPOKEN_ZONE, State},
    line::Reservation,
    observe::{self, Metric},
};

/// What became of a reminder for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reminded {
    /// Its row was opened, and is this now. The header is the one that was to be written with it.
    Opened(Told),
    /// Something else is known of the appointment by now; nothing if it is gone. Nothing was opened.
    HeaderChanged(Option<Box<Appointment>>),
    /// It is not to be sent: its reader does not want to be written to, or an operator dropped what waited for this line.
    /// Nothing was opened.
    LeftOut(Outcome),
    /// The line takes nothing now: the next one for this line would wait as well. Nothing was opened.
    LineClosed {
        /// Why, for people.
        reason: String,
    },
}

impl Teller {
    /// Sends a reminder of an appointment, once: opens its row and writes `after` over `before` in one transaction,
    /// directly before the send. News that nobody can be told opens its row, which says why, and is not sent.
    pub async fn remind(
        &self,
        shift: &Shift,
        slots: &mut Slots,
        news: &News,
        before: &Appointment,
        after: &Appointment,
    ) -> Result<Reminded, TellError> {
        let line = self.line_of(&news.line, &news.key)?;
        let access = if news.words.silence().is_some() {
            None
        } else {
            match self.way_out(shift, slots, &news.line, line, news.occurred_at).await? {
                Way::Open(access) => Some(access),
                Way::Closed(NoAccess { reason, .. }) => return Ok(Reminded::LineClosed { reason }),
                Way::Dropped => return Ok(Reminded::LeftOut(Outcome::Dropped)),
            }
        };
        let now = self.clock.now();
        // Waiting for a slot took it into quiet hours, or beyond its use: nothing was opened, so it is planned anew.
        let quiet = !news.any_hour && self.config.quiet_until_in(news.zone.as_deref(), now).is_some();
        if access.is_some() && (quiet || news.useful_until <= now) {
            return Ok(Reminded::HeaderChanged(Some(Box::new(before.clone()))));
        }
        let mut row = Row::open(news, news.key.clone(), shift.owner.clone(), shift.lease_until(now), now);
        // The header will say that it was opened, and no delivery comes again for it: should this function die, nobody but
        // the clock finds the claim.
        row.due_at = row.due_at.or(row.lease_until);
        let contact = self.contact(news.to.as_ref());
        match self.ledger.open_reminder(&row, before, after, &contact).await? {
            Claim::Yes => {}
            Claim::OptedOut => return Ok(Reminded::LeftOut(Outcome::OptedOut)),
            Claim::HeaderChanged(now) => return Ok(Reminded::HeaderChanged(now)),
            // Its row is there although the header does not say so: it was opened before, and is not sent again.
            Claim::RowChanged(there) => {
                let known = there.map_or(Told::Known(row.key, State::Expired), |row| Told::Known(row.key, row.state));
                return Ok(match self.ledger.know(Some(before), after).await? {
                    Ok(()) => Reminded::Opened(known),
                    Err(now) => Reminded::HeaderChanged(now),
                });
            }
        }
        let (State::Claimed, Some(access)) = (row.state, access) else {
            if row.state == State::Unsaid {
                observe::count(&self.config.client, Metric::RemindersUnsaid, now);
            }
            self.report(&row);
            return Ok(Reminded::Opened(told(row)));
        };
        slots.spend();
        let attempt = self.deliver(shift, &row, access).await?;
        Ok(Reminded::Opened(self.conclude(row, attempt).await?))
    }

    /// Goes on with a reminder whose row was opened before and which is not out yet.
    pub(super) async fn resume_reminder(
        &self,
        shift: &Shift,
        slots: &mut Slots,
        mut row: Row,
    ) -> Result<Told, TellError> {
        let owner = || shift.owner.clone();
        if let Some(change) = self.too_late(shift, &row) {
            return self.claim_and(shift, row, &change).await;
        }
        let now = self.clock.now();
        if let Some(until) = self.config.quiet_until_in(row.zone.as_deref(), now).filter(|_| !row.any_hour) {
            let change = Change::Hold { owner: owner(), until, reason: QUIET_HOURS.to_owned() };
            return self.claim_and(shift, row, &change).await;
        }
        let untrue = |reason: &str| Change::Supersede { owner: owner(), reason: reason.to_owned() };
        let line = self.line_of(&row.line, &row.key)?;
        let access = match self.way_out(shift, slots, &row.line, line, row.created_at).await? {
            Way::Open(access) => access,
            // It stays due, and nothing has to be written for that.
            Way::Closed(_) => return Ok(Told::LineClosed(row.key, row.state)),
            Way::Dropped if row.may_have_arrived() => return Ok(Told::Waits(row.key, row.state)),
            Way::Dropped => {
                return self
                    .claim_and(shift, row, &untrue("somebody dropped everything that waited for this line"))
                    .await;
            }
        };
        // A slot may have been some while off.
        if let Some(change) = self.too_late(shift, &row) {
            return self.claim_and(shift, row, &change).await;
        }
        let contact = self.contact(row.to.as_ref());
        let now = self.clock.now();
        // Once more if the header was only written anew, and the reminder is as true as before.
        for _ in 0..2 {
            let next = match shift.claim(&row, now) {
                Ok(next) if next.state == State::Claimed => next,
                Ok(_) => return self.take(shift, slots, row).await,
                Err(why) => return Ok(not_claimed(row, why)),
            };
            match self.ledger.claim_reminder(&row, &next, &contact).await? {
                Claim::Yes => {
                    slots.spend();
                    let attempt = self.deliver(shift, &next, access).await?;
                    return self.conclude(next, attempt).await;
                }
                Claim::RowChanged(Some(now)) => return Ok(Told::Waits(now.key, now.state)),
                Claim::RowChanged(None) => return Ok(Told::Ended(row.key, State::Expired)),
                Claim::OptedOut => {
                    return self.claim_and(shift, row, &untrue(OPTED_OUT)).await;
                }
                Claim::HeaderChanged(known) => {
                    let holds = |known: &Appointment| {
                        let (instance, phone) = (row.instance.as_deref(), row.to.as_ref());
                        let same_clocks = row.context.values.get(SPOKEN_ZONE) == Some(&known.zone);
                        same_clocks
                            && instance.zip(phone).is_some_and(|(instance, phone)| known.still_holds(instance, phone))
                    };
                    let Some(known) = known.filter(|known| holds(known)) else {
                        let change = untrue("the appointment was moved or cancelled before its turn came");
                        return self.claim_and(shift, row, &change).await;
                    };
                    row.generation = Some(known.generation);
                }
            }
        }
        Err(TellError::Contended(row.key))
    }

    /// What to do with a row that is no longer useful, be it claimed by somebody who died or not.
    fn too_late(&self, shift: &Shift, row: &Row) -> Option<Change> {
        let late = row.useful_until <= self.clock.now();
        late.then(|| Change::Expire { owner: Some(shift.owner.clone()) })
    }

    /// Where the wish of a reminder's reader is written down.
    pub(super) fn contact(&self, phone: Option<&Phone>) -> String {
        phone.map_or_else(|| "contact:nobody".to_owned(), |phone| self.ledger.contact(phone))
    }

    /// Claims a row for nothing but to write a change down.
    async fn claim_and(&self, shift: &Shift, row: Row, change: &Change) -> Result<Told, TellError> {
        match self.claim(shift, row).await? {
            Ok(row) => self.settle(row, change).await,
            Err(told) => Ok(told),
        }
    }

    /// A slot, and a line that is known to be good; `since` is when the message was written down.
    async fn way_out(
        &self,
        shift: &Shift,
        slots: &mut Slots,
        line_name: &str,
        line: &Line,
        since: Timestamp,
    ) -> Result<Way, TellError> {
        let (known_good, drop_before) = match self.slot(shift, slots, line_name, line).await? {
            Reservation::Granted { known_good, drop_before } => (known_good, drop_before),
            Reservation::Closed(closed) => {
                return Ok(Way::Closed(NoAccess { until: closed.until(), reason: closed.reason() }));
            }
        };
        if drop_before.is_some_and(|before| since < before) {
            return Ok(Way::Dropped);
        }
        Ok(match self.access(shift, line_name, known_good).await? {
            Ok(access) => Way::Open(access),
            Err(closed) => Way::Closed(closed),
        })
    }
}

/// Whether there is a way out for a message.
enum Way {
    Open(super::Access),
    Closed(NoAccess),
    /// An operator dropped what was written down as early as this message.
    Dropped,
}
