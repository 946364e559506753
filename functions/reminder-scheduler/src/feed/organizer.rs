//! Whose event it is: the client's own, or an invitation of a stranger.
//!
//! Every person who knows a calendar's address can invite it, and the invitation stands in its feed
//! like any event. So an event counts as an appointment only if the client made it: if it has no
//! `ORGANIZER` (RFC 5545, section 3.8.4.3), or one that is the calendar's owner or is listed in
//! `organizers`. Google writes an `ORGANIZER` only into events with guests. It is the address of
//! the calendar, also if Calendly or Cal.com made the event.
//!
//! Main types: [`CalendarOwner`], [`ForeignEvent`].

use std::fmt;

use calcard::icalendar::{
    ICalendarComponent, ICalendarEntry, ICalendarParameterName, ICalendarProperty, ICalendarValue,
};
use tellonce_core::client_config::OrganizerRule;

/// The longest address that is kept, in bytes (RFC 5321, section 4.5.3.1).
const MAX_ADDRESS_BYTES: usize = 254;

/// The address of an organizer, in lower case. Empty if the event gives none. [`fmt::Debug`] hides
/// it.
#[derive(Clone, PartialEq, Eq)]
pub struct OrganizerAddress(String);

impl OrganizerAddress {
    /// The address. It is personal: do not log or store it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OrganizerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OrganizerAddress(…)")
    }
}

/// An event that the client did not make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignEvent {
    /// Who made it.
    pub organizer: OrganizerAddress,
    /// Whether it would be an appointment otherwise: it has a text where the client's rule expects
    /// a phone number, and is not over.
    pub looks_like_appointment: bool,
}

/// Whose events are the client's own.
#[derive(Debug)]
pub(super) struct CalendarOwner<'a> {
    /// The addresses of the calendar itself, in lower case.
    addresses: Vec<String>,
    listed: &'a [OrganizerRule],
}

impl<'a> CalendarOwner<'a> {
    /// `names` are what the calendar is called: its id in the feed's address, and `X-WR-CALNAME`.
    /// Those that are e-mail addresses count. Google names the calendar of an account after it.
    pub(super) fn new(listed: &'a [OrganizerRule], names: [Option<&str>; 2]) -> Self {
        let addresses = names.into_iter().flatten().filter(|name| is_address(name.trim()));
        Self { addresses: addresses.map(|name| name.trim().to_lowercase()).collect(), listed }
    }

    /// The organizer of an event, if the client did not make it.
    pub(super) fn find_foreign_organizer(&self, component: &ICalendarComponent) -> Option<OrganizerAddress> {
        let mut organizers = entries_of(component, &ICalendarProperty::Organizer).map(calendar_address);
        organizers.find(|address| !self.is_own(address)).map(|mut address| {
            address.truncate(address.floor_char_boundary(MAX_ADDRESS_BYTES));
            OrganizerAddress(address)
        })
    }

    /// Whether the client has not accepted an event that it was invited to.
    ///
    /// The answer of the calendar's owner counts. If the owner is unknown or not invited, the event
    /// is accepted as soon as one of the listed people accepts.
    pub(super) fn has_not_accepted(&self, component: &ICalendarComponent) -> bool {
        let answers = || {
            entries_of(component, &ICalendarProperty::Attendee)
                .map(|entry| (calendar_address(entry), has_accepted(entry)))
                .filter(|(address, _)| self.is_own(address))
        };
        let of_owner = answers().find(|(address, _)| self.addresses.contains(address));
        match of_owner {
            Some((_, accepted)) => !accepted,
            None => answers().next().is_some() && !answers().any(|(_, accepted)| accepted),
        }
    }

    fn is_own(&self, address: &str) -> bool {
        self.addresses.iter().any(|own| own == address) || self.listed.iter().any(|rule| rule.matches(address))
    }
}

fn entries_of<'c>(
    component: &'c ICalendarComponent,
    property: &'c ICalendarProperty,
) -> impl Iterator<Item = &'c ICalendarEntry> {
    component.entries.iter().filter(move |entry| entry.name == *property)
}

fn is_address(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, domain)| !name.is_empty() && domain.contains('.'))
        && !text.contains(char::is_whitespace)
}

/// The e-mail address of an organizer or attendee, in lower case. Apple may write another address
/// as the value and the e-mail address into `EMAIL` (RFC 7986, section 6.2).
fn calendar_address(entry: &ICalendarEntry) -> String {
    let value = entry.values.first().and_then(ICalendarValue::as_text).unwrap_or_default().trim().to_lowercase();
    if let Some(address) = value.strip_prefix("mailto:") {
        return address.trim().to_owned();
    }
    let email = entry.parameters(&ICalendarParameterName::Email).find_map(|email| email.as_text());
    email.map_or(value, |email| email.trim().to_lowercase())
}

/// Whether an invited person takes part. An answer that is missing counts as accepted, because many
/// calendars leave it out for their owner.
fn has_accepted(entry: &ICalendarEntry) -> bool {
    let answer = entry.parameters(&ICalendarParameterName::Partstat).find_map(|answer| answer.as_text());
    let accepted = ["ACCEPTED", "COMPLETED", "IN-PROCESS"];
    answer.is_none_or(|answer| accepted.iter().any(|accepted| answer.eq_ignore_ascii_case(accepted)))
}
