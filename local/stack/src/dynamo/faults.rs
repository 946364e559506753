//! Faults between a function and its table, on demand.

use std::{sync::Mutex, time::Duration};

use http::StatusCode;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

/// How a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DynamoFault {
    /// `ThrottlingException`, HTTP 400, without an effect.
    Throttle,
    /// `ProvisionedThroughputExceededException`, HTTP 400, without an effect.
    ThroughputExceeded,
    /// `InternalServerError`, HTTP 500, without an effect.
    Outage,
    /// The request takes effect and the response is `InternalServerError`, HTTP 500: the outcome is
    /// unknown.
    LoseResponse,
    /// A write meets a transaction on the same item, without an effect: a single write gets
    /// `TransactionConflictException`, a transaction `TransactionCanceledException`. Reads never
    /// get it.
    TransactionConflict,
    /// A transaction is cancelled because the table throttles one of its items, without an effect.
    TransactionThrottled,
    /// The request waits for this long before it takes effect, also if the caller has given up.
    Delay(Duration),
}

/// The operations that a transaction on the same item refuses.
const WRITES: [&str; 4] = ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"];
/// Source: docs.aws.amazon.com, "`TransactWriteItems`", "Errors", "Cancellation reason codes and
/// possible error messages".
const CONFLICT_MESSAGE: &str = "Transaction is ongoing for the item.";
const THROTTLED_ITEM_MESSAGE: &str = "Throughput exceeds the current capacity of your table or index. DynamoDB is \
    automatically scaling your table or index so please try again shortly.";

impl DynamoFault {
    fn applies_to(self, operation: &str) -> bool {
        match self {
            Self::TransactionConflict => WRITES.contains(&operation),
            Self::TransactionThrottled => operation == "TransactWriteItems",
            Self::Throttle | Self::ThroughputExceeded | Self::Outage | Self::LoseResponse | Self::Delay(_) => true,
        }
    }

    pub(super) fn error_response(self, operation: &str, request: &Value) -> (StatusCode, Value) {
        let (status, kind, message) = match self {
            Self::TransactionConflict if operation == "TransactWriteItems" => {
                return cancel_transaction(request, "TransactionConflict", CONFLICT_MESSAGE);
            }
            Self::TransactionThrottled => {
                return cancel_transaction(request, "ThrottlingError", THROTTLED_ITEM_MESSAGE);
            }
            Self::TransactionConflict => (
                StatusCode::BAD_REQUEST,
                "com.amazonaws.dynamodb.v20120810#TransactionConflictException",
                CONFLICT_MESSAGE,
            ),
            Self::Throttle => (
                StatusCode::BAD_REQUEST,
                "com.amazon.coral.availability#ThrottlingException",
                "Throughput exceeds the current capacity of your table or index.",
            ),
            Self::ThroughputExceeded => (
                StatusCode::BAD_REQUEST,
                "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
                "The level of configured provisioned throughput for the table was exceeded.",
            ),
            // A delayed request is answered as usual.
            Self::Outage | Self::LoseResponse | Self::Delay(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "com.amazonaws.dynamodb.v20120810#InternalServerError",
                "The request processing has failed because of an unknown error, exception or failure.",
            ),
        };
        (status, json!({"__type": kind, "message": message}))
    }
}

/// The response to a transaction that is cancelled because of its first item. The reasons are in
/// the order of the items.
fn cancel_transaction(request: &Value, code: &str, message: &str) -> (StatusCode, Value) {
    let count = request["TransactItems"].as_array().map_or(1, Vec::len);
    let reasons = std::iter::once(json!({"Code": code, "Message": message}));
    let reasons: Vec<Value> = reasons.chain((1..count).map(|_| json!({"Code": "None"}))).collect();
    let codes: Vec<&str> = reasons.iter().filter_map(|reason| reason["Code"].as_str()).collect();
    let message =
        format!("Transaction cancelled, please refer cancellation reasons for specific reasons [{}]", codes.join(", "));
    let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
    (StatusCode::BAD_REQUEST, json!({"__type": kind, "Message": message, "CancellationReasons": reasons}))
}

/// Which of the requests fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FaultFrequency {
    /// The next n requests.
    Next(u32),
    /// This share of the requests, 0 to 1.
    Fraction(f64),
}

/// A fault with the requests it applies to.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultRule {
    /// Only this operation, e.g. `PutItem`.
    pub operation: Option<String>,
    /// Only this table.
    pub table: Option<String>,
    /// How a request fails.
    pub fault: DynamoFault,
    /// Which of them fail.
    pub frequency: FaultFrequency,
}

/// The faults in force. A share hits random requests, the same ones in every run.
#[derive(Debug)]
pub struct DynamoFaults(Mutex<(Vec<FaultRule>, StdRng)>);

impl Default for DynamoFaults {
    fn default() -> Self {
        Self(Mutex::new((Vec::new(), StdRng::seed_from_u64(0))))
    }
}

/// The faults of one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FaultPlan {
    pub(super) refuse: Option<DynamoFault>,
    pub(super) lose_response: Option<DynamoFault>,
    pub(super) delay: Duration,
}

impl DynamoFaults {
    /// Adds a rule to those in force.
    pub fn inject_rule(&self, rule: FaultRule) {
        tellonce_fakes::lock_mutex(&self.0).0.push(rule);
    }

    /// Throttles the next `n` requests of any kind.
    pub fn throttle_next(&self, n: u32) {
        self.inject_rule(FaultRule {
            operation: None,
            table: None,
            fault: DynamoFault::Throttle,
            frequency: FaultFrequency::Next(n),
        });
    }

    /// Throttles this share (0 to 1) of requests until [`Self::clear`].
    pub fn throttle_fraction(&self, share: f64) {
        let times = FaultFrequency::Fraction(share.clamp(0.0, 1.0));
        self.inject_rule(FaultRule {
            operation: None,
            table: None,
            fault: DynamoFault::ThroughputExceeded,
            frequency: times,
        });
    }

    /// Lets this share (0 to 1) of the writes to the table meet a transaction, and throttles as
    /// many transactions, until [`Self::clear`]. In DynamoDB, only an item that a transaction may
    /// hold has conflicts.
    pub fn conflict_fraction(&self, table: &str, share: f64) {
        for fault in [DynamoFault::TransactionConflict, DynamoFault::TransactionThrottled] {
            let (table, frequency) = (Some(table.to_owned()), FaultFrequency::Fraction(share.clamp(0.0, 1.0)));
            self.inject_rule(FaultRule { operation: None, table, fault, frequency });
        }
    }

    /// Delays every request until [`Self::clear`], or only those to one table.
    pub fn delay(&self, table: Option<&str>, delay: Duration) {
        self.inject_rule(FaultRule {
            operation: None,
            table: table.map(str::to_owned),
            fault: DynamoFault::Delay(delay),
            frequency: FaultFrequency::Fraction(1.0),
        });
    }

    /// Removes all rules.
    pub fn clear(&self) {
        tellonce_fakes::lock_mutex(&self.0).0.clear();
    }

    /// The rules still in force.
    pub fn list_rules(&self) -> Vec<FaultRule> {
        tellonce_fakes::lock_mutex(&self.0).0.clone()
    }

    pub(super) fn plan_request(&self, operation: &str, table: &str) -> FaultPlan {
        let mut held = tellonce_fakes::lock_mutex(&self.0);
        let (rules, random) = &mut *held;
        let mut plan = FaultPlan::default();
        for rule in rules.iter_mut() {
            let applies = rule.fault.applies_to(operation)
                && rule.operation.as_deref().is_none_or(|wanted| wanted == operation)
                && rule.table.as_deref().is_none_or(|wanted| table.split(',').any(|name| name == wanted));
            if !applies || plan.refuse.is_some() {
                continue;
            }
            let hit = match &mut rule.frequency {
                FaultFrequency::Next(left) => left.checked_sub(1).is_some_and(|less| {
                    *left = less;
                    true
                }),
                FaultFrequency::Fraction(share) => random.random_bool(*share),
            };
            if hit {
                match rule.fault {
                    DynamoFault::LoseResponse => plan.lose_response = Some(rule.fault),
                    DynamoFault::Delay(delay) => plan.delay += delay,
                    DynamoFault::Throttle
                    | DynamoFault::ThroughputExceeded
                    | DynamoFault::Outage
                    | DynamoFault::TransactionConflict
                    | DynamoFault::TransactionThrottled => plan.refuse = Some(rule.fault),
                }
            }
        }
        rules.retain(|rule| rule.frequency != FaultFrequency::Next(0));
        plan
    }
}
