//! The figures of a day: what was sent, arrived and failed, and what came in twice or was refused.
//! They come from the metrics and the logs of the functions, and from the alarms of the stack.

use aws_sdk_cloudwatch::{
    error::SdkError,
    operation::{describe_alarms::DescribeAlarmsError, get_metric_data::GetMetricDataError},
    primitives::DateTime,
    types::{Dimension, Metric as MetricName, MetricDataQuery, MetricDataResult, MetricStat, StateValue},
};
use jiff::Timestamp;
use serde::Serialize;
use tellonce_core::{
    client_config::ClientConfig,
    fault::error_chain,
    telemetry::{Measurement, Metric, NAMESPACE},
};

use crate::{
    client_stack::ClientStack,
    function_logs::{FoundLines, LogFilter, LogSearch},
    refusals::SenderRefusals,
};

/// `CloudWatch` keeps points of five minutes for 63 days, and one response has those of a day.
const PERIOD_SECONDS: i32 = 300;
/// The most requests for the log with the messages that failed.
const LOG_REQUESTS: usize = 2;

/// The figures could not be read.
#[derive(Debug, thiserror::Error)]
enum FiguresError {
    #[error("the metrics could not be read")]
    Metrics(#[source] Box<SdkError<GetMetricDataError>>),
    #[error("the alarms could not be read")]
    Alarms(#[source] Box<SdkError<DescribeAlarmsError>>),
}

/// An alarm in the state ALARM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RaisedAlarm {
    /// Its name without that of the stack: `messages-waiting`.
    pub name: String,
    /// Since when.
    pub since: Option<Timestamp>,
}

/// The figures since the day began in the client's time zone. What is `None` could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Today {
    /// When the day began.
    pub since: Timestamp,
    /// The messages that the provider accepted.
    pub sent: Option<u64>,
    /// The messages that arrived at a phone, if their line reports it.
    pub arrived: Option<u64>,
    /// The messages that failed, as their line reports it.
    pub failed: Option<u64>,
    /// Whether the log was not searched to its end, so that more may have failed.
    pub failed_has_more: bool,
    /// The deliveries that an inbox had already.
    pub repeats: Option<u64>,
    /// The deliveries that were refused.
    pub refused: Option<u64>,
    /// The same by sender, with the newest ones.
    pub refusals: Vec<SenderRefusals>,
    /// The alarms that are raised now.
    pub alarms: Vec<RaisedAlarm>,
    /// What could not be read, and why.
    pub unreadable: Vec<String>,
}

impl ClientStack {
    /// The figures of today. Six requests at most. The caller may `cloudwatch:GetMetricData`,
    /// `cloudwatch:DescribeAlarms` and `logs:FilterLogEvents`.
    pub async fn read_today(&self, config: &ClientConfig) -> Today {
        let now = self.now();
        let midnight = config.local_day(now).to_zoned(config.own_zone()).map(|midnight| midnight.timestamp());
        let since = midnight.unwrap_or(now);
        let mut unreadable = Vec::new();
        let mut note = |problem: String| unreadable.push(problem);
        let sums = self.read_sums(since, now).await.map_err(|error| note(error_chain(&error))).ok();
        let [sent, arrived, repeats, refused] = sums.map_or([None; 4], |sums| sums.map(Some));
        let failed = self.count_failed(since).await.map_err(|error| note(error_chain(&error))).ok();
        let (failed, failed_has_more) = failed.map_or((None, false), |(failed, has_more)| (Some(failed), has_more));
        let refusals = self.read_refusals(since).await.map_err(|error| note(error_chain(&error))).unwrap_or_default();
        if refusals.has_more {
            note("the end of the log of webhook-receiver: it has too many lines".to_owned());
        }
        let alarms = self.read_alarms().await.map_err(|error| note(error_chain(&error))).unwrap_or_default();
        let refusals = refusals.senders;
        Today { since, sent, arrived, failed, failed_has_more, repeats, refused, refusals, alarms, unreadable }
    }

    /// What was sent, arrived, came in twice, and was refused.
    async fn read_sums(&self, since: Timestamp, now: Timestamp) -> Result<[u64; 4], FiguresError> {
        let wanted = [
            (Metric::MessagesAccepted.name(), "Sum"),
            // Each message that arrives is one measurement.
            (Measurement::DeliverySeconds.name(), "SampleCount"),
            (Metric::DeliveriesRepeated.name(), "Sum"),
            (Metric::DeliveriesRefused.name(), "Sum"),
        ];
        let queries = wanted.into_iter().enumerate().map(|(number, (name, statistic))| {
            let dimension = Dimension::builder().name("Client").value(self.client()).build();
            let metric = MetricName::builder().namespace(NAMESPACE).metric_name(name).dimensions(dimension).build();
            let stat = MetricStat::builder().metric(metric).period(PERIOD_SECONDS).stat(statistic).build();
            MetricDataQuery::builder().id(format!("m{number}")).metric_stat(stat).build()
        });
        let request = self
            .cloudwatch
            .get_metric_data()
            .set_metric_data_queries(Some(queries.collect()))
            .start_time(DateTime::from_secs(since.as_second()))
            // The period of now ends later.
            .end_time(DateTime::from_secs(now.as_second() + i64::from(PERIOD_SECONDS)));
        let answer = request.send().await.map_err(|error| FiguresError::Metrics(Box::new(error)))?;
        let sum_of = |number: usize| {
            let id = format!("m{number}");
            let results = answer.metric_data_results().iter().filter(|result| result.id() == Some(id.as_str()));
            let sum: f64 = results.flat_map(MetricDataResult::values).sum();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of events")]
            let sum = sum.round() as u64;
            sum
        };
        Ok([sum_of(0), sum_of(1), sum_of(2), sum_of(3)])
    }

    /// The messages that failed. The metric `attention` counts them with other events, and its line
    /// in the log says which. Returns also whether the log has more lines.
    async fn count_failed(&self, since: Timestamp) -> Result<(u64, bool), crate::function_logs::LogError> {
        let search = LogSearch {
            function: "conversation-sync",
            since,
            until: None,
            filter: LogFilter::Phrase("attention"),
            requests: LOG_REQUESTS,
        };
        let FoundLines { lines, has_more } = self.search_log(search).await?;
        let failed = lines.iter().filter(|line| line.field("reason") == Metric::MessagesFailed.attention_reason());
        Ok((failed.count() as u64, has_more))
    }

    async fn read_alarms(&self) -> Result<Vec<RaisedAlarm>, FiguresError> {
        let prefix = format!("tellonce-{}-", self.client());
        let request = self.cloudwatch.describe_alarms().alarm_name_prefix(&prefix).state_value(StateValue::Alarm);
        let answer = request.send().await.map_err(|error| FiguresError::Alarms(Box::new(error)))?;
        let raised = answer.metric_alarms().iter().filter_map(|alarm| {
            let since = alarm.state_transitioned_timestamp().or(alarm.state_updated_timestamp());
            Some(RaisedAlarm {
                name: alarm.alarm_name()?.strip_prefix(&prefix)?.to_owned(),
                since: since.and_then(|since| Timestamp::from_second(since.secs()).ok()),
            })
        });
        Ok(raised.collect())
    }
}
