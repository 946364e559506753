//! The flow of one delivery: read it, complete it, plan it, tell it, and record what became of it.

use std::cmp::Reverse;

use jiff::Timestamp;
use shared::{
    client_config::{Milestone, Store, StoreKind},
    fault::{Fault, Faulty},
    inbox::{Entry, Inbox},
    ledger::{Key, LedgerError, Row},
    observe::{self, Metric},
    secret::{Secret, SecretError},
    telling::{Shift, TellError, Teller, Told},
};

use crate::{
    lookup::{self, LookupError},
    order_event::{Contact, NothingBecause, OrderEvent, PartialEvent, Reading, Values, read},
    plan::{note, plan},
};

/// What order-notifier needs.
pub struct Notifier {
    /// Tells messages.
    pub teller: Teller,
    /// Where deliveries come from and outcomes go.
    pub inbox: Inbox,
    /// For look-ups at stores.
    pub http: reqwest::Client,
    /// Instead of `https://{shop_domain}`, for tests.
    pub shopify_base_url: Option<String>,
}

/// A delivery could not be processed now.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// Telling failed.
    #[error(transparent)]
    Tell(#[from] TellError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store's token is not to be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store did not answer a look-up.
    #[error("the store could not be asked about the order")]
    Lookup(#[from] LookupError),
}

impl Faulty for NotifyError {
    fn fault(&self) -> Fault {
        match self {
            Self::Tell(error) => error.fault(),
            Self::Ledger(error) => error.fault(),
            Self::Secret(error) => error.fault(),
            Self::Lookup(error) => error.fault(),
        }
    }
}

impl Notifier {
    /// Takes one delivery through and gives what to record beside it: nothing, if the ledger's row says it all. An error
    /// means that it shall come again, unless it is permanent.
    pub async fn notify(&self, shift: &Shift, entry: &Entry) -> Result<Option<String>, NotifyError> {
        let now = self.teller.clock.now();
        let config = &self.teller.config;
        let Some(store) = config.stores.get(&entry.sender) else {
            return Ok(Some("store-removed: this store is no longer in the configuration".to_owned()));
        };
        let read = read(store, config, entry.topic.as_deref(), &entry.headers, &entry.body, entry.received_at);
        let reading = match read {
            Reading::NeedsOrder(partial) => self.complete(&entry.sender, store, &partial, now).await?,
            enough => enough,
        };
        match reading {
            Reading::Event(mut event) => {
                // A parcel's delivery names no language. Whoever was written to in Hebrew is not written to in English.
                if event.thread.is_some() && event.contact.locale.is_none() {
                    let told = self.story(store, &event.order_id, event.milestone).await?;
                    Known::of(&told, event.thread.as_deref()).fill(&mut event);
                }
                self.tell(shift, entry, store, &event, now).await
            }
            Reading::Quiet(event, because) => {
                self.teller.tell(shift, note(store, &event, record(&because), &entry.id, now)).await?;
                Ok(Some(record(&because)))
            }
            // A look-up either completes an event or ends it.
            Reading::NeedsOrder(_) => Ok(Some(record(&NothingBecause::OrderNotFound))),
            Reading::Nothing(because) => {
                if because.needs_attention() {
                    tracing::warn!(delivery.id = entry.id, "{because}");
                    observe::count(&config.client, Metric::DeliveriesQuarantined, now);
                }
                Ok(Some(record(&because)))
            }
        }
    }

    async fn tell(
        &self,
        shift: &Shift,
        entry: &Entry,
        store: &Store,
        event: &OrderEvent,
        now: Timestamp,
    ) -> Result<Option<String>, NotifyError> {
        let news = plan(&self.teller.config, &entry.sender, store, event, &entry.id, now);
        let silence = news.words.silence().map(str::to_owned);
        let told = self.teller.tell(shift, news).await?;
        Ok(silence.or(match told {
            Told::Known(key, state) => Some(format!("already-known: {key} is {} in the ledger", state.name())),
            Told::Differs(key, state) => {
                Some(format!("already-known: {key} is {} in the ledger, with another text", state.name()))
            }
            Told::Accepted(_) | Told::Waits(..) | Told::LineClosed(..) | Told::Ended(..) | Told::Noted(_) => None,
        }))
    }

    async fn story(&self, store: &Store, order_id: &str, milestone: Milestone) -> Result<Vec<Row>, LedgerError> {
        self.teller.ledger.story(Key::order(store.order_book(), order_id, milestone).subject()).await
    }

    /// Finds out what a delivery does not say: from the ledger if it knows the order, else from the store.
    async fn complete(
        &self,
        store_name: &str,
        store: &Store,
        partial: &PartialEvent,
        now: Timestamp,
    ) -> Result<Reading, NotifyError> {
        let config = &self.teller.config;
        if let Some(order_id) = partial.order.id() {
            let known = Known::of(&self.story(store, order_id, partial.milestone).await?, partial.thread.as_deref());
            if let Some(mut event) =
                lookup::complete_from_ledger(partial, &known.contact, known.order_number.as_deref())
            {
                known.fill(&mut event);
                return Ok(Reading::Event(Box::new(event)));
            }
        }
        let no_look_up = Reading::Nothing(NothingBecause::LookUpNotSetUp);
        let StoreKind::Shopify { shop_domain } = &store.kind else { return Ok(no_look_up) };
        let secret_name = config.store_api_secret(store_name);
        let token = match self.teller.secrets.current(&secret_name, now).await {
            Ok(token) => token,
            Err(SecretError::Missing { .. } | SecretError::Forbidden { .. } | SecretError::Empty { .. }) => {
                return Ok(no_look_up);
            }
            Err(error) => return Err(error.into()),
        };
        let base_url = self.shopify_base_url.clone().unwrap_or_else(|| format!("https://{shop_domain}"));
        let query = lookup::order_query(partial);
        let ask = async |token: &Secret| {
            Ok(lookup::look_up(&self.http, &base_url, token.expose(), lookup::API_VERSION, &query).await?)
        };
        let refused = |error: &NotifyError| matches!(error, NotifyError::Lookup(LookupError::Token { .. }));
        let answer = self.teller.secrets.retry_refused(&secret_name, &token, now, refused, ask).await?;
        Ok(lookup::read_order_answer(partial, &answer, store, config)?)
    }
}

/// What the ledger knows of an order.
#[derive(Debug, Default)]
pub struct Known {
    /// Its customer.
    pub contact: Contact,
    /// The number that the customer knows.
    pub order_number: Option<String>,
    values: Values,
}

impl Known {
    /// From its story, the newest fact first; `thread` is the parcel in question.
    pub fn of(story: &[Row], thread: Option<&str>) -> Self {
        let mut rows: Vec<&Row> = story.iter().collect();
        rows.sort_by_key(|row| Reverse(row.occurred_at));
        let of_parcel = rows.iter().filter(|row| row.place.thread.as_deref() == thread);
        Self {
            contact: Contact {
                phone: rows.iter().find_map(|row| row.to.clone()),
                name: rows.iter().find_map(|row| row.context.name.clone()),
                locale: rows.iter().find_map(|row| row.context.locale.clone()),
                ..Contact::default()
            },
            order_number: rows.iter().find_map(|row| row.context.order_number.clone()),
            values: of_parcel.flat_map(|row| row.context.values.clone()).collect(),
        }
    }

    /// Gives an event what it does not say itself.
    pub fn fill(&self, event: &mut OrderEvent) {
        event.fill_from(&self.contact, self.order_number.as_deref());
        for (name, value) in &self.values {
            event.values.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
}

fn record(because: &NothingBecause) -> String {
    format!("{}: {because}", because.code())
}
