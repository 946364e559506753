//! The flow of one delivery: read it, complete it, plan it, tell it, and record what became of it.

use std::cmp::Reverse;

use jiff::Timestamp;
use tellonce_core::{
    client_config::{Milestone, StoreConfig, StoreKind},
    dispatch::{DispatchError, DispatchResult, Dispatcher, Invocation},
    fault::{ClassifyFault, Fault},
    inbox::{Inbox, InboxItem},
    ledger::{IdempotencyKey, LedgerError, LedgerRow},
    secret::{Secret, SecretError},
    telemetry::{self, Metric},
};

use crate::{
    lookup::{self, OrderLookupError},
    order_event::{
        CustomerContact, EventValues, OrderEvent, ParsedOrder, PartialOrderEvent, SkipReason, parse_order_event,
    },
    plan::{build_suppressed_message, plan_order_message},
};

/// What order-notifier needs.
pub struct OrderNotifier {
    /// Tells messages.
    pub dispatcher: Dispatcher,
    /// Where deliveries come from and outcomes go.
    pub inbox: Inbox,
    /// For look-ups at stores.
    pub http: reqwest::Client,
    /// Instead of `https://{shop_domain}`, for tests.
    pub shopify_base_url: Option<String>,
}

/// A delivery could not be processed now.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Telling failed.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store's token is not to be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store did not answer a look-up.
    #[error("the store could not be asked about the order")]
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
    /// Takes one delivery through and gives what to record beside it: nothing, if the ledger's row says it all. An error
    /// means that it shall come again, unless it is permanent.
    pub async fn process_delivery(
        &self,
        invocation: &Invocation,
        entry: &InboxItem,
    ) -> Result<Option<String>, OrderError> {
        let now = self.dispatcher.clock.now();
        let config = &self.dispatcher.config;
        let Some(store) = config.stores.get(&entry.sender) else {
            return Ok(Some("store-removed: this store is no longer in the configuration".to_owned()));
        };
        let first_parse =
            parse_order_event(store, config, entry.topic.as_deref(), &entry.headers, &entry.body, entry.received_at);
        let parsed = match first_parse {
            ParsedOrder::NeedsLookup(partial) => self.complete_event(&entry.sender, store, &partial, now).await?,
            complete => complete,
        };
        match parsed {
            ParsedOrder::Event(mut event) => {
                // A parcel's delivery names no language. Whoever was written to in Hebrew is not written to in English.
                if event.parcel.is_some() && event.contact.locale.is_none() {
                    let history = self.read_history(store, &event.order_id, event.milestone).await?;
                    KnownOrder::from_history(&history, event.parcel.as_deref()).fill_missing(&mut event);
                }
                self.dispatch_event(invocation, entry, store, &event, now).await
            }
            ParsedOrder::Suppressed(event, reason) => {
                self.dispatcher
                    .dispatch(
                        invocation,
                        build_suppressed_message(store, &event, format_skip_reason(&reason), &entry.id, now),
                    )
                    .await?;
                Ok(Some(format_skip_reason(&reason)))
            }
            // A look-up either completes an event or ends it.
            ParsedOrder::NeedsLookup(_) => Ok(Some(format_skip_reason(&SkipReason::OrderNotFound))),
            ParsedOrder::Skipped(reason) => {
                if reason.needs_attention() {
                    tracing::warn!(delivery.id = entry.id, "{reason}");
                    telemetry::count_metric(&config.client, Metric::DeliveriesQuarantined, now);
                }
                Ok(Some(format_skip_reason(&reason)))
            }
        }
    }

    async fn dispatch_event(
        &self,
        invocation: &Invocation,
        entry: &InboxItem,
        store: &StoreConfig,
        event: &OrderEvent,
        now: Timestamp,
    ) -> Result<Option<String>, OrderError> {
        let message = plan_order_message(&self.dispatcher.config, &entry.sender, store, event, &entry.id, now);
        let skip_outcome = message.content.unsent_reason().map(str::to_owned);
        let result = self.dispatcher.dispatch(invocation, message).await?;
        Ok(skip_outcome.or(match result {
            DispatchResult::AlreadyKnown(key, state) => {
                Some(format!("already-known: {key} is {} in the ledger", state.name()))
            }
            DispatchResult::PayloadConflict(key, state) => {
                Some(format!("already-known: {key} is {} in the ledger, with another text", state.name()))
            }
            DispatchResult::Accepted(_)
            | DispatchResult::Waiting(..)
            | DispatchResult::LineBlocked(..)
            | DispatchResult::Ended(..)
            | DispatchResult::RecordedOnly(_) => None,
        }))
    }

    async fn read_history(
        &self,
        store: &StoreConfig,
        order_id: &str,
        milestone: Milestone,
    ) -> Result<Vec<LedgerRow>, LedgerError> {
        self.dispatcher
            .ledger
            .read_history(IdempotencyKey::for_order(store.id_scope(), order_id, milestone).subject())
            .await
    }

    /// Finds out what a delivery does not say: from the ledger if it knows the order, else from the store.
    async fn complete_event(
        &self,
        store_name: &str,
        store: &StoreConfig,
        partial: &PartialOrderEvent,
        now: Timestamp,
    ) -> Result<ParsedOrder, OrderError> {
        let config = &self.dispatcher.config;
        if let Some(order_id) = partial.order.id() {
            let known = KnownOrder::from_history(
                &self.read_history(store, order_id, partial.milestone).await?,
                partial.parcel.as_deref(),
            );
            if let Some(mut event) =
                lookup::complete_from_ledger(partial, &known.contact, known.order_number.as_deref())
            {
                known.fill_missing(&mut event);
                return Ok(ParsedOrder::Event(Box::new(event)));
            }
        }
        let not_configured = ParsedOrder::Skipped(SkipReason::LookupNotConfigured);
        let StoreKind::Shopify { shop_domain } = &store.kind else { return Ok(not_configured) };
        let secret_name = config.store_api_secret_name(store_name);
        let token = match self.dispatcher.secrets.get_current(&secret_name, now).await {
            Ok(token) => token,
            Err(SecretError::Missing { .. } | SecretError::Forbidden { .. } | SecretError::Empty { .. }) => {
                return Ok(not_configured);
            }
            Err(error) => return Err(error.into()),
        };
        let base_url = self.shopify_base_url.clone().unwrap_or_else(|| format!("https://{shop_domain}"));
        let query = lookup::build_order_query(partial);
        let send_query = async |token: &Secret| {
            Ok(lookup::send_order_query(&self.http, &base_url, token.expose(), lookup::API_VERSION, &query).await?)
        };
        let is_refused =
            |error: &OrderError| matches!(error, OrderError::Lookup(OrderLookupError::TokenRefused { .. }));
        let response =
            self.dispatcher.secrets.retry_with_newer(&secret_name, &token, now, is_refused, send_query).await?;
        Ok(lookup::parse_order_response(partial, &response, store, config)?)
    }
}

/// What the ledger knows of an order.
#[derive(Debug, Default)]
pub struct KnownOrder {
    /// Its customer.
    pub contact: CustomerContact,
    /// The number that the customer knows.
    pub order_number: Option<String>,
    values: EventValues,
}

impl KnownOrder {
    /// From its story, the newest fact first; `parcel` is the parcel in question.
    pub fn from_history(history: &[LedgerRow], parcel: Option<&str>) -> Self {
        let mut rows: Vec<&LedgerRow> = history.iter().collect();
        rows.sort_by_key(|row| Reverse(row.occurred_at));
        let of_parcel = rows.iter().filter(|row| row.precedence.parcel.as_deref() == parcel);
        Self {
            contact: CustomerContact {
                phone: rows.iter().find_map(|row| row.to.clone()),
                name: rows.iter().find_map(|row| row.context.name.clone()),
                locale: rows.iter().find_map(|row| row.context.locale.clone()),
                ..CustomerContact::default()
            },
            order_number: rows.iter().find_map(|row| row.context.order_number.clone()),
            values: of_parcel.flat_map(|row| row.context.values.clone()).collect(),
        }
    }

    /// Gives an event what it does not say itself.
    pub fn fill_missing(&self, event: &mut OrderEvent) {
        event.fill_missing_from(&self.contact, self.order_number.as_deref());
        for (name, value) in &self.values {
            event.values.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
}

fn format_skip_reason(reason: &SkipReason) -> String {
    format!("{}: {reason}", reason.code())
}
