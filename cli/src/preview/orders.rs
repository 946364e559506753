//! Orders: from a store's delivery to what the customer is told, through the ledger in memory of [`super::scratch`].

use jiff::Timestamp;
use order_notifier::{
    Known,
    lookup::{complete_from_ledger, read_order_answer},
    note,
    order_event::{NothingBecause, OrderEvent, OrderRef, PartialEvent, Reading, read},
    plan,
};
use serde_json::Value;
use shared::{
    client_config::{Milestone, Store},
    delivery::Verified,
    fault::chain,
    ledger::{Key, News},
};

use super::{
    Door, EventShown, OrderShown, Shown,
    cases::Case,
    scratch::{Met, Scratch},
};

/// Everything that one preview needs.
pub(super) struct Desk<'a> {
    pub(super) door: Door<'a>,
    pub(super) store: &'a Store,
    scratch: Scratch,
}

impl<'a> Desk<'a> {
    /// For a store, through its door.
    pub(super) fn new(door: Door<'a>, store: &'a Store) -> Self {
        Self { door, store, scratch: Scratch::default() }
    }

    /// One delivery: verify it, file it, read it, tell it.
    pub(super) fn take(&mut self, case: &'a Case, now: Timestamp) -> Shown {
        self.scratch.pass(now);
        match self.door.open(case, now) {
            Ok((verified, id, shown)) => self.process(&verified, &id, now, shown),
            Err(shown) => *shown,
        }
    }

    /// Lets everything that waits be told, and says of each delivery what became of its message.
    pub(super) fn close(mut self, shown: &mut [Shown]) {
        self.scratch.pass(Timestamp::MAX);
        for delivery in shown {
            self.fate(delivery);
        }
    }

    fn process(&mut self, delivery: &Verified<'_>, id: &str, now: Timestamp, shown: Shown) -> Shown {
        let headers = delivery.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let reading = read(self.store, self.door.config, delivery.topic.as_deref(), &headers, delivery.body, now);
        let (reading, partial) = match reading {
            Reading::NeedsOrder(partial) => (self.complete(&partial), Some(partial)),
            enough => (Ok(enough), None),
        };
        let reading = match reading {
            Ok(reading) => reading,
            Err(skipped) => {
                let event = partial.map(|partial| part(&partial));
                return Shown { event, nothing_because: Some(skipped), ..shown };
            }
        };
        match reading {
            Reading::Event(mut event) => {
                if event.thread.is_some() && event.contact.locale.is_none() {
                    self.known(&event.order_id, event.milestone, event.thread.as_deref()).fill(&mut event);
                }
                let news = plan(self.door.config, self.door.name, self.store, &event, id, now);
                self.tell(&news, now, Shown { event: Some(whole(&event)), ..shown })
            }
            Reading::Quiet(event, because) => {
                let news = note(self.store, &event, record(&because), id, now);
                self.tell(&news, now, Shown { event: Some(whole(&event)), ..shown })
            }
            Reading::Nothing(because) => {
                let event = partial.map(|partial| part(&partial));
                Shown { event, nothing_because: Some(record(&because)), ..shown }
            }
            // A look-up either completes an event or ends it.
            Reading::NeedsOrder(partial) => {
                let because = Some(record(&NothingBecause::OrderNotFound));
                Shown { event: Some(part(&partial)), nothing_because: because, ..shown }
            }
        }
    }

    fn tell(&mut self, news: &News, now: Timestamp, shown: Shown) -> Shown {
        let because = match self.scratch.tell(news, now) {
            Met::New(key) => return Shown { key: Some(key), ..shown },
            Met::Known(..) | Met::Differs(..) if news.words.silence().is_some() => {
                news.words.silence().unwrap_or_default().to_owned()
            }
            Met::Known(key, state) => format!("already-known: {key} is {} in the ledger", state.name()),
            Met::Differs(key, state) => {
                format!("already-known: {key} is {} in the ledger, with another text", state.name())
            }
        };
        Shown { nothing_because: Some(because), ..shown }
    }

    fn known(&self, order_id: &str, milestone: Milestone, thread: Option<&str>) -> Known {
        let key = Key::order(self.store.order_book(), order_id, milestone);
        Known::of(&self.scratch.story(key.subject()), thread)
    }

    /// Completes an event from the scratch ledger, else from the answers that were given; or says why not.
    fn complete(&self, partial: &PartialEvent) -> Result<Reading, String> {
        if let Some(order_id) = partial.order.id() {
            let known = self.known(order_id, partial.milestone, partial.thread.as_deref());
            if let Some(mut event) = complete_from_ledger(partial, &known.contact, known.order_number.as_deref()) {
                known.fill(&mut event);
                return Ok(Reading::Event(Box::new(event)));
            }
        }
        let Some((answer, _)) = self.door.lookups.iter().find(|(_, answer)| answers(answer, &partial.order)) else {
            return Err(format!(
                "look-up-skipped: the delivery does not say enough and {} is not known yet; a preview asks no store, so \
                 give its answer with --lookup FILE",
                match &partial.order {
                    OrderRef::Id(id) => format!("order {id}"),
                    OrderRef::FulfillmentOrder(gid) => gid.clone(),
                }
            ));
        };
        read_order_answer(partial, answer, self.store, self.door.config)
            .map_err(|error| format!("look-up-failed: {}", chain(&error)))
    }

    /// Says what became of a delivery's message when all is over.
    fn fate(&self, shown: &mut Shown) {
        match shown.key.as_ref().and_then(|key| self.scratch.fate(key)) {
            Some(Ok(message)) => shown.messages.push(message),
            Some(Err(because)) => shown.nothing_because = Some(because),
            None => {}
        }
    }
}

/// Whether an answer is about this order. One that names no id (ours does not ask for a fulfillment order's) fits any.
fn answers(answer: &Value, order: &OrderRef) -> bool {
    let at = |pointers: [&str; 2]| {
        pointers.iter().find_map(|pointer| answer.pointer(pointer)).map(|id| match id {
            Value::String(id) => id.clone(),
            other => other.to_string(),
        })
    };
    match order {
        OrderRef::Id(id) => {
            let told = at(["/data/order/legacyResourceId", "/data/fulfillmentOrder/order/legacyResourceId"]);
            told.is_some_and(|told| told == *id)
        }
        OrderRef::FulfillmentOrder(gid) => {
            let told = at(["/data/fulfillmentOrder/id", "/data/node/id"]);
            answer.pointer("/data/fulfillmentOrder").is_some() && told.is_none_or(|told| told == *gid)
        }
    }
}

fn whole(event: &OrderEvent) -> EventShown {
    EventShown::Order(OrderShown {
        kind: event.kind(),
        id: Some(event.order_id.clone()),
        occurred_at: event.occurred_at,
        number: event.order_number.clone(),
        milestone: event.milestone.name(),
        phone: event.contact.phone.as_ref().map(ToString::to_string),
    })
}

fn part(event: &PartialEvent) -> EventShown {
    EventShown::Order(OrderShown {
        kind: format!("order.{}", event.milestone.name()),
        id: event.order.id().map(str::to_owned),
        occurred_at: event.occurred_at,
        number: event.order_number.clone(),
        milestone: event.milestone.name(),
        phone: event.contact.phone.as_ref().map(ToString::to_string),
    })
}

fn record(because: &NothingBecause) -> String {
    format!("{}: {because}", because.code())
}
