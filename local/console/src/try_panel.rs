//! What a person can try with this client: only the buttons of senders that it has.

use serde_json::{Value, json};
use tellonce_core::client_config::{CalendarConfig, CalendarKind, FormConfig};

use super::{
    leads::{can_flag_tests, can_post_leads, can_withhold_consent},
    parts::ListPart,
    samples::{ConsoleSample, SampleTargets},
    snapshot::Snapshot,
};

impl Snapshot<'_> {
    /// The samples, calendars and lines that have buttons.
    pub(super) fn render_try_panel(&self) -> Value {
        let settings = self.stack().provider().settings();
        json!({
            "samples": self.render_samples(),
            "calendars": self.render_calendars(),
            "default_start": self.default_booking_time(),
            "fault": settings.fault_share.map(|share| json!(share.fault)["kind"].take()),
            "gateway_url": self.stack().webhook_url(),
            "event_lines": self.event_lines(),
        })
    }

    /// The lines that report what is written on them, by the provider's id.
    fn event_lines(&self) -> Vec<Value> {
        let lines = self.client().into_iter().flat_map(|client| &client.lines);
        lines.map(|(name, line)| json!({"name": name, "id": line.line_id, "events": line.events})).collect()
    }

    fn render_samples(&self) -> Vec<Value> {
        let Some(client) = self.client() else { return Vec::new() };
        let targets = SampleTargets::from_config(client, |name| self.stack().secrets().current_value(name));
        let available = ConsoleSample::ALL.iter().filter(|case| targets.has_store_for(**case));
        available
            .map(|case| {
                json!({
                    "case": case, "label": case.label(), "expected": case.expected_result(), "group": case.group(),
                })
            })
            .collect()
    }

    fn render_calendars(&self) -> Vec<Value> {
        let Some(client) = self.client() else { return Vec::new() };
        let has_secret = |name: &str| self.stack().secrets().current_value(name).is_some();
        let calendar = |(name, calendar): (&String, &CalendarConfig)| {
            let ready = (calendar.kind.proof().is_none() || has_secret(&client.webhook_secret_name(name)))
                && (calendar.kind.facts().credential.is_none() || has_secret(&client.calendar_secret_name(name)));
            let feed = self.view.state_row(self.tables(), &format!("feed:{name}"));
            let current = self.console.booking_samples.current_start(name);
            json!({
                "name": name, "kind": calendar.kind.facts().name, "is_feed": matches!(calendar.kind, CalendarKind::Ics(_)),
                "available": ready, "has_current": current.is_some(),
                "problem": feed.map(|row| row["problem"].clone()), "polled_at": feed.map(|row| row["polled_at"].clone()),
                "suspect": feed.is_some_and(|row| row["suspect_since"].is_i64()),
            })
        };
        client.calendars.iter().map(calendar).collect()
    }

    /// The forms with what their leads led to, and what waits for an operator.
    pub(super) fn list_forms(&self) -> ListPart {
        let Some(client) = self.client() else { return ListPart { head: json!({"total": 0}), rows: Vec::new() } };
        let has_secret = |name: &str| self.stack().secrets().current_value(name).is_some();
        let form = |(name, form): (&String, &FormConfig)| {
            let row = self.view.state_row(self.tables(), &format!("form:{name}"));
            let leads = self.view.leads().filter(|lead| lead["sender"] == name.as_str()).count();
            json!({
                "id": name, "kind": form.kind.facts().name, "leads": leads,
                "available": can_post_leads(client, name, form, has_secret),
                "has_submission": self.console.lead_samples.has_submission(name),
                "can_flag_tests": can_flag_tests(form), "can_withhold_consent": can_withhold_consent(form),
                "burst": form.limits.burst.leads, "held_since": row.and_then(|row| row["held_since"].as_i64()),
                "waiting": self.view.held_leads(name),
            })
        };
        let rows: Vec<Value> = client.forms.iter().map(form).collect();
        ListPart { head: json!({"total": rows.len()}), rows }
    }

    /// The leads from `offset`, newest first: each submission with its message, else its reason.
    pub(super) fn list_leads(&self, form: Option<&str>, offset: usize, limit: usize) -> ListPart {
        let wanted = |lead: &&Value| form.is_none_or(|form| lead["sender"] == form);
        let total = self.view.leads().filter(wanted).count();
        let shown = self.view.leads().filter(wanted).skip(offset).take(limit);
        let lead = |lead: &Value| {
            let id = lead["id"].as_str().unwrap_or_default();
            let messages = self.view.rows_of_delivery(id);
            let mut rendered = messages.first().map_or_else(|| json!({}), |row| self.render_message(row));
            rendered["key"] = rendered["id"].take();
            rendered["id"] = json!(id);
            rendered["form"] = lead["sender"].clone();
            rendered["at"] = lead["received_at"].clone();
            rendered["outcome"] = lead["outcome"].clone();
            rendered["outcome_text"] = lead["outcome_text"].clone();
            rendered
        };
        ListPart { head: json!({"total": total}), rows: shown.map(lead).collect() }
    }

    /// Tomorrow at 10:30 in the client's zone: the default time of a booking.
    fn default_booking_time(&self) -> Option<String> {
        let now = jiff::Timestamp::from_millisecond(self.now_ms).ok()?;
        let tomorrow = now.to_zoned(self.zone.clone()).date().tomorrow().ok()?;
        Some(tomorrow.at(10, 30, 0, 0).strftime("%FT%H:%M").to_string())
    }
}
