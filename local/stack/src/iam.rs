//! IAM on this machine: a function may call DynamoDB and Secrets Manager only as its role in the
//! template allows. So may a person who takes another role of the template, and calls Lambda or
//! SQS.
//!
//! The access key id of a caller is a prefix and the function's name, or the logical id of a role.
//! So a signed request names its caller. Signatures are not verified. A caller with another key (a
//! test, the console, an operator) may do anything, and so may a function without a role.
//!
//! Actions of transactions: IAM checks each part as an action of its own. Source: Amazon DynamoDB
//! Developer Guide, "Using IAM with DynamoDB transactions". Not imitated: calls of e-mail and SNS,
//! and KMS keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use http::{HeaderMap, header};
use serde_json::{Value, json};

use crate::{
    ACCOUNT, REGION,
    template::{RoleStatement, SamTemplate},
};

/// The begin of the access key id of a function or a role. Its name follows.
pub(crate) const ACCESS_KEY_PREFIX: &str = "local-";

/// The roles, by the name of their function or by their logical id, and the calls that they did not
/// allow.
#[derive(Debug, Default)]
pub struct FunctionRoles {
    statements: BTreeMap<String, Vec<RoleStatement>>,
    refused: Mutex<Vec<String>>,
}

/// An action that a request needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestedAction {
    action: String,
    resource: String,
    /// The partition key of an item, if the request names one.
    leading_key: Option<String>,
    /// The top-level attributes that the request names.
    attributes: BTreeSet<String>,
    /// What the request asks to return of the item that it writes.
    return_values: Option<String>,
    /// Which attributes the request reads.
    select: Option<String>,
}

impl FunctionRoles {
    /// The roles of a template.
    pub(crate) fn from_template(template: &SamTemplate) -> Self {
        let of_function = |function: &crate::template::TemplateFunction| {
            let role = template.roles.get(function.role.as_deref()?)?;
            Some((function.name.clone(), role.clone()))
        };
        let by_function = template.functions.iter().filter_map(of_function);
        Self { statements: by_function.chain(template.roles.clone()).collect(), refused: Mutex::default() }
    }

    /// The calls that were refused since the start, oldest first: `function: action on resource`.
    pub fn refused_calls(&self) -> Vec<String> {
        tellonce_fakes::lock_mutex(&self.refused).clone()
    }

    /// The same, and forgets them: for a caller that is meant to be refused.
    pub fn take_refused_calls(&self) -> Vec<String> {
        std::mem::take(&mut *tellonce_fakes::lock_mutex(&self.refused))
    }

    /// The response to a request that the caller's role does not allow; `None` if it may go on.
    pub(crate) fn check_request(&self, headers: &HeaderMap, actions: &[RequestedAction]) -> Option<Value> {
        let caller = find_access_key(headers)?.strip_prefix(ACCESS_KEY_PREFIX)?;
        let statements = self.statements.get(caller)?;
        let allowed = |wanted: &RequestedAction| statements.iter().any(|statement| allows(statement, wanted));
        let refused = actions.iter().find(|wanted| !allowed(wanted))?;
        let RequestedAction { action, resource, .. } = refused;
        tracing::warn!("the role of {caller} does not allow {action} on {resource}");
        tellonce_fakes::lock_mutex(&self.refused).push(format!("{caller}: {action} on {resource}"));
        let message = format!("User: {caller} is not authorized to perform: {action} on resource: {resource}");
        Some(json!({"__type": "com.amazon.coral.service#AccessDeniedException", "Message": message}))
    }
}

impl RequestedAction {
    /// An action on a resource that has no conditions.
    pub(crate) fn new(action: &str, resource: String) -> Self {
        Self {
            action: action.to_owned(),
            resource,
            leading_key: None,
            attributes: BTreeSet::new(),
            return_values: None,
            select: None,
        }
    }
}

/// The access key id that signed a request.
pub(crate) fn find_access_key(headers: &HeaderMap) -> Option<&str> {
    let authorization = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    authorization.split_once("Credential=")?.1.split('/').next()
}

fn allows(statement: &RoleStatement, wanted: &RequestedAction) -> bool {
    statement.actions.iter().any(|pattern| matches_pattern(pattern, &wanted.action))
        && statement.resources.iter().any(|pattern| matches_pattern(pattern, &wanted.resource))
        && statement.condition.iter().all(|(operator, keys)| holds(operator, keys, wanted))
}

/// Whether a condition holds. One that is not known here does not.
fn holds(operator: &str, keys: &Value, wanted: &RequestedAction) -> bool {
    let (if_exists, is_same): (bool, fn(&str, &str) -> bool) =
        match operator.strip_prefix("ForAllValues:").unwrap_or(operator) {
            "StringEquals" => (false, |pattern, text| pattern == text),
            "StringEqualsIfExists" => (true, |pattern, text| pattern == text),
            "StringLike" => (false, matches_pattern),
            _ => return false,
        };
    let Some(keys) = keys.as_object() else { return false };
    keys.iter().all(|(key, values)| {
        let allowed = values.as_array().map_or(&[][..], Vec::as_slice);
        let found: Vec<&str> = match key.as_str() {
            "dynamodb:LeadingKeys" => wanted.leading_key.as_deref().into_iter().collect(),
            "dynamodb:Attributes" => wanted.attributes.iter().map(String::as_str).collect(),
            "dynamodb:ReturnValues" => wanted.return_values.as_deref().into_iter().collect(),
            "dynamodb:Select" => wanted.select.as_deref().into_iter().collect(),
            _ => return false,
        };
        // AWS lets a key that the request lacks pass with `ForAllValues`. Here that is a mistake.
        let is_allowed = |text: &str| allowed.iter().filter_map(Value::as_str).any(|pattern| is_same(pattern, text));
        (!found.is_empty() || if_exists) && found.into_iter().all(is_allowed)
    })
}

/// The top-level attributes that a request names: its key, its item and its expressions.
fn find_attributes(request: &Value) -> BTreeSet<String> {
    const OPERATORS: [&str; 10] =
        ["SET", "REMOVE", "ADD", "DELETE", "AND", "OR", "NOT", "IN", "BETWEEN", "attribute_exists"];
    const FUNCTIONS: [&str; 5] = ["attribute_not_exists", "attribute_type", "begins_with", "if_not_exists", "size"];
    let names = &request["ExpressionAttributeNames"];
    let expressions = ["UpdateExpression", "ConditionExpression", "ProjectionExpression"];
    let words = expressions.iter().filter_map(|name| request[*name].as_str()).flat_map(|expression| {
        expression.split(|c: char| !(c.is_ascii_alphanumeric() || "_#:.".contains(c))).filter_map(|word| {
            let word = word.split('.').next().filter(|word| !word.is_empty() && !word.starts_with(':'))?;
            let is_name = !OPERATORS.contains(&word) && !FUNCTIONS.contains(&word);
            is_name.then(|| names[word].as_str().unwrap_or(word).to_owned())
        })
    });
    let parts = ["Key", "Item"].iter().filter_map(|name| request[*name].as_object());
    parts.flat_map(|part| part.keys().cloned()).chain(words).collect()
}

/// Which attributes a read asks for: all, unless it names some.
fn find_select(operation: &str, request: &Value) -> Option<String> {
    let is_read = ["GetItem", "BatchGetItem", "Query", "Scan"].contains(&operation);
    let named = request["ProjectionExpression"].is_string().then_some("SPECIFIC_ATTRIBUTES");
    let select = request["Select"].as_str().or(named).unwrap_or("ALL_ATTRIBUTES");
    is_read.then(|| select.to_owned())
}

/// Whether a text matches a pattern with `*` (any characters) and `?` (one character).
fn matches_pattern(pattern: &str, text: &str) -> bool {
    match (pattern.chars().next(), text.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => {
            let rest = &pattern[1..];
            text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| matches_pattern(rest, &text[at..]))
        }
        (Some('?'), Some(c)) => matches_pattern(&pattern[1..], &text[c.len_utf8()..]),
        (Some(p), Some(c)) if p == c => matches_pattern(&pattern[p.len_utf8()..], &text[c.len_utf8()..]),
        _ => false,
    }
}

/// The ARN of a secret. It ends in a hyphen and six random characters.
pub(crate) fn secret_arn(name: &str) -> String {
    format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-AbCdEf")
}

/// The actions that an operation on a secret needs. A new secret with tags needs two.
pub(crate) fn secret_actions(operation: &str, request: &Value) -> Vec<RequestedAction> {
    let name = request["SecretId"].as_str().or_else(|| request["Name"].as_str()).unwrap_or_default();
    let action = |operation: &str| RequestedAction::new(&format!("secretsmanager:{operation}"), secret_arn(name));
    let tags = request["Tags"].is_array().then(|| action("TagResource"));
    std::iter::once(action(operation)).chain(tags).collect()
}

/// The actions that an operation of DynamoDB needs. `hash_keys` holds the partition key's name of
/// each table.
pub(crate) fn table_actions(
    operation: &str,
    request: &Value,
    hash_keys: &BTreeMap<String, String>,
) -> Vec<RequestedAction> {
    let action = |name: &str, part: &Value| {
        let table = part["TableName"].as_str().unwrap_or_default();
        let item = if part["Item"].is_object() { &part["Item"] } else { &part["Key"] };
        let leading_key = hash_keys.get(table).and_then(|key| item[key]["S"].as_str());
        let index = part["IndexName"].as_str().map(|index| format!("/index/{index}")).unwrap_or_default();
        RequestedAction {
            action: format!("dynamodb:{name}"),
            resource: format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}{index}"),
            leading_key: leading_key.map(str::to_owned),
            attributes: find_attributes(part),
            return_values: part["ReturnValues"].as_str().map(str::to_owned),
            select: find_select(name, part),
        }
    };
    let parts = |list: &Value| -> Vec<RequestedAction> {
        let of_part = |(kind, part): (&String, &Value)| {
            let name = match kind.as_str() {
                "Put" => "PutItem",
                "Update" => "UpdateItem",
                "Delete" => "DeleteItem",
                _ => "ConditionCheckItem",
            };
            action(name, part)
        };
        list.as_array().into_iter().flatten().filter_map(Value::as_object).flatten().map(of_part).collect()
    };
    match operation {
        "TransactWriteItems" => parts(&request["TransactItems"]),
        "BatchGetItem" => {
            let of_table = |(table, part): (&String, &Value)| {
                let read = json!({
                    "TableName": table,
                    "Key": part["Keys"][0],
                    "ProjectionExpression": part["ProjectionExpression"],
                    "ExpressionAttributeNames": part["ExpressionAttributeNames"],
                });
                action(operation, &read)
            };
            request["RequestItems"].as_object().into_iter().flatten().map(of_table).collect()
        }
        _ => vec![action(operation, request)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = r#"
Resources:
  Child:
    Type: AWS::Serverless::Function
    Metadata: {BuildProperties: {Binary: child}}
    Properties: {Role: !GetAtt ChildRole.Arn}
  ChildRole:
    Type: AWS::IAM::Role
    Properties:
      Policies:
        - PolicyName: own
          PolicyDocument:
            Statement:
              - {Effect: Allow, Action: [dynamodb:PutItem, dynamodb:ConditionCheckItem], Resource: !GetAtt Ledger.Arn}
              - {Effect: Allow, Action: dynamodb:Query, Resource: !Sub "${Ledger.Arn}/index/due"}
              - Effect: Allow
                Action: dynamodb:PutItem
                Resource: !GetAtt Inbox.Arn
                Condition: {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [heartbeat]}}
  MoreForChild:
    Type: AWS::IAM::Policy
    Properties:
      Roles: [!Ref ChildRole]
      PolicyDocument:
        Statement:
          - Effect: Allow
            Action: secretsmanager:GetSecretValue
            Resource: !Sub "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:tellonce/lines/*"
  Ledger:
    Type: AWS::DynamoDB::Table
    Properties:
      AttributeDefinitions: [{AttributeName: subject, AttributeType: S}]
      KeySchema: [{AttributeName: subject, KeyType: HASH}]
  Inbox:
    Type: AWS::DynamoDB::Table
    Properties:
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
"#;

    fn sample_roles() -> FunctionRoles {
        FunctionRoles::from_template(&SamTemplate::parse(TEMPLATE, &BTreeMap::new()).unwrap())
    }

    fn signed_by(caller: &str) -> HeaderMap {
        let text =
            format!("AWS4-HMAC-SHA256 Credential=local-{caller}/20261129/{REGION}/dynamodb/aws4_request, Signature=0");
        [(header::AUTHORIZATION, text.parse().unwrap())].into_iter().collect()
    }

    fn is_allowed(operation: &str, request: &Value) -> bool {
        let hash_keys = BTreeMap::from([("Ledger".into(), "subject".into()), ("Inbox".into(), "id".into())]);
        let actions = table_actions(operation, request, &hash_keys);
        sample_roles().check_request(&signed_by("child"), &actions).is_none()
    }

    #[test]
    fn a_request_needs_its_action_on_its_table_or_index() {
        let item = json!({"subject": {"S": "a"}});
        assert!(is_allowed("PutItem", &json!({"TableName": "Ledger", "Item": item})));
        assert!(!is_allowed("DeleteItem", &json!({"TableName": "Ledger", "Key": item})));
        assert!(is_allowed("Query", &json!({"TableName": "Ledger", "IndexName": "due"})));
        assert!(!is_allowed("Query", &json!({"TableName": "Ledger"})));
        assert!(!is_allowed("Query", &json!({"TableName": "Ledger", "IndexName": "contact"})));
    }

    #[test]
    fn a_transaction_needs_the_action_of_each_part() {
        let put = json!({"Put": {"TableName": "Ledger", "Item": {}}});
        let check = json!({"ConditionCheck": {"TableName": "Ledger", "Key": {}}});
        let update = json!({"Update": {"TableName": "Ledger", "Key": {}}});
        assert!(is_allowed("TransactWriteItems", &json!({"TransactItems": [put, check]})));
        assert!(!is_allowed("TransactWriteItems", &json!({"TransactItems": [put, check, update]})));
    }

    #[test]
    fn a_condition_on_the_partition_key_is_checked() {
        let put = |id: &str| json!({"TableName": "Inbox", "Item": {"id": {"S": id}}});
        assert!(is_allowed("PutItem", &put("heartbeat")));
        assert!(!is_allowed("PutItem", &put("shop#1")));
    }

    #[test]
    fn conditions_on_attributes_and_on_what_is_returned_are_checked() {
        let condition = json!({
            "ForAllValues:StringEquals": {"dynamodb:Attributes": ["id", "outcome", "replayed_at"]},
            "StringEqualsIfExists": {"dynamodb:ReturnValues": ["NONE"]},
        });
        let statement = RoleStatement {
            actions: vec!["dynamodb:UpdateItem".into()],
            resources: vec!["*".into()],
            condition: condition.as_object().unwrap().clone(),
        };
        let replay = json!({
            "TableName": "Inbox", "Key": {"id": {"S": "a"}}, "ConditionExpression": "attribute_exists(#o) AND #o = :code",
            "UpdateExpression": "REMOVE outcome SET replayed_at = :now", "ExpressionAttributeNames": {"#o": "outcome"},
        });
        let is_allowed = |request: &Value| {
            table_actions("UpdateItem", request, &BTreeMap::new()).iter().all(|wanted| allows(&statement, wanted))
        };
        assert!(is_allowed(&replay));
        for (member, value) in [
            ("ReturnValues", "ALL_OLD"),
            ("UpdateExpression", "SET body = :now"),
            ("ConditionExpression", "sender = :a"),
        ] {
            let mut other = replay.clone();
            other[member] = json!(value);
            assert!(!is_allowed(&other), "{member} {value}");
        }
    }

    #[test]
    fn only_string_like_knows_wildcards_and_another_operator_is_refused() {
        let wanted = RequestedAction {
            action: "dynamodb:PutItem".into(),
            resource: String::new(),
            leading_key: Some("heartbeat".into()),
            attributes: BTreeSet::new(),
            return_values: None,
            select: None,
        };
        for (operator, value, expected) in [
            ("ForAllValues:StringEquals", "heartbeat", true),
            ("ForAllValues:StringEquals", "heartbea?", false),
            ("ForAllValues:StringEquals", "*", false),
            ("ForAllValues:StringLike", "heart*", true),
            ("ForAllValues:StringLike", "brain*", false),
            ("StringNotEquals", "other", false),
        ] {
            assert_eq!(
                holds(operator, &json!({"dynamodb:LeadingKeys": [value]}), &wanted),
                expected,
                "{operator} {value}"
            );
        }
    }

    #[test]
    fn the_template_lets_the_minute_replay_a_delivery_of_another_function_and_change_nothing_else() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let text = std::fs::read_to_string(root.join("template.yaml")).unwrap();
        let parameters = BTreeMap::from([("Client".to_owned(), "demo".to_owned())]);
        let template = SamTemplate::parse(&text, &parameters).unwrap();
        let table = template.tables.iter().find(|table| table.id == "StoreInbox").unwrap().name.clone();
        let hash_keys = BTreeMap::from([(table.clone(), "id".to_owned())]);
        let roles = FunctionRoles::from_template(&template);
        let caller = signed_by("reminder-scheduler");
        let is_allowed =
            |request: &Value| roles.check_request(&caller, &table_actions("UpdateItem", request, &hash_keys)).is_none();
        let replay = json!({
            "TableName": table, "Key": {"id": {"S": "erp#m-1"}},
            "UpdateExpression": "SET replayed_at = :now REMOVE outcome, outcome_text, outcome_at",
            "ConditionExpression": "attribute_exists(id) AND outcome = :code",
        });
        assert!(is_allowed(&replay));
        for (member, value) in [
            ("ReturnValues", "ALL_OLD"),
            ("ReturnValues", "ALL_NEW"),
            ("UpdateExpression", "SET replayed_at = :now, body = :body"),
            ("ConditionExpression", "begins_with(headers, :a)"),
        ] {
            let mut other = replay.clone();
            other[member] = json!(value);
            assert!(!is_allowed(&other), "{member} {value}");
        }
    }

    #[test]
    fn the_reader_of_the_template_sees_outcomes_and_no_body_of_a_delivery() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let text = std::fs::read_to_string(root.join("template.yaml")).unwrap();
        let reader = "arn:aws:iam::000000000000:role/agency";
        let parameters = [("Client", "demo"), ("ReaderPrincipalArn", reader)];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let template = SamTemplate::parse(&text, &parameters.into()).unwrap();
        let table = template.tables.iter().find(|table| table.id == "StoreInbox").unwrap().name.clone();
        let roles = FunctionRoles::from_template(&template);
        let is_allowed = |operation: &str, request: &Value| {
            let actions = table_actions(operation, request, &BTreeMap::new());
            roles.check_request(&signed_by("ReaderRole"), &actions).is_none()
        };
        let mut request = json!({
            "TableName": table, "Key": {"id": {"S": "erp#m-1"}}, "ProjectionExpression": "id, outcome, outcome_text",
        });
        assert!(is_allowed("GetItem", &request));
        request["UpdateExpression"] = json!("SET outcome = :none");
        assert!(!is_allowed("UpdateItem", &request));
        request["ProjectionExpression"] = json!("id, body");
        assert!(!is_allowed("GetItem", &request));
        request["ProjectionExpression"] = Value::Null;
        assert!(!is_allowed("GetItem", &request), "all attributes");
        let batch = |projection: &str| {
            let read = json!({"Keys": [{"id": {"S": "erp#m-1"}}], "ProjectionExpression": projection});
            json!({"RequestItems": {table.as_str(): read}})
        };
        assert!(is_allowed("BatchGetItem", &batch("id, outcome")));
        assert!(!is_allowed("BatchGetItem", &batch("id, body")));
        let scan = |id: &str, projection: &str| {
            let table = template.tables.iter().find(|table| table.id == id).unwrap();
            json!({"TableName": table.name, "ProjectionExpression": projection})
        };
        assert!(is_allowed("Scan", &scan("Ledger", "subject, trail")));
        assert!(is_allowed("Scan", &scan("LineInbox", "id, topic")));
        for (id, projection) in [("Ledger", "subject, request"), ("LineInbox", "id, body"), ("StoreInbox", "id")] {
            assert!(!is_allowed("Scan", &scan(id, projection)), "{id} {projection}");
        }
    }

    #[test]
    fn a_policy_beside_the_role_counts_and_a_refused_call_is_listed() {
        let roles = sample_roles();
        let read = |name: &str| {
            let request = json!({"SecretId": name});
            roles.check_request(&signed_by("child"), &secret_actions("GetSecretValue", &request))
        };
        assert!(read("tellonce/lines/main").is_none());
        let refusal = read("tellonce/webhooks/shop").unwrap();
        assert_eq!(refusal["__type"], "com.amazon.coral.service#AccessDeniedException");
        let resource = format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:tellonce/webhooks/shop-AbCdEf");
        assert_eq!(roles.refused_calls(), [format!("child: secretsmanager:GetSecretValue on {resource}")]);
    }

    #[test]
    fn a_caller_that_is_not_a_function_may_do_anything() {
        let actions = table_actions("DeleteTable", &json!({"TableName": "Ledger"}), &BTreeMap::new());
        assert!(sample_roles().check_request(&signed_by("operator"), &actions).is_none());
        assert!(sample_roles().check_request(&HeaderMap::new(), &actions).is_none());
    }

    #[test]
    fn wildcards_match_any_or_one_character() {
        for (pattern, text, expected) in [
            ("a/*", "a/b/c", true),
            ("a/*", "a/", true),
            ("a/*", "b/c", false),
            ("webhooks-??????", "webhooks-AbCdEf", true),
            ("webhooks-??????", "webhooks/shop-AbCdEf", false),
            ("*", "", true),
            ("a", "ab", false),
        ] {
            assert_eq!(matches_pattern(pattern, text), expected, "{pattern} {text}");
        }
    }
}
