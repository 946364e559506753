//! The fakes of the APIs that functions call, and their place before the gateway.

use std::sync::Arc;

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
};

use tellonce_fakes::{
    FakeHost,
    calendars::{self, FakeCalendars},
    crms::{self, FakeCrms},
    leads::{self, FakeLeadApis},
    services::{self, FakeServices},
    team::{self, FakeTeam},
};

use super::{client::StackClient, options::StackOptions};
use crate::{clock::LocalClock, secrets::FakeSecretsManager, state::StateFolder};

/// Gives the fakes the clock and the secrets of the stack.
#[derive(Debug)]
struct StackHost {
    secrets: Arc<FakeSecretsManager>,
    clock: Arc<LocalClock>,
}

impl FakeHost for StackHost {
    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    fn secret_value(&self, name: &str) -> Option<String> {
        self.secrets.current_value(name)
    }
}

/// The fakes of a stack, except the provider's.
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
        let host = Arc::new(StackHost { secrets: secrets.clone(), clock: clock.clone() });
        let services = Arc::new(FakeServices::new(client.api_accounts(), host));
        let feeds = options.client.join("feeds");
        let lines = client.lines.keys().cloned().collect();
        let file = |name: &str| state.persistent_path(name);
        Ok(Self {
            calendars: Arc::new(FakeCalendars::open(feeds, file("calendars.json"), services.clone())?),
            leads: Arc::new(FakeLeadApis::open(file("leads.json"), services.clone())?),
            crms: Arc::new(FakeCrms::open(
                file("crms.json"),
                client.crm_accounts(&options.real_systems),
                lines,
                services.clone(),
            )?),
            team: Arc::new(FakeTeam::open(
                file("alerts.json"),
                client.team_accounts(&options.real_systems),
                services.clone(),
            )?),
            services,
        })
    }

    /// The fakes answer first. A request for none of them goes on to `rest`.
    pub(super) fn layer_before(&self, rest: Router) -> Router {
        rest.layer(from_fn_with_state(self.calendars.clone(), calendars::route_feed_requests))
            .layer(from_fn_with_state(self.leads.clone(), leads::route_lead_requests))
            .layer(from_fn_with_state(self.crms.clone(), crms::route_crm_requests))
            .layer(from_fn_with_state(self.team.clone(), team::route_team_requests))
            .layer(from_fn(services::abort_dropped_replies))
    }
}
