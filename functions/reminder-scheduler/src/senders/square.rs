//! Square Bookings: a delivery holds the appointment, and of its customer only an id; the customer is read back.
//!
//! Shape: developer.squareup.com, webhooks `booking.created` and `booking.updated`, objects `Booking` and `Customer`.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use shared::{
    appointment::Standing,
    contact::{Candidate, full_name},
    json::{self, Misread, Raw},
    observe::Label,
};

use super::{Context, Delivery, Person, Said};
use crate::booking::{Booking, Kind, NothingBecause, ReadBack, Reading};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    event: Raw<'a>,
    created_at: Raw<'a>,
    data: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Appointment<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    status: Raw<'a>,
    updated_at: Raw<'a>,
    /// Counts its changes.
    version: Raw<'a>,
    start_at: Raw<'a>,
    customer_id: Raw<'a>,
}

/// Reads a delivery.
pub(crate) fn read(delivery: &Delivery<'_>) -> Result<Reading, NothingBecause> {
    let envelope: Envelope<'_> = json::parse(delivery.body).map_err(NothingBecause::NotUnderstood)?;
    let event = envelope.event.text().ok_or(NothingBecause::NotUnderstood(Misread::NoTopic))?;
    let kind = match &*event {
        "booking.created" => Kind::Created,
        "booking.updated" => Kind::Changed,
        other => return Err(NothingBecause::UnknownEvent(Label::new(other))),
    };
    let missing = |name: &str| NothingBecause::missing(&format!("/data/object/booking{name}"));
    let appointment: Appointment<'_> = envelope.data.at("/object/booking").as_shape().ok_or_else(|| missing(""))?;
    let id = appointment.id.string().ok_or_else(|| missing("/id"))?;
    let status = appointment.status.text().ok_or_else(|| missing("/status"))?;
    let (kind, standing) = match &*status {
        "ACCEPTED" => (kind, Standing::Booked),
        "PENDING" => (kind, Standing::Unconfirmed),
        "CANCELLED_BY_CUSTOMER" | "CANCELLED_BY_SELLER" | "DECLINED" | "NO_SHOW" => {
            (Kind::Cancelled, Standing::Cancelled)
        }
        other => return Err(NothingBecause::StatusNotMapped(Label::new(other))),
    };
    let said = Said { start: appointment.start_at.time(), ..Said::default() };
    let (details, unreachable) = delivery.context.details(standing, said, "/data/object/booking/start_at")?;
    let said_at = appointment.updated_at.time().map(|at| in_order(at, appointment.version));
    let occurred_at = delivery.happened(said_at.or_else(|| envelope.created_at.time()));
    let booking = Booking { kind, id, standing, details, occurred_at, previous_id: None, unreachable };
    Ok(match appointment.customer_id.string() {
        Some(customer_id) if !standing.is_over() => {
            Reading::ReadBack(ReadBack::Square { booking: Box::new(booking), customer_id })
        }
        _ => Reading::Reports(vec![booking]),
    })
}

/// Square's times are to the second, and what is asked for is often confirmed within the same one: of two changes in one
/// second, the one with the higher version is the later.
fn in_order(at: Timestamp, version: Raw<'_>) -> Timestamp {
    let version = version.text().and_then(|version| version.parse::<i64>().ok()).unwrap_or(0);
    at.checked_add(SignedDuration::from_millis(version.clamp(0, 999))).unwrap_or(at)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Customer<'a> {
    #[serde(borrow)]
    given_name: Raw<'a>,
    family_name: Raw<'a>,
    phone_number: Raw<'a>,
    address: Raw<'a>,
}

/// The appointment with its customer, as they were read back; none if Square knows no such customer.
pub(crate) fn completed(context: Context<'_>, mut booking: Booking, answer: Option<&[u8]>) -> Booking {
    let Some(answer) = answer else {
        booking.unreachable = Some(NothingBecause::CustomerNotFound);
        return booking;
    };
    // The appointment's own news counts, whatever came of asking for its customer.
    let customer = json::document(answer).ok().and_then(|answer| answer.at("/customer").as_shape::<Customer<'_>>());
    let Some(customer) = customer else {
        booking.unreachable = Some(NothingBecause::LookUpFailed);
        return booking;
    };
    let person = Person {
        phones: vec![Candidate { phone: customer.phone_number, country: customer.address.at("/country") }],
        name: full_name(customer.given_name, customer.family_name),
        locale: None,
        zone: None,
    };
    let (attendees, unreachable) = context.attendees(vec![person]);
    if let Some(details) = &mut booking.details {
        details.attendees = attendees;
    }
    booking.unreachable = unreachable;
    booking
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::samples::{at, booking, changed, read_as, reason};

    fn read_changed(members: &Value) -> Reading {
        read_as("salon", changed("square", "booking_created", "/data/object/booking", members))
    }

    #[test]
    fn of_two_changes_in_one_second_the_higher_version_is_the_later() {
        let asked = read_changed(&json!({"status": "PENDING", "version": 0}));
        let confirmed = read_changed(&json!({"status": "ACCEPTED", "version": 1}));
        let at = |reading: Reading| match reading {
            Reading::ReadBack(ReadBack::Square { booking, .. }) => booking.occurred_at,
            other => panic!("{other:?}"),
        };
        assert!(at(asked) < at(confirmed));
    }

    #[test]
    fn only_what_takes_place_or_may_needs_its_customer() {
        for (status, standing) in [("ACCEPTED", Standing::Booked), ("PENDING", Standing::Unconfirmed)] {
            let Reading::ReadBack(ReadBack::Square { booking, customer_id }) = read_changed(&json!({"status": status}))
            else {
                panic!("{status}");
            };
            assert_eq!((booking.standing, &*customer_id), (standing, "EX2QSVGTZN4K1E5QE1CBFNVQ8M"));
        }
        for status in ["CANCELLED_BY_CUSTOMER", "CANCELLED_BY_SELLER", "DECLINED", "NO_SHOW"] {
            let ended = booking(read_changed(&json!({"status": status})));
            assert_eq!((ended.kind, ended.standing, ended.unreachable), (Kind::Cancelled, Standing::Cancelled, None));
        }
        assert_eq!(reason(read_changed(&json!({"status": "WAITLISTED"}))).code(), "status-not-mapped");
    }

    #[test]
    fn without_a_customer_there_is_nobody_to_remind() {
        let nobody = booking(read_changed(&json!({"customer_id": null})));
        assert_eq!((nobody.standing, nobody.unreachable), (Standing::Booked, Some(NothingBecause::NoPhone)));
    }

    #[test]
    fn a_booking_is_as_old_as_its_last_change() {
        let updated = json!({"updated_at": "2026-11-20T08:00:00Z", "status": "DECLINED"});
        assert_eq!(booking(read_changed(&updated)).occurred_at, at("2026-11-20T08:00:00Z"));
        let unsaid = json!({"updated_at": null, "status": "DECLINED"});
        assert_eq!(booking(read_changed(&unsaid)).occurred_at, at("2026-11-19T10:40:00Z"), "that of the event");
    }

    #[test]
    fn other_events_say_nothing_of_appointments() {
        let body = changed("square", "booking_created", "", &json!({"type": "payment.created", "data": null}));
        assert_eq!(reason(read_as("salon", body)).code(), "unknown-event");
    }
}
