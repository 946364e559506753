//! Stand-ins for the senders of leads that the functions ask: Meta's Graph API and `HubSpot`.
//!
//! The cast: [`Lead`] is what Graph knows, [`Contact`] is what `HubSpot` knows; [`crate::peers`] has what is alike in all of
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

use crate::peers::{Kept, Peer, Peers, Said};

pub use graph::Lead;
pub use hubspot::Contact;

/// The stand-ins of a stack.
#[derive(Debug)]
pub struct Leads {
    known: Kept<Known>,
    peers: Arc<Peers>,
}

/// What was put into the stand-ins.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    leads: BTreeMap<String, Lead>,
    contacts: BTreeMap<String, Contact>,
}

impl Leads {
    /// What is put in is kept in `file`; without one it is gone with the stack.
    pub(crate) fn open(file: Option<PathBuf>, peers: Arc<Peers>) -> anyhow::Result<Self> {
        Ok(Self { known: Kept::open(file)?, peers })
    }

    /// Graph has this lead from now on; one of the same id is replaced.
    pub fn put_lead(&self, lead: Lead) -> anyhow::Result<()> {
        self.known.change(|known| drop(known.leads.insert(lead.id.clone(), lead)))
    }

    /// Graph has never heard of this lead.
    pub fn forget_lead(&self, id: &str) -> anyhow::Result<()> {
        self.known.change(|known| drop(known.leads.remove(id)))
    }

    /// `HubSpot` has this contact from now on; one of the same id is replaced.
    pub fn put_contact(&self, contact: Contact) -> anyhow::Result<()> {
        self.known.change(|known| drop(known.contacts.insert(contact.id.clone(), contact)))
    }

    /// `HubSpot` has never heard of this contact.
    pub fn forget_contact(&self, id: &str) -> anyhow::Result<()> {
        self.known.change(|known| drop(known.contacts.remove(id)))
    }

    /// What Graph has of a lead.
    #[cfg(test)]
    pub(crate) fn known_lead(&self, id: &str) -> Option<Lead> {
        self.known.lock().leads.get(id).cloned()
    }

    /// What `HubSpot` has of a contact.
    #[cfg(test)]
    pub(crate) fn known_contact(&self, id: &str) -> Option<Contact> {
        self.known.lock().contacts.get(id).cloned()
    }

    fn lead(&self, id: &str, fields: Option<&str>) -> Said {
        match self.known.lock().leads.get(id).map(|lead| lead.answer(fields)) {
            Some(Ok(answer)) => Said::json(StatusCode::OK, &answer),
            Some(Err(field)) => Said::json(StatusCode::BAD_REQUEST, &graph::no_such_field(&field)),
            None => Said::json(StatusCode::BAD_REQUEST, &graph::not_there(id)),
        }
    }

    fn contact(&self, id: &str, properties: Option<&str>) -> Said {
        match self.known.lock().contacts.get(id) {
            Some(contact) => Said::json(StatusCode::OK, &contact.answer(properties)),
            None => Said::json(StatusCode::NOT_FOUND, &hubspot::not_found(id)),
        }
    }
}

/// Answers questions for a lead or a contact; lets everything else pass. No routes, because Graph's would be in the way of
/// every other path of two steps.
pub(crate) async fn leads_first(State(leads): State<Arc<Leads>>, request: Request, next: Next) -> Response {
    let steps: Vec<&str> = request.uri().path().split('/').skip(1).collect();
    let (peer, parameter, id) = match (request.method(), steps.as_slice()) {
        (&Method::GET, [version, id]) if is_version(version) => (Peer::Graph, "fields", (*id).to_owned()),
        (&Method::GET, ["crm", "v3", "objects", "contacts", id]) => (Peer::HubSpot, "properties", (*id).to_owned()),
        _ => return next.run(request).await,
    };
    let query = url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    let wanted = query.into_iter().find_map(|(name, value)| (name == parameter).then(|| value.into_owned()));
    let known = leads.peers.knows(peer, request.headers());
    let right = || match (peer, known) {
        (Peer::Graph, true) => leads.lead(&id, wanted.as_deref()),
        (Peer::Graph, false) => Said::json(StatusCode::BAD_REQUEST, &graph::unauthorized()),
        (_, true) => leads.contact(&id, wanted.as_deref()),
        (_, false) => Said::json(StatusCode::UNAUTHORIZED, &hubspot::unauthorized()),
    };
    leads.peers.answer(peer, right).await
}

/// `v26.0`.
fn is_version(step: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    step.strip_prefix('v')
        .and_then(|version| version.split_once('.'))
        .is_some_and(|(major, minor)| number(major) && number(minor))
}

#[cfg(test)]
mod tests;
