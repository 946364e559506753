//! Calendly: an invitee of an event. Each invitee has a separate URI, and so a separate
//! appointment, in group events too.
//!
//! A move cancels one invitee and creates another: two deliveries, in any order. Each of them ends
//! the old appointment, and no message is sent for its end.
//!
//! Shape: developer.calendly.com, "Webhook payload" and "Webhook payloads for rescheduled events".

use serde::Deserialize;
use tellonce_core::{
    appointment::AppointmentStatus,
    contact::{PhoneCandidate, build_full_name},
    json::{self, JsonError, RawJson},
    telemetry::LogLabel,
};

use super::calendar_context::{BookingDelivery, BookingDetails, ReportedAppointment, ReportedPerson};
use crate::{
    booking::{Booking, BookingEventKind, ParsedBooking},
    booking_outcome::BookingSkipReason,
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct CalendlyWebhook<'a> {
    #[serde(borrow)]
    event: RawJson<'a>,
    created_at: RawJson<'a>,
    /// A [`CalendlyInvitee`], for the events that are parsed.
    payload: RawJson<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CalendlyInvitee<'a> {
    #[serde(borrow)]
    uri: RawJson<'a>,
    name: RawJson<'a>,
    first_name: RawJson<'a>,
    last_name: RawJson<'a>,
    status: RawJson<'a>,
    timezone: RawJson<'a>,
    text_reminder_number: RawJson<'a>,
    rescheduled: RawJson<'a>,
    old_invitee: RawJson<'a>,
    #[serde(deserialize_with = "json::deserialize_list_or_null")]
    questions_and_answers: Vec<CalendlyAnswer<'a>>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    scheduled_event: Option<CalendlyScheduledEvent<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CalendlyAnswer<'a> {
    #[serde(borrow)]
    question: RawJson<'a>,
    answer: RawJson<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CalendlyScheduledEvent<'a> {
    #[serde(borrow)]
    name: RawJson<'a>,
    start_time: RawJson<'a>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    location: Option<CalendlyLocation<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CalendlyLocation<'a> {
    #[serde(borrow, rename = "type")]
    kind: RawJson<'a>,
    location: RawJson<'a>,
}

/// Parses a delivery. `phone_question` is the custom question that asks for the customer's number.
pub(crate) fn parse_calendly(
    delivery: &BookingDelivery<'_>,
    phone_question: Option<&str>,
) -> Result<ParsedBooking, BookingSkipReason> {
    let envelope: CalendlyWebhook<'_> = json::parse_object(delivery.body).map_err(BookingSkipReason::NotUnderstood)?;
    let event = envelope.event.text().ok_or(BookingSkipReason::NotUnderstood(JsonError::NoTopic))?;
    if !matches!(&*event, "invitee.created" | "invitee.canceled") {
        return Err(BookingSkipReason::UnknownEvent(LogLabel::new(&event)));
    }
    let invitee: CalendlyInvitee<'_> =
        envelope.payload.deserialize_as().ok_or_else(|| BookingSkipReason::missing_field("/payload"))?;
    let id = invitee.uri.owned_text().ok_or_else(|| BookingSkipReason::missing_field("/payload/uri"))?;
    let occurred_at = delivery.event_time(envelope.created_at.as_time());
    let ends = event == "invitee.canceled" || invitee.status.text().is_some_and(|status| status == "canceled");
    let previous_id = invitee.old_invitee.owned_text().filter(|old| !ends && *old != id);
    let (kind, appointment_status) = match (ends, invitee.rescheduled.is_true()) {
        (true, true) => (BookingEventKind::MovedAway, AppointmentStatus::Moved),
        (true, false) => (BookingEventKind::Cancelled, AppointmentStatus::Cancelled),
        (false, _) if previous_id.is_some() => (BookingEventKind::Rescheduled, AppointmentStatus::Booked),
        (false, _) => (BookingEventKind::Created, AppointmentStatus::Booked),
    };
    let reported = invitee.to_reported(phone_question);
    let BookingDetails { details, unreachable_reason, left_out } =
        delivery.context.build_details(appointment_status, reported, "/payload/scheduled_event/start_time")?;
    let new = Booking {
        kind,
        id,
        status: appointment_status,
        details,
        occurred_at,
        previous_id,
        unreachable_reason,
        left_out,
    };
    Ok(ParsedBooking::Bookings(new.moved_away_previous().into_iter().chain([new]).collect()))
}

impl<'a> CalendlyInvitee<'a> {
    fn to_reported(&self, phone_question: Option<&str>) -> ReportedAppointment<'a> {
        let event = self.scheduled_event.as_ref();
        let location = event.and_then(|event| event.location.as_ref());
        let is_outbound_call =
            |location: &&CalendlyLocation<'_>| location.kind.text().is_some_and(|kind| kind == "outbound_call");
        // Of an `ask_invitee` the location is what the invitee typed, and of an `outbound_call` the
        // invitee's number.
        let is_set_by_host = |location: &&CalendlyLocation<'_>| {
            location.kind.text().is_some_and(|kind| ["physical", "custom", "inbound_call"].contains(&&*kind))
        };
        let answers = self.questions_and_answers.iter().filter(|answer| {
            answer.question.text().is_some_and(|question| phone_question.is_some_and(|phone| phone.trim() == question))
        });
        let phones: Vec<PhoneCandidate<'a>> = [self.text_reminder_number]
            .into_iter()
            .chain(location.filter(is_outbound_call).map(|location| location.location))
            .chain(answers.map(|answer| answer.answer))
            .map(PhoneCandidate::from)
            .collect();
        let person = ReportedPerson {
            phones,
            name: self.name.owned_text().or_else(|| build_full_name(self.first_name, self.last_name)),
            locale: None,
            zone: self.timezone.owned_text(),
        };
        ReportedAppointment {
            start: event.and_then(|event| event.start_time.as_time()),
            zone: person.zone.clone(),
            attendees: vec![person],
            title: event.and_then(|event| event.name.owned_text()),
            place: location.filter(is_set_by_host).and_then(|location| location.location.owned_text()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::samples::{changed_sample, expect_booking, expect_skip, only_phone, parse_as};

    fn read_changed(case: &str, object: &str, members: &Value) -> ParsedBooking {
        parse_as("intro", changed_sample("calendly", case, object, members))
    }

    #[test]
    fn a_created_invitee_who_has_cancelled_by_now_is_not_booked() {
        let late = expect_booking(read_changed("invitee_created", "/payload", &json!({"status": "canceled"})));
        assert_eq!((late.kind, late.status), (BookingEventKind::Cancelled, AppointmentStatus::Cancelled));
        let moved = json!({"status": "canceled", "rescheduled": true});
        assert_eq!(
            expect_booking(read_changed("invitee_created", "/payload", &moved)).status,
            AppointmentStatus::Moved
        );
    }

    #[test]
    fn a_number_counts_only_where_it_is_the_customers() {
        let answers = json!({"questions_and_answers": [
            {"question": "Phone number of your doctor", "answer": "0525550101"}, {"question": "Phone Number ", "answer": "0545550199"},
        ], "text_reminder_number": null});
        assert_eq!(only_phone(&expect_booking(read_changed("invitee_created", "/payload", &answers))), "+972545550199");
        let host_phone = json!({"location": {"type": "inbound_call", "location": "+972545550199"}});
        let mut body: Value = serde_json::from_str(&changed_sample(
            "calendly",
            "invitee_created",
            "/payload/scheduled_event",
            &host_phone,
        ))
        .unwrap();
        body["payload"]["text_reminder_number"] = json!(null);
        let booked = expect_booking(parse_as("intro", body.to_string()));
        assert_eq!(booked.unreachable_reason, Some(BookingSkipReason::NoPhone), "the host's own number");
        assert_eq!(booked.details.unwrap().place, None);
    }

    #[test]
    fn a_physical_place_and_the_events_name_are_read() {
        let here = json!({"location": {"type": "physical", "location": "Herzl 12, Haifa"}});
        let details =
            expect_booking(read_changed("invitee_created", "/payload/scheduled_event", &here)).details.unwrap();
        assert_eq!((details.place.as_deref(), details.title.as_deref()), (Some("Herzl 12, Haifa"), Some("Intro call")));
    }

    #[test]
    fn a_place_that_the_invitee_typed_is_not_a_place() {
        let place = |kind: Value| {
            let location = json!({"location": {"type": kind, "location": "Call the bank now"}});
            let invitee = read_changed("invitee_created", "/payload/scheduled_event", &location);
            expect_booking(invitee).details.unwrap().place
        };
        assert_eq!(place(json!("custom")).as_deref(), Some("Call the bank now"), "the host's words");
        for kind in [json!("ask_invitee"), json!("outbound_call"), json!("zoom_conference"), json!("new"), Value::Null]
        {
            assert_eq!(place(kind.clone()), None, "{kind}");
        }
    }

    #[test]
    fn other_events_are_skipped() {
        for event in ["invitee_no_show.created", "routing_form_submission.created"] {
            assert_eq!(
                expect_skip(read_changed("invitee_created", "", &json!({"event": event}))).code(),
                "unknown-event"
            );
        }
    }
}
