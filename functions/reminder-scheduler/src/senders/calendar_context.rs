//! What the parsers of all senders share: the delivery, the client's rules for an appointment
//! ([`CalendarContext`]), and what counts as a place.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use tellonce_core::{
    appointment::{AppointmentDetails, AppointmentStatus, Attendee, LeftOutAttendees},
    client_config::{CalendarConfig, ClientConfig},
    clock,
    contact::{self, PhoneCandidate},
};

use crate::booking_outcome::BookingSkipReason;

/// A delivery and what is needed to parse it.
#[derive(Clone, Copy)]
pub(crate) struct BookingDelivery<'a> {
    pub(crate) context: CalendarContext<'a>,
    pub(crate) headers: &'a BTreeMap<String, String>,
    pub(crate) body: &'a [u8],
    pub(crate) received_at: Timestamp,
}

impl BookingDelivery<'_> {
    /// When the event occurred: the sender's time, or the time of receipt if that one is missing or
    /// in the future.
    pub(super) fn event_time(&self, reported_at: Option<Timestamp>) -> Timestamp {
        clock::choose_event_time(reported_at, self.received_at)
    }
}

/// The calendar of a delivery and its client.
#[derive(Clone, Copy)]
pub(crate) struct CalendarContext<'a> {
    pub(crate) calendar: &'a CalendarConfig,
    pub(crate) config: &'a ClientConfig,
}

/// An attendee as the sender reports it.
#[derive(Default)]
pub(super) struct ReportedPerson<'a> {
    /// Numbers that may be the attendee's, the most likely first.
    pub(super) phones: Vec<PhoneCandidate<'a>>,
    pub(super) name: Option<String>,
    pub(super) locale: Option<String>,
    pub(super) zone: Option<String>,
}

/// An appointment as the sender reports it.
#[derive(Default)]
pub(super) struct ReportedAppointment<'a> {
    pub(super) start: Option<Timestamp>,
    pub(super) zone: Option<String>,
    pub(super) attendees: Vec<ReportedPerson<'a>>,
    pub(super) title: Option<String>,
    pub(super) place: Option<String>,
}

/// The usable facts of an appointment.
pub(super) struct BookingDetails {
    /// Missing only if the appointment ended.
    pub(super) details: Option<AppointmentDetails>,
    /// Why no attendee can be messaged.
    pub(super) unreachable_reason: Option<BookingSkipReason>,
    /// What becomes of known attendees.
    pub(super) left_out: LeftOutAttendees,
}

/// The attendees who can be messaged. If there are none, the reason.
pub(super) struct ReachableAttendees {
    pub(super) attendees: Vec<Attendee>,
    pub(super) unreachable_reason: Option<BookingSkipReason>,
    /// What becomes of known attendees whose number the sender does not repeat.
    pub(super) left_out: LeftOutAttendees,
}

impl CalendarContext<'_> {
    /// The appointment's zone: the configured one, else the sender's, else the client's.
    pub(super) fn appointment_zone(&self, reported_zone: Option<&str>) -> String {
        let configured = self.calendar.time_zone.as_deref();
        [configured, reported_zone]
            .into_iter()
            .flatten()
            .find_map(canonical_zone)
            .unwrap_or_else(|| self.config.time_zone.clone())
    }

    /// The details of an appointment with this status. `start_pointer` is where the body should
    /// contain the start. Only an ended appointment may lack one.
    pub(super) fn build_details(
        &self,
        status: AppointmentStatus,
        reported: ReportedAppointment<'_>,
        start_pointer: &str,
    ) -> Result<BookingDetails, BookingSkipReason> {
        let Some(start) = reported.start else {
            return if status.is_over() {
                Ok(BookingDetails { details: None, unreachable_reason: None, left_out: LeftOutAttendees::Leave })
            } else {
                Err(BookingSkipReason::missing_field(start_pointer))
            };
        };
        let ReachableAttendees { attendees, unreachable_reason, left_out } =
            self.reachable_attendees(reported.attendees);
        let details = AppointmentDetails {
            start,
            zone: self.appointment_zone(reported.zone.as_deref()),
            attendees,
            title: reported.title,
            place: reported.place.filter(|place| is_place(place)),
        };
        let unreachable_reason = unreachable_reason.filter(|_| !status.is_over());
        Ok(BookingDetails { details: Some(details), unreachable_reason, left_out })
    }

    /// Selects the attendees who can be messaged. Of a person that the sender names without a
    /// number, the known number still counts.
    pub(super) fn reachable_attendees(&self, people: Vec<ReportedPerson<'_>>) -> ReachableAttendees {
        let country = self.calendar.country.as_deref().unwrap_or(&self.config.country);
        let mut attendees: Vec<Attendee> = Vec::new();
        let mut problem = None;
        let (mut names_without_number, mut is_unnamed) = (Vec::new(), false);
        for ReportedPerson { phones, name, locale, zone } in people {
            match contact::first_usable_phone(phones, country, self.config.phones) {
                (Some(phone), _) => {
                    let zone = zone.as_deref().and_then(canonical_zone);
                    attendees.push(Attendee { phone, name, locale, zone });
                }
                (None, Some(error)) => problem = problem.or(Some(error)),
                (None, None) => match name {
                    Some(name) => names_without_number.push(name),
                    None => is_unnamed = true,
                },
            }
        }
        let left_out = match (attendees.is_empty() && is_unnamed, names_without_number.is_empty()) {
            (true, _) => LeftOutAttendees::Stay,
            (false, false) => LeftOutAttendees::StayIfNamed(names_without_number),
            (false, true) => LeftOutAttendees::Leave,
        };
        let unreachable_reason =
            attendees.is_empty().then(|| problem.map_or(BookingSkipReason::NoPhone, BookingSkipReason::PhoneUnusable));
        ReachableAttendees { attendees, unreachable_reason, left_out }
    }
}

/// An IANA zone name in its usual spelling, or `None` if the zone does not exist.
pub(super) fn canonical_zone(name: &str) -> Option<String> {
    let zone = TimeZone::get(name).ok().filter(|zone| !zone.is_unknown())?;
    zone.iana_name().map(str::to_owned)
}

/// Whether a text is a physical place. Booking systems put meeting links, phone numbers and names
/// of their integrations into the same field. Those are for machines, or not for every attendee.
fn is_place(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let link = lower.contains("://") || lower.starts_with("www.");
    // `integrations:google:meet`, and names of location kinds where the place is missing.
    let internal = lower.starts_with("integrations:")
        || ["phone", "userphone", "inperson", "attendeeinperson", "link", "conferencing", "somewhereelse"]
            .contains(&&*lower);
    !link && !internal && text.chars().any(char::is_alphabetic)
}
