//! The page "Settings": the client's file, and what happens below the surface.

use serde_json::{Value, json};
use tellonce_check::Severity;

use super::{parts::ListPart, snapshot::Snapshot};

/// Log lines that are shown, the last.
const MAX_LOG_LINES: usize = 80;
/// Attempts to post an event to a webhook that are shown, the last.
const MAX_ATTEMPTS: usize = 12;

impl Snapshot<'_> {
    pub(super) fn render_settings(&self) -> Value {
        let loaded = &self.loaded;
        let findings = loaded.findings.iter().map(|finding| {
            let is_error = finding.severity == Severity::Error;
            json!({"line": finding.line, "problem": finding.problem, "remedy": finding.remedy, "error": is_error})
        });
        let functions = self.stack().functions();
        let counts = functions.list_names().into_iter().map(|name| {
            let counts = functions.invocation_counts(&name);
            json!({"name": name, "started": counts.started, "failed": counts.failed, "cold_starts": counts.cold_starts})
        });
        let usage = self.stack().dynamo().counters().snapshot();
        let usage = usage.into_iter().map(|((operation, table), usage)| {
            json!({"operation": operation, "table": table, "requests": usage.requests, "units": usage.units})
        });
        let failures = self.stack().failures().into_iter().map(|failed| {
            json!({
                "function": failed.function, "records": failed.records.len(), "attempts": failed.attempts,
                "error": failed.error, "at": failed.at_ms,
            })
        });
        json!({
            "file": self.stack().client_folder().join("client.toml").display().to_string(),
            "read_at": loaded.read_at_ms,
            "findings": findings.collect::<Vec<_>>(),
            "missing_secrets": loaded.missing_secrets,
            "functions": counts.collect::<Vec<_>>(),
            "dynamo": usage.collect::<Vec<_>>(),
            "secrets_requests": self.stack().secrets().total_request_count(),
            "failures": failures.collect::<Vec<_>>(),
            "provider": self.render_provider(),
        })
    }

    fn render_provider(&self) -> Value {
        let provider = self.stack().provider();
        let attempts = provider.webhook_attempts();
        json!({
            "counters": provider.counters(), "url": provider.base_url(),
            "webhooks": provider.webhooks().len(),
            "attempts": attempts[attempts.len().saturating_sub(MAX_ATTEMPTS)..],
        })
    }

    /// The last log lines of all functions, oldest first.
    pub(super) fn list_logs(&self) -> ListPart {
        let names = self.stack().functions().list_names();
        let lines = names.iter().flat_map(|name| {
            self.stack().log_lines(name).into_iter().map(move |line| {
                let id = format!("{name}-{}", line.number);
                json!({"id": id, "function": name, "at": line.at_ms, "text": line.text, "source": line.source})
            })
        });
        let mut lines: Vec<Value> = lines.collect();
        lines.sort_by_key(|line| line["at"].as_i64());
        let total = lines.len();
        ListPart { head: json!({"total": total}), rows: lines.split_off(total.saturating_sub(MAX_LOG_LINES)) }
    }
}
