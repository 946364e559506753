//! Fakes of the senders of leads that functions call: Meta's Graph API and HubSpot.
//!
//! Main types: [`FakeMetaLead`] is a lead of Graph, [`FakeHubspotContact`] a contact of HubSpot.
//! [`crate::services`] has what all fakes share and makes them fail.
//!
//! Responses and refusals have the documented shapes of the real services, with the requested
//! fields only. All versions of the Graph API are the same here. Not imitated: the Page of a lead,
//! rate limits, and everything that functions do not use.
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

/// The fake senders of leads of a stack.
#[derive(Debug)]
pub struct FakeLeadApis {
    storage: FakeStorage<LeadApiState>,
    services: Arc<FakeServices>,
}

/// The records of the fakes.
#[derive(Debug, Default, Serialize, Deserialize)]
struct LeadApiState {
    leads: BTreeMap<String, FakeMetaLead>,
    contacts: BTreeMap<String, FakeHubspotContact>,
}

impl FakeLeadApis {
    /// Stores the records in `file`. Without a file they are lost when the stack ends.
    pub fn open(file: Option<PathBuf>, services: Arc<FakeServices>) -> anyhow::Result<Self> {
        Ok(Self { storage: FakeStorage::open(file)?, services })
    }

    /// Adds a lead to Graph, or replaces the one with the same id.
    pub fn put_lead(&self, lead: FakeMetaLead) -> anyhow::Result<()> {
        self.storage.change(|known| drop(known.leads.insert(lead.id.clone(), lead)))
    }

    /// Removes a lead from Graph.
    pub fn forget_lead(&self, id: &str) -> anyhow::Result<()> {
        self.storage.change(|known| drop(known.leads.remove(id)))
    }

    /// Adds a contact to HubSpot, or replaces the one with the same id.
    pub fn put_contact(&self, contact: FakeHubspotContact) -> anyhow::Result<()> {
        self.storage.change(|known| drop(known.contacts.insert(contact.id.clone(), contact)))
    }

    /// Removes a contact from HubSpot.
    pub fn forget_contact(&self, id: &str) -> anyhow::Result<()> {
        self.storage.change(|known| drop(known.contacts.remove(id)))
    }

    /// A lead in Graph.
    pub fn find_lead(&self, id: &str) -> Option<FakeMetaLead> {
        self.storage.lock().leads.get(id).cloned()
    }

    /// A contact in HubSpot.
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

/// Responds to requests for a lead or a contact and passes on all others.
///
/// It is not a route, because Graph's route would match every other path of two segments.
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

/// Whether a path segment is a version like `v26.0`.
fn is_graph_version(step: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    step.strip_prefix('v')
        .and_then(|version| version.split_once('.'))
        .is_some_and(|(major, minor)| number(major) && number(minor))
}

#[cfg(test)]
mod tests;
