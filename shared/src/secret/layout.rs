//! Where a value is stored.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// How a client's values are stored in Secrets Manager, which bills each secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretLayout {
    /// One JSON object for each role: `webhooks`, `lines`, `apis`, `crms`, `targets`. Its members
    /// are texts.
    #[default]
    ByRole,
    /// One secret for each value.
    Separate,
}

/// The values that the role `apis` holds: of systems that lookups and feeds call. The kind stays
/// in the name of the member, because a store and a form may have the same name.
const API_KINDS: [&str; 3] = ["stores", "calendars", "forms"];

impl SecretLayout {
    /// Where the value of this name is stored. A name is `tellonce/<client>/<kind>/<rest>`.
    pub fn locate(self, name: &str) -> SecretLocation {
        let separate = || SecretLocation { secret: name.to_owned(), member: None };
        match self {
            Self::Separate => separate(),
            Self::ByRole => split_name(name).unwrap_or_else(separate),
        }
    }
}

fn split_name(name: &str) -> Option<SecretLocation> {
    let mut parts = name.splitn(4, '/');
    let (prefix, client, kind, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let (role, member) =
        if API_KINDS.contains(&kind) { ("apis", format!("{kind}/{rest}")) } else { (kind, rest.into()) };
    Some(SecretLocation { secret: format!("{prefix}/{client}/{role}"), member: Some(member) })
}

/// The values in a file of secrets, by name. The secret of a role (`tellonce/<client>/<role>`) may
/// stand in the file as in Secrets Manager: an object of its members, or its JSON as one text.
///
/// # Errors
///
/// The name of a role's secret that is neither.
pub fn list_values(file: BTreeMap<String, Value>) -> Result<BTreeMap<String, Value>, String> {
    let mut values = BTreeMap::new();
    for (name, value) in file {
        if !(name.starts_with("tellonce/") && name.split('/').count() == 3) {
            values.insert(name, value);
            continue;
        }
        let members = match value {
            Value::Object(members) => members,
            Value::String(text) => serde_json::from_str(&text).map_err(|_| name.clone())?,
            _ => return Err(name),
        };
        // The members of `apis` begin with their kind.
        let prefix = name.strip_suffix("/apis").unwrap_or(&name);
        values.extend(members.into_iter().map(|(member, value)| (format!("{prefix}/{member}"), value)));
    }
    Ok(values)
}

/// Where one value is stored: a secret, or a member of its JSON object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretLocation {
    /// The name of the secret.
    pub secret: String,
    /// The member, if the secret is a JSON object.
    pub member: Option<String>,
}

impl SecretLocation {
    /// The whole secret.
    pub(super) fn whole(&self) -> Self {
        Self { secret: self.secret.clone(), member: None }
    }
}

impl fmt::Display for SecretLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.member {
            None => f.write_str(&self.secret),
            Some(member) => write!(f, "{} (member `{member}`)", self.secret),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_may_hold_values_or_the_secrets_of_roles() {
        let file = |text: Value| serde_json::from_value(text).unwrap();
        let values = list_values(file(json!({
            "tellonce/acme/lines": r#"{"main": "ezw"}"#,
            "tellonce/acme/webhooks": {"shop": "s", "main/line": "l"},
            "tellonce/acme/apis": {"stores/shop": "t"},
            "tellonce/acme/crms/sales": {"current": "b", "previous": "a"},
        })));
        let expected = json!({
            "tellonce/acme/lines/main": "ezw",
            "tellonce/acme/webhooks/shop": "s",
            "tellonce/acme/webhooks/main/line": "l",
            "tellonce/acme/stores/shop": "t",
            "tellonce/acme/crms/sales": {"current": "b", "previous": "a"},
        });
        assert_eq!(json!(values.unwrap()), expected);
        for unusable in [json!("x"), json!(["x"]), json!("[1]")] {
            let name = "tellonce/acme/lines";
            assert_eq!(list_values(file(json!({ name: unusable }))), Err(name.to_owned()));
        }
    }

    #[test]
    fn a_value_is_a_secret_of_its_own_or_a_member_of_its_role() {
        for (kind_and_rest, role, member) in [
            ("webhooks/shop", "webhooks", "shop"),
            ("webhooks/main/line", "webhooks", "main/line"),
            ("webhooks/meta/verify", "webhooks", "meta/verify"),
            ("lines/main", "lines", "main"),
            ("stores/shop", "apis", "stores/shop"),
            ("calendars/clinic", "apis", "calendars/clinic"),
            ("forms/contact", "apis", "forms/contact"),
            ("crms/sales", "crms", "sales"),
            ("targets/team", "targets", "team"),
        ] {
            let name = format!("tellonce/acme/{kind_and_rest}");
            let by_role = SecretLocation { secret: format!("tellonce/acme/{role}"), member: Some(member.to_owned()) };
            assert_eq!(SecretLayout::ByRole.locate(&name), by_role);
            assert_eq!(SecretLayout::Separate.locate(&name), SecretLocation { secret: name, member: None });
        }
    }
}
