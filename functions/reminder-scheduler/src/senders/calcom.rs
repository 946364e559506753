//! Cal.com: a booking in its webhook version 2021-10-20.
//!
//! A moved booking has a new uid, and the delivery contains the old one too. The booker is the
//! attendee with the e-mail address in the form's answers. The phone numbers in the form belong to
//! the booker only.
//!
//! An event type with seats puts strangers into one booking. Its deliveries name only the attendees
//! who took or gave up a seat. So each seat is a separate appointment here: its id is the booking's
//! uid and a hash of the attendee's e-mail address.
//!
//! Long because tests show every field that may hold a number.
//!
//! Shape: calcom/cal.com,
//! `packages/features/webhooks/lib/factory/versioned/v2021-10-20/BookingPayloadBuilder.ts`, and for
//! seats `packages/features/bookings/lib/handleSeats`.

use serde::Deserialize;
use serde_json::Value;
use tellonce_core::{
    appointment::AppointmentStatus,
    contact::{PhoneCandidate, build_full_name},
    hash::sha256_hex,
    json::{self, JsonError, RawJson},
    telemetry::LogLabel,
};

use super::calendar_context::{BookingDelivery, BookingDetails, ReportedAppointment, ReportedPerson};
use crate::{
    booking::{Booking, BookingEventKind, ParsedBooking},
    booking_outcome::BookingSkipReason,
};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CalcomWebhook<'a> {
    #[serde(borrow)]
    trigger_event: RawJson<'a>,
    created_at: RawJson<'a>,
    /// A [`CalcomPayload`], for the events that are parsed.
    payload: RawJson<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CalcomPayload<'a> {
    #[serde(borrow)]
    uid: RawJson<'a>,
    reschedule_uid: RawJson<'a>,
    status: RawJson<'a>,
    start_time: RawJson<'a>,
    title: RawJson<'a>,
    event_title: RawJson<'a>,
    location: RawJson<'a>,
    sms_reminder_number: RawJson<'a>,
    seats_per_time_slot: RawJson<'a>,
    /// The form's answers by the field's identifier: `{label, value}`. A confirmation may lack
    /// them.
    responses: RawJson<'a>,
    /// The answers to questions that the host added. They are also in `responses`, at least in
    /// newer versions.
    user_fields_responses: RawJson<'a>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    organizer: Option<CalcomOrganizer<'a>>,
    #[serde(deserialize_with = "json::deserialize_list_or_null")]
    attendees: Vec<CalcomAttendee<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CalcomOrganizer<'a> {
    #[serde(borrow)]
    time_zone: RawJson<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct CalcomAttendee<'a> {
    #[serde(borrow)]
    email: RawJson<'a>,
    name: RawJson<'a>,
    first_name: RawJson<'a>,
    last_name: RawJson<'a>,
    phone_number: RawJson<'a>,
    time_zone: RawJson<'a>,
    #[serde(deserialize_with = "json::deserialize_object_or_empty")]
    language: Option<CalcomLanguage<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CalcomLanguage<'a> {
    #[serde(borrow)]
    locale: RawJson<'a>,
}

/// Parses a delivery. `phone_question` is the identifier or the label of the booking question that
/// asks for the customer's number.
pub(crate) fn parse_calcom(
    delivery: &BookingDelivery<'_>,
    phone_question: Option<&str>,
) -> Result<ParsedBooking, BookingSkipReason> {
    let envelope: CalcomWebhook<'_> = json::parse_object(delivery.body).map_err(BookingSkipReason::NotUnderstood)?;
    let event = envelope.trigger_event.text().ok_or(BookingSkipReason::NotUnderstood(JsonError::NoTopic))?;
    let (kind, appointment_status) = match &*event {
        "BOOKING_CREATED" => (BookingEventKind::Created, AppointmentStatus::Booked),
        "BOOKING_REQUESTED" => (BookingEventKind::Created, AppointmentStatus::Unconfirmed),
        "BOOKING_RESCHEDULED" => (BookingEventKind::Rescheduled, AppointmentStatus::Booked),
        "BOOKING_CANCELLED" | "BOOKING_REJECTED" => (BookingEventKind::Cancelled, AppointmentStatus::Cancelled),
        "PING" => return Err(BookingSkipReason::Ping),
        other => return Err(BookingSkipReason::UnknownEvent(LogLabel::new(other))),
    };
    let payload: CalcomPayload<'_> =
        envelope.payload.deserialize_as().ok_or_else(|| BookingSkipReason::missing_field("/payload"))?;
    let (kind, appointment_status) = match payload.status.text().unwrap_or_default().to_ascii_uppercase().as_str() {
        "CANCELLED" | "REJECTED" => (BookingEventKind::Cancelled, AppointmentStatus::Cancelled),
        "PENDING" | "AWAITING_HOST" if appointment_status == AppointmentStatus::Booked => {
            (kind, AppointmentStatus::Unconfirmed)
        }
        _ => (kind, appointment_status),
    };
    let uid = payload.uid.owned_text().ok_or_else(|| BookingSkipReason::missing_field("/payload/uid"))?;
    // When the organiser moves a booking with seats, the booking keeps its uid.
    let previous =
        payload.reschedule_uid.owned_text().filter(|previous| *previous != uid && !appointment_status.is_over());
    let occurred_at = delivery.event_time(envelope.created_at.as_time());

    let mut old = Vec::new();
    let mut new = Vec::new();
    for (seat, people) in payload.group_attendees(phone_question) {
        let BookingDetails { details, unreachable_reason, left_out } =
            delivery.context.build_details(appointment_status, payload.to_reported(people), "/payload/startTime")?;
        let unreachable_reason = match unreachable_reason {
            Some(BookingSkipReason::NoPhone) if kind == BookingEventKind::Rescheduled && seat.is_some() => {
                Some(BookingSkipReason::PhoneNotRepeated)
            }
            other => other,
        };
        let appointment_id = |uid: &str| seat.as_ref().map_or_else(|| uid.to_owned(), |seat| format!("{uid}.{seat}"));
        let booking = Booking {
            kind,
            id: appointment_id(&uid),
            status: appointment_status,
            details,
            occurred_at,
            previous_id: previous.as_deref().map(appointment_id),
            unreachable_reason,
            left_out,
        };
        old.extend(booking.moved_away_previous());
        new.push(booking);
    }
    if new.is_empty() {
        return Err(BookingSkipReason::missing_field("/payload/attendees"));
    }
    old.append(&mut new);
    Ok(ParsedBooking::Bookings(old))
}

impl<'a> CalcomPayload<'a> {
    /// The attendees of each appointment. Without seats all attendees share one appointment. With
    /// seats each attendee has a separate one, with the id of the seat.
    fn group_attendees(&self, phone_question: Option<&str>) -> Vec<(Option<String>, Vec<ReportedPerson<'a>>)> {
        let seated = self.seats_per_time_slot.text().is_some_and(|seats| seats != "0");
        let booker = self.find_booker(seated);
        let people = self.attendees.iter().enumerate();
        let people = people.map(|(at, attendee)| {
            let mut person = self.build_person(attendee, booker == Some(at), seated);
            if let Some(question) = phone_question.filter(|_| booker == Some(at)) {
                person.phones.extend(self.find_answers(question).into_iter().map(PhoneCandidate::from));
            }
            (attendee, person)
        });
        if seated {
            people.map(|(attendee, person)| (Some(attendee.seat_id()), vec![person])).collect()
        } else {
            let mut people: Vec<_> = people.map(|(_, person)| person).collect();
            if people.is_empty() {
                // Who takes part is unknown.
                people.push(ReportedPerson::default());
            }
            vec![(None, people)]
        }
    }

    /// The answers to the question with this identifier, or else with this label.
    fn find_answers(&self, question: &str) -> Vec<RawJson<'a>> {
        let is_question = |name: &str| name.trim().to_lowercase() == question.trim().to_lowercase();
        let has_label =
            |answer: &RawJson<'a>| answer.at_pointer("/label").text().is_some_and(|label| is_question(&label));
        let forms = [self.responses, self.user_fields_responses];
        let members: Vec<_> = forms.into_iter().filter_map(RawJson::object_members).flatten().collect();
        let named: Vec<_> = members.iter().filter(|(identifier, _)| is_question(identifier)).collect();
        let answers = if named.is_empty() { members.iter().filter(|(_, it)| has_label(it)).collect() } else { named };
        answers.into_iter().map(|(_, answer)| answer.at_pointer("/value")).collect()
    }

    /// The index of the attendee who filled in the form. Without seats it is the first attendee if
    /// no e-mail address matches, because the address may have changed since.
    fn find_booker(&self, seated: bool) -> Option<usize> {
        let Some(email) = self.responses.at_pointer("/email/value").text() else { return Some(0) };
        let is_booker =
            |attendee: &CalcomAttendee<'_>| attendee.email.text().is_some_and(|it| it.eq_ignore_ascii_case(&email));
        self.attendees.iter().position(is_booker).or_else(|| (!seated).then_some(0))
    }

    fn build_person(&self, attendee: &CalcomAttendee<'a>, is_booker: bool, seated: bool) -> ReportedPerson<'a> {
        let mut phones: Vec<PhoneCandidate<'a>> = Vec::new();
        if is_booker {
            phones.push(self.responses.at_pointer("/attendeePhoneNumber/value").into());
            // In a booking with seats this may be the number of the first attendee.
            if !seated {
                phones.push(self.sms_reminder_number.into());
            }
        }
        phones.push(attendee.phone_number.into());
        // For a call to the attendee, the answer to "where" is the attendee's number.
        let location = self.responses.at_pointer("/location/value");
        if is_booker && location.at_pointer("/value").text().is_some_and(|kind| kind == "phone") {
            phones.push(location.at_pointer("/optionValue").into());
        }
        ReportedPerson {
            phones,
            name: attendee.name.owned_text().or_else(|| build_full_name(attendee.first_name, attendee.last_name)),
            locale: attendee.language.as_ref().and_then(|language| language.locale.owned_text()),
            zone: attendee.time_zone.owned_text(),
        }
    }

    fn to_reported(&self, people: Vec<ReportedPerson<'a>>) -> ReportedAppointment<'a> {
        let attendee_zone = people.first().and_then(|person| person.zone.clone());
        ReportedAppointment {
            start: self.start_time.as_time(),
            zone: attendee_zone.or_else(|| self.organizer.as_ref()?.time_zone.owned_text()),
            attendees: people,
            // The booking's `title` names host and booker: "Consultation between Clinic and Maya
            // Bar".
            title: self.event_title.owned_text(),
            place: self.location.owned_text().filter(|_| self.has_host_location()),
        }
    }

    /// Whether the host set the location. For every other kind it is what the visitor typed, and a
    /// visitor may also post words instead of a kind.
    fn has_host_location(&self) -> bool {
        let answer = self.responses.at_pointer("/location/value");
        let is_host_kind = answer.at_pointer("/value").text().is_some_and(|kind| {
            ["inPerson", "link", "userPhone", "conferencing"].contains(&&*kind) || kind.starts_with("integrations:")
        });
        let typed = answer.at_pointer("/optionValue").deserialize_as::<Value>();
        is_host_kind && typed.is_none_or(|typed| typed == "")
    }
}

impl CalcomAttendee<'_> {
    /// Distinguishes the seat from others of the booking. It is a hash, because ids become keys and
    /// an e-mail address is personal.
    fn seat_id(&self) -> String {
        let email = self.email.text().unwrap_or_default().to_lowercase();
        sha256_hex(email.as_bytes(), 8)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tellonce_core::{
        appointment::LeftOutAttendees,
        client_config::{CalcomCalendar, CalendarKind},
        contact::PhoneError,
    };

    use super::*;
    use crate::samples::{
        changed_sample, expect_booking, expect_bookings, expect_skip, only_phone, parse_as, parse_time,
        parse_with_config, received_at, sample_config,
    };

    fn read_changed(case: &str, members: &Value) -> ParsedBooking {
        parse_as("clinic", changed_sample("calcom", case, "/payload", members))
    }

    fn attendee_json(name: &str, phone: Option<&str>) -> Value {
        let email = format!("{}@example.com", name.to_lowercase());
        json!({"name": name, "email": email, "timeZone": "Europe/London", "language": {"locale": "en"}, "phoneNumber": phone})
    }

    /// The answers of a form that this attendee filled in.
    fn form_responses(name: &str, phone: &str) -> Value {
        let email = format!("{}@Example.com", name.to_lowercase());
        json!({"email": {"label": "email_address", "value": email}, "attendeePhoneNumber": {"value": phone}})
    }

    fn names_and_numbers(booking: &Booking) -> Vec<(&str, &str)> {
        let attendees = &booking.details.as_ref().unwrap().attendees;
        attendees.iter().map(|attendee| (attendee.name.as_deref().unwrap(), attendee.phone.expose())).collect()
    }

    #[test]
    fn a_booking_that_is_not_accepted_is_not_booked() {
        for (status, appointment_status) in [
            ("ACCEPTED", AppointmentStatus::Booked),
            ("PENDING", AppointmentStatus::Unconfirmed),
            ("AWAITING_HOST", AppointmentStatus::Unconfirmed),
            ("rejected", AppointmentStatus::Cancelled),
            ("CANCELLED", AppointmentStatus::Cancelled),
        ] {
            assert_eq!(
                expect_booking(read_changed("booking_created", &json!({"status": status}))).status,
                appointment_status,
                "{status}"
            );
        }
        for (event, appointment_status) in
            [("BOOKING_REQUESTED", AppointmentStatus::Unconfirmed), ("BOOKING_REJECTED", AppointmentStatus::Cancelled)]
        {
            let body = changed_sample("calcom", "booking_created", "", &json!({"triggerEvent": event}));
            assert_eq!(expect_booking(parse_as("clinic", body)).status, appointment_status, "{event}");
        }
    }

    #[test]
    fn an_unconfirmed_move_still_ends_the_old_booking() {
        let moved = expect_bookings(read_changed("booking_rescheduled", &json!({"status": "PENDING"})));
        let statuses: Vec<_> = moved.iter().map(|booking| (booking.status, &*booking.id)).collect();
        assert_eq!(
            statuses,
            [
                (AppointmentStatus::Moved, "bFJeNb2uX8ANpT3JL5EfXw"),
                (AppointmentStatus::Unconfirmed, "cGKfOc3vY9BOqU4KM6FgYx")
            ]
        );
    }

    #[test]
    fn the_phone_number_is_read_from_every_field_a_customer_may_use() {
        let none = json!({"responses": {"location": {"value": {"value": "phone", "optionValue": "+972 52-555-0101"}}}});
        assert_eq!(
            only_phone(&expect_booking(read_changed("booking_created", &none))),
            "+972525550101",
            "the number for a call to the attendee"
        );
        let at_home =
            json!({"responses": {"location": {"value": {"value": "attendeeInPerson", "optionValue": "0545550199"}}}});
        assert_eq!(
            expect_booking(read_changed("booking_created", &at_home)).unreachable_reason,
            Some(BookingSkipReason::NoPhone)
        );
        let reminder = json!({"responses": {}, "smsReminderNumber": "+972585550142"});
        assert_eq!(only_phone(&expect_booking(read_changed("booking_created", &reminder))), "+972585550142");
        let own = json!({"responses": {}, "attendees": [attendee_json("Dana", Some("0525550101"))]});
        assert_eq!(only_phone(&expect_booking(read_changed("booking_created", &own))), "+972525550101");
        let landline = json!({"responses": form_responses("Maya", "03-5550123")});
        assert_eq!(
            expect_booking(read_changed("booking_created", &landline)).unreachable_reason,
            Some(BookingSkipReason::PhoneUnusable(PhoneError::NotMobile))
        );
    }

    #[test]
    fn the_answer_to_the_named_question_is_the_bookers_number() {
        let config_with = |question: &str| {
            let mut config = sample_config().clone();
            let kind = CalendarKind::CalCom(CalcomCalendar { phone_question: Some(question.to_owned()) });
            config.calendars.get_mut("clinic").unwrap().kind = kind;
            config
        };
        let answers = json!({
            "email": {"label": "email_address", "value": "maya@example.com"},
            "company-phone": {"label": "Company phone", "value": "0525550101"},
            "your-number": {"label": "Phone number", "value": "+972 54-555-0199"},
            "age": {"label": "Age", "value": 40},
            "broken": "0585550142",
        });
        let booked = |question: &str, members: &Value| {
            let body = changed_sample("calcom", "booking_created", "/payload", members);
            expect_booking(parse_with_config(&config_with(question), "clinic", body))
        };
        for form in ["responses", "userFieldsResponses"] {
            let mut members =
                json!({"responses": {}, "attendees": [attendee_json("Guest", None), attendee_json("Maya", None)]});
            members["responses"] = json!({"email": answers["email"].clone()});
            for (name, answer) in answers.as_object().unwrap() {
                members[form][name] = answer.clone();
            }
            for question in ["your-number", "Phone number", " phone NUMBER "] {
                assert_eq!(names_and_numbers(&booked(question, &members)), [("Maya", "+972545550199")], "{question}");
            }
            for question in ["Phone", "age", "broken", "number", "email"] {
                assert_eq!(names_and_numbers(&booked(question, &members)), [], "{question}");
            }
        }
        // The identifier wins over another question's label.
        let both = json!({"responses": {"a": {"label": "phone", "value": "0525550101"}, "phone": {"label": "A", "value": "0545550199"}}});
        assert_eq!(only_phone(&booked("phone", &both)), "+972545550199");
    }

    #[test]
    fn a_confirmation_without_answers_leaves_the_known_number_to_its_person() {
        let answerless =
            json!({"responses": null, "attendees": [attendee_json("Maya", None), attendee_json("Dana", None)]});
        let confirmed = expect_booking(read_changed("booking_created", &answerless));
        assert_eq!(confirmed.unreachable_reason, Some(BookingSkipReason::NoPhone));
        assert_eq!(confirmed.left_out, LeftOutAttendees::StayIfNamed(vec!["Maya".to_owned(), "Dana".to_owned()]));
        let nameless = json!({"responses": null, "attendees": []});
        assert_eq!(expect_booking(read_changed("booking_created", &nameless)).left_out, LeftOutAttendees::Stay);
        // A number that cannot be messaged replaces the known one.
        let landline =
            json!({"responses": form_responses("Maya", "03-5550123"), "attendees": [attendee_json("Maya", None)]});
        assert_eq!(expect_booking(read_changed("booking_created", &landline)).left_out, LeftOutAttendees::Leave);
    }

    #[test]
    fn every_attendee_with_a_number_takes_part_and_guests_without_one_are_ignored() {
        let several = json!({
            "attendees": [attendee_json("Guest", None), attendee_json("Maya", None), attendee_json("Dana", Some("0525550101"))],
            "responses": form_responses("Maya", "0545550199"),
        });
        let booked = expect_booking(read_changed("booking_created", &several));
        assert_eq!(names_and_numbers(&booked), [("Maya", "+972545550199"), ("Dana", "+972525550101")]);
        assert_eq!(booked.unreachable_reason, None);
    }

    #[test]
    fn each_seat_is_its_own_appointment() {
        let seats = |attendees: &[Value], answers: Value| json!({"seatsPerTimeSlot": 8, "attendees": attendees, "responses": answers, "smsReminderNumber": "+972545550199"});
        let (maya, dana) = (attendee_json("Maya", None), attendee_json("Dana", None));
        let first = expect_booking(read_changed(
            "booking_created",
            &seats(std::slice::from_ref(&maya), form_responses("Maya", "0545550199")),
        ));
        let second = expect_booking(read_changed(
            "booking_created",
            &seats(std::slice::from_ref(&dana), form_responses("Dana", "0525550101")),
        ));
        assert_eq!((only_phone(&first), only_phone(&second)), ("+972545550199", "+972525550101"));
        assert_ne!(first.id, second.id);
        assert!(first.id.starts_with("bFJeNb2uX8ANpT3JL5EfXw.") && !first.id.contains("maya"), "{}", first.id);

        let one_left = json!({"uid": "bFJeNb2uX8ANpT3JL5EfXw", "seatsPerTimeSlot": 8, "attendees": [dana]});
        let left = expect_booking(read_changed("booking_cancelled", &one_left));
        assert_eq!((&left.id, left.status), (&second.id, AppointmentStatus::Cancelled));
        let all = json!({"uid": "bFJeNb2uX8ANpT3JL5EfXw", "seatsPerTimeSlot": 8, "attendees": [maya, dana]});
        let all = expect_bookings(read_changed("booking_cancelled", &all));
        assert_eq!(all.iter().map(|booking| &booking.id).collect::<Vec<_>>(), [&first.id, &second.id]);
    }

    #[test]
    fn a_number_in_the_form_belongs_to_the_booker_only() {
        let others = json!({
            "seatsPerTimeSlot": 8, "responses": form_responses("Maya", "0545550199"),
            "attendees": [attendee_json("Maya", None), attendee_json("Dana", None)],
        });
        let moved = expect_bookings(read_changed("booking_rescheduled", &others));
        let [old_maya, old_dana, maya, dana] = moved.as_slice() else { panic!("{moved:?}") };
        assert_eq!((only_phone(maya), maya.previous_id.as_ref()), ("+972545550199", Some(&old_maya.id)));
        assert_eq!(
            (dana.unreachable_reason.as_ref(), dana.previous_id.as_ref()),
            (Some(&BookingSkipReason::PhoneNotRepeated), Some(&old_dana.id))
        );
    }

    #[test]
    fn an_organiser_moves_a_booking_with_seats_under_its_uid() {
        let same = json!({
            "seatsPerTimeSlot": 8, "rescheduleUid": "cGKfOc3vY9BOqU4KM6FgYx", "responses": {}, "attendees": [attendee_json("Dana", None)],
        });
        let moved = expect_booking(read_changed("booking_rescheduled", &same));
        assert_eq!((moved.status, moved.previous_id), (AppointmentStatus::Booked, None));
        assert_eq!(moved.unreachable_reason, Some(BookingSkipReason::PhoneNotRepeated));
    }

    #[test]
    fn a_place_is_a_physical_location() {
        let place = |location: Value| {
            let responses = json!({"location": {"value": {"value": "inPerson", "optionValue": ""}}});
            let members = json!({"location": location, "responses": responses});
            expect_booking(read_changed("booking_created", &members)).details.unwrap().place
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
        let booked = expect_booking(parse_as("clinic", changed_sample("calcom", "booking_created", "", &json!({}))));
        assert_eq!(
            booked.details.unwrap().title.as_deref(),
            Some("Consultation"),
            "not the title with the names in it"
        );
    }

    #[test]
    fn a_location_that_the_visitor_typed_is_not_a_place() {
        let place = |answer: Value| {
            let words = "Call +972 2-555-0123 urgently about your bank card";
            let members = json!({"location": words, "responses": {"location": {"value": answer}}});
            expect_booking(read_changed("booking_created", &members)).details.unwrap().place
        };
        let of_kind = |kind: &str| place(json!({"value": kind, "optionValue": ""}));
        for host in ["inPerson", "link", "userPhone", "conferencing", "integrations:daily"] {
            assert!(of_kind(host).is_some(), "{host}");
            assert!(
                place(json!({"value": host})).is_some() && place(json!({"value": host, "optionValue": null})).is_some()
            );
            for typed in [json!("Call me"), json!(["Call me"]), json!({"a": 1}), json!(5)] {
                assert_eq!(place(json!({"value": host, "optionValue": typed})), None, "{host} {typed}");
            }
        }
        let words = "Call +972 2-555-0123 urgently about your bank card";
        for visitor in ["attendeeInPerson", "phone", "somewhereElse", words, "INPERSON", ""] {
            assert_eq!(of_kind(visitor), None, "{visitor}");
        }
        for answer in [json!("inPerson"), json!(null), json!([])] {
            assert_eq!(place(answer.clone()), None, "{answer}");
        }
        let without_answers = json!({"location": "Herzl 12, Haifa", "responses": {}});
        assert_eq!(expect_booking(read_changed("booking_created", &without_answers)).details.unwrap().place, None);
    }

    #[test]
    fn a_booked_appointment_needs_a_start_and_an_ended_one_does_not() {
        let no_start = json!({"startTime": "soon"});
        assert!(expect_skip(read_changed("booking_created", &no_start)).to_string().contains("/payload/startTime"));
        assert_eq!(expect_booking(read_changed("booking_cancelled", &no_start)).details, None);
    }

    #[test]
    fn other_events_are_skipped_and_future_times_are_not_trusted() {
        for event in ["BOOKING_PAID", "MEETING_ENDED", "BOOKING_NO_SHOW_UPDATED", "FORM_SUBMITTED"] {
            let body = changed_sample("calcom", "booking_created", "", &json!({"triggerEvent": event, "payload": []}));
            assert_eq!(expect_skip(parse_as("clinic", body)).code(), "unknown-event", "{event}");
        }
        let early = changed_sample("calcom", "booking_created", "", &json!({"createdAt": "2027-01-01T00:00:00Z"}));
        assert_eq!(expect_booking(parse_as("clinic", early)).occurred_at, received_at());
        let skewed = changed_sample("calcom", "booking_created", "", &json!({"createdAt": "2026-11-21T00:09:00Z"}));
        assert_eq!(expect_booking(parse_as("clinic", skewed)).occurred_at, parse_time("2026-11-21T00:09:00Z"));
    }

    #[test]
    fn an_unknown_zone_is_ignored() {
        let zoned = |zone: &str| {
            let mut attendee = attendee_json("Maya", Some("0545550199"));
            attendee["timeZone"] = json!(zone);
            let details =
                expect_booking(read_changed("booking_created", &json!({"attendees": [attendee]}))).details.unwrap();
            (details.zone, details.attendees[0].zone.clone())
        };
        assert_eq!(zoned("europe/london"), ("Europe/London".to_owned(), Some("Europe/London".to_owned())));
        assert_eq!(zoned("Mars/Olympus"), ("Asia/Jerusalem".to_owned(), None));
    }
}
