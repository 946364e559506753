//! The bar over every page: whether the lines can send, what waits and until when, what went out
//! today, the clock, and what is wrong with `client.toml`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tellonce_check::Severity;
use tellonce_fakes::provider::HealthPreset;
use tellonce_stack::activity::PostResult;

use super::{
    snapshot::Snapshot,
    standing::{Standing, explain_row},
};

/// The reasons of waits that are named, the most frequent first.
const MAX_REASONS: usize = 3;

impl Snapshot<'_> {
    pub(super) fn render_bar(&self) -> Value {
        let today = self.start_of_today();
        let (mut sent, mut arrived, mut waiting, mut needs_you) = (0, 0, 0, 0);
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        let mut held_by_line: BTreeMap<&str, usize> = BTreeMap::new();
        for row in self.view.message_rows() {
            let standing = Standing::of_row(row);
            match standing {
                Standing::Sent | Standing::Arrived if row["accepted_at"].as_i64() >= Some(today) => {
                    sent += 1;
                    arrived += usize::from(standing == Standing::Arrived);
                }
                Standing::Waiting => {
                    waiting += 1;
                    *reasons.entry(explain_row(row).unwrap_or_default()).or_default() += 1;
                    *held_by_line.entry(row["line"].as_str().unwrap_or_default()).or_default() += 1;
                }
                Standing::NeedsYou => needs_you += 1,
                _ => {}
            }
        }
        let mut reasons: Vec<(String, usize)> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let posts = self.stack().activity().count_posts_since(today);
        let count = |result| posts.get(&result).copied().unwrap_or_default();
        let held_leads: usize = self
            .client()
            .into_iter()
            .flat_map(|client| client.forms.keys())
            .map(|form| self.view.held_leads(form))
            .sum();
        json!({
            "client": self.stack().client_id(),
            "zone": self.client().map_or("UTC", |client| client.time_zone.as_str()),
            "offset_ms": self.stack().clock().offset_ms(),
            "lines": self.render_lines(&held_by_line),
            "waiting": waiting, "reasons": reasons.into_iter().take(MAX_REASONS).collect::<Vec<_>>(),
            "needs_you": needs_you, "held_leads": held_leads,
            "sent": sent, "arrived": arrived,
            "repeats": count(PostResult::Repeat), "forged": count(PostResult::Forged),
            "twice": self.stack().provider().messages_per_key().values().filter(|count| **count > 1).count(),
            "failures": self.stack().failures().len(),
            "next_due": self.view.next_due(self.now_ms),
            "banner": self.render_banner(),
        })
    }

    /// Each line: whether it can send, why not, and when what waits for it is out.
    fn render_lines(&self, held: &BTreeMap<&str, usize>) -> Vec<Value> {
        let settings = self.stack().provider().settings();
        let Some(client) = self.client() else { return Vec::new() };
        let line = |(name, line): (&String, &tellonce_core::client_config::LineConfig)| {
            let row = self.view.state_row(self.tables(), &format!("line:{name}"));
            let health = settings.health_of_line(&line.line_id);
            let is_stopped = row.is_some_and(|row| row.get("stopped").is_some());
            let waiting = held.get(name.as_str()).copied().unwrap_or_default();
            let can_send = health == HealthPreset::Good && !is_stopped;
            let minutes = i64::try_from(waiting).unwrap_or(i64::MAX) / i64::from(line.messages_per_minute.max(1)) + 2;
            json!({
                "name": name, "health": health, "stopped": is_stopped, "can_send": can_send,
                "per_minute": line.messages_per_minute, "waiting": waiting,
                "out_by": (waiting > 0 && can_send).then(|| (self.now_ms / 60_000 + minutes) * 60_000),
            })
        };
        client.lines.iter().map(line).collect()
    }

    /// What is wrong with `client.toml` and its secrets; `None` if nothing is.
    fn render_banner(&self) -> Option<Value> {
        let loaded = &self.loaded;
        let errors = loaded.findings.iter().filter(|finding| finding.severity == Severity::Error);
        let errors: Vec<Value> = errors
            .map(|finding| json!({"line": finding.line, "problem": finding.problem, "remedy": finding.remedy}))
            .collect();
        if errors.is_empty() && loaded.missing_secrets.is_empty() {
            return None;
        }
        let folder = self.stack().client_folder();
        let file = folder.strip_prefix(self.stack().root()).unwrap_or(folder).join("client.toml");
        Some(json!({
            "file": file.display().to_string(), "errors": errors.len(), "first": errors.iter().take(3).collect::<Vec<_>>(),
            "runs_last_version": loaded.config.is_some(), "missing_secrets": loaded.missing_secrets,
            "read_at": loaded.read_at_ms,
        }))
    }
}
