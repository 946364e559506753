//! The documents about the configuration agree with the code.
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]

mod common;

use std::fmt::Write as _;

use common::{repository_root, run_tellonce};
use serde_json::Value;
use tellonce_check::check_file;
use tellonce_core::{
    client_config::{CalendarFacts, CrmFacts, FormKind, KindSetting, Milestone, StoreFacts, TargetFacts},
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

/// The kinds of a table of `client.toml`: name, label and settings.
type Kinds = Vec<(&'static str, &'static str, &'static [KindSetting])>;

fn kinds_by_table() -> [(&'static str, &'static str, Kinds); 5] {
    macro_rules! kinds {
        ($facts:expr) => {
            $facts.into_iter().map(|facts| (facts.name, facts.label, facts.settings)).collect()
        };
    }
    [
        ("stores", "Add a custom sender", kinds!(StoreFacts::ALL)),
        ("calendars", "Add a calendar", kinds!(CalendarFacts::ALL)),
        ("forms", "Add a form", kinds!(FormKind::ALL.map(FormKind::facts))),
        ("crms", "Add a CRM", kinds!(CrmFacts::ALL)),
        ("targets", "Add alerts", kinds!(TargetFacts::ALL)),
    ]
}

/// The cells of a setting's row in the section of a table.
fn find_row<'a>(text: &'a str, table: &str, setting: &str) -> Vec<&'a str> {
    let section = text.split(&format!(": `[{table}.<name>]`\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let row = section.lines().find(|line| line.starts_with(&format!("| `{setting}` |")));
    row.unwrap_or_else(|| panic!("{table}: no row for `{setting}`")).split(" |").map(str::trim).collect()
}

fn names_in(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_tables_of_kinds_are_those_of_the_code() {
    let text = read_document("configuration.md");
    for (table, _, kinds) in kinds_by_table() {
        let names: Vec<&str> = kinds.iter().map(|(name, ..)| *name).collect();
        let row = find_row(&text, table, "kind");
        assert_eq!(names_in(row[3]), names, "{table}: the values of `kind`");
        for setting in kinds.iter().flat_map(|(_, _, settings)| settings.iter()) {
            let has = |settings: &[KindSetting]| settings.iter().any(|other| other.name == setting.name);
            let owners: Vec<&str> =
                kinds.iter().filter(|(.., settings)| has(settings)).map(|(name, ..)| *name).collect();
            let required = find_row(&text, table, setting.name)[1].trim_start_matches("| ");
            assert_eq!(names_in(required), owners, "{table}: the kinds with `{}`", setting.name);
            // HubSpot needs its setting only if it signs.
            let is_required = required.starts_with("for ");
            assert!(table == "forms" || is_required == setting.is_required, "{table}: `{}`", setting.name);
        }
    }
    let mut rates: Vec<(Vec<&str>, u32)> = Vec::new();
    for facts in CrmFacts::ALL {
        match rates.last_mut().filter(|(_, rate)| *rate == facts.default_requests_per_minute) {
            Some((names, _)) => names.push(facts.name),
            None => rates.push((vec![facts.name], facts.default_requests_per_minute)),
        }
    }
    let rates: Vec<String> = rates.iter().map(|(names, rate)| format!("{} {rate}", names.join(" and "))).collect();
    assert_eq!(find_row(&text, "crms", "requests_per_minute")[2].trim_start_matches("| "), rates.join(", "));
}

#[test]
fn the_readme_names_every_kind() {
    let text = std::fs::read_to_string(repository_root().join("README.md")).unwrap();
    for (table, title, kinds) in kinds_by_table().into_iter().filter(|(table, ..)| *table != "stores") {
        let section = text.split(&format!("### {title}\n")).nth(1).unwrap();
        let section = section.split("\n#").next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        for (_, label, _) in kinds.iter().filter(|(_, label, _)| !label.starts_with("a ")) {
            assert!(section.contains(label), "{table}: README.md, \"{title}\", does not name {label}");
        }
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
