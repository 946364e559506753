//! The wiring, read from `template.yaml`: functions, routes, tables, streams and schedules.
//!
//! The local stack has no other wiring. It refuses what it cannot interpret and names the resource,
//! so that no part of a template is silently missing. It ignores resources that wire nothing
//! (dashboards, log groups, layers, the mapping of a domain). Alarms are read apart, when they are
//! evaluated.
//!
//! Properties:
//! <https://github.com/aws/serverless-application-model/blob/develop/versions/2016-10-31.md> and
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-dynamodb-table.html>.

mod alarm;
mod filter;
mod resolve;
mod role;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value, json};

pub use alarm::{AlarmComparison, AlarmStatistic, MetricId, TemplateAlarm};
pub use filter::FilterPattern;
pub use role::RoleStatement;

use resolve::TemplateResolver;

/// The parts of a template that the local stack runs.
#[derive(Debug)]
pub struct SamTemplate {
    /// Functions in alphabetical order of their logical ids.
    pub functions: Vec<TemplateFunction>,
    /// DynamoDB tables.
    pub tables: Vec<TemplateTable>,
    /// What each role allows, by the role's logical id.
    pub roles: BTreeMap<String, Vec<RoleStatement>>,
    /// The stage of the HTTP API, unless it is the default one: the first segment of its addresses.
    pub address_segment: Option<String>,
    /// Logical id of the HTTP API: its id in metrics. Empty if there is none.
    pub api: String,
}

/// A function of the template.
#[derive(Debug, Clone)]
pub struct TemplateFunction {
    /// Logical id in the template.
    pub id: String,
    /// The binary's name, which is also the function's name on this machine.
    pub name: String,
    /// Memory in MB: in the function's environment, not enforced.
    pub memory_mb: u32,
    /// Longest duration of an invocation, which is then killed.
    pub timeout: Duration,
    /// Logical id of its role.
    pub role: Option<String>,
    /// Environment variables, Globals included.
    pub env: BTreeMap<String, String>,
    /// HTTP API routes that invoke it.
    pub routes: Vec<HttpRoute>,
    /// Table streams that invoke it.
    pub streams: Vec<StreamMapping>,
    /// Schedules that invoke it.
    pub schedules: Vec<TemplateSchedule>,
}

/// A route of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRoute {
    /// Method in capitals.
    pub method: String,
    /// Path with `{parameters}`, each for one segment.
    pub path: String,
}

/// A DynamoDB table.
#[derive(Debug, Clone)]
pub struct TemplateTable {
    /// Logical id in the template.
    pub id: String,
    /// Name of the table: `TableName`, or the logical id.
    pub name: String,
    /// The body of a `CreateTable` request.
    pub definition: Value,
    /// The attribute with an item's expiry in unix seconds.
    pub ttl_attribute: Option<String>,
}

/// A table's stream as a function's event source.
#[derive(Debug, Clone)]
pub struct StreamMapping {
    /// `{function's logical id}/{event's name}`.
    pub id: String,
    /// Name of the table.
    pub table: String,
    /// Most records per invocation.
    pub batch_size: usize,
    /// A record is delivered if one of these matches, or if there are none.
    pub filters: Vec<FilterPattern>,
    /// Whether a failed batch is halved.
    pub bisect: bool,
    /// Retries after the first attempt; `None`: until success.
    pub max_retries: Option<u32>,
    /// Whether the function responds with `batchItemFailures`.
    pub reports_failures: bool,
    /// Name of the queue for given-up batches.
    pub on_failure: Option<String>,
    /// Whether reading starts with the oldest record (`TRIM_HORIZON`) or the next one (`LATEST`).
    pub from_start: bool,
}

/// A schedule that invokes a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateSchedule {
    /// `{function's logical id}/{event's name}`.
    pub id: String,
    /// The interval.
    pub interval: Duration,
    /// The constant input of the function; without it, the event of a rule.
    pub input: Option<Value>,
}

/// The stage whose addresses have no segment of their own.
const DEFAULT_STAGE: &str = "$default";

/// Resource types with wiring that the local stack does not know.
const UNSUPPORTED_RESOURCES: [&str; 13] = [
    "AWS::Serverless::Api",
    "AWS::Serverless::Application",
    "AWS::Serverless::SimpleTable",
    "AWS::Serverless::StateMachine",
    "AWS::ApiGatewayV2::Integration",
    "AWS::ApiGatewayV2::Route",
    "AWS::DynamoDB::GlobalTable",
    "AWS::Events::Rule",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Function",
    "AWS::Lambda::Url",
    "AWS::Pipes::Pipe",
    "AWS::Scheduler::Schedule",
];

impl SamTemplate {
    /// Reads the template at `path`. `parameters` override the template's own defaults.
    pub fn read(path: &Path, parameters: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        Self::parse(&read_template_text(path)?, parameters).with_context(|| format!("in {}", path.display()))
    }

    /// Parses the text of a template.
    pub fn parse(text: &str, parameters: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let resolver = TemplateResolver::new(text, parameters)?;
        let globals = resolver.resolve_global_function()?;
        let mut template = Self {
            functions: Vec::new(),
            tables: Vec::new(),
            roles: BTreeMap::new(),
            address_segment: None,
            api: String::new(),
        };
        for (id, kind) in resolver.list_resources()? {
            if kind == "AWS::Serverless::HttpApi" {
                let stage =
                    resolver.resolve_properties(&id, &["StageName"]).with_context(|| format!("resource {id}"))?;
                let stage = stage.get("StageName").and_then(Value::as_str).filter(|stage| *stage != DEFAULT_STAGE);
                template.address_segment = stage.map(str::to_owned);
                template.api.clone_from(&id);
            }
            if ["AWS::IAM::Role", "AWS::IAM::Policy"].contains(&kind.as_str()) {
                role::add_statements(&mut template.roles, &id, &kind, &resolver)
                    .with_context(|| format!("resource {id}"))?;
            }
            let read = || -> anyhow::Result<(Option<TemplateFunction>, Option<TemplateTable>)> {
                Ok(match kind.as_str() {
                    "AWS::Serverless::Function" => {
                        (Some(TemplateFunction::from_resource(&id, &resolver, &globals)?), None)
                    }
                    "AWS::DynamoDB::Table" => (None, Some(TemplateTable::from_resource(&id, &resolver)?)),
                    kind if UNSUPPORTED_RESOURCES.contains(&kind) => bail!("the local stack cannot interpret a {kind}"),
                    _ => (None, None),
                })
            };
            let (function, table) = read().with_context(|| format!("resource {id}"))?;
            template.functions.extend(function);
            template.tables.extend(table);
        }
        ensure!(!template.functions.is_empty(), "the template has no AWS::Serverless::Function");
        for stream in template.functions.iter().flat_map(|f| &f.streams) {
            let table = template.tables.iter().find(|t| t.name == stream.table);
            ensure!(
                table.is_some_and(|t| !t.definition["StreamSpecification"].is_null()),
                "{}: table {} has no StreamSpecification",
                stream.id,
                stream.table
            );
        }
        for function in &template.functions {
            let tables: BTreeSet<&str> = function.streams.iter().map(|stream| stream.table.as_str()).collect();
            ensure!(
                tables.len() == function.streams.len(),
                "{} has two mappings of one stream; Lambda refuses the second one",
                function.id
            );
        }
        Ok(template)
    }

    /// The function with this binary's name.
    pub fn find_function(&self, name: &str) -> Option<&TemplateFunction> {
        self.functions.iter().find(|f| f.name == name)
    }
}

impl TemplateFunction {
    fn from_resource(id: &str, resolver: &TemplateResolver, globals: &Map<String, Value>) -> anyhow::Result<Self> {
        let mut properties = globals.clone();
        let own = resolver.resolve_properties(
            id,
            &["MemorySize", "Timeout", "Environment", "Events", "PackageType", "FunctionUrlConfig", "Role"],
        )?;
        let mut env = read_variables(globals)?;
        env.extend(read_variables(&own)?);
        properties.extend(own);
        ensure!(properties.get("FunctionUrlConfig").is_none(), "the local stack serves no function URLs");
        let package = properties.get("PackageType").and_then(Value::as_str).unwrap_or("Zip");
        ensure!(package == "Zip", "the local stack runs binaries, not PackageType {package}");
        let name = resolver.resolve_metadata(id)?["BuildProperties"]["Binary"].as_str().map(str::to_owned).context(
            "Metadata.BuildProperties.Binary is missing: without it the local stack does not know which binary to run",
        )?;
        // Lambda's defaults: 128 MB, 3 s.
        let mut function = Self {
            id: id.to_owned(),
            name,
            memory_mb: parse_number(&properties, "MemorySize")?.unwrap_or(128),
            timeout: Duration::from_secs(parse_number(&properties, "Timeout")?.unwrap_or(3)),
            role: read_role(&properties),
            env,
            routes: Vec::new(),
            streams: Vec::new(),
            schedules: Vec::new(),
        };
        let no_events = Map::new();
        let events = properties.get("Events").and_then(Value::as_object).unwrap_or(&no_events);
        for (name, event) in events {
            let no_properties = Map::new();
            let own = event["Properties"].as_object().unwrap_or(&no_properties);
            function
                .add_event(&format!("{id}/{name}"), event["Type"].as_str().unwrap_or_default(), own, resolver)
                .with_context(|| format!("event {name}"))?;
        }
        Ok(function)
    }

    fn add_event(
        &mut self,
        id: &str,
        kind: &str,
        properties: &Map<String, Value>,
        resolver: &TemplateResolver,
    ) -> anyhow::Result<()> {
        match kind {
            "HttpApi" => self.routes.push(HttpRoute::from_event(properties)?),
            "DynamoDB" => self.streams.push(StreamMapping::from_event(id, properties, resolver)?),
            "Schedule" => self.schedules.push(TemplateSchedule::from_event(id, properties)?),
            other => bail!("the local stack cannot interpret events of type {other:?}"),
        }
        Ok(())
    }
}

impl HttpRoute {
    fn from_event(properties: &Map<String, Value>) -> anyhow::Result<Self> {
        ensure_known_keys(properties, &["ApiId", "Path", "Method", "PayloadFormatVersion"])?;
        let version = properties.get("PayloadFormatVersion").and_then(Value::as_str).unwrap_or("2.0");
        ensure!(version == "2.0", "the local stack knows payload format 2.0, not {version}");
        let (Some(path), Some(method)) =
            (properties.get("Path").and_then(Value::as_str), properties.get("Method").and_then(Value::as_str))
        else {
            bail!("the local stack needs Path and Method of a route: it has no catch-all route");
        };
        let method = method.to_ascii_uppercase();
        let single_method = http::Method::from_bytes(method.as_bytes()).is_ok() && method != "ANY";
        ensure!(single_method && !method.starts_with("X-"), "the local stack cannot serve method {method} of {path}");
        ensure!(path.starts_with('/') && !path.contains("+}"), "the local stack cannot serve the path {path}");
        Ok(Self { method, path: path.to_owned() })
    }
}

impl StreamMapping {
    fn from_event(id: &str, properties: &Map<String, Value>, resolver: &TemplateResolver) -> anyhow::Result<Self> {
        ensure_known_keys(
            properties,
            &[
                "Stream",
                "StartingPosition",
                "BatchSize",
                "FilterCriteria",
                "BisectBatchOnFunctionError",
                "MaximumRetryAttempts",
                // Records never age out locally.
                "MaximumRecordAgeInSeconds",
                "FunctionResponseTypes",
                "DestinationConfig",
            ],
        )?;
        let arn = properties.get("Stream").and_then(Value::as_str).context("Stream is missing")?;
        let table = resolver
            .table_of_stream(arn)
            .with_context(|| format!("Stream {arn} is not the stream of a table in this template"))?;
        let from_start = match properties.get("StartingPosition").and_then(Value::as_str) {
            Some("TRIM_HORIZON") => true,
            Some("LATEST") => false,
            other => bail!("StartingPosition should be TRIM_HORIZON or LATEST, not {other:?}"),
        };
        let mut filters = Vec::new();
        for filter in properties.get("FilterCriteria").and_then(|c| c["Filters"].as_array()).unwrap_or(&Vec::new()) {
            let pattern = match &filter["Pattern"] {
                Value::String(text) => serde_json::from_str(text).context("a filter's Pattern is not JSON")?,
                other => other.clone(),
            };
            filters.push(FilterPattern::parse(&pattern)?);
        }
        let response_types = properties.get("FunctionResponseTypes").and_then(Value::as_array);
        let reports_failures = response_types.is_some_and(|types| types.iter().any(|t| t == "ReportBatchItemFailures"));
        let on_failure = match properties.get("DestinationConfig") {
            None => None,
            Some(config) => {
                let arn = config["OnFailure"]["Destination"].as_str().context("OnFailure.Destination is missing")?;
                Some(arn.rsplit(':').next().unwrap_or(arn).to_owned())
            }
        };
        let max_retries: Option<i64> = parse_number(properties, "MaximumRetryAttempts")?;
        Ok(Self {
            id: id.to_owned(),
            table,
            // Lambda's default for streams.
            batch_size: parse_number(properties, "BatchSize")?.unwrap_or(100),
            filters,
            bisect: parse_flag(properties, "BisectBatchOnFunctionError")?.unwrap_or(false),
            max_retries: max_retries.and_then(|n| u32::try_from(n).ok()),
            reports_failures,
            on_failure,
            from_start,
        })
    }
}

impl TemplateSchedule {
    fn from_event(id: &str, properties: &Map<String, Value>) -> anyhow::Result<Self> {
        ensure_known_keys(properties, &["Schedule", "Input", "Description", "RetryPolicy"])?;
        let expression = properties.get("Schedule").and_then(Value::as_str).context("Schedule is missing")?;
        let input = match properties.get("Input") {
            None => None,
            Some(Value::String(text)) => Some(serde_json::from_str(text).context("the schedule's Input is not JSON")?),
            Some(other) => bail!("the schedule's Input should be JSON as text, not {other}"),
        };
        Ok(Self { id: id.to_owned(), interval: parse_interval(expression)?, input })
    }
}

impl TemplateTable {
    /// Name of the partition key.
    pub(crate) fn hash_key(&self) -> Option<String> {
        let keys = self.definition["KeySchema"].as_array()?;
        keys.iter().find(|key| key["KeyType"] == "HASH")?["AttributeName"].as_str().map(str::to_owned)
    }

    fn from_resource(id: &str, resolver: &TemplateResolver) -> anyhow::Result<Self> {
        let known = [
            "TableName",
            "KeySchema",
            "AttributeDefinitions",
            "GlobalSecondaryIndexes",
            "BillingMode",
            "StreamSpecification",
            "TimeToLiveSpecification",
        ];
        let mut definition = resolver.resolve_properties(id, &known)?;
        let name = resolver.table_name(id)?;
        definition.insert("TableName".to_owned(), json!(name));
        if let Some(stream) = definition.get_mut("StreamSpecification").and_then(Value::as_object_mut) {
            // CloudFormation does not have it, the API requires it.
            stream.insert("StreamEnabled".to_owned(), json!(true));
        }
        let ttl = definition.remove("TimeToLiveSpecification");
        let ttl_attribute = ttl
            .filter(|ttl| ttl["Enabled"] != false && ttl["Enabled"] != "false")
            .and_then(|ttl| ttl["AttributeName"].as_str().map(str::to_owned));
        Ok(Self { id: id.to_owned(), name, definition: Value::Object(definition), ttl_attribute })
    }
}

fn read_template_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))
}

/// The logical id of a role: the end of the ARN here.
fn read_role(properties: &Map<String, Value>) -> Option<String> {
    Some(properties.get("Role")?.as_str()?.rsplit('/').next()?.to_owned())
}

/// `Environment.Variables` as text.
fn read_variables(properties: &Map<String, Value>) -> anyhow::Result<BTreeMap<String, String>> {
    let mut env = BTreeMap::new();
    let variables = properties.get("Environment").and_then(|e| e["Variables"].as_object());
    for (name, value) in variables.into_iter().flatten() {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(n) => n.to_string(),
            Value::Bool(b) => b.to_string(),
            other => bail!("the value of environment variable {name} is not a text: {other}"),
        };
        env.insert(name.clone(), text);
    }
    Ok(env)
}

/// A number, which may be written as text like a parameter.
fn parse_number<T: std::str::FromStr>(properties: &Map<String, Value>, name: &str) -> anyhow::Result<Option<T>> {
    let text = match properties.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    text.parse().map(Some).map_err(|_| anyhow::anyhow!("{name} should be a whole number, not {text}"))
}

/// A boolean, which may be written as text.
fn parse_flag(properties: &Map<String, Value>, name: &str) -> anyhow::Result<Option<bool>> {
    match properties.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(b)) => Ok(Some(*b)),
        Some(Value::String(text)) if text == "true" => Ok(Some(true)),
        Some(Value::String(text)) if text == "false" => Ok(Some(false)),
        Some(other) => bail!("{name} should be true or false, not {other}"),
    }
}

fn ensure_known_keys(properties: &Map<String, Value>, known: &[&str]) -> anyhow::Result<()> {
    match properties.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => bail!("the local stack cannot interpret {name} here"),
    }
}

/// `rate(n minutes)`, `rate(n hours)` or `rate(n days)`.
fn parse_interval(expression: &str) -> anyhow::Result<Duration> {
    let unknown = || format!("the local stack knows rate(n minutes|hours|days), not {expression}");
    let inner = expression.strip_prefix("rate(").and_then(|rest| rest.strip_suffix(')')).with_context(unknown)?;
    let (count, unit) = inner.split_once(' ').with_context(unknown)?;
    let count: u64 = count.trim().parse().ok().filter(|n| *n > 0).with_context(unknown)?;
    let seconds = match unit.trim() {
        "minute" | "minutes" => 60,
        "hour" | "hours" => 3600,
        "day" | "days" => 86_400,
        _ => bail!(unknown()),
    };
    Ok(Duration::from_secs(count * seconds))
}

#[cfg(test)]
mod tests;
