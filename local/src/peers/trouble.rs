//! What can go wrong with a stand-in, and when it does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::Peer;

/// How one of them fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It answers with this status and no body, and nothing happens.
    Status(u16),
    /// It answers 429 and asks for a second's patience, and nothing happens.
    Throttled,
    /// It takes the request and never answers, and nothing happens.
    Hang,
    /// It does what it was asked for and answers with an empty body.
    Empty,
    /// It does what it was asked for and answers with the first half of the body.
    Half,
    /// It does what it was asked for and ends the connection without an answer.
    DroppedAfter,
    /// It does what it was asked for and answers 500 with no body.
    FailedAfter,
}

impl Trouble {
    /// What a share of failing requests is made of.
    const SHARED: [Self; 4] = [Self::Status(503), Self::Throttled, Self::DroppedAfter, Self::FailedAfter];
}

/// All that is planned.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    next: BTreeMap<Peer, VecDeque<(Trouble, u32)>>,
    shares: BTreeMap<Peer, (f64, StdRng)>,
    hanging: BTreeSet<Peer>,
}

impl Troubles {
    pub(super) fn plan(&mut self, peer: Peer, trouble: Trouble, times: u32) {
        if times > 0 {
            self.next.entry(peer).or_default().push_back((trouble, times));
        }
    }

    pub(super) fn share(&mut self, peer: Peer, probability: f64, seed: u64) {
        self.shares.insert(peer, (probability, StdRng::seed_from_u64(seed)));
    }

    pub(super) fn hang(&mut self, peer: Peer, hangs: bool) {
        if hangs {
            self.hanging.insert(peer);
        } else {
            self.hanging.remove(&peer);
        }
    }

    /// The trouble that the next request meets.
    pub(super) fn draw(&mut self, peer: Peer) -> Option<Trouble> {
        if self.hanging.contains(&peer) {
            return Some(Trouble::Hang);
        }
        if let Some(planned) = self.next.get_mut(&peer)
            && let Some((trouble, left)) = planned.front_mut()
        {
            let trouble = *trouble;
            *left -= 1;
            if *left == 0 {
                planned.pop_front();
            }
            return Some(trouble);
        }
        let (probability, rng) = self.shares.get_mut(&peer)?;
        let strikes = rng.random::<f64>() < *probability;
        strikes.then(|| Trouble::SHARED[rng.random_range(0..Trouble::SHARED.len())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_repeatable_by_its_seed_and_holds_each_of_its_troubles() {
        let row = |seed| {
            let mut troubles = Troubles::default();
            troubles.share(Peer::Zoho, 0.2, seed);
            (0..2000).map(|_| troubles.draw(Peer::Zoho)).collect::<Vec<_>>()
        };
        assert_eq!(row(7), row(7));
        assert_ne!(row(7), row(8));
        let count = |wanted: Option<Trouble>| row(7).into_iter().filter(|one| *one == wanted).count();
        assert!((1500..1700).contains(&count(None)), "{}", count(None));
        for trouble in Trouble::SHARED {
            assert!((60..140).contains(&count(Some(trouble))), "{trouble:?}: {}", count(Some(trouble)));
        }
    }

    #[test]
    fn what_hangs_hangs_until_it_is_told_otherwise_and_the_plan_waits() {
        let mut troubles = Troubles::default();
        troubles.plan(Peer::Slack, Trouble::Throttled, 1);
        troubles.hang(Peer::Slack, true);
        assert_eq!([troubles.draw(Peer::Slack), troubles.draw(Peer::Slack)], [Some(Trouble::Hang); 2]);
        assert_eq!(troubles.draw(Peer::Teams), None);
        troubles.hang(Peer::Slack, false);
        assert_eq!([troubles.draw(Peer::Slack), troubles.draw(Peer::Slack)], [Some(Trouble::Throttled), None]);
    }
}
