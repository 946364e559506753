//! What vendors say of their own APIs, as far as functions call them.
//!
//! Main types: an [`ApiDescription`] finds the operation of a request, and checks the request and
//! its reply. A [`DescriptionViolation`] names what contradicts the description, without values.
//! `README.md` beside the files names the source, version and licence of each.
//!
//! Each file lists operations. An operation has a JSON Schema for each part of its request, and for
//! its replies. The files hold facts (names, types, limits), and are stricter than their sources in
//! one way: a field that functions do not use is unknown. So a misspelled field is found.

mod validator;

use std::{collections::BTreeMap, fmt, sync::LazyLock};

use anyhow::Context as _;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::validator::{SchemaProblem, SchemaValidator};
use super::{request::FakeRequest, service::FakeService};

/// The files with descriptions, by the service that they describe.
const FILES: [(FakeService, &str); 6] = [
    (FakeService::Crm("hubspot"), include_str!("hubspot.json")),
    (FakeService::Crm("pipedrive"), include_str!("pipedrive.json")),
    (FakeService::Crm("zoho"), include_str!("zoho.json")),
    (FakeService::Crm("google-sheets"), include_str!("google_sheets.json")),
    (FakeService::Target("slack"), include_str!("slack.json")),
    (FakeService::Target("teams"), include_str!("teams.json")),
];
/// The published schema of tellonce's own events.
const WEBHOOK_SCHEMA: &str = include_str!("../../../../../docs/webhooks.schema.json");
/// The services that receive an event of tellonce, and the event's definition in the schema.
const WEBHOOKS: [(FakeService, &str); 2] =
    [(FakeService::Crm("webhook"), "message_event"), (FakeService::Target("webhook"), "alert_event")];

/// All descriptions, read once.
static DESCRIPTIONS: LazyLock<Result<BTreeMap<FakeService, ApiDescription>, String>> =
    LazyLock::new(|| read_descriptions().map_err(|error| format!("{error:#}")));

/// A request or a reply that contradicts a vendor's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescriptionViolation {
    /// Method and path, with a name in place of each id.
    pub operation: String,
    /// Each part that contradicts, as a JSON pointer, and why. Holds no value of the request.
    pub problems: Vec<(String, String)>,
}

impl fmt::Display for DescriptionViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.operation)?;
        self.problems.iter().try_for_each(|(place, problem)| write!(f, "; {place}: {problem}"))
    }
}

/// Finds what in a request contradicts the description of its service. Services without a
/// description take everything.
pub(super) fn check_request(service: FakeService, request: &FakeRequest) -> Result<(), DescriptionViolation> {
    match find_description(service, request)? {
        Some(description) => description.check_request(request),
        None => Ok(()),
    }
}

/// Finds what in a fake's own reply contradicts the description of its service.
pub(super) fn check_reply(
    service: FakeService,
    request: &FakeRequest,
    status: StatusCode,
    body: &[u8],
) -> Result<(), DescriptionViolation> {
    match find_description(service, request)? {
        Some(description) => description.check_reply(request, status, body),
        None => Ok(()),
    }
}

fn find_description(
    service: FakeService,
    request: &FakeRequest,
) -> Result<Option<&'static ApiDescription>, DescriptionViolation> {
    match &*DESCRIPTIONS {
        Ok(descriptions) => Ok(descriptions.get(&service)),
        Err(problem) => Err(DescriptionViolation {
            operation: format!("{} {}", request.method, service_name(service)),
            problems: vec![("descriptions".to_owned(), problem.clone())],
        }),
    }
}

fn service_name(service: FakeService) -> &'static str {
    match service {
        FakeService::Crm(name) | FakeService::Target(name) => name,
        FakeService::Acuity | FakeService::Square | FakeService::Feed => "calendar",
        FakeService::Graph | FakeService::HubSpot => "lead",
    }
}

fn read_descriptions() -> anyhow::Result<BTreeMap<FakeService, ApiDescription>> {
    let mut descriptions = BTreeMap::new();
    for (service, text) in FILES {
        let description = ApiDescription::read(text).with_context(|| service_name(service))?;
        descriptions.insert(service, description);
    }
    let schema: Value = serde_json::from_str(WEBHOOK_SCHEMA).context("docs/webhooks.schema.json")?;
    for (service, definition) in WEBHOOKS {
        let event = json!({ "$ref": format!("#/$defs/{definition}") });
        let file = json!({
            "operations": [{ "method": "POST", "path": "/**", "body": event, "query": true }],
            "$defs": schema["$defs"],
        });
        descriptions.insert(service, ApiDescription::read(&file.to_string()).with_context(|| definition)?);
    }
    Ok(descriptions)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DescriptionFile {
    operations: Vec<OperationFile>,
    #[serde(rename = "$defs")]
    definitions: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OperationFile {
    method: String,
    path: String,
    /// The schema of the values in the path.
    #[serde(default)]
    parameters: Value,
    /// The schema of the query. Without it there is none.
    #[serde(default)]
    query: Option<Value>,
    /// The schema of a JSON body.
    #[serde(default)]
    body: Option<Value>,
    /// The schema of a form.
    #[serde(default)]
    form: Option<Value>,
    /// The schemas of replies, by status. A status that is not listed has no body.
    #[serde(default)]
    responses: Option<BTreeMap<u16, Value>>,
    /// The schema of refusals.
    #[serde(default)]
    errors: Option<Value>,
}

/// The operations of one API.
#[derive(Debug)]
struct ApiDescription {
    operations: Vec<ApiOperation>,
}

/// The format of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyFormat {
    Empty,
    Json,
    Form,
}

/// One operation of an API.
#[derive(Debug)]
struct ApiOperation {
    method: Method,
    path: PathTemplate,
    body: BodyFormat,
    /// The names of query parameters that are numbers or booleans.
    typed_query: Vec<String>,
    request: SchemaValidator,
    /// None if the replies are not JSON.
    responses: Option<BTreeMap<u16, SchemaValidator>>,
    errors: Option<SchemaValidator>,
}

impl ApiDescription {
    fn read(text: &str) -> anyhow::Result<Self> {
        let DescriptionFile { operations, definitions } = serde_json::from_str(text)?;
        let operations = operations.into_iter().map(|operation| ApiOperation::read(operation, &definitions));
        Ok(Self { operations: operations.collect::<anyhow::Result<_>>()? })
    }

    fn find_operation(&self, request: &FakeRequest) -> Option<(&ApiOperation, Map<String, Value>)> {
        let segments = request.path_segments();
        self.operations
            .iter()
            .filter(|operation| operation.method == request.method)
            .find_map(|operation| Some((operation, operation.path.match_segments(&segments)?)))
    }

    fn check_request(&self, request: &FakeRequest) -> Result<(), DescriptionViolation> {
        let Some((operation, parameters)) = self.find_operation(request) else {
            // The path may hold a number or a secret.
            let problem = ("path".to_owned(), "the description has no such operation".to_owned());
            let operation = format!("{} of {} segments", request.method, request.path_segments().len());
            return Err(DescriptionViolation { operation, problems: vec![problem] });
        };
        operation.violation_of(operation.request_problems(request, &parameters))
    }

    fn check_reply(&self, request: &FakeRequest, status: StatusCode, body: &[u8]) -> Result<(), DescriptionViolation> {
        let Some((operation, _)) = self.find_operation(request) else { return Ok(()) };
        operation.violation_of(operation.reply_problems(status, body))
    }
}

impl ApiOperation {
    fn read(file: OperationFile, definitions: &Value) -> anyhow::Result<Self> {
        let OperationFile { method, path, parameters, query, body, form, responses, errors } = file;
        let build = |schema: &Value| SchemaValidator::build(schema, definitions).with_context(|| path.clone());
        let query = query.unwrap_or_else(|| json!({ "type": "object", "additionalProperties": false }));
        let typed_query = query["properties"].as_object().into_iter().flatten();
        let typed_query = typed_query.filter(|(_, schema)| schema["type"] == "integer" || schema["type"] == "boolean");
        let typed_query = typed_query.map(|(name, _)| name.clone()).collect();
        let mut parts = json!({ "query": query });
        if !parameters.is_null() {
            parts["parameters"] = parameters;
        }
        let format = match (body, form) {
            (Some(schema), None) => {
                parts["body"] = schema;
                BodyFormat::Json
            }
            (None, Some(schema)) => {
                parts["body"] = schema;
                BodyFormat::Form
            }
            (None, None) => BodyFormat::Empty,
            (Some(_), Some(_)) => anyhow::bail!("{path}: an operation has a body or a form"),
        };
        let statuses = |schemas: BTreeMap<u16, Value>| {
            schemas.iter().map(|(status, schema)| Ok((*status, build(schema)?))).collect::<anyhow::Result<_>>()
        };
        Ok(Self {
            method: method.parse()?,
            body: format,
            typed_query,
            request: build(&json!({ "properties": parts }))?,
            responses: responses.map(statuses).transpose()?,
            errors: errors.as_ref().map(build).transpose()?,
            path: PathTemplate::parse(&path),
        })
    }

    fn request_problems(&self, request: &FakeRequest, parameters: &Map<String, Value>) -> Vec<SchemaProblem> {
        let mut problems = Vec::new();
        let mut query = Map::new();
        for (name, text) in request.query() {
            if query.insert(name.clone(), self.read_query_value(name, text)).is_some() {
                problems.push((format!("/query/{name}"), "occurs twice".to_owned()));
            }
        }
        let wanted_type = match self.body {
            BodyFormat::Empty => None,
            BodyFormat::Json => Some("application/json"),
            BodyFormat::Form => Some("application/x-www-form-urlencoded"),
        };
        let has_type = |wanted: &str| request.header("content-type").is_some_and(|given| given.starts_with(wanted));
        if wanted_type.is_some_and(|wanted| !has_type(wanted)) {
            problems.push(("/headers/content-type".to_owned(), "is not the type of the body".to_owned()));
        }
        let mut parts = json!({ "parameters": parameters, "query": query });
        match self.body {
            BodyFormat::Empty if request.body.is_empty() => {}
            BodyFormat::Empty => problems.push(("/body".to_owned(), "is not expected".to_owned())),
            BodyFormat::Json => parts["body"] = request.json_body(),
            BodyFormat::Form => parts["body"] = request.form_fields().into_iter().collect(),
        }
        problems.extend(self.request.find_problems(&parts));
        problems
    }

    /// A query value as the type that the description names, or as text.
    fn read_query_value(&self, name: &str, text: &str) -> Value {
        let typed = serde_json::from_str(text).ok().filter(|value: &Value| value.is_i64() || value.is_boolean());
        typed.filter(|_| self.typed_query.iter().any(|typed| typed == name)).unwrap_or_else(|| json!(text))
    }

    fn reply_problems(&self, status: StatusCode, body: &[u8]) -> Vec<SchemaProblem> {
        let schema = match (&self.responses, &self.errors) {
            _ if body.is_empty() => return Vec::new(),
            (Some(responses), _) if status.is_success() => responses.get(&status.as_u16()),
            (Some(_), errors) => errors.as_ref(),
            // Not JSON.
            (None, _) => return Vec::new(),
        };
        let Some(schema) = schema else {
            return vec![(format!("reply {}", status.as_u16()), "is not described".to_owned())];
        };
        let problems = schema.find_problems(&serde_json::from_slice(body).unwrap_or_default());
        problems.into_iter().map(|(place, problem)| (format!("reply {}{place}", status.as_u16()), problem)).collect()
    }

    fn violation_of(&self, problems: Vec<SchemaProblem>) -> Result<(), DescriptionViolation> {
        if problems.is_empty() {
            return Ok(());
        }
        Err(DescriptionViolation { operation: format!("{} {}", self.method, self.path), problems })
    }
}

/// A path with names in place of ids: `/crm/v8/{module}/search`. `**` at its start is any number of
/// segments.
#[derive(Debug)]
struct PathTemplate {
    segments: Vec<String>,
}

impl PathTemplate {
    fn parse(path: &str) -> Self {
        Self { segments: path.split('/').skip(1).map(str::to_owned).collect() }
    }

    /// The named values of a path that matches.
    fn match_segments(&self, segments: &[String]) -> Option<Map<String, Value>> {
        let (template, segments) = match self.segments.split_first() {
            Some((first, rest)) if first == "**" => (rest, segments.get(segments.len().checked_sub(rest.len())?..)?),
            _ => (self.segments.as_slice(), segments),
        };
        if template.len() != segments.len() {
            return None;
        }
        let mut values = Map::new();
        for (wanted, given) in template.iter().zip(segments) {
            match wanted.strip_prefix('{').and_then(|wanted| wanted.split_once('}')) {
                Some((name, suffix)) => {
                    let value = given.strip_suffix(suffix).filter(|value| !value.is_empty())?;
                    values.insert(name.to_owned(), json!(value));
                }
                None if wanted == given => {}
                None => return None,
            }
        }
        Some(values)
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments.iter().try_for_each(|segment| write!(f, "/{segment}"))
    }
}

#[cfg(test)]
mod tests;
