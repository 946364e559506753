//! The client against a fake API that replies as Google documents.

use loopback::http_response;
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::Value;
use tellonce_core::{
    client_config::{CrmKind, GoogleSheetsCrm},
    fault::{ClassifyFault as _, Fault},
};

use super::{
    super::{entry::tests::sample_entry, testing::*},
    *,
};

fn sheets_kind() -> CrmKind {
    CrmKind::GoogleSheets(GoogleSheetsCrm {
        spreadsheet: "1TestSheetId".to_owned(),
        sheet: "Noa's log/2026".to_owned(),
    })
}

fn service_account(token_uri: &str) -> String {
    json!({
        "type": "service_account",
        "client_email": "sync@demo.iam.gserviceaccount.com",
        "private_key": RSA_KEY,
        "private_key_id": "key-1",
        "token_uri": token_uri,
    })
    .to_string()
}

fn token_reply(value: &str) -> String {
    ok_reply(&json!({ "access_token": value, "expires_in": 3599, "token_type": "Bearer" }))
}

fn appended_reply() -> String {
    ok_reply(
        &json!({ "spreadsheetId": "1TestSheetId", "updates": { "updatedRange": "Log!A11:I11", "updatedRows": 1 } }),
    )
}

#[tokio::test]
async fn a_row_is_appended_so_that_nothing_becomes_a_formula() {
    let fixture = CrmClientFixture::start().await;
    let kind = sheets_kind();
    let client = fixture.build_client(&kind, &service_account(TOKEN_URI));
    assert!(
        !client.kind.facts().has_people
            && client.find_or_create_person(&test_phone(), None, test_now()).await.unwrap().is_none()
    );
    let hostile = sample_entry("=HYPERLINK(\"https://evil.example\")");
    let replies = [token_reply("ya29.a"), appended_reply()];
    let (requests, entry) = fixture.serve_replies(&replies, client.create_entry(None, &hostile, test_now())).await;
    assert_eq!(entry.unwrap().as_deref(), Some("shop:wamid.HBgL+/=="));
    assert_eq!(
        request_line(&requests[1]),
        "POST /v4/spreadsheets/1TestSheetId/values/'Noa''s%20log%2F2026'!A1:append\
         ?valueInputOption=RAW&insertDataOption=INSERT_ROWS&prettyPrint=false"
    );
    assert!(request_head(&requests[1]).contains("authorization: Bearer ya29.a"));
    let row = json!([
        "shop:wamid.HBgL+/==",
        "2026-11-19T10:00:00Z",
        "shop",
        "conv-1",
        "+972545550199",
        "Noa Levi",
        "in",
        "text",
        "'=HYPERLINK(\"https://evil.example\")",
    ]);
    assert_eq!(request_body(&requests[1]), json!({ "majorDimension": "ROWS", "values": [row] }));
}

#[tokio::test]
async fn a_token_is_requested_with_an_assertion_signed_by_the_accounts_key() {
    let fixture = CrmClientFixture::start().await;
    let kind = sheets_kind();
    let client = fixture.build_client(&kind, &service_account(TOKEN_URI));
    let replies = [token_reply("ya29.a"), appended_reply()];
    let (requests, _) =
        fixture.serve_replies(&replies, client.create_entry(None, &sample_entry("Hello"), test_now())).await;
    assert_eq!(request_line(&requests[0]), "POST /token");
    let form = requests[0].split_once("\r\n\r\n").unwrap().1;
    let form: Vec<_> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    assert_eq!(form[0], ("grant_type".to_owned(), "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned()));
    let (signed, signature) = form[1].1.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let decoded = |part: &str| serde_json::from_slice::<Value>(&BASE64_URL.decode(part).unwrap()).unwrap();
    assert_eq!(decoded(header), json!({ "alg": "RS256", "typ": "JWT", "kid": "key-1" }));
    assert_eq!(
        decoded(claims),
        json!({
            "iss": "sync@demo.iam.gserviceaccount.com",
            "scope": "https://www.googleapis.com/auth/spreadsheets",
            "aud": "https://oauth2.googleapis.com/token",
            "iat": test_now().as_second(),
            "exp": test_now().as_second() + 3600,
        })
    );
    let pem: String = RSA_KEY.lines().filter(|line| !line.starts_with("-----")).collect();
    let key = RsaKeyPair::from_pkcs8(&BASE64.decode(pem).unwrap()).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
    public.verify(signed.as_bytes(), &BASE64_URL.decode(signature).unwrap()).unwrap();
}

#[tokio::test]
async fn a_row_is_searched_by_its_reference_in_all_parts_of_the_first_column() {
    let fixture = CrmClientFixture::start().await;
    let kind = sheets_kind();
    let client = fixture.build_client(&kind, &service_account(TOKEN_URI));
    let entry = sample_entry("Hello");
    let column = |cells: Vec<&str>| ok_reply(&json!({ "range": "x", "majorDimension": "COLUMNS", "values": [cells] }));
    let full = || column(vec!["shop:other"; ROWS_PER_READ]);
    let replies = [token_reply("ya29.a"), full(), column(vec!["", "shop:wamid.HBgL+/==", "shop:other"])];
    let (requests, found) = fixture.serve_replies(&replies, client.find_entry(None, &entry, test_now())).await;
    assert_eq!(found.unwrap().as_deref(), Some("shop:wamid.HBgL+/=="));
    assert_eq!(
        request_line(&requests[1]),
        "GET /v4/spreadsheets/1TestSheetId/values/'Noa''s%20log%2F2026'!A1:A10000?majorDimension=COLUMNS&prettyPrint=false"
    );
    assert!(request_line(&requests[2]).contains("!A10001:A20000?"));
    let beyond = r#"{"error":{"code":400,"message":"Range ('x'!A10001:A20000) exceeds grid limits. Max rows: 10000, max columns: 26","status":"INVALID_ARGUMENT"}}"#;
    for replies in [
        vec![ok_reply(&json!({ "range": "x", "majorDimension": "COLUMNS" }))],
        vec![column(vec!["shop:wamid.HBgL+/==2"])],
        vec![full(), http_response("400 Bad Request", beyond)],
    ] {
        let (_, none) = fixture.serve_replies(&replies, client.find_entry(None, &entry, test_now())).await;
        assert_eq!(none.unwrap(), None);
    }
}

#[tokio::test]
async fn every_refusal_states_whether_to_retry_and_reveals_nothing() {
    let fixture = CrmClientFixture::start().await;
    let kind = sheets_kind();
    let client = fixture.build_client(&kind, &service_account(TOKEN_URI));
    let entry = sample_entry("Hello");
    let mut first = vec![token_reply("ya29.hunter2")];
    let error = |status: &str, message: &str| json!({ "error": { "status": status, "message": message } });
    let old_quota =
        json!({ "error": { "status": "PERMISSION_DENIED", "errors": [{ "reason": "rateLimitExceeded" }] } });
    for (head, reply_json, fault, expected) in [
        ("429 Too Many Requests", error("RESOURCE_EXHAUSTED", "Quota exceeded"), Fault::Transient, "retry later"),
        ("403 Forbidden", error("RESOURCE_EXHAUSTED", "Quota exceeded"), Fault::Transient, "retry later"),
        ("403 Forbidden", old_quota, Fault::Transient, "retry later"),
        ("403 Forbidden", error("PERMISSION_DENIED", "Noa may not"), Fault::Transient, SECRET_NAME),
        ("401 Unauthorized", error("UNAUTHENTICATED", ""), Fault::Transient, SECRET_NAME),
        ("404 Not Found", error("NOT_FOUND", ""), Fault::Transient, "no such spreadsheet"),
        (
            "400 Bad Request",
            error("INVALID_ARGUMENT", "Unable to parse range: 'Noa'!A1"),
            Fault::Transient,
            "no sheet of that name",
        ),
        ("400 Bad Request", error("INVALID_ARGUMENT", "Noa"), Fault::Permanent, "INVALID_ARGUMENT"),
        ("503 Service Unavailable", error("UNAVAILABLE", ""), Fault::Ambiguous, "503"),
        ("200 OK", json!({ "updates": {} }), Fault::Ambiguous, "unexpected response"),
    ] {
        let replies: Vec<_> = first.drain(..).chain([http_response(head, &reply_json.to_string())]).collect();
        let (_, entry) = fixture.serve_replies(&replies, client.create_entry(None, &entry, test_now())).await;
        let error = entry.unwrap_err();
        assert_eq!(error.fault(), fault, "{head} {reply_json}");
        assert!(error.to_string().contains(expected), "{head}: {error}");
        assert_reveals_nothing(&error);
    }
    let (_, lost) =
        fixture.serve_replies(&["HTTP/1.1 2".to_owned()], client.create_entry(None, &entry, test_now())).await;
    assert_eq!(lost.unwrap_err().fault(), Fault::Ambiguous);
}

#[tokio::test]
async fn an_invalid_key_or_one_for_another_token_address_is_never_used() {
    let fixture = CrmClientFixture::start().await;
    let kind = sheets_kind();
    let elsewhere = service_account("https://evil.example/token");
    let no_key = service_account(TOKEN_URI).replace("MII", "hunter2");
    for credential in ["hunter2", "{}", &elsewhere, &no_key] {
        let error = fixture
            .build_client(&kind, credential)
            .find_entry(None, &sample_entry("Hello"), test_now())
            .await
            .unwrap_err();
        assert!(matches!(error, ApiError::MalformedSecret { .. }));
        assert_reveals_nothing(&error);
    }
    let gone =
        http_response("400 Bad Request", r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#);
    let client = fixture.build_client(&kind, &service_account(TOKEN_URI));
    let (_, entry) =
        fixture.serve_replies(&[gone], client.create_entry(None, &sample_entry("Hello"), test_now())).await;
    assert!(matches!(entry, Err(ApiError::CredentialRejected { status: 400, .. })));
}
