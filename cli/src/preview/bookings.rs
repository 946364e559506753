//! Appointments: from a booking or a feed to the reminders that would be sent, with the decisions
//! of `reminder_scheduler`.
//!
//! Appointments are in memory, and the line accepts every message. Time advances to the next
//! delivery, and at the end of the preview to the last reminder. A reminder is sent at its due
//! time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use reminder_scheduler::{
    booking::{Booking, BookingEventKind, LookupRequest, ParsedBooking},
    booking_outcome::BookingOutcome,
    booking_parser::{parse_booking, parse_booking_response},
    plan::{build_reminder_message, plan_reminders, with_schedule, with_stage_outcome},
};
use serde_json::Value;
use tellonce_core::{
    appointment::{Appointment, AppointmentReport, ReminderOutcome, ReportResult, StageOutcome},
    client_config::{CalendarConfig, ClientConfig},
    delivery::Verified,
    dispatch::{DispatchResult, ReminderDispatchResult},
    ledger::IdempotencyKey,
    lookup::LookupResponse,
};

use super::{
    cases::RecordedDelivery,
    in_memory_ledger::InMemoryLedger,
    inbound_route::{InboundRoute, stored_headers},
    report::{AppointmentPreview, DeliveryPreview, EventPreview, MessagePreview, SkippedReminder, describe_outcome},
    simulator::DeliverySimulator,
};

/// The known appointments, with their sent and skipped reminders.
pub(super) struct AppointmentTracker<'a> {
    config: &'a ClientConfig,
    ledger: InMemoryLedger<'a>,
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
    pub(super) fn new(config: &'a ClientConfig) -> Self {
        let ledger = InMemoryLedger::new(config);
        Self { config, ledger, appointments: BTreeMap::new(), messages: Vec::new(), skipped: Vec::new() }
    }

    pub(super) fn apply_report(&mut self, report: &AppointmentReport, now: Timestamp) -> ReportResult {
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
                ReminderOutcome::Opened
                | ReminderOutcome::OptedOut
                | ReminderOutcome::Dropped
                | ReminderOutcome::LimitReached => continue,
            };
            let idempotency_key = IdempotencyKey::for_reminder(&appointment.subject, &outcome_entry.stage).to_string();
            let skipped = SkippedReminder { idempotency_key, start: outcome_entry.start, reason };
            self.skipped.push(AppointmentOutput::from_appointment(&appointment, skipped));
        }
        self.appointments.insert(appointment.subject.clone(), appointment);
    }

    /// Lets time pass. Each reminder that is due before `until` is sent at its time.
    pub(super) fn advance_to(&mut self, until: Timestamp) {
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
                    let message = build_reminder_message(self.config, calendar, &known, reminder);
                    let opened = with_stage_outcome(self.config, &known, plan, reminder, ReminderOutcome::Opened, now);
                    match self.ledger.dispatch_reminder(&message, &known, &opened, now) {
                        ReminderDispatchResult::Opened(result) => {
                            self.record_reminder(&known, &result);
                            opened
                        }
                        // The plan and the driver agree about the quiet hours. Without a due time
                        // the loop ends.
                        ReminderDispatchResult::HeaderChanged(_)
                        | ReminderDispatchResult::Skipped(_)
                        | ReminderDispatchResult::LineBlocked { .. } => Appointment { due_at: None, ..known },
                    }
                }
                None => with_schedule(self.config, known, now),
            };
            self.store_appointment(after, &before);
        }
    }

    fn record_reminder(&mut self, appointment: &Appointment, result: &DispatchResult) {
        if let DispatchResult::Accepted(key) = result {
            let sent = self.ledger.final_result(key).and_then(Result::ok);
            self.messages.extend(sent.map(|message| AppointmentOutput::from_appointment(appointment, message)));
        } else if let DispatchResult::RecordedOnly(key) = result {
            let (idempotency_key, reason) = (key.to_string(), "a value in its text is missing");
            let skipped = SkippedReminder { idempotency_key, start: appointment.start, reason };
            self.skipped.push(AppointmentOutput::from_appointment(appointment, skipped));
        }
    }

    /// The reminders that a delivery caused: sent, and skipped.
    fn take_for_delivery(&mut self, delivery: &str) -> (Vec<MessagePreview>, Vec<SkippedReminder>) {
        let sent = self.messages.extract_if(.., |sent| sent.delivery == delivery).map(|sent| sent.output);
        let skipped = self.skipped.extract_if(.., |skipped| skipped.delivery == delivery).map(|skipped| skipped.output);
        (sent.collect(), skipped.collect())
    }

    /// The reminders of an appointment: sent, and skipped.
    pub(super) fn take_for_appointment(&mut self, subject: &str) -> (Vec<MessagePreview>, Vec<SkippedReminder>) {
        let sent = self.messages.extract_if(.., |sent| sent.subject == subject).map(|sent| sent.output);
        let skipped = self.skipped.extract_if(.., |skipped| skipped.subject == subject).map(|skipped| skipped.output);
        (sent.collect(), skipped.collect())
    }
}

pub(super) struct BookingSimulator<'a> {
    inbound: InboundRoute<'a>,
    calendar: &'a CalendarConfig,
    tracker: AppointmentTracker<'a>,
    /// The id in the inbox of each delivery, in order; none if it was not stored.
    inbox_keys: Vec<Option<String>>,
}

impl<'a> BookingSimulator<'a> {
    pub(super) fn new(inbound: InboundRoute<'a>, calendar: &'a CalendarConfig) -> Self {
        let tracker = AppointmentTracker::new(inbound.config);
        Self { inbound, calendar, tracker, inbox_keys: Vec::new() }
    }
}

impl<'a> DeliverySimulator<'a> for BookingSimulator<'a> {
    fn simulate_delivery(&mut self, case: &'a RecordedDelivery, now: Timestamp) -> DeliveryPreview {
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

    fn finish(mut self, shown: &mut [DeliveryPreview]) {
        self.tracker.advance_to(Timestamp::MAX);
        for (delivery, id) in shown.iter_mut().zip(&self.inbox_keys) {
            let Some(id) = id else { continue };
            (delivery.messages, delivery.skipped_reminders) = self.tracker.take_for_delivery(id);
        }
    }
}

impl BookingSimulator<'_> {
    fn process_delivery(
        &mut self,
        delivery: &Verified<'_>,
        id: &str,
        now: Timestamp,
        shown: DeliveryPreview,
    ) -> DeliveryPreview {
        let headers = stored_headers(delivery);
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
                parse_booking_response(what, &answer, now, self.calendar, self.inbound.config)
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
                DeliveryPreview { skip_reason: Some(describe_outcome(BookingOutcome::Skipped(because))), ..shown }
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
            let result = self.tracker.apply_report(&report, now);
            let reason = booking.unreachable_reason.clone().map(|reason| reason.after_report(&result));
            let outcome = BookingOutcome::from_report(&result).or_else(|| reason.map(BookingOutcome::Skipped));
            shown.skip_reason = outcome.map(describe_outcome);
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
    AppointmentPreview {
        previous_id: booking.previous_id.clone(),
        ..AppointmentPreview::new(
            booking.kind.name(),
            &booking.id,
            booking.status,
            booking.occurred_at,
            booking.details.as_ref(),
        )
    }
}
