//! What one instance of the function needs: [`ReminderScheduler`]. The flows are its methods, one
//! file each.

use std::{collections::BTreeMap, sync::Mutex};

use jiff::Timestamp;
use tellonce_core::{
    bootstrap::{self, AwsClients, StartError},
    dispatch::Dispatcher,
    feed::FeedStore,
    inbox::Inbox,
};

use crate::lookup::LookupClient;

/// What one instance of the function needs.
pub struct ReminderScheduler {
    /// Sends messages.
    pub dispatcher: Dispatcher,
    /// Stores the bookings and their outcomes.
    pub inbox: Inbox,
    /// Calls the APIs of booking systems.
    pub lookup_client: LookupClient,
    /// Stores the feed snapshots.
    pub feed_store: FeedStore,
    pub(crate) http: reqwest::Client,
    /// Replaces the origin of Acuity, Square and feed addresses in tests.
    pub(crate) calendar_base_url: Option<String>,
    /// When a push last made this process poll a feed, by calendar.
    pub(crate) feeds_polled_at: Mutex<BTreeMap<String, Timestamp>>,
}

impl ReminderScheduler {
    pub(crate) fn from_environment() -> Result<Self, StartError> {
        let config = bootstrap::load_client_config()?;
        let http = bootstrap::build_http_client()?;
        let aws = AwsClients::from_environment(&http)?;
        let inbox = Inbox::new(
            aws.dynamodb(),
            bootstrap::require_variable("BOOKING_INBOX_TABLE")?,
            config.retention.inbox_days,
        );
        let dispatcher = Dispatcher::from_environment(config, http.clone(), &aws)?;
        let calendar_base_url = bootstrap::read_variable("CALENDAR_BASE_URL");
        let lookup_client = LookupClient::new(http.clone(), calendar_base_url.clone());
        let feed_store = FeedStore::new(aws.dynamodb(), bootstrap::require_variable("LEDGER_TABLE")?);
        Ok(Self {
            dispatcher,
            inbox,
            lookup_client,
            feed_store,
            http,
            calendar_base_url,
            feeds_polled_at: Mutex::default(),
        })
    }
}
