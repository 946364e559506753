//! Any other sender of JSON: the client's configuration says where the facts stand and what its statuses mean.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use shared::{
    appointment::Standing,
    client_config::{BookingFields, BookingStatus, JsonPointer},
    contact::Candidate,
    json::{self, Raw},
    observe::Label,
};

use super::{Delivery, Person, Said, known_zone};
use crate::booking::{Booking, Kind, NothingBecause, Reading};

/// Reads a delivery. `statuses`: the sender's word → what became of the appointment.
pub(crate) fn read(
    delivery: &Delivery<'_>,
    fields: &BookingFields,
    statuses: &BTreeMap<String, BookingStatus>,
) -> Result<Reading, NothingBecause> {
    let document = json::document(delivery.body).map_err(NothingBecause::NotUnderstood)?;
    let at = |pointer: &JsonPointer| document.at(pointer.as_str());
    let maybe = |pointer: &Option<JsonPointer>| pointer.as_ref().map(at).unwrap_or_default();
    let needed = |pointer: &JsonPointer| at(pointer).string().ok_or_else(|| NothingBecause::missing(pointer.as_str()));

    let id = needed(&fields.id)?;
    let standing = match &fields.status {
        None => Standing::Booked,
        Some(pointer) => {
            let status = needed(pointer)?;
            match statuses.get(&status) {
                Some(BookingStatus::Booked) => Standing::Booked,
                Some(BookingStatus::Unconfirmed) => Standing::Unconfirmed,
                Some(BookingStatus::Cancelled) => Standing::Cancelled,
                None => return Err(NothingBecause::StatusNotMapped(Label::new(&status))),
            }
        }
    };
    let previous_id = maybe(&fields.previous_id).string().filter(|previous| *previous != id && !standing.is_over());
    let kind = match (standing.is_over(), &previous_id) {
        (true, _) => Kind::Cancelled,
        (false, Some(_)) => Kind::Rescheduled,
        (false, None) => Kind::Created,
    };
    let zone = maybe(&fields.time_zone).string();
    let said = Said {
        start: start(delivery, at(&fields.start), zone.as_deref()),
        people: vec![Person {
            phones: vec![Candidate { phone: at(&fields.phone), country: maybe(&fields.country) }],
            name: maybe(&fields.name).string(),
            locale: maybe(&fields.locale).string(),
            zone: None,
        }],
        zone,
        title: maybe(&fields.title).string(),
        place: maybe(&fields.place).string(),
    };
    let (details, unreachable) = delivery.context.details(standing, said, fields.start.as_str())?;
    let occurred_at = delivery.happened(maybe(&fields.occurred_at).time());
    let old = previous_id.clone().map(|id| Booking::moved_away(id, occurred_at));
    let new = Booking { kind, id, standing, details, occurred_at, previous_id, unreachable };
    Ok(Reading::Reports(old.into_iter().chain([new]).collect()))
}

/// The start: RFC 3339; or the time that clocks show in the zone beside it, without an offset. Of a time that the clocks
/// show twice it is the first, and one that they skip is as far behind the gap.
///
/// A date alone is no start, and neither is a local time beside the name of a zone that doesn't exist: a reminder for
/// the wrong hour is worse than none.
fn start(delivery: &Delivery<'_>, said: Raw<'_>, zone: Option<&str>) -> Option<Timestamp> {
    if let Some(start) = said.time() {
        return Some(start);
    }
    let said = said.text()?;
    // To the parser a date alone is its midnight, and an offset is nothing to a local time.
    let (_, time) = said.split_once(['T', 't', ' '])?;
    if time.contains(['+', '-', '[', 'Z', 'z']) {
        return None;
    }
    let local: DateTime = said.parse().ok()?;
    let zone = match zone {
        Some(name) => known_zone(name)?,
        None => delivery.context.zone(None),
    };
    Some(local.to_zoned(TimeZone::get(&zone).ok()?).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::samples::{booking, changed, read_as, reason, received_at, reports};

    fn read_changed(members: &Value) -> Reading {
        read_as("crm", changed("standardwebhooks", "appointment_booked", "/data", members))
    }

    fn start_of(start: &str, zone: &Value) -> Option<String> {
        match read_changed(&json!({"start": start, "time_zone": zone})) {
            Reading::Reports(mut reports) => Some(reports.remove(0).details?.start.to_string()),
            Reading::Nothing(reason) => {
                assert_eq!(reason.to_string(), "not understood: nothing usable at `/data/start`", "{start}");
                None
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_start_is_a_moment_or_the_time_on_the_clocks_of_its_zone() {
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
    fn a_start_that_would_have_to_be_guessed_is_none() {
        for start in
            ["2026-11-24", "10:30", "tomorrow at 10:30", "24/11/2026 10:30", "2026-11-24T10:30+99:00", "1795083000", ""]
        {
            assert_eq!(start_of(start, &json!("Asia/Jerusalem")), None, "{start}");
        }
        assert_eq!(start_of("2026-11-24T10:30", &json!("Israel Standard Time")), None, "no such zone");
        let zoned = booking(read_changed(&json!({"time_zone": "Israel Standard Time"})));
        assert_eq!(zoned.details.unwrap().zone, "Asia/Jerusalem", "a moment needs no zone: the client's will do");
    }

    #[test]
    fn a_status_means_what_the_client_says_it_means() {
        for (status, standing) in
            [("confirmed", Standing::Booked), ("requested", Standing::Unconfirmed), ("cancelled", Standing::Cancelled)]
        {
            assert_eq!(booking(read_changed(&json!({"status": status}))).standing, standing);
        }
        assert_eq!(reason(read_changed(&json!({"status": "arrived"}))).code(), "status-not-mapped");
        assert!(reason(read_changed(&json!({"status": null}))).to_string().contains("/data/status"));
    }

    #[test]
    fn an_id_that_replaces_another_ends_it_first() {
        let body = |replaces: &str| changed("static_header", "n8n_booking", "/booking", &json!({"replaces": replaces}));
        let moved = reports(read_as("n8n", body("B-1041")));
        assert_eq!(
            (&*moved[0].id, moved[0].standing, moved[0].occurred_at),
            ("B-1041", Standing::Moved, received_at())
        );
        assert_eq!((moved[1].kind, moved[1].previous_id.as_deref()), (Kind::Rescheduled, Some("B-1041")));
        assert_eq!(booking(read_as("n8n", body("B-1042"))).previous_id, None, "itself");
    }

    #[test]
    fn who_and_where_are_taken_from_where_they_stand() {
        let details = booking(read_changed(&json!({"room": "https://meet.example/x"}))).details.unwrap();
        assert_eq!((details.title.as_deref(), details.place), (Some("Physiotherapy"), None));
        let american = json!({"customer": {"phone": "(202) 555-0123", "country": "US"}});
        let booked = booking(read_changed(&american));
        assert_eq!(crate::samples::phone(&booked), "+12025550123");
        let nobody = booking(read_changed(&json!({"customer": null})));
        assert_eq!(nobody.unreachable, Some(NothingBecause::NoPhone));
    }
}
