//! Sample bookings: the recordings of `events/bookings` with new ids, times and signatures, and
//! their records in the fakes that functions ask afterwards.
//!
//! Each calendar has one current appointment. Booking starts another one, and moving and cancelling
//! change it. The receiver accepts the deliveries for any client with such a calendar.

use std::{collections::BTreeMap, sync::Mutex};

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tellonce_core::client_config::{
    BookingFields, BookingStatus, CalendarConfig, CalendarKind, ClientConfig, CustomScheme, FeedRule, FeedTextRule,
    JsonPointer,
};

use super::{sample_values::read_webhook_secret, samples::DeliveryBatch};
use tellonce_fakes::calendars::{FakeAcuityAppointment, FakeCalendars, FakeFeedEvent, FakeSquareCustomer};
use tellonce_samples::{SenderProof, WebhookPost, put_at_pointer, random_hex, replace_all};

/// The customer, if the recording has none.
const PERSON: (&str, &str, &str) = ("Adi", "Sela", "+972 52-555-0164");
/// The length of an appointment.
const APPOINTMENT_LENGTH: SignedDuration = SignedDuration::from_mins(30);
/// How much later an appointment is moved if the request has no other time.
const DEFAULT_MOVE: SignedDuration = SignedDuration::from_hours(24);

/// An action on a calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BookingAction {
    /// A new appointment.
    Book,
    /// The current appointment is moved.
    Move,
    /// The current appointment is cancelled, or removed from the feed.
    Cancel,
}

/// The calendars of a client, with the secrets to sign for them.
pub struct BookingSampleContext<'a> {
    /// The client's configuration.
    pub config: &'a ClientConfig,
    /// The value of a secret by its full name.
    pub secret: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// The fakes that functions ask for appointments.
    pub calendars: &'a FakeCalendars,
}

impl BookingSampleContext<'_> {
    fn read_webhook_secret(&self, calendar: &str) -> anyhow::Result<String> {
        read_webhook_secret(self.config, self.secret, calendar)
    }
}

/// The current appointment of a calendar.
#[derive(Debug, Clone)]
struct SimulatedBooking {
    /// The sender's id.
    id: String,
    start: Timestamp,
    /// The number of its changes, from 0.
    changes: u32,
}

/// Remembers the current appointment of each calendar.
#[derive(Default)]
pub struct BookingSampleFactory(Mutex<BTreeMap<String, SimulatedBooking>>);

/// One change of an appointment.
struct SimulatedBookingChange<'a> {
    name: &'a str,
    calendar: &'a CalendarConfig,
    action: BookingAction,
    now: Timestamp,
    zone: &'a str,
    before: Option<&'a SimulatedBooking>,
    after: &'a SimulatedBooking,
}

impl BookingSampleFactory {
    /// Performs an action on a calendar: updates the fakes and returns the deliveries to post. A
    /// feed without push has no deliveries.
    ///
    /// An appointment is booked for, or moved to, `start`. If it begins at `start` already, it is
    /// moved by a day.
    pub fn apply_action(
        &self,
        context: &BookingSampleContext<'_>,
        name: &str,
        action: BookingAction,
        start: Timestamp,
        now: Timestamp,
    ) -> anyhow::Result<DeliveryBatch> {
        let calendar = context.config.calendars.get(name);
        let calendar = calendar.with_context(|| format!("this client has no calendar {name}"))?;
        let mut bookings = tellonce_fakes::lock_mutex(&self.0);
        let before = bookings.get(name).cloned().filter(|_| action != BookingAction::Book);
        if action != BookingAction::Book && before.is_none() {
            bail!("{name} has no current appointment; book one first");
        }
        let after = match &before {
            None => SimulatedBooking { id: new_booking_id(&calendar.kind, now), start, changes: 0 },
            Some(before) => {
                // These senders give a moved appointment a new id.
                let renamed = matches!(calendar.kind, CalendarKind::CalCom(_) | CalendarKind::Calendly(_));
                let id = if renamed && action == BookingAction::Move {
                    new_booking_id(&calendar.kind, now)
                } else {
                    before.id.clone()
                };
                let start = match action {
                    BookingAction::Move if start == before.start => start + DEFAULT_MOVE,
                    BookingAction::Move => start,
                    BookingAction::Book | BookingAction::Cancel => before.start,
                };
                SimulatedBooking { id, start, changes: before.changes + 1 }
            }
        };
        let zone = calendar.time_zone.as_deref().unwrap_or(&context.config.time_zone);
        let change =
            SimulatedBookingChange { name, calendar, action, now, zone, before: before.as_ref(), after: &after };
        let deliveries = change.build_deliveries(context)?;
        let about = change.describe_change();
        match action {
            BookingAction::Book | BookingAction::Move => bookings.insert(name.to_owned(), after),
            BookingAction::Cancel => bookings.remove(name),
        };
        Ok(DeliveryBatch { deliveries, about, at_once: false })
    }

    /// The start of the current appointment.
    pub fn current_start(&self, name: &str) -> Option<Timestamp> {
        tellonce_fakes::lock_mutex(&self.0).get(name).map(|booked| booked.start)
    }
}

/// Google Calendar's notification of a change. `None` if it posts nothing for this calendar.
pub fn build_push(context: &BookingSampleContext<'_>, name: &str) -> anyhow::Result<Option<WebhookPost>> {
    let pushes = |calendar: &CalendarConfig| matches!(&calendar.kind, CalendarKind::Ics(feed) if feed.google_push);
    if !context.config.calendars.get(name).is_some_and(pushes) {
        return Ok(None);
    }
    let number = rand::rng().random_range(10..1_000_000_000).to_string();
    let push = WebhookPost::from_sample("bookings/google_calendar/push_exists", format!("/bookings/{name}"));
    let push = push.with_header("x-goog-message-number", Some(&number));
    Ok(Some(push.sign(SenderProof::GoogleChannel, &context.read_webhook_secret(name)?)?))
}

impl SimulatedBookingChange<'_> {
    fn describe_change(&self) -> String {
        let Self { name, after, .. } = self;
        let start = after
            .start
            .in_tz(self.zone)
            .map_or_else(|_| after.start.to_string(), |start| start.strftime("%a %-d %b, %H:%M").to_string());
        match self.action {
            BookingAction::Book => format!("an appointment of {name} on {start}"),
            BookingAction::Move => format!("{name}: moved to {start}"),
            BookingAction::Cancel => format!("{name}: {start} cancelled"),
        }
    }

    fn build_deliveries(&self, context: &BookingSampleContext<'_>) -> anyhow::Result<Vec<WebhookPost>> {
        match &self.calendar.kind {
            CalendarKind::CalCom(_) => self.build_calcom_deliveries(context),
            CalendarKind::Calendly(_) => self.build_calendly_deliveries(context),
            CalendarKind::Acuity(_) => self.build_acuity_deliveries(context),
            CalendarKind::Square(square) => self.build_square_deliveries(context, &square.notification_url),
            CalendarKind::Custom(custom) => {
                self.build_custom_deliveries(context, &custom.verify, &custom.fields, &custom.statuses)
            }
            CalendarKind::Ics(feed) => self.write_feed_event(context, feed),
        }
    }

    /// The appointment before the change. For a new one, the appointment itself.
    fn previous_booking(&self) -> &SimulatedBooking {
        self.before.unwrap_or(self.after)
    }

    /// A recorded delivery with the replacements in its body.
    fn rewrite_recording(&self, case: &str, replacements: &[(&str, &str)]) -> WebhookPost {
        let recorded = WebhookPost::from_sample(&format!("bookings/{case}"), format!("/bookings/{}", self.name));
        let body = replace_all(&recorded.body_text(), replacements);
        recorded.with_body(body)
    }

    fn build_calcom_deliveries(&self, context: &BookingSampleContext<'_>) -> anyhow::Result<Vec<WebhookPost>> {
        let (before, after) = (self.previous_booking(), self.after);
        let (case, created_at, uid, start, end) = match self.action {
            BookingAction::Book => (
                "calcom/booking_created",
                "2026-11-19T10:00:00.538Z",
                "bFJeNb2uX8ANpT3JL5EfXw",
                "\"2026-11-24T08:30:00Z\"",
                "\"2026-11-24T09:00:00Z\"",
            ),
            BookingAction::Move => (
                "calcom/booking_rescheduled",
                "2026-11-20T07:00:00.000Z",
                "cGKfOc3vY9BOqU4KM6FgYx",
                "\"2026-11-25T08:30:00Z\"",
                "\"2026-11-25T09:00:00Z\"",
            ),
            BookingAction::Cancel => (
                "calcom/booking_cancelled",
                "2026-11-20T08:00:00.000Z",
                "cGKfOc3vY9BOqU4KM6FgYx",
                "\"2026-11-25T08:30:00Z\"",
                "\"2026-11-25T09:00:00Z\"",
            ),
        };
        let time = |at: Timestamp| at.strftime("\"%FT%TZ\"").to_string();
        let delivery = self.rewrite_recording(
            case,
            &[
                (created_at, &self.now.strftime("%FT%T%.3fZ").to_string()),
                (uid, &after.id),
                (start, &time(after.start)),
                (end, &time(after.start + APPOINTMENT_LENGTH)),
                // For a move: the id before the move.
                ("bFJeNb2uX8ANpT3JL5EfXw", &before.id),
                ("\"2026-11-24T08:30:00Z\"", &time(before.start)),
                ("\"2026-11-24T09:00:00Z\"", &time(before.start + APPOINTMENT_LENGTH)),
            ],
        );
        Ok(vec![delivery.sign(SenderProof::CalCom, &context.read_webhook_secret(self.name)?)?])
    }

    /// A move is two deliveries, in any order.
    fn build_calendly_deliveries(&self, context: &BookingSampleContext<'_>) -> anyhow::Result<Vec<WebhookPost>> {
        let (before, after) = (self.previous_booking(), self.after);
        let time = |at: Timestamp| at.strftime("%FT%T%.6fZ").to_string();
        let secret = context.read_webhook_secret(self.name)?;
        let build_one = |case: &str, then: &str, recorded_start: &str, start: Timestamp| {
            let (day, _) = recorded_start.split_once('T').unwrap_or((recorded_start, ""));
            // Calendly's ids of the event and of the invitee, EV… and IN…, end alike here.
            let delivery = self.rewrite_recording(
                case,
                &[
                    (then, &time(self.now)),
                    (recorded_start, &time(start)),
                    (&format!("{day}T10:30:00.000000Z"), &time(start + APPOINTMENT_LENGTH)),
                    ("AAAAAAAAAAAAA1", &before.id),
                    ("BBBBBBBBBBBBB2", &after.id),
                ],
            );
            delivery.sign(SenderProof::Calendly { at: self.now }, &secret)
        };
        let booked_start = "2026-11-24T10:00:00.000000Z";
        Ok(match self.action {
            BookingAction::Book => {
                let then = "2026-11-19T10:10:00.000000Z";
                vec![build_one("calendly/invitee_created", then, booked_start, after.start)?]
            }
            BookingAction::Cancel => {
                let then = "2026-11-20T09:00:00.000000Z";
                vec![build_one("calendly/invitee_canceled", then, booked_start, after.start)?]
            }
            BookingAction::Move => {
                let then = "2026-11-20T09:30:00.000000Z";
                let moved_start = "2026-11-26T10:00:00.000000Z";
                let mut halves = vec![
                    build_one("calendly/reschedule_1_canceled", then, booked_start, before.start)?,
                    build_one("calendly/reschedule_2_created", then, moved_start, after.start)?,
                ];
                if rand::rng().random() {
                    halves.reverse();
                }
                halves
            }
        })
    }

    /// Acuity posts every change twice: as the action's own name and as `changed`.
    fn build_acuity_deliveries(&self, context: &BookingSampleContext<'_>) -> anyhow::Result<Vec<WebhookPost>> {
        let id = self.after.id.parse().context("the id of Acuity is not a number")?;
        let known = context.calendars.find_appointment(id);
        let appointment =
            known.unwrap_or_else(|| FakeAcuityAppointment::from_recording(id, self.after.start, self.zone));
        let canceled = self.action == BookingAction::Cancel;
        context.calendars.put_appointment(FakeAcuityAppointment {
            start: self.after.start,
            canceled,
            ..appointment
        })?;
        let case = match self.action {
            BookingAction::Book => "acuity/scheduled",
            BookingAction::Move => "acuity/rescheduled",
            BookingAction::Cancel => "acuity/canceled",
        };
        let secret = context.read_webhook_secret(self.name)?;
        let signed =
            |case| self.rewrite_recording(case, &[("1126438001", &self.after.id)]).sign(SenderProof::Acuity, &secret);
        Ok(vec![signed(case)?, signed("acuity/changed")?])
    }

    fn build_square_deliveries(
        &self,
        context: &BookingSampleContext<'_>,
        notification_url: &str,
    ) -> anyhow::Result<Vec<WebhookPost>> {
        let recorded_customer = "EX2QSVGTZN4K1E5QE1CBFNVQ8M";
        let (given_name, family_name, phone) = PERSON;
        context.calendars.put_customer(FakeSquareCustomer {
            id: recorded_customer.to_owned(),
            given_name: given_name.to_owned(),
            family_name: family_name.to_owned(),
            phone_number: Some(phone.to_owned()),
        })?;
        let event = if self.action == BookingAction::Book { "booking.created" } else { "booking.updated" };
        let status = if self.action == BookingAction::Cancel { "\"CANCELLED_BY_CUSTOMER\"" } else { "\"ACCEPTED\"" };
        let changes = self.after.changes;
        let delivery = self.rewrite_recording(
            "square/booking_created",
            &[
                ("booking.created", event),
                ("ac3ac95b-f97d-458c-a6e6-18981597e05f", &tellonce_fakes::generate_id()),
                ("2026-11-19T10:40:00.000Z", &self.now.strftime("%FT%T%.3fZ").to_string()),
                ("2026-11-19T10:40:00Z", &self.now.strftime("%FT%TZ").to_string()),
                ("zkras0xv0xwswx:0", &format!("{}:{changes}", self.after.id)),
                ("zkras0xv0xwswx", &self.after.id),
                ("\"version\":0", &format!("\"version\":{changes}")),
                ("\"ACCEPTED\"", status),
                ("2026-11-24T13:00:00Z", &self.after.start.strftime("%FT%TZ").to_string()),
            ],
        );
        let sent_at = self.now.strftime("%FT%TZ").to_string();
        let delivery = delivery.with_header("square-initial-delivery-timestamp", Some(&sent_at));
        let secret = context.read_webhook_secret(self.name)?;
        Ok(vec![delivery.sign(SenderProof::Square { notification_url }, &secret)?])
    }

    /// Puts the values where the client's settings look for them.
    fn build_custom_deliveries(
        &self,
        context: &BookingSampleContext<'_>,
        scheme: &CustomScheme,
        fields: &BookingFields,
        statuses: &BTreeMap<String, BookingStatus>,
    ) -> anyhow::Result<Vec<WebhookPost>> {
        let wanted =
            if self.action == BookingAction::Cancel { BookingStatus::Cancelled } else { BookingStatus::Booked };
        let word = statuses.iter().find(|(_, status)| **status == wanted).map(|(word, _)| word.clone());
        if self.action == BookingAction::Cancel && (fields.status.is_none() || word.is_none()) {
            bail!("{} has no status that means `cancelled` in its settings", self.name);
        }
        let (first, last, phone) = PERSON;
        let start = self.after.start.in_tz(self.zone).context("the calendar's time zone is unknown")?;
        let mut body = json!({});
        let mut set = |pointer: Option<&JsonPointer>, value: Value| {
            if let Some(pointer) = pointer {
                put_at_pointer(&mut body, pointer.as_str(), value);
            }
        };
        set(Some(&fields.id), json!(self.after.id));
        set(Some(&fields.start), json!(start.strftime("%FT%T%:z").to_string()));
        set(Some(&fields.phone), json!(phone));
        set(fields.time_zone.as_ref(), json!(self.zone));
        set(fields.name.as_ref(), json!(format!("{first} {last}")));
        set(fields.locale.as_ref(), json!(context.config.languages.first()));
        set(fields.occurred_at.as_ref(), json!(self.now.to_string()));
        set(fields.delivery_id.as_ref(), json!(tellonce_fakes::generate_id()));
        set(fields.title.as_ref(), json!("Consultation"));
        set(fields.status.as_ref(), json!(word));
        let delivery = WebhookPost::new(format!("/bookings/{}", self.name), "application/json", body.to_string());
        let id = format!("msg_{}", random_hex(27));
        let proof = match scheme {
            CustomScheme::StandardWebhooks => SenderProof::StandardWebhooks { id: &id, at: self.now },
            CustomScheme::StaticHeader { header } => SenderProof::StaticHeader { header },
        };
        Ok(vec![delivery.sign(proof, &context.read_webhook_secret(self.name)?)?])
    }

    /// Writes the event into the feed, with the number and the name where the client's settings
    /// look for them.
    fn write_feed_event(
        &self,
        context: &BookingSampleContext<'_>,
        rule: &FeedRule,
    ) -> anyhow::Result<Vec<WebhookPost>> {
        let file = feed_file_name(context, self.name)?;
        if self.action == BookingAction::Cancel {
            context.calendars.remove_event(&file, &self.after.id)?;
        } else {
            let (first, last, phone) = PERSON;
            let mut texts = BTreeMap::from([("summary".to_owned(), "Consultation".to_owned())]);
            if let Some(person) = &rule.person {
                put_text(&mut texts, person, &format!("{first} {last}"));
            }
            put_text(&mut texts, &rule.phone, phone);
            context.calendars.put_event(
                &file,
                FakeFeedEvent {
                    uid: self.after.id.clone(),
                    start: self.after.start,
                    zone: self.zone.to_owned(),
                    sequence: self.after.changes,
                    changed_at: self.now,
                    texts,
                },
            )?;
        }
        Ok(build_push(context, self.name)?.into_iter().collect())
    }
}

/// The file of a calendar's feed: the last segment of the address in its secret.
pub fn feed_file_name(context: &BookingSampleContext<'_>, name: &str) -> anyhow::Result<String> {
    let secret = context.config.calendar_secret_name(name);
    let address = (context.secret)(&secret).with_context(|| format!("the secret {secret} is missing"))?;
    let address: url::Url = address.parse().with_context(|| format!("the secret {secret} is not an address"))?;
    let last = address.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
    Ok(last.to_owned())
}

/// A new id in the format of the sender.
fn new_booking_id(kind: &CalendarKind, now: Timestamp) -> String {
    match kind {
        CalendarKind::CalCom(_) => random_hex(22),
        CalendarKind::Calendly(_) => random_hex(14).to_uppercase(),
        CalendarKind::Acuity(_) => now.as_millisecond().to_string(),
        CalendarKind::Custom(_) => format!("B-{}", random_hex(10)),
        CalendarKind::Square(_) => random_hex(14),
        CalendarKind::Ics(_) => format!("{}@console", random_hex(12)),
    }
}

/// Puts a value into an event's texts where a rule finds it.
fn put_text(texts: &mut BTreeMap<String, String>, rule: &FeedTextRule, value: &str) {
    let text = texts.entry(rule.field.to_ascii_lowercase()).or_default();
    match rule.after.first() {
        None => value.clone_into(text),
        // A marker that begins with a space is added to the text. Any other marker begins a new
        // line.
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
