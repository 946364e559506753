//! The documents that say what the configuration can do, held to what it does.
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

mod common;

use std::fmt::Write as _;

use common::{root, tellonce};
use serde_json::Value;
use shared::{
    check::examine,
    client_config::Milestone,
    wording::{Kind, Topic},
};

fn document(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).unwrap()
}

#[test]
fn the_tables_of_variables_are_those_of_the_code() {
    let text = document("configuration.md");
    for topic in Topic::ALL {
        let mut table = String::from("| variable | | what it is | example |\n| --- | --- | --- | --- |\n");
        for variable in topic.variables() {
            let kind = match (variable.always, variable.kind) {
                (true, _) => "always there",
                (false, Kind::Link) => "a link",
                (false, Kind::Name | Kind::Text) => "",
            };
            writeln!(table, "| `{}` | {kind} | {} | {} |", variable.name, variable.meaning, variable.example).unwrap();
        }
        let begin = format!("<!-- variables of {}s: kept true by cli/tests/docs.rs -->\n", topic.name());
        let (_, rest) = text.split_once(&begin).unwrap();
        let (written, _) = rest.split_once("<!-- end of variables -->").unwrap();
        assert_eq!(written.trim(), table.trim(), "copy this into docs/configuration.md:\n\n{table}");
    }
}

#[test]
fn every_field_and_every_milestone_is_explained() {
    fn names(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(object) => {
                if let Some(Value::Object(properties)) = object.get("properties") {
                    found.extend(properties.keys().cloned());
                }
                object.values().for_each(|inner| names(inner, found));
            }
            Value::Array(list) => list.iter().for_each(|inner| names(inner, found)),
            _ => {}
        }
    }
    let schema: Value = serde_json::from_str(&tellonce(&["schema"]).out).unwrap();
    let mut fields = Vec::new();
    names(&schema, &mut fields);
    fields.retain(|field| {
        !matches!(
            field.as_str(),
            "lines"
                | "stores"
                | "calendars"
                | "forms"
                | "crms"
                | "targets"
                | "escalations"
                | "messages"
                | "keep"
                | "from"
                | "to"
                | "url"
                | "scheme"
                | "header"
        )
    });
    fields.extend(Milestone::ALL.map(|milestone| milestone.name().to_owned()));
    let text = document("configuration.md");
    for field in fields {
        let written = [format!("`{field}`"), format!(".{field}`")];
        assert!(
            written.iter().any(|written| text.contains(written)),
            "docs/configuration.md does not explain `{field}`"
        );
    }
}

#[test]
fn every_setting_that_is_said_to_be_refused_is_refused() {
    let demo = std::fs::read_to_string(root().join("clients/demo/client.toml")).unwrap();
    let text = document("boundaries.md");
    let settings: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .flat_map(|line| line.split('|').next().unwrap().split(['`', ',', ' ']))
        .filter(|setting| !setting.is_empty())
        .collect();
    assert!(settings.len() > 20, "{settings:?}");
    for setting in settings {
        let asked = demo.replacen("[lines.main]", &format!("[lines.main]\n{setting} = \"yes\""), 1);
        let findings = examine(&asked).findings;
        let said = findings.iter().any(|finding| finding.what.starts_with(&format!("`lines.main.{setting}` ")));
        assert!(said && findings.len() == 1, "`{setting}` is not refused: {findings:#?}");
    }
}

#[test]
fn what_the_documents_link_to_is_there() {
    for name in ["configuration.md", "boundaries.md", "senders.md", "ezwhatsapp.md"] {
        for link in document(name).split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            let elsewhere = target.starts_with("https://") || target.is_empty();
            assert!(elsewhere || root().join("docs").join(target).exists(), "{name} links to {target}");
        }
    }
}
