//! Faults of a fake service, and which requests they hit.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::FakeService;

/// How a fake service fails a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FakeFault {
    /// This status without a body and without an effect.
    Status(u16),
    /// 429 with `Retry-After`, without an effect.
    Throttled,
    /// No response and no effect; the connection stays open.
    Hang,
    /// The effect, then a response with an empty body.
    EmptyBody,
    /// The effect, then a response with the first half of the body.
    HalfBody,
    /// The effect, then the connection ends without a response.
    DroppedAfter,
    /// The effect, then 500 without a body.
    FailedAfter,
}

impl FakeFault {
    /// The faults of a failing share.
    const SHARE_FAULTS: [Self; 4] = [Self::Status(503), Self::Throttled, Self::DroppedAfter, Self::FailedAfter];
}

/// The planned faults.
#[derive(Debug, Default)]
pub(super) struct FakeFaults {
    /// No fault: the request gets through.
    next: BTreeMap<FakeService, VecDeque<(Option<FakeFault>, u32)>>,
    shares: BTreeMap<FakeService, (f64, StdRng)>,
    hanging: BTreeSet<FakeService>,
    delays: BTreeMap<FakeService, Duration>,
}

impl FakeFaults {
    pub(super) fn plan_faults(&mut self, service: FakeService, fault: Option<FakeFault>, times: u32) {
        if times > 0 {
            self.next.entry(service).or_default().push_back((fault, times));
        }
    }

    pub(super) fn set_share(&mut self, service: FakeService, probability: f64, seed: u64) {
        self.shares.insert(service, (probability, StdRng::seed_from_u64(seed)));
    }

    pub(super) fn set_hanging(&mut self, service: FakeService, hangs: bool) {
        if hangs {
            self.hanging.insert(service);
        } else {
            self.hanging.remove(&service);
        }
    }

    pub(super) fn set_delay(&mut self, service: FakeService, delay: Duration) {
        self.delays.insert(service, delay);
    }

    pub(super) fn delay(&self, service: FakeService) -> Duration {
        self.delays.get(&service).copied().unwrap_or_default()
    }

    /// The fault of the next request.
    pub(super) fn draw_fault(&mut self, service: FakeService) -> Option<FakeFault> {
        if self.hanging.contains(&service) {
            return Some(FakeFault::Hang);
        }
        if let Some(planned) = self.next.get_mut(&service)
            && let Some((fault, left)) = planned.front_mut()
        {
            let fault = *fault;
            *left -= 1;
            if *left == 0 {
                planned.pop_front();
            }
            return fault;
        }
        let (probability, rng) = self.shares.get_mut(&service)?;
        let strikes = rng.random::<f64>() < *probability;
        strikes.then(|| FakeFault::SHARE_FAULTS[rng.random_range(0..FakeFault::SHARE_FAULTS.len())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_repeatable_by_its_seed_and_contains_each_fault() {
        let row = |seed| {
            let mut faults = FakeFaults::default();
            faults.set_share(FakeService::Crm("zoho"), 0.2, seed);
            (0..2000).map(|_| faults.draw_fault(FakeService::Crm("zoho"))).collect::<Vec<_>>()
        };
        assert_eq!(row(7), row(7));
        assert_ne!(row(7), row(8));
        let count = |wanted: Option<FakeFault>| row(7).into_iter().filter(|one| *one == wanted).count();
        assert!((1500..1700).contains(&count(None)), "{}", count(None));
        for fault in FakeFault::SHARE_FAULTS {
            assert!((60..140).contains(&count(Some(fault))), "{fault:?}: {}", count(Some(fault)));
        }
    }

    #[test]
    fn a_service_hangs_until_released_and_its_planned_faults_wait() {
        let mut faults = FakeFaults::default();
        faults.plan_faults(FakeService::Target("slack"), None, 1);
        faults.plan_faults(FakeService::Target("slack"), Some(FakeFault::Throttled), 1);
        faults.set_hanging(FakeService::Target("slack"), true);
        assert_eq!(
            [faults.draw_fault(FakeService::Target("slack")), faults.draw_fault(FakeService::Target("slack"))],
            [Some(FakeFault::Hang); 2]
        );
        assert_eq!(faults.draw_fault(FakeService::Target("teams")), None);
        faults.set_hanging(FakeService::Target("slack"), false);
        let drawn = [(); 3].map(|()| faults.draw_fault(FakeService::Target("slack")));
        assert_eq!(drawn, [None, Some(FakeFault::Throttled), None]);
    }
}
