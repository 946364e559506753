//! What an operator sees of a stack: how it is, what waits, and what needs a person.

use jiff::SignedDuration;
use serde_json::json;
use tellonce_core::client_config::ClientConfig;
use tellonce_fakes::provider::{HealthPreset, SendFault};
use tellonce_ops::{ClientStack, ClientTables, Need, Overview};

use crate::{
    operator::role_parameters,
    world::{ERP_SECRET, World, WorldSetup},
};

const PHONE: &str = "+972545550199";

struct Desk<'a> {
    world: &'a World,
    tables: ClientTables,
    config: ClientConfig,
}

impl<'a> Desk<'a> {
    /// With the rights of a reader.
    async fn open(world: &'a World) -> Self {
        Self::open_as(world, "local-ReaderRole").await
    }

    async fn open_as(world: &'a World, caller: &str) -> Self {
        let stack = ClientStack::on_this_machine(world.stack.client_id(), &world.stack.describe(), caller).unwrap();
        let text = std::fs::read_to_string(world.stack.client_folder().join("client.toml")).unwrap();
        Self { world, tables: stack.find_tables().await.unwrap(), config: ClientConfig::parse(&text).unwrap() }
    }

    async fn look(&self) -> Overview {
        self.tables.read_overview(&self.config, self.world.now()).await.unwrap()
    }

    async fn list_needs(&self) -> Vec<Need> {
        let needs = self.tables.read_needs(&self.look().await).await.unwrap();
        assert_eq!(needs.more, 0);
        assert!(needs.list.is_sorted_by_key(|need| need.since), "{needs:?}");
        let text = serde_json::to_string(&needs).unwrap();
        assert!(!text.contains("0199") || text.contains("…0199"), "{text}");
        assert!(!text.contains("545550199") && !text.contains("Amit"), "names a customer: {text}");
        needs.list
    }
}

#[tokio::test]
async fn what_waits_is_listed_with_its_reason_until_it_has_gone() {
    let world = World::start().await;
    let desk = Desk::open(&world).await;
    let quiet = desk.look().await;
    assert_eq!((quiet.lines[0].wait.count, quiet.lines[0].blocked.as_ref(), quiet.lines[0].out_by), (0, None, None));
    world.stack.provider().set_health(None, HealthPreset::Qr).unwrap();
    for number in 1..=3 {
        world.deliver(world.erp_post(&format!("m-{number}"), "ready", &number.to_string(), PHONE)).await;
    }
    world.advance_time(SignedDuration::from_secs(5));
    let down = desk.look().await;
    let line = &down.lines[0];
    assert!(line.blocked.as_ref().unwrap().contains("the line could not send ("), "{line:?}");
    assert_eq!((line.name.as_str(), line.is_configured, line.wait.count, line.messages.len()), ("main", true, 3, 3));
    assert!(line.wait.oldest_since.unwrap() < down.at && line.wait.next_try.unwrap() > down.at, "{line:?}");
    assert!(line.out_by.unwrap() >= down.at);
    for message in &line.messages {
        let last = message.steps.last().unwrap();
        assert!(last.explanation.contains("could not send") && message.next_try.is_some(), "{message:?}");
        assert_eq!(message.to.as_deref(), Some("+972…0199"));
    }
    world.stack.provider().set_health(None, HealthPreset::Good).unwrap();
    for _ in 0..2 {
        world.advance_time(SignedDuration::from_mins(35));
        world.tick().await;
    }
    let up = desk.look().await;
    assert_eq!((up.lines[0].wait.count, up.lines[0].blocked.as_ref()), (0, None), "{:?}", up.lines);
    assert_eq!(world.messages().len(), 3);
}

#[tokio::test]
async fn the_figures_of_a_day_count_what_was_sent_repeated_and_refused() {
    let setup = WorldSetup { line_events: true, parameters: role_parameters(), ..WorldSetup::default() };
    let world = World::start_with(setup).await;
    world.begin_next(86_400);
    world.advance_time(SignedDuration::from_hours(2));
    let desk = Desk::open(&world).await;
    let stack =
        ClientStack::on_this_machine(world.stack.client_id(), &world.stack.describe(), "local-ReaderRole").unwrap();
    let quiet = stack.read_today(&desk.config).await;
    assert_eq!((quiet.sent, quiet.failed, quiet.repeats, quiet.refused), (Some(0), Some(0), Some(0), Some(0)));
    let post = world.erp_post("m-1", "ready", "1", PHONE);
    world.deliver(post.clone()).await;
    world.deliver(post.clone()).await;
    world.deliver(post).await;
    world.deliver(world.erp_post("m-2", "ready", "2", PHONE)).await;
    for number in 0..12 {
        let forged =
            world.erp_post_with_body("whsec_b3RoZXIgc2VjcmV0", &format!("f-{number}"), &json!({"type": "ready"}));
        assert_eq!(world.post(forged).await, 401);
    }
    world.run_minutes(8).await;
    let today = stack.read_today(&desk.config).await;
    assert_eq!(today.unreadable, [""; 0]);
    assert_eq!((today.sent, today.repeats, today.refused), (Some(2), Some(2), Some(12)), "{today:?}");
    let [erp] = &today.refusals[..] else { panic!("{today:?}") };
    assert_eq!((erp.sender.as_deref(), erp.count, erp.newest.len()), (Some("erp"), 12, 10));
    assert!(erp.newest.iter().all(|refusal| refusal.http_status == 401 && !refusal.reason.is_empty()), "{erp:?}");
    assert!(today.since <= world.now() && world.now().duration_since(today.since) < SignedDuration::from_hours(25));

    // A line that is down raises the alarm of waiting messages, and it ends with the wait.
    world.stack.provider().set_health(None, HealthPreset::Qr).unwrap();
    world.advance_time(SignedDuration::from_mins(1));
    world.deliver(world.erp_post("m-3", "ready", "3", PHONE)).await;
    world.run_minutes(20).await;
    let raised: Vec<String> = stack.read_today(&desk.config).await.alarms.into_iter().map(|alarm| alarm.name).collect();
    assert!(raised.contains(&"messages-waiting".to_owned()), "{raised:?}");
}

#[tokio::test]
async fn the_parts_of_a_stack_answer_and_one_that_stopped_is_named() {
    let world = World::start().await;
    let desk = Desk::open(&world).await;
    world.run_minutes(8).await;
    world.stack.poll_feeds().await.unwrap();
    world.settle().await;
    let parts = desk.look().await.parts;
    assert!(parts.len() >= 3 && parts.iter().all(|part| !part.is_late), "{parts:?}");
    world.advance_time(SignedDuration::from_mins(30));
    let late = desk.look().await.parts;
    assert!(late.iter().all(|part| part.is_late), "{late:?}");
    assert!(desk.list_needs().await.iter().any(|need| need.name == "part store-inbox"));
}

#[tokio::test]
async fn what_needs_a_person_stays_listed_until_it_is_settled() {
    let world = World::start().await;
    let desk = Desk::open(&world).await;
    world.run_minutes(8).await;
    world.stack.poll_feeds().await.unwrap();
    world.settle().await;
    assert_eq!(desk.list_needs().await, []);
    // A delivery that cannot be understood, and a message whose outcome stays unknown.
    let odd = world.erp_post_with_body(ERP_SECRET, "odd", &json!({"type": "ready", "phone": PHONE}));
    world.deliver(odd).await;
    world.stack.provider().fail_fraction(1.0, SendFault::ServerErrorBeforeAccept, 1).unwrap();
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    for _ in 0..8 {
        world.run_minutes(1).await;
        world.advance_time(SignedDuration::from_mins(39));
        world.tick().await;
    }
    world.run_minutes(8).await;
    world.stack.poll_feeds().await.unwrap();
    world.settle().await;
    assert_eq!(world.message_state("order:1:ready"), "needs-human");
    let needs = desk.list_needs().await;
    let listed: Vec<(&str, Option<&str>)> =
        needs.iter().map(|need| (need.name.as_str(), need.command.as_deref())).collect();
    let expected = [("erp#odd", Some("replay erp#odd")), ("order:1:ready", Some("done order:1:ready"))];
    assert_eq!(listed, expected, "{needs:?}");
    assert!(needs[0].reason.contains("(not-understood)"), "{needs:?}");
    assert!(needs[1].reason.contains("500") && needs[1].to.as_deref() == Some("+972…0199"), "{needs:?}");

    let found = desk.tables.find_need("order:1:ready").await.unwrap();
    assert_eq!(found.as_ref(), Some(&needs[1]));
    let desk = Desk::open_as(&world, "local-OperatorRole").await;
    for name in ["erp#odd", "order:1:ready"] {
        assert!(desk.tables.settle_need(name, world.now()).await.unwrap(), "{name}");
        assert!(!desk.tables.settle_need(name, world.now()).await.unwrap(), "{name}: once");
    }
    for unknown in ["order:2:ready", "erp#m-1", "nobody#1", "order"] {
        assert!(!desk.tables.settle_need(unknown, world.now()).await.unwrap(), "{unknown}");
    }
    assert_eq!(desk.list_needs().await, []);
    // What a person settled stays as it was, and is never sent.
    world.stack.provider().heal().unwrap();
    world.run_minutes(3).await;
    assert_eq!(world.message_state("order:1:ready"), "needs-human");
    assert_eq!(world.messages().len(), 0);
}

#[tokio::test]
async fn a_message_that_expired_or_failed_needs_a_person_and_a_late_event_does_not() {
    let world = World::start_with(WorldSetup { line_events: true, ..WorldSetup::default() }).await;
    let desk = Desk::open(&world).await;
    world.stack.provider().set_health(None, HealthPreset::Qr).unwrap();
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    world.advance_time(SignedDuration::from_hours(24 * 30));
    world.tick().await;
    assert_eq!(world.message_state("order:1:ready"), "expired");
    world.stack.provider().set_health(None, HealthPreset::Good).unwrap();
    let needs: Vec<Need> = desk.list_needs().await;
    let message = needs.iter().find(|need| need.name == "order:1:ready").unwrap();
    assert!(message.action.contains("in another way"), "{message:?}");
    // An event of the past, such as one of an import.
    let late = json!({"type": "ready", "order": "9", "phone": PHONE, "at": "2020-01-01T00:00:00Z"});
    world.deliver(world.erp_post_with_body(ERP_SECRET, "m-9", &late)).await;
    assert!(desk.list_needs().await.iter().all(|need| need.name != "order:9:ready"));
}
