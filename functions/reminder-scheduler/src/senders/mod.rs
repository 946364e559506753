//! How each booking system says what it says. Facts and sources: `docs/senders.md`.
//!
//! A reader is a pure function from a [`BookingDelivery`] to a [`ParsedBooking`], or the reason why there is none. What they share is
//! here: the rules of the client that an appointment is read by ([`CalendarContext`]), and what counts as a place.

mod acuity;
mod calcom;
mod calendly;
mod custom;
mod square;

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use tellonce_core::{
    appointment::{AppointmentDetails, AppointmentStatus, Attendee},
    client_config::{CalendarConfig, ClientConfig},
    clock,
    contact::{self, PhoneCandidate},
};

use crate::booking::{ParsedBooking, SkipReason};

pub(crate) use self::{
    acuity::{complete_acuity_booking as acuity_completed, parse_acuity as acuity},
    calcom::parse_calcom as calcom,
    calendly::parse_calendly as calendly,
    custom::parse_custom as custom,
    square::{complete_square_booking as square_completed, parse_square as square},
};

/// A delivery and what is needed to understand it.
#[derive(Clone, Copy)]
pub(crate) struct BookingDelivery<'a> {
    pub(crate) context: CalendarContext<'a>,
    pub(crate) headers: &'a BTreeMap<String, String>,
    pub(crate) body: &'a [u8],
    pub(crate) received_at: Timestamp,
}

impl BookingDelivery<'_> {
    /// The time that something happened at: what the sender says, unless that is in the future or not said at all.
    fn event_time(&self, reported_at: Option<Timestamp>) -> Timestamp {
        clock::choose_event_time(reported_at, self.received_at)
    }
}

/// Whose appointments these are.
#[derive(Clone, Copy)]
pub(crate) struct CalendarContext<'a> {
    pub(crate) calendar: &'a CalendarConfig,
    pub(crate) config: &'a ClientConfig,
}

/// Somebody who takes part, in the sender's words.
#[derive(Default)]
struct ReportedPerson<'a> {
    /// Numbers that may be theirs, the likeliest first.
    phones: Vec<PhoneCandidate<'a>>,
    name: Option<String>,
    locale: Option<String>,
    zone: Option<String>,
}

/// An appointment in the sender's words.
#[derive(Default)]
struct ReportedAppointment<'a> {
    start: Option<Timestamp>,
    zone: Option<String>,
    attendees: Vec<ReportedPerson<'a>>,
    title: Option<String>,
    place: Option<String>,
}

impl CalendarContext<'_> {
    /// The appointment's zone: the configured one, else what the sender says, else the client's.
    fn appointment_zone(&self, reported_zone: Option<&str>) -> String {
        let configured = self.calendar.time_zone.as_deref();
        [configured, reported_zone]
            .into_iter()
            .flatten()
            .find_map(canonical_zone)
            .unwrap_or_else(|| self.config.time_zone.clone())
    }

    /// What an appointment of this standing is like, and why nobody in it can be written to. `start_at` is where its start
    /// should stand: without one nothing can be reminded of, and only what ended can do without.
    fn build_details(
        &self,
        standing: AppointmentStatus,
        reported: ReportedAppointment<'_>,
        start_at: &str,
    ) -> Result<(Option<AppointmentDetails>, Option<SkipReason>), SkipReason> {
        let Some(start) = reported.start else {
            return if standing.is_over() { Ok((None, None)) } else { Err(SkipReason::missing_field(start_at)) };
        };
        let (attendees, unreachable) = self.reachable_attendees(reported.attendees);
        let details = AppointmentDetails {
            start,
            zone: self.appointment_zone(reported.zone.as_deref()),
            attendees,
            title: reported.title,
            place: reported.place.filter(|place| is_place(place)),
        };
        Ok((Some(details), unreachable.filter(|_| !standing.is_over())))
    }

    /// Everybody who can be written to; if that is nobody, why.
    fn reachable_attendees(&self, people: Vec<ReportedPerson<'_>>) -> (Vec<Attendee>, Option<SkipReason>) {
        let country = self.calendar.country.as_deref().unwrap_or(&self.config.country);
        let mut attendees: Vec<Attendee> = Vec::new();
        let mut problem = None;
        for ReportedPerson { phones, name, locale, zone } in people {
            match contact::first_usable_phone(phones, country, self.config.phones) {
                (Some(phone), _) => {
                    let zone = zone.as_deref().and_then(canonical_zone);
                    attendees.push(Attendee { phone, name, locale, zone });
                }
                (None, why) => problem = problem.or(why),
            }
        }
        let unreachable = attendees.is_empty().then(|| problem.map_or(SkipReason::NoPhone, SkipReason::PhoneUnusable));
        (attendees, unreachable)
    }
}

/// A push notification of Google Calendar. It has no body: that something changed is all it says.
pub(crate) fn parse_google_push(delivery: &BookingDelivery<'_>) -> Result<ParsedBooking, SkipReason> {
    let state = delivery.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-goog-resource-state"));
    match state {
        Some((_, state)) if state == "sync" => Err(SkipReason::Ping),
        _ => Ok(ParsedBooking::SyncFeed),
    }
}

/// The zone of an IANA name in its usual spelling; none if there is no such zone.
fn canonical_zone(name: &str) -> Option<String> {
    let zone = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown())?;
    zone.iana_name().map(str::to_owned)
}

/// Whether a text says where something takes place. Booking systems put links to meetings, phone numbers and names of
/// their own integrations in the same field; these are for their machines, or not for everybody.
fn is_place(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let link = lower.contains("://") || lower.starts_with("www.");
    // `integrations:google:meet`, and names of kinds of location where the place itself is missing.
    let internal = lower.starts_with("integrations:")
        || ["phone", "userphone", "inperson", "attendeeinperson", "link", "conferencing", "somewhereelse"]
            .contains(&&*lower);
    !link && !internal && text.chars().any(char::is_alphabetic)
}
