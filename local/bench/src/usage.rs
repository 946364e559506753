//! Requests of a function, as the fakes counted them.

use std::collections::BTreeMap;

use tellonce_fakes::services::FakeService;
use tellonce_stack::LocalStack;

use crate::stats::u64_to_f64;

/// Requests by service, over a number of events.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RequestUsage {
    /// The number of events.
    pub(crate) events: u64,
    /// To DynamoDB, by operation.
    pub(crate) dynamo: BTreeMap<String, u64>,
    /// Of the requests to DynamoDB, those refused because a condition did not hold.
    pub(crate) refused: u64,
    /// Write units, indexes included. A refused write adds nothing: the engine does not report its
    /// cost.
    pub(crate) write_units: f64,
    /// Read units, indexes included.
    pub(crate) read_units: f64,
    /// To Secrets Manager.
    pub(crate) secret_requests: u64,
    /// Health requests to the provider.
    pub(crate) health_requests: u64,
    /// Sends to the provider.
    pub(crate) sends: u64,
    /// To CRMs and targets, by service.
    pub(crate) fake_requests: BTreeMap<FakeService, u64>,
    /// Of the requests to CRMs and targets, those without a 2xx response.
    pub(crate) failed_fake_requests: u64,
}

impl RequestUsage {
    /// Resets all counters.
    pub(crate) fn reset_counters(stack: &LocalStack) {
        stack.dynamo().counters().reset();
        stack.secrets().reset_requests();
        stack.provider().reset_counters();
        stack.fakes().reset_counts();
    }

    /// The counts since the last reset, as the usage of one event.
    pub(crate) fn read_one_event(stack: &LocalStack) -> Self {
        let counters = stack.dynamo().counters();
        let mut usage = Self {
            events: 1,
            write_units: counters.write_units(),
            read_units: counters.read_units(),
            secret_requests: stack.secrets().total_request_count(),
            ..Self::default()
        };
        for ((operation, _), used) in counters.snapshot() {
            *usage.dynamo.entry(operation).or_default() += used.requests;
            usage.refused += used.errors.values().sum::<u64>();
        }
        for (request, times) in stack.provider().counters().requests {
            if request.starts_with("GET ") {
                usage.health_requests += times;
            } else {
                usage.sends += times;
            }
        }
        for peer in stack.fakes().called_services() {
            if !matches!(peer, FakeService::Crm(_) | FakeService::Target(_)) {
                continue;
            }
            for (status, times) in stack.fakes().replies_by_status(peer) {
                *usage.fake_requests.entry(peer).or_default() += times;
                if !(200..300).contains(&status) {
                    usage.failed_fake_requests += times;
                }
            }
        }
        usage
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.events += other.events;
        for (operation, times) in &other.dynamo {
            *self.dynamo.entry(operation.clone()).or_default() += times;
        }
        self.refused += other.refused;
        self.write_units += other.write_units;
        self.read_units += other.read_units;
        self.secret_requests += other.secret_requests;
        self.health_requests += other.health_requests;
        self.sends += other.sends;
        for (peer, times) in &other.fake_requests {
            *self.fake_requests.entry(*peer).or_default() += times;
        }
        self.failed_fake_requests += other.failed_fake_requests;
    }

    /// A total divided by the number of events.
    pub(crate) fn per_event(&self, total: f64) -> f64 {
        if self.events == 0 { 0.0 } else { total / u64_to_f64(self.events) }
    }

    /// All requests to DynamoDB.
    pub(crate) fn dynamo_requests(&self) -> u64 {
        self.dynamo.values().sum()
    }
}
