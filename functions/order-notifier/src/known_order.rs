//! The data of an order that the ledger's rows contain.

use std::cmp::Reverse;

use tellonce_core::{
    client_config::Milestone,
    ledger::{LedgerRow, MessageState},
};

use crate::{
    order_event::{CustomerContact, EventValues, OrderEvent, ParsedOrder},
    order_import::OrderImport,
    order_outcome::OrderSkipReason,
};

/// What the ledger knows of an order.
#[derive(Debug, Default)]
pub struct KnownOrder {
    /// Its customer.
    pub contact: CustomerContact,
    /// The number that the customer knows.
    pub order_number: Option<String>,
    values: EventValues,
    /// The order's import, if it was imported.
    import: Option<OrderImport>,
    /// Whether the shipment of the event's parcel has its message.
    is_shipped: bool,
}

impl KnownOrder {
    /// Reads the order's history, the newest fact first. `parcel` is the event's parcel.
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
            import: rows.iter().find_map(|row| find_import(row)),
            is_shipped: of_parcel.clone().any(|row| is_shipment(row)),
            values: of_parcel.flat_map(|row| row.context.values.clone()).collect(),
        }
    }

    /// Decides whether a complete event is news.
    pub fn judge_event(&self, event: Box<OrderEvent>) -> ParsedOrder {
        match OrderImport::judge_event(self.import, event) {
            ParsedOrder::Event(event) if event.is_repeated_by_changes && self.is_shipped => {
                ParsedOrder::Skipped(OrderSkipReason::ParcelAlreadyKnown)
            }
            judged => judged,
        }
    }

    /// Fills an event's missing data.
    pub fn fill_missing(&self, event: &mut OrderEvent) {
        event.fill_missing_from(&self.contact, self.order_number.as_deref());
        for (name, value) in &self.values {
            event.values.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
}

/// The import of an order, from the row that records it. That row has the time of the purchase.
fn find_import(row: &LedgerRow) -> Option<OrderImport> {
    let prefix = format!("{}: ", OrderSkipReason::ImportedOrder.code());
    let is_import = row.state == MessageState::Suppressed
        && row.key.stage() == Milestone::Received.name()
        && row.reason.as_deref().is_some_and(|reason| reason.starts_with(&prefix));
    is_import.then_some(OrderImport { purchased_at: row.occurred_at, imported_at: row.created_at })
}

/// Whether a row is the message about a shipment. A later report may complete an incomplete one.
fn is_shipment(row: &LedgerRow) -> bool {
    let shipped = Milestone::Shipped.name();
    let of_shipment =
        row.key.stage().strip_prefix(shipped).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    of_shipment && row.state != MessageState::Incomplete
}
