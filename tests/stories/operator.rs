//! What an operator does to a stack, through the same AWS APIs as in an account.

use serde_json::{Value, json};
use tellonce_ops::{CallError, ClientStack};

use crate::world::World;

fn connect(world: &World, caller: &str) -> ClientStack {
    ClientStack::on_this_machine(world.stack.client_id(), &world.stack.describe(), caller).unwrap()
}

#[tokio::test]
async fn a_stack_on_this_machine_is_asked_like_an_account() {
    let world = World::start().await;
    let stack = connect(&world, "dana");
    assert_eq!(stack.identify_caller().await.unwrap(), "arn:aws:iam::000000000000:user/dana");
    let contact: Value = stack.command("conversation-sync", &json!({ "contact": "+972545550199" })).await.unwrap();
    assert!(contact["contact"].as_str().unwrap().starts_with("contact:"), "{contact}");
    let refused = stack.command::<Value>("conversation-sync", &json!({ "retry": "crm:none" })).await.unwrap_err();
    assert!(matches!(&refused, CallError::Failed { message, .. } if message.contains("unknown queue")), "{refused}");
    let absent = stack.command::<Value>("absent", &json!({})).await.unwrap_err();
    assert!(matches!(&absent, CallError::Invoke { .. }), "{absent}");
}
