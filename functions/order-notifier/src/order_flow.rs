//! The flow of one delivery: parse it, complete it, plan the message, dispatch it, and record the
//! outcome. A delivery whose order cannot be looked up now waits.

use jiff::Timestamp;
use tellonce_core::{
    client_config::{ClientConfig, Milestone, StoreConfig, StoreKind},
    dispatch::{DispatchError, DispatchResult, Invocation},
    fault::{ClassifyFault, Fault},
    inbox::{DeliveryOutcome, InboxItem},
    ledger::{IdempotencyKey, LedgerError},
    lookup::LookupTrouble,
    secret::{Secret, SecretError},
    telemetry::{self, Metric},
    waiting_lookup::{LookupAttempt, UnansweredLookup, WaitingLookupError},
};

use crate::{
    OrderNotifier,
    known_order::KnownOrder,
    lookup::{self, OrderLookupError},
    order_event::{OrderEvent, ParsedOrder, PartialOrderEvent},
    order_outcome::{OrderOutcome, OrderSkipReason},
    order_parser::{self, parse_order_event},
    plan::{PlannedOrderMessage, build_suppressed_message, plan_order_message},
};

/// Why a delivery could not be processed now.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The dispatch failed.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store's token could not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The lookup failed.
    #[error("could not look up the order in the store")]
    Lookup(#[from] OrderLookupError),
    /// A waiting lookup could not be recorded.
    #[error(transparent)]
    WaitingLookup(#[from] WaitingLookupError),
}

impl ClassifyFault for OrderError {
    fn fault(&self) -> Fault {
        match self {
            Self::Dispatch(error) => error.fault(),
            Self::Ledger(error) => error.fault(),
            Self::Secret(error) => error.fault(),
            Self::Lookup(error) => error.fault(),
            Self::WaitingLookup(error) => error.fault(),
        }
    }
}

impl OrderError {
    /// The trouble of a lookup, if it may pass. `None` if the failure is final, or if tellonce's
    /// own tables or secrets failed: then Lambda repeats the delivery.
    fn lookup_trouble(&self) -> Option<LookupTrouble> {
        match self {
            Self::Lookup(error) => error.trouble(),
            Self::Secret(error) => LookupTrouble::of_secret(error),
            Self::Dispatch(_) | Self::Ledger(_) | Self::WaitingLookup(_) => None,
        }
    }
}

/// An event after its lookup.
enum CompletedOrder {
    Parsed(ParsedOrder),
    Unanswered(UnansweredLookup),
}

impl OrderNotifier {
    /// Processes one delivery and returns its outcome, with the order that it is about. `None` if
    /// the ledger's row explains it. After an error the delivery is retried, unless the error is
    /// permanent.
    pub async fn process_delivery(
        &self,
        invocation: &Invocation,
        delivery: &InboxItem,
    ) -> Result<Option<DeliveryOutcome>, OrderError> {
        let outcome = self.process_order(invocation, delivery).await?;
        let store = self.dispatcher.config.stores.get(&delivery.sender);
        let find_subject = || order_parser::find_subject(store?, delivery.topic.as_deref(), &delivery.body);
        Ok(outcome.map(|outcome| DeliveryOutcome::from(outcome).about(find_subject())))
    }

    async fn process_order(
        &self,
        invocation: &Invocation,
        delivery: &InboxItem,
    ) -> Result<Option<OrderOutcome>, OrderError> {
        let now = self.dispatcher.clock.now();
        let config = &self.dispatcher.config;
        let Some(store) = config.stores.get(&delivery.sender) else {
            self.lookups.settle(delivery).await?;
            return Ok(Some(OrderOutcome::StoreRemoved));
        };
        let first_parse = parse_order_event(
            store,
            config,
            delivery.topic.as_deref(),
            &delivery.headers,
            &delivery.body,
            delivery.received_at,
        );
        let completed = match first_parse {
            ParsedOrder::NeedsLookup(partial) => {
                match self.complete_event(invocation, delivery, store, &partial, now).await {
                    Ok(CompletedOrder::Parsed(parsed)) => Ok(parsed),
                    Ok(CompletedOrder::Unanswered(lookup)) => return Ok(Some(OrderOutcome::Unanswered(lookup))),
                    Err(error) if error.fault() != Fault::Permanent => return Err(error),
                    Err(error) => Err(error),
                }
            }
            ParsedOrder::Event(mut event) if event.needs_known_language() => {
                let (order, parcel) = (&event.order_id, event.parcel.as_deref());
                let known = self.find_known_order(store, order, event.milestone, parcel).await?;
                known.fill_missing(&mut event);
                Ok(known.judge_event(event))
            }
            complete => Ok(complete),
        };
        self.lookups.settle(delivery).await?;
        match completed? {
            ParsedOrder::Event(event) => self.dispatch_event(invocation, delivery, store, &event, now).await,
            ParsedOrder::Suppressed(event, reason) => {
                let outcome = OrderOutcome::Skipped(reason);
                let message = build_suppressed_message(store, &event, outcome.clone(), &delivery.id, now);
                self.dispatcher.dispatch(invocation, message).await?;
                Ok(Some(outcome))
            }
            // A lookup either completes an event or skips it.
            ParsedOrder::NeedsLookup(_) => Ok(Some(OrderOutcome::Skipped(OrderSkipReason::OrderNotFound))),
            ParsedOrder::Skipped(reason) => {
                if reason.needs_attention() {
                    tracing::warn!(delivery.id = delivery.id, "skipped delivery {}: {reason}", delivery.id);
                    telemetry::count_metric(&config.client, Metric::DeliveriesQuarantined, now);
                }
                Ok(Some(OrderOutcome::Skipped(reason)))
            }
        }
    }

    async fn dispatch_event(
        &self,
        invocation: &Invocation,
        delivery: &InboxItem,
        store: &StoreConfig,
        event: &OrderEvent,
        now: Timestamp,
    ) -> Result<Option<OrderOutcome>, OrderError> {
        let PlannedOrderMessage { message, not_sent } =
            plan_order_message(&self.dispatcher.config, &delivery.sender, store, event, &delivery.id, now);
        let result = self.dispatcher.dispatch(invocation, message).await?;
        Ok(not_sent.or(match result {
            DispatchResult::AlreadyKnown(key, state) => Some(OrderOutcome::AlreadyKnown(key, state)),
            DispatchResult::PayloadConflict(key, state) => Some(OrderOutcome::PayloadConflict(key, state)),
            DispatchResult::Accepted(_)
            | DispatchResult::Waiting(..)
            | DispatchResult::LineBlocked(..)
            | DispatchResult::Unanswered(..)
            | DispatchResult::Ended(..)
            | DispatchResult::RecordedOnly(_) => None,
        }))
    }

    async fn find_known_order(
        &self,
        store: &StoreConfig,
        order_id: &str,
        milestone: Milestone,
        parcel: Option<&str>,
    ) -> Result<KnownOrder, LedgerError> {
        let key = IdempotencyKey::for_order(store.id_scope(), order_id, milestone);
        let history = self.dispatcher.ledger.read_history(key.subject()).await?;
        Ok(KnownOrder::from_history(&history, parcel))
    }

    /// Completes an event from the ledger if it knows the order, else from the store. Lets the
    /// delivery wait if the store cannot be asked now.
    async fn complete_event(
        &self,
        invocation: &Invocation,
        delivery: &InboxItem,
        store: &StoreConfig,
        partial: &PartialOrderEvent,
        now: Timestamp,
    ) -> Result<CompletedOrder, OrderError> {
        let known = match partial.order.id() {
            Some(order_id) => {
                self.find_known_order(store, order_id, partial.milestone, partial.parcel.as_deref()).await?
            }
            None => KnownOrder::default(),
        };
        if let Some(mut event) = lookup::complete_from_ledger(partial, &known.contact, known.order_number.as_deref()) {
            known.fill_missing(&mut event);
            return Ok(CompletedOrder::Parsed(known.judge_event(Box::new(event))));
        }
        let StoreKind::Shopify(shop) = &store.kind else {
            return Ok(CompletedOrder::Parsed(ParsedOrder::Skipped(OrderSkipReason::LookupNotConfigured)));
        };
        let (sender, trouble) = (&delivery.sender, OrderError::lookup_trouble);
        let secret_name = self.dispatcher.config.store_api_secret_name(sender);
        let token = async { Ok(self.dispatcher.secrets.get_current(&secret_name, now).await?) };
        let lookup =
            async |token| self.look_up_order(sender, &shop.shop_domain, store, partial, (&secret_name, &token)).await;
        let attempt = self.lookups.attempt(sender, invocation.deadline, now, trouble, token, lookup);
        let failure = match attempt.await? {
            LookupAttempt::Answered(ParsedOrder::Event(mut event)) => {
                if event.needs_known_language() {
                    known.fill_missing(&mut event);
                }
                return Ok(CompletedOrder::Parsed(known.judge_event(event)));
            }
            LookupAttempt::Answered(other) => return Ok(CompletedOrder::Parsed(other)),
            LookupAttempt::Failed(failure) => failure,
        };
        let useful_until = lookup_useful_until(&self.dispatcher.config, partial, delivery.received_at);
        // The pause counts from the failure, and the lookup took time.
        let now = self.dispatcher.clock.now();
        let unanswered = self.lookups.wait(&self.dispatcher.config, delivery, failure, useful_until, now).await?;
        Ok(CompletedOrder::Unanswered(unanswered))
    }

    /// Looks up an order in the store.
    async fn look_up_order(
        &self,
        store_name: &str,
        shop_domain: &str,
        store: &StoreConfig,
        partial: &PartialOrderEvent,
        (secret_name, token): (&str, &Secret),
    ) -> Result<ParsedOrder, OrderError> {
        let config = &self.dispatcher.config;
        let base_url = self.shopify_base_urls.for_name(store_name).map(str::to_owned);
        let base_url = base_url.unwrap_or_else(|| format!("https://{shop_domain}"));
        let query = lookup::build_order_query(partial);
        // A missing scope shows in the response, so a newer token may have it.
        let send_query = async |token: &Secret| {
            let response = lookup::send_order_query(&self.http, &base_url, token.expose(), &query).await?;
            Ok(lookup::parse_order_response(partial, &response, store, config)?)
        };
        let is_refused = |error: &OrderError| error.lookup_trouble() == Some(LookupTrouble::Credential);
        let now = self.dispatcher.clock.now();
        self.dispatcher.secrets.retry_with_newer(secret_name, token, now, is_refused, send_query).await
    }
}

/// Until when the lookup of an order is useful: as long as its message could be. If no message is
/// configured, it is useful as long as the inbox keeps the delivery.
fn lookup_useful_until(config: &ClientConfig, partial: &PartialOrderEvent, received_at: Timestamp) -> Timestamp {
    let useful_for = |milestone| config.messages.get(milestone).map(|rule| rule.useful_for.0);
    // The store may say that it is another milestone.
    let longest = || config.messages.values().map(|rule| rule.useful_for.0).max();
    let useful_for = useful_for(&partial.milestone).filter(|_| partial.is_certain).or_else(longest);
    useful_for.map_or(Timestamp::MAX, |useful_for| received_at + useful_for)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        order_event::ParsedOrder,
        samples::{parse_as, sample_config, sample_json},
    };

    #[test]
    fn a_lookup_is_useful_as_long_as_the_message_that_it_completes_could_be() {
        let body = sample_json("shopify", "fulfillment_events_create.out_for_delivery").to_string();
        let ParsedOrder::NeedsLookup(mut partial) = parse_as("shop", Some("fulfillment_events/create"), body) else {
            panic!()
        };
        let received_at: Timestamp = "2026-11-29T10:00:00Z".parse().unwrap();
        let hours = |config: &ClientConfig, partial: &PartialOrderEvent| {
            lookup_useful_until(config, partial, received_at).duration_since(received_at).as_hours()
        };
        let mut config = sample_config();
        config.messages = [(Milestone::Ready, "10h"), (Milestone::Paid, "20h")]
            .map(|(milestone, useful_for)| {
                let rule = serde_json::json!({"useful_for": useful_for, "text": {}});
                (milestone, serde_json::from_value(rule).unwrap())
            })
            .into();
        partial.milestone = Milestone::Ready;
        partial.is_certain = true;
        assert_eq!(hours(&config, &partial), 10);
        partial.is_certain = false;
        assert_eq!(hours(&config, &partial), 20, "it may be another milestone");
        config.messages.clear();
        assert_eq!(lookup_useful_until(&config, &partial, received_at), Timestamp::MAX);
    }
}
