//! `GetMetricData` and `DescribeAlarms` of CloudWatch, in the protocol that its SDK speaks: Smithy
//! RPC v2 with CBOR.
//!
//! Of statistics, the local stack has `Sum` and `SampleCount`. Metrics arrive without delay.
//!
//! Shapes: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>,
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html> and
//! <https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html>.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::{Path, State},
    response::{IntoResponse as _, Response},
    routing::post,
};
use bytes::Bytes;
use ciborium::Value as Cbor;
use http::{HeaderMap, StatusCode, header};

use crate::{
    alarms::{AlarmState, list_alarm_changes},
    iam::{FunctionRoles, RequestedAction},
    metrics::MetricLog,
    template::{MetricId, TemplateAlarm},
};

/// The tag of a time, in seconds since 1970.
const TIME_TAG: u64 = 1;
/// How far back alarms are evaluated: longer than any of them is raised after its last event.
const ALARM_MINUTES: i64 = 240;

/// The metrics and alarms of a stack.
#[derive(Debug)]
pub(crate) struct FiguresApi {
    metrics: Arc<MetricLog>,
    alarms: Vec<TemplateAlarm>,
    roles: Arc<FunctionRoles>,
    /// The minute of the start: alarms are not evaluated before it.
    start: i64,
}

impl FiguresApi {
    pub(crate) fn new(metrics: Arc<MetricLog>, alarms: Vec<TemplateAlarm>, roles: Arc<FunctionRoles>) -> Self {
        Self { start: metrics.current_minute(), metrics, alarms, roles }
    }

    pub(super) fn build_router(self) -> Router {
        Router::new()
            .route("/service/GraniteServiceVersion20100801/operation/{operation}", post(answer))
            .with_state(Arc::new(self))
    }

    fn read_metrics(&self, request: &Cbor) -> Option<Cbor> {
        let (begin, end) = (time_of(member(request, "StartTime")?)?, time_of(member(request, "EndTime")?)?);
        let results = member(request, "MetricDataQueries")?.as_array()?.iter().map(|query| {
            let stat = member(query, "MetricStat")?;
            let period = i64::try_from(member(stat, "Period")?.as_integer()?).ok().filter(|period| *period > 0)?;
            let metric = metric_id(member(stat, "Metric")?)?;
            let statistic = text(stat, "Stat")?;
            let (mut times, mut values) = (Vec::new(), Vec::new());
            for from in (begin..end).step_by(usize::try_from(period).ok()?) {
                let found = self.metrics.values_in(&metric, from.div_euclid(60)..(from + period).div_euclid(60));
                if !found.is_empty() {
                    times.push(time(from));
                    #[expect(clippy::cast_precision_loss, reason = "a stack has far fewer than 2^52 events")]
                    let count = found.len() as f64;
                    values.push(Cbor::Float(if statistic == "Sum" { found.iter().sum() } else { count }));
                }
            }
            Some(map([
                ("Id", Cbor::Text(text(query, "Id")?.to_owned())),
                ("Label", Cbor::Text(metric.name.clone())),
                ("Timestamps", Cbor::Array(times)),
                ("Values", Cbor::Array(values)),
                ("StatusCode", Cbor::Text("Complete".to_owned())),
            ]))
        });
        Some(map([("MetricDataResults", Cbor::Array(results.collect::<Option<_>>()?))]))
    }

    fn describe_alarms(&self, request: &Cbor) -> Option<Cbor> {
        let now = self.metrics.current_minute();
        let from = self.start.max(now - ALARM_MINUTES).min(now);
        let changes = list_alarm_changes(&self.alarms, &self.metrics, from, now).ok()?;
        let prefix = text(request, "AlarmNamePrefix").unwrap_or_default();
        let wanted = text(request, "StateValue");
        let alarms = self.alarms.iter().filter(|alarm| alarm.name.starts_with(prefix)).filter_map(|alarm| {
            let last = changes.iter().rev().find(|change| change.alarm == alarm.name);
            let state = match last.map(|change| change.state) {
                Some(AlarmState::Alarm) => "ALARM",
                Some(AlarmState::Ok) | None => "OK",
            };
            let since = last.map_or(from, |change| change.minute) * 60;
            wanted.is_none_or(|wanted| wanted == state).then(|| {
                map([
                    ("AlarmName", Cbor::Text(alarm.name.clone())),
                    ("StateValue", Cbor::Text(state.to_owned())),
                    ("StateTransitionedTimestamp", time(since)),
                ])
            })
        });
        Some(map([("MetricAlarms", Cbor::Array(alarms.collect())), ("CompositeAlarms", Cbor::Array(vec![]))]))
    }
}

async fn answer(
    State(api): State<Arc<FiguresApi>>,
    Path(operation): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let action = RequestedAction::new(&format!("cloudwatch:{operation}"), "*".to_owned());
    if let Some(refusal) = api.roles.check_request(&headers, &[action]) {
        let message = refusal["Message"].as_str().unwrap_or_default();
        return error_response(StatusCode::FORBIDDEN, "AccessDenied", message);
    }
    let answered = ciborium::from_reader(body.as_ref()).ok().and_then(|request: Cbor| match operation.as_str() {
        "GetMetricData" => api.read_metrics(&request),
        "DescribeAlarms" => api.describe_alarms(&request),
        _ => None,
    });
    match answered {
        Some(answer) => cbor_response(StatusCode::OK, &answer),
        None => error_response(StatusCode::BAD_REQUEST, "InvalidParameterValue", "the local stack cannot answer this"),
    }
}

fn error_response(status: StatusCode, kind: &str, message: &str) -> Response {
    let error = [("__type", Cbor::Text(kind.to_owned())), ("message", Cbor::Text(message.to_owned()))];
    cbor_response(status, &map(error))
}

fn cbor_response(status: StatusCode, answer: &Cbor) -> Response {
    let mut body = Vec::new();
    if let Err(error) = ciborium::into_writer(answer, &mut body) {
        return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
    }
    (status, [(header::CONTENT_TYPE.as_str(), "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")], body)
        .into_response()
}

fn map<const N: usize>(members: [(&str, Cbor); N]) -> Cbor {
    Cbor::Map(members.into_iter().map(|(name, value)| (Cbor::Text(name.to_owned()), value)).collect())
}

fn time(seconds: i64) -> Cbor {
    Cbor::Tag(TIME_TAG, Box::new(Cbor::Integer(seconds.into())))
}

fn time_of(value: &Cbor) -> Option<i64> {
    let (_, seconds) = value.as_tag()?;
    #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970")]
    let whole = seconds.as_float().map(|seconds| seconds as i64);
    whole.or_else(|| i64::try_from(seconds.as_integer()?).ok())
}

fn member<'a>(value: &'a Cbor, name: &str) -> Option<&'a Cbor> {
    value.as_map()?.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, value)| value)
}

fn text<'a>(value: &'a Cbor, name: &str) -> Option<&'a str> {
    member(value, name)?.as_text()
}

fn metric_id(metric: &Cbor) -> Option<MetricId> {
    let dimensions = member(metric, "Dimensions")?.as_array()?.iter();
    let dimension = |of: &Cbor| Some((text(of, "Name")?.to_owned(), text(of, "Value")?.to_owned()));
    Some(MetricId {
        namespace: text(metric, "Namespace")?.to_owned(),
        name: text(metric, "MetricName")?.to_owned(),
        dimensions: dimensions.map(dimension).collect::<Option<BTreeMap<_, _>>>()?,
    })
}
