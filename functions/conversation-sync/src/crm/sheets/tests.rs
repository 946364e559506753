//! The client against a peer that answers as Google documents it.

use loopback::response;
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::Value;
use shared::{
    client_config::CrmKind,
    fault::{Fault, Faulty as _},
};

use super::{
    super::{entry::tests::item, testing::*},
    *,
};

fn kind() -> CrmKind {
    CrmKind::GoogleSheets { spreadsheet: "1TestSheetId".to_owned(), sheet: "Noa's log/2026".to_owned() }
}

fn account(token_uri: &str) -> String {
    json!({
        "type": "service_account",
        "client_email": "sync@demo.iam.gserviceaccount.com",
        "private_key": RSA_KEY,
        "private_key_id": "key-1",
        "token_uri": token_uri,
    })
    .to_string()
}

fn token(value: &str) -> String {
    ok(&json!({ "access_token": value, "expires_in": 3599, "token_type": "Bearer" }))
}

fn appended() -> String {
    ok(&json!({ "spreadsheetId": "1TestSheetId", "updates": { "updatedRange": "Log!A11:I11", "updatedRows": 1 } }))
}

#[tokio::test]
async fn a_row_is_appended_as_it_is_so_that_nothing_becomes_a_formula() {
    let bench = Bench::start().await;
    let kind = kind();
    let client = bench.client(&kind, &account(TOKEN_URI));
    assert!(!client.has_people() && client.person(&phone(), None, now()).await.unwrap().is_none());
    let hostile = item("=HYPERLINK(\"https://evil.example\")");
    let answers = [token("ya29.a"), appended()];
    let (requests, entry) = bench.hears(&answers, client.create_entry(None, &hostile, now())).await;
    assert_eq!(entry.unwrap().as_deref(), Some("shop:wamid.HBgL+/=="));
    assert_eq!(
        line(&requests[1]),
        "POST /v4/spreadsheets/1TestSheetId/values/'Noa''s%20log%2F2026'!A1:append\
         ?valueInputOption=RAW&insertDataOption=INSERT_ROWS&prettyPrint=false"
    );
    assert!(head(&requests[1]).contains("authorization: Bearer ya29.a"));
    let row = json!([
        "shop:wamid.HBgL+/==",
        "2026-11-19T10:00:00Z",
        "shop",
        "conv-1",
        "+972545550199",
        "Noa Levi",
        "in",
        "text",
        "=HYPERLINK(\"https://evil.example\")",
    ]);
    assert_eq!(body(&requests[1]), json!({ "majorDimension": "ROWS", "values": [row] }));
}

#[tokio::test]
async fn a_token_is_asked_for_with_what_the_accounts_key_signed() {
    let bench = Bench::start().await;
    let kind = kind();
    let client = bench.client(&kind, &account(TOKEN_URI));
    let answers = [token("ya29.a"), appended()];
    let (requests, _) = bench.hears(&answers, client.create_entry(None, &item("Hello"), now())).await;
    assert_eq!(line(&requests[0]), "POST /token");
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
            "iat": now().as_second(),
            "exp": now().as_second() + 3600,
        })
    );
    let pem: String = RSA_KEY.lines().filter(|line| !line.starts_with("-----")).collect();
    let key = RsaKeyPair::from_pkcs8(&BASE64.decode(pem).unwrap()).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
    public.verify(signed.as_bytes(), &BASE64_URL.decode(signature).unwrap()).unwrap();
}

#[tokio::test]
async fn a_row_is_looked_for_by_its_reference_in_all_parts_of_the_first_column() {
    let bench = Bench::start().await;
    let kind = kind();
    let client = bench.client(&kind, &account(TOKEN_URI));
    let item = item("Hello");
    let column = |cells: Vec<&str>| ok(&json!({ "range": "x", "majorDimension": "COLUMNS", "values": [cells] }));
    let full = || column(vec!["shop:other"; ROWS_AT_ONCE]);
    let answers = [token("ya29.a"), full(), column(vec!["", "shop:wamid.HBgL+/==", "shop:other"])];
    let (requests, found) = bench.hears(&answers, client.find_entry(None, &item, now())).await;
    assert_eq!(found.unwrap().as_deref(), Some("shop:wamid.HBgL+/=="));
    assert_eq!(
        line(&requests[1]),
        "GET /v4/spreadsheets/1TestSheetId/values/'Noa''s%20log%2F2026'!A1:A10000?majorDimension=COLUMNS&prettyPrint=false"
    );
    assert!(line(&requests[2]).contains("!A10001:A20000?"));
    let beyond = r#"{"error":{"code":400,"message":"Range ('x'!A10001:A20000) exceeds grid limits. Max rows: 10000, max columns: 26","status":"INVALID_ARGUMENT"}}"#;
    for answers in [
        vec![ok(&json!({ "range": "x", "majorDimension": "COLUMNS" }))],
        vec![column(vec!["shop:wamid.HBgL+/==2"])],
        vec![full(), response("400 Bad Request", beyond)],
    ] {
        let (_, none) = bench.hears(&answers, client.find_entry(None, &item, now())).await;
        assert_eq!(none.unwrap(), None);
    }
}

#[tokio::test]
async fn every_refusal_says_whether_to_try_again_and_shows_nothing() {
    let bench = Bench::start().await;
    let kind = kind();
    let client = bench.client(&kind, &account(TOKEN_URI));
    let item = item("Hello");
    let mut first = vec![token("ya29.hunter2")];
    let error = |status: &str, message: &str| json!({ "error": { "status": status, "message": message } });
    let old_quota =
        json!({ "error": { "status": "PERMISSION_DENIED", "errors": [{ "reason": "rateLimitExceeded" }] } });
    for (head, answer, fault, says) in [
        ("429 Too Many Requests", error("RESOURCE_EXHAUSTED", "Quota exceeded"), Fault::Transient, "patience"),
        ("403 Forbidden", error("RESOURCE_EXHAUSTED", "Quota exceeded"), Fault::Transient, "patience"),
        ("403 Forbidden", old_quota, Fault::Transient, "patience"),
        ("403 Forbidden", error("PERMISSION_DENIED", "Noa may not"), Fault::Transient, SECRET),
        ("401 Unauthorized", error("UNAUTHENTICATED", ""), Fault::Transient, SECRET),
        ("404 Not Found", error("NOT_FOUND", ""), Fault::Transient, "no such spreadsheet"),
        (
            "400 Bad Request",
            error("INVALID_ARGUMENT", "Unable to parse range: 'Noa'!A1"),
            Fault::Transient,
            "no sheet of that name",
        ),
        ("400 Bad Request", error("INVALID_ARGUMENT", "Noa"), Fault::Permanent, "INVALID_ARGUMENT"),
        ("503 Service Unavailable", error("UNAVAILABLE", ""), Fault::Ambiguous, "503"),
        ("200 OK", json!({ "updates": {} }), Fault::Ambiguous, "means nothing"),
    ] {
        let answers: Vec<_> = first.drain(..).chain([response(head, &answer.to_string())]).collect();
        let (_, entry) = bench.hears(&answers, client.create_entry(None, &item, now())).await;
        let error = entry.unwrap_err();
        assert_eq!(error.fault(), fault, "{head} {answer}");
        assert!(error.to_string().contains(says), "{head}: {error}");
        reveals_nothing(&error);
    }
    let (_, lost) = bench.hears(&["HTTP/1.1 2".to_owned()], client.create_entry(None, &item, now())).await;
    assert_eq!(lost.unwrap_err().fault(), Fault::Ambiguous);
}

#[tokio::test]
async fn a_key_that_is_none_or_would_be_used_elsewhere_goes_nowhere() {
    let bench = Bench::start().await;
    let kind = kind();
    let elsewhere = account("https://evil.example/token");
    let no_key = account(TOKEN_URI).replace("MII", "hunter2");
    for credential in ["hunter2", "{}", &elsewhere, &no_key] {
        let error = bench.client(&kind, credential).find_entry(None, &item("Hello"), now()).await.unwrap_err();
        assert!(matches!(error, CallError::Malformed { .. }));
        reveals_nothing(&error);
    }
    let gone = response("400 Bad Request", r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#);
    let client = bench.client(&kind, &account(TOKEN_URI));
    let (_, entry) = bench.hears(&[gone], client.create_entry(None, &item("Hello"), now())).await;
    assert!(matches!(entry, Err(CallError::Credential { status: 400, .. })));
}
