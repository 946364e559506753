//! How each booking system says what it says. Facts and sources: `docs/senders.md`.
//!
//! A reader is a pure function from a [`Delivery`] to a [`Reading`], or the reason why there is none. What they share is
//! here: the rules of the client that an appointment is read by ([`Context`]), and what counts as a place.

mod acuity;
mod calcom;
mod calendly;
mod custom;
mod square;

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use shared::{
    appointment::{Attendee, Details, Standing},
    client_config::{Calendar, ClientConfig},
    clock,
    contact::{self, Candidate},
};

use crate::booking::{NothingBecause, Reading};

pub(crate) use self::{
    acuity::{completed as acuity_completed, read as acuity},
    calcom::read as calcom,
    calendly::read as calendly,
    custom::read as custom,
    square::{completed as square_completed, read as square},
};

/// A delivery and what is needed to understand it.
#[derive(Clone, Copy)]
pub(crate) struct Delivery<'a> {
    pub(crate) context: Context<'a>,
    pub(crate) headers: &'a BTreeMap<String, String>,
    pub(crate) body: &'a [u8],
    pub(crate) received_at: Timestamp,
}

impl Delivery<'_> {
    /// The time that something happened at: what the sender says, unless that is in the future or not said at all.
    fn happened(&self, said: Option<Timestamp>) -> Timestamp {
        clock::happened(said, self.received_at)
    }
}

/// Whose appointments these are.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) calendar: &'a Calendar,
    pub(crate) config: &'a ClientConfig,
}

/// Somebody who takes part, in the sender's words.
#[derive(Default)]
struct Person<'a> {
    /// Numbers that may be theirs, the likeliest first.
    phones: Vec<Candidate<'a>>,
    name: Option<String>,
    locale: Option<String>,
    zone: Option<String>,
}

/// An appointment in the sender's words.
#[derive(Default)]
struct Said<'a> {
    start: Option<Timestamp>,
    zone: Option<String>,
    people: Vec<Person<'a>>,
    title: Option<String>,
    place: Option<String>,
}

impl Context<'_> {
    /// The appointment's zone: the configured one, else what the sender says, else the client's.
    fn zone(&self, said: Option<&str>) -> String {
        let configured = self.calendar.time_zone.as_deref();
        [configured, said].into_iter().flatten().find_map(known_zone).unwrap_or_else(|| self.config.time_zone.clone())
    }

    /// What an appointment of this standing is like, and why nobody in it can be written to. `start_at` is where its start
    /// should stand: without one nothing can be reminded of, and only what ended can do without.
    fn details(
        &self,
        standing: Standing,
        said: Said<'_>,
        start_at: &str,
    ) -> Result<(Option<Details>, Option<NothingBecause>), NothingBecause> {
        let Some(start) = said.start else {
            return if standing.is_over() { Ok((None, None)) } else { Err(NothingBecause::missing(start_at)) };
        };
        let (attendees, unreachable) = self.attendees(said.people);
        let details = Details {
            start,
            zone: self.zone(said.zone.as_deref()),
            attendees,
            title: said.title,
            place: said.place.filter(|place| is_place(place)),
        };
        Ok((Some(details), unreachable.filter(|_| !standing.is_over())))
    }

    /// Everybody who can be written to; if that is nobody, why.
    fn attendees(&self, people: Vec<Person<'_>>) -> (Vec<Attendee>, Option<NothingBecause>) {
        let country = self.calendar.country.as_deref().unwrap_or(&self.config.country);
        let mut attendees: Vec<Attendee> = Vec::new();
        let mut problem = None;
        for Person { phones, name, locale, zone } in people {
            match contact::first_usable(phones, country, self.config.phones) {
                (Some(phone), _) => {
                    let zone = zone.as_deref().and_then(known_zone);
                    attendees.push(Attendee { phone, name, locale, zone });
                }
                (None, why) => problem = problem.or(why),
            }
        }
        let unreachable =
            attendees.is_empty().then(|| problem.map_or(NothingBecause::NoPhone, NothingBecause::PhoneUnusable));
        (attendees, unreachable)
    }
}

/// A push notification of Google Calendar. It has no body: that something changed is all it says.
pub(crate) fn google_push(delivery: &Delivery<'_>) -> Result<Reading, NothingBecause> {
    let state = delivery.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-goog-resource-state"));
    match state {
        Some((_, state)) if state == "sync" => Err(NothingBecause::Ping),
        _ => Ok(Reading::SyncFeed),
    }
}

/// The zone of an IANA name in its usual spelling; none if there is no such zone.
fn known_zone(name: &str) -> Option<String> {
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
