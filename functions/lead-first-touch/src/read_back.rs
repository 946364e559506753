//! Reading back: Meta and `HubSpot` report that there is a lead and keep the rest for who asks.
//!
//! [`question`] is what is asked: Meta's Graph API for the lead, `HubSpot` for the contact. [`LeadApi::ask`] carries it. What
//! the answer means is read elsewhere.
//!
//! The Page's token needs `leads_retrieval`, `pages_show_list`, `pages_read_engagement` and `ads_management`, the private
//! app's `crm.objects.contacts.read`.

use serde::Deserialize;
use shared::{
    client_config::{ConsentRule, Form, FormFields, FormKind},
    json::{self, Raw},
    read_back::{self, Answer, Numbers, ReadBackError},
    secret::Secret,
};
use url::Url;

use crate::lead::Reference;

/// Where Meta's Graph API is.
const GRAPH: &str = "https://graph.facebook.com";
/// The version of the Graph API that we read, of 2026-07-29. A version stays until two years after the next one came; calls
/// without one get the oldest. (<https://developers.facebook.com/docs/graph-api/changelog/versions/>)
const GRAPH_VERSION: &str = "v26.0";
/// What we read of a lead. Without a list Graph leaves most of it out.
/// (<https://developers.facebook.com/docs/marketing-api/guides/lead-ads/retrieving>)
const LEAD_FIELDS: &str = "created_time,id,ad_id,form_id,platform,is_organic,field_data,custom_disclaimer_responses";

/// Where `HubSpot`'s API is.
const HUBSPOT: &str = "https://api.hubapi.com";
/// What we read of every contact. What an account does not have is left out of the answer, and no error.
const CONTACT_PROPERTIES: [&str; 11] = [
    "phone",
    "mobilephone",
    "hs_whatsapp_phone_number",
    "firstname",
    "lastname",
    "email",
    "country",
    "hs_country_region_code",
    "hs_language",
    "hs_object_source",
    "createdate",
];

/// Asks the senders of leads.
#[derive(Debug, Clone)]
pub struct LeadApi {
    http: reqwest::Client,
    base_url: Option<String>,
}

impl LeadApi {
    /// Over the function's HTTP client. `base_url` stands in for the origins of the senders, for local runs and tests.
    pub fn new(http: reqwest::Client, base_url: Option<String>) -> Self {
        Self { http, base_url }
    }

    /// Asks for the lead that a delivery of this form names. `secret` is the name of the secret that `credential` is from:
    /// the Page's token, the private app's.
    pub async fn ask(
        &self,
        form: &Form,
        reference: &Reference,
        credential: &Secret,
        secret: &str,
    ) -> Result<Answer, ReadBackError> {
        let address = question(self.base_url.as_deref(), form, reference)?;
        let refused: Refused = if form.kind == FormKind::HubSpot { refused_by_hubspot } else { refused_by_graph };
        let question = self.http.get(address).bearer_auth(credential.expose());
        read_back::ask(question, |status, body| refused(status, body, secret)).await
    }
}

/// The address of the answer about a lead; `base_url` stands in for the origin. Whoever asks proves himself in a header.
pub fn question(base_url: Option<&str>, form: &Form, reference: &Reference) -> Result<Url, ReadBackError> {
    let (origin, path, query): (_, &[&str], _) = match form.kind {
        FormKind::Meta => (GRAPH, &[GRAPH_VERSION, &reference.id], ("fields", LEAD_FIELDS.to_owned())),
        FormKind::HubSpot => {
            (HUBSPOT, &["crm", "v3", "objects", "contacts", &reference.id], ("properties", properties(form)))
        }
        FormKind::Typeform
        | FormKind::GoogleAds
        | FormKind::Webflow
        | FormKind::Tally
        | FormKind::Jotform
        | FormKind::Elementor
        | FormKind::GravityForms
        | FormKind::WpForms
        | FormKind::ContactForm7
        | FormKind::Web => return Err(ReadBackError::Address),
    };
    let mut address = read_back::address(base_url, origin, path)?;
    address.query_pairs_mut().append_pair(query.0, &query.1);
    Ok(address)
}

/// What a refusal means, by its status and its body.
type Refused = fn(u16, &[u8], &str) -> Result<Answer, ReadBackError>;

/// The properties to ask a contact for: what we always read, and what the form names. A name that no property can have is
/// the label of a field, and would only make others of the list.
fn properties(form: &Form) -> String {
    let FormFields { phone, name, first_name, last_name, country, language, id, submitted_at, test } = &form.fields;
    let consent = match &form.consent {
        ConsentRule::Field { field, .. } => Some(field),
        ConsentRule::Stated(_) => None,
    };
    let named = [phone, name, first_name, last_name, country, language, id, submitted_at, test];
    let named = named.into_iter().flatten().chain(consent).chain(form.choice.as_ref().map(|choice| &choice.field));
    let mut properties = CONTACT_PROPERTIES.to_vec();
    for name in named {
        // `properties.phone` says where it stands in the answer.
        let name = name.rsplit('.').next().unwrap_or(name);
        let possible = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if possible && !properties.contains(&name) {
            properties.push(name);
        }
    }
    properties.join(",")
}

/// A refusal of the Graph API.
#[derive(Default, Deserialize)]
#[serde(default)]
struct GraphRefusal<'a> {
    #[serde(borrow, deserialize_with = "json::object")]
    error: Option<GraphError<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GraphError<'a> {
    #[serde(borrow)]
    code: Raw<'a>,
    error_subcode: Raw<'a>,
    is_transient: Raw<'a>,
}

/// Graph says with a code what others say by the status, which is 400 for nearly everything.
/// (<https://developers.facebook.com/docs/graph-api/guides/error-handling>,
/// <https://developers.facebook.com/docs/graph-api/overview/rate-limiting>)
fn refused_by_graph(status: u16, body: &[u8], secret: &str) -> Result<Answer, ReadBackError> {
    let error = json::parse(body).ok().and_then(|GraphRefusal { error }| error).unwrap_or_default();
    let number = |written: Raw<'_>| written.text()?.parse::<u32>().ok();
    let numbers = Numbers { status, code: number(error.code) };
    match (numbers.code, number(error.error_subcode)) {
        (Some(4 | 17 | 32 | 341 | 368 | 613 | 80_000..=80_014), _) => Err(ReadBackError::Throttled(numbers)),
        _ if error.is_transient.is_true() => Err(ReadBackError::Trouble(numbers)),
        (Some(1 | 2), _) => Err(ReadBackError::Trouble(numbers)),
        (Some(3 | 10 | 102 | 190 | 200..=299), _) => {
            Err(ReadBackError::Credential { numbers, secret: secret.to_owned() })
        }
        // It does not exist, or the token does not reach it: Graph does not say which.
        (Some(100), Some(33)) => Ok(Answer::NotThere),
        _ => read_back::by_status(numbers, secret),
    }
}

/// `HubSpot` speaks HTTP, but for two statuses of its own that pass by themselves.
/// (<https://developers.hubspot.com/docs/api-reference/error-handling>)
fn refused_by_hubspot(status: u16, _: &[u8], secret: &str) -> Result<Answer, ReadBackError> {
    match status {
        // Too much at once for these contacts; the account is moving to another data centre.
        423 | 477 => Err(ReadBackError::Trouble(status.into())),
        _ => read_back::by_status(status, secret),
    }
}

#[cfg(test)]
mod tests {
    use loopback::{Peer, response};
    use serde_json::{Value, json};
    use shared::fault::{Fault, Faulty as _, chain};

    use super::*;

    const SECRET: &str = "tellonce/demo/forms/ads";

    fn form(kind: &str, members: &Value) -> Form {
        let mut form = json!({
            "kind": kind, "line": "main", "verify": {"scheme": "signature"}, "consent": {"stated": "By sending you agree"},
            "first_touch": {"useful_for": "1d", "text": {"en": "Hi"}},
        });
        if kind == "hubspot" {
            form["notification_url"] = json!("https://hooks.example.com/t/demo/hubspot");
        }
        for (name, value) in members.as_object().unwrap() {
            form[name] = value.clone();
        }
        serde_json::from_value(form).unwrap()
    }

    async fn ask(form: &Form, id: &str, given: &str) -> (String, Result<Answer, ReadBackError>) {
        let peer = Peer::start().await.unwrap();
        let api = LeadApi::new(shared::cold_start::http_client().unwrap(), Some(peer.url().unwrap()));
        let reference = Reference { id: id.to_owned(), created_at: None };
        let credential = Secret::new("Token-1");
        let (request, answer) = tokio::join!(peer.answer(given), api.ask(form, &reference, &credential, SECRET));
        (request.unwrap(), answer)
    }

    fn first_line(request: &str) -> &str {
        request.lines().next().unwrap()
    }

    #[tokio::test]
    async fn meta_is_asked_for_the_lead_with_the_token_in_a_header_alone() {
        let given = response("200 OK", r#"{"id":"444444444444000"}"#);
        let (request, answer) = ask(&form("meta", &json!({})), "444444444444000", &given).await;
        assert_eq!(
            first_line(&request),
            "GET /v26.0/444444444444000?fields=created_time%2Cid%2Cad_id%2Cform_id%2Cplatform%2Cis_organic%2Cfield_data\
             %2Ccustom_disclaimer_responses HTTP/1.1"
        );
        assert!(request.contains("authorization: Bearer Token-1\r\n"), "{request}");
        assert_eq!(request.matches("Token-1").count(), 1);
        assert!(matches!(answer, Ok(Answer::Found(body)) if body == br#"{"id":"444444444444000"}"#));
    }

    #[tokio::test]
    async fn hubspot_is_asked_for_the_contact_with_what_the_form_names() {
        let form = form(
            "hubspot",
            &json!({
                "fields": {"phone": "properties.phone_2", "language": "hs_language", "test": "I said: a,b"},
                "consent": {"field": "whatsapp_ok"}, "choice": {"field": "service", "of": ["Tax"]},
            }),
        );
        let (request, answer) = ask(&form, "123", &response("404 Not Found", "{}")).await;
        let first = first_line(&request);
        assert!(first.starts_with("GET /crm/v3/objects/contacts/123?properties=phone%2Cmobilephone%2C"), "{first}");
        assert!(first.ends_with("%2Ccreatedate%2Cphone_2%2Cwhatsapp_ok%2Cservice HTTP/1.1"), "{first}");
        assert_eq!(first.matches("hs_language").count(), 1);
        assert!(request.contains("authorization: Bearer Token-1\r\n"), "{request}");
        assert!(matches!(answer, Ok(Answer::NotThere)));
    }

    #[tokio::test]
    async fn an_id_is_one_step_of_the_path_whatever_is_in_it() {
        let (request, _) = ask(&form("meta", &json!({})), "me/accounts?a#b", &response("404 Not Found", "")).await;
        assert!(first_line(&request).starts_with("GET /v26.0/me%2Faccounts%3Fa%23b?fields="), "{request}");
    }

    #[tokio::test]
    async fn whoever_has_no_api_is_not_asked() {
        let api = LeadApi::new(shared::cold_start::http_client().unwrap(), None);
        let reference = Reference { id: "1".to_owned(), created_at: None };
        let answer = api.ask(&form("tally", &json!({})), &reference, &Secret::new("Token-1"), SECRET).await;
        assert!(matches!(answer, Err(ReadBackError::Address)));
    }

    fn graph(status: u16, error: &Value) -> Result<Answer, ReadBackError> {
        refused_by_graph(status, json!({ "error": error }).to_string().as_bytes(), SECRET)
    }

    #[test]
    fn graph_s_codes_say_more_than_its_status() {
        for (code, what) in [
            (4, "throttled"),
            (17, "throttled"),
            (32, "throttled"),
            (613, "throttled"),
            (80_000, "throttled"),
            (80_005, "throttled"),
            (80_014, "throttled"),
            (1, "trouble"),
            (2, "trouble"),
            (3, "credential"),
            (10, "credential"),
            (102, "credential"),
            (190, "credential"),
            (200, "credential"),
            (299, "credential"),
            (100, "unexpected"),
            (2500, "unexpected"),
        ] {
            let found = match graph(400, &json!({"message": "hunter2", "code": code})) {
                Err(ReadBackError::Throttled(_)) => "throttled",
                Err(ReadBackError::Trouble(_)) => "trouble",
                Err(ReadBackError::Credential { .. }) => "credential",
                Err(ReadBackError::Unexpected(_)) => "unexpected",
                _ => "something else",
            };
            assert_eq!(found, what, "{code}");
        }
    }

    #[test]
    fn a_lead_that_graph_does_not_show_is_not_there() {
        assert!(matches!(graph(400, &json!({"code": 100, "error_subcode": 33})), Ok(Answer::NotThere)));
        assert!(matches!(graph(404, &json!({"code": 803})), Ok(Answer::NotThere)));
        assert!(matches!(graph(400, &json!({"code": 33, "error_subcode": 100})), Err(ReadBackError::Unexpected(_))));
    }

    #[test]
    fn what_graph_calls_transient_is_asked_for_again() {
        for error in [json!({"code": 190, "is_transient": true}), json!({"code": 9, "is_transient": true})] {
            assert!(matches!(graph(401, &error), Err(ReadBackError::Trouble(_))), "{error}");
        }
        assert!(matches!(graph(400, &json!({"code": 4, "is_transient": true})), Err(ReadBackError::Throttled(_))));
        assert!(matches!(graph(400, &json!({"code": 9, "is_transient": false})), Err(ReadBackError::Unexpected(_))));
    }

    #[test]
    fn a_refusal_without_a_code_means_what_its_status_says() {
        for body in ["", "<html>", "[]", "{}", r#"{"error": "no"}"#, r#"{"error": {"code": "many"}}"#] {
            let of = |status| refused_by_graph(status, body.as_bytes(), SECRET);
            assert!(matches!(of(502), Err(ReadBackError::Trouble(_))), "{body}");
            assert!(matches!(of(401), Err(ReadBackError::Credential { .. })), "{body}");
            assert!(matches!(of(400), Err(ReadBackError::Unexpected(_))), "{body}");
        }
    }

    #[test]
    fn hubspot_s_own_statuses_pass() {
        for (status, fault) in [
            (423, Fault::Transient),
            (477, Fault::Transient),
            (429, Fault::Transient),
            (401, Fault::Transient),
            (400, Fault::Permanent),
            (414, Fault::Permanent),
        ] {
            let Err(error) = refused_by_hubspot(status, b"", SECRET) else { panic!("{status}") };
            assert_eq!(error.fault(), fault, "{status}");
        }
    }

    #[tokio::test]
    async fn a_refusal_shows_its_numbers_and_nothing_else_of_itself() {
        let body = json!({"error": {"message": "of Shira Cohen", "type": "OAuthException", "code": 190, "error_subcode": 463}});
        let given = response("400 Bad Request", &body.to_string());
        let (_, answer) = ask(&form("meta", &json!({})), "444444444444000", &given).await;
        let Err(error) = answer else { panic!() };
        assert!(matches!(error, ReadBackError::Credential { .. }));
        let shown = format!("{} {error:?}", chain(&error));
        assert!(shown.contains("HTTP 400, code 190") && shown.contains(SECRET), "{shown}");
        for kept in ["Shira", "Token-1", "444444444444000"] {
            assert!(!shown.contains(kept), "{shown}");
        }
    }
}
