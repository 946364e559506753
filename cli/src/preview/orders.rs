//! Orders: from a store's delivery to the customer's message, through [`super::in_memory_ledger`].

use jiff::Timestamp;
use order_notifier::{
    KnownOrder, OrderOutcome, OrderSkipReason, PlannedOrderMessage, build_suppressed_message,
    lookup::{complete_from_ledger, parse_order_response},
    order_event::{OrderEvent, OrderReference, ParsedOrder, PartialOrderEvent},
    order_parser::parse_order_event,
    plan_order_message,
};
use serde_json::Value;
use tellonce_core::{
    client_config::{Milestone, StoreConfig},
    delivery::Verified,
    dispatch::DispatchResult,
    fault::error_chain,
    ledger::{IdempotencyKey, OutboundMessage},
};

use super::{
    cases::RecordedDelivery,
    in_memory_ledger::InMemoryLedger,
    inbound_route::{InboundRoute, stored_headers},
    report::{DeliveryPreview, EventPreview, OrderPreview, describe_outcome},
    simulator::DeliverySimulator,
};

pub(super) struct OrderSimulator<'a> {
    inbound: InboundRoute<'a>,
    store: &'a StoreConfig,
    ledger: InMemoryLedger<'a>,
}

impl<'a> OrderSimulator<'a> {
    pub(super) fn new(inbound: InboundRoute<'a>, store: &'a StoreConfig) -> Self {
        let ledger = InMemoryLedger::new(inbound.config);
        Self { inbound, store, ledger }
    }
}

impl<'a> DeliverySimulator<'a> for OrderSimulator<'a> {
    fn simulate_delivery(&mut self, case: &'a RecordedDelivery, now: Timestamp) -> DeliveryPreview {
        self.ledger.advance_to(now);
        match self.inbound.accept_delivery(case, now) {
            Ok((verified, id, shown)) => self.process_delivery(&verified, &id, now, shown),
            Err(shown) => *shown,
        }
    }

    fn finish(mut self, shown: &mut [DeliveryPreview]) {
        self.ledger.advance_to(Timestamp::MAX);
        for delivery in shown {
            self.add_final_result(delivery);
        }
    }
}

impl OrderSimulator<'_> {
    fn process_delivery(
        &mut self,
        delivery: &Verified<'_>,
        id: &str,
        now: Timestamp,
        shown: DeliveryPreview,
    ) -> DeliveryPreview {
        let headers = stored_headers(delivery);
        let parsed =
            parse_order_event(self.store, self.inbound.config, delivery.topic.as_deref(), &headers, delivery.body, now);
        let (parsed, partial) = match parsed {
            ParsedOrder::NeedsLookup(partial) => (self.complete_event(&partial), Some(partial)),
            ParsedOrder::Event(mut event) if event.needs_known_language() => {
                let known = self.find_known_order(&event.order_id, event.milestone, event.parcel.as_deref());
                known.fill_missing(&mut event);
                (Ok(known.judge_event(event)), None)
            }
            enough => (Ok(enough), None),
        };
        let parsed = match parsed {
            Ok(reading) => reading,
            Err(skipped) => {
                let event = partial.map(|partial| preview_partial_event(&partial));
                return DeliveryPreview { event, skip_reason: Some(skipped), ..shown };
            }
        };
        match parsed {
            ParsedOrder::Event(event) => {
                let PlannedOrderMessage { message, .. } =
                    plan_order_message(self.inbound.config, self.inbound.sender_name, self.store, &event, id, now);
                self.dispatch_message(
                    &message,
                    now,
                    DeliveryPreview { event: Some(preview_order_event(&event)), ..shown },
                )
            }
            ParsedOrder::Suppressed(event, because) => {
                let message = build_suppressed_message(self.store, &event, OrderOutcome::Skipped(because), id, now);
                self.dispatch_message(
                    &message,
                    now,
                    DeliveryPreview { event: Some(preview_order_event(&event)), ..shown },
                )
            }
            ParsedOrder::Skipped(because) => {
                let event = partial.map(|partial| preview_partial_event(&partial));
                DeliveryPreview { event, skip_reason: Some(explain_skip(because)), ..shown }
            }
            // A lookup completes an event or ends it, so this is not reached.
            ParsedOrder::NeedsLookup(partial) => {
                let because = Some(describe_outcome(OrderOutcome::Skipped(OrderSkipReason::OrderNotFound)));
                DeliveryPreview { event: Some(preview_partial_event(&partial)), skip_reason: because, ..shown }
            }
        }
    }

    fn dispatch_message(
        &mut self,
        message: &OutboundMessage,
        now: Timestamp,
        shown: DeliveryPreview,
    ) -> DeliveryPreview {
        let outcome = match self.ledger.dispatch(message, now) {
            DispatchResult::AlreadyKnown(key, state) => OrderOutcome::AlreadyKnown(key, state),
            DispatchResult::PayloadConflict(key, state) => OrderOutcome::PayloadConflict(key, state),
            DispatchResult::Accepted(key)
            | DispatchResult::RecordedOnly(key)
            | DispatchResult::Waiting(key, _)
            | DispatchResult::LineBlocked(key, _)
            | DispatchResult::Unanswered(key, _)
            | DispatchResult::Ended(key, _) => return DeliveryPreview { key: Some(key), ..shown },
        };
        let unsent = message.content.unsent_reason().map(str::to_owned);
        let because = unsent.unwrap_or_else(|| describe_outcome(outcome));
        DeliveryPreview { skip_reason: Some(because), ..shown }
    }

    fn find_known_order(&self, order_id: &str, milestone: Milestone, parcel: Option<&str>) -> KnownOrder {
        let key = IdempotencyKey::for_order(self.store.id_scope(), order_id, milestone);
        KnownOrder::from_history(&self.ledger.history(key.subject()), parcel)
    }

    /// Completes an event from the ledger in memory, else from a `--lookup` file.
    ///
    /// # Errors
    ///
    /// Returns the reason if neither has the missing values.
    fn complete_event(&self, partial: &PartialOrderEvent) -> Result<ParsedOrder, String> {
        let known = partial.order.id().map_or_else(KnownOrder::default, |order_id| {
            self.find_known_order(order_id, partial.milestone, partial.parcel.as_deref())
        });
        if let Some(mut event) = complete_from_ledger(partial, &known.contact, known.order_number.as_deref()) {
            known.fill_missing(&mut event);
            return Ok(known.judge_event(Box::new(event)));
        }
        let Some((answer, _)) = self.inbound.lookups.iter().find(|(_, answer)| is_response_for(answer, &partial.order))
        else {
            return Err(format!(
                "lookup-skipped: the delivery is incomplete, {} is not known yet, and a preview calls no API; give the \
                 store's response with --lookup FILE",
                match &partial.order {
                    OrderReference::Id(id) => format!("order {id}"),
                    OrderReference::FulfillmentOrder(gid) => gid.clone(),
                }
            ));
        };
        let parsed = parse_order_response(partial, answer, self.store, self.inbound.config)
            .map_err(|error| format!("lookup-failed: {}", error_chain(&error)))?;
        Ok(match parsed {
            ParsedOrder::Event(mut event) => {
                if event.needs_known_language() {
                    known.fill_missing(&mut event);
                }
                known.judge_event(event)
            }
            other => other,
        })
    }

    fn add_final_result(&self, shown: &mut DeliveryPreview) {
        match shown.key.as_ref().and_then(|key| self.ledger.final_result(key)) {
            Some(Ok(message)) => shown.messages.push(message),
            Some(Err(because)) => shown.skip_reason = Some(because),
            None => {}
        }
    }
}

/// Whether a response is about this order. A response without an id matches any order: the deployed
/// query does not ask for a fulfillment order's id.
fn is_response_for(answer: &Value, order: &OrderReference) -> bool {
    let at = |pointers: [&str; 2]| {
        pointers.iter().find_map(|pointer| answer.pointer(pointer)).map(|id| match id {
            Value::String(id) => id.clone(),
            other => other.to_string(),
        })
    };
    match order {
        OrderReference::Id(id) => {
            let found_id = at(["/data/order/legacyResourceId", "/data/fulfillmentOrder/order/legacyResourceId"]);
            found_id.is_some_and(|found| found == *id)
        }
        OrderReference::FulfillmentOrder(gid) => {
            let found_id = at(["/data/fulfillmentOrder/id", "/data/node/id"]);
            answer.pointer("/data/fulfillmentOrder").is_some() && found_id.is_none_or(|found| found == *gid)
        }
    }
}

/// Why a delivery has no message, with a hint if the age of the recording is the cause.
fn explain_skip(because: OrderSkipReason) -> String {
    let hint = match &because {
        OrderSkipReason::BodyTooOld(at) => format!("; it passes with --now {at}"),
        _ => String::new(),
    };
    describe_outcome(OrderOutcome::Skipped(because)) + &hint
}

fn preview_order_event(event: &OrderEvent) -> EventPreview {
    EventPreview::Order(OrderPreview {
        kind: event.event_name(),
        id: Some(event.order_id.clone()),
        occurred_at: event.occurred_at,
        number: event.order_number.clone(),
        milestone: event.milestone.name(),
        phone: event.contact.phone.as_ref().map(ToString::to_string),
    })
}

fn preview_partial_event(event: &PartialOrderEvent) -> EventPreview {
    EventPreview::Order(OrderPreview {
        kind: format!("order.{}", event.milestone.name()),
        id: event.order.id().map(str::to_owned),
        occurred_at: event.occurred_at,
        number: event.order_number.clone(),
        milestone: event.milestone.name(),
        phone: event.contact.phone.as_ref().map(ToString::to_string),
    })
}
