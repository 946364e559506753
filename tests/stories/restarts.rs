//! A local stack that starts again on the state of an earlier one.

use std::{fs::OpenOptions, io::Write as _, path::Path, time::Duration};

use crate::world::{World, WorldSetup};

const PHONE: &str = "+972525550101";

async fn start_on(state: &Path) -> World {
    let setup = WorldSetup { state: Some(state.to_owned()), line_events: true, ..WorldSetup::default() };
    World::start_with(setup).await
}

/// Ids of the line's deliveries, when the fake provider has posted all of them.
async fn line_deliveries(world: &World) -> Vec<String> {
    let posted = world.stack.provider().wait_for(Duration::from_secs(20), |fake| fake.pending_deliveries() == 0).await;
    assert!(posted, "{:?}", world.stack.provider().webhook_attempts());
    world.settle().await;
    let mut ids: Vec<String> =
        world.table_items("LineInbox").iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_stack_that_stopped_on_a_full_disk_starts_again_and_loses_no_report_of_the_line() {
    let state = tempfile::tempdir().unwrap();
    let world = start_on(state.path()).await;
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    let before = line_deliveries(&world).await;
    world.stack.provider().write_from_phone(PHONE, "Hello", "line_story").unwrap();
    // Nothing is posted in between, because no other task has run.
    assert_eq!(world.stack.provider().pending_deliveries(), 2);
    world.stack.shutdown().await;
    drop(world);
    for file in ["fake-provider.jsonl", "failures.jsonl"] {
        // A line that the full disk cut within a character.
        let mut file = OpenOptions::new().append(true).create(true).open(state.path().join(file)).unwrap();
        file.write_all(&"{\"message\":\"של".as_bytes()[..13]).unwrap();
    }
    std::fs::write(state.path().join("streams.json.new"), "{\"F").unwrap();

    let again = start_on(state.path()).await;
    let after = line_deliveries(&again).await;
    assert_eq!(after.len(), before.len() + 2, "{after:?}");
    assert!(before.iter().all(|id| after.contains(id)));
    assert_eq!(again.texts_on_phone(PHONE).len(), 2, "the order's message and the customer's");
    again.deliver(again.erp_post("m-2", "ready", "2", PHONE)).await;
    let known = line_deliveries(&again).await;
    again.stack.shutdown().await;
    drop(again);

    let third = start_on(state.path()).await;
    assert_eq!(line_deliveries(&third).await, known, "nothing is posted twice");
    assert_eq!(third.stack.provider().max_messages_per_key(), 1);
    third.stack.shutdown().await;
}
