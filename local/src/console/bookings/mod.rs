//! Bookings to try things with: the recorded deliveries of `events/bookings`, made new and signed with the secrets of this
//! run, and what they lead to in the stand-ins that are asked afterwards.
//!
//! Each calendar has one appointment in hand at a time: booking begins another, moving and cancelling go on with it.
//! Promises that what it builds is believed by the receiver, for any client that has such a calendar.

use std::{collections::BTreeMap, sync::Mutex};

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use shared::client_config::{
    BookingFields, BookingStatus, Calendar, CalendarKind, ClientConfig, CustomScheme, FeedRule, JsonPointer, TextRule,
};

use super::{
    freshen::{hmac_base64, hmac_hex, swap},
    renew::{Delivery, headers_of, random_hex},
    samples::Batch,
};
use crate::calendars::{Appointment, Calendars, Customer, Event};

macro_rules! recorded {
    ($case:literal) => {
        include_str!(concat!("../../../../events/bookings/", $case))
    };
}

/// Who books where the recording names nobody.
const PERSON: (&str, &str, &str) = ("Adi", "Sela", "052-555-0101");
/// How long an appointment lasts.
const LENGTH: SignedDuration = SignedDuration::from_mins(30);
/// How much later an appointment is moved to when no other time is asked for.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What can be done with a calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// A new appointment.
    Book,
    /// The one in hand is moved.
    Move,
    /// It is cancelled, or taken out of the feed.
    Cancel,
}

/// The calendars of a client with what is known to sign for them.
pub struct Desk<'a> {
    /// The client.
    pub config: &'a ClientConfig,
    /// Secrets by their full name.
    pub secret: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// The stand-ins.
    pub calendars: &'a Calendars,
}

/// The appointment in hand.
#[derive(Debug, Clone)]
struct Booked {
    /// As the sender knows it.
    id: String,
    start: Timestamp,
    /// Counts its changes, from 0.
    changes: u32,
}

/// Remembers the appointment in hand of each calendar.
#[derive(Default)]
pub struct BookingBook(Mutex<BTreeMap<String, Booked>>);

/// One change of an appointment.
struct Change<'a> {
    name: &'a str,
    calendar: &'a Calendar,
    deed: Deed,
    now: Timestamp,
    zone: &'a str,
    before: Option<&'a Booked>,
    after: &'a Booked,
}

impl BookingBook {
    /// Does something with a calendar: changes what the stand-ins know, and says what is to be posted for it. For a feed
    /// without push that is nothing.
    ///
    /// An appointment is booked for, or moved to, `start`; to the same time a day later if that is where it is.
    pub fn make(
        &self,
        desk: &Desk<'_>,
        name: &str,
        deed: Deed,
        start: Timestamp,
        now: Timestamp,
    ) -> anyhow::Result<Batch> {
        let calendar = desk.config.calendars.get(name);
        let calendar = calendar.with_context(|| format!("this client has no calendar {name}"))?;
        let mut held = crate::lock(&self.0);
        let before = held.get(name).cloned().filter(|_| deed != Deed::Book);
        if deed != Deed::Book && before.is_none() {
            bail!("nothing was booked with {name}; book something first");
        }
        let after = match &before {
            None => Booked { id: fresh_id(&calendar.kind, now), start, changes: 0 },
            Some(before) => {
                // Senders that give a moved appointment a new id.
                let renamed = matches!(calendar.kind, CalendarKind::CalCom | CalendarKind::Calendly { .. });
                let id = if renamed && deed == Deed::Move { fresh_id(&calendar.kind, now) } else { before.id.clone() };
                let start = match deed {
                    Deed::Move if start == before.start => start + DAY,
                    Deed::Move => start,
                    Deed::Book | Deed::Cancel => before.start,
                };
                Booked { id, start, changes: before.changes + 1 }
            }
        };
        let zone = calendar.time_zone.as_deref().unwrap_or(&desk.config.time_zone);
        let change = Change { name, calendar, deed, now, zone, before: before.as_ref(), after: &after };
        let deliveries = change.carry_out(desk)?;
        let about = change.about();
        match deed {
            Deed::Book | Deed::Move => held.insert(name.to_owned(), after),
            Deed::Cancel => held.remove(name),
        };
        Ok(Batch { deliveries, about, at_once: false })
    }

    /// When the appointment in hand begins.
    pub fn in_hand(&self, name: &str) -> Option<Timestamp> {
        crate::lock(&self.0).get(name).map(|booked| booked.start)
    }
}

/// What Google Calendar posts when something changed; none if it posts nothing for this calendar.
pub fn push(desk: &Desk<'_>, name: &str) -> anyhow::Result<Option<Delivery>> {
    let pushes = |calendar: &Calendar| matches!(&calendar.kind, CalendarKind::Ics(feed) if feed.google_push);
    if !desk.config.calendars.get(name).is_some_and(pushes) {
        return Ok(None);
    }
    let mut delivery = posted(name, recorded!("google_calendar/push_exists.headers.txt"), String::new());
    delivery.set("x-goog-channel-token", &webhook_secret(desk, name)?);
    delivery.set("x-goog-message-number", &rand::rng().random_range(10..1_000_000_000).to_string());
    Ok(Some(delivery))
}

impl Change<'_> {
    fn about(&self) -> String {
        let Self { name, after, .. } = self;
        let start = after
            .start
            .in_tz(self.zone)
            .map_or_else(|_| after.start.to_string(), |start| start.strftime("%a %-d %b, %H:%M").to_string());
        match self.deed {
            Deed::Book => format!("an appointment of {name} on {start}"),
            Deed::Move => format!("{name}: moved to {start}"),
            Deed::Cancel => format!("{name}: {start} cancelled"),
        }
    }

    fn carry_out(&self, desk: &Desk<'_>) -> anyhow::Result<Vec<Delivery>> {
        match &self.calendar.kind {
            CalendarKind::CalCom => self.calcom(desk),
            CalendarKind::Calendly { .. } => self.calendly(desk),
            CalendarKind::Acuity { .. } => self.acuity(desk),
            CalendarKind::Square { notification_url } => self.square(desk, notification_url),
            CalendarKind::Custom { verify, fields, statuses } => self.custom(desk, verify, fields, statuses),
            CalendarKind::Ics(feed) => self.feed(desk, feed),
        }
    }

    /// The appointment before the change; the same as after it when it is new.
    fn before(&self) -> &Booked {
        self.before.unwrap_or(self.after)
    }

    fn calcom(&self, desk: &Desk<'_>) -> anyhow::Result<Vec<Delivery>> {
        let (before, after) = (self.before(), self.after);
        let headers = recorded!("calcom/booking_created.headers.txt");
        let (body, created_at, uid, start, end) = match self.deed {
            Deed::Book => (
                recorded!("calcom/booking_created.json"),
                "2026-11-19T10:00:00.538Z",
                "bFJeNb2uX8ANpT3JL5EfXw",
                "\"2026-11-24T08:30:00Z\"",
                "\"2026-11-24T09:00:00Z\"",
            ),
            Deed::Move => (
                recorded!("calcom/booking_rescheduled.json"),
                "2026-11-20T07:00:00.000Z",
                "cGKfOc3vY9BOqU4KM6FgYx",
                "\"2026-11-25T08:30:00Z\"",
                "\"2026-11-25T09:00:00Z\"",
            ),
            Deed::Cancel => (
                recorded!("calcom/booking_cancelled.json"),
                "2026-11-20T08:00:00.000Z",
                "cGKfOc3vY9BOqU4KM6FgYx",
                "\"2026-11-25T08:30:00Z\"",
                "\"2026-11-25T09:00:00Z\"",
            ),
        };
        let time = |at: Timestamp| at.strftime("\"%FT%TZ\"").to_string();
        let body = swap(
            body,
            &[
                (created_at, &self.now.strftime("%FT%T%.3fZ").to_string()),
                (uid, &after.id),
                (start, &time(after.start)),
                (end, &time(after.start + LENGTH)),
                // of a move: what it was before
                ("bFJeNb2uX8ANpT3JL5EfXw", &before.id),
                ("\"2026-11-24T08:30:00Z\"", &time(before.start)),
                ("\"2026-11-24T09:00:00Z\"", &time(before.start + LENGTH)),
            ],
        );
        let mut delivery = posted(self.name, headers, body);
        let signature = hmac_hex(webhook_secret(desk, self.name)?.as_bytes(), delivery.body.as_bytes());
        delivery.set("x-cal-signature-256", &signature);
        Ok(vec![delivery])
    }

    /// A move is two deliveries, and nobody promises which comes first.
    fn calendly(&self, desk: &Desk<'_>) -> anyhow::Result<Vec<Delivery>> {
        let (before, after) = (self.before(), self.after);
        let time = |at: Timestamp| at.strftime("%FT%T%.6fZ").to_string();
        let one = |body: &str, then: &str, recorded_start: &str, start: Timestamp| {
            let (day, _) = recorded_start.split_once('T').unwrap_or((recorded_start, ""));
            // ids are of the event and of the invitee, EV… and IN…, and share their tail here
            let body = swap(
                body,
                &[
                    (then, &time(self.now)),
                    (recorded_start, &time(start)),
                    (&format!("{day}T10:30:00.000000Z"), &time(start + LENGTH)),
                    ("AAAAAAAAAAAAA1", &before.id),
                    ("BBBBBBBBBBBBB2", &after.id),
                ],
            );
            let mut delivery = posted(self.name, recorded!("calendly/invitee_created.headers.txt"), body);
            let seconds = self.now.as_second();
            let signed = format!("{seconds}.{}", delivery.body);
            let signature = hmac_hex(webhook_secret(desk, self.name)?.as_bytes(), signed.as_bytes());
            delivery.set("calendly-webhook-signature", &format!("t={seconds},v1={signature}"));
            anyhow::Ok(delivery)
        };
        let booked_start = "2026-11-24T10:00:00.000000Z";
        Ok(match self.deed {
            Deed::Book => {
                let body = recorded!("calendly/invitee_created.json");
                vec![one(body, "2026-11-19T10:10:00.000000Z", booked_start, after.start)?]
            }
            Deed::Cancel => {
                let body = recorded!("calendly/invitee_canceled.json");
                vec![one(body, "2026-11-20T09:00:00.000000Z", booked_start, after.start)?]
            }
            Deed::Move => {
                let then = "2026-11-20T09:30:00.000000Z";
                let (ended, begun) =
                    (recorded!("calendly/reschedule_1_canceled.json"), recorded!("calendly/reschedule_2_created.json"));
                let mut halves = vec![
                    one(ended, then, booked_start, before.start)?,
                    one(begun, then, "2026-11-26T10:00:00.000000Z", after.start)?,
                ];
                if rand::rng().random() {
                    halves.reverse();
                }
                halves
            }
        })
    }

    /// Acuity says everything twice: once by its name, and once as `changed`.
    fn acuity(&self, desk: &Desk<'_>) -> anyhow::Result<Vec<Delivery>> {
        let id = self.after.id.parse().context("an id of Acuity is a number")?;
        let known = desk.calendars.appointment(id);
        let appointment = known.unwrap_or_else(|| Appointment::recorded(id, self.after.start, self.zone));
        let canceled = self.deed == Deed::Cancel;
        desk.calendars.put_appointment(Appointment { start: self.after.start, canceled, ..appointment })?;
        let (body, headers) = match self.deed {
            Deed::Book => (recorded!("acuity/scheduled.form"), recorded!("acuity/scheduled.headers.txt")),
            Deed::Move => (recorded!("acuity/rescheduled.form"), recorded!("acuity/rescheduled.headers.txt")),
            Deed::Cancel => (recorded!("acuity/canceled.form"), recorded!("acuity/canceled.headers.txt")),
        };
        let again = (recorded!("acuity/changed.form"), recorded!("acuity/changed.headers.txt"));
        let secret = webhook_secret(desk, self.name)?;
        let signed = |(body, headers): (&str, &str)| {
            let mut delivery = posted(self.name, headers, swap(body, &[("1126438001", &self.after.id)]));
            delivery.set("x-acuity-signature", &hmac_base64(secret.as_bytes(), delivery.body.as_bytes()));
            delivery
        };
        Ok([(body, headers), again].into_iter().map(signed).collect())
    }

    fn square(&self, desk: &Desk<'_>, notification_url: &str) -> anyhow::Result<Vec<Delivery>> {
        let recorded_customer = "EX2QSVGTZN4K1E5QE1CBFNVQ8M";
        let (given_name, family_name, phone) = PERSON;
        desk.calendars.put_customer(Customer {
            id: recorded_customer.to_owned(),
            given_name: given_name.to_owned(),
            family_name: family_name.to_owned(),
            phone_number: Some(phone.to_owned()),
        })?;
        let event = if self.deed == Deed::Book { "booking.created" } else { "booking.updated" };
        let status = if self.deed == Deed::Cancel { "\"CANCELLED_BY_CUSTOMER\"" } else { "\"ACCEPTED\"" };
        let changes = self.after.changes;
        let body = swap(
            recorded!("square/booking_created.json"),
            &[
                ("booking.created", event),
                ("ac3ac95b-f97d-458c-a6e6-18981597e05f", &crate::new_id()),
                ("2026-11-19T10:40:00.000Z", &self.now.strftime("%FT%T%.3fZ").to_string()),
                ("2026-11-19T10:40:00Z", &self.now.strftime("%FT%TZ").to_string()),
                ("zkras0xv0xwswx:0", &format!("{}:{changes}", self.after.id)),
                ("zkras0xv0xwswx", &self.after.id),
                ("\"version\":0", &format!("\"version\":{changes}")),
                ("\"ACCEPTED\"", status),
                ("2026-11-24T13:00:00Z", &self.after.start.strftime("%FT%TZ").to_string()),
            ],
        );
        let mut delivery = posted(self.name, recorded!("square/booking_created.headers.txt"), body);
        let signed = format!("{notification_url}{}", delivery.body);
        let signature = hmac_base64(webhook_secret(desk, self.name)?.as_bytes(), signed.as_bytes());
        delivery.set("x-square-hmacsha256-signature", &signature);
        delivery.set("square-initial-delivery-timestamp", &self.now.strftime("%FT%TZ").to_string());
        Ok(vec![delivery])
    }

    /// Whatever the client says stands where in the JSON of such a sender is put there.
    fn custom(
        &self,
        desk: &Desk<'_>,
        scheme: &CustomScheme,
        fields: &BookingFields,
        statuses: &BTreeMap<String, BookingStatus>,
    ) -> anyhow::Result<Vec<Delivery>> {
        let wanted = if self.deed == Deed::Cancel { BookingStatus::Cancelled } else { BookingStatus::Booked };
        let word = statuses.iter().find(|(_, status)| **status == wanted).map(|(word, _)| word.clone());
        if self.deed == Deed::Cancel && (fields.status.is_none() || word.is_none()) {
            bail!("{} has no word for a cancelled appointment in its settings", self.name);
        }
        let (first, last, phone) = PERSON;
        let start = self.after.start.in_tz(self.zone).context("the calendar's zone is unknown")?;
        let mut body = json!({});
        let mut set = |place: Option<&JsonPointer>, value: Value| {
            if let Some(place) = place {
                put(&mut body, place.as_str(), value);
            }
        };
        set(Some(&fields.id), json!(self.after.id));
        set(Some(&fields.start), json!(start.strftime("%FT%T%:z").to_string()));
        set(Some(&fields.phone), json!(phone));
        set(fields.time_zone.as_ref(), json!(self.zone));
        set(fields.name.as_ref(), json!(format!("{first} {last}")));
        set(fields.locale.as_ref(), json!(desk.config.languages.first()));
        set(fields.occurred_at.as_ref(), json!(self.now.to_string()));
        set(fields.delivery_id.as_ref(), json!(crate::new_id()));
        set(fields.title.as_ref(), json!("Consultation"));
        set(fields.status.as_ref(), json!(word));
        let mut delivery = posted(self.name, "Content-Type: application/json", body.to_string());
        let secret = webhook_secret(desk, self.name)?;
        match scheme {
            CustomScheme::StandardWebhooks => {
                let id = format!("msg_{}", random_hex(27));
                delivery.sign_by_standard_webhooks(&secret, &id, self.now.as_millisecond())?;
            }
            CustomScheme::StaticHeader { header } => delivery.set(header, &secret),
        }
        Ok(vec![delivery])
    }

    /// Written into the feed where the client says that the number and the name stand.
    fn feed(&self, desk: &Desk<'_>, rule: &FeedRule) -> anyhow::Result<Vec<Delivery>> {
        let file = feed_file(desk, self.name)?;
        if self.deed == Deed::Cancel {
            desk.calendars.remove_event(&file, &self.after.id)?;
        } else {
            let (first, last, phone) = PERSON;
            let mut texts = BTreeMap::from([("summary".to_owned(), "Consultation".to_owned())]);
            if let Some(person) = &rule.person {
                put_text(&mut texts, person, &format!("{first} {last}"));
            }
            put_text(&mut texts, &rule.phone, phone);
            desk.calendars.put_event(
                &file,
                Event {
                    uid: self.after.id.clone(),
                    start: self.after.start,
                    zone: self.zone.to_owned(),
                    sequence: self.after.changes,
                    changed_at: self.now,
                    texts,
                },
            )?;
        }
        Ok(push(desk, self.name)?.into_iter().collect())
    }
}

/// The file that stands for a calendar's feed: the last part of the address in its secret.
pub fn feed_file(desk: &Desk<'_>, name: &str) -> anyhow::Result<String> {
    let secret = desk.config.calendar_secret(name);
    let address = (desk.secret)(&secret).with_context(|| format!("the secret {secret} is missing"))?;
    let address: url::Url = address.parse().with_context(|| format!("the secret {secret} is no address"))?;
    let last = address.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
    Ok(last.to_owned())
}

fn webhook_secret(desk: &Desk<'_>, name: &str) -> anyhow::Result<String> {
    let secret = desk.config.webhook_secret(name);
    (desk.secret)(&secret).with_context(|| format!("the secret {secret} is missing"))
}

fn posted(name: &str, headers: &str, body: String) -> Delivery {
    let mut headers = headers_of(headers);
    // it is the recording's; the client that sends counts for itself
    headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
    Delivery { path: format!("/bookings/{name}"), headers, body }
}

/// A new id in the manner of the sender.
fn fresh_id(kind: &CalendarKind, now: Timestamp) -> String {
    match kind {
        CalendarKind::CalCom => random_hex(22),
        CalendarKind::Calendly { .. } => random_hex(14).to_uppercase(),
        CalendarKind::Acuity { .. } => now.as_millisecond().to_string(),
        CalendarKind::Custom { .. } => format!("B-{}", random_hex(10)),
        CalendarKind::Square { .. } => random_hex(14),
        CalendarKind::Ics(_) => format!("{}@console", random_hex(12)),
    }
}

/// Puts a value where a JSON pointer points, with objects on the way.
pub(super) fn put(document: &mut Value, pointer: &str, value: Value) {
    let mut place = document;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[part];
    }
    *place = value;
}

/// Puts a value into an event's texts where a rule will find it.
fn put_text(texts: &mut BTreeMap<String, String>, rule: &TextRule, value: &str) {
    let text = texts.entry(rule.field.to_ascii_lowercase()).or_default();
    match rule.after.first() {
        None => value.clone_into(text),
        // A marker that begins with a space goes behind what is there, any other into a line of its own.
        Some(marker) => {
            if !text.is_empty() && !marker.starts_with(' ') {
                text.push('\n');
            }
            text.push_str(marker);
            if !marker.ends_with(' ') {
                text.push(' ');
            }
            text.push_str(value);
        }
    }
}

#[cfg(test)]
mod tests;
