//! The flow of one booking: read it, read back what it leaves out, take it into what is known, and record what became of
//! it.

use jiff::Timestamp;
use tellonce_core::{
    appointment::{Appointment, AppointmentReport, AppointmentStatus, ReportResult},
    client_config::CalendarConfig,
    clock::Deadline,
    fault::{ClassifyFault, Fault, error_chain},
    inbox::InboxItem,
    ledger::{IdempotencyKey, LedgerError},
    lookup::{LookupResponse, SenderApiError},
    secret::{Secret, SecretError},
    telemetry::{self, Metric},
};

use crate::{
    ReminderScheduler,
    booking::{Booking, LookupRequest, ParsedBooking, SkipReason, parse_booking},
    lookup::complete_booking,
    plan::with_schedule,
};

/// How often what is known is read anew when others write it at the same time.
const MAX_WRITE_ATTEMPTS: usize = 8;

/// A booking could not be taken now.
#[derive(Debug, thiserror::Error)]
pub enum BookingError {
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The credential for the booking system is not to be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The booking system could not be asked.
    #[error("the booking system could not be asked")]
    Lookup(#[from] SenderApiError),
}

impl ClassifyFault for BookingError {
    fn fault(&self) -> Fault {
        match self {
            Self::Ledger(error) => error.fault(),
            Self::Secret(error) => error.fault(),
            Self::Lookup(error) => error.fault(),
        }
    }
}

impl ReminderScheduler {
    /// Takes one delivery through and gives what to record beside it: nothing, if the appointment's header says it all. An
    /// error means that it shall come again, unless it is permanent.
    pub(crate) async fn process_booking(
        &self,
        entry: &InboxItem,
        deadline: Deadline,
    ) -> Result<Option<String>, BookingError> {
        let config = &self.dispatcher.config;
        let Some(calendar) = config.calendars.get(&entry.sender) else {
            return Ok(Some("calendar-removed: this calendar is no longer in the configuration".to_owned()));
        };
        let parsed = match parse_booking(calendar, config, &entry.headers, &entry.body, entry.received_at) {
            ParsedBooking::NeedsLookup(request) => self.look_up_booking(entry, calendar, request).await?,
            enough => enough,
        };
        match parsed {
            ParsedBooking::Bookings(bookings) => self.apply_bookings(entry, calendar, bookings).await,
            ParsedBooking::SyncFeed => {
                Ok(Some(self.poll_pushed_feed(&entry.sender, entry.received_at, deadline).await))
            }
            // What is read back either completes a booking or ends it.
            ParsedBooking::NeedsLookup(_) => Ok(None),
            ParsedBooking::Skipped(reason) => {
                if reason.needs_attention() {
                    tracing::warn!(delivery.id = entry.id, "{reason}");
                    telemetry::count_metric(&config.client, Metric::DeliveriesQuarantined, self.dispatcher.clock.now());
                }
                Ok(Some(format_skip_reason(&reason)))
            }
        }
    }

    /// Asks the booking system for what a delivery leaves out. What it says by itself counts even if nobody can be asked.
    async fn look_up_booking(
        &self,
        entry: &InboxItem,
        calendar: &CalendarConfig,
        request: LookupRequest,
    ) -> Result<ParsedBooking, BookingError> {
        let error = match self.request_lookup(&entry.sender, calendar, &request).await {
            Ok((response, asked_at)) => {
                return Ok(complete_booking(request, &response, asked_at, calendar, &self.dispatcher.config));
            }
            Err(error) => error,
        };
        let not_set_up = matches!(
            error,
            BookingError::Secret(
                SecretError::Missing { .. } | SecretError::Forbidden { .. } | SecretError::Empty { .. }
            )
        );
        let reason = if not_set_up { SkipReason::LookupNotConfigured } else { SkipReason::LookupFailed };
        let is_final = not_set_up || error.fault() == Fault::Permanent;
        match request.booking_without_lookup(reason, entry.received_at) {
            // What ended needs no answer.
            Some(booking) if booking.status == AppointmentStatus::Cancelled => {
                Ok(ParsedBooking::Bookings(vec![booking]))
            }
            Some(booking) if is_final => {
                tracing::error!(delivery.id = entry.id, "{}", error_chain(&error));
                Ok(ParsedBooking::Bookings(vec![booking]))
            }
            // Its time counts from now on; who takes part is asked for again when the delivery comes again.
            Some(booking) => {
                self.apply_bookings(entry, calendar, vec![booking]).await?;
                Err(error)
            }
            None if not_set_up => {
                tracing::error!(delivery.id = entry.id, "{}", error_chain(&error));
                Ok(ParsedBooking::Skipped(SkipReason::LookupNotConfigured))
            }
            None => Err(error),
        }
    }

    /// The booking system's answer, and the moment before it was asked: what it says was true no earlier than that.
    async fn request_lookup(
        &self,
        name: &str,
        calendar: &CalendarConfig,
        request: &LookupRequest,
    ) -> Result<(LookupResponse, Timestamp), BookingError> {
        let secret_name = self.dispatcher.config.calendar_secret_name(name);
        let asked_at = self.dispatcher.clock.now();
        let credential = self.dispatcher.secrets.get_current(&secret_name, asked_at).await?;
        let request_with = async |credential: &Secret| {
            Ok(self.lookup_client.send_request(calendar, request, credential, &secret_name).await?)
        };
        let is_refused =
            |error: &BookingError| matches!(error, BookingError::Lookup(SenderApiError::CredentialRefused { .. }));
        let response = self
            .dispatcher
            .secrets
            .retry_with_newer(&secret_name, &credential, asked_at, is_refused, request_with)
            .await?;
        Ok((response, asked_at))
    }

    /// Takes what a delivery reports, in its order, into what is known.
    async fn apply_bookings(
        &self,
        entry: &InboxItem,
        calendar: &CalendarConfig,
        bookings: Vec<Booking>,
    ) -> Result<Option<String>, BookingError> {
        let mut outcome = None;
        for booking in bookings {
            let continues = match &booking.previous_id {
                Some(previous) => {
                    self.dispatcher
                        .ledger
                        .read_appointment(&IdempotencyKey::appointment_subject(calendar.id_scope(), previous))
                        .await?
                }
                None => None,
            };
            if let Some(reason) = &booking.unreachable_reason {
                if reason.needs_attention() {
                    telemetry::count_metric(
                        &self.dispatcher.config.client,
                        Metric::DeliveriesQuarantined,
                        self.dispatcher.clock.now(),
                    );
                }
                outcome = Some(format_skip_reason(reason));
            }
            let report = booking.to_report(&entry.sender, calendar, &entry.id, continues);
            outcome = outcome.or(self.apply_report(&report).await?.skip_reason().map(str::to_owned));
        }
        Ok(outcome)
    }

    /// Takes a report into what is known, whoever else writes at the same time.
    pub(crate) async fn apply_report(&self, report: &AppointmentReport) -> Result<ReportResult, LedgerError> {
        let mut known = self.dispatcher.ledger.read_appointment(&report.subject).await?;
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let now = self.dispatcher.clock.now();
            let learned = match Appointment::apply_report(known.as_ref(), report, now) {
                ReportResult::Updated(learned) => learned,
                nothing => return Ok(nothing),
            };
            let after = with_schedule(&self.dispatcher.config, *learned, now);
            match self.dispatcher.ledger.save_appointment(known.as_ref(), &after).await? {
                Ok(()) => {
                    self.log_appointment(known.as_ref(), &after, now);
                    return Ok(ReportResult::Updated(Box::new(after)));
                }
                Err(now) => known = now.map(|now| *now),
            }
        }
        Err(LedgerError::TooManyConflicts)
    }

    fn log_appointment(&self, before: Option<&Appointment>, after: &Appointment, now: Timestamp) {
        let ahead = after.status == AppointmentStatus::Booked && after.start > now;
        tracing::info!(
            appointment.key = after.subject,
            appointment.status = after.status.name(),
            appointment.start = %after.start,
            appointment.generation = after.generation,
            appointment.due_at = after.due_at.map(tracing::field::display),
            delivery.id = after.delivery,
            "appointment is {}", after.status.name()
        );
        if ahead && after.attendees.iter().all(|seat| !seat.attending) {
            tracing::warn!(appointment.key = after.subject, "nobody who takes part can be written to");
        }
        match before {
            Some(before) => self.log_outcomes(before, after),
            None => self.log_outcomes(&Appointment { stage_outcomes: Vec::new(), ..after.clone() }, after),
        }
    }
}

fn format_skip_reason(reason: &SkipReason) -> String {
    format!("{}: {reason}", reason.code())
}
