//! The commands of an operator, through the same AWS APIs as in an account, with the rights of the
//! operator's role in template.yaml.

use std::{collections::BTreeMap, fs};

use jiff::SignedDuration;
use serde_json::{Value, json};
use tellonce_core::{client_config::ClientConfig, contact::Phone};
use tellonce_fakes::services::{FakeFault, FakeService};
use tellonce_ops::{
    CallError, ClientStack, CommandOutcome, CommandRunner, CustomerAddress, DeadLettersResult, LineAction, Operation,
    OperatorCommand, OperatorError, Plan, QueueAction, ReplaySelection, list_operations,
};
use tellonce_stack::dynamo::{DynamoFault, FaultFrequency, FaultRule};

use crate::{
    booking_endpoint::crm_post,
    calendars::{advance_to_day_before, diary_event, whole_minute_in_hours},
    conversations::{
        ALL_CRM_NAMES, CRMS_TOML, assert_each_message_once, crm_and_target_secrets, entry_counts, settle_line_events,
        write_from_phone,
    },
    feeds::{ANNA_TOML, anna_secrets, poll_later},
    leads::{self, lead_post},
    world::{World, WorldSetup},
};

const PHONE: &str = "+972545550199";
/// The access key id of the local stack for the role.
pub(crate) const OPERATOR: &str = "local-OperatorRole";

/// The parameters of a stack with both roles.
pub(crate) fn role_parameters() -> BTreeMap<String, String> {
    let principal = "arn:aws:iam::000000000000:root".to_owned();
    ["ReaderPrincipalArn", "OperatorPrincipalArn"].map(|name| (name.to_owned(), principal.clone())).into()
}

fn setup() -> WorldSetup {
    WorldSetup { parameters: role_parameters(), ..WorldSetup::default() }
}

pub(crate) fn connect(world: &World, caller: &str) -> ClientStack {
    ClientStack::on_this_machine(world.stack.client_id(), &world.stack.describe(), caller).unwrap()
}

pub(crate) fn read_config(world: &World) -> ClientConfig {
    ClientConfig::parse(&fs::read_to_string(world.stack.client_folder().join("client.toml")).unwrap()).unwrap()
}

/// Plans a command as the operator's role, and runs it.
pub(crate) async fn operate(world: &World, command: OperatorCommand) -> (Plan, Result<CommandOutcome, OperatorError>) {
    let (stack, config) = (connect(world, OPERATOR), read_config(world));
    let runner = CommandRunner::connect(&stack, &config, |_| {}).await.unwrap();
    let plan = runner.plan(command).await.unwrap();
    let outcome = runner.run(&plan, Some("a story")).await;
    world.settle().await;
    (plan, outcome)
}

async fn refuse(world: &World, command: OperatorCommand) -> String {
    let (stack, config) = (connect(world, OPERATOR), read_config(world));
    let runner = CommandRunner::connect(&stack, &config, |_| {}).await.unwrap();
    runner.plan(command).await.unwrap_err().to_string()
}

async fn operations(world: &World) -> Vec<Operation> {
    list_operations(&connect(world, "local-ReaderRole"), 50).await.unwrap()
}

fn line(action: LineAction) -> OperatorCommand {
    OperatorCommand::Line { action, line: "main".to_owned() }
}

#[tokio::test]
async fn a_stack_on_this_machine_is_asked_like_an_account() {
    let world = World::start().await;
    let stack = connect(&world, "dana");
    assert_eq!(stack.identify_caller().await.unwrap(), "arn:aws:iam::000000000000:user/dana");
    let refused = stack.command::<Value>("conversation-sync", &json!({ "retry": "crm:none" })).await.unwrap_err();
    assert!(matches!(&refused, CallError::Failed { message, .. } if message.contains("unknown queue")), "{refused}");
    let absent = stack.command::<Value>("absent", &json!({})).await.unwrap_err();
    assert!(matches!(&absent, CallError::Invoke { .. }), "{absent}");
}

#[tokio::test]
async fn a_held_line_sends_nothing_until_it_is_released_and_a_drop_is_for_what_waited() {
    let world = World::start_with(setup()).await;
    let (_, held) = operate(&world, line(LineAction::Hold)).await;
    assert_eq!(held.unwrap(), CommandOutcome::Line(LineAction::Hold));
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    world.tick_after(SignedDuration::from_mins(5)).await;
    assert!(world.messages().is_empty());
    let (plan, _) = operate(&world, line(LineAction::Release)).await;
    let Plan::Line(plan) = plan else { panic!("{plan:?}") };
    assert_eq!((plan.stopped.as_deref(), plan.waiting, plan.unknown), (Some("a story"), 1, 0));
    world.tick_after(SignedDuration::from_mins(5)).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Amit, order 1: ready."]);

    operate(&world, line(LineAction::Hold)).await.1.unwrap();
    world.deliver(world.erp_post("m-2", "ready", "2", PHONE)).await;
    world.advance_time(SignedDuration::from_secs(1));
    operate(&world, line(LineAction::Drop)).await.1.unwrap();
    world.advance_time(SignedDuration::from_secs(1));
    world.deliver(world.erp_post("m-3", "ready", "3", PHONE)).await;
    operate(&world, line(LineAction::Release)).await.1.unwrap();
    for _ in 0..3 {
        world.tick_after(SignedDuration::from_mins(31)).await;
    }
    assert_eq!(world.texts_on_phone(PHONE), ["Amit, order 1: ready.", "Amit, order 3: ready."]);
    assert_eq!(world.message_state("order:2:ready"), "superseded");

    let unknown = refuse(&world, OperatorCommand::Line { action: LineAction::Hold, line: "second".to_owned() }).await;
    assert_eq!(unknown, "`second` is not a line of this client; known are: main");
    let recorded = operations(&world).await;
    let commands: Vec<&str> = recorded.iter().map(|operation| operation.command.as_str()).collect();
    let expected = ["release the line main", "drop what waits for the line main", "hold the line main"];
    assert_eq!(commands, [&expected[..], &["release the line main", "hold the line main"]].concat());
    let first = recorded.last().unwrap();
    assert_eq!(first.who, "arn:aws:sts::000000000000:assumed-role/OperatorRole/local");
    assert_eq!((first.because.as_deref(), first.outcome.as_deref()), (Some("a story"), Some("the line is stopped")));
    assert!(first.ended_at.unwrap() >= first.at);
}

#[tokio::test]
async fn held_leads_are_greeted_once_or_dropped() {
    let world = leads::start_world("", setup()).await;
    // The limit counts by the hour.
    world.begin_next(3600);
    let phone = |number: usize| format!("+9725255501{number:02}");
    let release = |greets| OperatorCommand::Form { form: "landing".to_owned(), greets };
    for number in 0..6 {
        world.deliver(lead_post("landing", &number.to_string(), &phone(number))).await;
    }
    assert_eq!(world.messages().len(), 3, "the form's limit");
    let (plan, released) = operate(&world, release(true)).await;
    assert!(matches!(&plan, Plan::Form(form) if form.held == 3), "{plan:?}");
    assert_eq!(released.unwrap(), CommandOutcome::Leads { greets: true, deliveries: 3 });
    assert_eq!(world.messages().len(), 6);
    for number in 10..16 {
        world.deliver(lead_post("landing", &number.to_string(), &phone(number))).await;
    }
    let (_, dropped) = operate(&world, release(false)).await;
    assert_eq!(dropped.unwrap().to_string(), "dropped 3 leads");
    assert_eq!((world.messages().len(), world.stack.provider().max_messages_per_key()), (9, 1));
}

#[tokio::test]
async fn the_next_read_of_a_suspect_feed_counts_when_it_is_accepted() {
    let world = World::start_with(WorldSetup { extra_toml: ANNA_TOML, extra_secrets: anna_secrets(), ..setup() }).await;
    let accept = || OperatorCommand::AcceptFeed { calendar: "anna".to_owned() };
    let start = whole_minute_in_hours(&world, 80);
    let put = |ids: std::ops::Range<u32>| {
        for id in ids {
            let event = diary_event(&world, &format!("e{id}"), start, &format!("052-555-01{id:02}"));
            world.stack.calendars().put_event("anna.ics", event).unwrap();
        }
    };
    put(0..5);
    world.stack.poll_feeds().await.unwrap();
    assert!(refuse(&world, accept()).await.contains("nothing to accept"));
    put(5..40);
    assert_eq!(poll_later(&world).await["waiting"], 33);
    let (plan, accepted) = operate(&world, accept()).await;
    let Plan::Feed(plan) = plan else { panic!("{plan:?}") };
    assert!(plan.problem.unwrap().contains("33 new appointments wait") && plan.postponing_since.is_some());
    assert_eq!((plan.appointments, accepted.unwrap()), (7, CommandOutcome::FeedAccepted));
    assert_eq!(poll_later(&world).await["reports"], 33);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_entries_are_made_once_after_a_retry() {
    let extra_secrets = crm_and_target_secrets();
    let world =
        World::start_with(WorldSetup { extra_toml: CRMS_TOML, line_events: true, extra_secrets, ..setup() }).await;
    world.stack.fakes().fail_next(FakeService::Crm("hubspot"), FakeFault::Status(400), 100);
    write_from_phone(&world, PHONE, "Hello");
    settle_line_events(&world).await;
    for _ in 0..3 {
        world.advance_time(SignedDuration::from_mins(30));
        world.tick_conversations().await;
    }
    world.stack.fakes().heal();
    let retry = |queue: &str| OperatorCommand::Queue { action: QueueAction::Retry, queue: queue.to_owned() };
    let (plan, retried) = operate(&world, retry("crm:hub")).await;
    assert!(matches!(&plan, Plan::Queue(queue) if queue.refused == 1), "{plan:?}");
    assert_eq!(retried.unwrap().to_string(), "1 task waits again");
    world.advance_time(SignedDuration::from_mins(1));
    world.tick_conversations().await;
    assert_each_message_once(&world, &ALL_CRM_NAMES);
    assert!(refuse(&world, retry("crm:none")).await.contains("crm:hub"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_tasks_are_never_done_and_new_ones_are() {
    let extra_secrets = crm_and_target_secrets();
    let world =
        World::start_with(WorldSetup { extra_toml: CRMS_TOML, line_events: true, extra_secrets, ..setup() }).await;
    world.stack.fakes().fail_next(FakeService::Crm("hubspot"), FakeFault::Status(503), 100);
    write_from_phone(&world, PHONE, "Hello");
    settle_line_events(&world).await;
    world.tick_conversations().await;
    let drop = |queue: &str| OperatorCommand::Queue { action: QueueAction::Drop, queue: queue.to_owned() };
    let (plan, dropped) = operate(&world, drop("crm:hub")).await;
    assert!(matches!(&plan, Plan::Queue(queue) if (queue.waiting, queue.refused) == (1, 0)), "{plan:?}");
    assert_eq!(dropped.unwrap().to_string(), "dropped 1 task");
    assert!(refuse(&world, drop("crm:hub-of-before")).await.contains("known are: "));
    world.stack.fakes().heal();
    world.advance_time(SignedDuration::from_hours(2));
    world.tick_conversations().await;
    assert_eq!(entry_counts(&world, "hub"), BTreeMap::new());
    write_from_phone(&world, PHONE, "Hello again");
    settle_line_events(&world).await;
    world.tick_conversations().await;
    assert_eq!(entry_counts(&world, "hub").into_values().collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn an_opted_out_customer_gets_no_reminder_until_the_opt_out_is_taken_back() {
    let world = World::start_with(setup()).await;
    let phone = || Phone::from_e164(PHONE).unwrap();
    let opt_out = |opts_out| OperatorCommand::OptOut { phone: phone(), opts_out };
    world.deliver(crm_post(&world, "b-1")).await;
    let (plan, changed) = operate(&world, opt_out(true)).await;
    assert_eq!(changed.unwrap(), CommandOutcome::OptOutChanged(true));
    assert!(!format!("{plan:?} {}", serde_json::to_string(&plan).unwrap()).contains("54555"), "{plan:?}");
    advance_to_day_before(&world, world.now() + SignedDuration::from_hours(72)).await;
    assert!(world.texts_on_phone(PHONE).is_empty());

    let (plan, _) = operate(&world, opt_out(true)).await;
    assert!(plan.changes_nothing());
    operate(&world, opt_out(false)).await.1.unwrap();
    let (stack, config) = (connect(&world, OPERATOR), read_config(&world));
    let runner = CommandRunner::connect(&stack, &config, |_| {}).await.unwrap();
    let contact = runner.find_contact(&CustomerAddress::Number(phone())).await.unwrap();
    assert!(contact.contact.starts_with("contact:") && contact.opted_out_at.is_none());
    assert!(contact.opted_in_at.is_some());
    let recorded = operations(&world).await;
    assert!(recorded.iter().all(|operation| !format!("{operation:?}").contains("54555")), "{recorded:?}");
}

#[tokio::test]
async fn a_replay_sends_nothing_twice_and_one_that_fails_is_recorded_as_failed() {
    let world = World::start_with(setup()).await;
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    world.deliver(world.erp_post("m-2", "ready", "2", "")).await;
    let one = |delivery: &str| OperatorCommand::ReplayDelivery { delivery: delivery.to_owned() };
    let (plan, replayed) = operate(&world, one("erp#m-1")).await;
    assert!(matches!(&plan, Plan::Delivery(delivery) if delivery.outcome.is_none()), "{plan:?}");
    assert_eq!(replayed.unwrap(), CommandOutcome::Replayed(1));
    assert!(refuse(&world, one("erp#m-9")).await.contains("no inbox has the delivery"));

    let since = ReplaySelection { since: Some(world.now() - SignedDuration::from_hours(1)), ..Default::default() };
    let of_outcome = ReplaySelection { outcome: Some("no-phone".to_owned()), ..ReplaySelection::default() };
    for (selection, matches) in [(since, 2), (of_outcome, 1)] {
        let (plan, replayed) = operate(&world, OperatorCommand::Replay(selection)).await;
        assert!(matches!(&plan, Plan::Replay(replay) if replay.deliveries.len() == matches), "{plan:?}");
        assert_eq!(replayed.unwrap(), CommandOutcome::Replayed(matches));
    }
    assert_eq!(world.texts_on_phone(PHONE), ["Amit, order 1: ready."]);
    assert_eq!(world.delivery_outcome("erp#m-2").as_deref(), Some("no-phone"));

    // The outcome changes between the plan and its effect.
    let (stack, config) = (connect(&world, OPERATOR), read_config(&world));
    let runner = CommandRunner::connect(&stack, &config, |_| {}).await.unwrap();
    let plan = runner.plan(one("erp#m-2")).await.unwrap();
    let inbox = world.table_name("StoreInbox");
    let forget = json!({
        "TableName": inbox, "Key": { "id": { "S": "erp#m-2" } }, "UpdateExpression": "SET outcome = :other",
        "ExpressionAttributeValues": { ":other": { "S": "failed" } },
    });
    world.stack.dynamo().call_operation("UpdateItem", &forget).unwrap();
    assert!(matches!(runner.run(&plan, None).await, Err(OperatorError::ChangedMeanwhile(_))));
    let newest = operations(&world).await.swap_remove(0);
    assert_eq!((newest.command.as_str(), newest.because), ("replay the delivery erp#m-2", None));
    assert!(newest.outcome.unwrap().starts_with("failed: the delivery `erp#m-2` changed"));
}

fn break_ledger(world: &World) {
    world.stack.dynamo().faults().inject_rule(FaultRule {
        operation: None,
        table: Some(world.table_name("Ledger")),
        fault: DynamoFault::Outage,
        frequency: FaultFrequency::Fraction(1.0),
    });
}

#[tokio::test]
async fn dead_letters_are_replayed_and_deleted() {
    let world = World::start_with(WorldSetup { retries_at_once: true, ..setup() }).await;
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    world.advance_time(SignedDuration::from_hours(1));
    break_ledger(&world);
    world.deliver(world.erp_post("m-2", "ready", "2", PHONE)).await;
    world.stack.dynamo().faults().clear();
    world.advance_time(SignedDuration::from_hours(1));

    let (stack, config) = (connect(&world, OPERATOR), read_config(&world));
    let runner = CommandRunner::connect(&stack, &config, |_| {}).await.unwrap();
    for _ in 0..2 {
        // A list hides nothing from the next one.
        let letters = runner.list_dead_letters().await.unwrap();
        assert_eq!((letters.len(), letters[0].function.as_str(), letters[0].records), (1, "order-notifier", 1));
        assert!(world.now().duration_since(letters[0].first.unwrap()) > SignedDuration::from_mins(59));
    }
    let (plan, done) = operate(&world, OperatorCommand::DeadLetters { replays: true }).await;
    assert!(matches!(&plan, Plan::DeadLetters(dead) if dead.spans[0].matches == 1), "{plan:?}");
    let result = DeadLettersResult { replayed: 1, deleted: 1, kept: 0 };
    assert_eq!(done.unwrap(), CommandOutcome::DeadLetters(result));
    assert_eq!(world.texts_on_phone(PHONE), ["Amit, order 1: ready.", "Amit, order 2: ready."]);
    assert!(world.stack.failures().is_empty());
    assert!(operate(&world, OperatorCommand::DeadLetters { replays: true }).await.0.changes_nothing());
}

#[tokio::test]
async fn a_dead_letter_whose_delivery_came_in_earlier_is_kept_until_it_is_deleted() {
    let world = World::start_with(WorldSetup { retries_at_once: true, ..setup() }).await;
    world.deliver(world.erp_post("m-1", "ready", "1", "")).await;
    world.advance_time(SignedDuration::from_hours(1));
    // A replay during an outage.
    break_ledger(&world);
    let replay = json!({
        "TableName": world.table_name("StoreInbox"), "Key": { "id": { "S": "erp#m-1" } },
        "UpdateExpression": "REMOVE outcome, outcome_text, outcome_at SET replayed_at = :now",
        "ExpressionAttributeValues": { ":now": { "N": world.now().as_millisecond().to_string() } },
    });
    world.stack.dynamo().call_operation("UpdateItem", &replay).unwrap();
    world.settle().await;
    world.stack.dynamo().faults().clear();

    let (_, kept) = operate(&world, OperatorCommand::DeadLetters { replays: true }).await;
    let result = DeadLettersResult { replayed: 0, deleted: 0, kept: 1 };
    assert_eq!(kept.unwrap(), CommandOutcome::DeadLetters(result));
    let delivery = "erp#m-1".to_owned();
    operate(&world, OperatorCommand::ReplayDelivery { delivery }).await.1.unwrap();
    assert_eq!(world.delivery_outcome("erp#m-1").as_deref(), Some("no-phone"));
    let (_, deleted) = operate(&world, OperatorCommand::DeadLetters { replays: false }).await;
    assert_eq!(deleted.unwrap().to_string(), "replayed 0 deliveries, deleted 1 dead letter, kept 0");
    assert!(world.stack.failures().is_empty());
}

#[tokio::test]
async fn a_command_that_was_interrupted_has_no_outcome_and_one_that_cannot_be_recorded_no_effect() {
    let world = World::start_with(setup()).await;
    let (stack, config) = (connect(&world, OPERATOR), read_config(&world));
    let runner = CommandRunner::connect(&stack, &config, |_| {}).await.unwrap();
    let hold = runner.plan(line(LineAction::Hold)).await.unwrap();
    let refuse = |operation| FaultRule {
        operation: Some(operation),
        table: Some(world.table_name("Ledger")),
        fault: DynamoFault::Outage,
        frequency: FaultFrequency::Fraction(1.0),
    };
    world.stack.dynamo().faults().inject_rule(refuse("PutItem".to_owned()));
    let unrecorded = runner.run(&hold, None).await.unwrap_err();
    assert!(matches!(unrecorded, OperatorError::Operations(_)), "{unrecorded}");
    world.stack.dynamo().faults().clear();
    assert!(operations(&world).await.is_empty());
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    assert_eq!(world.messages().len(), 1, "the line is not stopped");

    world.stack.dynamo().faults().inject_rule(refuse("UpdateItem".to_owned()));
    assert!(runner.run(&hold, None).await.is_err());
    world.stack.dynamo().faults().clear();
    let [interrupted] = operations(&world).await.try_into().unwrap();
    assert_eq!((interrupted.command.as_str(), interrupted.outcome), ("hold the line main", None));
}

#[tokio::test]
async fn the_role_of_a_reader_changes_nothing() {
    let world = World::start_with(setup()).await;
    let (stack, config) = (connect(&world, "dana"), read_config(&world));
    let plan =
        CommandRunner::connect(&stack, &config, |_| {}).await.unwrap().plan(line(LineAction::Hold)).await.unwrap();
    let reader = connect(&world, "local-ReaderRole");
    assert!(reader.find_tables().await.unwrap().explain("order:1").await.is_err(), "there is no such order");
    let runner = CommandRunner::connect(&reader, &config, |_| {}).await.unwrap();
    let refused = runner.run(&plan, None).await.unwrap_err();
    assert_eq!(refused.to_string(), "the command could not be recorded, and nothing was done");
    assert!(reader.command::<Value>("conversation-sync", &json!({ "contact": PHONE })).await.is_err());
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    assert_eq!(world.messages().len(), 1, "the line is not stopped");
    let refused = world.stack.roles().take_refused_calls();
    assert_eq!(refused.len(), 2, "{refused:?}");
}
