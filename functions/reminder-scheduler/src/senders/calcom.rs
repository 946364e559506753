//! Cal.com: a booking as its webhook version 2021-10-20 shows it.
//!
//! A moved booking has a new uid; the old one stands beside it. Who booked is found by the e-mail address among the answers
//! of the form, because the numbers in the form are theirs and nobody else's.
//!
//! An event type with seats puts strangers into one booking, and its deliveries name only those whom they are about: who
//! took a seat, who gave one up. So each seat is an appointment of its own here, under the booking's uid and a hash of
//! its holder's address.
//!
//! Shape: calcom/cal.com, `packages/features/webhooks/lib/factory/versioned/v2021-10-20/BookingPayloadBuilder.ts`, and for
//! seats `packages/features/bookings/lib/handleSeats`.

use serde::Deserialize;
use shared::{
    appointment::Standing,
    contact::{Candidate, full_name},
    digest::sha256_hex,
    json::{self, Misread, Raw},
    observe::Label,
};

use super::{Delivery, Person, Said};
use crate::booking::{Booking, Kind, NothingBecause, Reading};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow)]
    trigger_event: Raw<'a>,
    created_at: Raw<'a>,
    /// A [`Payload`], for the events that we read.
    payload: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Payload<'a> {
    #[serde(borrow)]
    uid: Raw<'a>,
    reschedule_uid: Raw<'a>,
    status: Raw<'a>,
    start_time: Raw<'a>,
    title: Raw<'a>,
    event_title: Raw<'a>,
    location: Raw<'a>,
    sms_reminder_number: Raw<'a>,
    seats_per_time_slot: Raw<'a>,
    /// The form's answers by their field's name: `{label, value}`.
    responses: Raw<'a>,
    #[serde(deserialize_with = "json::object")]
    organizer: Option<Organizer<'a>>,
    #[serde(deserialize_with = "json::list")]
    attendees: Vec<Attendee<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Organizer<'a> {
    #[serde(borrow)]
    time_zone: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Attendee<'a> {
    #[serde(borrow)]
    email: Raw<'a>,
    name: Raw<'a>,
    first_name: Raw<'a>,
    last_name: Raw<'a>,
    phone_number: Raw<'a>,
    time_zone: Raw<'a>,
    #[serde(deserialize_with = "json::object")]
    language: Option<Language<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Language<'a> {
    #[serde(borrow)]
    locale: Raw<'a>,
}

/// Reads a delivery.
pub(crate) fn read(delivery: &Delivery<'_>) -> Result<Reading, NothingBecause> {
    let envelope: Envelope<'_> = json::parse(delivery.body).map_err(NothingBecause::NotUnderstood)?;
    let event = envelope.trigger_event.text().ok_or(NothingBecause::NotUnderstood(Misread::NoTopic))?;
    let (kind, standing) = match &*event {
        "BOOKING_CREATED" => (Kind::Created, Standing::Booked),
        "BOOKING_REQUESTED" => (Kind::Created, Standing::Unconfirmed),
        "BOOKING_RESCHEDULED" => (Kind::Rescheduled, Standing::Booked),
        "BOOKING_CANCELLED" | "BOOKING_REJECTED" => (Kind::Cancelled, Standing::Cancelled),
        "PING" => return Err(NothingBecause::Ping),
        other => return Err(NothingBecause::UnknownEvent(Label::new(other))),
    };
    let payload: Payload<'_> = envelope.payload.as_shape().ok_or_else(|| NothingBecause::missing("/payload"))?;
    let (kind, standing) = match payload.status.text().unwrap_or_default().to_ascii_uppercase().as_str() {
        "CANCELLED" | "REJECTED" => (Kind::Cancelled, Standing::Cancelled),
        "PENDING" | "AWAITING_HOST" if standing == Standing::Booked => (kind, Standing::Unconfirmed),
        _ => (kind, standing),
    };
    let uid = payload.uid.string().ok_or_else(|| NothingBecause::missing("/payload/uid"))?;
    // The organiser moves a booking with seats under the uid that it has.
    let previous = payload.reschedule_uid.string().filter(|previous| *previous != uid && !standing.is_over());
    let occurred_at = delivery.happened(envelope.created_at.time());

    let mut old = Vec::new();
    let mut new = Vec::new();
    for (seat, people) in payload.parties() {
        let (details, unreachable) = delivery.context.details(standing, payload.said(people), "/payload/startTime")?;
        let unreachable = match unreachable {
            Some(NothingBecause::NoPhone) if kind == Kind::Rescheduled && seat.is_some() => {
                Some(NothingBecause::PhoneNotRepeated)
            }
            other => other,
        };
        let of_seat = |uid: &str| seat.as_ref().map_or_else(|| uid.to_owned(), |seat| format!("{uid}.{seat}"));
        let previous_id = previous.as_deref().map(of_seat);
        old.extend(previous_id.clone().map(|id| Booking::moved_away(id, occurred_at)));
        new.push(Booking { kind, id: of_seat(&uid), standing, details, occurred_at, previous_id, unreachable });
    }
    if new.is_empty() {
        return Err(NothingBecause::missing("/payload/attendees"));
    }
    old.append(&mut new);
    Ok(Reading::Reports(old))
}

impl<'a> Payload<'a> {
    /// Everybody of one appointment, together; or each by themselves, with the name of their seat.
    fn parties(&self) -> Vec<(Option<String>, Vec<Person<'a>>)> {
        let seated = self.seats_per_time_slot.text().is_some_and(|seats| seats != "0");
        let booker = self.booker(seated);
        let people = self.attendees.iter().enumerate();
        let people = people.map(|(at, attendee)| (attendee, self.person(attendee, booker == Some(at), seated)));
        if seated {
            people.map(|(attendee, person)| (Some(attendee.seat()), vec![person])).collect()
        } else {
            vec![(None, people.map(|(_, person)| person).collect())]
        }
    }

    /// Which of the attendees filled in the form. Without seats that is the first, should their address have changed since.
    fn booker(&self, seated: bool) -> Option<usize> {
        let Some(email) = self.responses.at("/email/value").text() else { return Some(0) };
        let is_booker =
            |attendee: &Attendee<'_>| attendee.email.text().is_some_and(|it| it.eq_ignore_ascii_case(&email));
        self.attendees.iter().position(is_booker).or_else(|| (!seated).then_some(0))
    }

    fn person(&self, attendee: &Attendee<'a>, booker: bool, seated: bool) -> Person<'a> {
        let mut phones: Vec<Candidate<'a>> = Vec::new();
        if booker {
            phones.push(self.responses.at("/attendeePhoneNumber/value").into());
            // In a booking with seats it may be that of whoever came first.
            if !seated {
                phones.push(self.sms_reminder_number.into());
            }
        }
        phones.push(attendee.phone_number.into());
        // A call to the attendee: the answer to "where" is their number.
        let location = self.responses.at("/location/value");
        if booker && location.at("/value").text().is_some_and(|kind| kind == "phone") {
            phones.push(location.at("/optionValue").into());
        }
        Person {
            phones,
            name: attendee.name.string().or_else(|| full_name(attendee.first_name, attendee.last_name)),
            locale: attendee.language.as_ref().and_then(|language| language.locale.string()),
            zone: attendee.time_zone.string(),
        }
    }

    fn said(&self, people: Vec<Person<'a>>) -> Said<'a> {
        let theirs = people.first().and_then(|person| person.zone.clone());
        Said {
            start: self.start_time.time(),
            zone: theirs.or_else(|| self.organizer.as_ref()?.time_zone.string()),
            people,
            // The booking's own title names host and booker: "Consultation between Clinic and Maya Bar".
            title: self.event_title.string(),
            place: self.location.string(),
        }
    }
}

impl Attendee<'_> {
    /// What tells their seat from others of the booking. An address is personal, and ids stand in keys.
    fn seat(&self) -> String {
        let email = self.email.text().unwrap_or_default().to_lowercase();
        sha256_hex(email.as_bytes(), 8)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::contact::PhoneError;

    use super::*;
    use crate::samples::{at, booking, changed, phone, read_as, reason, received_at, reports};

    fn read_changed(case: &str, members: &Value) -> Reading {
        read_as("clinic", changed("calcom", case, "/payload", members))
    }

    fn attendee(name: &str, phone: Option<&str>) -> Value {
        let email = format!("{}@example.com", name.to_lowercase());
        json!({"name": name, "email": email, "timeZone": "Europe/London", "language": {"locale": "en"}, "phoneNumber": phone})
    }

    /// Answers of a form that this attendee filled in.
    fn answers(name: &str, phone: &str) -> Value {
        let email = format!("{}@Example.com", name.to_lowercase());
        json!({"email": {"label": "email_address", "value": email}, "attendeePhoneNumber": {"value": phone}})
    }

    fn numbers(booking: &Booking) -> Vec<(&str, &str)> {
        let attendees = &booking.details.as_ref().unwrap().attendees;
        attendees.iter().map(|attendee| (attendee.name.as_deref().unwrap(), attendee.phone.expose())).collect()
    }

    #[test]
    fn what_is_not_accepted_is_not_booked() {
        for (status, standing) in [
            ("ACCEPTED", Standing::Booked),
            ("PENDING", Standing::Unconfirmed),
            ("AWAITING_HOST", Standing::Unconfirmed),
            ("rejected", Standing::Cancelled),
            ("CANCELLED", Standing::Cancelled),
        ] {
            assert_eq!(
                booking(read_changed("booking_created", &json!({"status": status}))).standing,
                standing,
                "{status}"
            );
        }
        for (event, standing) in
            [("BOOKING_REQUESTED", Standing::Unconfirmed), ("BOOKING_REJECTED", Standing::Cancelled)]
        {
            let body = changed("calcom", "booking_created", "", &json!({"triggerEvent": event}));
            assert_eq!(booking(read_as("clinic", body)).standing, standing, "{event}");
        }
    }

    #[test]
    fn a_move_that_waits_for_a_yes_ends_the_old_one_all_the_same() {
        let moved = reports(read_changed("booking_rescheduled", &json!({"status": "PENDING"})));
        let standings: Vec<_> = moved.iter().map(|booking| (booking.standing, &*booking.id)).collect();
        assert_eq!(
            standings,
            [(Standing::Moved, "bFJeNb2uX8ANpT3JL5EfXw"), (Standing::Unconfirmed, "cGKfOc3vY9BOqU4KM6FgYx")]
        );
    }

    #[test]
    fn the_number_is_looked_for_where_the_customer_may_have_left_it() {
        let none = json!({"responses": {"location": {"value": {"value": "phone", "optionValue": "+972 52-555-0101"}}}});
        assert_eq!(phone(&booking(read_changed("booking_created", &none))), "+972525550101", "the place of a call");
        let at_home =
            json!({"responses": {"location": {"value": {"value": "attendeeInPerson", "optionValue": "0545550199"}}}});
        assert_eq!(booking(read_changed("booking_created", &at_home)).unreachable, Some(NothingBecause::NoPhone));
        let reminder = json!({"responses": {}, "smsReminderNumber": "+972585550142"});
        assert_eq!(phone(&booking(read_changed("booking_created", &reminder))), "+972585550142");
        let own = json!({"responses": {}, "attendees": [attendee("Dana", Some("0525550101"))]});
        assert_eq!(phone(&booking(read_changed("booking_created", &own))), "+972525550101");
        let landline = json!({"responses": answers("Maya", "03-5550123")});
        assert_eq!(
            booking(read_changed("booking_created", &landline)).unreachable,
            Some(NothingBecause::PhoneUnusable(PhoneError::NotMobile))
        );
    }

    #[test]
    fn everybody_with_a_number_takes_part_and_guests_without_one_do_no_harm() {
        let several = json!({
            "attendees": [attendee("Guest", None), attendee("Maya", None), attendee("Dana", Some("0525550101"))],
            "responses": answers("Maya", "0545550199"),
        });
        let booked = booking(read_changed("booking_created", &several));
        assert_eq!(numbers(&booked), [("Maya", "+972545550199"), ("Dana", "+972525550101")]);
        assert_eq!(booked.unreachable, None);
    }

    #[test]
    fn a_seat_is_an_appointment_of_its_own() {
        let seats = |attendees: &[Value], answers: Value| json!({"seatsPerTimeSlot": 8, "attendees": attendees, "responses": answers, "smsReminderNumber": "+972545550199"});
        let (maya, dana) = (attendee("Maya", None), attendee("Dana", None));
        let first = booking(read_changed(
            "booking_created",
            &seats(std::slice::from_ref(&maya), answers("Maya", "0545550199")),
        ));
        let second = booking(read_changed(
            "booking_created",
            &seats(std::slice::from_ref(&dana), answers("Dana", "0525550101")),
        ));
        assert_eq!((phone(&first), phone(&second)), ("+972545550199", "+972525550101"));
        assert_ne!(first.id, second.id);
        assert!(first.id.starts_with("bFJeNb2uX8ANpT3JL5EfXw.") && !first.id.contains("maya"), "{}", first.id);

        let one_left = json!({"uid": "bFJeNb2uX8ANpT3JL5EfXw", "seatsPerTimeSlot": 8, "attendees": [dana]});
        let left = booking(read_changed("booking_cancelled", &one_left));
        assert_eq!((&left.id, left.standing), (&second.id, Standing::Cancelled));
        let all = json!({"uid": "bFJeNb2uX8ANpT3JL5EfXw", "seatsPerTimeSlot": 8, "attendees": [maya, dana]});
        let all = reports(read_changed("booking_cancelled", &all));
        assert_eq!(all.iter().map(|booking| &booking.id).collect::<Vec<_>>(), [&first.id, &second.id]);
    }

    #[test]
    fn a_number_in_the_form_is_nobodys_but_the_bookers() {
        let others = json!({
            "seatsPerTimeSlot": 8, "responses": answers("Maya", "0545550199"),
            "attendees": [attendee("Maya", None), attendee("Dana", None)],
        });
        let moved = reports(read_changed("booking_rescheduled", &others));
        let [old_maya, old_dana, maya, dana] = moved.as_slice() else { panic!("{moved:?}") };
        assert_eq!((phone(maya), maya.previous_id.as_ref()), ("+972545550199", Some(&old_maya.id)));
        assert_eq!(
            (dana.unreachable.as_ref(), dana.previous_id.as_ref()),
            (Some(&NothingBecause::PhoneNotRepeated), Some(&old_dana.id))
        );
    }

    #[test]
    fn an_organiser_moves_a_booking_with_seats_under_its_uid() {
        let same = json!({
            "seatsPerTimeSlot": 8, "rescheduleUid": "cGKfOc3vY9BOqU4KM6FgYx", "responses": {}, "attendees": [attendee("Dana", None)],
        });
        let moved = booking(read_changed("booking_rescheduled", &same));
        assert_eq!((moved.standing, moved.previous_id), (Standing::Booked, None));
        assert_eq!(moved.unreachable, Some(NothingBecause::PhoneNotRepeated));
    }

    #[test]
    fn a_place_is_where_one_can_go() {
        let place = |location: Value| {
            booking(read_changed("booking_created", &json!({"location": location}))).details.unwrap().place
        };
        assert_eq!(place(json!("Herzl 12, Haifa")).as_deref(), Some("Herzl 12, Haifa"));
        for nowhere in [
            "integrations:daily",
            "https://meet.example/x",
            "+972 3-555-0123",
            "inPerson",
            "userPhone",
            "www.meet.example/x",
        ] {
            assert_eq!(place(json!(nowhere)), None, "{nowhere}");
        }
        let booked = booking(read_as("clinic", changed("calcom", "booking_created", "", &json!({}))));
        assert_eq!(
            booked.details.unwrap().title.as_deref(),
            Some("Consultation"),
            "not the title with the names in it"
        );
    }

    #[test]
    fn what_takes_place_needs_a_start_and_what_ended_does_not() {
        let no_start = json!({"startTime": "soon"});
        assert!(reason(read_changed("booking_created", &no_start)).to_string().contains("/payload/startTime"));
        assert_eq!(booking(read_changed("booking_cancelled", &no_start)).details, None);
    }

    #[test]
    fn other_events_and_times_from_the_future_are_not_believed() {
        for event in ["BOOKING_PAID", "MEETING_ENDED", "BOOKING_NO_SHOW_UPDATED", "FORM_SUBMITTED"] {
            let body = changed("calcom", "booking_created", "", &json!({"triggerEvent": event, "payload": []}));
            assert_eq!(reason(read_as("clinic", body)).code(), "unknown-event", "{event}");
        }
        let early = changed("calcom", "booking_created", "", &json!({"createdAt": "2027-01-01T00:00:00Z"}));
        assert_eq!(booking(read_as("clinic", early)).occurred_at, received_at());
        let skewed = changed("calcom", "booking_created", "", &json!({"createdAt": "2026-11-21T00:09:00Z"}));
        assert_eq!(booking(read_as("clinic", skewed)).occurred_at, at("2026-11-21T00:09:00Z"));
    }

    #[test]
    fn a_zone_that_does_not_exist_is_not_said() {
        let zoned = |zone: &str| {
            let mut attendee = attendee("Maya", Some("0545550199"));
            attendee["timeZone"] = json!(zone);
            let details = booking(read_changed("booking_created", &json!({"attendees": [attendee]}))).details.unwrap();
            (details.zone, details.attendees[0].zone.clone())
        };
        assert_eq!(zoned("europe/london"), ("Europe/London".to_owned(), Some("Europe/London".to_owned())));
        assert_eq!(zoned("Mars/Olympus"), ("Asia/Jerusalem".to_owned(), None));
    }
}
