//! The lookup of leads: Meta and `HubSpot` report that a lead exists and return its data only on
//! request.
//!
//! [`build_lookup_url`] builds the address: the lead in Meta's Graph API, or the contact in
//! `HubSpot`. [`LeadLookupClient`] sends the request. [`crate::lead_parser`] parses the response.
//!
//! The Page's token needs `leads_retrieval`, `pages_show_list`, `pages_read_engagement` and
//! `ads_management`. The private app's token needs `crm.objects.contacts.read`.

use serde::Deserialize;
use tellonce_core::{
    base_urls::BaseUrls,
    client_config::{ConsentRule, FormConfig, FormFields, FormKind},
    json::{self, RawJson},
    lookup::{self, LookupResponse, ResponseCodes, SenderApiError},
    secret::Secret,
};
use url::Url;

use crate::lead::LeadReference;

/// The origin of Meta's Graph API.
const GRAPH_ORIGIN: &str = "https://graph.facebook.com";
/// The version of the Graph API, of 2026-07-29. A version works until two years after the next one
/// appears. Calls without a version get the oldest.
/// (<https://developers.facebook.com/docs/graph-api/changelog/versions/>)
const GRAPH_VERSION: &str = "v26.0";
/// The requested fields of a lead. Without this list Graph omits most fields.
/// (<https://developers.facebook.com/docs/marketing-api/guides/lead-ads/retrieving>)
const LEAD_FIELDS: &str = "created_time,id,ad_id,form_id,platform,is_organic,field_data,custom_disclaimer_responses";

/// The origin of `HubSpot`'s API.
const HUBSPOT_ORIGIN: &str = "https://api.hubapi.com";
/// The properties requested for every contact. `HubSpot` omits properties that the account does not
/// have and reports no error.
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

/// Looks up leads through the senders' APIs.
#[derive(Debug, Clone)]
pub struct LeadLookupClient {
    http: reqwest::Client,
    base_urls: BaseUrls,
}

impl LeadLookupClient {
    /// Uses the function's HTTP client. `base_urls` replace the senders' origins in local runs
    /// and tests.
    pub fn new(http: reqwest::Client, base_urls: BaseUrls) -> Self {
        Self { http, base_urls }
    }

    /// Requests the lead that a delivery of the form `name` names. `secret` is the name of the
    /// secret that holds `credential`: the Page's token or the private app's token.
    pub async fn send_request(
        &self,
        name: &str,
        form: &FormConfig,
        reference: &LeadReference,
        credential: &Secret,
        secret: &str,
    ) -> Result<LookupResponse, SenderApiError> {
        let url = build_lookup_url(self.base_urls.for_name(name), form, reference)?;
        let classify_refusal: RefusalClassifier =
            if form.kind == FormKind::HubSpot { classify_hubspot_refusal } else { classify_graph_refusal };
        let http_request = self.http.get(url).bearer_auth(credential.expose());
        lookup::fetch_json(http_request, |status, body| classify_refusal(status, body, secret)).await
    }
}

/// The address of a lead in its sender's API. `base_url` replaces the origin. The credential is
/// sent in a header and never in the address.
pub fn build_lookup_url(
    base_url: Option<&str>,
    form: &FormConfig,
    reference: &LeadReference,
) -> Result<Url, SenderApiError> {
    let (origin, path, query): (_, &[&str], _) = match form.kind {
        FormKind::Meta => (GRAPH_ORIGIN, &[GRAPH_VERSION, &reference.id], ("fields", LEAD_FIELDS.to_owned())),
        FormKind::HubSpot => (
            HUBSPOT_ORIGIN,
            &["crm", "v3", "objects", "contacts", &reference.id],
            ("properties", list_properties(form)),
        ),
        // Other senders have no lookup.
        _ => return Err(SenderApiError::InvalidAddress),
    };
    let mut url = lookup::build_url(base_url, origin, path)?;
    url.query_pairs_mut().append_pair(query.0, &query.1);
    Ok(url)
}

/// Interprets an error response by its status and body.
type RefusalClassifier = fn(u16, &[u8], &str) -> Result<LookupResponse, SenderApiError>;

/// The properties to request for a contact: the standard ones and those that the form names. A name
/// that is not a valid property name is a field label and would corrupt the list.
fn list_properties(form: &FormConfig) -> String {
    let FormFields { phone, name, first_name, last_name, country, language, id, submitted_at, test } = &form.fields;
    let consent = match &form.consent {
        ConsentRule::Field { field, .. } => Some(field),
        ConsentRule::Stated(_) => None,
    };
    let configured_names = [phone, name, first_name, last_name, country, language, id, submitted_at, test];
    let configured_names =
        configured_names.into_iter().flatten().chain(consent).chain(form.choice.as_ref().map(|choice| &choice.field));
    let mut properties = CONTACT_PROPERTIES.to_vec();
    for name in configured_names {
        // `properties.phone` is the place in the response.
        let name = name.rsplit('.').next().unwrap_or(name);
        let is_valid = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if is_valid && !properties.contains(&name) {
            properties.push(name);
        }
    }
    properties.join(",")
}

/// An error response of the Graph API.
#[derive(Default, Deserialize)]
#[serde(default)]
struct MetaErrorResponse<'a> {
    #[serde(borrow, deserialize_with = "json::deserialize_object_or_empty")]
    error: Option<MetaError<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MetaError<'a> {
    #[serde(borrow)]
    code: RawJson<'a>,
    error_subcode: RawJson<'a>,
    is_transient: RawJson<'a>,
}

/// Graph reports the error in a code. Its status is 400 for almost every error.
/// (<https://developers.facebook.com/docs/graph-api/guides/error-handling>,
/// <https://developers.facebook.com/docs/graph-api/overview/rate-limiting>)
fn classify_graph_refusal(status: u16, body: &[u8], secret: &str) -> Result<LookupResponse, SenderApiError> {
    let error = json::parse_object(body).ok().and_then(|MetaErrorResponse { error }| error).unwrap_or_default();
    let parse_number = |raw: RawJson<'_>| raw.text()?.parse::<u32>().ok();
    let numbers = ResponseCodes { status, code: parse_number(error.code) };
    match (numbers.code, parse_number(error.error_subcode)) {
        (Some(4 | 17 | 32 | 341 | 368 | 613 | 80_000..=80_014), _) => {
            Err(SenderApiError::Throttled { codes: numbers, retry_after: None })
        }
        _ if error.is_transient.is_true() => Err(SenderApiError::ServerError(numbers)),
        (Some(1 | 2), _) => Err(SenderApiError::ServerError(numbers)),
        (Some(3 | 10 | 102 | 190 | 200..=299), _) => {
            Err(SenderApiError::CredentialRefused { codes: numbers, secret_name: secret.to_owned() })
        }
        // The lead does not exist or the token may not read it. Graph does not distinguish the two.
        (Some(100), Some(33)) => Ok(LookupResponse::NotFound),
        _ => lookup::interpret_status(numbers, secret),
    }
}

/// `HubSpot` uses standard HTTP statuses and two transient ones of its own.
/// (<https://developers.hubspot.com/docs/api-reference/error-handling>)
fn classify_hubspot_refusal(status: u16, _: &[u8], secret: &str) -> Result<LookupResponse, SenderApiError> {
    match status {
        // 423: too many requests for these contacts. 477: the account moves to another data centre.
        423 | 477 => Err(SenderApiError::ServerError(status.into())),
        _ => lookup::interpret_status(status, secret),
    }
}

#[cfg(test)]
mod tests {
    use loopback::{FakeApi, http_response};
    use serde_json::{Value, json};
    use tellonce_core::fault::{ClassifyFault as _, Fault, error_chain};

    use super::*;

    const SECRET: &str = "tellonce/demo/forms/ads";

    fn build_form(kind: &str, members: &Value) -> FormConfig {
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

    async fn send_lookup(
        form: &FormConfig,
        id: &str,
        http_reply: &str,
    ) -> (String, Result<LookupResponse, SenderApiError>) {
        let fake_api = FakeApi::start().await.unwrap();
        let client = LeadLookupClient::new(
            tellonce_core::bootstrap::build_http_client().unwrap(),
            BaseUrls::parse(&fake_api.base_url().unwrap()),
        );
        let reference = LeadReference { id: id.to_owned(), created_at: None };
        let credential = Secret::new("Token-1");
        let sending = client.send_request("contact", form, &reference, &credential, SECRET);
        let (request, result) = tokio::join!(fake_api.reply_once(http_reply), sending);
        (request.unwrap(), result)
    }

    fn request_line(request: &str) -> &str {
        request.lines().next().unwrap()
    }

    #[tokio::test]
    async fn a_meta_lookup_sends_the_token_only_in_a_header() {
        let http_reply = http_response("200 OK", r#"{"id":"444444444444000"}"#);
        let (request, result) = send_lookup(&build_form("meta", &json!({})), "444444444444000", &http_reply).await;
        assert_eq!(
            request_line(&request),
            "GET /v26.0/444444444444000?fields=created_time%2Cid%2Cad_id%2Cform_id%2Cplatform%2Cis_organic%2Cfield_data\
             %2Ccustom_disclaimer_responses HTTP/1.1"
        );
        assert!(request.contains("authorization: Bearer Token-1\r\n"), "{request}");
        assert_eq!(request.matches("Token-1").count(), 1);
        assert!(matches!(result, Ok(LookupResponse::Found(body)) if body == br#"{"id":"444444444444000"}"#));
    }

    #[tokio::test]
    async fn a_hubspot_lookup_requests_the_properties_that_the_form_names() {
        let form = build_form(
            "hubspot",
            &json!({
                "fields": {"phone": "properties.phone_2", "language": "hs_language", "test": "I said: a,b"},
                "consent": {"field": "whatsapp_ok"}, "choice": {"field": "service", "of": ["Tax"]},
            }),
        );
        let (request, result) = send_lookup(&form, "123", &http_response("404 Not Found", "{}")).await;
        let first = request_line(&request);
        assert!(first.starts_with("GET /crm/v3/objects/contacts/123?properties=phone%2Cmobilephone%2C"), "{first}");
        assert!(first.ends_with("%2Ccreatedate%2Cphone_2%2Cwhatsapp_ok%2Cservice HTTP/1.1"), "{first}");
        assert_eq!(first.matches("hs_language").count(), 1);
        assert!(request.contains("authorization: Bearer Token-1\r\n"), "{request}");
        assert!(matches!(result, Ok(LookupResponse::NotFound)));
    }

    #[tokio::test]
    async fn an_id_is_always_one_path_segment() {
        let (request, _) =
            send_lookup(&build_form("meta", &json!({})), "me/accounts?a#b", &http_response("404 Not Found", "")).await;
        assert!(request_line(&request).starts_with("GET /v26.0/me%2Faccounts%3Fa%23b?fields="), "{request}");
    }

    #[tokio::test]
    async fn a_sender_without_a_lookup_api_is_not_called() {
        let client = LeadLookupClient::new(tellonce_core::bootstrap::build_http_client().unwrap(), BaseUrls::default());
        let reference = LeadReference { id: "1".to_owned(), created_at: None };
        let (form, credential) = (build_form("tally", &json!({})), Secret::new("Token-1"));
        let result = client.send_request("contact", &form, &reference, &credential, SECRET).await;
        assert!(matches!(result, Err(SenderApiError::InvalidAddress)));
    }

    fn classify_graph_error(status: u16, error: &Value) -> Result<LookupResponse, SenderApiError> {
        classify_graph_refusal(status, json!({ "error": error }).to_string().as_bytes(), SECRET)
    }

    #[test]
    fn error_codes_of_graph_override_its_status() {
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
            let found = match classify_graph_error(400, &json!({"message": "hunter2", "code": code})) {
                Err(SenderApiError::Throttled { .. }) => "throttled",
                Err(SenderApiError::ServerError(_)) => "trouble",
                Err(SenderApiError::CredentialRefused { .. }) => "credential",
                Err(SenderApiError::Unexpected(_)) => "unexpected",
                _ => "something else",
            };
            assert_eq!(found, what, "{code}");
        }
    }

    #[test]
    fn a_lead_that_graph_withholds_is_not_found() {
        assert!(matches!(
            classify_graph_error(400, &json!({"code": 100, "error_subcode": 33})),
            Ok(LookupResponse::NotFound)
        ));
        assert!(matches!(classify_graph_error(404, &json!({"code": 803})), Ok(LookupResponse::NotFound)));
        assert!(matches!(
            classify_graph_error(400, &json!({"code": 33, "error_subcode": 100})),
            Err(SenderApiError::Unexpected(_))
        ));
    }

    #[test]
    fn a_graph_error_marked_transient_is_retried() {
        for error in [json!({"code": 190, "is_transient": true}), json!({"code": 9, "is_transient": true})] {
            assert!(matches!(classify_graph_error(401, &error), Err(SenderApiError::ServerError(_))), "{error}");
        }
        assert!(matches!(
            classify_graph_error(400, &json!({"code": 4, "is_transient": true})),
            Err(SenderApiError::Throttled { .. })
        ));
        assert!(matches!(
            classify_graph_error(400, &json!({"code": 9, "is_transient": false})),
            Err(SenderApiError::Unexpected(_))
        ));
    }

    #[test]
    fn a_refusal_without_a_code_is_classified_by_its_status() {
        for body in ["", "<html>", "[]", "{}", r#"{"error": "no"}"#, r#"{"error": {"code": "many"}}"#] {
            let classify = |status| classify_graph_refusal(status, body.as_bytes(), SECRET);
            assert!(matches!(classify(502), Err(SenderApiError::ServerError(_))), "{body}");
            assert!(matches!(classify(401), Err(SenderApiError::CredentialRefused { .. })), "{body}");
            assert!(matches!(classify(400), Err(SenderApiError::Unexpected(_))), "{body}");
        }
    }

    #[test]
    fn hubspots_own_statuses_are_transient() {
        for (status, fault) in [
            (423, Fault::Transient),
            (477, Fault::Transient),
            (429, Fault::Transient),
            (401, Fault::Transient),
            (400, Fault::Permanent),
            (414, Fault::Permanent),
        ] {
            let Err(error) = classify_hubspot_refusal(status, b"", SECRET) else { panic!("{status}") };
            assert_eq!(error.fault(), fault, "{status}");
        }
    }

    #[tokio::test]
    async fn a_refusal_shows_only_its_status_and_code() {
        let body = json!({"error": {"message": "of Shira Cohen", "type": "OAuthException", "code": 190, "error_subcode": 463}});
        let http_reply = http_response("400 Bad Request", &body.to_string());
        let (_, result) = send_lookup(&build_form("meta", &json!({})), "444444444444000", &http_reply).await;
        let Err(error) = result else { panic!() };
        assert!(matches!(error, SenderApiError::CredentialRefused { .. }));
        let error_text = format!("{} {error:?}", error_chain(&error));
        assert!(error_text.contains("HTTP 400, code 190") && error_text.contains(SECRET), "{error_text}");
        for secret_text in ["Shira", "Token-1", "444444444444000"] {
            assert!(!error_text.contains(secret_text), "{error_text}");
        }
    }
}
