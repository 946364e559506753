//! Intrinsic functions in the short form: `!Ref`, `!GetAtt`, `!Sub`, `!If`, `!Equals`, `!Not`.
//!
//! Resolves only the values that the wiring needs. A template may use other functions where the
//! local stack does not read (the dashboard). Names of resources are local and consistent: a
//! reference to a table gives the name of the local table.
//!
//! Reference:
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html>.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value};
use serde_yaml_ng::Value as Yaml;

use crate::{ACCOUNT, REGION};

/// A parsed template with the values of its parameters.
pub(super) struct TemplateResolver {
    root: Yaml,
    parameters: BTreeMap<String, String>,
}

impl TemplateResolver {
    pub(super) fn new(text: &str, overrides: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let root: Yaml = serde_yaml_ng::from_str(text).context("not readable as YAML")?;
        let mut parameters = BTreeMap::new();
        if let Some(declared) = root.get("Parameters").and_then(Yaml::as_mapping) {
            for (name, declaration) in declared {
                let name = name.as_str().context("a parameter's name is not a text")?;
                let text = overrides.get(name).cloned().or_else(|| declaration.get("Default").and_then(scalar_text));
                if let Some(text) = text {
                    parameters.insert(name.to_owned(), text);
                }
            }
        }
        Ok(Self { root, parameters })
    }

    /// Logical id and type of every resource whose condition holds, sorted.
    pub(super) fn list_resources(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let all = self.root.get("Resources").and_then(Yaml::as_mapping).context("the template has no Resources")?;
        let mut found = BTreeMap::new();
        for (id, resource) in all {
            let id = id.as_str().context("a resource's logical id is not a text")?;
            if let Some(condition) = resource.get("Condition").and_then(Yaml::as_str)
                && !self.check_condition(condition)?
            {
                continue;
            }
            let kind = resource.get("Type").and_then(Yaml::as_str).unwrap_or_default();
            found.insert(id.to_owned(), kind.to_owned());
        }
        Ok(found)
    }

    /// `Globals.Function`.
    pub(super) fn resolve_global_function(&self) -> anyhow::Result<Map<String, Value>> {
        let globals = self.root.get("Globals").and_then(|g| g.get("Function"));
        let mut found = Map::new();
        for name in ["MemorySize", "Timeout", "Environment", "PackageType"] {
            if let Some(value) = globals.and_then(|g| g.get(name)) {
                found.insert(name.to_owned(), self.resolve_value(value).context("Globals.Function")?);
            }
        }
        Ok(found)
    }

    /// The named properties of a resource, resolved; absent ones are left out.
    pub(super) fn resolve_properties(&self, id: &str, names: &[&str]) -> anyhow::Result<Map<String, Value>> {
        let properties = self.find_resource(id)?.get("Properties");
        let mut found = Map::new();
        for name in names {
            if let Some(value) = properties.and_then(|p| p.get(*name)) {
                let value = self.resolve_value(value).with_context(|| format!("property {name}"))?;
                found.insert((*name).to_owned(), value);
            }
        }
        Ok(found)
    }

    /// The names of all properties of a resource.
    pub(super) fn list_properties(&self, id: &str) -> anyhow::Result<Vec<String>> {
        let properties = self.find_resource(id)?.get("Properties").and_then(Yaml::as_mapping);
        Ok(properties.into_iter().flatten().filter_map(|(name, _)| scalar_text(name)).collect())
    }

    /// A resource's `Metadata`.
    pub(super) fn resolve_metadata(&self, id: &str) -> anyhow::Result<Value> {
        self.find_resource(id)?.get("Metadata").map_or(Ok(Value::Null), |metadata| self.resolve_value(metadata))
    }

    /// The name under which a table exists on this machine.
    pub(super) fn table_name(&self, id: &str) -> anyhow::Result<String> {
        let own = self.resolve_properties(id, &["TableName"])?;
        Ok(own.get("TableName").and_then(Value::as_str).unwrap_or(id).to_owned())
    }

    /// The name under which a queue exists on this machine.
    fn queue_name(&self, id: &str) -> anyhow::Result<String> {
        let own = self.resolve_properties(id, &["QueueName"])?;
        Ok(own.get("QueueName").and_then(Value::as_str).unwrap_or(id).to_owned())
    }

    /// Name of the table whose stream has this ARN.
    pub(super) fn table_of_stream(&self, arn: &str) -> Option<String> {
        let name = arn.split('/').nth(1)?;
        let known =
            self.list_resources().ok()?.into_iter().any(|(id, kind)| {
                kind == "AWS::DynamoDB::Table" && self.table_name(&id).is_ok_and(|table| table == name)
            });
        (known && arn.contains("/stream/")).then(|| name.to_owned())
    }

    fn find_resource(&self, id: &str) -> anyhow::Result<&Yaml> {
        self.root
            .get("Resources")
            .and_then(|all| all.get(id))
            .with_context(|| format!("the template has no resource {id}"))
    }

    fn resolve_value(&self, value: &Yaml) -> anyhow::Result<Value> {
        Ok(match value {
            Yaml::Null => Value::Null,
            Yaml::Bool(b) => Value::Bool(*b),
            Yaml::Number(n) => serde_json::to_value(n)?,
            Yaml::String(text) => Value::String(text.clone()),
            Yaml::Sequence(items) => {
                Value::Array(items.iter().map(|item| self.resolve_value(item)).collect::<anyhow::Result<_>>()?)
            }
            Yaml::Tagged(tagged) => {
                let tag = tagged.tag.to_string();
                self.compute_intrinsic(tag.trim_start_matches('!'), &tagged.value)?
            }
            Yaml::Mapping(map) => {
                let mut object = Map::new();
                for (name, item) in map {
                    let name = scalar_text(name).context("a key is not a text")?;
                    let long_form = name == "Ref" || name.starts_with("Fn::");
                    ensure!(!long_form, "the local stack knows only the short form of {name}");
                    let item = self.resolve_value(item).with_context(|| name.clone())?;
                    object.insert(name, item);
                }
                Value::Object(object)
            }
        })
    }

    fn compute_intrinsic(&self, function: &str, argument: &Yaml) -> anyhow::Result<Value> {
        match function {
            "Ref" => self.resolve_reference(argument.as_str().context("!Ref wants a name")?),
            "GetAtt" => {
                let text = argument.as_str().context("!GetAtt wants Resource.Attribute")?;
                let (id, attribute) = text.split_once('.').with_context(|| format!("!GetAtt {text}"))?;
                self.resolve_attribute(id, attribute)
            }
            "Sub" => {
                let text = argument.as_str().context("the local stack knows !Sub only with a text")?;
                self.substitute_text(text).map(Value::String)
            }
            "If" => {
                let [condition, yes, no] = self.parse_arguments("If", argument)?;
                let condition = condition.as_str().context("!If wants a condition's name")?;
                self.resolve_value(if self.check_condition(condition)? { yes } else { no })
            }
            "Equals" => {
                let [left, right] = self.parse_arguments("Equals", argument)?;
                Ok(Value::Bool(value_text(&self.resolve_value(left)?) == value_text(&self.resolve_value(right)?)))
            }
            "Not" => {
                let [inner] = self.parse_arguments("Not", argument)?;
                Ok(Value::Bool(!self.resolve_bool(inner)?))
            }
            other => bail!("the local stack cannot compute !{other}"),
        }
    }

    #[expect(clippy::unused_self, reason = "reads like its neighbours where it is called")]
    fn parse_arguments<'y, const N: usize>(&self, function: &str, argument: &'y Yaml) -> anyhow::Result<&'y [Yaml; N]> {
        argument
            .as_sequence()
            .and_then(|list| list.as_slice().try_into().ok())
            .with_context(|| format!("!{function} wants a list of {N}"))
    }

    fn resolve_bool(&self, value: &Yaml) -> anyhow::Result<bool> {
        self.resolve_value(value)?.as_bool().context("a condition is neither true nor false")
    }

    fn check_condition(&self, name: &str) -> anyhow::Result<bool> {
        let condition = self.root.get("Conditions").and_then(|all| all.get(name));
        self.resolve_bool(condition.with_context(|| format!("the template has no condition {name}"))?)
            .with_context(|| format!("condition {name}"))
    }

    fn resolve_reference(&self, name: &str) -> anyhow::Result<Value> {
        if let Some(value) = self.parameters.get(name) {
            return Ok(Value::String(value.clone()));
        }
        if let Some(pseudo) = name.strip_prefix("AWS::") {
            return resolve_pseudo_parameter(pseudo);
        }
        let declared = self.root.get("Parameters").is_some_and(|all| all.get(name).is_some());
        ensure!(!declared, "parameter {name} has no default and was given no value");
        Ok(Value::String(match self.resource_kind(name)? {
            "AWS::DynamoDB::Table" => self.table_name(name)?,
            _ => name.to_owned(),
        }))
    }

    fn resource_kind(&self, id: &str) -> anyhow::Result<&str> {
        let resource = self
            .root
            .get("Resources")
            .and_then(|all| all.get(id))
            .with_context(|| format!("{id} is neither a parameter nor a resource"))?;
        resource.get("Type").and_then(Yaml::as_str).with_context(|| format!("resource {id} has no Type"))
    }

    fn resolve_attribute(&self, id: &str, attribute: &str) -> anyhow::Result<Value> {
        let region_account = format!("{REGION}:{ACCOUNT}");
        let text = match (self.resource_kind(id)?, attribute) {
            ("AWS::DynamoDB::Table", "StreamArn") => {
                format!("arn:aws:dynamodb:{region_account}:table/{}/stream/local", self.table_name(id)?)
            }
            ("AWS::DynamoDB::Table", "Arn") => {
                format!("arn:aws:dynamodb:{region_account}:table/{}", self.table_name(id)?)
            }
            ("AWS::SQS::Queue", "Arn") => format!("arn:aws:sqs:{region_account}:{}", self.queue_name(id)?),
            ("AWS::SQS::Queue", "QueueName") => self.queue_name(id)?,
            ("AWS::IAM::Role", "Arn") => format!("arn:aws:iam::{ACCOUNT}:role/{id}"),
            ("AWS::Logs::LogGroup", "Arn") => format!("arn:aws:logs:{region_account}:log-group:{id}:*"),
            (kind, _) => bail!("the local stack knows no attribute {attribute} of {id}, a {kind}"),
        };
        Ok(Value::String(text))
    }

    /// `!Sub "text"`.
    fn substitute_text(&self, template: &str) -> anyhow::Result<String> {
        let mut text = String::new();
        let mut rest = template;
        while let Some(start) = rest.find("${") {
            text.push_str(&rest[..start]);
            let end = rest[start..].find('}').with_context(|| format!("unclosed ${{ in {template:?}"))? + start;
            let name = rest[start + 2..end].trim();
            let value = match name.split_once('.') {
                Some((id, attribute)) => self.resolve_attribute(id, attribute)?,
                None => self.resolve_reference(name)?,
            };
            text.push_str(&value_text(&value).with_context(|| format!("${{{name}}} is not a text"))?);
            rest = &rest[end + 1..];
        }
        text.push_str(rest);
        Ok(text)
    }
}

/// A parameter whose name begins with `AWS::`. `AWS::NoValue` is null: an absent property.
fn resolve_pseudo_parameter(name: &str) -> anyhow::Result<Value> {
    Ok(match name {
        "NoValue" => Value::Null,
        "Partition" => "aws".into(),
        "Region" => REGION.into(),
        "AccountId" => ACCOUNT.into(),
        "URLSuffix" => "amazonaws.com".into(),
        other => bail!("the local stack does not know AWS::{other}"),
    })
}

fn scalar_text(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) => Some(text.clone()),
        Yaml::Number(n) => Some(n.to_string()),
        Yaml::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

fn value_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}
