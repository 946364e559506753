//! The documents about the configuration agree with the code.
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

mod common;

use std::fmt::Write as _;

use common::{repository_root, run_tellonce};
use serde_json::Value;
use tellonce_check::check_file;
use tellonce_core::{
    client_config::Milestone,
    wording::{TemplateTopic, VariableKind},
};

fn read_document(name: &str) -> String {
    std::fs::read_to_string(repository_root().join("docs").join(name)).unwrap()
}

#[test]
fn the_tables_of_variables_are_those_of_the_code() {
    let text = read_document("configuration.md");
    for topic in TemplateTopic::ALL {
        let mut table = String::from("| variable | | what it is | example |\n| --- | --- | --- | --- |\n");
        for variable in topic.variables() {
            let kind = match (variable.always_present, variable.kind) {
                (true, _) => "always there",
                (false, VariableKind::Link) => "a link",
                (false, VariableKind::Name | VariableKind::Text) => "",
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
    fn collect_names(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(object) => {
                if let Some(Value::Object(properties)) = object.get("properties") {
                    found.extend(properties.keys().cloned());
                }
                object.values().for_each(|inner| collect_names(inner, found));
            }
            Value::Array(list) => list.iter().for_each(|inner| collect_names(inner, found)),
            _ => {}
        }
    }
    let schema: Value = serde_json::from_str(&run_tellonce(&["schema"]).stdout).unwrap();
    let mut fields = Vec::new();
    collect_names(&schema, &mut fields);
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
                | "retention"
                | "from"
                | "to"
                | "url"
                | "scheme"
                | "header"
        )
    });
    fields.extend(Milestone::ALL.map(|milestone| milestone.name().to_owned()));
    let text = read_document("configuration.md");
    for field in fields {
        let written = [format!("`{field}`"), format!(".{field}`")];
        assert!(
            written.iter().any(|written| text.contains(written)),
            "docs/configuration.md does not explain `{field}`"
        );
    }
}

#[test]
fn every_setting_documented_as_refused_is_refused() {
    let demo = std::fs::read_to_string(repository_root().join("clients/demo/client.toml")).unwrap();
    let text = read_document("boundaries.md");
    let settings: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .flat_map(|line| line.split('|').next().unwrap().split(['`', ',', ' ']))
        .filter(|setting| !setting.is_empty())
        .collect();
    assert!(settings.len() > 20, "{settings:?}");
    for setting in settings {
        let asked = demo.replacen("[lines.main]", &format!("[lines.main]\n{setting} = \"yes\""), 1);
        let findings = check_file(&asked).findings;
        let is_refused =
            findings.iter().any(|finding| finding.problem.starts_with(&format!("`lines.main.{setting}` ")));
        assert!(is_refused && findings.len() == 1, "`{setting}` is not refused: {findings:#?}");
    }
}

#[test]
fn links_in_the_documents_resolve() {
    for name in ["configuration.md", "boundaries.md", "senders.md", "ezwhatsapp.md"] {
        for link in read_document(name).split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            let elsewhere = target.starts_with("https://") || target.is_empty();
            assert!(elsewhere || repository_root().join("docs").join(target).exists(), "{name} links to {target}");
        }
    }
}
