//! What events cost at AWS's list prices. Counts are measured. Prices and the latencies of the
//! cloud are assumed and printed.
//!
//! Lambda's share follows a simple, cautious model: an event takes its CPU time at the share of a
//! processor that its memory buys, and waits for its requests one after the other. Lambda gives
//! short bursts more than that share, so real bills are lower. Prices are those of us-east-1,
//! arm64, without free tier and discounts, in US$:
//! <https://aws.amazon.com/lambda/pricing/>, <https://aws.amazon.com/dynamodb/pricing/on-demand/>,
//! <https://aws.amazon.com/api-gateway/pricing/>,
//! <https://aws.amazon.com/secrets-manager/pricing/>, <https://aws.amazon.com/cloudwatch/pricing/>.

/// A GB-second of Lambda on arm64.
pub(crate) const LAMBDA_GB_SECOND: f64 = 0.000_013_333_4;
/// A million invocations.
pub(crate) const LAMBDA_REQUESTS: f64 = 0.20;
/// A million write units on demand.
pub(crate) const WRITE_UNITS: f64 = 0.625;
/// A million read units on demand.
pub(crate) const READ_UNITS: f64 = 0.125;
/// A million requests to an HTTP API.
pub(crate) const HTTP_API_REQUESTS: f64 = 1.00;
/// A million requests to Secrets Manager.
pub(crate) const SECRETS_CALLS: f64 = 5.00;
/// A secret for a month.
pub(crate) const SECRET_MONTH: f64 = 0.40;
/// A GB of ingested logs.
pub(crate) const LOGS_GB: f64 = 0.50;

/// The share of events with a cold start.
pub(crate) const COLD_SHARE: f64 = 0.02;
/// A request to DynamoDB within the region, in milliseconds.
pub(crate) const DYNAMO_MS: f64 = 4.0;
/// A request to Secrets Manager within the region, in milliseconds.
pub(crate) const SECRETS_MS: f64 = 15.0;
/// A request to the provider over the internet, in milliseconds.
pub(crate) const PROVIDER_MS: f64 = 120.0;
/// What Lambda itself logs about an invocation (start, end, report), in bytes.
pub(crate) const PLATFORM_LOG_BYTES: f64 = 700.0;
/// Memory that buys one whole processor, in MB:
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>.
pub(crate) const MB_PER_CPU: f64 = 1769.0;
/// Minutes in a month, so also the ticks of the schedule.
pub(crate) const MONTHLY_TICKS: f64 = 43_830.0;

/// The measured values of one event of a function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventLoad {
    pub(crate) memory_mb: f64,
    pub(crate) cpu_ms: f64,
    pub(crate) dynamo: f64,
    pub(crate) write_units: f64,
    pub(crate) read_units: f64,
    pub(crate) secrets: f64,
    pub(crate) provider: f64,
    pub(crate) log_bytes: f64,
    /// Initialisation, in milliseconds. Lambda gives it a whole processor and bills it.
    pub(crate) init_ms: f64,
    /// Secrets that a new process reads.
    pub(crate) secrets_at_start: f64,
    /// Whether the event comes through the HTTP API.
    pub(crate) through_gateway: bool,
}

/// US$ for a million events.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CostBreakdown {
    pub(crate) gateway: f64,
    pub(crate) requests: f64,
    pub(crate) compute: f64,
    pub(crate) writes: f64,
    pub(crate) reads: f64,
    pub(crate) secrets: f64,
    pub(crate) logs: f64,
}

impl EventLoad {
    /// How long an event is billed in the cloud, in milliseconds, without its share of cold starts.
    pub(crate) fn duration_ms(&self) -> f64 {
        let cpu_share = (self.memory_mb / MB_PER_CPU).min(1.0);
        (self.cpu_ms / cpu_share + self.dynamo * DYNAMO_MS + self.secrets * SECRETS_MS + self.provider * PROVIDER_MS)
            .ceil()
    }

    pub(crate) fn compute_cost(&self) -> CostBreakdown {
        let cold_ms = COLD_SHARE * (self.init_ms + self.secrets_at_start * SECRETS_MS);
        // A million milliseconds are a thousand seconds.
        let gb_seconds = self.memory_mb / 1024.0 * (self.duration_ms() + cold_ms) * 1000.0;
        CostBreakdown {
            gateway: if self.through_gateway { HTTP_API_REQUESTS } else { 0.0 },
            requests: LAMBDA_REQUESTS,
            compute: gb_seconds * LAMBDA_GB_SECOND,
            writes: self.write_units * WRITE_UNITS,
            reads: self.read_units * READ_UNITS,
            secrets: (self.secrets + COLD_SHARE * self.secrets_at_start) * SECRETS_CALLS,
            // For a million events, bytes become MB.
            logs: (self.log_bytes + PLATFORM_LOG_BYTES) / 1000.0 * LOGS_GB,
        }
    }
}

impl CostBreakdown {
    pub(crate) fn total_cost(&self) -> f64 {
        self.gateway + self.requests + self.compute + self.writes + self.reads + self.secrets + self.logs
    }

    pub(crate) fn add_costs(&self, other: &Self) -> Self {
        Self {
            gateway: self.gateway + other.gateway,
            requests: self.requests + other.requests,
            compute: self.compute + other.compute,
            writes: self.writes + other.writes,
            reads: self.reads + other.reads,
            secrets: self.secrets + other.secrets,
            logs: self.logs + other.logs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELIVERY: EventLoad = EventLoad {
        memory_mb: 128.0,
        cpu_ms: 0.5,
        dynamo: 1.0,
        write_units: 2.0,
        read_units: 0.0,
        secrets: 0.0,
        provider: 0.0,
        log_bytes: 300.0,
        init_ms: 5.0,
        secrets_at_start: 4.0,
        through_gateway: true,
    };

    #[track_caller]
    fn assert_close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-6, "{found} is not {wanted}");
    }

    #[test]
    fn an_event_is_billed_in_whole_milliseconds_at_its_share_of_a_processor() {
        // 0.5 ms at 128/1769 of a processor are 6.91 ms, and 4 ms for the table
        assert_close(DELIVERY.duration_ms(), 11.0);
        assert_close(EventLoad { memory_mb: 4000.0, ..DELIVERY }.duration_ms(), 5.0);
    }

    #[test]
    fn a_million_deliveries_cost_the_sum_of_their_parts() {
        let bill = DELIVERY.compute_cost();
        assert_close(bill.writes, 1.25);
        assert_close(bill.compute, 0.125 * (11.0 + 0.02 * 65.0) * 1000.0 * 0.000_013_333_4);
        assert_close(bill.secrets, 0.4);
        assert_close(bill.logs, 0.5);
        assert_close(bill.total_cost(), 1.0 + 0.2 + bill.compute + 1.25 + 0.4 + 0.5);
        assert_close(bill.add_costs(&bill).total_cost(), 2.0 * bill.total_cost());
    }
}
