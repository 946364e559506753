//! A local run follows `client.toml`, and comes back from the future.

use jiff::SignedDuration;
use tellonce_fakes::provider::HealthPreset;

use crate::world::{World, WorldSetup};

/// A client without any finding.
const CLEAN_CLIENT: &str = r#"
client = "story"
name = "Story Shop"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["en"]
[lines.main]
line_id = "line_story"
messages_per_minute = 20
[stores.erp]
kind = "custom"
line = "main"
id_scope = "main"
verify = { scheme = "standard-webhooks" }
events = { ready = "ready" }
fields = { event = "/type", order_id = "/order", phone = "/phone", name = "/name", occurred_at = "/at" }
[messages.ready]
useful_for = "72h"
text.en = "Order {{ order_number }}: ready."
"#;
const PHONE: &str = "+972545550199";

#[tokio::test]
async fn an_edited_text_goes_out_after_the_file_is_loaded_and_a_broken_file_changes_nothing() {
    let world = World::start_with(WorldSetup { client_toml: Some(CLEAN_CLIENT), ..WorldSetup::default() }).await;
    assert!(!world.stack.loaded_client().has_errors(), "{:?}", world.stack.loaded_client().findings);
    world.deliver(world.erp_post("d-1", "ready", "1", PHONE)).await;
    world.edit_config(|config| config.replace("Order {{ order_number }}: ready.", "{{ order_number }} is here."));
    world.stack.reload_client();
    world.advance_time(SignedDuration::from_mins(1));
    world.deliver(world.erp_post("d-2", "ready", "2", PHONE)).await;

    world.edit_config(|config| config.replace("useful_for = \"72h\"", "useful_for = 72"));
    world.stack.reload_client();
    let loaded = world.stack.loaded_client();
    let finding = loaded.findings.first().unwrap();
    assert!(loaded.has_errors() && loaded.config.is_some(), "{loaded:?}");
    assert_eq!(loaded.text.lines().nth(finding.line - 1).unwrap(), "useful_for = 72", "{finding:?}");
    world.advance_time(SignedDuration::from_mins(1));
    world.deliver(world.erp_post("d-3", "ready", "3", PHONE)).await;
    assert_eq!(
        world.texts_on_phone(PHONE),
        ["Order 1: ready.", "2 is here.", "3 is here."],
        "the running functions keep the last version"
    );
    let entries = world.stack.activity().entries_after(0);
    let lines: Vec<String> = entries.iter().map(|entry| entry.event.to_string()).collect();
    assert!(lines.iter().any(|line| line == "client.toml changed: loaded"), "{lines:?}");
    let refused = format!("client.toml changed: not loaded; line {}: ", finding.line);
    assert!(lines.iter().any(|line| line.starts_with(&refused)), "{lines:?}");
}

#[tokio::test]
async fn back_at_the_present_nothing_waits_for_what_was_recorded_ahead() {
    let world = World::start_with(WorldSetup { messages_per_minute: Some(20), ..WorldSetup::default() }).await;
    world.advance_time(SignedDuration::from_hours(6));
    world.deliver(world.erp_post("d-1", "ready", "1", PHONE)).await;
    world.stack.provider().set_health(None, HealthPreset::Qr).unwrap();
    world.advance_time(SignedDuration::from_mins(5));
    world.deliver(world.erp_post("d-2", "ready", "2", PHONE)).await;
    assert_eq!(
        (world.message_state("order:1:ready"), world.message_state("order:2:ready")),
        ("accepted".into(), "held".into())
    );

    assert!(world.stack.return_to_now().await.unwrap() > 0);
    world.stack.provider().change_settings(|settings| settings.clock_offset_ms = 0).unwrap();
    world.stack.provider().set_health(None, HealthPreset::Good).unwrap();
    world.deliver(world.erp_post("d-3", "ready", "3", PHONE)).await;
    world.run_minutes(2).await;
    for key in ["order:2:ready", "order:3:ready"] {
        assert_eq!(world.message_state(key), "accepted", "{key}");
    }
    assert_eq!(world.messages().len(), 3, "each is sent once");
}
