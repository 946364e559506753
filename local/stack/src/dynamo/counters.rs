//! Requests to the database: their number, their capacity and the refusals.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;
use serde_json::Value;

/// Whether an operation consumes write or read capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CapacityKind {
    Write,
    Read,
}

/// The capacity of an operation on items; `None` for an operation on tables.
pub(super) fn capacity_kind(operation: &str) -> Option<CapacityKind> {
    match operation {
        "PutItem" | "UpdateItem" | "DeleteItem" | "BatchWriteItem" | "TransactWriteItems" => Some(CapacityKind::Write),
        "GetItem" | "Query" | "Scan" | "BatchGetItem" | "TransactGetItems" => Some(CapacityKind::Read),
        _ => None,
    }
}

/// Requests of one operation on one table.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct OperationUsage {
    /// Requests, refused ones included.
    pub requests: u64,
    /// Capacity units (write or read units, by the operation), indexes included.
    ///
    /// The engine does not report the cost of a write whose condition failed: it adds nothing.
    pub units: f64,
    /// Bytes of request bodies.
    pub bytes: u64,
    /// Refused requests, by error type without its namespace.
    pub errors: BTreeMap<String, u64>,
}

/// Usage by (operation, table).
#[derive(Debug, Default)]
pub struct OperationCounters {
    usage: Mutex<BTreeMap<(String, String), OperationUsage>>,
    changes: AtomicU64,
}

impl OperationCounters {
    /// A copy of everything, by (operation, table).
    pub fn snapshot(&self) -> BTreeMap<(String, String), OperationUsage> {
        tellonce_fakes::lock_mutex(&self.usage).clone()
    }

    /// Usage of one operation on one table.
    pub fn operation_usage(&self, operation: &str, table: &str) -> OperationUsage {
        tellonce_fakes::lock_mutex(&self.usage)
            .get(&(operation.to_owned(), table.to_owned()))
            .cloned()
            .unwrap_or_default()
    }

    /// Requests that write, over all tables.
    pub fn write_requests(&self) -> u64 {
        self.sum_by_kind(CapacityKind::Write, |usage| usage.requests)
    }

    /// Requests that read, over all tables.
    pub fn read_requests(&self) -> u64 {
        self.sum_by_kind(CapacityKind::Read, |usage| usage.requests)
    }

    /// Write units consumed, over all tables.
    pub fn write_units(&self) -> f64 {
        self.sum_by_kind(CapacityKind::Write, |usage| usage.units)
    }

    /// Read units consumed, over all tables.
    pub fn read_units(&self) -> f64 {
        self.sum_by_kind(CapacityKind::Read, |usage| usage.units)
    }

    /// A number that changes with every count.
    pub fn change_count(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Resets the counts.
    pub fn reset(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        tellonce_fakes::lock_mutex(&self.usage).clear();
    }

    fn sum_by_kind<T: std::iter::Sum>(&self, wanted: CapacityKind, value: impl Fn(&OperationUsage) -> T) -> T {
        let held = tellonce_fakes::lock_mutex(&self.usage);
        held.iter()
            .filter(|((operation, _), _)| capacity_kind(operation) == Some(wanted))
            .map(|(_, usage)| value(usage))
            .sum()
    }

    pub(super) fn record_success(&self, operation: &str, table: &str, bytes: usize, capacity: Option<&Value>) {
        self.update_usage(operation, table, bytes, |usage| usage.units += capacity.map_or(0.0, capacity_units));
    }

    pub(super) fn record_failure(&self, operation: &str, table: &str, bytes: usize, kind: &str) {
        let kind = kind.rsplit('#').next().unwrap_or(kind).to_owned();
        self.update_usage(operation, table, bytes, |usage| *usage.errors.entry(kind).or_default() += 1);
    }

    fn update_usage(&self, operation: &str, table: &str, bytes: usize, change: impl FnOnce(&mut OperationUsage)) {
        let mut held = tellonce_fakes::lock_mutex(&self.usage);
        let usage = held.entry((operation.to_owned(), table.to_owned())).or_default();
        usage.requests += 1;
        usage.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
        change(usage);
        self.changes.fetch_add(1, Ordering::SeqCst);
    }
}

/// Units of a `ConsumedCapacity`, which is a list if the request has several tables.
fn capacity_units(capacity: &Value) -> f64 {
    match capacity {
        Value::Array(tables) => tables.iter().map(capacity_units).sum(),
        one => one["CapacityUnits"].as_f64().unwrap_or(0.0),
    }
}
