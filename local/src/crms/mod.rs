//! Stand-ins for CRMs: `HubSpot`, Pipedrive, Zoho CRM, Google Sheets, and an address that takes signed calls.
//!
//! The cast: [`Crms`] are all CRMs of the client, each with a book of its own; whoever asks proves by his credential which one he
//! means. A file each knows what one kind answers; `tokens` mints what Zoho and Google want to see instead of a
//! credential. [`crate::peers`] has what is alike in all stand-ins, and makes them fail.
//!
//! Promises answers and refusals of the shapes that the real ones document, and that nothing is in a book twice unless it was
//! written twice. Not imitated: budgets of calls, scopes, fields and modules that nobody here asks for.

mod book;
mod hubspot;
mod pipedrive;
mod sheets;
mod tokens;
mod webhook;
mod zoho;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{Method, StatusCode};
use serde_json::Value;

use crate::{
    clock::Clock,
    peers::{Asked, Kept, Peer, Peers, Said},
    secrets::Secrets,
};

pub use book::{Entry, Person};

use book::Book;
use tokens::Tokens;

/// What nobody but a human may set: who a contact or a note belongs to.
const OWNERS: [&str; 5] = ["hubspot_owner_id", "owner_id", "user_id", "Owner", "owner"];

/// A CRM of the client, as far as its stand-in has to know it.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// Its name in `client.toml`.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Name of the secret with its credential.
    pub(crate) secret: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    HubSpot,
    Pipedrive,
    Zoho,
    Sheets {
        spreadsheet: String,
        sheet: String,
    },
    Webhook {
        /// The path of its address.
        path: String,
    },
}

impl Kind {
    fn peer(&self) -> Peer {
        match self {
            Self::HubSpot => Peer::HubSpotCrm,
            Self::Pipedrive => Peer::Pipedrive,
            Self::Zoho => Peer::Zoho,
            Self::Sheets { .. } => Peer::Sheets,
            Self::Webhook { .. } => Peer::CrmWebhook,
        }
    }
}

/// The stand-ins of a stack.
#[derive(Debug)]
pub struct Crms {
    accounts: Vec<Account>,
    /// Names of the client's lines, with which references begin.
    lines: Vec<String>,
    books: Kept<BTreeMap<String, Book>>,
    tokens: Mutex<Tokens>,
    search_lag_ms: AtomicI64,
    owners_set: AtomicU64,
    peers: Arc<Peers>,
    secrets: Arc<Secrets>,
    clock: Arc<Clock>,
}

impl Crms {
    /// What is written is kept in `file`; without one it is gone with the stack. Tokens always are.
    pub(crate) fn open(
        file: Option<PathBuf>,
        accounts: Vec<Account>,
        lines: Vec<String>,
        (peers, secrets, clock): (Arc<Peers>, Arc<Secrets>, Arc<Clock>),
    ) -> anyhow::Result<Self> {
        Ok(Self {
            accounts,
            lines,
            books: Kept::open(file)?,
            tokens: Mutex::default(),
            search_lag_ms: AtomicI64::new(0),
            owners_set: AtomicU64::new(0),
            peers,
            secrets,
            clock,
        })
    }

    /// Names of the client's CRMs, each with the peer that answers for it.
    pub fn names(&self) -> Vec<(&str, Peer)> {
        self.accounts.iter().map(|account| (account.name.as_str(), account.kind.peer())).collect()
    }

    /// Everything that was written into a CRM, oldest first.
    pub fn entries(&self, crm: &str) -> Vec<Entry> {
        self.books.lock().get(crm).map(|book| book.entries(&self.lines)).unwrap_or_default()
    }

    /// The people that a CRM knows, oldest first.
    pub fn people(&self, crm: &str) -> Vec<Person> {
        self.books.lock().get(crm).map(|book| book.people.clone()).unwrap_or_default()
    }

    /// Somebody whom a CRM knew before, found at once by every search. `fields` are as the kind has them: properties of a
    /// `HubSpot` contact, `name` and `phones` of a Pipedrive person, `Last_Name` and `Mobile` of a Zoho record. Returns the id.
    pub fn put_person(&self, crm: &str, fields: Value) -> anyhow::Result<String> {
        self.books.change(|books| {
            let book = books.entry(crm.to_owned()).or_default();
            book.add_person(fields, i64::MIN).id.clone()
        })
    }

    /// Somebody deletes a person by hand. What was written about them stays where it is.
    pub fn remove_person(&self, crm: &str, id: &str) -> anyhow::Result<()> {
        self.books.change(|books| books.entry(crm.to_owned()).or_default().people.retain(|person| person.id != id))
    }

    /// Empties a CRM.
    pub fn clear(&self, crm: &str) -> anyhow::Result<()> {
        self.books.change(|books| drop(books.remove(crm)))
    }

    /// For so many milliseconds whoever is made is not found by a search, as in the real `HubSpot` and Pipedrive. Zero at first.
    pub fn set_search_lag(&self, ms: i64) {
        self.search_lag_ms.store(ms, Ordering::SeqCst);
    }

    /// How many access tokens Zoho or Google have minted for a CRM since the start.
    pub fn tokens(&self, crm: &str) -> usize {
        crate::lock(&self.tokens).minted(crm)
    }

    /// Somebody takes back all access tokens of a CRM; its credential can be traded for new ones.
    pub fn revoke_tokens(&self, crm: &str) {
        crate::lock(&self.tokens).revoke(crm);
    }

    /// How many calls named an owner or an assignee. Must stay zero.
    pub fn owners_set(&self) -> u64 {
        self.owners_set.load(Ordering::SeqCst)
    }

    /// Whom a request is for, by its method and path.
    fn recognise(&self, method: &Method, path: &str) -> Option<Peer> {
        let steps: Vec<&str> = path.split('/').skip(1).collect();
        match (method, steps.as_slice()) {
            (&Method::POST, ["crm", "v3", "objects", "contacts", ..])
            | (_, ["crm", "v4", ..] | ["crm", "v3", "objects", "communications", ..]) => Some(Peer::HubSpotCrm),
            (_, ["api", "v2", "persons", ..] | ["api", "v1", "notes", ..]) => Some(Peer::Pipedrive),
            (_, ["oauth", "v2", "token"] | ["crm", "v8", ..]) => Some(Peer::Zoho),
            (_, ["token"] | ["v4", "spreadsheets", ..]) => Some(Peer::Sheets),
            (&Method::POST, _) => {
                let is_here = |account: &Account| matches!(&account.kind, Kind::Webhook { path: own } if own == path);
                self.accounts.iter().any(is_here).then_some(Peer::CrmWebhook)
            }
            _ => None,
        }
    }

    fn said(&self, peer: Peer, asked: &Asked) -> Said {
        if names_owner(&asked.json()) {
            self.owners_set.fetch_add(1, Ordering::SeqCst);
        }
        let now_ms = self.clock.now_ms();
        let found_until = now_ms.saturating_sub(self.search_lag_ms.load(Ordering::SeqCst));
        match peer {
            Peer::HubSpotCrm => match self.by_secret(&Kind::HubSpot, asked.credential("Bearer")) {
                Some(crm) => self.with(asked, crm, |book| hubspot::said(asked, book, now_ms, found_until)),
                None => Said::json(StatusCode::UNAUTHORIZED, &hubspot::unauthorized()),
            },
            Peer::Pipedrive => {
                let given = asked.header("x-api-token").or_else(|| asked.credential("Bearer"));
                match self.by_secret(&Kind::Pipedrive, given) {
                    Some(crm) => self.with(asked, crm, |book| pipedrive::said(asked, book, now_ms, found_until)),
                    None => Said::json(StatusCode::UNAUTHORIZED, &pipedrive::unauthorized()),
                }
            }
            Peer::Zoho if asked.path == "/oauth/v2/token" => self.zoho_token(asked, now_ms),
            Peer::Zoho => match self.by_token(Peer::Zoho, asked.credential("Zoho-oauthtoken"), now_ms) {
                Some(crm) => self.with(asked, crm, |book| zoho::said(asked, book, now_ms)),
                None => Said::json(StatusCode::UNAUTHORIZED, &zoho::unauthorized()),
            },
            Peer::Sheets if asked.path == "/token" => self.google_token(asked, now_ms),
            Peer::Sheets => match self.by_token(Peer::Sheets, asked.credential("Bearer"), now_ms) {
                Some(holder) => self.sheet(asked, holder, now_ms),
                None => Said::json(StatusCode::UNAUTHORIZED, &sheets::unauthorized()),
            },
            _ => {
                let signed = |secret: &str| crate::peers::is_signed(asked, secret, now_ms.div_euclid(1000));
                let mut own = self
                    .accounts
                    .iter()
                    .filter(|account| matches!(&account.kind, Kind::Webhook { path } if *path == asked.path));
                match own.find(|account| self.secrets.current(&account.secret).is_some_and(|secret| signed(&secret))) {
                    Some(crm) => self.with(asked, crm, |book| webhook::said(asked, book, now_ms)),
                    None => Said::empty(StatusCode::UNAUTHORIZED),
                }
            }
        }
    }

    /// The CRM of a kind whose secret is this value: looked up anew each time, so that a rotated secret counts at once.
    fn by_secret(&self, kind: &Kind, given: Option<&str>) -> Option<&Account> {
        let mut own = self.accounts.iter().filter(|account| account.kind == *kind);
        own.find(|account| given.is_some() && self.secrets.current(&account.secret).as_deref() == given)
    }

    fn by_token(&self, peer: Peer, given: Option<&str>, now_ms: i64) -> Option<&Account> {
        let crm = crate::lock(&self.tokens).crm_of(given?, now_ms)?;
        self.accounts.iter().find(|account| account.kind.peer() == peer && account.name == crm)
    }

    fn with(&self, asked: &Asked, crm: &Account, say: impl FnOnce(&mut Book) -> Said) -> Said {
        if asked.method == Method::GET {
            // Nothing to keep.
            return say(self.books.lock().entry(crm.name.clone()).or_default());
        }
        self.books.change(|books| say(books.entry(crm.name.clone()).or_default())).unwrap_or_else(|error| {
            tracing::warn!("{error:#}");
            Said::empty(StatusCode::INTERNAL_SERVER_ERROR)
        })
    }

    /// One service account may write into several sheets, and a token is the account's.
    fn sheet(&self, asked: &Asked, holder: &Account, now_ms: i64) -> Said {
        let Some(wanted) = sheets::Wanted::of(asked) else { return sheets::missing() };
        let credential = self.secrets.current(&holder.secret);
        let mut same = self.accounts.iter().filter(|account| self.secrets.current(&account.secret) == credential);
        let is_meant = |account: &&Account| {
            matches!(&account.kind, Kind::Sheets { spreadsheet, sheet }
                if *spreadsheet == wanted.spreadsheet && *sheet == wanted.range.sheet)
        };
        match same.find(is_meant) {
            Some(crm) => self.with(asked, crm, |book| wanted.said(asked, book, now_ms)),
            None => sheets::missing(),
        }
    }

    fn zoho_token(&self, asked: &Asked, now_ms: i64) -> Said {
        let mut own = self.accounts.iter().filter(|account| account.kind == Kind::Zoho);
        let Some(crm) = own.find(|crm| zoho::owns(asked, self.secrets.current(&crm.secret).as_deref())) else {
            return Said::json(StatusCode::OK, &zoho::invalid_code());
        };
        match crate::lock(&self.tokens).mint_within_limit(&crm.name, now_ms) {
            Some(token) => Said::json(StatusCode::OK, &zoho::token(&token)),
            None => Said::json(StatusCode::BAD_REQUEST, &zoho::too_many_tokens()),
        }
    }

    fn google_token(&self, asked: &Asked, now_ms: i64) -> Said {
        let accounts = self.accounts.iter().filter(|account| matches!(account.kind, Kind::Sheets { .. }));
        let mut refusal = "Invalid JWT: no such service account.";
        for crm in accounts {
            match sheets::grant(asked, self.secrets.current(&crm.secret).as_deref(), now_ms.div_euclid(1000)) {
                Ok(()) => {
                    let token = crate::lock(&self.tokens).mint(&crm.name, now_ms);
                    return Said::json(StatusCode::OK, &sheets::token(&token));
                }
                Err(reason) => refusal = reason,
            }
        }
        Said::json(StatusCode::BAD_REQUEST, &sheets::invalid_grant(refusal))
    }
}

fn names_owner(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            fields.iter().any(|(name, value)| OWNERS.contains(&name.as_str()) || names_owner(value))
        }
        Value::Array(items) => items.iter().any(names_owner),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Answers what is for a CRM; lets everything else pass.
pub(crate) async fn crms_first(State(crms): State<Arc<Crms>>, request: Request, next: Next) -> Response {
    let Some(peer) = crms.recognise(request.method(), request.uri().path()) else { return next.run(request).await };
    let Some(asked) = Asked::read(request).await else { return StatusCode::BAD_REQUEST.into_response() };
    crms.peers.answer(peer, || crms.said(peer, &asked)).await
}

#[cfg(test)]
mod tests;
