//! CloudWatch's alarms on this machine: when each alarm of the template changes state.
//!
//! Pure, apart from reading [`MetricLog`]. It follows CloudWatch's documentation:
//!
//! - An alarm is evaluated at the end of every minute, over a window that moves with it: "Alarm
//!   evaluation",
//!   <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html>.
//! - More data points are read than are evaluated (the *evaluation range*), and missing ones are
//!   filled in only if too few exist: "Configuring how CloudWatch alarms treat missing data",
//!   <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html>.
//!   It does not document the length of the range. Its examples read five data points for three.
//! - An alarm notifies only when its state changes.
//!
//! Differences from AWS: metrics arrive without delay, the state `INSUFFICIENT_DATA` does not
//! exist, and an alarm begins as `OK`.

use crate::{
    metrics::{LOCAL_AWS_METRICS, MetricLog},
    template::TemplateAlarm,
};

/// How many more data points are read than are evaluated.
const EXTRA_DATA_POINTS: usize = 2;

/// The state of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmState {
    /// Within the threshold.
    Ok,
    /// Outside of the threshold.
    Alarm,
}

/// A change of an alarm's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmChange {
    /// When, in minutes since 1970: the evaluation at the beginning of this minute.
    pub minute: i64,
    /// The alarm's name.
    pub alarm: String,
    /// The new state.
    pub state: AlarmState,
    /// Whether the change notifies a person.
    pub notifies: bool,
}

/// The changes of all alarms that are evaluated from one minute to another, in order of time.
/// Refuses an alarm on a metric that does not exist here.
pub fn list_alarm_changes(
    alarms: &[TemplateAlarm],
    metrics: &MetricLog,
    from_minute: i64,
    to_minute: i64,
) -> anyhow::Result<Vec<AlarmChange>> {
    let mut changes = Vec::new();
    for alarm in alarms {
        let (namespace, name) = (alarm.metric.namespace.as_str(), alarm.metric.name.as_str());
        anyhow::ensure!(
            !namespace.starts_with("AWS/") || LOCAL_AWS_METRICS.contains(&(namespace, name)),
            "{}: the local stack does not have the metric {namespace} {name}",
            alarm.name
        );
        let mut state = AlarmState::Ok;
        for minute in from_minute..=to_minute {
            let next = evaluate_points(alarm, &read_points(alarm, metrics, minute));
            if next != state {
                state = next;
                let notifies = if state == AlarmState::Alarm { alarm.notifies_alarm } else { alarm.notifies_ok };
                changes.push(AlarmChange { minute, alarm: alarm.name.clone(), state, notifies });
            }
        }
    }
    changes.sort_by_key(|change| change.minute);
    Ok(changes)
}

/// Whether each data point of the evaluation range breaches the threshold, the newest first; `None`
/// if it is missing.
fn read_points(alarm: &TemplateAlarm, metrics: &MetricLog, minute: i64) -> Vec<Option<bool>> {
    let period = i64::from(alarm.period_minutes);
    let range = (0..).take(alarm.evaluation_periods + EXTRA_DATA_POINTS);
    let point = |index: i64| {
        let end = minute - index * period;
        let values = metrics.values_in(&alarm.metric, end - period..end);
        let point = alarm.statistic.of_values(&values)?;
        Some(alarm.comparison.is_breached(point, alarm.threshold))
    };
    range.map(point).collect()
}

/// The state that follows from the data points of an evaluation range, the newest first.
fn evaluate_points(alarm: &TemplateAlarm, points: &[Option<bool>]) -> AlarmState {
    // Points that exist count before any is filled in.
    let existing: Vec<bool> = points.iter().copied().flatten().take(alarm.evaluation_periods).collect();
    let filled = if alarm.missing_breaches { alarm.evaluation_periods - existing.len() } else { 0 };
    let breaching = existing.into_iter().filter(|breaches| *breaches).count() + filled;
    if breaching >= alarm.datapoints_to_alarm { AlarmState::Alarm } else { AlarmState::Ok }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use serde_json::json;

    use super::*;
    use crate::clock::LocalClock;

    const TEMPLATE: &str = r#"
Parameters:
  Client: { Type: String, Default: demo }
Resources:
  AlarmTopic: { Type: AWS::SNS::Topic }
  Failures: { Type: AWS::SQS::Queue }
  Late:
    Type: AWS::CloudWatch::Alarm
    Properties:
      AlarmName: !Sub "tellonce-${Client}-late"
      AlarmDescription: Something is late.
      Namespace: tellonce
      MetricName: oldest_seconds
      Dimensions: [{ Name: Client, Value: !Ref Client }]
      Statistic: Maximum
      Period: 60
      EvaluationPeriods: 3
      Threshold: 720
      ComparisonOperator: GreaterThanThreshold
      TreatMissingData: breaching
      AlarmActions: [!Ref AlarmTopic]
      OKActions: [!Ref AlarmTopic]
"#;

    fn parse_alarm(changes: &[(&str, &str)]) -> TemplateAlarm {
        let text = changes.iter().fold(TEMPLATE.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        TemplateAlarm::parse_all(&text, &BTreeMap::new()).unwrap().remove(0)
    }

    /// Data points as CloudWatch's documentation writes them, the oldest first: `0` within the
    /// threshold, `X` outside, `-` missing.
    fn parse_points(points: &str) -> Vec<Option<bool>> {
        let point = |c: char| (c != '-').then_some(c == 'X');
        points.chars().rev().map(point).collect()
    }

    #[test]
    fn missing_data_leads_to_the_states_of_cloudwatch_s_examples() {
        use AlarmState::{Alarm, Ok};
        // The tables of "Configuring how CloudWatch alarms treat missing data": points, the state
        // if missing data breaches, and the state if it does not.
        let three_of_three =
            [("0-X-X", Ok, Ok), ("0----", Ok, Ok), ("-----", Alarm, Ok), ("0XX-X", Alarm, Alarm), ("--X--", Alarm, Ok)];
        let two_of_three = [
            ("0-X-X", Alarm, Alarm),
            ("00X0X", Alarm, Alarm),
            ("0-X--", Alarm, Ok),
            ("----0", Alarm, Ok),
            ("---X-", Alarm, Ok),
        ];
        for (datapoints, cases) in [(3, three_of_three), (2, two_of_three)] {
            for (points, if_breaching, if_not) in cases {
                let mut alarm = parse_alarm(&[]);
                alarm.datapoints_to_alarm = datapoints;
                assert_eq!(evaluate_points(&alarm, &parse_points(points)), if_breaching, "{datapoints}: {points}");
                alarm.missing_breaches = false;
                assert_eq!(evaluate_points(&alarm, &parse_points(points)), if_not, "{datapoints}: {points}");
            }
        }
    }

    /// The changes of an alarm over minutes with these values; `None` is a minute without one.
    fn list_changes(alarm: &TemplateAlarm, values: &[Option<i64>]) -> Vec<(i64, AlarmState)> {
        let folder = tempfile::tempdir().unwrap();
        let clock = LocalClock::open(&folder.path().join("clock")).unwrap();
        let metrics = MetricLog::new(Arc::new(clock));
        for (minute, value) in (100..).zip(values) {
            let line = json!({
                "_aws": {"Timestamp": minute * 60_000, "CloudWatchMetrics": [{
                    "Namespace": "tellonce", "Dimensions": [["Client"]], "Metrics": [{"Name": "oldest_seconds"}],
                }]},
                "Client": "demo", "oldest_seconds": value,
            });
            metrics.add_line(&line.to_string());
        }
        let end = 100 + i64::try_from(values.len()).unwrap();
        let changes = list_alarm_changes(std::slice::from_ref(alarm), &metrics, 105, end).unwrap();
        changes.into_iter().map(|change| (change.minute - 100, change.state)).collect()
    }

    #[test]
    fn an_alarm_changes_at_the_end_of_the_minute_that_completes_its_data_points() {
        let mut values = vec![Some(10); 20];
        values[8..14].fill(Some(721));
        let changes = list_changes(&parse_alarm(&[]), &values);
        assert_eq!(changes, [(11, AlarmState::Alarm), (15, AlarmState::Ok)]);
    }

    #[test]
    fn a_window_of_five_minutes_moves_every_minute() {
        let mut values = vec![None; 20];
        values[7] = Some(1);
        let alarm = parse_alarm(&[
            ("Period: 60", "Period: 300"),
            ("EvaluationPeriods: 3", "EvaluationPeriods: 1"),
            ("Maximum", "Sum"),
            ("Threshold: 720", "Threshold: 1"),
            ("GreaterThanThreshold", "GreaterThanOrEqualToThreshold"),
            ("TreatMissingData: breaching", "TreatMissingData: notBreaching"),
        ]);
        // The data point stays in the evaluation range for three periods, because none follows it.
        assert_eq!(list_changes(&alarm, &values), [(8, AlarmState::Alarm)]);
        values.resize(30, None);
        assert_eq!(list_changes(&alarm, &values), [(8, AlarmState::Alarm), (23, AlarmState::Ok)]);
    }

    #[test]
    fn the_alarm_of_attention_ends_an_hour_after_the_last_event() {
        let template = include_str!("../../../template.yaml");
        let alarms = TemplateAlarm::parse_all(template, &BTreeMap::from([("Client".into(), "demo".into())])).unwrap();
        let mut alarm = alarms.into_iter().find(|alarm| alarm.name == "tellonce-demo-attention").unwrap();
        alarm.metric.name = "oldest_seconds".into();
        let mut values = vec![None; 240];
        for minute in [7, 50, 100] {
            values[minute] = Some(1);
        }
        let changes = list_changes(&alarm, &values);
        let [(8, AlarmState::Alarm), (ended, AlarmState::Ok)] = changes[..] else { panic!("{changes:?}") };
        assert!((161..=165).contains(&ended), "{ended}");
    }

    #[test]
    fn an_alarm_on_a_gauge_that_stops_is_raised_when_too_few_data_points_are_left() {
        let mut values = vec![Some(10); 20];
        values[8..].fill(None);
        // One data point of five does not breach the threshold, two are filled in: still `OK`.
        assert_eq!(list_changes(&parse_alarm(&[]), &values), [(13, AlarmState::Alarm)]);
    }

    #[test]
    fn an_alarm_that_cannot_be_evaluated_here_is_refused() {
        let parse = |from: &str, to: &str| TemplateAlarm::parse_all(&TEMPLATE.replace(from, to), &BTreeMap::new());
        for (from, to, reason) in [
            ("Period: 60", "Period: 10", "multiple of 60"),
            ("Statistic: Maximum", "ExtendedStatistic: p90", "ExtendedStatistic"),
            ("TreatMissingData: breaching", "TreatMissingData: ignore", "ignore"),
            ("MetricName: oldest_seconds", "Metrics: []", "Metrics"),
        ] {
            let error = format!("{:#}", parse(from, to).unwrap_err());
            assert!(error.contains("Late") && error.contains(reason), "{error}");
        }
        let alarms = parse("Namespace: tellonce", "Namespace: AWS/Lambda").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let metrics = MetricLog::new(Arc::new(LocalClock::open(&folder.path().join("clock")).unwrap()));
        let error = list_alarm_changes(&alarms, &metrics, 0, 1).unwrap_err().to_string();
        assert!(error.contains("AWS/Lambda oldest_seconds"), "{error}");
    }

    #[test]
    fn an_alarm_names_its_queue_and_its_actions() {
        let alarm = parse_alarm(&[
            ("Name: Client, Value: !Ref Client", "Name: QueueName, Value: !GetAtt Failures.QueueName"),
            ("      OKActions: [!Ref AlarmTopic]\n", ""),
        ]);
        assert_eq!(alarm.name, "tellonce-demo-late");
        assert_eq!(alarm.metric.dimensions, BTreeMap::from([("QueueName".to_owned(), "Failures".to_owned())]));
        assert_eq!((alarm.notifies_alarm, alarm.notifies_ok), (true, false));
    }
}
