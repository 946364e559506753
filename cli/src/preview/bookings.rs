//! Appointments: from a booking or a feed to the reminders that would be sent, with the decisions
//! of `reminder_scheduler`.
//!
//! Appointments are in memory, and the line accepts every message. Time advances to the next
//! delivery, and at the end of the preview to the last reminder. A reminder is sent at its due
//! time.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use reminder_scheduler::{
    booking::{Booking, BookingEventKind, LookupRequest, ParsedBooking, SkipReason, parse_booking},
    feed::{
        build_window,
        diff::{FeedChanges, FeedOrigin, FeedVerdict, compare_feed},
        ics,
    },
    lookup::complete_booking,
    plan::{build_reminder_message, plan_reminders, with_schedule, with_stage_outcome},
};
use serde::Serialize;
use serde_json::Value;
use tellonce_core::{
    appointment::{Appointment, AppointmentReport, ReminderOutcome, ReportResult, StageOutcome},
    client_config::{CalendarConfig, CalendarKind, ClientConfig},
    delivery::Verified,
    feed::FeedSnapshot,
    ledger::{ClaimOwner, IdempotencyKey, LedgerRow},
    lookup::LookupResponse,
};

use super::{DeliveryPreview, EventPreview, InboundRoute, MessagePreview, cases::RecordedDelivery, preview_message};

#[derive(Serialize)]
pub(super) struct AppointmentPreview {
    kind: &'static str,
    id: String,
    status: &'static str,
    occurred_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_id: Option<String>,
    /// Masked.
    phones: Vec<String>,
}

/// A reminder that would not be sent.
#[derive(Serialize)]
pub(super) struct SkippedReminder {
    idempotency_key: String,
    start: Timestamp,
    reason: &'static str,
}

/// The known appointments, with their sent and skipped reminders.
struct AppointmentTracker<'a> {
    config: &'a ClientConfig,
    appointments: BTreeMap<String, Appointment>,
    messages: Vec<AppointmentOutput<MessagePreview>>,
    skipped: Vec<AppointmentOutput<SkippedReminder>>,
}

/// A reminder that was sent or skipped.
struct AppointmentOutput<T> {
    /// The delivery that last changed the appointment.
    delivery: String,
    subject: String,
    output: T,
}

impl<T> AppointmentOutput<T> {
    fn from_appointment(appointment: &Appointment, output: T) -> Self {
        Self { delivery: appointment.delivery.clone(), subject: appointment.subject.clone(), output }
    }
}

impl<'a> AppointmentTracker<'a> {
    fn new(config: &'a ClientConfig) -> Self {
        Self { config, appointments: BTreeMap::new(), messages: Vec::new(), skipped: Vec::new() }
    }

    fn apply_report(&mut self, report: &AppointmentReport, now: Timestamp) -> ReportResult {
        let result = Appointment::apply_report(self.appointments.get(&report.subject), report, now);
        if let ReportResult::Updated(updated) = &result {
            let before = self.appointments.get(&report.subject).map(|known| known.stage_outcomes.clone());
            self.store_appointment(
                with_schedule(self.config, updated.as_ref().clone(), now),
                &before.unwrap_or_default(),
            );
        }
        result
    }

    fn store_appointment(&mut self, appointment: Appointment, before: &[StageOutcome]) {
        for outcome_entry in appointment.stage_outcomes.iter().filter(|outcome| !before.contains(outcome)) {
            let reason = match outcome_entry.outcome {
                ReminderOutcome::Skipped => "the appointment was booked or moved after this reminder's time",
                ReminderOutcome::Missed => "the reminder's time had passed",
                ReminderOutcome::NoTime => {
                    "quiet hours leave no time for it, or a reminder nearer to the start is due at the same time"
                }
                ReminderOutcome::Opened | ReminderOutcome::OptedOut | ReminderOutcome::Dropped => continue,
            };
            let idempotency_key = IdempotencyKey::for_reminder(&appointment.subject, &outcome_entry.stage).to_string();
            let skipped = SkippedReminder { idempotency_key, start: outcome_entry.start, reason };
            self.skipped.push(AppointmentOutput::from_appointment(&appointment, skipped));
        }
        self.appointments.insert(appointment.subject.clone(), appointment);
    }

    /// Lets time pass. Each reminder that is due before `until` is sent at its time.
    fn advance_to(&mut self, until: Timestamp) {
        loop {
            let due =
                self.appointments.values().filter_map(|known| Some((known.due_at.filter(|due| *due < until)?, known)));
            let Some((now, known)) = due.min_by_key(|(due, _)| *due).map(|(due, known)| (due, known.clone())) else {
                return;
            };
            let before = known.stage_outcomes.clone();
            let calendar = self.config.calendars.get(&known.calendar);
            let planned_now = calendar.map(|calendar| (calendar, plan_reminders(self.config, calendar, &known, now)));
            let due = planned_now.as_ref().and_then(|(calendar, plan)| Some((calendar, plan, plan.due.first()?)));
            let after = match due {
                Some((calendar, plan, reminder)) => {
                    let outbound = build_reminder_message(self.config, calendar, &known, reminder);
                    let row = LedgerRow::from_message(
                        &outbound,
                        outbound.key.clone(),
                        ClaimOwner("preview".to_owned()),
                        now,
                        now,
                    );
                    if let Some(payload) = &row.payload {
                        self.messages
                            .push(AppointmentOutput::from_appointment(&known, preview_message(&row, payload, now)));
                    } else {
                        let skipped = SkippedReminder {
                            idempotency_key: row.key.to_string(),
                            start: known.start,
                            reason: "a value in its text is missing",
                        };
                        self.skipped.push(AppointmentOutput::from_appointment(&known, skipped));
                    }
                    with_stage_outcome(self.config, &known, plan, reminder, ReminderOutcome::Opened, now)
                }
                None => with_schedule(self.config, known, now),
            };
            self.store_appointment(after, &before);
        }
    }

    /// The reminders that a delivery caused: sent, and skipped.
    fn take_for_delivery(&mut self, delivery: &str) -> (Vec<MessagePreview>, Vec<SkippedReminder>) {
        let sent = self.messages.extract_if(.., |sent| sent.delivery == delivery).map(|sent| sent.output);
        let skipped = self.skipped.extract_if(.., |skipped| skipped.delivery == delivery).map(|skipped| skipped.output);
        (sent.collect(), skipped.collect())
    }

    /// The reminders of an appointment: sent, and skipped.
    fn take_for_appointment(&mut self, subject: &str) -> (Vec<MessagePreview>, Vec<SkippedReminder>) {
        let sent = self.messages.extract_if(.., |sent| sent.subject == subject).map(|sent| sent.output);
        let skipped = self.skipped.extract_if(.., |skipped| skipped.subject == subject).map(|skipped| skipped.output);
        (sent.collect(), skipped.collect())
    }
}

pub(super) struct BookingSimulator<'a> {
    inbound: InboundRoute<'a>,
    calendar: &'a CalendarConfig,
    tracker: AppointmentTracker<'a>,
    /// The id in the inbox of each delivery, in order; none if it was not filed.
    inbox_keys: Vec<Option<String>>,
}

impl<'a> BookingSimulator<'a> {
    pub(super) fn new(inbound: InboundRoute<'a>, calendar: &'a CalendarConfig) -> Self {
        let tracker = AppointmentTracker::new(inbound.config);
        Self { inbound, calendar, tracker, inbox_keys: Vec::new() }
    }

    /// Verifies one delivery, files it, reads it and applies it to its appointment.
    pub(super) fn simulate_delivery(&mut self, case: &'a RecordedDelivery, now: Timestamp) -> DeliveryPreview {
        self.tracker.advance_to(now);
        match self.inbound.accept_delivery(case, now) {
            Ok((verified, id, shown)) => {
                self.inbox_keys.push(Some(id.clone()));
                self.process_delivery(&verified, &id, now, shown)
            }
            Err(shown) => {
                self.inbox_keys.push(None);
                *shown
            }
        }
    }

    /// Sends all reminders and adds the results to their deliveries.
    pub(super) fn finish(mut self, shown: &mut [DeliveryPreview]) {
        self.tracker.advance_to(Timestamp::MAX);
        for (delivery, id) in shown.iter_mut().zip(&self.inbox_keys) {
            let Some(id) = id else { continue };
            (delivery.messages, delivery.skipped_reminders) = self.tracker.take_for_delivery(id);
        }
    }

    fn process_delivery(
        &mut self,
        delivery: &Verified<'_>,
        id: &str,
        now: Timestamp,
        shown: DeliveryPreview,
    ) -> DeliveryPreview {
        let headers = delivery.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let parsed = match parse_booking(self.calendar, self.inbound.config, &headers, delivery.body, now) {
            ParsedBooking::NeedsLookup(what) => {
                let Some(answer) = self.find_lookup_response(&what) else {
                    let because = match what {
                        LookupRequest::Acuity { appointment_id, .. } => format!("appointment {appointment_id}"),
                        LookupRequest::Square { customer_id, .. } => format!("customer {customer_id}"),
                    };
                    let because = format!(
                        "lookup-skipped: the delivery is incomplete, and a preview calls no API; give the response for \
                         {because} with --lookup FILE"
                    );
                    return DeliveryPreview { skip_reason: Some(because), ..shown };
                };
                complete_booking(what, &answer, now, self.calendar, self.inbound.config)
            }
            enough => enough,
        };
        match parsed {
            ParsedBooking::Bookings(bookings) => self.apply_bookings(bookings, id, now, shown),
            ParsedBooking::SyncFeed => {
                let because = "sync-feed: this delivery makes tellonce read the feed; give the feed with --ics FILE";
                DeliveryPreview { skip_reason: Some(because.to_owned()), ..shown }
            }
            ParsedBooking::Skipped(because) => {
                DeliveryPreview { skip_reason: Some(format_skip_reason(&because)), ..shown }
            }
            // A lookup completes a booking or ends it, so this is not reached.
            ParsedBooking::NeedsLookup(_) => shown,
        }
    }

    fn apply_bookings(
        &mut self,
        bookings: Vec<Booking>,
        id: &str,
        now: Timestamp,
        mut shown: DeliveryPreview,
    ) -> DeliveryPreview {
        for booking in bookings {
            let known = |id: &String| {
                self.tracker
                    .appointments
                    .get(&IdempotencyKey::appointment_subject(self.calendar.id_scope(), id))
                    .cloned()
            };
            let continues = booking.previous_id.as_ref().and_then(known);
            let report = booking.to_report(self.inbound.sender_name, self.calendar, id, continues);
            shown.skip_reason = match self.tracker.apply_report(&report, now) {
                ReportResult::Updated(_) => booking.unreachable_reason.as_ref().map(format_skip_reason),
                nothing => nothing.skip_reason().map(str::to_owned),
            };
            // A move may consist of two bookings. The one that continues is shown.
            if booking.kind != BookingEventKind::MovedAway || shown.event.is_none() {
                shown.event = Some(EventPreview::Appointment(preview_booking(&booking)));
            }
        }
        shown
    }

    /// The `--lookup` file that answers this request.
    fn find_lookup_response(&self, what: &LookupRequest) -> Option<LookupResponse> {
        let wanted = match what {
            LookupRequest::Acuity { appointment_id, .. } => ("/id", appointment_id),
            LookupRequest::Square { customer_id, .. } => ("/customer/id", customer_id),
        };
        let is_it = |answer: &Value| match answer.pointer(wanted.0) {
            Some(Value::String(id)) => id == wanted.1,
            Some(Value::Number(id)) => id.to_string() == *wanted.1,
            _ => false,
        };
        let found = self.inbound.lookups.iter().find(|(_, answer)| is_it(answer));
        found.map(|(bytes, _)| LookupResponse::Found(bytes.clone()))
    }
}

fn preview_booking(booking: &Booking) -> AppointmentPreview {
    let details = booking.details.as_ref();
    AppointmentPreview {
        kind: booking.kind.name(),
        id: booking.id.clone(),
        status: booking.status.name(),
        occurred_at: booking.occurred_at,
        start: details.map(|details| details.start),
        time_zone: details.map(|details| details.zone.clone()),
        previous_id: booking.previous_id.clone(),
        phones: details.map_or_else(Vec::new, |details| {
            details.attendees.iter().map(|attendee| attendee.phone.to_string()).collect()
        }),
    }
}

fn format_skip_reason(because: &SkipReason) -> String {
    format!("{}: {because}", because.code())
}

/// The result of one appointment of a feed.
#[derive(Serialize)]
pub(super) struct FeedAppointmentPreview {
    /// The last file that changed it.
    case: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<AppointmentPreview>,
    messages: Vec<MessagePreview>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skipped_reminders: Vec<SkippedReminder>,
    skip_reason: Option<String>,
}

impl FeedAppointmentPreview {
    fn from_reason(case: &str, because: String) -> Self {
        let (messages, skipped_reminders) = (Vec::new(), Vec::new());
        Self { case: case.to_owned(), event: None, messages, skipped_reminders, skip_reason: Some(because) }
    }
}

/// Reads a feed once for each file and returns the result of each appointment, then the remarks.
pub(super) fn preview_feed(
    config: &ClientConfig,
    name: &str,
    files: &[PathBuf],
    times: &[Timestamp],
) -> anyhow::Result<Vec<FeedAppointmentPreview>> {
    let calendar = &config.calendars[name];
    let CalendarKind::Ics(rule) = &calendar.kind else {
        bail!("`{name}` is not a feed: it posts its bookings; preview those deliveries instead");
    };
    let mut tracker = AppointmentTracker::new(config);
    let mut snapshot = FeedSnapshot::default();
    let mut shown: BTreeMap<String, FeedAppointmentPreview> = BTreeMap::new();
    let mut remarks = Vec::new();
    for (file, now) in files.iter().zip(times) {
        tracker.advance_to(*now);
        let case = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let body = std::fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
        let window = build_window(calendar, *now);
        let known = |id: &str| snapshot.occurrences.contains_key(id);
        let feed = match ics::parse_feed(&body, rule, calendar, config, window, &known) {
            Ok(feed) => feed,
            Err(error) => {
                remarks.push(FeedAppointmentPreview::from_reason(
                    &case,
                    format!("unreadable: {error}; no appointment changes"),
                ));
                continue;
            }
        };
        for (uid, error) in &feed.unparsed_events {
            remarks.push(FeedAppointmentPreview::from_reason(&case, format!("not-understood: {uid}: {error}")));
        }
        for (id, occurrence) in &feed.occurrences {
            if let Err(problem) = &occurrence.attendee {
                remarks.push(FeedAppointmentPreview::from_reason(
                    &case,
                    format!("no-recipient: {id} at {}: {problem}", occurrence.start),
                ));
            }
        }
        let changes = match compare_feed(&snapshot, &feed, FeedOrigin { name, calendar }, window, *now) {
            FeedVerdict::Changes(FeedChanges { pending, changes }) => {
                snapshot.occurrences = pending;
                changes
            }
            FeedVerdict::Suspect(reason, FeedChanges { pending, changes }) => {
                remarks.push(FeedAppointmentPreview::from_reason(&case, format!("suspect: {reason}")));
                snapshot.occurrences = pending;
                changes
            }
        };
        for change in changes {
            tracker.apply_report(&change.report, *now);
            let event = preview_report(&change.id, &change.report);
            let subject = change.report.subject.clone();
            let one = FeedAppointmentPreview {
                case: case.clone(),
                event: Some(event),
                messages: Vec::new(),
                skipped_reminders: Vec::new(),
                skip_reason: None,
            };
            shown.insert(subject, one);
            change.record_reported(&mut snapshot.occurrences);
        }
    }
    tracker.advance_to(Timestamp::MAX);
    for (subject, one) in &mut shown {
        (one.messages, one.skipped_reminders) = tracker.take_for_appointment(subject);
    }
    let mut all: Vec<FeedAppointmentPreview> = shown.into_values().collect();
    all.sort_by_key(|one| one.event.as_ref().and_then(|event| event.start));
    all.extend(remarks);
    Ok(all)
}

fn preview_report(id: &str, report: &AppointmentReport) -> AppointmentPreview {
    let details = report.details.as_ref();
    AppointmentPreview {
        kind: "appointment.in-feed",
        id: id.to_owned(),
        status: report.status.name(),
        occurred_at: report.as_of,
        start: details.map(|details| details.start),
        time_zone: details.map(|details| details.zone.clone()),
        previous_id: None,
        phones: details.map_or_else(Vec::new, |details| {
            details.attendees.iter().map(|attendee| attendee.phone.to_string()).collect()
        }),
    }
}
