//! Intrinsic functions (`!Ref`, `!Sub`, …), as far as reading the wiring needs them.
//!
//! Works lazily: only values that are asked for are resolved, so a template may use functions in places the local stack
//! doesn't look at (policies, alarms) that it couldn't compute here. Names of resources are made up but consistent:
//! whoever refers to a table gets the name under which the local table is created.
//!
//! Reference: <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html>.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value};
use serde_yaml_ng::Value as Yaml;

use crate::{ACCOUNT, REGION};

const NO_VALUE: &str = "AWS::NoValue";

/// A parsed template with the values of its parameters.
pub(super) struct Resolver {
    root: Yaml,
    parameters: BTreeMap<String, Value>,
}

impl Resolver {
    pub(super) fn new(text: &str, overrides: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let root: Yaml = serde_yaml_ng::from_str(text).context("not readable as YAML")?;
        let mut parameters = BTreeMap::new();
        if let Some(declared) = root.get("Parameters").and_then(Yaml::as_mapping) {
            for (name, declaration) in declared {
                let name = name.as_str().context("a parameter's name is no text")?;
                let list = declaration
                    .get("Type")
                    .and_then(Yaml::as_str)
                    .is_some_and(|t| t == "CommaDelimitedList" || t.starts_with("List<"));
                let text = overrides.get(name).cloned().or_else(|| declaration.get("Default").and_then(scalar));
                if let Some(text) = text {
                    let value = if list {
                        Value::Array(text.split(',').map(|part| part.trim().into()).collect())
                    } else {
                        text.into()
                    };
                    parameters.insert(name.to_owned(), value);
                }
            }
        }
        Ok(Self { root, parameters })
    }

    /// Logical id and type of every resource whose condition holds, sorted.
    pub(super) fn resources(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let all = self.root.get("Resources").and_then(Yaml::as_mapping).context("there are no Resources in it")?;
        let mut found = BTreeMap::new();
        for (id, resource) in all {
            let id = id.as_str().context("a resource's logical id is no text")?;
            if let Some(condition) = resource.get("Condition").and_then(Yaml::as_str)
                && !self.condition(condition)?
            {
                continue;
            }
            let kind = resource.get("Type").and_then(Yaml::as_str).unwrap_or_default();
            found.insert(id.to_owned(), kind.to_owned());
        }
        Ok(found)
    }

    /// `Globals.Function`.
    pub(super) fn global_function(&self) -> anyhow::Result<Map<String, Value>> {
        let globals = self.root.get("Globals").and_then(|g| g.get("Function"));
        let mut found = Map::new();
        for name in ["MemorySize", "Timeout", "Environment", "PackageType"] {
            if let Some(value) = globals.and_then(|g| g.get(name)) {
                found.insert(name.to_owned(), self.resolve(value).context("Globals.Function")?);
            }
        }
        Ok(found)
    }

    /// The named properties of a resource, resolved; absent ones are left out.
    pub(super) fn properties(&self, id: &str, names: &[&str]) -> anyhow::Result<Map<String, Value>> {
        let properties = self.resource(id)?.get("Properties");
        let mut found = Map::new();
        for name in names {
            if let Some(value) = properties.and_then(|p| p.get(*name)) {
                let value = self.resolve(value).with_context(|| format!("property {name}"))?;
                if value != NO_VALUE {
                    found.insert((*name).to_owned(), value);
                }
            }
        }
        Ok(found)
    }

    /// A resource's `Metadata`.
    pub(super) fn metadata(&self, id: &str) -> anyhow::Result<Value> {
        self.resource(id)?.get("Metadata").map_or(Ok(Value::Null), |metadata| self.resolve(metadata))
    }

    /// The name under which a table exists on this machine.
    pub(super) fn table_name(&self, id: &str) -> anyhow::Result<String> {
        let own = self.properties(id, &["TableName"])?;
        Ok(own.get("TableName").and_then(Value::as_str).unwrap_or(id).to_owned())
    }

    /// Name of the table whose stream has this ARN.
    pub(super) fn table_of_stream(&self, arn: &str) -> Option<String> {
        let name = arn.split('/').nth(1)?;
        let known =
            self.resources().ok()?.into_iter().any(|(id, kind)| {
                kind == "AWS::DynamoDB::Table" && self.table_name(&id).is_ok_and(|table| table == name)
            });
        (known && arn.contains("/stream/")).then(|| name.to_owned())
    }

    fn resource(&self, id: &str) -> anyhow::Result<&Yaml> {
        self.root.get("Resources").and_then(|all| all.get(id)).with_context(|| format!("there is no resource {id}"))
    }

    fn resolve(&self, value: &Yaml) -> anyhow::Result<Value> {
        Ok(match value {
            Yaml::Null => Value::Null,
            Yaml::Bool(b) => Value::Bool(*b),
            Yaml::Number(n) => serde_json::to_value(n)?,
            Yaml::String(text) => Value::String(text.clone()),
            Yaml::Sequence(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    let item = self.resolve(item)?;
                    if item != NO_VALUE {
                        list.push(item);
                    }
                }
                Value::Array(list)
            }
            Yaml::Tagged(tagged) => {
                let tag = tagged.tag.to_string();
                self.call(tag.trim_start_matches('!'), &tagged.value)?
            }
            Yaml::Mapping(map) => {
                if map.len() == 1
                    && let Some((Yaml::String(name), argument)) = map.iter().next()
                    && (name == "Ref" || name == "Condition" && argument.is_string() || name.starts_with("Fn::"))
                {
                    return self.call(name.trim_start_matches("Fn::"), argument);
                }
                let mut object = Map::new();
                for (name, item) in map {
                    let name = scalar(name).context("a key is no text")?;
                    let item = self.resolve(item).with_context(|| name.clone())?;
                    if item != NO_VALUE {
                        object.insert(name, item);
                    }
                }
                Value::Object(object)
            }
        })
    }

    fn call(&self, function: &str, argument: &Yaml) -> anyhow::Result<Value> {
        match function {
            "Ref" => self.reference(argument.as_str().context("!Ref wants a name")?),
            "GetAtt" => match argument {
                Yaml::String(text) => {
                    let (id, attribute) = text.split_once('.').with_context(|| format!("!GetAtt {text}"))?;
                    self.attribute(id, attribute)
                }
                Yaml::Sequence(parts) => match parts.as_slice() {
                    [Yaml::String(id), Yaml::String(attribute)] => self.attribute(id, attribute),
                    _ => bail!("!GetAtt wants a resource and an attribute"),
                },
                _ => bail!("!GetAtt wants a resource and an attribute"),
            },
            "Sub" => self.substitute(argument).map(Value::String),
            "If" => {
                let [condition, yes, no] = self.arguments("If", argument)?;
                let condition = condition.as_str().context("!If wants a condition's name")?;
                self.resolve(if self.condition(condition)? { yes } else { no })
            }
            "Join" => {
                let [separator, parts] = self.arguments("Join", argument)?;
                let (Value::String(separator), Value::Array(parts)) = (self.resolve(separator)?, self.resolve(parts)?)
                else {
                    bail!("!Join wants a separator and a list");
                };
                let parts: Option<Vec<String>> = parts.iter().map(text_of).collect();
                Ok(Value::String(parts.context("!Join can only join texts")?.join(&separator)))
            }
            "Select" => {
                let [index, list] = self.arguments("Select", argument)?;
                let index: usize = scalar(index).and_then(|i| i.parse().ok()).context("!Select wants a number")?;
                self.resolve(list)?.get(index).cloned().with_context(|| format!("!Select: there is no item {index}"))
            }
            "Split" => {
                let [separator, text] = self.arguments("Split", argument)?;
                let (Value::String(separator), Value::String(text)) = (self.resolve(separator)?, self.resolve(text)?)
                else {
                    bail!("!Split wants a separator and a text");
                };
                Ok(Value::Array(text.split(&separator).map(Into::into).collect()))
            }
            "FindInMap" => {
                let [map, first, second] = self.arguments("FindInMap", argument)?;
                let mut place = self.root.get("Mappings").context("there are no Mappings")?;
                for key in [map, first, second] {
                    let key = text_of(&self.resolve(key)?).context("!FindInMap wants texts")?;
                    place = place.get(key.as_str()).with_context(|| format!("!FindInMap finds no {key}"))?;
                }
                self.resolve(place)
            }
            "Condition" => self.condition(argument.as_str().context("!Condition wants a name")?).map(Value::Bool),
            "Equals" => {
                let [left, right] = self.arguments("Equals", argument)?;
                Ok(Value::Bool(text_of(&self.resolve(left)?) == text_of(&self.resolve(right)?)))
            }
            "Not" => {
                let [inner] = self.arguments("Not", argument)?;
                Ok(Value::Bool(!self.truth(inner)?))
            }
            "And" | "Or" => {
                let parts = argument.as_sequence().with_context(|| format!("!{function} wants a list"))?;
                let parts: Vec<bool> = parts.iter().map(|part| self.truth(part)).collect::<anyhow::Result<_>>()?;
                Ok(Value::Bool(if function == "And" { parts.iter().all(|p| *p) } else { parts.iter().any(|p| *p) }))
            }
            other => bail!("the local stack can't compute !{other}"),
        }
    }

    #[expect(clippy::unused_self, reason = "reads like its neighbours where it is called")]
    fn arguments<'y, const N: usize>(&self, function: &str, argument: &'y Yaml) -> anyhow::Result<&'y [Yaml; N]> {
        argument
            .as_sequence()
            .and_then(|list| list.as_slice().try_into().ok())
            .with_context(|| format!("!{function} wants a list of {N}"))
    }

    fn truth(&self, value: &Yaml) -> anyhow::Result<bool> {
        self.resolve(value)?.as_bool().context("a condition is neither true nor false")
    }

    fn condition(&self, name: &str) -> anyhow::Result<bool> {
        let condition = self.root.get("Conditions").and_then(|all| all.get(name));
        self.truth(condition.with_context(|| format!("there is no condition {name}"))?)
            .with_context(|| format!("condition {name}"))
    }

    fn reference(&self, name: &str) -> anyhow::Result<Value> {
        if let Some(value) = self.parameters.get(name) {
            return Ok(value.clone());
        }
        let declared = self.root.get("Parameters").is_some_and(|all| all.get(name).is_some());
        ensure!(!declared, "parameter {name} has no default and was given no value");
        Ok(Value::String(match name {
            "AWS::Region" => REGION.to_owned(),
            "AWS::AccountId" => ACCOUNT.to_owned(),
            "AWS::Partition" => "aws".to_owned(),
            "AWS::URLSuffix" => "amazonaws.com".to_owned(),
            "AWS::StackName" => "local".to_owned(),
            "AWS::StackId" => format!("arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/local/0"),
            NO_VALUE => NO_VALUE.to_owned(),
            _ => match self.kind(name)? {
                "AWS::DynamoDB::Table" => self.table_name(name)?,
                "AWS::SQS::Queue" => format!("https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"),
                _ => name.to_owned(),
            },
        }))
    }

    fn kind(&self, id: &str) -> anyhow::Result<&str> {
        let resource = self
            .root
            .get("Resources")
            .and_then(|all| all.get(id))
            .with_context(|| format!("{id} is neither a parameter nor a resource"))?;
        resource.get("Type").and_then(Yaml::as_str).with_context(|| format!("resource {id} has no Type"))
    }

    fn attribute(&self, id: &str, attribute: &str) -> anyhow::Result<Value> {
        let place = format!("{REGION}:{ACCOUNT}");
        let text = match (self.kind(id)?, attribute) {
            ("AWS::DynamoDB::Table", "Arn") => format!("arn:aws:dynamodb:{place}:table/{}", self.table_name(id)?),
            ("AWS::DynamoDB::Table", "StreamArn") => {
                format!("arn:aws:dynamodb:{place}:table/{}/stream/local", self.table_name(id)?)
            }
            ("AWS::SQS::Queue", "Arn") => format!("arn:aws:sqs:{place}:{id}"),
            ("AWS::SQS::Queue", "QueueName") => id.to_owned(),
            ("AWS::SQS::Queue", "QueueUrl") => return self.reference(id),
            ("AWS::Serverless::Function", "Arn") => format!("arn:aws:lambda:{place}:function:{id}"),
            (kind, _) => bail!("the local stack knows no attribute {attribute} of {id}, a {kind}"),
        };
        Ok(Value::String(text))
    }

    /// `!Sub "text"` and `!Sub ["text", {name: value}]`.
    fn substitute(&self, argument: &Yaml) -> anyhow::Result<String> {
        let (template, own) = match argument {
            Yaml::String(template) => (template.as_str(), None),
            Yaml::Sequence(parts) => match parts.as_slice() {
                [Yaml::String(template), own @ Yaml::Mapping(_)] => (template.as_str(), Some(own)),
                _ => bail!("!Sub wants a text and a mapping"),
            },
            _ => bail!("!Sub wants a text"),
        };
        let mut text = String::new();
        let mut rest = template;
        while let Some(start) = rest.find("${") {
            text.push_str(&rest[..start]);
            let end = rest[start..].find('}').with_context(|| format!("unclosed ${{ in {template:?}"))? + start;
            let name = rest[start + 2..end].trim();
            if let Some(literal) = name.strip_prefix('!') {
                text.push_str("${");
                text.push_str(literal);
                text.push('}');
            } else {
                let value = match own.and_then(|own| own.get(name)) {
                    Some(value) => self.resolve(value)?,
                    None => match name.split_once('.') {
                        Some((id, attribute)) => self.attribute(id, attribute)?,
                        None => self.reference(name)?,
                    },
                };
                text.push_str(&text_of(&value).with_context(|| format!("${{{name}}} is no text"))?);
            }
            rest = &rest[end + 1..];
        }
        text.push_str(rest);
        Ok(text)
    }
}

fn scalar(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) => Some(text.clone()),
        Yaml::Number(n) => Some(n.to_string()),
        Yaml::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}
