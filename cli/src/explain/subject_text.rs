//! The messages of an order, an appointment or a lead, in words.

use std::fmt::{self, Write as _};

use tellonce_ops::{AbsentMessage, AppointmentReport, MessageReport, ReportStep, SubjectReport};

use crate::people_time::PeopleTime;

/// A version, for people: its commit, and its settings.
pub(crate) fn describe_version(version: &str) -> String {
    match version.rsplit_once('-') {
        Some(("dev", settings)) => format!("a development build with client.toml {settings}"),
        Some((commit, settings)) => format!("the code of {commit} with client.toml {settings}"),
        None => version.to_owned(),
    }
}

pub(super) fn write_report(text: &mut String, report: &SubjectReport, time: &PeopleTime<'_>) -> fmt::Result {
    writeln!(text, "{} (times in {})", report.subject, time.name)?;
    if let Some(appointment) = &report.appointment {
        write_appointment(text, appointment, time)?;
    }
    if let Some(absent) = &report.absent {
        write_absent(text, absent, !report.without_message.is_empty())?;
    }
    for message in &report.messages {
        write_message(text, message, time)?;
    }
    if !report.without_message.is_empty() {
        writeln!(text, "\nDeliveries that led to no message:")?;
    }
    for delivery in &report.without_message {
        let topic = delivery.topic.as_ref().map(|topic| format!(", {topic}")).unwrap_or_default();
        let at = time.format(delivery.at);
        writeln!(text, "  {at}  {}{topic}: {} ({})", delivery.id, delivery.explanation, delivery.outcome)?;
    }
    if !report.unreadable.is_empty() {
        writeln!(text, "\nNot read:")?;
    }
    for problem in &report.unreadable {
        writeln!(text, "  {problem}")?;
    }
    Ok(())
}

fn write_absent(text: &mut String, absent: &AbsentMessage, lists_deliveries: bool) -> fmt::Result {
    let AbsentMessage { stage, other_stages } = absent;
    writeln!(text, "\nThe message `{stage}` does not exist.")?;
    if !other_stages.is_empty() {
        writeln!(text, "There is one for: {}.", other_stages.join(", "))?;
    }
    let below = if lists_deliveries { " (below)" } else { "" };
    writeln!(
        text,
        "Either no delivery reported it, or its delivery led to no message{below}, or client.toml had no text for it."
    )?;
    writeln!(text, "`--absent` finds the link that broke.")
}

fn write_appointment(text: &mut String, appointment: &AppointmentReport, time: &PeopleTime<'_>) -> fmt::Result {
    let start = appointment.begins_at.map(|start| format!(" for {}", time.format_minute(start))).unwrap_or_default();
    writeln!(text, "\nappointment: {}{start}, calendar `{}`", appointment.status, appointment.calendar)?;
    write_steps(text, &appointment.steps, time)?;
    for unsent in &appointment.unsent_reminders {
        let start = time.format_minute(unsent.begins_at);
        writeln!(text, "  No reminder `{}` for {start}: {} ({}).", unsent.stage, unsent.explanation, unsent.code)?;
    }
    if let Some(next) = appointment.next_check {
        writeln!(text, "  Next check for reminders: {}.", time.format_minute(next))?;
    }
    Ok(())
}

pub(super) fn write_message(text: &mut String, message: &MessageReport, time: &PeopleTime<'_>) -> fmt::Result {
    let to = message.to.as_deref().map(|to| format!("to {to} ")).unwrap_or_default();
    writeln!(text, "\n{}: {} ({to}over `{}`)", message.key, message.standing.name(), message.line)?;
    write_steps(text, &message.steps, time)?;
    if let Some(version) = &message.made_by {
        writeln!(text, "  Made by {}.", describe_version(version))?;
    }
    if message.may_lack_steps {
        writeln!(text, "  The trail is full: steps after the fourth may be missing.")?;
    }
    // The last step of most messages says it already, and that of one that waits always does.
    let said = message.steps.last().map(|step| step.explanation.as_str()).unwrap_or_default();
    let is_unsaid = |reason: &&str| message.next_try.is_none() && !said.contains(*reason);
    if let Some(reason) = message.reason.as_deref().filter(is_unsaid) {
        writeln!(text, "  State `{}`: {reason}.", message.state)?;
    }
    if let Some(next) = message.next_try {
        let until = time.format_minute(message.useful_until);
        writeln!(text, "  Next try: {}. Useful until: {until}.", time.format(next))?;
    }
    Ok(())
}

fn write_steps(text: &mut String, steps: &[ReportStep], time: &PeopleTime<'_>) -> fmt::Result {
    for step in steps {
        let start = step.begins_at.map(|at| format!(": {}", time.format_minute(at))).unwrap_or_default();
        writeln!(text, "  {}  {:<12} {}{start}", time.format(step.at), step.label, step.explanation)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use tellonce_ops::{DeliveryReport, Standing, UnsentReminder};

    use super::*;
    use crate::explain::samples::{message, step};

    fn header_step(at: &str, label: &str, start: &str) -> ReportStep {
        ReportStep { begins_at: Some(start.parse().unwrap()), ..step(at, label, "it takes place") }
    }

    fn render_report(report: &SubjectReport) -> String {
        let time = PeopleTime { zone: TimeZone::get("Asia/Jerusalem").unwrap(), name: "Asia/Jerusalem" };
        let mut text = String::new();
        write_report(&mut text, report, &time).unwrap();
        text
    }

    #[test]
    fn a_report_is_one_line_a_step_in_the_client_s_zone() {
        let came_in = step("2026-11-24T16:28:43Z", "came in", "a delivery of `shop`, orders/updated");
        let down = step("2026-11-24T16:28:43Z", "waits", "the line could not send (QR); check the line in EZWhatsApp");
        let waiting = MessageReport {
            reason: Some("the line could not send (QR)".to_owned()),
            next_try: Some("2026-11-24T16:58:43Z".parse().unwrap()),
            ..message("order:1001:ready", Standing::Waiting, vec![came_in.clone(), down])
        };
        let opted_out = step("2026-11-24T16:40:00Z", "skipped", "the customer has opted out");
        let unsure = MessageReport {
            state: "superseded",
            reason: Some("the customer has opted out; an earlier submit may have arrived".to_owned()),
            may_lack_steps: true,
            ..message("order:1001:received", Standing::Skipped, vec![came_in, opted_out])
        };
        let report = SubjectReport {
            subject: "order:1001".to_owned(),
            appointment: None,
            absent: None,
            without_message: vec![],
            messages: vec![unsure, waiting],
            unreadable: vec!["the ledger row order:1001:paid has no usable `state`".to_owned()],
        };
        insta::assert_snapshot!(render_report(&report));
    }

    #[test]
    fn the_report_of_an_appointment_begins_with_its_moves_and_its_unsent_reminders() {
        let appointment = AppointmentReport {
            status: "booked",
            begins_at: Some("2026-11-26T08:30:00Z".parse().unwrap()),
            calendar: "clinic".to_owned(),
            next_check: Some("2026-11-25T08:30:00Z".parse().unwrap()),
            steps: vec![
                header_step("2026-11-20T10:00:00Z", "booked", "2026-11-24T08:30:00Z"),
                header_step("2026-11-21T10:00:00Z", "rescheduled", "2026-11-26T08:30:00Z"),
            ],
            unsent_reminders: vec![UnsentReminder {
                stage: "72h".to_owned(),
                begins_at: "2026-11-24T08:30:00Z".parse().unwrap(),
                code: "missed",
                explanation: "its time passed before a function could send it",
            }],
        };
        let arrived = step("2026-11-24T08:30:02Z", "arrived", "it is on the phone");
        let report = SubjectReport {
            subject: "appointment:88".to_owned(),
            appointment: Some(appointment),
            absent: None,
            without_message: vec![],
            messages: vec![message("appointment:88:48h", Standing::Arrived, vec![arrived])],
            unreadable: vec![],
        };
        insta::assert_snapshot!(render_report(&report));
    }

    #[test]
    fn a_development_build_is_not_called_a_commit() {
        assert_eq!(describe_version("dev-89abcdef"), "a development build with client.toml 89abcdef");
        assert_eq!(describe_version("1a2b3c4d5e6f-89abcdef"), "the code of 1a2b3c4d5e6f with client.toml 89abcdef");
    }

    #[test]
    fn an_absent_message_points_to_the_deliveries_below_it_if_there_are_any() {
        let unlisted = SubjectReport {
            subject: "order:1001".to_owned(),
            appointment: None,
            absent: Some(AbsentMessage { stage: "shipped".to_owned(), other_stages: vec!["ready".to_owned()] }),
            without_message: vec![],
            messages: vec![],
            unreadable: vec![],
        };
        let without_message = vec![DeliveryReport {
            id: "shop#1".to_owned(),
            at: "2026-11-24T16:28:43Z".parse().unwrap(),
            topic: Some("orders/updated".to_owned()),
            outcome: "no_text".to_owned(),
            explanation: "client.toml has no text for it".to_owned(),
        }];
        let listed = SubjectReport { without_message, ..unlisted.clone() };
        insta::assert_snapshot!(format!("{}----\n{}", render_report(&unlisted), render_report(&listed)));
    }
}
