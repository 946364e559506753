//! The roles of functions: which actions they allow on which resources.

use std::fmt;

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value};

use super::resolve::TemplateResolver;

/// A statement of a role that allows actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleStatement {
    /// Actions, such as `dynamodb:PutItem`. `*` and `?` are wildcards.
    pub actions: Vec<String>,
    /// ARNs with the same wildcards.
    pub resources: Vec<String>,
    /// The conditions: operator, then key, then the allowed values.
    pub condition: Map<String, Value>,
}

impl RoleStatement {
    fn from_value(statement: &Value) -> anyhow::Result<Self> {
        ensure!(statement["Effect"] == "Allow", "the local stack knows only statements that allow");
        let condition = statement.get("Condition").and_then(Value::as_object).cloned().unwrap_or_default();
        Ok(Self {
            actions: list_texts(&statement["Action"])?,
            resources: list_texts(&statement["Resource"])?,
            condition,
        })
    }
}

/// One action on one resource a line, with its conditions.
impl fmt::Display for RoleStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for resource in &self.resources {
            for action in &self.actions {
                write!(f, "{action} on {resource}")?;
                if !self.condition.is_empty() {
                    write!(f, " if {}", Value::Object(self.condition.clone()))?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// Adds the statements of the resource `id` to the roles that have them: an `AWS::IAM::Role` with
/// policies of its own, or an `AWS::IAM::Policy` of one or more roles.
pub(super) fn add_statements(
    roles: &mut std::collections::BTreeMap<String, Vec<RoleStatement>>,
    id: &str,
    kind: &str,
    resolver: &TemplateResolver,
) -> anyhow::Result<()> {
    let properties = resolver.resolve_properties(id, &["Policies", "Roles", "PolicyDocument", "ManagedPolicyArns"])?;
    ensure!(properties.get("ManagedPolicyArns").is_none(), "the local stack does not know the managed policies");
    if kind == "AWS::IAM::Role" {
        let mut statements = Vec::new();
        let policies = properties.get("Policies").and_then(Value::as_array).into_iter().flatten();
        // An entry whose condition does not hold is null.
        for policy in policies.filter(|policy| !policy.is_null()) {
            statements.extend(parse_document(&policy["PolicyDocument"])?);
        }
        roles.entry(id.to_owned()).or_default().extend(statements);
    } else {
        let statements = parse_document(properties.get("PolicyDocument").unwrap_or(&Value::Null))?;
        for role in list_texts(properties.get("Roles").unwrap_or(&Value::Null))? {
            roles.entry(role).or_default().extend(statements.iter().cloned());
        }
    }
    Ok(())
}

fn parse_document(document: &Value) -> anyhow::Result<Vec<RoleStatement>> {
    let statements = document["Statement"].as_array().context("a policy has no list of statements")?;
    statements.iter().filter(|statement| !statement.is_null()).map(RoleStatement::from_value).collect()
}

/// A text, or a list of texts.
fn list_texts(value: &Value) -> anyhow::Result<Vec<String>> {
    match value {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(items) => {
            // An entry whose condition does not hold is null.
            let present = items.iter().filter(|item| !item.is_null());
            present.map(|item| Ok(item.as_str().context("not a text")?.to_owned())).collect()
        }
        other => anyhow::bail!("should be a text or a list of texts, not {other}"),
    }
}
