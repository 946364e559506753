//! Stand-ins for the senders of leads that the functions ask: Meta's Graph API and `HubSpotClient`.
//!
//! The cast: [`FakeMetaLead`] is what Graph knows, [`FakeHubspotContact`] is what `HubSpotClient` knows; [`crate::peers`] has what is alike in all of
//! the stand-ins.
//!
//! Promises answers and refusals of the shapes that the real ones document, with no more in them than was asked for. Any
//! version of the Graph API is the same here. Not imitated: which Page a lead is of, limits of rate, and everything nobody
//! here asks for.
//!
//! Shapes: <https://developers.facebook.com/docs/marketing-api/guides/lead-ads/retrieving>,
//! <https://developers.facebook.com/docs/graph-api/guides/error-handling>,
//! <https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/guide>.

mod graph;
mod hubspot;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::services::{FakeReply, FakeService, FakeServices, FakeStorage};

pub use graph::FakeMetaLead;
pub use hubspot::FakeHubspotContact;

/// The stand-ins of a stack.
#[derive(Debug)]
pub struct FakeLeadApis {
    storage: FakeStorage<LeadApiState>,
    services: Arc<FakeServices>,
}

/// What was put into the stand-ins.
#[derive(Debug, Default, Serialize, Deserialize)]
struct LeadApiState {
    leads: BTreeMap<String, FakeMetaLead>,
    contacts: BTreeMap<String, FakeHubspotContact>,
}

impl FakeLeadApis {
    /// What is put in is kept in `file_delivery`; without one it is gone with the stack.
    pub fn open(file: Option<PathBuf>, services: Arc<FakeServices>) -> anyhow::Result<Self> {
        Ok(Self { storage: FakeStorage::open(file)?, services })
    }

    /// Graph has this lead from now on; one of the same id is replaced.
    pub fn put_lead(&self, lead: FakeMetaLead) -> anyhow::Result<()> {
        self.storage.change(|known| drop(known.leads.insert(lead.id.clone(), lead)))
    }

    /// Graph has never heard of this lead.
    pub fn forget_lead(&self, id: &str) -> anyhow::Result<()> {
        self.storage.change(|known| drop(known.leads.remove(id)))
    }

    /// `HubSpotClient` has this contact from now on; one of the same id is replaced.
    pub fn put_contact(&self, contact: FakeHubspotContact) -> anyhow::Result<()> {
        self.storage.change(|known| drop(known.contacts.insert(contact.id.clone(), contact)))
    }

    /// `HubSpotClient` has never heard of this contact.
    pub fn forget_contact(&self, id: &str) -> anyhow::Result<()> {
        self.storage.change(|known| drop(known.contacts.remove(id)))
    }

    /// What Graph has of a lead.
    pub fn find_lead(&self, id: &str) -> Option<FakeMetaLead> {
        self.storage.lock().leads.get(id).cloned()
    }

    /// What `HubSpotClient` has of a contact.
    pub fn find_contact(&self, id: &str) -> Option<FakeHubspotContact> {
        self.storage.lock().contacts.get(id).cloned()
    }

    fn reply_with_lead(&self, id: &str, fields: Option<&str>) -> FakeReply {
        match self.storage.lock().leads.get(id).map(|lead| lead.response_body(fields)) {
            Some(Ok(answer)) => FakeReply::json(StatusCode::OK, &answer),
            Some(Err(field)) => FakeReply::json(StatusCode::BAD_REQUEST, &graph::unknown_field_body(&field)),
            None => FakeReply::json(StatusCode::BAD_REQUEST, &graph::not_found_body(id)),
        }
    }

    fn reply_with_contact(&self, id: &str, properties: Option<&str>) -> FakeReply {
        match self.storage.lock().contacts.get(id) {
            Some(contact) => FakeReply::json(StatusCode::OK, &contact.response_body(properties)),
            None => FakeReply::json(StatusCode::NOT_FOUND, &hubspot::not_found_body(id)),
        }
    }
}

/// Answers questions for a lead or a contact; lets everything else pass. No routes, because Graph's would be in the way of
/// every other path of two steps.
pub async fn route_lead_requests(State(leads): State<Arc<FakeLeadApis>>, request: Request, next: Next) -> Response {
    let segments: Vec<&str> = request.uri().path().split('/').skip(1).collect();
    let (service, parameter, id) = match (request.method(), segments.as_slice()) {
        (&Method::GET, [version, id]) if is_graph_version(version) => (FakeService::Graph, "fields", (*id).to_owned()),
        (&Method::GET, ["crm", "v3", "objects", "contacts", id]) => {
            (FakeService::HubSpot, "properties", (*id).to_owned())
        }
        _ => return next.run(request).await,
    };
    let query = url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    let wanted = query.into_iter().find_map(|(name, value)| (name == parameter).then(|| value.into_owned()));
    let is_authorized = leads.services.is_authorized(service, request.headers());
    let build_reply = || match (service, is_authorized) {
        (FakeService::Graph, true) => leads.reply_with_lead(&id, wanted.as_deref()),
        (FakeService::Graph, false) => FakeReply::json(StatusCode::BAD_REQUEST, &graph::unauthorized_body()),
        (_, true) => leads.reply_with_contact(&id, wanted.as_deref()),
        (_, false) => FakeReply::json(StatusCode::UNAUTHORIZED, &hubspot::unauthorized_body()),
    };
    leads.services.serve_reply(service, build_reply).await
}

/// `v26.0`.
fn is_graph_version(step: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    step.strip_prefix('v')
        .and_then(|version| version.split_once('.'))
        .is_some_and(|(major, minor)| number(major) && number(minor))
}

#[cfg(test)]
mod tests;
