//! `POST /_console/look`: what the page shows, in one response, so that it never mixes two moments.
//!
//! The page says what it has, and gets what changed. Searches and names of customers are in the
//! body, so that no address holds them.

use std::sync::{Arc, atomic::Ordering};

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    console_state::{ConsoleError, ConsoleState, SharedConsole},
    message_pages::MessageFilter,
    now_page::NowFilter,
    parts::{ChangedParts, KnownHashes},
    snapshot::Snapshot,
};

/// Rows of a list on one page.
const PAGE_ROWS: usize = 40;

/// A look of the page.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct LookRequest {
    page: ShownPage,
    /// The first row of the list.
    offset: usize,
    /// The customer whose phone is shown. `None`: the one with the newest message.
    phone: Option<String>,
    known: KnownHashes,
    /// What the last answer for the same page called `seen`.
    seen: Option<String>,
}

/// The page that is shown.
#[derive(Debug, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
enum ShownPage {
    Now {
        #[serde(default)]
        filter: NowFilter,
    },
    Messages {
        #[serde(flatten)]
        filter: MessageFilter,
    },
    Message {
        id: String,
    },
    Delivery {
        id: String,
    },
    Customers {
        #[serde(default)]
        search: String,
    },
    Customer {
        id: String,
    },
    Appointments {
        #[serde(default)]
        search: String,
    },
    Appointment {
        id: String,
    },
    Forms {
        #[serde(default)]
        form: Option<String>,
    },
    Settings,
}

impl Default for ShownPage {
    fn default() -> Self {
        Self::Now { filter: NowFilter::default() }
    }
}

impl ConsoleState {
    /// What the pages depend on: it is the same as long as they are.
    fn read_signature(&self) -> anyhow::Result<String> {
        let actions = self.action_count.load(Ordering::SeqCst);
        let now_ms = self.stack.clock().now_ms();
        // Changes as time passes: a due time passes, and a day begins.
        let next_due = self.look_at_tables()?.next_due(now_ms);
        let read_at = self.stack.loaded_client().read_at_ms;
        Ok(format!("{actions} {} {next_due:?} {read_at} {}", self.stack.change_count(), now_ms / 900_000))
    }

    fn answer_look(&self, request: &LookRequest, detail: Option<Value>, signature: &str) -> anyhow::Result<Value> {
        let snapshot = Snapshot::take(self)?;
        let known = &request.known;
        let mut parts = ChangedParts::default();
        parts.add(known, "bar", snapshot.render_bar());
        parts.add(known, "try", snapshot.render_try_panel());
        parts.add(known, "phones", snapshot.list_phones());
        parts.add_list(known, "chat", snapshot.list_chat(request.phone.as_deref()));
        let offset = request.offset;
        match &request.page {
            ShownPage::Now { filter } => parts.add_list(known, "list", snapshot.list_now(*filter, offset, PAGE_ROWS)),
            ShownPage::Messages { filter } => {
                let list = snapshot.list_messages(filter, offset, PAGE_ROWS);
                let found = if list.rows.is_empty() { &filter.search } else { "" };
                parts.add_list(known, "deliveries", snapshot.search_deliveries(found)?);
                parts.add_list(known, "list", list);
            }
            ShownPage::Customers { search } => {
                parts.add_list(known, "list", snapshot.list_customers(search, offset, PAGE_ROWS));
            }
            ShownPage::Appointments { search } => {
                parts.add_list(known, "list", snapshot.list_appointments(search, offset, PAGE_ROWS));
            }
            ShownPage::Forms { form } => {
                parts.add_list(known, "forms", snapshot.list_forms());
                parts.add_list(known, "list", snapshot.list_leads(form.as_deref(), offset, PAGE_ROWS));
            }
            ShownPage::Settings => {
                parts.add(known, "detail", snapshot.render_settings());
                parts.add_list(known, "list", snapshot.list_logs());
            }
            ShownPage::Customer { id } => {
                let page = snapshot.render_customer_page(id).unwrap_or_else(|| json!({"missing": true}));
                parts.add(known, "detail", page);
            }
            ShownPage::Delivery { id } => {
                let page = snapshot.render_delivery_page(id).unwrap_or_else(|| json!({"missing": true}));
                parts.add(known, "detail", page);
            }
            ShownPage::Message { .. } | ShownPage::Appointment { .. } => {
                parts.add(known, "detail", detail.unwrap_or_else(|| json!({"missing": true})));
            }
        }
        let mut answer = parts.into_json();
        answer["seen"] = json!(signature);
        Ok(answer)
    }
}

/// What changed on the page; an empty object if nothing did.
pub(super) async fn look(
    State(console): SharedConsole,
    Json(request): Json<LookRequest>,
) -> Result<Json<Value>, ConsoleError> {
    let reading: Arc<ConsoleState> = console.clone();
    let signature = tokio::task::spawn_blocking(move || reading.read_signature()).await??;
    if request.seen.as_ref() == Some(&signature) {
        return Ok(Json(json!({})));
    }
    let detail = match &request.page {
        ShownPage::Message { id } => console.render_message_by_key(id).await?,
        ShownPage::Appointment { id } => console.render_appointment_by_subject(id).await?,
        _ => None,
    };
    let answer = tokio::task::spawn_blocking(move || console.answer_look(&request, detail, &signature)).await??;
    Ok(Json(answer))
}
