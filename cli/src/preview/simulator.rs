//! What the simulators of stores, calendars and forms have in common.

use jiff::Timestamp;

use super::{cases::RecordedDelivery, report::DeliveryPreview};

/// Runs the deliveries of one sender through the function that owns them.
pub(super) trait DeliverySimulator<'a> {
    /// Verifies one delivery, stores it, reads it and applies it.
    fn simulate_delivery(&mut self, case: &'a RecordedDelivery, now: Timestamp) -> DeliveryPreview;

    /// Sends all waiting messages and adds the results to their deliveries.
    fn finish(self, shown: &mut [DeliveryPreview]);
}

/// Simulates every delivery at its time, and all messages that follow.
pub(super) fn simulate_deliveries<'a>(
    mut simulator: impl DeliverySimulator<'a>,
    cases: &'a [RecordedDelivery],
    times: &[Timestamp],
) -> Vec<DeliveryPreview> {
    let mut previews: Vec<DeliveryPreview> =
        cases.iter().zip(times).map(|(case, now)| simulator.simulate_delivery(case, *now)).collect();
    simulator.finish(&mut previews);
    previews
}
