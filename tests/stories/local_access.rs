//! Who reaches a local run: this machine, and a tunnel that the operator names. No web page. And
//! who reaches the webhook endpoints of a stack with an address segment.

use reqwest::RequestBuilder;
use serde_json::json;
use tellonce_core::bootstrap;

use crate::{
    conversations::settle_line_events,
    world::{LINE_TOKEN, World, WorldSetup},
};

async fn status_and_text(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn a_web_page_that_rebinds_its_name_reads_neither_token_nor_table() {
    let world = World::start().await;
    let http = bootstrap::build_http_client().unwrap();
    let [gateway, provider, dynamo, secrets, operators] = world.stack.server_urls();
    let token = || {
        let request = http.post(secrets).header("x-amz-target", "secretsmanager.GetSecretValue");
        request.body(json!({ "SecretId": "tellonce/story/lines" }).to_string())
    };
    let scan = || {
        let request = http.post(dynamo).header("x-amz-target", "DynamoDB_20120810.Scan");
        request.body(json!({ "TableName": world.table_name("Ledger") }).to_string())
    };
    let read = |base: &str, path: &str| http.get(format!("{base}{path}"));
    let settings = "/2015-03-31/functions/tellonce-story-order-notifier/configuration";
    assert_eq!(status_and_text(read(operators, settings)).await.0, 200);
    assert!(status_and_text(token()).await.1.contains(LINE_TOKEN));
    assert_eq!(status_and_text(scan()).await.0, 200);
    for request in [
        token(),
        scan(),
        read(gateway, "/_console/state"),
        read(gateway, "/stores/shop"),
        read(gateway, "/secret/diary.ics"),
        read(gateway, "/absent"),
        read(provider, "/_fake/state"),
        read(operators, settings),
    ] {
        let (status, text) = status_and_text(request.header("host", "rebound.example:8787")).await;
        assert_eq!(status, 421, "{text}");
        assert!(text.contains("--public-host") && !text.contains(LINE_TOKEN), "{text}");
    }
}

#[tokio::test]
async fn a_web_page_of_another_origin_presses_no_button() {
    let world = World::start().await;
    let http = bootstrap::build_http_client().unwrap();
    let [gateway, provider, ..] = world.stack.server_urls();
    for (base, path, body) in [
        (gateway, "/_console/line", json!({ "line": "main", "health": "qr" })),
        (gateway, "/_console/clock", json!({ "to_next": true })),
        (provider, "/_fake/fresh", json!({})),
    ] {
        for origin in ["https://page.example", "null", "http://127.0.0.1:1"] {
            // A page may send JSON as text without asking the server first.
            let request = http.post(format!("{base}{path}")).header("origin", origin).body(body.to_string());
            let (status, text) = status_and_text(request.header("content-type", "text/plain")).await;
            assert_eq!(status, 403, "{path} {origin}: {text}");
        }
    }
    let own =
        http.post(format!("{gateway}/_console/clock")).header("origin", gateway).json(&json!({ "forward_s": 60 }));
    let (status, text) = status_and_text(own).await;
    assert_eq!(status, 200, "the console's own page: {text}");
}

#[tokio::test]
async fn a_tunnel_reaches_the_webhook_endpoints_and_nothing_else() {
    let tunnel = "hooks.example.com";
    let world = World::start_with(WorldSetup { public_hosts: vec![tunnel], ..WorldSetup::default() }).await;
    let post = world.erp_post("tunnel-1", "ready", "1001", "+972525550101");
    world.deliver(post.with_header("Host", Some(tunnel)).with_header("Origin", Some("https://erp.example"))).await;
    assert_eq!(world.texts_on_phone("+972525550101").len(), 1);
    let http = bootstrap::build_http_client().unwrap();
    let [gateway, provider, ..] = world.stack.server_urls();
    for path in ["/", "/_console/state", "/secret/diary.ics", "/v2/customers/1"] {
        let request = http.get(format!("{gateway}{path}")).header("host", tunnel);
        assert_eq!(status_and_text(request).await.0, 404, "{path}");
    }
    let request = http.get(format!("{provider}/_fake/state")).header("host", tunnel);
    assert_eq!(status_and_text(request).await.0, 421);
    let rewritten = http.get(format!("{gateway}/_console/state")).header("x-forwarded-host", tunnel);
    assert_eq!(status_and_text(rewritten).await.0, 404, "a tunnel that rewrites the host");
}

#[tokio::test]
async fn an_address_without_the_segment_gets_404_and_reads_no_secret() {
    let segment = "Zk3x-segment-of-this-story_1";
    let parameters = [("AddressSegment".to_owned(), segment.to_owned())].into();
    let setup = WorldSetup { parameters, line_events: true, ..WorldSetup::default() };
    let world = World::start_with(setup).await;
    let below = |first: &str, id: &str| {
        let mut post = world.erp_post(id, "ready", id, "+972525550101");
        post.path = format!("{first}{}", post.path);
        post
    };
    world.deliver(below(&format!("/{segment}"), "SO-1")).await;
    assert_eq!(world.texts_on_phone("+972525550101").len(), 1);
    assert!(world.stack.webhook_url().ends_with(segment));
    settle_line_events(&world).await;

    world.stack.secrets().reset_requests();
    for first in ["", "/Zk3x-segment-of-this-story_2", "/$default"] {
        assert_eq!(world.post(below(first, "SO-2")).await, 404, "{first}");
    }
    // As if an API without a stage of that name passed the request on.
    let event = json!({
        "version": "2.0", "routeKey": "POST /stores/{store}", "rawPath": "/stores/erp", "rawQueryString": "",
        "headers": { "content-type": "application/json" }, "body": "{}", "isBase64Encoded": false,
        "requestContext": {
            "accountId": "1", "apiId": "x", "requestId": "r", "routeKey": "POST /stores/{store}", "stage": "$default",
            "http": { "method": "POST", "path": "/stores/erp", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1" },
            "time": "29/Nov/2026:00:00:00 +0000", "timeEpoch": 1_796_000_000_000_i64,
        },
    });
    let response = world.stack.invoke("webhook-receiver", &event).await.unwrap();
    assert_eq!(response["statusCode"], 404, "{response}");
    assert_eq!(world.stack.secrets().total_request_count(), 0);
    assert_eq!(world.texts_on_phone("+972525550101").len(), 1);

    // The line's webhook is registered with the segment, so its reports arrive.
    let row = || world.message_rows().remove("order:SO-1:ready").unwrap();
    world.stack.provider().reply_as_team("+972525550101", "Hello", "line_story").unwrap();
    world.stack.provider().wait_for(std::time::Duration::from_secs(10), |fake| fake.pending_deliveries() == 0).await;
    world.settle().await;
    assert!(world.table_items("LineInbox").len() > 1, "{}", row());
}
