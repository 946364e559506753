//! What the handlers of the console share: its state, its answers and its errors.

use std::sync::{Arc, Mutex, MutexGuard, atomic::AtomicU64};

use axum::{
    Json,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tellonce_core::client_config::ClientConfig;
use tellonce_stack::LocalStack;

use crate::{
    bookings::BookingSampleFactory,
    leads::LeadSampleFactory,
    samples::{OrderSampleFactory, SampleTargets},
    tables_view::{ShownTables, TablesView},
};

/// The inbox tables of stores, calendars and forms, by their ids in the template.
const INBOXES: [&str; 3] = ["StoreInbox", "BookingInbox", LEAD_INBOX];
/// The inbox table of forms.
const LEAD_INBOX: &str = "LeadInbox";

/// The state that the console's handlers share.
pub(super) struct ConsoleState {
    pub(super) stack: Arc<LocalStack>,
    pub(super) order_samples: OrderSampleFactory,
    pub(super) booking_samples: BookingSampleFactory,
    pub(super) lead_samples: LeadSampleFactory,
    pub(super) http: reqwest::Client,
    pub(super) tables: ShownTables,
    pub(super) view: Mutex<TablesView>,
    /// Requests that may have changed the samples.
    pub(super) action_count: AtomicU64,
}

pub(super) type SharedConsole = State<Arc<ConsoleState>>;

impl ConsoleState {
    pub(super) fn new(stack: Arc<LocalStack>) -> Self {
        let name = |id: &str| {
            let table = stack.template().tables.iter().find(|table| table.id == id);
            table.map(|table| table.name.clone()).unwrap_or_default()
        };
        Self {
            tables: ShownTables {
                inboxes: INBOXES.map(name).to_vec(),
                lead_inbox: name(LEAD_INBOX),
                ledger: name("Ledger"),
            },
            http: stack.provider().http().clone(),
            stack,
            order_samples: OrderSampleFactory::default(),
            booking_samples: BookingSampleFactory::default(),
            lead_samples: LeadSampleFactory::default(),
            view: Mutex::default(),
            action_count: AtomicU64::new(0),
        }
    }

    pub(super) fn sample_targets(&self) -> Result<SampleTargets, ConsoleError> {
        let client = self.client()?;
        Ok(SampleTargets::from_config(&client, |name| self.stack.secrets().current_value(name)))
    }

    /// The configuration that the functions have.
    pub(super) fn client(&self) -> Result<Arc<ClientConfig>, ConsoleError> {
        let client = self.stack.loaded_client().config.clone();
        client.ok_or_else(|| ConsoleError::bad_request("No function can read client.toml: see the top of the page."))
    }

    /// Sets the clock of the fake provider to the stack's clock.
    pub(super) fn sync_fake_clock(&self) -> anyhow::Result<()> {
        let offset = self.stack.clock().offset_ms();
        if self.stack.provider().settings().clock_offset_ms == offset {
            return Ok(());
        }
        self.stack.provider().change_settings(|settings| settings.clock_offset_ms = offset)
    }

    /// The tables as they are now.
    pub(super) fn look_at_tables(&self) -> anyhow::Result<MutexGuard<'_, TablesView>> {
        let mut view = tellonce_fakes::lock_mutex(&self.view);
        view.follow(self.stack.dynamo(), &self.tables)?;
        Ok(view)
    }

    /// Names of the inbox tables of stores, calendars and forms.
    pub(super) fn inbox_table_names(&self) -> impl Iterator<Item = &str> {
        self.tables.inboxes.iter().map(String::as_str)
    }
}

/// The reason why an action failed, in words for the person at the console.
#[derive(Debug)]
pub(super) struct ConsoleError {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

impl ConsoleError {
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into() }
    }
}

impl<E: Into<anyhow::Error>> From<E> for ConsoleError {
    fn from(error: E) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, message: format!("{:#}", error.into()) }
    }
}

impl IntoResponse for ConsoleError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"error": self.message}))).into_response()
    }
}

pub(super) type ConsoleResponse = Result<Json<Value>, ConsoleError>;

/// A sentence for the person who pressed the button.
#[expect(clippy::unnecessary_wraps, reason = "every handler ends with it")]
pub(super) fn reply_with_message(text: impl Into<String>) -> ConsoleResponse {
    Ok(Json(json!({"message": text.into()})))
}

#[derive(Deserialize)]
pub(super) struct DeliverySelector {
    pub(super) id: String,
}

/// Query of `GET /_console/delivery?id=…`.
pub(super) type DeliveryQuery = Query<DeliverySelector>;
