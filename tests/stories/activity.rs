//! The activity of a local run: each post, and what it led to.

use std::time::Duration;

use tellonce_fakes::provider::HealthPreset;
use tellonce_samples::WebhookPost;
use tellonce_stack::activity::{ActivityEvent, PostResult};

use crate::world::World;

const PHONE: &str = "+972545550199";

/// Waits until the activity has a line.
async fn wait_for_line(world: &World, line: &str) {
    for _ in 0..600 {
        if lines(world).iter().any(|entry| entry.contains(line)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no line with {line:?} in {:#?}", lines(world));
}

fn lines(world: &World) -> Vec<String> {
    world.stack.activity().entries_after(0).iter().map(|entry| entry.event.to_string()).collect()
}

#[tokio::test]
async fn a_repeat_and_a_forgery_differ_from_what_came_in() {
    let world = World::start().await;
    let mut news = world.stack.activity().subscribe();
    let post = world.erp_post("d-1", "ready", "1001", PHONE);
    world.deliver(post.clone()).await;
    let first_at = world.now().as_millisecond();
    world.deliver(post).await;
    assert_eq!(world.post(world.erp_post_with_secret("whsec_AAAA", "d-2", "ready", "1", PHONE)).await, 401);
    assert_eq!(world.post(WebhookPost::new("/stores/erp", "text/plain", "hi")).await, 415);
    assert_eq!(world.post(WebhookPost::new("/nowhere", "application/json", "{}")).await, 404);
    wait_for_line(&world, "order:1001:ready: accepted").await;

    let entries = world.stack.activity().entries_after(0).into_iter();
    let posts = entries.filter_map(|entry| match &entry.event {
        ActivityEvent::Post(post) => Some(post.clone()),
        _ => None,
    });
    let posts: Vec<_> = posts.collect();
    let results: Vec<_> = posts.iter().map(|post| (post.result, post.status)).collect();
    let expected = [
        (PostResult::CameIn, 200),
        (PostResult::Repeat, 200),
        (PostResult::Forged, 401),
        (PostResult::Refused, 415),
        (PostResult::Refused, 404),
    ];
    assert_eq!(results, expected);
    assert_eq!((posts[0].kind.as_str(), posts[0].sender.as_str()), ("stores", "erp"));
    assert_eq!(posts[0].delivery.as_deref(), Some("erp#d-1"));
    assert_eq!(posts[1].delivery, posts[0].delivery);
    assert!(posts[1].first_at_ms.unwrap() <= first_at, "{:?}", posts[1]);
    assert!(posts[2].reason.as_ref().unwrap().contains("signature does not match"), "{:?}", posts[2]);
    assert_eq!(news.recv().await.unwrap().number, 1, "a subscriber gets every entry");
    let text = lines(&world).concat();
    assert!(!text.contains("54555") && !text.contains("Amit"), "no customer is named: {text}");
}

#[tokio::test]
async fn a_message_that_waits_and_then_goes_is_two_lines_with_the_reason() {
    let world = World::start().await;
    world.stack.provider().set_health(None, HealthPreset::Qr).unwrap();
    world.deliver(world.erp_post("d-1", "ready", "1001", PHONE)).await;
    wait_for_line(&world, "order:1001:ready: line-down: the line could not send (").await;
    world.stack.provider().set_health(None, HealthPreset::Good).unwrap();
    world.run_minutes(2).await;
    wait_for_line(&world, "order:1001:ready: accepted").await;
    world.deliver(world.erp_post("d-2", "unknown-event", "1001", PHONE)).await;
    wait_for_line(&world, "erp#d-2: no message: ").await;
}
