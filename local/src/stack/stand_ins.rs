//! The stand-ins for other people's APIs, and their place before the gateway.

use std::sync::Arc;

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
};

use super::{client::Client, options::Options};
use crate::{
    calendars::{self, Calendars},
    clock::Clock,
    crms::{self, Crms},
    leads::{self, Leads},
    peers::{self, Peers},
    secrets::Secrets,
    state::State,
    team::{self, Team},
};

/// All stand-ins of a stack.
#[derive(Debug)]
pub(super) struct StandIns {
    pub(super) peers: Arc<Peers>,
    pub(super) calendars: Arc<Calendars>,
    pub(super) leads: Arc<Leads>,
    pub(super) crms: Arc<Crms>,
    pub(super) team: Arc<Team>,
}

impl StandIns {
    pub(super) fn open(
        options: &Options,
        state: &State,
        client: &Client,
        secrets: &Arc<Secrets>,
        clock: &Arc<Clock>,
    ) -> anyhow::Result<Self> {
        let peers = Arc::new(Peers::new(client.accounts(), secrets.clone()));
        let feeds = options.client.join("feeds");
        let around = || (peers.clone(), secrets.clone(), clock.clone());
        let lines = client.lines.keys().cloned().collect();
        Ok(Self {
            calendars: Arc::new(Calendars::open(feeds, state.kept("calendars.json"), peers.clone())?),
            leads: Arc::new(Leads::open(state.kept("leads.json"), peers.clone())?),
            crms: Arc::new(Crms::open(state.kept("crms.json"), client.crms(), lines, around())?),
            team: Arc::new(Team::open(state.kept("notices.json"), client.targets(), around())?),
            peers,
        })
    }

    /// They answer first; what is for none of them goes on to `rest`.
    pub(super) fn before(&self, rest: Router) -> Router {
        rest.layer(from_fn_with_state(self.calendars.clone(), calendars::feeds_first))
            .layer(from_fn_with_state(self.leads.clone(), leads::leads_first))
            .layer(from_fn_with_state(self.crms.clone(), crms::crms_first))
            .layer(from_fn_with_state(self.team.clone(), team::team_first))
            .layer(from_fn(peers::break_off))
    }
}
