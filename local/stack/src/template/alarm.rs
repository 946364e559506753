//! The alarms of a template (`AWS::CloudWatch::Alarm`).
//!
//! Properties:
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudwatch-alarm.html>.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value};

use super::{parse_number, read_template_text, resolve::TemplateResolver};

/// A metric: namespace, name and dimensions. CloudWatch treats each combination of dimensions as a
/// separate metric.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricId {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The dimensions, by name.
    pub dimensions: BTreeMap<String, String>,
}

/// How the values of a period become one data point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmStatistic {
    /// The sum.
    Sum,
    /// The largest value.
    Maximum,
}

/// When a data point breaches the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmComparison {
    /// It is greater.
    Greater,
    /// It is greater or equal.
    GreaterOrEqual,
}

/// An alarm on one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateAlarm {
    /// The name.
    pub name: String,
    /// The metric.
    pub metric: MetricId,
    /// How a period becomes a data point.
    pub statistic: AlarmStatistic,
    /// The length of a period, in minutes.
    pub period_minutes: u32,
    /// How many data points are evaluated.
    pub evaluation_periods: usize,
    /// How many of them have to breach the threshold.
    pub datapoints_to_alarm: usize,
    /// The threshold.
    pub threshold: f64,
    /// When a data point breaches it.
    pub comparison: AlarmComparison,
    /// Whether a missing data point counts as one that breaches the threshold.
    pub missing_breaches: bool,
    /// Whether a change to `ALARM` notifies a person.
    pub notifies_alarm: bool,
    /// Whether a change to `OK` notifies a person.
    pub notifies_ok: bool,
}

/// The properties that are understood. An alarm with another one is refused, so that no part of it
/// is silently missing.
const PROPERTIES: [&str; 14] = [
    "AlarmName",
    "AlarmDescription",
    "Namespace",
    "MetricName",
    "Dimensions",
    "Statistic",
    "Period",
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "Threshold",
    "ComparisonOperator",
    "TreatMissingData",
    "AlarmActions",
    "OKActions",
];

impl TemplateAlarm {
    /// Reads the alarms of the template at `path`. `parameters` override the template's own
    /// defaults.
    pub fn read_all(path: &Path, parameters: &BTreeMap<String, String>) -> anyhow::Result<Vec<Self>> {
        Self::parse_all(&read_template_text(path)?, parameters).with_context(|| format!("in {}", path.display()))
    }

    /// Parses the alarms in the text of a template.
    pub fn parse_all(text: &str, parameters: &BTreeMap<String, String>) -> anyhow::Result<Vec<Self>> {
        let resolver = TemplateResolver::new(text, parameters)?;
        let resources = resolver.list_resources()?;
        let alarms = resources.iter().filter(|(_, kind)| kind.as_str() == "AWS::CloudWatch::Alarm");
        alarms.map(|(id, _)| Self::from_resource(id, &resolver).with_context(|| format!("resource {id}"))).collect()
    }

    fn from_resource(id: &str, resolver: &TemplateResolver) -> anyhow::Result<Self> {
        let known = resolver.list_properties(id)?;
        if let Some(other) = known.iter().find(|name| !PROPERTIES.contains(&name.as_str())) {
            bail!("the local stack cannot interpret {other} of an alarm");
        }
        let properties = resolver.resolve_properties(id, &PROPERTIES)?;
        let text = |name: &str| {
            properties
                .get(name)
                .and_then(Value::as_str)
                .map(str::to_owned)
                .with_context(|| format!("{name} is missing"))
        };
        let period: u32 = parse_number(&properties, "Period")?.context("Period is missing")?;
        ensure!(period > 0 && period.is_multiple_of(60), "Period should be a multiple of 60 seconds, not {period}");
        let evaluation_periods =
            parse_number(&properties, "EvaluationPeriods")?.context("EvaluationPeriods is missing")?;
        let missing_breaches = match text("TreatMissingData")?.as_str() {
            "breaching" => true,
            "notBreaching" => false,
            other => bail!("the local stack knows TreatMissingData breaching and notBreaching, not {other}"),
        };
        let has_action = |name: &str| properties.get(name).and_then(Value::as_array).is_some_and(|all| !all.is_empty());
        Ok(Self {
            name: text("AlarmName")?,
            metric: MetricId {
                namespace: text("Namespace")?,
                name: text("MetricName")?,
                dimensions: read_dimensions(&properties)?,
            },
            statistic: AlarmStatistic::from_name(&text("Statistic")?)?,
            period_minutes: period / 60,
            evaluation_periods,
            datapoints_to_alarm: parse_number(&properties, "DatapointsToAlarm")?.unwrap_or(evaluation_periods),
            threshold: parse_number(&properties, "Threshold")?.context("Threshold is missing")?,
            comparison: AlarmComparison::from_name(&text("ComparisonOperator")?)?,
            missing_breaches,
            notifies_alarm: has_action("AlarmActions"),
            notifies_ok: has_action("OKActions"),
        })
    }
}

impl AlarmStatistic {
    fn from_name(name: &str) -> anyhow::Result<Self> {
        Ok(match name {
            "Sum" => Self::Sum,
            "Maximum" => Self::Maximum,
            other => bail!("the local stack knows Statistic Sum and Maximum, not {other}"),
        })
    }

    /// The data point of these values; `None` if there are none.
    pub(crate) fn of_values(self, values: &[f64]) -> Option<f64> {
        let combine = match self {
            Self::Sum => |all, value| all + value,
            Self::Maximum => f64::max,
        };
        values.iter().copied().reduce(combine)
    }
}

impl AlarmComparison {
    fn from_name(name: &str) -> anyhow::Result<Self> {
        Ok(match name {
            "GreaterThanThreshold" => Self::Greater,
            "GreaterThanOrEqualToThreshold" => Self::GreaterOrEqual,
            other => bail!("the local stack cannot interpret ComparisonOperator {other}"),
        })
    }

    /// Whether a data point breaches a threshold.
    pub(crate) fn is_breached(self, point: f64, threshold: f64) -> bool {
        match self {
            Self::Greater => point > threshold,
            Self::GreaterOrEqual => point >= threshold,
        }
    }
}

fn read_dimensions(properties: &Map<String, Value>) -> anyhow::Result<BTreeMap<String, String>> {
    let all = properties.get("Dimensions").and_then(Value::as_array);
    let dimension = |dimension: &Value| {
        let text = |name: &str| dimension[name].as_str().map(str::to_owned);
        text("Name").zip(text("Value")).context("a dimension needs Name and Value")
    };
    all.into_iter().flatten().map(dimension).collect()
}
