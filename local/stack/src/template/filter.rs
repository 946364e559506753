//! Event filters of a stream mapping, as far as `template.yaml` uses them.
//!
//! The rules are EventBridge's: an object matches if all of its keys match, a list if one of its
//! matchers matches. Known matchers are equality and `exists`. Others are refused when the template
//! is read.
//!
//! `exists` sees only leaves. In a DynamoDB record an attribute is an object (`{"S": "x"}`), so
//! `"outcome": [{"exists": false}]` always matches in AWS. The right pattern is
//! `"outcome": {"S": [{"exists": false}]}`. The wrong one is refused here.
//! Source: <https://docs.aws.amazon.com/lambda/latest/dg/with-ddb-filtering.html>.

use anyhow::{bail, ensure};
use serde_json::Value;

/// One filter pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterPattern(PatternNode);

#[derive(Debug, Clone, PartialEq)]
enum PatternNode {
    AllFields(Vec<(String, PatternNode)>),
    AnyMatcher(Vec<PatternMatcher>),
}

#[derive(Debug, Clone, PartialEq)]
enum PatternMatcher {
    Equals(Value),
    Prefix(String),
    Exists(bool),
}

impl FilterPattern {
    /// Parses a pattern. Refuses what the local stack would interpret differently from Lambda.
    pub fn parse(pattern: &Value) -> anyhow::Result<Self> {
        let node = parse_node(pattern, "")?;
        ensure!(matches!(node, PatternNode::AllFields(_)), "a filter pattern should be an object");
        Ok(Self(node))
    }

    /// Whether a record passes, in the form in which the function gets it.
    pub fn matches(&self, record: &Value) -> bool {
        node_matches(&self.0, Some(record))
    }
}

fn parse_node(pattern: &Value, path: &str) -> anyhow::Result<PatternNode> {
    match pattern {
        Value::Object(fields) => {
            let mut all = Vec::new();
            for (name, inner) in fields {
                ensure!(!name.starts_with('$'), "the local stack cannot match {name} in a filter pattern");
                all.push((name.clone(), parse_node(inner, &format!("{path}/{name}"))?));
            }
            Ok(PatternNode::AllFields(all))
        }
        Value::Array(matchers) => {
            let any = matchers.iter().map(parse_matcher).collect::<anyhow::Result<Vec<_>>>()?;
            let above_leaf = ["/dynamodb/NewImage/", "/dynamodb/OldImage/", "/dynamodb/Keys/"]
                .iter()
                .any(|image| path.strip_prefix(image).is_some_and(|rest| !rest.contains('/')));
            ensure!(
                !(above_leaf && any.iter().any(|m| !matches!(m, PatternMatcher::Equals(_)))),
                "a matcher at {path} would never see the attribute, only its type inside it (say, {path}/S)"
            );
            Ok(PatternNode::AnyMatcher(any))
        }
        other => bail!("a filter pattern has {other} at {path}; values must be in lists"),
    }
}

fn parse_matcher(matcher: &Value) -> anyhow::Result<PatternMatcher> {
    let Value::Object(fields) = matcher else {
        ensure!(!matcher.is_array(), "a list within a list in a filter pattern");
        return Ok(PatternMatcher::Equals(matcher.clone()));
    };
    let mut fields = fields.iter();
    match (fields.next(), fields.next()) {
        (Some((name, Value::Bool(wanted))), None) if name == "exists" => Ok(PatternMatcher::Exists(*wanted)),
        (Some((name, Value::String(prefix))), None) if name == "prefix" => Ok(PatternMatcher::Prefix(prefix.clone())),
        _ => bail!("the local stack cannot match {matcher} in a filter pattern"),
    }
}

fn node_matches(node: &PatternNode, value: Option<&Value>) -> bool {
    match node {
        PatternNode::AllFields(fields) => {
            fields.iter().all(|(name, inner)| node_matches(inner, value.and_then(|value| value.get(name))))
        }
        PatternNode::AnyMatcher(matchers) => matchers.iter().any(|matcher| matcher_matches(matcher, value)),
    }
}

fn matcher_matches(matcher: &PatternMatcher, value: Option<&Value>) -> bool {
    match matcher {
        PatternMatcher::Equals(wanted) => match value {
            // A list in the event passes if one of its items does.
            Some(Value::Array(items)) => items.contains(wanted),
            Some(Value::Object(_)) | None => false,
            Some(leaf) => leaf == wanted,
        },
        PatternMatcher::Prefix(prefix) => match value {
            Some(Value::Array(items)) => items.iter().any(|item| starts_with(item, prefix)),
            Some(leaf) => starts_with(leaf, prefix),
            None => false,
        },
        PatternMatcher::Exists(wanted) => value.is_some_and(|value| !value.is_object()) == *wanted,
    }
}

fn starts_with(value: &Value, prefix: &str) -> bool {
    value.as_str().is_some_and(|text| text.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn inbox_pattern() -> FilterPattern {
        FilterPattern::parse(&json!({
            "eventName": ["INSERT", "MODIFY"],
            "dynamodb": {"NewImage": {"outcome": {"S": [{"exists": false}]}}}
        }))
        .unwrap()
    }

    #[test]
    fn an_open_delivery_passes_and_a_settled_one_does_not() {
        let pattern = inbox_pattern();
        let image = |image: Value| json!({"eventName": "INSERT", "dynamodb": {"NewImage": image}});
        assert!(pattern.matches(&image(json!({"id": {"S": "1"}}))));
        assert!(!pattern.matches(&image(json!({"id": {"S": "1"}, "outcome": {"S": "sent"}}))));
    }

    #[test]
    fn another_kind_of_event_does_not_pass() {
        assert!(!inbox_pattern().matches(&json!({"eventName": "REMOVE", "dynamodb": {"Keys": {}}})));
    }

    #[test]
    fn exists_above_the_leaf_is_refused_because_the_cloud_would_always_match_it() {
        let pattern = json!({"dynamodb": {"NewImage": {"outcome": [{"exists": false}]}}});
        let error = FilterPattern::parse(&pattern).unwrap_err().to_string();
        assert!(error.contains("outcome/S"), "{error}");
    }

    #[test]
    fn exists_sees_the_leaf() {
        let matches = |pattern: Value, event: Value| FilterPattern::parse(&pattern).unwrap().matches(&event);
        assert!(matches(json!({"a": {"S": [{"exists": true}]}}), json!({"a": {"S": "x"}})));
        assert!(!matches(json!({"a": {"S": [{"exists": true}]}}), json!({"a": {"N": "1"}})));
    }

    #[test]
    fn a_prefix_matches_texts_that_start_with_it() {
        let pattern =
            FilterPattern::parse(&json!({"dynamodb": {"NewImage": {"due_queue": {"S": [{"prefix": "crm:"}]}}}}));
        let pattern = pattern.unwrap();
        let image = |image: Value| json!({"dynamodb": {"NewImage": image}});
        assert!(pattern.matches(&image(json!({"due_queue": {"S": "crm:hub"}}))));
        assert!(!pattern.matches(&image(json!({"due_queue": {"S": "target:desk"}}))));
        assert!(!pattern.matches(&image(json!({"due_queue": {"N": "1"}, "stage": {"S": "crm:hub"}}))));
    }

    #[test]
    fn a_matcher_the_stack_does_not_know_is_refused() {
        for matcher in [json!({"numeric": [">", 1]}), json!({"suffix": "x"}), json!({"anything-but": ["x"]})] {
            assert!(FilterPattern::parse(&json!({"a": [matcher]})).is_err(), "{matcher}");
        }
        assert!(FilterPattern::parse(&json!({"$or": [{"a": ["b"]}]})).is_err());
        assert!(FilterPattern::parse(&json!({"a": "b"})).is_err());
        assert!(FilterPattern::parse(&json!(["a"])).is_err());
    }
}
