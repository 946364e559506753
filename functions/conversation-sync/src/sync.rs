//! The flow of one delivery: what the line reports goes into records and conversations, and becomes tasks.
//!
//! Everything here is written so that it may be done again: a delivery that failed half-way is taken through once more, and
//! finds what it wrote before under the same names.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use shared::{
    appointment::Appointment,
    client_config::Trigger,
    clock::Deadline,
    contact::Phone,
    digest::sha256_hex,
    fault::{Fault, Faulty, chain},
    inbox::Entry,
    ledger::{Key, LedgerError, Row},
    observe::{self, Metric},
    telling::{Shift, TellError},
};

use crate::{
    Sync,
    answer::Answer,
    conversation::{self, Conversation, Moment},
    courier::{Turn, crm_queue, target_queue},
    crm::{Direction, Item},
    event::{self, Message},
    follow::Whose,
    notice::{Notice, Told},
    record,
    rules::{self, Context},
    store::{Place, StoreError},
    task::{Task, What},
};

/// How far back what a customer was told is of interest.
const TOLD_SINCE: SignedDuration = SignedDuration::from_hours(24 * 90);
/// How much of it is read.
const TOLD: i32 = 10;
/// How many appointments of a customer are looked at.
const APPOINTMENTS: usize = 3;
/// How many records and conversations are looked up at once.
const AT_A_TICK: i32 = 200;
/// How many of them are looked at side by side.
const SIDE_BY_SIDE: usize = 8;

/// A delivery could not be processed now.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The table failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// An answer could not be told.
    #[error(transparent)]
    Tell(#[from] TellError),
}

impl Faulty for SyncError {
    fn fault(&self) -> Fault {
        match self {
            Self::Store(error) => error.fault(),
            Self::Ledger(error) => error.fault(),
            Self::Tell(error) => error.fault(),
        }
    }
}

/// Tasks that were made just now, by their queues: the index may not show them yet.
#[derive(Debug, Default)]
pub struct Fresh(Mutex<Vec<(String, Place)>>);

impl Fresh {
    fn add(&self, queue: &str, place: Place) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((queue.to_owned(), place));
    }

    /// Those of one queue.
    pub fn of(&self, queue: &str) -> Vec<Place> {
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.iter().filter(|(of, _)| of == queue).map(|(_, place)| place.clone()).collect()
    }
}

/// What an invocation works with.
pub struct Work<'a> {
    /// Tasks that it made.
    pub fresh: &'a Fresh,
    /// Its right to send.
    pub shift: &'a Shift,
}

/// Of two outcomes the one that counts: an error that may pass, since whatever met it must come again.
fn worse(one: Result<(), SyncError>, other: Result<(), SyncError>) -> Result<(), SyncError> {
    match (&one, &other) {
        (Err(first), _) if first.fault() != Fault::Permanent => one,
        (_, Err(_)) => other,
        (_, Ok(())) => one,
    }
}

/// What a message did to its conversation.
struct Heard {
    conversation: Conversation,
    calls: Vec<Call>,
    answer: Option<Answer>,
    is_new: bool,
}

/// Something that calls the team.
pub(crate) struct Call {
    /// The escalation.
    pub(crate) escalation: String,
    /// Why, in words that go on from "a customer".
    pub(crate) why: String,
    /// The message that it is for, and when the call was due.
    pub(crate) moment: Moment,
    /// When what it is about began.
    pub(crate) since: Timestamp,
}

impl Sync {
    /// Takes one delivery through, and gives what to record beside it.
    pub(crate) async fn take(&self, work: &Work<'_>, entry: &Entry) -> Result<Option<String>, SyncError> {
        let now = self.teller.clock.now();
        let quarantine = |why: String| {
            observe::count(&self.teller.config.client, Metric::DeliveriesQuarantined, now);
            Some(format!("quarantined: {why}"))
        };
        if !self.teller.config.lines.contains_key(&entry.sender) {
            return Ok(quarantine("the configuration has no line of this name any more".to_owned()));
        }
        let reading = match event::read(entry.topic.as_deref(), &entry.body, entry.received_at) {
            Ok(reading) => reading,
            Err(misread) => return Ok(quarantine(misread.to_string())),
        };
        let alone = reading.messages.len() == 1;
        // One that cannot be taken through must not keep the others from it.
        let mut worst = Ok(());
        for message in &reading.messages {
            worst = worse(worst, self.message(work, entry, message, alone).await);
        }
        for status in &reading.statuses {
            worst = worse(worst, self.status(work, &entry.sender, status).await);
        }
        worst?;
        if reading.left_out.is_empty() {
            return Ok(None);
        }
        let left_out = format!("left out: {}", reading.left_out.join("; "));
        Ok(if reading.odd { quarantine(left_out) } else { Some(left_out) })
    }

    async fn message(&self, work: &Work<'_>, entry: &Entry, message: &Message, alone: bool) -> Result<(), SyncError> {
        let line = entry.sender.as_str();
        let contact = message.phone.as_ref().map(|phone| self.teller.ledger.contact(phone));
        let place = Conversation::place(line, message.conversation.as_deref(), contact.as_deref());
        let mut message = message.clone();
        if let (None, Some(place)) = (&message.phone, &place) {
            message.phone = self.number_of(place).await;
        }
        // A wish comes before everything that may fail.
        self.heed(&message).await?;
        let (whose, followed) = match message.direction {
            Direction::In => (None, Ok(())),
            Direction::Out => match self.outbound(work, line, &message).await {
                Ok(whose) => (Some(whose), Ok(())),
                Err(error) => (Some(Whose::Unsure), Err(error)),
            },
        };
        let (name, heard) = match &place {
            Some(place) => match self.heard(work, entry, &message, alone, place, whose).await {
                Ok(name) => (name, Ok(())),
                Err(error) => (None, Err(error)),
            },
            None => (None, Ok(())),
        };
        // Whatever is wrong with the conversation, CRMs hear of its message.
        let entered = match &message.phone {
            Some(phone) => self.enter(work, line, &message, phone, name).await,
            // Without a number there is nobody in a CRM that it could stand beside.
            None => Ok(()),
        };
        worse(followed, worse(heard, entered))
    }

    /// Takes a message into its conversation, with all that this sets off. Gives the customer's name.
    async fn heard(
        &self,
        work: &Work<'_>,
        entry: &Entry,
        message: &Message,
        alone: bool,
        place: &Place,
        whose: Option<Whose>,
    ) -> Result<Option<String>, SyncError> {
        let (config, line, now) = (&self.teller.config, entry.sender.as_str(), self.teller.clock.now());
        let mut told = None;
        if rules::ask_the_ledger(config, line) && message.direction == Direction::In {
            told = Some(self.told(message.phone.as_ref(), now).await?);
        }
        let appointments = self.appointments(line, told.as_deref().unwrap_or_default()).await?;
        let context = Context { told: told.as_deref().unwrap_or_default(), appointments: &appointments };
        let hear = |before: Option<&Conversation>| {
            let mut next = before.cloned().unwrap_or_else(|| self.new_conversation(line, message, now));
            next.hear(message);
            match whose {
                Some(Whose::Theirs) => next.answered(message.at),
                Some(Whose::Unsure) => next.perhaps_answered(now),
                Some(Whose::Ours) | None => {}
            }
            next.look_at = next.next_look(config);
            let calls = self.calls_for(&mut next, entry, message, alone, &context, now);
            let answer = self.answer_to(&mut next, entry, message, alone, &calls);
            let changed = before != Some(&next);
            (changed.then(|| next.clone()), Heard { conversation: next, calls, answer, is_new: before.is_none() })
        };
        let Heard { mut conversation, calls, answer, is_new } = self.courier.store.change(place, hear).await?;
        if told.is_none() && (is_new || !calls.is_empty()) {
            told = Some(self.what_is_known(message.phone.as_ref()).await);
        }
        let told = told.unwrap_or_default();
        if conversation.name.is_none()
            && let Some(known) = told.iter().find_map(|row| row.context.name.clone())
        {
            conversation.name = Some(known.clone());
            let put = |before: Option<&Conversation>| {
                (before.map(|before| Conversation { name: Some(known.clone()), ..before.clone() }), ())
            };
            self.courier.store.change(place, put).await?;
        }
        self.call_the_team(work, &place.subject, &conversation, &calls, &told).await?;
        if let Some(answer) = answer {
            self.answer(work, entry, message, &conversation, answer).await?;
        }
        Ok(conversation.name)
    }

    /// The number that a conversation's earlier messages were from.
    async fn number_of(&self, place: &Place) -> Option<Phone> {
        match self.courier.store.get::<Conversation>(place).await {
            Ok(known) => Phone::from_e164(known?.value.phone.as_deref()?).ok(),
            // What is wrong with the row shows again where it matters.
            Err(_) => None,
        }
    }

    /// The calls that a message sets off.
    fn calls_for(
        &self,
        conversation: &mut Conversation,
        entry: &Entry,
        message: &Message,
        alone: bool,
        context: &Context<'_>,
        now: Timestamp,
    ) -> Vec<Call> {
        let config = &self.teller.config;
        let mut calls = Vec::new();
        for (escalation, why) in rules::set_off_by(config, conversation, message, context, now) {
            let moment = Moment::of(message, entry.delivery_id(), alone);
            if let Some(moment) = conversation.call(escalation, config.escalations[escalation].within, moment) {
                calls.push(Call { escalation: escalation.to_owned(), why, since: moment.at, moment });
            }
        }
        calls
    }

    fn new_conversation(&self, line: &str, message: &Message, now: Timestamp) -> Conversation {
        let phone = message.phone.as_ref().map(Phone::expose);
        Conversation::new(line, message.conversation.as_deref(), phone, self.keep_days(), now)
    }

    /// How long conversations, records and tasks are remembered: as long as the deliveries that they are made of.
    pub(crate) fn keep_days(&self) -> u16 {
        self.teller.config.keep.inbox_days.max(30)
    }

    /// What somebody was told, as far as it can be read: a notice without it is better than none.
    pub(crate) async fn what_is_known(&self, phone: Option<&Phone>) -> Vec<Row> {
        match self.told(phone, self.teller.clock.now()).await {
            Ok(told) => told,
            Err(error) => {
                tracing::error!("what a customer was told cannot be read: {}", chain(&error));
                Vec::new()
            }
        }
    }

    pub(crate) async fn told(&self, phone: Option<&Phone>, now: Timestamp) -> Result<Vec<Row>, LedgerError> {
        match phone {
            Some(phone) => self.teller.ledger.told_to(phone, now - TOLD_SINCE, TOLD).await,
            None => Ok(Vec::new()),
        }
    }

    /// The appointments that somebody was told of, where an escalation asks for them.
    async fn appointments(&self, line: &str, told: &[Row]) -> Result<Vec<Appointment>, LedgerError> {
        let config = &self.teller.config;
        let asked = |escalation: &shared::client_config::Escalation| {
            matches!(escalation.when, Trigger::Appointment(_)) && escalation.is_for(line)
        };
        if !config.escalations.values().any(asked) {
            return Ok(Vec::new());
        }
        let mut subjects: Vec<&str> = told.iter().map(|row| row.key.subject()).collect();
        subjects.retain(|subject| subject.starts_with("appointment:"));
        subjects.dedup();
        let mut appointments = Vec::new();
        for subject in subjects.into_iter().take(APPOINTMENTS) {
            appointments.extend(self.teller.ledger.appointment(subject).await?);
        }
        Ok(appointments)
    }

    /// Makes the entry of a message for each CRM that is told of its line.
    async fn enter(
        &self,
        work: &Work<'_>,
        line: &str,
        message: &Message,
        phone: &Phone,
        name: Option<String>,
    ) -> Result<(), SyncError> {
        let now = self.teller.clock.now();
        for (crm, rule) in self.teller.config.crms.iter().filter(|(_, crm)| crm.is_told_of(line)) {
            let item = Item {
                reference: format!("{line}:{}", Key::word(&message.id)),
                line: line.to_owned(),
                conversation: message.conversation.clone(),
                phone: phone.clone(),
                name: name.clone(),
                direction: message.direction,
                kind: message.kind.clone(),
                at: message.at,
                text: message.text.as_deref().and_then(|text| rule.text.of(text)),
            };
            let place = Place::new(record::subject(line, &message.id), format!("crm-{crm}"));
            let task = Task::new(crm_queue(crm), What::Entry(Box::new(item)), self.keep_days(), now);
            self.make(work, place, task).await?;
        }
        Ok(())
    }

    /// Makes a task, if it was not made before.
    async fn make(&self, work: &Work<'_>, place: Place, task: Task) -> Result<(), StoreError> {
        let queue = task.queue.clone();
        if self.courier.store.put(&place, task, None).await?.is_some() {
            work.fresh.add(&queue, place);
        }
        Ok(())
    }

    /// Makes the notices of calls, one for each target, under a subject that is the same each time.
    pub(crate) async fn call_the_team(
        &self,
        work: &Work<'_>,
        subject: &str,
        conversation: &Conversation,
        calls: &[Call],
        told: &[Row],
    ) -> Result<(), SyncError> {
        let (config, now) = (&self.teller.config, self.teller.clock.now());
        for call in calls {
            let Some(escalation) = config.escalations.get(&call.escalation) else { continue };
            for target in &escalation.to {
                let Some(rule) = config.targets.get(target) else { continue };
                // Names hold no dot.
                let message = sha256_hex(call.moment.message.as_bytes(), 8);
                let place = Place::new(subject, format!("notice.{}.{target}.{message}", call.escalation));
                let notice = Notice {
                    id: format!("notice_{}", sha256_hex(place.to_string().as_bytes(), 16)),
                    escalation: call.escalation.clone(),
                    why: call.why.clone(),
                    business: config.name.clone(),
                    time_zone: config.time_zone.clone(),
                    line: conversation.line.clone(),
                    conversation: conversation.id.clone(),
                    phone: conversation.phone.as_deref().and_then(|phone| Phone::from_e164(phone).ok()),
                    name: conversation.name.clone(),
                    at: call.since,
                    messages: conversation.told(rule.text),
                    told: told.iter().map(what_was_told).collect(),
                    repeated: false,
                };
                let task = Task::new(target_queue(target), What::Notice(Box::new(notice)), self.keep_days(), now);
                self.make(work, place, task).await?;
            }
        }
        Ok(())
    }

    /// What a tick of the clock does beside the queues: records and conversations whose time has come. What is wrong with one
    /// of them holds up no other.
    pub(crate) async fn tick(&self, work: &Work<'_>, until: Deadline) -> Result<(), StoreError> {
        // Whoever waits first: that is what the team is called for.
        let waiting =
            self.of_queue(conversation::QUEUE, until, async |place| self.call_for_whoever_waits(work, place).await);
        let waited = waiting.await;
        let records = self.of_queue(record::QUEUE, until, async |place| self.look_again(work, place).await);
        records.await.and(waited)
    }

    /// Takes whatever is due in a queue through, some side by side, until nothing is or the time is up.
    async fn of_queue(
        &self,
        queue: &str,
        until: Deadline,
        take: impl AsyncFn(&Place) -> Result<(), SyncError>,
    ) -> Result<(), StoreError> {
        let (store, take) = (&self.courier.store, &take);
        let mut seen = BTreeSet::new();
        while !until.remaining().is_zero() {
            let due = store.due(queue, self.teller.clock.now(), AT_A_TICK).await?;
            // What failed, or what the index still shows, is the next minute's.
            let new: Vec<Place> = due.into_iter().filter(|place| seen.insert(place.clone())).collect();
            if new.is_empty() {
                break;
            }
            let each = futures::stream::iter(new).for_each_concurrent(SIDE_BY_SIDE, |place| async move {
                if let Err(error) = take(&place).await {
                    tracing::error!(row.id = %place, "{}", chain(&error));
                }
            });
            each.await;
        }
        Ok(())
    }

    async fn call_for_whoever_waits(&self, work: &Work<'_>, place: &Place) -> Result<(), SyncError> {
        let (store, config, now) = (&self.courier.store, &self.teller.config, self.teller.clock.now());
        let look = |before: Option<&Conversation>| {
            let Some(mut next) = before.cloned() else { return (None, None) };
            let due = next.overdue(config, now);
            ((before != Some(&next)).then(|| next.clone()), Some((next, due)))
        };
        let Some((conversation, due)) = store.change(place, look).await? else { return Ok(()) };
        if due.is_empty() {
            return Ok(());
        }
        let since = conversation.waiting.as_ref().map_or(now, |waiting| waiting.at);
        let minutes = now.duration_since(since).as_mins().max(1);
        let unit = if minutes == 1 { "minute" } else { "minutes" };
        let why = format!("has waited for an answer for {minutes} {unit}");
        let calls: Vec<Call> =
            due.into_iter().map(|(escalation, moment)| Call { escalation, why: why.clone(), moment, since }).collect();
        let phone = conversation.phone.as_deref().and_then(|phone| Phone::from_e164(phone).ok());
        let told = self.what_is_known(phone.as_ref()).await;
        self.call_the_team(work, &place.subject, &conversation, &calls, &told).await?;
        let made = |before: Option<&Conversation>| {
            let next = before.cloned().map(|mut next| {
                for call in &calls {
                    next.made(config, &call.escalation, &call.moment.message);
                }
                next
            });
            (next, ())
        };
        Ok(store.change(place, made).await?)
    }

    /// Works off queues side by side until then: those with new tasks, or all of them.
    pub(crate) async fn work_off(&self, work: &Work<'_>, all: bool, until: Deadline) {
        let turn = &Turn { shift: work.shift, until, all };
        let each = self.courier.queues().filter_map(|queue| {
            let fresh = work.fresh.of(queue);
            (all || !fresh.is_empty()).then_some((queue, fresh))
        });
        let each = each.map(|(queue, fresh)| async move {
            // What is in a queue is found again; a batch of the stream is not held up by it.
            if let Err(error) = self.courier.work_off(&self.teller, queue, fresh, turn).await {
                tracing::error!(queue = queue, "{}", chain(&error));
            }
        });
        futures::future::join_all(each).await;
    }
}

/// A message of the ledger, for people.
fn what_was_told(row: &Row) -> Told {
    Told {
        key: row.key.to_string(),
        at: row.fate_at.or(row.accepted_at).unwrap_or(row.updated_at),
        state: row.fate.word().unwrap_or_else(|| row.state.name()).to_owned(),
    }
}
