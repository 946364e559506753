//! Nothing personal and nothing secret leaves through a log, a metric, an error or an answer.

use local::fake_ezw::{Fault, HealthPreset};
use serde_json::json;

use crate::world::{ERP_SECRET, LINE_TOKEN, SHOPIFY_SECRET, WOO_SECRET, World, ZAP_SECRET};

#[tokio::test]
async fn logs_and_metrics_hold_neither_people_nor_secrets() {
    let world = World::start_with(crate::world::Setup {
        env: [("LOG_LEVEL".to_owned(), "trace".to_owned())].into(),
        ..Default::default()
    })
    .await;
    let ezw = world.stack.ezw();
    world.deliver(world.shopify("orders/paid", "d-1", &world.order(1, "+972545550199"))).await;
    world.deliver(world.shopify("orders/paid", "d-2", &world.order(2, "not a number 0545550188"))).await;
    world.deliver(world.woo("w-1", 3, "completed", "052-555-0101")).await;
    world
        .post(
            world
                .shopify("orders/paid", "d-3", &world.order(4, "+972545550199"))
                .with("X-Shopify-Hmac-Sha256", Some("d3Jvbmc=")),
        )
        .await;
    ezw.fail_next(1, Fault::ServerErrorAfterAccept);
    world.deliver(world.erp("m-1", "ready", "5", "+972585550142")).await;
    ezw.fail_next(1, Fault::DropBeforeAccept);
    world.deliver(world.erp("m-2", "ready", "6", "+972585550142")).await;
    ezw.set_tokens([("ezw_line_else".to_owned(), "line_story".to_owned())].into());
    world.deliver(world.erp("m-3", "ready", "7", "+972585550142")).await;
    ezw.set_health(None, HealthPreset::UnknownStrings).unwrap();
    world.tick().await;
    let mut odd = world.order(8, "+972545550199");
    odd["id"] = json!({ "secret name": "Noa Levi" });
    world.deliver(world.shopify("orders/paid", "d-4", &odd)).await;

    let functions = ["webhook-receiver", "order-notifier", "reminder-scheduler"];
    let lines: Vec<String> = functions.iter().flat_map(|name| world.stack.logs(name)).map(|line| line.text).collect();
    assert!(lines.len() > 20, "only {} lines were logged", lines.len());
    let reasons: Vec<String> = world
        .items("StoreInbox")
        .iter()
        .filter_map(|item| item["outcome"].as_str().map(str::to_owned))
        .chain(world.rows().values().filter_map(|row| row["reason"].as_str().map(str::to_owned)))
        .collect();
    let private = [
        "545550199",
        "545550188",
        "525550101",
        "585550142",
        "Noa",
        "Levi",
        "Dana",
        "Cohen",
        "Amit",
        "Peretz",
        SHOPIFY_SECRET,
        WOO_SECRET,
        ERP_SECRET,
        ZAP_SECRET,
        LINE_TOKEN,
        "ezw_line_",
        "story-shop-api-token",
    ];
    for line in lines.iter().chain(&reasons) {
        for word in private {
            assert!(!line.contains(word), "`{word}` in: {line}");
        }
    }
}
