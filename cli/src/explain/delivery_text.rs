//! What a delivery led to, in words.

use std::fmt::{self, Write as _};

use tellonce_ops::DeliveryTrace;

use super::subject_text::write_message;
use crate::people_time::PeopleTime;

pub(super) fn write_deliveries(text: &mut String, traces: &[DeliveryTrace], time: &PeopleTime<'_>) -> fmt::Result {
    for (number, trace) in traces.iter().enumerate() {
        if number > 0 {
            writeln!(text)?;
        }
        write_delivery(text, trace, time)?;
    }
    Ok(())
}

fn write_delivery(text: &mut String, trace: &DeliveryTrace, time: &PeopleTime<'_>) -> fmt::Result {
    let DeliveryTrace { id, kind, sender, topic, received_at, .. } = trace;
    writeln!(text, "{id} (times in {})", time.name)?;
    let topic = topic.as_ref().map(|topic| format!(", {topic}")).unwrap_or_default();
    let at = time.format(*received_at);
    writeln!(text, "\n  {at}  came in      a delivery of the {kind} `{sender}`{topic}; its proof was right")?;
    if let Some(replayed_at) = trace.replayed_at {
        writeln!(text, "  {}  replayed     it took its way again", time.format(replayed_at))?;
    }
    if let Some((outcome, at)) = trace.outcome.as_ref().and_then(|outcome| Some((outcome, outcome.at?))) {
        writeln!(text, "  {}  skipped      {} ({})", time.format(at), outcome.explanation, outcome.code)?;
    }
    let mut conclusion = trace.conclusion.clone();
    if let Some(first) = conclusion.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    writeln!(text, "\n{conclusion}.")?;
    if let Some(about) = &trace.about {
        writeln!(text, "It is about {about}: tellonce explain {about}")?;
    }
    for message in &trace.messages {
        write_message(text, message, time)?;
    }
    if !trace.unreadable.is_empty() {
        writeln!(text, "\nNot read:")?;
    }
    for problem in &trace.unreadable {
        writeln!(text, "  {problem}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use tellonce_ops::{TracedAppointment, TracedOutcome};

    use super::*;

    fn trace() -> DeliveryTrace {
        DeliveryTrace {
            id: "clinic#b-1".to_owned(),
            kind: "calendar",
            sender: "clinic".to_owned(),
            topic: Some("BOOKING_CREATED".to_owned()),
            received_at: "2026-11-24T16:28:43Z".parse().unwrap(),
            replayed_at: None,
            outcome: None,
            about: None,
            messages: vec![],
            appointments: vec![TracedAppointment { subject: "appointment:88".to_owned(), status: Some("booked") }],
            tasks: vec![],
            may_have_more: false,
            conclusion: "the delivery changed appointment:88 (now booked)".to_owned(),
            unreadable: vec![],
        }
    }

    #[test]
    fn a_delivery_says_when_it_came_and_what_it_led_to() {
        let outcome = TracedOutcome {
            code: "no-phone".to_owned(),
            explanation: "the delivery has no phone number".to_owned(),
            at: Some("2026-11-24T16:30:01Z".parse().unwrap()),
        };
        let skipped = DeliveryTrace {
            id: "shop#d-2".to_owned(),
            kind: "store",
            sender: "shop".to_owned(),
            replayed_at: Some("2026-11-24T16:30:00Z".parse().unwrap()),
            outcome: Some(outcome),
            about: Some("order:1001".to_owned()),
            appointments: vec![],
            conclusion: "the delivery led to no message: the delivery has no phone number (no-phone)".to_owned(),
            unreadable: vec!["the log of the function tellonce-acme-order-notifier could not be read".to_owned()],
            ..trace()
        };
        let time = PeopleTime { zone: TimeZone::get("Asia/Jerusalem").unwrap(), name: "Asia/Jerusalem" };
        let mut text = String::new();
        write_deliveries(&mut text, &[trace(), skipped], &time).unwrap();
        insta::assert_snapshot!(text);
    }
}
