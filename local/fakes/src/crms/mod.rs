//! Fake CRMs: HubSpot, Pipedrive, Zoho CRM, Google Sheets, and an address that takes signed calls.
//!
//! Main types: [`FakeCrms`] are all CRMs of the client, each with its own records. The credential
//! of a call selects the CRM. One file per kind has its responses. `tokens` mints the access tokens
//! of Zoho and Google. [`crate::services`] has what all fakes share and makes them fail.
//!
//! Each request and each response is checked by the vendor's own description. A request that
//! contradicts it gets the vendor's 400 and has no effect. An entry exists twice only if it was
//! written twice. Not imitated: call budgets, scopes, fields and modules that functions do not use.

mod hubspot;
mod pipedrive;
mod records;
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
use tellonce_core::client_config::{CrmKind, GoogleSheetsCrm, WebhookCrm};

use crate::services::{
    DescriptionViolation, FakeReply, FakeRequest, FakeService, FakeServices, FakeStorage, is_path_of,
};

pub use records::{FakeCrmEntry, FakeCrmPerson};

use records::FakeCrmRecords;
use tokens::FakeTokens;

/// Fields that only a person may set: the owner of a contact or a note.
const OWNERS: [&str; 5] = ["hubspot_owner_id", "owner_id", "user_id", "Owner", "owner"];

/// A CRM of the client, with what its fake needs.
#[derive(Debug, Clone)]
pub struct FakeCrmAccount {
    /// The CRM's name in `client.toml`.
    pub name: String,
    /// The API of the CRM.
    pub kind: CrmKind,
    /// Name of the secret with its credential.
    pub secret: String,
}

impl FakeCrmAccount {
    fn service(&self) -> FakeService {
        FakeService::Crm(self.kind.facts().name)
    }

    /// Whether it is an address of the CRM's own, at this path.
    fn is_webhook_at(&self, path: &str) -> bool {
        matches!(&self.kind, CrmKind::Webhook(WebhookCrm { url }) if is_path_of(url, path))
    }
}

/// The fake CRMs of a stack.
#[derive(Debug)]
pub struct FakeCrms {
    accounts: Vec<FakeCrmAccount>,
    /// Names of the client's lines. A reference begins with one of them.
    lines: Vec<String>,
    records: FakeStorage<BTreeMap<String, FakeCrmRecords>>,
    tokens: Mutex<FakeTokens>,
    search_lag_ms: AtomicI64,
    owner_assignments: AtomicU64,
    services: Arc<FakeServices>,
}

impl FakeCrms {
    /// Stores the records in `file`. Without a file they are lost when the stack ends, as tokens
    /// always are.
    pub fn open(
        file: Option<PathBuf>,
        accounts: Vec<FakeCrmAccount>,
        lines: Vec<String>,
        services: Arc<FakeServices>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            accounts,
            lines,
            records: FakeStorage::open(file)?,
            tokens: Mutex::default(),
            search_lag_ms: AtomicI64::new(0),
            owner_assignments: AtomicU64::new(0),
            services,
        })
    }

    /// Names of the client's CRMs, each with its service.
    pub fn names_and_services(&self) -> Vec<(&str, FakeService)> {
        self.accounts.iter().map(|account| (account.name.as_str(), account.service())).collect()
    }

    /// All entries of a CRM, oldest first.
    pub fn entries(&self, crm: &str) -> Vec<FakeCrmEntry> {
        self.records.lock().get(crm).map(|records| records.list_entries(&self.lines)).unwrap_or_default()
    }

    /// How often the records of a CRM changed.
    pub fn change_count(&self) -> u64 {
        self.records.change_count()
    }

    /// All people in a CRM, oldest first.
    pub fn people(&self, crm: &str) -> Vec<FakeCrmPerson> {
        self.records.lock().get(crm).map(|records| records.people.clone()).unwrap_or_default()
    }

    /// Adds a person that every search finds at once. `fields` have the names of the kind:
    /// properties of a `HubSpot` contact, `name` and `phones` of a Pipedrive person, `Last_Name`
    /// and `Mobile` of a Zoho record. Returns the id.
    pub fn put_person(&self, crm: &str, fields: Value) -> anyhow::Result<String> {
        self.records.change(|books| {
            let records = books.entry(crm.to_owned()).or_default();
            records.add_person(fields, i64::MIN).id.clone()
        })
    }

    /// Deletes a person, as a user of the CRM would. The entries of that person stay.
    pub fn remove_person(&self, crm: &str, id: &str) -> anyhow::Result<()> {
        self.records.change(|books| books.entry(crm.to_owned()).or_default().people.retain(|person| person.id != id))
    }

    /// Changes a field of a person, as a user of the CRM would.
    pub fn change_person(&self, crm: &str, id: &str, field: &str, value: &Value) -> anyhow::Result<()> {
        self.records.change(|books| {
            let people = &mut books.entry(crm.to_owned()).or_default().people;
            for person in people.iter_mut().filter(|person| person.id == id) {
                person.fields[field] = value.clone();
            }
        })
    }

    /// Sets for how many milliseconds a search does not find a new person. The default is zero.
    ///
    /// The real HubSpot, Pipedrive and Zoho have such a lag.
    pub fn set_search_lag(&self, ms: i64) {
        self.search_lag_ms.store(ms, Ordering::SeqCst);
    }

    /// How many access tokens Zoho or Google minted for a CRM since the start.
    pub fn minted_token_count(&self, crm: &str) -> usize {
        crate::lock_mutex(&self.tokens).minted_count(crm)
    }

    /// Revokes all access tokens of a CRM. Its credential still gets new ones.
    pub fn revoke_tokens(&self, crm: &str) {
        crate::lock_mutex(&self.tokens).revoke_all(crm);
    }

    /// How many calls set an owner or an assignee. Must stay zero.
    pub fn owner_assignments(&self) -> u64 {
        self.owner_assignments.load(Ordering::SeqCst)
    }

    /// The service of a request, by its method and path.
    fn recognize_service(&self, method: &Method, path: &str) -> Option<FakeService> {
        let steps: Vec<&str> = path.split('/').skip(1).collect();
        match (method, steps.as_slice()) {
            (&Method::POST, ["crm", "v3", "objects", "contacts", ..])
            | (_, ["crm", "v4", ..] | ["crm", "v3", "objects", "communications", ..]) => {
                Some(FakeService::Crm("hubspot"))
            }
            (_, ["api", "v2", "persons", ..] | ["api", "v1", "notes", ..]) => Some(FakeService::Crm("pipedrive")),
            (_, ["oauth", "v2", "token"] | ["crm", "v8", ..]) => Some(FakeService::Crm("zoho")),
            (_, ["token"] | ["v4", "spreadsheets", ..]) => Some(FakeService::Crm("google-sheets")),
            (&Method::POST, _) => {
                self.accounts.iter().any(|account| account.is_webhook_at(path)).then_some(FakeService::Crm("webhook"))
            }
            _ => None,
        }
    }

    fn reply_to_request(
        &self,
        service: FakeService,
        request: &FakeRequest,
        violation: Option<&DescriptionViolation>,
    ) -> FakeReply {
        if names_owner(&request.json_body()) {
            self.owner_assignments.fetch_add(1, Ordering::SeqCst);
        }
        let now_ms = self.services.host().now_ms();
        let found_until = now_ms.saturating_sub(self.search_lag_ms.load(Ordering::SeqCst));
        let refuse_grant = |violation: &DescriptionViolation| {
            FakeReply::json(StatusCode::BAD_REQUEST, &sheets::invalid_grant_body(&violation.to_string()))
        };
        match (service, request.path.as_str()) {
            (FakeService::Crm("zoho"), "/oauth/v2/token") => {
                return violation.map_or_else(|| self.grant_zoho_token(request, now_ms), refuse_grant);
            }
            (FakeService::Crm("google-sheets"), "/token") => {
                return violation.map_or_else(|| self.grant_google_token(request, now_ms), refuse_grant);
            }
            _ => {}
        }
        let Some(crm) = self.find_account(service, request, now_ms) else { return unauthorized_reply(service) };
        if let Some(violation) = violation {
            return refuse_request(service, violation);
        }
        match service {
            FakeService::Crm("hubspot") => self
                .with_records(request, crm, |records| hubspot::reply_to_request(request, records, now_ms, found_until)),
            FakeService::Crm("pipedrive") => self.with_records(request, crm, |records| {
                pipedrive::reply_to_request(request, records, now_ms, found_until)
            }),
            FakeService::Crm("zoho") => {
                self.with_records(request, crm, |records| zoho::reply_to_request(request, records, now_ms, found_until))
            }
            FakeService::Crm("google-sheets") => self.reply_to_sheet_request(request, crm, now_ms),
            _ => self.with_records(request, crm, |records| webhook::reply_to_request(request, records, now_ms)),
        }
    }

    /// The CRM that accepts the credential of a request.
    fn find_account(&self, service: FakeService, request: &FakeRequest, now_ms: i64) -> Option<&FakeCrmAccount> {
        match service {
            FakeService::Crm("hubspot") => self.find_by_secret(service, request.credential("Bearer")),
            FakeService::Crm("pipedrive") => {
                self.find_by_secret(service, request.header("x-api-token").or_else(|| request.credential("Bearer")))
            }
            FakeService::Crm("zoho") => self.find_by_token(service, request.credential("Zoho-oauthtoken"), now_ms),
            FakeService::Crm("google-sheets") => self.find_by_token(service, request.credential("Bearer"), now_ms),
            _ => {
                let mut own = self.accounts.iter().filter(|account| account.is_webhook_at(&request.path));
                own.find(|account| self.services.is_signed_with(request, &account.secret))
            }
        }
    }

    /// The CRM of a kind whose secret has this value. The secret is read for every request.
    fn find_by_secret(&self, service: FakeService, given: Option<&str>) -> Option<&FakeCrmAccount> {
        let mut own = self.accounts.iter().filter(|account| account.service() == service);
        own.find(|account| given.is_some() && self.services.host().secret_value(&account.secret).as_deref() == given)
    }

    fn find_by_token(&self, service: FakeService, given: Option<&str>, now_ms: i64) -> Option<&FakeCrmAccount> {
        let crm = crate::lock_mutex(&self.tokens).find_crm(given?, now_ms)?;
        self.accounts.iter().find(|account| account.service() == service && account.name == crm)
    }

    fn with_records(
        &self,
        request: &FakeRequest,
        crm: &FakeCrmAccount,
        build_reply: impl FnOnce(&mut FakeCrmRecords) -> FakeReply,
    ) -> FakeReply {
        if request.method == Method::GET {
            // A GET changes nothing, so nothing is stored.
            return build_reply(self.records.lock().entry(crm.name.clone()).or_default());
        }
        self.records.change(|records| build_reply(records.entry(crm.name.clone()).or_default())).unwrap_or_else(
            |error| {
                tracing::warn!("{error:#}");
                FakeReply::empty(StatusCode::INTERNAL_SERVER_ERROR)
            },
        )
    }

    /// Responds for the sheet in the path. One service account may write into several sheets, and
    /// its token is valid for all of them.
    fn reply_to_sheet_request(&self, request: &FakeRequest, holder: &FakeCrmAccount, now_ms: i64) -> FakeReply {
        let Some(wanted) = sheets::SheetRequest::from_request(request) else { return sheets::not_found_reply() };
        let credential = self.services.host().secret_value(&holder.secret);
        let mut same =
            self.accounts.iter().filter(|account| self.services.host().secret_value(&account.secret) == credential);
        let is_meant = |account: &&FakeCrmAccount| {
            matches!(&account.kind, CrmKind::GoogleSheets(GoogleSheetsCrm { spreadsheet, sheet })
                if *spreadsheet == wanted.spreadsheet && *sheet == wanted.range.sheet)
        };
        match same.find(is_meant) {
            Some(crm) => self.with_records(request, crm, |records| wanted.reply_to_request(request, records, now_ms)),
            None => sheets::not_found_reply(),
        }
    }

    fn grant_zoho_token(&self, request: &FakeRequest, now_ms: i64) -> FakeReply {
        let mut own = self.accounts.iter().filter(|account| matches!(account.kind, CrmKind::Zoho(_)));
        let Some(crm) = own
            .find(|crm| zoho::matches_credential(request, self.services.host().secret_value(&crm.secret).as_deref()))
        else {
            return FakeReply::json(StatusCode::OK, &zoho::invalid_code_body());
        };
        match crate::lock_mutex(&self.tokens).mint_within_limit(&crm.name, now_ms) {
            Some(token) => FakeReply::json(StatusCode::OK, &zoho::token_body(&token)),
            None => FakeReply::json(StatusCode::BAD_REQUEST, &zoho::too_many_tokens_body()),
        }
    }

    fn grant_google_token(&self, request: &FakeRequest, now_ms: i64) -> FakeReply {
        let accounts = self.accounts.iter().filter(|account| matches!(account.kind, CrmKind::GoogleSheets(_)));
        let mut refusal = "Invalid JWT: no such service account.";
        for crm in accounts {
            match sheets::verify_grant(
                request,
                self.services.host().secret_value(&crm.secret).as_deref(),
                now_ms.div_euclid(1000),
            ) {
                Ok(()) => {
                    let token = crate::lock_mutex(&self.tokens).mint(&crm.name, now_ms);
                    return FakeReply::json(StatusCode::OK, &sheets::token_body(&token));
                }
                Err(reason) => refusal = reason,
            }
        }
        FakeReply::json(StatusCode::BAD_REQUEST, &sheets::invalid_grant_body(refusal))
    }
}

fn unauthorized_reply(service: FakeService) -> FakeReply {
    let body = match service {
        FakeService::Crm("hubspot") => hubspot::unauthorized_body(),
        FakeService::Crm("pipedrive") => pipedrive::unauthorized_body(),
        FakeService::Crm("zoho") => zoho::unauthorized_body(),
        FakeService::Crm("google-sheets") => sheets::unauthorized_body(),
        _ => return FakeReply::empty(StatusCode::UNAUTHORIZED),
    };
    FakeReply::json(StatusCode::UNAUTHORIZED, &body)
}

/// The refusal of a request that contradicts the description, in the vendor's shape.
fn refuse_request(service: FakeService, violation: &DescriptionViolation) -> FakeReply {
    match service {
        FakeService::Crm("hubspot") => hubspot::validation_error(&violation.to_string()),
        FakeService::Crm("pipedrive") => pipedrive::error_reply(StatusCode::BAD_REQUEST, &violation.to_string()),
        FakeService::Crm("zoho") => zoho::refuse_request(violation),
        FakeService::Crm("google-sheets") => sheets::invalid_argument(&violation.to_string()),
        _ => FakeReply::empty(StatusCode::BAD_REQUEST),
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

/// Responds to requests for CRMs and passes on all others.
pub async fn route_crm_requests(State(crms): State<Arc<FakeCrms>>, request: Request, next: Next) -> Response {
    let Some(service) = crms.recognize_service(request.method(), request.uri().path()) else {
        return next.run(request).await;
    };
    let Some(request) = FakeRequest::from_http(request).await else { return StatusCode::BAD_REQUEST.into_response() };
    let build_reply = |violation: Option<&_>| crms.reply_to_request(service, &request, violation);
    crms.services.serve_described(service, &request, build_reply).await
}

#[cfg(test)]
mod tests;
