//! The stand-ins for other people's APIs, and their place before the gateway.

use std::sync::Arc;

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
};

use super::{client::StackClient, options::StackOptions};
use crate::{
    calendars::{self, FakeCalendars},
    clock::LocalClock,
    crms::{self, FakeCrms},
    fakes::{self, FakeServices},
    leads::{self, FakeLeadApis},
    secrets::FakeSecretsManager,
    state::StateFolder,
    team::{self, FakeTeam},
};

/// All stand-ins of a stack.
#[derive(Debug)]
pub(super) struct StackFakes {
    pub(super) services: Arc<FakeServices>,
    pub(super) calendars: Arc<FakeCalendars>,
    pub(super) leads: Arc<FakeLeadApis>,
    pub(super) crms: Arc<FakeCrms>,
    pub(super) team: Arc<FakeTeam>,
}

impl StackFakes {
    pub(super) fn open(
        options: &StackOptions,
        state: &StateFolder,
        client: &StackClient,
        secrets: &Arc<FakeSecretsManager>,
        clock: &Arc<LocalClock>,
    ) -> anyhow::Result<Self> {
        let peers = Arc::new(FakeServices::new(client.api_accounts(), secrets.clone()));
        let feeds = options.client.join("feeds");
        let around = || (peers.clone(), secrets.clone(), clock.clone());
        let lines = client.lines.keys().cloned().collect();
        Ok(Self {
            calendars: Arc::new(FakeCalendars::open(feeds, state.persistent_path("calendars.json"), peers.clone())?),
            leads: Arc::new(FakeLeadApis::open(state.persistent_path("leads.json"), peers.clone())?),
            crms: Arc::new(FakeCrms::open(state.persistent_path("crms.json"), client.crm_accounts(), lines, around())?),
            team: Arc::new(FakeTeam::open(state.persistent_path("notices.json"), client.team_accounts(), around())?),
            services: peers,
        })
    }

    /// They answer first; what is for none of them goes on to `rest`.
    pub(super) fn layer_before(&self, rest: Router) -> Router {
        rest.layer(from_fn_with_state(self.calendars.clone(), calendars::route_feed_requests))
            .layer(from_fn_with_state(self.leads.clone(), leads::route_lead_requests))
            .layer(from_fn_with_state(self.crms.clone(), crms::route_crm_requests))
            .layer(from_fn_with_state(self.team.clone(), team::route_team_requests))
            .layer(from_fn(fakes::abort_dropped_replies))
    }
}
