//! Any other sender of JSON. The client's configuration maps its fields and statuses.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use tellonce_core::{
    appointment::AppointmentStatus,
    client_config::{BookingStatus, CustomCalendar, JsonPointer},
    contact::PhoneCandidate,
    json::{self, RawJson},
    telemetry::LogLabel,
};

use super::calendar_context::{BookingDelivery, BookingDetails, ReportedAppointment, ReportedPerson, canonical_zone};
use crate::{
    booking::{Booking, BookingEventKind, ParsedBooking},
    booking_outcome::BookingSkipReason,
};

/// Parses a delivery. Title and place count only if the client itself writes them.
pub(crate) fn parse_custom(
    delivery: &BookingDelivery<'_>,
    calendar: &CustomCalendar,
) -> Result<ParsedBooking, BookingSkipReason> {
    let CustomCalendar { fields, statuses, own_texts, .. } = calendar;
    let document = json::parse_document(delivery.body).map_err(BookingSkipReason::NotUnderstood)?;
    let at = |pointer: &JsonPointer| document.at_pointer(pointer.as_str());
    let optional = |pointer: &Option<JsonPointer>| pointer.as_ref().map(at).unwrap_or_default();
    let required = |pointer: &JsonPointer| {
        at(pointer).owned_text().ok_or_else(|| BookingSkipReason::missing_field(pointer.as_str()))
    };

    let id = required(&fields.id)?;
    let appointment_status = match &fields.status {
        None => AppointmentStatus::Booked,
        Some(pointer) => {
            let status = required(pointer)?;
            match statuses.get(&status) {
                Some(BookingStatus::Booked) => AppointmentStatus::Booked,
                Some(BookingStatus::Unconfirmed) => AppointmentStatus::Unconfirmed,
                Some(BookingStatus::Cancelled) => AppointmentStatus::Cancelled,
                None => return Err(BookingSkipReason::StatusNotMapped(LogLabel::new(&status))),
            }
        }
    };
    let previous_id =
        optional(&fields.previous_id).owned_text().filter(|previous| *previous != id && !appointment_status.is_over());
    let kind = match (appointment_status.is_over(), &previous_id) {
        (true, _) => BookingEventKind::Cancelled,
        (false, Some(_)) => BookingEventKind::Rescheduled,
        (false, None) => BookingEventKind::Created,
    };
    let zone = optional(&fields.time_zone).owned_text();
    let reported = ReportedAppointment {
        start: parse_start(delivery, at(&fields.start), zone.as_deref()),
        attendees: vec![ReportedPerson {
            phones: vec![PhoneCandidate { phone: at(&fields.phone), country: optional(&fields.country) }],
            name: optional(&fields.name).owned_text(),
            locale: optional(&fields.locale).owned_text(),
            zone: None,
        }],
        zone,
        title: optional(&fields.title).owned_text().filter(|_| *own_texts),
        place: optional(&fields.place).owned_text().filter(|_| *own_texts),
    };
    let BookingDetails { details, unreachable_reason, left_out } =
        delivery.context.build_details(appointment_status, reported, fields.start.as_str())?;
    let occurred_at = delivery.event_time(optional(&fields.occurred_at).as_time());
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

/// The start: RFC 3339, or a local time without an offset in the zone beside it. A local time that
/// occurs twice means the first one. One that the clocks skip lies behind the gap by the gap's
/// length.
///
/// A date alone is not a start, and neither is a local time with an unknown zone: a reminder for
/// the wrong hour is worse than none.
fn parse_start(delivery: &BookingDelivery<'_>, raw_start: RawJson<'_>, zone: Option<&str>) -> Option<Timestamp> {
    if let Some(start) = raw_start.as_time() {
        return Some(start);
    }
    let text = raw_start.text()?;
    // The parser would read a date alone as midnight, and ignore an offset of a local time.
    let (_, time) = text.split_once(['T', 't', ' '])?;
    if time.contains(['+', '-', '[', 'Z', 'z']) {
        return None;
    }
    let local: DateTime = text.parse().ok()?;
    let zone = match zone {
        Some(name) => canonical_zone(name)?,
        None => delivery.context.appointment_zone(None),
    };
    Some(local.to_zoned(TimeZone::get(&zone).ok()?).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tellonce_core::client_config::CalendarKind;

    use super::*;
    use crate::samples::{
        changed_sample, expect_booking, expect_bookings, expect_skip, parse_as, parse_with_config, received_at,
        sample_config,
    };

    fn read_changed(members: &Value) -> ParsedBooking {
        parse_as("crm", changed_sample("standardwebhooks", "appointment_booked", "/data", members))
    }

    fn start_of(start: &str, zone: &Value) -> Option<String> {
        match read_changed(&json!({"start": start, "time_zone": zone})) {
            ParsedBooking::Bookings(mut reports) => Some(reports.remove(0).details?.start.to_string()),
            ParsedBooking::Skipped(reason) => {
                assert_eq!(reason.to_string(), "not understood: no usable value at `/data/start`", "{start}");
                None
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_start_is_a_timestamp_or_a_local_time_in_its_zone() {
        let london = || json!("Europe/London");
        for (start, zone, means) in [
            ("2026-11-24T10:30:00+02:00", london(), "2026-11-24T08:30:00Z"),
            ("2026-11-24T10:30:00+0200", london(), "2026-11-24T08:30:00Z"),
            ("2026-11-24T08:30:00.000Z", london(), "2026-11-24T08:30:00Z"),
            ("2026-11-24T10:30:00+02:00[Asia/Jerusalem]", Value::Null, "2026-11-24T08:30:00Z"),
            ("2026-11-24T10:30", london(), "2026-11-24T10:30:00Z"),
            ("2026-11-24 10:30:00", Value::Null, "2026-11-24T08:30:00Z"),
            // 2027-03-26, 02:00 → 03:00, and 2026-10-25, 02:00 → 01:00.
            ("2027-03-26T02:30", json!("Asia/Jerusalem"), "2027-03-26T00:30:00Z"),
            ("2026-10-25T01:30", json!("Asia/Jerusalem"), "2026-10-24T22:30:00Z"),
        ] {
            assert_eq!(start_of(start, &zone).as_deref(), Some(means), "{start}");
        }
    }

    #[test]
    fn a_start_that_would_need_guessing_is_rejected() {
        for start in
            ["2026-11-24", "10:30", "tomorrow at 10:30", "24/11/2026 10:30", "2026-11-24T10:30+99:00", "1795083000", ""]
        {
            assert_eq!(start_of(start, &json!("Asia/Jerusalem")), None, "{start}");
        }
        assert_eq!(start_of("2026-11-24T10:30", &json!("Israel Standard Time")), None, "unknown zone");
        let zoned = expect_booking(read_changed(&json!({"time_zone": "Israel Standard Time"})));
        assert_eq!(zoned.details.unwrap().zone, "Asia/Jerusalem", "an RFC 3339 start keeps the client's zone");
    }

    #[test]
    fn a_status_means_what_the_client_configured() {
        for (status, appointment_status) in [
            ("confirmed", AppointmentStatus::Booked),
            ("requested", AppointmentStatus::Unconfirmed),
            ("cancelled", AppointmentStatus::Cancelled),
        ] {
            assert_eq!(expect_booking(read_changed(&json!({"status": status}))).status, appointment_status);
        }
        assert_eq!(expect_skip(read_changed(&json!({"status": "arrived"}))).code(), "status-not-mapped");
        assert!(expect_skip(read_changed(&json!({"status": null}))).to_string().contains("/data/status"));
    }

    #[test]
    fn an_id_that_replaces_another_ends_it_first() {
        let body =
            |replaces: &str| changed_sample("static_header", "n8n_booking", "/booking", &json!({"replaces": replaces}));
        let moved = expect_bookings(parse_as("n8n", body("B-1041")));
        assert_eq!(
            (&*moved[0].id, moved[0].status, moved[0].occurred_at),
            ("B-1041", AppointmentStatus::Moved, received_at())
        );
        assert_eq!((moved[1].kind, moved[1].previous_id.as_deref()), (BookingEventKind::Rescheduled, Some("B-1041")));
        assert_eq!(expect_booking(parse_as("n8n", body("B-1042"))).previous_id, None, "replaces its own id");
    }

    #[test]
    fn customer_and_place_are_read_from_the_configured_pointers() {
        let details = expect_booking(read_changed(&json!({"room": "https://meet.example/x"}))).details.unwrap();
        assert_eq!((details.title.as_deref(), details.place), (Some("Physiotherapy"), None));
        let mut config = sample_config().clone();
        let CalendarKind::Custom(crm) = &mut config.calendars.get_mut("crm").unwrap().kind else { panic!() };
        crm.own_texts = false;
        let body = changed_sample("standardwebhooks", "appointment_booked", "/data", &json!({"room": "Room 3"}));
        let details = expect_booking(parse_with_config(&config, "crm", body)).details.unwrap();
        assert_eq!((details.title, details.place), (None, None), "perhaps the words of a customer");
        let american = json!({"customer": {"phone": "(202) 555-0123", "country": "US"}});
        let booked = expect_booking(read_changed(&american));
        assert_eq!(crate::samples::only_phone(&booked), "+12025550123");
        let no_customer = expect_booking(read_changed(&json!({"customer": null})));
        assert_eq!(no_customer.unreachable_reason, Some(BookingSkipReason::NoPhone));
    }
}
