//! The data of an order that the ledger's rows contain.

use std::cmp::Reverse;

use tellonce_core::ledger::LedgerRow;

use crate::order_event::{CustomerContact, EventValues, OrderEvent};

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
            values: of_parcel.flat_map(|row| row.context.values.clone()).collect(),
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
