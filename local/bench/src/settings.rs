//! The settings of the benchmark: those of the demo and of the template, without their waiting
//! times.

use anyhow::Context as _;
use serde_yaml_ng::Value as Yaml;

/// A rate at which the next slot is always free, for lines and for CRMs.
const UNLIMITED_PER_MINUTE: u32 = 600_000;

/// Whether the line has `events = true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineEventMode {
    /// The line reports its events, as the demo's line does.
    On,
    /// The line reports no events.
    Off,
}

/// The client's configuration without rate limits of lines and CRMs, with a website that accepts
/// any number of leads, and with line events only if `events` asks for them. It edits the text,
/// because the project writes no TOML.
pub(crate) fn remove_limits(client: &str, events: LineEventMode) -> String {
    let (line_rate, crm_rate) = (
        format!("messages_per_minute = {UNLIMITED_PER_MINUTE}"),
        format!("requests_per_minute = {UNLIMITED_PER_MINUTE}"),
    );
    let is_limit = |line: &str| {
        ["messages_per_minute", "first_contacts_per_day", "requests_per_minute"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    let mut lines = Vec::new();
    for line in client.lines().filter(|line| !is_limit(line.trim_start())) {
        if line == "events = true" && events == LineEventMode::Off {
            continue;
        }
        lines.push(line);
        if line.starts_with("[lines.") {
            lines.push(&line_rate);
            lines.push("first_contacts_per_day = 100000");
        } else if line.starts_with("[crms.") {
            lines.push(&crm_rate);
        } else if line == "[forms.website]" {
            lines.push("burst = { leads = 100_000, within = \"1h\" }");
        }
    }
    lines.join("\n")
}

/// The template without its streams. The tables have none either, because the engine gets slower
/// with every record of a long stream, and that time would be measured too.
pub(crate) fn remove_streams(template: &str) -> anyhow::Result<String> {
    let mut template: Yaml = serde_yaml_ng::from_str(template).context("template.yaml")?;
    let resources =
        template.get_mut("Resources").and_then(Yaml::as_mapping_mut).context("the template has no Resources")?;
    for resource in resources.values_mut() {
        let Some(properties) = resource.get_mut("Properties").and_then(Yaml::as_mapping_mut) else { continue };
        properties.remove("StreamSpecification");
        if let Some(events) = properties.get_mut("Events").and_then(Yaml::as_mapping_mut) {
            events.retain(|_, event| event.get("Type").and_then(Yaml::as_str) != Some("DynamoDB"));
        }
    }
    Ok(serde_yaml_ng::to_string(&template)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tellonce_core::client_config::ClientConfig;
    use tellonce_stack::template::SamTemplate;

    use super::*;

    #[test]
    fn a_template_without_streams_is_otherwise_the_same() {
        let text = include_str!("../../../template.yaml");
        let parameters = BTreeMap::from([("Client".to_owned(), "demo".to_owned())]);
        let (with, without) = (text.to_owned(), remove_streams(text).unwrap());
        let [with, without] = [with, without].map(|text| SamTemplate::parse(&text, &parameters).unwrap());
        let streams = |template: &SamTemplate| template.functions.iter().map(|one| one.streams.len()).sum::<usize>();
        assert!(streams(&with) > 0);
        assert_eq!(streams(&without), 0);
        for (one, other) in with.functions.iter().zip(&without.functions) {
            assert_eq!((&one.name, &one.env, &one.routes), (&other.name, &other.env, &other.routes));
        }
    }

    #[test]
    fn the_benchmarks_client_differs_in_its_limits_alone() {
        let text = include_str!("../../../clients/demo/client.toml");
        let config = ClientConfig::parse(&remove_limits(text, LineEventMode::On)).unwrap();
        assert!(config.lines.values().all(|line| line.messages_per_minute == UNLIMITED_PER_MINUTE));
        assert_eq!(config.forms["website"].limits.burst.leads, 100_000);
        assert!(config.crms.values().all(|crm| crm.requests_per_minute == Some(UNLIMITED_PER_MINUTE)));
        let whole = ClientConfig::parse(text).unwrap();
        assert_eq!((config.stores.len(), config.crms.len()), (whole.stores.len(), whole.crms.len()));
        assert!(config.lines.values().any(|line| line.events));
        let quiet = ClientConfig::parse(&remove_limits(text, LineEventMode::Off)).unwrap();
        assert!(quiet.lines.values().all(|line| !line.events));
    }
}
