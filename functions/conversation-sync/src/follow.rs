//! Following a message to the phone: reports are joined to the ledger's message that they are of, and one that failed calls
//! the team.

use jiff::Timestamp;
use shared::{
    contact::Phone,
    ledger::{Change, Fate, Key, NotNow, Row, Saved, transition},
    observe::{self, Measure, Metric},
};

use crate::{
    Sync,
    conversation::{Conversation, Moment},
    crm::Direction,
    event::{Message, Status},
    record::{self, Found, Link, Record},
    rules,
    store::Place,
    sync::{Call, SyncError, Work},
};

/// How often a record or a row is written again that others overtook.
const TRIES: u32 = 5;

/// Whose an outbound message is.
pub(crate) enum Whose {
    /// Ours: the ledger has it.
    Ours,
    /// The team's.
    Theirs,
    /// Not known yet.
    Unsure,
}

impl Sync {
    /// Takes an outbound message into its record, and says whose it is.
    pub(crate) async fn outbound(&self, work: &Work<'_>, line: &str, message: &Message) -> Result<Whose, SyncError> {
        let (place, now) = (Record::place(line, &message.id), self.teller.clock.now());
        let see = |before: Option<&Record>| {
            let next = before.cloned().unwrap_or_else(|| Record::new(line, &message.id, self.keep_days(), now));
            let next = next.with_message(message, now);
            ((before != Some(&next)).then(|| next.clone()), next)
        };
        let mut record = self.courier.store.change(&place, see).await?;
        if record.needs_look() {
            record = self.look(work, &place, record, false).await?;
        }
        Ok(match record.link {
            Link::Row { .. } => Whose::Ours,
            Link::Others => Whose::Theirs,
            Link::Unknown => Whose::Unsure,
        })
    }

    /// Takes a report into its message's record, and to the ledger's message.
    pub(crate) async fn status(&self, work: &Work<'_>, line: &str, status: &Status) -> Result<(), SyncError> {
        let (place, now) = (Record::place(line, &status.id), self.teller.clock.now());
        let report = |before: Option<&Record>| {
            let next = before.cloned().unwrap_or_else(|| Record::new(line, &status.id, self.keep_days(), now));
            let next = next.with_status(status);
            ((before != Some(&next)).then(|| next.clone()), next)
        };
        let record = self.courier.store.change(&place, report).await?;
        if record.needs_look() || record.may_be_ours() {
            self.look(work, &place, record, false).await?;
        }
        Ok(())
    }

    /// Looks once more at a record whose time has come.
    pub(crate) async fn look_again(&self, work: &Work<'_>, place: &Place) -> Result<(), SyncError> {
        match self.courier.store.get::<Record>(place).await? {
            Some(record) if record.value.needs_look() => self.look(work, place, record.value, true).await.map(drop),
            _ => Ok(()),
        }
    }

    /// Looks through the ledger for the message that a record is of, and tells it what is known.
    async fn look(
        &self,
        work: &Work<'_>,
        place: &Place,
        mut record: Record,
        of_the_clock: bool,
    ) -> Result<Record, SyncError> {
        // Somebody else may add to the record meanwhile.
        for _ in 0..TRIES {
            let found = self.find(&record).await?;
            let applied = match &found {
                Found::Row { row, .. } => self.observe(work, (**row).clone(), &record).await?,
                Found::NotYet | Found::Nothing => None,
            };
            let now = self.teller.clock.now();
            // That the team answered is written down first: the record is not looked at again.
            if record.clone().looked(&found, applied, of_the_clock, now).link == Link::Others {
                // Unless somebody else found it meanwhile.
                let newest = self.courier.store.get::<Record>(place).await?;
                if newest.is_none_or(|newest| newest.value.key().is_none()) {
                    self.answered(&record).await?;
                }
            }
            let looked = |before: Option<&Record>| {
                let before = before.cloned().unwrap_or_else(|| record.clone());
                let next = before.clone().looked(&found, applied, of_the_clock, now);
                ((before != next).then(|| next.clone()), next)
            };
            record = self.courier.store.change(place, looked).await?;
            if applied.is_none() || !record.needs_look() {
                break;
            }
        }
        Ok(record)
    }

    async fn find(&self, record: &Record) -> Result<Found, SyncError> {
        let ledger = &self.teller.ledger;
        if let Link::Row { subject, stage, weak } = &record.link {
            let row = ledger.read(&Key::stored(subject, stage)).await?;
            return Ok(row.map_or(Found::Nothing, |row| Found::Row { row: Box::new(row), weak: *weak }));
        }
        let of_id = ledger.of_provider_id(&record.id).await?;
        let seen = record.seen.as_ref().filter(|_| of_id.is_empty() && record.link == Link::Unknown);
        let phone = seen.and_then(|seen| Phone::from_e164(seen.phone.as_deref()?).ok());
        let told = self.told(phone.as_ref(), self.teller.clock.now()).await?;
        Ok(record::find(record, &of_id, &told))
    }

    /// Tells the conversation that the team answered.
    async fn answered(&self, record: &Record) -> Result<(), SyncError> {
        let Some(seen) = record.seen.as_ref().filter(|seen| seen.direction == Direction::Out) else { return Ok(()) };
        let phone = seen.phone.as_deref().and_then(|phone| Phone::from_e164(phone).ok());
        let contact = phone.map(|phone| self.teller.ledger.contact(&phone));
        let place = Conversation::place(&record.line, seen.conversation.as_deref(), contact.as_deref());
        let Some(place) = place else { return Ok(()) };
        let answered = |before: Option<&Conversation>| {
            let next = before.cloned().map(|mut next| {
                next.answered(seen.at);
                next.look_at = next.next_look(&self.teller.config);
                next
            });
            (next.filter(|next| before != Some(next)), ())
        };
        Ok(self.courier.store.change(&place, answered).await?)
    }

    /// Tells a message of the ledger what was reported of it. Gives that, or nothing if the message is in somebody's hands.
    async fn observe(&self, work: &Work<'_>, mut row: Row, record: &Record) -> Result<Option<Fate>, SyncError> {
        let seen_at = record.seen.as_ref().map(|seen| seen.at);
        for _ in 0..TRIES {
            let now = self.teller.clock.now();
            let at = record.arrived_at.or(record.fate_at).or(seen_at).unwrap_or(now);
            let change = Change::Observe { message_id: record.id.clone(), fate: record.fate, at };
            let next = match transition(&row, &change, now) {
                Ok(next) => next,
                Err(NotNow::NotYours | NotNow::NotClaimed | NotNow::NotDue) => return Ok(None),
                // It was never sent, or was seen under another id: nothing more to tell it.
                Err(NotNow::Settled) => {
                    let (state, fate) = (row.state.name(), record.fate);
                    tracing::warn!(message.key = %row.key, "a report ({fate}) does not fit a message that is {state}");
                    return Ok(Some(record.fate));
                }
            };
            if next.fate == row.fate && next.state == row.state && next.message_id == row.message_id {
                self.raise_if_failed(work, record, &row).await?;
                return Ok(Some(record.fate));
            }
            match self.teller.ledger.save(&row, &next).await? {
                Saved::Yes => {
                    self.report(&row, &next);
                    self.raise_if_failed(work, record, &next).await?;
                    return Ok(Some(record.fate));
                }
                Saved::Overtaken(newer) => row = *newer,
                Saved::Gone => return Ok(Some(record.fate)),
            }
        }
        Ok(None)
    }

    /// One log line, and what can be measured of it.
    fn report(&self, before: &Row, after: &Row) {
        let (client, now) = (&self.teller.config.client, after.updated_at);
        if after.fate.has_failed() && !before.fate.has_failed() {
            observe::count(client, Metric::MessagesFailed, now);
        }
        // Of one whose outcome was unknown nobody knows when it was accepted.
        if let (true, false, Some(accepted), Some(arrived)) =
            (after.fate.arrived(), before.fate.arrived(), before.accepted_at, after.fate_at)
        {
            // The phone's clock and ours may be some moments apart.
            let seconds = arrived.duration_since(accepted).as_secs_f64().max(0.0);
            observe::measure(client, Measure::DeliverySeconds, seconds, now);
        }
        tracing::info!(
            message.key = %after.key,
            message.state = after.state.name(),
            message.fate = %after.fate,
            message.contradictory = after.fate.is_contradictory(),
            message.was = before.state.name(),
            line.name = after.line,
            "message was reported"
        );
    }

    /// Calls the team for a message that could not be delivered. Done again, it makes the same notices.
    async fn raise_if_failed(&self, work: &Work<'_>, record: &Record, row: &Row) -> Result<(), SyncError> {
        let config = &self.teller.config;
        let escalations = rules::set_off_by_failure(config, &row.line);
        if !row.fate.has_failed() || escalations.is_empty() {
            return Ok(());
        }
        let now = self.teller.clock.now();
        let contact = row.to.as_ref().map(|phone| self.teller.ledger.contact(phone));
        let id = record.seen.as_ref().and_then(|seen| seen.conversation.as_deref());
        let Some(place) = Conversation::place(&row.line, id, contact.as_deref()) else { return Ok(()) };
        let at: Timestamp = row.fate_at.unwrap_or(now);
        let call = |before: Option<&Conversation>| {
            let phone = row.to.as_ref().map(Phone::expose);
            let new = || Conversation::new(&row.line, id, phone, self.keep_days(), now);
            let mut next = before.cloned().unwrap_or_else(new);
            next.name = next.name.take().or_else(|| row.context.name.clone());
            let mut calls = Vec::new();
            for escalation in &escalations {
                let within = config.escalations[*escalation].within;
                if let Some(moment) = next.call(escalation, within, Moment::new(&record.id, at)) {
                    let why = format!("was not reached: `{}` could not be delivered", row.key);
                    calls.push(Call { escalation: (*escalation).to_owned(), why, moment, since: at });
                }
            }
            ((before != Some(&next)).then(|| next.clone()), (next, calls))
        };
        let (conversation, calls) = self.courier.store.change(&place, call).await?;
        let told = self.what_is_known(row.to.as_ref()).await;
        // Under the message and not the conversation, which may turn out to be another one.
        let subject = record::subject(&row.line, &record.id);
        self.call_the_team(work, &subject, &conversation, &calls, &told).await
    }
}
