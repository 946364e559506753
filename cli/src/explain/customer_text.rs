//! All messages of one customer, in words.

use std::fmt::{self, Write as _};

use tellonce_ops::CustomerReport;

use crate::people_time::PeopleTime;

pub(super) fn write_customer(text: &mut String, report: &CustomerReport, time: &PeopleTime<'_>) -> fmt::Result {
    writeln!(text, "{} (times in {})", report.contact, time.name)?;
    if let Some(at) = report.opted_out_at {
        writeln!(text, "Opted out of reminders and greetings since {}.", time.format_minute(at))?;
    }
    if report.messages.is_empty() {
        return writeln!(text, "\nThe ledger has no message for this customer.");
    }
    writeln!(text)?;
    for message in &report.messages {
        let last = message.steps.last();
        let at = last.map(|step| time.format_minute(step.at)).unwrap_or_default();
        let why = last.map(|step| step.explanation.as_str()).unwrap_or_default();
        writeln!(text, "  {at}  {:<10} {}: {why}", message.standing.name(), message.key)?;
    }
    if report.has_more {
        writeln!(text, "  … and older ones")?;
    }
    if let Some(newest) = report.messages.first() {
        writeln!(text, "\nAll steps of a message: tellonce explain {}", newest.key)?;
    }
    for problem in &report.unreadable {
        writeln!(text, "Not read: {problem}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use tellonce_ops::{MessageReport, Standing};

    use super::*;
    use crate::explain::samples::{message, step};

    fn ended_message(key: &str, standing: Standing, at: &str, explanation: &str) -> MessageReport {
        message(key, standing, vec![step(at, "", explanation)])
    }

    #[test]
    fn a_customer_s_messages_are_a_row_each_with_where_to_go_on() {
        let report = CustomerReport {
            contact: "contact:0f3a".to_owned(),
            opted_out_at: Some("2026-11-24T10:00:00Z".parse().unwrap()),
            messages: vec![
                ended_message("order:1002:ready", Standing::Arrived, "2026-11-24T16:28:43Z", "it is on the phone"),
                ended_message(
                    "appointment:88:24h",
                    Standing::Skipped,
                    "2026-11-24T10:05:00Z",
                    "the customer has opted out",
                ),
            ],
            has_more: true,
            unreadable: vec![],
        };
        let time = PeopleTime { zone: TimeZone::get("Asia/Jerusalem").unwrap(), name: "Asia/Jerusalem" };
        let mut text = String::new();
        write_customer(&mut text, &report, &time).unwrap();
        let none = CustomerReport { opted_out_at: None, messages: vec![], has_more: false, ..report };
        write_customer(&mut text, &none, &time).unwrap();
        insta::assert_snapshot!(text);
    }
}
