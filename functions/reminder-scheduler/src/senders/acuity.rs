//! Acuity Scheduling: a delivery says which appointment and what happened to it; the appointment itself is read back.
//!
//! Shape: developers.acuityscheduling.com, "Webhooks" and "GET /appointments/:id".

use jiff::Timestamp;
use serde::Deserialize;
use shared::{
    appointment::Standing,
    contact::full_name,
    json::{self, Misread, Raw},
    observe::Label,
};
use url::form_urlencoded;

use super::{Context, Delivery, Person, Said};
use crate::booking::{Booking, Kind, NothingBecause, ReadBack, Reading};

/// Reads a delivery: a form.
pub(crate) fn read(delivery: &Delivery<'_>) -> Result<Reading, NothingBecause> {
    let field = |name: &str| {
        let mut fields = form_urlencoded::parse(delivery.body);
        fields.find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.into_owned())
    };
    let action = field("action").ok_or(NothingBecause::NotUnderstood(Misread::NoTopic))?;
    // Webhooks that were made through the API write `appointment.` in front.
    let kind = match action.strip_prefix("appointment.").unwrap_or(&action) {
        "scheduled" => Kind::Created,
        "rescheduled" => Kind::Rescheduled,
        "canceled" => Kind::Cancelled,
        // Comes beside each of the others, and for changes of no interest.
        "changed" => Kind::Changed,
        _ => return Err(NothingBecause::UnknownEvent(Label::new(&action))),
    };
    let appointment_id = field("id").ok_or_else(|| NothingBecause::missing("id"))?;
    Ok(Reading::ReadBack(ReadBack::Acuity { appointment_id, kind }))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Appointment<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    first_name: Raw<'a>,
    last_name: Raw<'a>,
    phone: Raw<'a>,
    /// With its offset.
    datetime: Raw<'a>,
    /// The customer's zone.
    timezone: Raw<'a>,
    calendar_timezone: Raw<'a>,
    /// What customers know its type as.
    #[serde(rename = "type")]
    title: Raw<'a>,
    location: Raw<'a>,
    canceled: Raw<'a>,
}

/// The appointment that was read back, or none if Acuity knows no such appointment. `asked_at` is the moment before it was
/// asked for: what became of it later is not in the answer.
pub(crate) fn completed(
    context: Context<'_>,
    appointment_id: String,
    kind: Kind,
    answer: Option<&[u8]>,
    asked_at: Timestamp,
) -> Result<Booking, NothingBecause> {
    let answer = answer.map(json::parse::<Appointment<'_>>).transpose().map_err(NothingBecause::NotUnderstood)?;
    if answer.as_ref().is_some_and(|answer| answer.id.text().is_none_or(|id| id != appointment_id)) {
        return Err(NothingBecause::missing("/id"));
    }
    // What the delivery says may be over: the appointment is as it is now.
    let (kind, standing) = match (&answer, kind) {
        (Some(answer), _) if answer.canceled.is_true() => (Kind::Cancelled, Standing::Cancelled),
        (None, _) => (Kind::Cancelled, Standing::Cancelled),
        (Some(_), Kind::Cancelled) => (Kind::Changed, Standing::Booked),
        (Some(_), kind) => (kind, Standing::Booked),
    };
    let said = answer.map(|answer| answer.said()).unwrap_or_default();
    let (details, unreachable) = context.details(standing, said, "/datetime")?;
    Ok(Booking { kind, id: appointment_id, standing, details, occurred_at: asked_at, previous_id: None, unreachable })
}

impl<'a> Appointment<'a> {
    fn said(&self) -> Said<'a> {
        let person = Person {
            phones: vec![self.phone.into()],
            name: full_name(self.first_name, self.last_name),
            locale: None,
            zone: self.timezone.string(),
        };
        Said {
            start: self.datetime.time(),
            zone: person.zone.clone().or_else(|| self.calendar_timezone.string()),
            people: vec![person],
            title: self.title.string(),
            place: self.location.string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{read_as, reason};

    #[test]
    fn both_ways_to_name_an_action_mean_the_same() {
        for (action, kind) in [
            ("scheduled", Kind::Created),
            ("rescheduled", Kind::Rescheduled),
            ("canceled", Kind::Cancelled),
            ("changed", Kind::Changed),
        ] {
            let expected = Reading::ReadBack(ReadBack::Acuity { appointment_id: "7".to_owned(), kind });
            assert_eq!(read_as("acuity", format!("action={action}&id=7")), expected);
            assert_eq!(read_as("acuity", format!("id=7&action=appointment.{action}&id=8")), expected);
        }
    }

    #[test]
    fn orders_and_what_names_no_appointment_are_not_asked_for() {
        assert_eq!(reason(read_as("acuity", "action=order.completed&id=7")).code(), "unknown-event");
        assert_eq!(
            reason(read_as("acuity", "action=scheduled&id=")).to_string(),
            "not understood: nothing usable at `id`"
        );
        assert_eq!(reason(read_as("acuity", "{\"action\":\"scheduled\"}")).code(), "not-understood");
    }
}
