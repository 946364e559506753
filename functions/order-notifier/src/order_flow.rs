//! The flow of one delivery: parse it, complete it, plan the message, dispatch it, and record the
//! outcome.

use jiff::Timestamp;
use tellonce_core::{
    client_config::{Milestone, StoreConfig, StoreKind},
    dispatch::{DispatchError, DispatchResult, Invocation},
    fault::{ClassifyFault, Fault},
    inbox::InboxItem,
    ledger::{IdempotencyKey, LedgerError},
    secret::{Secret, SecretError},
    telemetry::{self, Metric},
};

use crate::{
    OrderNotifier,
    known_order::KnownOrder,
    lookup::{self, OrderLookupError},
    order_event::{OrderEvent, ParsedOrder, PartialOrderEvent},
    order_outcome::{OrderOutcome, OrderSkipReason},
    order_parser::parse_order_event,
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
}

impl ClassifyFault for OrderError {
    fn fault(&self) -> Fault {
        match self {
            Self::Dispatch(error) => error.fault(),
            Self::Ledger(error) => error.fault(),
            Self::Secret(error) => error.fault(),
            Self::Lookup(error) => error.fault(),
        }
    }
}

impl OrderNotifier {
    /// Processes one delivery and returns its outcome, or `None` if the ledger's row explains it.
    /// After an error the delivery is retried, unless the error is permanent.
    pub async fn process_delivery(
        &self,
        invocation: &Invocation,
        delivery: &InboxItem,
    ) -> Result<Option<OrderOutcome>, OrderError> {
        let now = self.dispatcher.clock.now();
        let config = &self.dispatcher.config;
        let Some(store) = config.stores.get(&delivery.sender) else {
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
        let parsed = match first_parse {
            ParsedOrder::NeedsLookup(partial) => self.complete_event(&delivery.sender, store, &partial, now).await?,
            ParsedOrder::Event(mut event) if event.needs_known_language() => {
                let (order, parcel) = (&event.order_id, event.parcel.as_deref());
                let known = self.find_known_order(store, order, event.milestone, parcel).await?;
                known.fill_missing(&mut event);
                known.judge_event(event)
            }
            complete => complete,
        };
        match parsed {
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

    /// Completes an event from the ledger if it knows the order, else from the store.
    async fn complete_event(
        &self,
        store_name: &str,
        store: &StoreConfig,
        partial: &PartialOrderEvent,
        now: Timestamp,
    ) -> Result<ParsedOrder, OrderError> {
        let config = &self.dispatcher.config;
        let known = match partial.order.id() {
            Some(order_id) => {
                self.find_known_order(store, order_id, partial.milestone, partial.parcel.as_deref()).await?
            }
            None => KnownOrder::default(),
        };
        if let Some(mut event) = lookup::complete_from_ledger(partial, &known.contact, known.order_number.as_deref()) {
            known.fill_missing(&mut event);
            return Ok(known.judge_event(Box::new(event)));
        }
        let not_configured = ParsedOrder::Skipped(OrderSkipReason::LookupNotConfigured);
        let StoreKind::Shopify(shop) = &store.kind else { return Ok(not_configured) };
        let secret_name = config.store_api_secret_name(store_name);
        let token = match self.dispatcher.secrets.get_current(&secret_name, now).await {
            Ok(token) => token,
            Err(SecretError::Missing { .. } | SecretError::Forbidden { .. } | SecretError::Empty { .. }) => {
                return Ok(not_configured);
            }
            Err(error) => return Err(error.into()),
        };
        let base_url = self.shopify_base_urls.for_name(store_name).map(str::to_owned);
        let base_url = base_url.unwrap_or_else(|| format!("https://{}", shop.shop_domain));
        let query = lookup::build_order_query(partial);
        let send_query =
            async |token: &Secret| Ok(lookup::send_order_query(&self.http, &base_url, token.expose(), &query).await?);
        let is_refused =
            |error: &OrderError| matches!(error, OrderError::Lookup(OrderLookupError::TokenRefused { .. }));
        let response =
            self.dispatcher.secrets.retry_with_newer(&secret_name, &token, now, is_refused, send_query).await?;
        Ok(match lookup::parse_order_response(partial, &response, store, config)? {
            ParsedOrder::Event(mut event) => {
                if event.needs_known_language() {
                    known.fill_missing(&mut event);
                }
                known.judge_event(event)
            }
            other => other,
        })
    }
}
