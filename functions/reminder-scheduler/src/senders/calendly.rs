//! Calendly: an invitee of an event. Each has a uri, and so an appointment, of their own, in a group event too.
//!
//! Who moves their appointment cancels one invitee and creates another: two deliveries, in any order. Each of them ends
//! the old one without a word to anybody.
//!
//! Shape: developer.calendly.com, "Webhook payload" and "Webhook payloads for rescheduled events".

use serde::Deserialize;
use shared::{
    appointment::Standing,
    contact::{Candidate, full_name},
    json::{self, Misread, Raw},
    observe::Label,
};

use super::{Delivery, Person, Said};
use crate::booking::{Booking, Kind, NothingBecause, Reading};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Envelope<'a> {
    #[serde(borrow)]
    event: Raw<'a>,
    created_at: Raw<'a>,
    /// An [`Attendance`], for the events that we read.
    payload: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Attendance<'a> {
    #[serde(borrow)]
    uri: Raw<'a>,
    name: Raw<'a>,
    first_name: Raw<'a>,
    last_name: Raw<'a>,
    status: Raw<'a>,
    timezone: Raw<'a>,
    text_reminder_number: Raw<'a>,
    rescheduled: Raw<'a>,
    old_invitee: Raw<'a>,
    #[serde(deserialize_with = "json::list")]
    questions_and_answers: Vec<Answer<'a>>,
    #[serde(deserialize_with = "json::object")]
    scheduled_event: Option<Event<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer<'a> {
    #[serde(borrow)]
    question: Raw<'a>,
    answer: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Event<'a> {
    #[serde(borrow)]
    name: Raw<'a>,
    start_time: Raw<'a>,
    #[serde(deserialize_with = "json::object")]
    location: Option<Location<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Location<'a> {
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
    location: Raw<'a>,
}

/// Reads a delivery. `phone_question`: the custom question whose answer is the customer's number.
pub(crate) fn read(delivery: &Delivery<'_>, phone_question: Option<&str>) -> Result<Reading, NothingBecause> {
    let envelope: Envelope<'_> = json::parse(delivery.body).map_err(NothingBecause::NotUnderstood)?;
    let event = envelope.event.text().ok_or(NothingBecause::NotUnderstood(Misread::NoTopic))?;
    if !matches!(&*event, "invitee.created" | "invitee.canceled") {
        return Err(NothingBecause::UnknownEvent(Label::new(&event)));
    }
    let invitee: Attendance<'_> = envelope.payload.as_shape().ok_or_else(|| NothingBecause::missing("/payload"))?;
    let id = invitee.uri.string().ok_or_else(|| NothingBecause::missing("/payload/uri"))?;
    let occurred_at = delivery.happened(envelope.created_at.time());
    let ends = event == "invitee.canceled" || invitee.status.text().is_some_and(|status| status == "canceled");
    let previous_id = invitee.old_invitee.string().filter(|old| !ends && *old != id);
    let (kind, standing) = match (ends, invitee.rescheduled.is_true()) {
        (true, true) => (Kind::MovedAway, Standing::Moved),
        (true, false) => (Kind::Cancelled, Standing::Cancelled),
        (false, _) if previous_id.is_some() => (Kind::Rescheduled, Standing::Booked),
        (false, _) => (Kind::Created, Standing::Booked),
    };
    let said = invitee.said(phone_question);
    let (details, unreachable) = delivery.context.details(standing, said, "/payload/scheduled_event/start_time")?;
    let old = previous_id.clone().map(|id| Booking::moved_away(id, occurred_at));
    let new = Booking { kind, id, standing, details, occurred_at, previous_id, unreachable };
    Ok(Reading::Reports(old.into_iter().chain([new]).collect()))
}

impl<'a> Attendance<'a> {
    fn said(&self, phone_question: Option<&str>) -> Said<'a> {
        let event = self.scheduled_event.as_ref();
        let location = event.and_then(|event| event.location.as_ref());
        let is_called = |location: &&Location<'_>| location.kind.text().is_some_and(|kind| kind == "outbound_call");
        let answers = self.questions_and_answers.iter().filter(|answer| {
            answer.question.text().is_some_and(|question| phone_question.is_some_and(|phone| phone.trim() == question))
        });
        let phones: Vec<Candidate<'a>> = [self.text_reminder_number]
            .into_iter()
            .chain(location.filter(is_called).map(|location| location.location))
            .chain(answers.map(|answer| answer.answer))
            .map(Candidate::from)
            .collect();
        let person = Person {
            phones,
            name: self.name.string().or_else(|| full_name(self.first_name, self.last_name)),
            locale: None,
            zone: self.timezone.string(),
        };
        Said {
            start: event.and_then(|event| event.start_time.time()),
            zone: person.zone.clone(),
            people: vec![person],
            title: event.and_then(|event| event.name.string()),
            place: location.and_then(|location| location.location.string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::samples::{booking, changed, phone, read_as, reason};

    fn read_changed(case: &str, object: &str, members: &Value) -> Reading {
        read_as("intro", changed("calendly", case, object, members))
    }

    #[test]
    fn a_created_invitee_who_has_cancelled_by_now_is_not_booked() {
        let late = booking(read_changed("invitee_created", "/payload", &json!({"status": "canceled"})));
        assert_eq!((late.kind, late.standing), (Kind::Cancelled, Standing::Cancelled));
        let moved = json!({"status": "canceled", "rescheduled": true});
        assert_eq!(booking(read_changed("invitee_created", "/payload", &moved)).standing, Standing::Moved);
    }

    #[test]
    fn a_number_counts_only_where_it_is_the_customers() {
        let answers = json!({"questions_and_answers": [
            {"question": "Phone number of your doctor", "answer": "0525550101"}, {"question": "Phone Number ", "answer": "0545550199"},
        ], "text_reminder_number": null});
        assert_eq!(phone(&booking(read_changed("invitee_created", "/payload", &answers))), "+972545550199");
        let ours = json!({"location": {"type": "inbound_call", "location": "+972545550199"}});
        let mut body: Value =
            serde_json::from_str(&changed("calendly", "invitee_created", "/payload/scheduled_event", &ours)).unwrap();
        body["payload"]["text_reminder_number"] = json!(null);
        let booked = booking(read_as("intro", body.to_string()));
        assert_eq!(booked.unreachable, Some(NothingBecause::NoPhone), "the host's own number");
        assert_eq!(booked.details.unwrap().place, None);
    }

    #[test]
    fn a_physical_place_and_the_events_name_are_told() {
        let here = json!({"location": {"type": "physical", "location": "Herzl 12, Haifa"}});
        let details = booking(read_changed("invitee_created", "/payload/scheduled_event", &here)).details.unwrap();
        assert_eq!((details.place.as_deref(), details.title.as_deref()), (Some("Herzl 12, Haifa"), Some("Intro call")));
    }

    #[test]
    fn other_events_say_nothing_of_appointments() {
        for event in ["invitee_no_show.created", "routing_form_submission.created"] {
            assert_eq!(reason(read_changed("invitee_created", "", &json!({"event": event}))).code(), "unknown-event");
        }
    }
}
