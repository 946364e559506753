//! The flow of one booking.
//!
//! 1. Parse the delivery.
//! 2. Look up what the delivery leaves out. If that is not possible now, the delivery waits.
//! 3. Apply the report to the appointment header.
//! 4. Return the outcome to store with the delivery.

use jiff::{SignedDuration, Timestamp};
use tellonce_core::{
    appointment::AppointmentStatus,
    client_config::CalendarConfig,
    clock::Deadline,
    fault::{ClassifyFault, Fault, error_chain},
    inbox::{DeliveryOutcome, InboxItem},
    ledger::{IdempotencyKey, LedgerError},
    lookup::{LookupResponse, LookupTrouble, SenderApiError},
    secret::{Secret, SecretError},
    telemetry::{self, Metric},
    waiting_lookup::{LookupAttempt, UnansweredLookup, WaitingLookupError},
};

use crate::{
    ReminderScheduler,
    booking::{Booking, LookupRequest, ParsedBooking},
    booking_outcome::{BookingOutcome, BookingSkipReason},
    booking_parser::{parse_booking, parse_booking_response},
};

/// The longest time for which a lookup is tried again. After two weeks the appointment has mostly
/// passed, and a delivery does not always give its time.
const MAX_WAIT: SignedDuration = SignedDuration::from_hours(14 * 24);

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
    /// A waiting lookup could not be recorded.
    #[error(transparent)]
    WaitingLookup(#[from] WaitingLookupError),
}

impl ClassifyFault for BookingError {
    fn fault(&self) -> Fault {
        match self {
            Self::Ledger(error) => error.fault(),
            Self::Secret(error) => error.fault(),
            Self::Lookup(error) => error.fault(),
            Self::WaitingLookup(error) => error.fault(),
        }
    }
}

impl BookingError {
    /// The trouble of a lookup, if it may pass. `None` if the failure is final, or if tellonce's
    /// own tables or secrets failed: then Lambda repeats the delivery.
    fn lookup_trouble(&self) -> Option<LookupTrouble> {
        match self {
            Self::Lookup(error) => error.trouble(),
            Self::Secret(error) => LookupTrouble::of_secret(error),
            Self::Ledger(_) | Self::WaitingLookup(_) => None,
        }
    }
}

/// A booking after its lookup.
enum CompletedBooking {
    Parsed(ParsedBooking),
    Unanswered(UnansweredLookup),
}

impl ReminderScheduler {
    /// Processes one delivery and returns the outcome to store with it. There is none if the
    /// appointment header contains everything. The delivery is retried after an error, unless the
    /// error is permanent.
    pub(crate) async fn process_delivery(
        &self,
        delivery: &InboxItem,
        deadline: Deadline,
    ) -> Result<Option<DeliveryOutcome>, BookingError> {
        let config = &self.dispatcher.config;
        let Some(calendar) = config.calendars.get(&delivery.sender) else {
            self.lookups.settle(delivery).await?;
            return Ok(Some(BookingOutcome::CalendarRemoved.into()));
        };
        let completed = match parse_booking(calendar, config, &delivery.headers, &delivery.body, delivery.received_at) {
            ParsedBooking::NeedsLookup(request) => {
                match self.look_up_booking(delivery, calendar, request, deadline).await {
                    Ok(CompletedBooking::Parsed(parsed)) => Ok(parsed),
                    Ok(CompletedBooking::Unanswered(lookup)) => return Ok(Some(lookup.into())),
                    Err(error) if error.fault() != Fault::Permanent => return Err(error),
                    Err(error) => Err(error),
                }
            }
            complete => Ok(complete),
        };
        self.lookups.settle(delivery).await?;
        match completed? {
            ParsedBooking::Bookings(bookings) => {
                let subject_of =
                    |booking: &Booking| IdempotencyKey::appointment_subject(calendar.id_scope(), &booking.id);
                // An id that another one replaces comes first.
                let about = bookings.last().map(subject_of);
                let outcome = self.apply_bookings(delivery, calendar, bookings).await?;
                Ok(outcome.map(|outcome| DeliveryOutcome::from(outcome).about(about)))
            }
            ParsedBooking::SyncFeed => {
                Ok(Some(self.poll_pushed_feed(&delivery.sender, delivery.received_at, deadline).await.into()))
            }
            // A lookup always completes or skips the booking.
            ParsedBooking::NeedsLookup(_) => Ok(None),
            ParsedBooking::Skipped(reason) => {
                if reason.needs_attention() {
                    tracing::warn!(delivery.id = delivery.id, "skipped delivery {}: {reason}", delivery.id);
                    telemetry::count_metric(&config.client, Metric::DeliveriesQuarantined, self.dispatcher.clock.now());
                }
                Ok(Some(BookingOutcome::Skipped(reason).into()))
            }
        }
    }

    /// Looks up what a delivery leaves out. If the lookup fails, the facts of the delivery still
    /// count, and the delivery waits if the trouble may pass.
    async fn look_up_booking(
        &self,
        delivery: &InboxItem,
        calendar: &CalendarConfig,
        request: LookupRequest,
        deadline: Deadline,
    ) -> Result<CompletedBooking, BookingError> {
        let (config, clock) = (&self.dispatcher.config, &self.dispatcher.clock);
        let (sender, trouble) = (&delivery.sender, BookingError::lookup_trouble);
        let (now, secret_name) = (clock.now(), config.calendar_secret_name(sender));
        let credential = async { Ok(self.dispatcher.secrets.get_current(&secret_name, now).await?) };
        let lookup =
            async |credential| self.request_lookup(sender, calendar, &request, (&secret_name, &credential)).await;
        let failure = match self.lookups.attempt(sender, deadline, now, trouble, credential, lookup).await {
            Ok(LookupAttempt::Answered((response, asked_at))) => {
                let parsed = parse_booking_response(request, &response, asked_at, calendar, config);
                return Ok(CompletedBooking::Parsed(parsed));
            }
            Ok(LookupAttempt::Failed(failure)) => Ok(failure),
            Err(error) => Err(error),
        };
        let reason = if failure.is_ok() { BookingSkipReason::LookupPending } else { BookingSkipReason::LookupFailed };
        let booking = request.booking_without_lookup(reason, delivery.received_at);
        match (booking, failure) {
            // A cancelled appointment needs no lookup.
            (Some(booking), _) if booking.status == AppointmentStatus::Cancelled => {
                Ok(CompletedBooking::Parsed(ParsedBooking::Bookings(vec![booking])))
            }
            (booking, Ok(failure)) => {
                let start = booking.as_ref().and_then(|booking| Some(booking.details.as_ref()?.start));
                let useful_until = lookup_useful_until(start, delivery.received_at);
                // The new time counts from now on. The attendees are looked up later.
                if let Some(booking) = booking {
                    self.apply_bookings(delivery, calendar, vec![booking]).await?;
                }
                let lookup = self.lookups.wait(config, delivery, failure, useful_until, clock.now()).await?;
                Ok(CompletedBooking::Unanswered(lookup))
            }
            (Some(booking), Err(error)) if error.fault() == Fault::Permanent => {
                log_failed_lookup(delivery, &error);
                Ok(CompletedBooking::Parsed(ParsedBooking::Bookings(vec![booking])))
            }
            (_, Err(error)) => Err(error),
        }
    }

    /// Returns the booking system's response and the moment before the request: the earliest moment
    /// at which the response was true.
    async fn request_lookup(
        &self,
        name: &str,
        calendar: &CalendarConfig,
        request: &LookupRequest,
        (secret_name, credential): (&str, &Secret),
    ) -> Result<(LookupResponse, Timestamp), BookingError> {
        let asked_at = self.dispatcher.clock.now();
        // Where an operator stores a valid one.
        let location = self.dispatcher.config.secrets.locate(secret_name).to_string();
        let request_with = async |credential: &Secret| {
            Ok(self.lookup_client.send_request(name, calendar, request, credential, &location).await?)
        };
        let is_refused =
            |error: &BookingError| matches!(error, BookingError::Lookup(SenderApiError::CredentialRefused { .. }));
        let secrets = &self.dispatcher.secrets;
        let response = secrets.retry_with_newer(secret_name, credential, asked_at, is_refused, request_with).await?;
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

/// Until when the lookup of a booking is useful: until the appointment starts if the delivery gives
/// its time, and for two weeks at most.
fn lookup_useful_until(start: Option<Timestamp>, received_at: Timestamp) -> Timestamp {
    let latest = received_at + MAX_WAIT;
    start.map_or(latest, |start| start.min(latest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_is_useful_until_the_appointment_starts_and_for_two_weeks_at_most() {
        let received_at: Timestamp = "2026-11-29T10:00:00Z".parse().unwrap();
        let after = |days: i64| received_at + SignedDuration::from_hours(24 * days);
        for (start, expected) in [(None, 14), (Some(3), 3), (Some(60), 14)] {
            assert_eq!(lookup_useful_until(start.map(after), received_at), after(expected), "{start:?}");
        }
    }
}
