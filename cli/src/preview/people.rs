//! What a preview prints for people: each delivery, its messages as they look on the phone, or the
//! reason why there is none.

use std::fmt::{self, Write as _};

use jiff::{Timestamp, tz::TimeZone};
use tellonce_core::client_config::{ClientConfig, MessageTemplates};

use super::{
    feed::FeedAppointmentPreview,
    report::{
        AppointmentPreview, DeliveryPreview, EventPreview, FactPreview, LeadPreview, LeadsPreview, MessagePreview,
        OrderPreview, SkippedReminder,
    },
};

/// A shorter part of a template says little about its language.
const MIN_PART_LENGTH: usize = 4;

/// Writes previews in the client's zone.
pub(super) struct PeopleReport<'a> {
    config: &'a ClientConfig,
    zone: TimeZone,
    /// The present, if the person chose no other time for the preview.
    present: Option<Timestamp>,
    text: String,
}

impl<'a> PeopleReport<'a> {
    pub(super) fn new(config: &'a ClientConfig, present: Option<Timestamp>) -> Self {
        Self { config, zone: config.own_zone(), present, text: String::new() }
    }

    pub(super) fn of_deliveries(mut self, deliveries: &[DeliveryPreview]) -> Result<String, fmt::Error> {
        for delivery in deliveries {
            self.write_delivery(delivery)?;
        }
        Ok(self.text)
    }

    pub(super) fn of_feed(mut self, appointments: &[FeedAppointmentPreview]) -> Result<String, fmt::Error> {
        for FeedAppointmentPreview { case, event, messages, skipped_reminders, skip_reason } in appointments {
            self.begin_case(case)?;
            self.text.push('\n');
            if let Some(appointment) = event {
                self.write_appointment(appointment)?;
            }
            self.write_result(messages, skipped_reminders, skip_reason.as_deref())?;
        }
        Ok(self.text)
    }

    fn begin_case(&mut self, case: &str) -> fmt::Result {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        write!(self.text, "{case}")
    }

    fn write_delivery(&mut self, delivery: &DeliveryPreview) -> fmt::Result {
        self.begin_case(&delivery.case)?;
        if let Some(why) = &delivery.refused {
            return writeln!(self.text, ": refused ({})\n  {why}", delivery.status);
        }
        let repeat = if delivery.duplicate { ", recognised as a repeat: nothing is sent again" } else { "" };
        writeln!(self.text, ": accepted ({}){repeat}", delivery.status)?;
        match &delivery.event {
            Some(EventPreview::Order(order)) => self.write_order(order)?,
            Some(EventPreview::Appointment(appointment)) => self.write_appointment(appointment)?,
            Some(EventPreview::Leads(LeadsPreview { leads, .. })) => {
                leads.iter().try_for_each(|lead| self.write_lead(lead))?;
            }
            None => {}
        }
        let DeliveryPreview { messages, skipped_reminders, skip_reason, .. } = delivery;
        self.write_result(messages, skipped_reminders, skip_reason.as_deref())?;
        match delivery.event.as_ref().and_then(EventPreview::occurred_at) {
            Some(at) if self.is_too_old(delivery, at) => {
                writeln!(self.text, "  It is an old delivery. To see it as it was on that day, add --now {at}")
            }
            _ => Ok(()),
        }
    }

    /// Whether nothing is sent only because the recording is old.
    fn is_too_old(&self, delivery: &DeliveryPreview, occurred_at: Timestamp) -> bool {
        let Some(present) = self.present.filter(|present| *present > occurred_at) else { return false };
        let is_expired = delivery.skip_reason.as_ref().is_some_and(|reason| reason.starts_with("expired"));
        let has_begun = match &delivery.event {
            Some(EventPreview::Appointment(AppointmentPreview { start: Some(start), .. })) => *start < present,
            _ => false,
        };
        is_expired || (has_begun && delivery.messages.is_empty())
    }

    fn write_order(&mut self, order: &OrderPreview) -> fmt::Result {
        let number = order.number.as_ref().or(order.id.as_ref()).map_or("unknown", String::as_str);
        let phone = order.phone.as_deref().unwrap_or("no usable phone number");
        let at = self.format_time(order.occurred_at);
        writeln!(self.text, "  order {number}: {} on {at}, {phone}", order.milestone)
    }

    fn write_appointment(&mut self, appointment: &AppointmentPreview) -> fmt::Result {
        let start = appointment.start.map(|start| format!(" for {}", self.format_time(start))).unwrap_or_default();
        let phones =
            if appointment.phones.is_empty() { String::new() } else { format!(", {}", appointment.phones.join(", ")) };
        writeln!(self.text, "  appointment {}: {}{start}{phones}", appointment.id, appointment.status)
    }

    fn write_lead(&mut self, lead: &LeadPreview) -> fmt::Result {
        if let Some(request) = &lead.lookup_request {
            writeln!(self.text, "  lookup: {request}")?;
        }
        if let Some(found) = &lead.found {
            let facts = [
                ("phone", Some(&found.phone)),
                ("name", Some(&found.name)),
                ("language", Some(&found.language)),
                ("choice", found.choice.as_ref()),
                ("consent", Some(&found.consent)),
                ("id", Some(&found.id)),
                ("form id", Some(&found.form_id)),
                ("submitted at", Some(&found.submitted_at)),
            ];
            for (fact, FactPreview { value, field }) in facts.iter().filter_map(|(name, fact)| Some((name, (*fact)?))) {
                let field = field.as_ref().map(|field| format!("  ← {field}")).unwrap_or_default();
                writeln!(self.text, "  {fact:<13} {}{field}", value.as_deref().unwrap_or("not found"))?;
            }
        }
        if !lead.fields.is_empty() {
            writeln!(self.text, "  all fields:   {}", lead.fields.join(", "))?;
        }
        Ok(())
    }

    fn write_result(
        &mut self,
        messages: &[MessagePreview],
        skipped: &[SkippedReminder],
        reason: Option<&str>,
    ) -> fmt::Result {
        for message in messages {
            self.write_message(message)?;
        }
        for SkippedReminder { idempotency_key, reason, .. } in skipped {
            writeln!(self.text, "  Not sent: {idempotency_key}: {reason}")?;
        }
        match reason {
            Some(reason) if messages.is_empty() => writeln!(self.text, "  Nothing is sent: {reason}"),
            Some(reason) => writeln!(self.text, "  {reason}"),
            None => Ok(()),
        }
    }

    fn write_message(&mut self, message: &MessagePreview) -> fmt::Result {
        let (at, until) = (self.format_time(message.send_at), self.format_time(message.expires_at));
        let language = self.language_of(&message.text).map(|code| format!(", in `{code}`")).unwrap_or_default();
        let MessagePreview { to, line, idempotency_key, text, button, document, .. } = message;
        writeln!(self.text, "  To {to} over `{line}`{language}, on {at}, useful until {until}")?;
        writeln!(self.text, "    {idempotency_key}")?;
        self.text.push_str("    ┌─\n");
        for line in text.lines() {
            writeln!(self.text, "    │ {line}")?;
        }
        if let Some(button) = button {
            writeln!(self.text, "    │ [ {} ] {}", button.text, button.url)?;
        }
        if let Some(document) = document {
            writeln!(self.text, "    │ document: {document}")?;
        }
        self.text.push_str("    └─\n");
        Ok(())
    }

    fn format_time(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%a %d %b %Y %H:%M").to_string()
    }

    /// The language of the template that the text was made from: the one whose fixed parts it has.
    fn language_of(&self, text: &str) -> Option<&str> {
        let orders = self.config.messages.values().map(|rule| rule.templates());
        let reminders = self.config.calendars.values().flat_map(|calendar| calendar.reminders.values());
        let reminders = reminders.map(|rule| rule.templates());
        let forms = self.config.forms.values().map(|form| form.first_touch.templates());
        let templates = orders.chain(reminders).chain(forms).flat_map(|MessageTemplates { text, .. }| text);
        let scored = templates.map(|(language, template)| (shared_letters(template, text), language));
        scored.max_by_key(|(letters, _)| *letters).filter(|(letters, _)| *letters > 0).map(|(_, code)| code.as_str())
    }
}

/// How many letters of the fixed parts of a template are in a text.
fn shared_letters(template: &str, text: &str) -> usize {
    let parts = template_parts(template).map(|part| (part, part.chars().count()));
    parts.filter(|(part, letters)| *letters >= MIN_PART_LENGTH && text.contains(part)).map(|(_, letters)| letters).sum()
}

/// The parts of a template between its tags, line by line.
fn template_parts(template: &str) -> impl Iterator<Item = &str> {
    let after_tag = |part| match str::split_once(part, "}") {
        Some((_, fixed)) => fixed.trim_start_matches('}'),
        None => part,
    };
    template.split('{').map(after_tag).flat_map(str::lines).map(str::trim)
}

impl EventPreview {
    fn occurred_at(&self) -> Option<Timestamp> {
        match self {
            Self::Order(order) => Some(order.occurred_at),
            Self::Appointment(appointment) => Some(appointment.occurred_at),
            Self::Leads(LeadsPreview { leads, .. }) => {
                let submitted = leads.first()?.found.as_ref()?.submitted_at.value.as_ref()?;
                submitted.parse().ok()
            }
        }
    }
}
