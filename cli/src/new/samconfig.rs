//! The environment of a client in `samconfig.toml`.

use anyhow::{Context as _, ensure};
use toml_edit::{Array, DocumentMut, Item, Table, value};

/// Where a client is deployed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deployment<'a> {
    pub(super) client: &'a str,
    /// The client's folder as `sam build` reads it.
    pub(super) folder: &'a str,
    pub(super) region: Option<&'a str>,
    pub(super) profile: Option<&'a str>,
    pub(super) alarm_email: Option<&'a str>,
}

/// Adds a client's environment to the text of a `samconfig.toml`, and changes nothing else in it.
///
/// # Errors
///
/// Fails if the text is not TOML, or has the environment.
pub(super) fn add_environment(text: &str, deployment: &Deployment<'_>) -> anyhow::Result<String> {
    let mut document: DocumentMut = text.parse().context("samconfig.toml is not TOML")?;
    let client = deployment.client;
    ensure!(
        !document.contains_key(client),
        "samconfig.toml has the environment `{client}` already; choose another name, or remove that environment"
    );
    let mut environment = Table::new();
    environment.set_implicit(true);
    environment.insert("build", command(build_parameters(deployment)));
    environment.insert("deploy", command(deploy_parameters(deployment)));
    document.insert(client, Item::Table(environment));
    Ok(document.to_string())
}

/// The table of a command, which holds its parameters only.
fn command(parameters: Table) -> Item {
    let mut command = Table::new();
    command.set_implicit(true);
    command.insert("parameters", Item::Table(parameters));
    Item::Table(command)
}

fn client_overrides(deployment: &Deployment<'_>) -> Vec<String> {
    vec![format!("Client={}", deployment.client), format!("ClientDir={}", deployment.folder)]
}

fn build_parameters(deployment: &Deployment<'_>) -> Table {
    let mut table = Table::new();
    table.insert("parameter_overrides", value(Array::from_iter(client_overrides(deployment))));
    table
}

fn deploy_parameters(deployment: &Deployment<'_>) -> Table {
    let Deployment { client, region, profile, alarm_email, .. } = deployment;
    let mut overrides = client_overrides(deployment);
    overrides.extend(alarm_email.map(|address| format!("AlarmEmail={address}")));
    let mut table = Table::new();
    let mut set = |key: &str, content: Option<&str>| {
        if let Some(content) = content {
            table.insert(key, value(content));
        }
    };
    let stack = format!("tellonce-{client}");
    set("stack_name", Some(&stack));
    set("region", *region);
    set("profile", *profile);
    table.insert("parameter_overrides", value(Array::from_iter(overrides)));
    table.insert("capabilities", value("CAPABILITY_IAM"));
    table.insert("resolve_s3", value(true));
    table.insert("s3_prefix", value(stack));
    table.insert("confirm_changeset", value(true));
    table.insert("tags", value(Array::from_iter(["project=tellonce".to_owned(), format!("client={client}")])));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPLOYMENT: Deployment<'static> = Deployment {
        client: "bakery",
        folder: "clients/bakery",
        region: Some("eu-central-1"),
        profile: None,
        alarm_email: Some("alarms@agency.example"),
    };

    #[test]
    fn an_environment_is_added_at_the_end_and_the_rest_stays_as_it_is() {
        let before = include_str!("../../../samconfig.toml");
        let after = add_environment(before, &DEPLOYMENT).unwrap();
        let added = after.strip_prefix(before).unwrap();
        insta::assert_snapshot!(added);
    }

    #[test]
    fn an_environment_that_exists_is_not_changed() {
        let twice = add_environment("", &DEPLOYMENT).and_then(|text| add_environment(&text, &DEPLOYMENT));
        assert!(twice.unwrap_err().to_string().contains("has the environment `bakery` already"));
        assert!(add_environment("a = ", &DEPLOYMENT).is_err());
    }
}
