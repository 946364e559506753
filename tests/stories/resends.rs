//! `tellonce resend`: what ended unsent goes out once, and what may have arrived is refused.

use std::fs;

use jiff::SignedDuration;
use tellonce_core::{client_config::ClientConfig, ledger::ResendDecision};
use tellonce_fakes::provider::{HealthPreset, SendFault};
use tellonce_ops::{ClientStack, CommandOutcome, CommandRunner, OperatorCommand, OperatorError, Plan};

use crate::{
    leads::{self, lead_post},
    operator::role_parameters,
    world::{World, WorldSetup},
};

const PHONE: &str = "+972545550199";
const KEY: &str = "order:1:ready";
const AS_IT_IS: ResendDecision = ResendDecision { useful_until: None, is_absent: false };
const ABSENT: ResendDecision = ResendDecision { useful_until: None, is_absent: true };

fn setup() -> WorldSetup {
    WorldSetup { parameters: role_parameters(), line_events: true, ..WorldSetup::default() }
}

/// A stack and its settings, with the operator's role.
fn connect(world: &World) -> (ClientStack, ClientConfig) {
    let stack = ClientStack::on_this_machine(world.stack.client_id(), &world.stack.describe(), "local-OperatorRole");
    let text = fs::read_to_string(world.stack.client_folder().join("client.toml")).unwrap();
    (stack.unwrap(), ClientConfig::parse(&text).unwrap())
}

async fn plan(world: &World, key: &str, decision: ResendDecision) -> Result<Plan, OperatorError> {
    let (stack, config) = connect(world);
    let runner = CommandRunner::connect(&stack, &config, |_| {}).await.unwrap();
    runner.plan(OperatorCommand::Resend { key: key.to_owned(), decision }).await
}

async fn run(world: &World, plan: &Plan) -> Result<CommandOutcome, OperatorError> {
    let (stack, config) = connect(world);
    CommandRunner::connect(&stack, &config, |_| {}).await.unwrap().run(plan, Some("a story")).await
}

async fn refuse(world: &World, key: &str, decision: ResendDecision) -> String {
    plan(world, key, decision).await.unwrap_err().to_string()
}

async fn resend(world: &World, key: &str, decision: ResendDecision) {
    let planned = plan(world, key, decision).await.unwrap();
    assert_eq!(run(world, &planned).await.unwrap(), CommandOutcome::Resent(key.to_owned()));
    world.run_minutes(2).await;
}

async fn codes(world: &World, key: &str) -> Vec<String> {
    let report = connect(world).0.find_tables().await.unwrap().explain(key).await.unwrap();
    report.messages[0].steps.iter().map(|step| step.code.clone()).collect()
}

#[tokio::test]
async fn a_refused_message_is_sent_once_and_a_second_resend_is_refused() {
    let world = World::start_with(setup()).await;
    world.stack.provider().fail_next(1, SendFault::RefusedBeforeAccept);
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    assert_eq!(world.message_state(KEY), "refused");
    let (first, second) = (plan(&world, KEY, AS_IT_IS).await.unwrap(), plan(&world, KEY, AS_IT_IS).await.unwrap());
    run(&world, &first).await.unwrap();
    let overtaken = run(&world, &second).await.unwrap_err().to_string();
    assert!(overtaken.contains("changed meanwhile"), "{overtaken}");
    assert!(refuse(&world, KEY, ABSENT).await.contains("goes out by itself"));
    world.run_minutes(2).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Amit, order 1: ready."]);
    assert_eq!(codes(&world, KEY).await[1..5], ["created", "refused", "resent", "accepted"]);
    assert!(refuse(&world, KEY, ABSENT).await.contains("it would be sent twice"));
    assert!(refuse(&world, "order:9:ready", AS_IT_IS).await.contains("neither a message"));
    assert_eq!(world.stack.provider().max_messages_per_key(), 1);
}

#[tokio::test]
async fn an_expired_message_needs_a_new_time_and_an_unknown_outcome_a_look_into_the_conversation() {
    let world = World::start_with(setup()).await;
    world.stack.provider().set_health(None, HealthPreset::Qr).unwrap();
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    world.tick_after(SignedDuration::from_hours(24 * 30)).await;
    world.stack.provider().set_health(None, HealthPreset::Good).unwrap();
    assert_eq!(world.message_state(KEY), "expired");
    assert!(refuse(&world, KEY, AS_IT_IS).await.contains("--useful-until"));
    let useful_until = Some(world.now() + SignedDuration::from_hours(1));
    resend(&world, KEY, ResendDecision { useful_until, is_absent: false }).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Amit, order 1: ready."]);

    world.stack.provider().fail_fraction(1.0, SendFault::ServerErrorBeforeAccept, 1).unwrap();
    world.deliver(world.erp_post("m-2", "ready", "2", PHONE)).await;
    assert!(refuse(&world, "order:2:ready", ABSENT).await.contains("is tried again by itself"));
    for _ in 0..8 {
        world.run_minutes(1).await;
        world.tick_after(SignedDuration::from_mins(39)).await;
    }
    assert_eq!(world.message_state("order:2:ready"), "needs-human");
    world.stack.provider().heal().unwrap();
    assert!(refuse(&world, "order:2:ready", AS_IT_IS).await.contains("--not-there only if"));
    world.advance_time(SignedDuration::from_mins(2));
    resend(&world, "order:2:ready", ABSENT).await;
    assert_eq!(world.texts_on_phone(PHONE), ["Amit, order 1: ready.", "Amit, order 2: ready."]);
    assert_eq!(world.stack.provider().max_messages_per_key(), 1);
}

#[tokio::test]
async fn a_refused_greeting_is_sent_again_unless_the_lead_opted_out_meanwhile() {
    let world = leads::start_world("", setup()).await;
    let phone = |number: u8| format!("+97252555010{number}");
    for number in 1..=2 {
        world.stack.provider().fail_next(1, SendFault::RefusedBeforeAccept);
        world.deliver(lead_post("site", &number.to_string(), &phone(number))).await;
    }
    let rows = world.message_rows();
    let refused: Vec<&String> = rows.iter().filter(|(_, row)| row["state"] == "refused").map(|(key, _)| key).collect();
    assert_eq!(refused.len(), 2, "{rows:#?}");
    let (stack, config) = connect(&world);
    let runner = CommandRunner::connect(&stack, &config, |_| {}).await.unwrap();
    let second = tellonce_core::contact::Phone::from_e164(&phone(2)).unwrap();
    let opt_out = runner.plan(OperatorCommand::OptOut { phone: second, opts_out: true }).await.unwrap();
    runner.run(&opt_out, None).await.unwrap();
    for key in refused {
        resend(&world, key, AS_IT_IS).await;
    }
    let greeted: Vec<usize> = [1, 2].map(|number| world.texts_on_phone(&phone(number)).len()).into();
    assert_eq!(greeted, [1, 0]);
}
