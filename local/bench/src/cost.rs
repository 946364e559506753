//! What events cost at AWS's list prices. Counts are measured. Prices and the latencies of the
//! cloud are assumed and printed.
//!
//! [`EventLoad`] is one event, or all that a client needs in a minute. [`idle_month`] is the bill
//! of a client that no customer writes to. A story (`tests/stories/costs.rs`) counts the requests
//! and compares the tables of `docs/operations.md` with these functions.
//!
//! Lambda's share follows a simple, cautious model: an event takes its CPU time at the share of a
//! processor that its memory buys, and waits for its requests one after the other. Lambda gives
//! short bursts more than that share, so real bills are lower. Prices are those of us-east-1,
//! arm64, without free tier and discounts, in US$:
//! <https://aws.amazon.com/lambda/pricing/>, <https://aws.amazon.com/dynamodb/pricing/on-demand/>,
//! <https://aws.amazon.com/api-gateway/pricing/>,
//! <https://aws.amazon.com/secrets-manager/pricing/>, <https://aws.amazon.com/cloudwatch/pricing/>.

/// A GB-second of Lambda on arm64.
pub const LAMBDA_GB_SECOND: f64 = 0.000_013_333_4;
/// A million invocations.
pub const LAMBDA_REQUESTS: f64 = 0.20;
/// A million write units on demand.
pub const WRITE_UNITS: f64 = 0.625;
/// A million read units on demand.
pub const READ_UNITS: f64 = 0.125;
/// A million requests to an HTTP API.
pub const HTTP_API_REQUESTS: f64 = 1.00;
/// A million requests to Secrets Manager.
pub const SECRETS_CALLS: f64 = 5.00;
/// A secret for a month.
pub const SECRET_MONTH: f64 = 0.40;
/// A GB of ingested logs.
pub const LOGS_GB: f64 = 0.50;
/// An alarm on one metric for a month.
pub const ALARM_MONTH: f64 = 0.10;
/// A metric of the functions' own that is published in every hour of a month.
pub const METRIC_MONTH: f64 = 0.30;
/// A dashboard for a month, from an account's fourth on.
pub const DASHBOARD_MONTH: f64 = 3.00;

/// The share of events with a cold start.
pub const COLD_SHARE: f64 = 0.02;
/// A request to DynamoDB within the region, in milliseconds.
pub const DYNAMO_MS: f64 = 4.0;
/// A request to Secrets Manager within the region, in milliseconds.
pub const SECRETS_MS: f64 = 15.0;
/// A request to the provider over the internet, in milliseconds.
pub const PROVIDER_MS: f64 = 120.0;
/// What Lambda itself logs about an invocation (start, report), in bytes, at the level `INFO`.
pub const PLATFORM_LOG_BYTES: f64 = 700.0;
/// Memory that buys one whole processor, in MB:
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html>.
pub const MB_PER_CPU: f64 = 1769.0;
/// What Lambda itself logs about a successful invocation under a template, in bytes. At the level
/// `WARN` it logs nothing:
/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>.
pub fn platform_log_bytes(template: &str) -> f64 {
    if template.contains("SystemLogLevel: INFO") { PLATFORM_LOG_BYTES } else { 0.0 }
}

/// What the HTTP API logs about a request under a template, in bytes: its `Format`, with a typical
/// value for each variable, and the end of the line.
pub fn access_log_bytes(template: &str) -> f64 {
    let Some((_, format)) = template.split_once("Format: >-\n") else { return 0.0 };
    let lines = format.lines().take_while(|line| !line.trim().is_empty());
    let mut text = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    for (variable, value) in [
        ("$context.requestId", "JKJaXmPLvHcESHA="),
        ("$context.requestTime", "29/Nov/2026:21:06:53 +0000"),
        ("$context.routeKey", "POST /stores/{sender}"),
        ("$context.status", "200"),
        ("$context.responseLatency", "25"),
        ("$context.integrationLatency", "23"),
        ("$context.responseLength", "2"),
        ("$context.error.responseType", "-"),
    ] {
        text = text.replace(&format!("\"{variable}\""), &format!("\"{value}\""));
    }
    // A line is shorter than four billion bytes.
    u32::try_from(text.len() + 1).map_or(f64::MAX, f64::from)
}

/// Minutes in a month, so also the ticks of the schedule.
pub const MONTHLY_TICKS: f64 = 43_830.0;

/// The measured values of one event of a function, or of what follows from it in all functions.
#[derive(Debug, Clone, Copy)]
pub struct EventLoad {
    /// Memory of each function.
    pub memory_mb: f64,
    /// Invocations of functions.
    pub invocations: f64,
    /// On a whole processor, in all invocations.
    pub cpu_ms: f64,
    /// Requests to `DynamoDB`.
    pub dynamo: f64,
    /// Write units, indexes included.
    pub write_units: f64,
    /// Read units.
    pub read_units: f64,
    /// Requests to Secrets Manager.
    pub secrets: f64,
    /// Requests to the provider, CRMs and targets.
    pub provider: f64,
    /// Log lines: those of the functions, those of Lambda about their invocations, and those of the
    /// HTTP API about its requests.
    pub log_bytes: f64,
    /// Initialisation, in milliseconds. Lambda gives it a whole processor and bills it.
    pub init_ms: f64,
    /// Secrets that a new process reads.
    pub secrets_at_start: f64,
    /// Requests to the HTTP API.
    pub gateway: f64,
}

/// US$ for a million events.
#[derive(Debug, Clone, Copy, Default)]
pub struct CostBreakdown {
    /// The HTTP API.
    pub gateway: f64,
    /// Invocations.
    pub requests: f64,
    /// GB-seconds.
    pub compute: f64,
    /// Write units.
    pub writes: f64,
    /// Read units.
    pub reads: f64,
    /// Requests to Secrets Manager.
    pub secrets: f64,
    /// Ingested logs.
    pub logs: f64,
}

/// US$ of a month in which no customer writes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IdleMonth {
    /// Secrets.
    pub secrets: f64,
    /// Alarms.
    pub alarms: f64,
    /// Metrics that are always published.
    pub metrics: f64,
    /// What runs every minute: invocations, their time, their requests to the tables, their logs.
    pub minutes: f64,
}

impl IdleMonth {
    /// The sum.
    pub fn total(&self) -> f64 {
        self.secrets + self.alarms + self.metrics + self.minutes
    }
}

/// The bill of a month in which no customer writes. `minute` is the average minute.
pub fn idle_month(secrets: f64, alarms: f64, metrics: f64, minute: &EventLoad) -> IdleMonth {
    IdleMonth {
        secrets: secrets * SECRET_MONTH,
        alarms: alarms * ALARM_MONTH,
        metrics: metrics * METRIC_MONTH,
        minutes: minute.compute_cost().total_cost() * MONTHLY_TICKS / 1e6,
    }
}

impl EventLoad {
    /// How long an event is billed in the cloud, in milliseconds, without its share of cold starts.
    pub fn duration_ms(&self) -> f64 {
        let cpu_share = (self.memory_mb / MB_PER_CPU).min(1.0);
        (self.cpu_ms / cpu_share + self.dynamo * DYNAMO_MS + self.secrets * SECRETS_MS + self.provider * PROVIDER_MS)
            .ceil()
    }

    /// US$ for a million events.
    pub fn compute_cost(&self) -> CostBreakdown {
        let cold_ms = COLD_SHARE * (self.init_ms + self.secrets_at_start * SECRETS_MS);
        // A million milliseconds are a thousand seconds.
        let gb_seconds = self.memory_mb / 1024.0 * (self.duration_ms() + cold_ms) * 1000.0;
        CostBreakdown {
            gateway: self.gateway * HTTP_API_REQUESTS,
            requests: self.invocations * LAMBDA_REQUESTS,
            compute: gb_seconds * LAMBDA_GB_SECOND,
            writes: self.write_units * WRITE_UNITS,
            reads: self.read_units * READ_UNITS,
            secrets: (self.secrets + COLD_SHARE * self.secrets_at_start) * SECRETS_CALLS,
            // For a million events, bytes become MB.
            logs: self.log_bytes / 1000.0 * LOGS_GB,
        }
    }
}

impl CostBreakdown {
    /// The sum.
    pub fn total_cost(&self) -> f64 {
        self.gateway + self.requests + self.compute + self.writes + self.reads + self.secrets + self.logs
    }

    /// The sums of the parts of two bills.
    #[must_use]
    pub fn add_costs(&self, other: &Self) -> Self {
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
        invocations: 1.0,
        cpu_ms: 0.5,
        dynamo: 1.0,
        write_units: 2.0,
        read_units: 0.0,
        secrets: 0.0,
        provider: 0.0,
        log_bytes: 1000.0,
        init_ms: 5.0,
        secrets_at_start: 4.0,
        gateway: 1.0,
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

    #[test]
    fn an_idle_month_is_its_rents_and_its_minutes() {
        let month = idle_month(5.0, 10.0, 1.0, &DELIVERY);
        assert_close(month.secrets + month.alarms + month.metrics, 2.0 + 1.0 + 0.3);
        assert_close(month.minutes, DELIVERY.compute_cost().total_cost() * 0.04383);
        assert_close(month.total(), 3.3 + month.minutes);
    }

    #[test]
    fn the_http_api_logs_one_formatted_line_a_request() {
        let template = "Format: >-\n  {\"status\":\"$context.status\",\n  \"error\":\"$context.error.responseType\"}\n\nOther: 1\n";
        assert_close(access_log_bytes(template), 30.0);
        assert_close(access_log_bytes("no access log"), 0.0);
    }

    #[test]
    fn lambda_logs_successful_invocations_at_info_only() {
        assert_close(platform_log_bytes("LoggingConfig: { SystemLogLevel: INFO }"), 700.0);
        assert_close(platform_log_bytes("LoggingConfig: { SystemLogLevel: WARN }"), 0.0);
    }
}
