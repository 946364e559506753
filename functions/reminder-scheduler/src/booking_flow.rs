//! The flow of one booking.
//!
//! 1. Parse the delivery.
//! 2. Look up what the delivery leaves out.
//! 3. Apply the report to the appointment header.
//! 4. Return the outcome to store with the delivery.

use jiff::Timestamp;
use tellonce_core::{
    appointment::AppointmentStatus,
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
    booking::{Booking, LookupRequest, ParsedBooking},
    booking_outcome::{BookingOutcome, BookingSkipReason},
    booking_parser::{parse_booking, parse_booking_response},
};

/// Why a booking could not be processed now.
#[derive(Debug, thiserror::Error)]
pub enum BookingError {
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The credential for the booking system's API could not be loaded.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The booking system's API failed.
    #[error("could not look up the booking at the booking system")]
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
    /// Processes one delivery and returns the outcome to store with it. There is none if the
    /// appointment header contains everything. The delivery is retried after an error, unless the
    /// error is permanent.
    pub(crate) async fn process_delivery(
        &self,
        delivery: &InboxItem,
        deadline: Deadline,
    ) -> Result<Option<BookingOutcome>, BookingError> {
        let config = &self.dispatcher.config;
        let Some(calendar) = config.calendars.get(&delivery.sender) else {
            return Ok(Some(BookingOutcome::CalendarRemoved));
        };
        let parsed = match parse_booking(calendar, config, &delivery.headers, &delivery.body, delivery.received_at) {
            ParsedBooking::NeedsLookup(request) => self.look_up_booking(delivery, calendar, request).await?,
            complete => complete,
        };
        match parsed {
            ParsedBooking::Bookings(bookings) => self.apply_bookings(delivery, calendar, bookings).await,
            ParsedBooking::SyncFeed => {
                Ok(Some(self.poll_pushed_feed(&delivery.sender, delivery.received_at, deadline).await))
            }
            // A lookup always completes or skips the booking.
            ParsedBooking::NeedsLookup(_) => Ok(None),
            ParsedBooking::Skipped(reason) => {
                if reason.needs_attention() {
                    tracing::warn!(delivery.id = delivery.id, "skipped delivery {}: {reason}", delivery.id);
                    telemetry::count_metric(&config.client, Metric::DeliveriesQuarantined, self.dispatcher.clock.now());
                }
                Ok(Some(BookingOutcome::Skipped(reason)))
            }
        }
    }

    /// Looks up what a delivery leaves out. If the lookup fails, the facts of the delivery still
    /// count.
    async fn look_up_booking(
        &self,
        delivery: &InboxItem,
        calendar: &CalendarConfig,
        request: LookupRequest,
    ) -> Result<ParsedBooking, BookingError> {
        let error = match self.request_lookup(&delivery.sender, calendar, &request).await {
            Ok((response, asked_at)) => {
                return Ok(parse_booking_response(request, &response, asked_at, calendar, &self.dispatcher.config));
            }
            Err(error) => error,
        };
        let is_not_configured = matches!(
            error,
            BookingError::Secret(
                SecretError::Missing { .. } | SecretError::Forbidden { .. } | SecretError::Empty { .. }
            )
        );
        let reason =
            if is_not_configured { BookingSkipReason::LookupNotConfigured } else { BookingSkipReason::LookupFailed };
        let is_final = is_not_configured || error.fault() == Fault::Permanent;
        match request.booking_without_lookup(reason, delivery.received_at) {
            // A cancelled appointment needs no lookup.
            Some(booking) if booking.status == AppointmentStatus::Cancelled => {
                Ok(ParsedBooking::Bookings(vec![booking]))
            }
            Some(booking) if is_final => {
                log_failed_lookup(delivery, &error);
                Ok(ParsedBooking::Bookings(vec![booking]))
            }
            // The new time counts from now on. The attendees are looked up when the delivery is
            // retried.
            Some(booking) => {
                self.apply_bookings(delivery, calendar, vec![booking]).await?;
                Err(error)
            }
            None if is_not_configured => {
                log_failed_lookup(delivery, &error);
                Ok(ParsedBooking::Skipped(BookingSkipReason::LookupNotConfigured))
            }
            None => Err(error),
        }
    }

    /// Returns the booking system's response and the moment before the request: the earliest moment
    /// at which the response was true.
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
            Ok(self.lookup_client.send_request(name, calendar, request, credential, &secret_name).await?)
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

    /// Applies the reports of a delivery to the headers, in their order.
    async fn apply_bookings(
        &self,
        delivery: &InboxItem,
        calendar: &CalendarConfig,
        bookings: Vec<Booking>,
    ) -> Result<Option<BookingOutcome>, BookingError> {
        let mut outcome = None;
        for booking in bookings {
            let previous = match &booking.previous_id {
                Some(id) => {
                    let subject = IdempotencyKey::appointment_subject(calendar.id_scope(), id);
                    self.dispatcher.ledger.read_appointment(&subject).await?
                }
                None => None,
            };
            let report = booking.to_report(&delivery.sender, calendar, &delivery.id, previous);
            let result = self.apply_report(&report).await?;
            if let Some(reason) = &booking.unreachable_reason {
                if reason.needs_attention() {
                    telemetry::count_metric(
                        &self.dispatcher.config.client,
                        Metric::DeliveriesQuarantined,
                        self.dispatcher.clock.now(),
                    );
                }
                outcome = Some(BookingOutcome::Skipped(reason.clone().after_report(&result)));
            }
            outcome = outcome.or(BookingOutcome::from_report(&result));
        }
        Ok(outcome)
    }
}

fn log_failed_lookup(delivery: &InboxItem, error: &BookingError) {
    tracing::error!(delivery.id = delivery.id, "lookup for delivery {} failed: {}", delivery.id, error_chain(error));
}
