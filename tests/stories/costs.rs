//! The tables of costs in `docs/operations.md`, computed from counted requests, from the template
//! and from the list of secrets.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::Value;
use tellonce_bench::cost::{DASHBOARD_MONTH, EventLoad, IdleMonth, access_log_bytes, idle_month, platform_log_bytes};
use tellonce_check::list_needed_secrets;
use tellonce_core::client_config::ClientConfig;
use tellonce_stack::functions::LogSource;

use crate::{
    conversations::{line_event, message_body, settle_line_events},
    sources::{template_alarms, workspace_root},
    world::{World, WorldSetup},
};

const PHONE: &str = "+972545550199";
const FUNCTIONS: [&str; 5] =
    ["webhook-receiver", "order-notifier", "lead-first-touch", "reminder-scheduler", "conversation-sync"];
/// Minutes that are counted. What happens every five or seven minutes happens in them a whole
/// number of times.
const MINUTES: u32 = 35;
/// The processor time of an invocation, on a whole processor, in milliseconds. The benchmark
/// measures between 1 and 6.
const CPU_MS: f64 = 2.0;

/// The client of the tables: a store, a form, line events, one CRM and one target.
const CLIENT_TOML: &str = r#"
client = "story"
name = "Story Shop"
country = "IL"
time_zone = "Asia/Jerusalem"
languages = ["en"]

[lines.main]
line_id = "line_story"
messages_per_minute = 60000
first_contacts_per_day = 100000
events = true

[stores.woo]
kind = "woocommerce"
source = "https://story.example/"
line = "main"
statuses = { completed = "shipped" }

[messages.shipped]
useful_for = "72h"
text = { en = "Order {{ order_number }}: on its way." }

[forms.web]
kind = "web"
line = "main"
verify = { scheme = "static-header", header = "X-Webhook-Token" }
consent = { field = "consent.whatsapp" }
[forms.web.first_touch]
useful_for = "1d"
text = { en = "Thank you for writing to {{ business_name }}." }

[crms.own]
kind = "webhook"
url = "https://crm.example.com/events"
requests_per_minute = 60000

[targets.desk]
kind = "webhook"
url = "https://desk.example.com/calls"

[escalations.urgent]
when = { words = { en = ["urgent"] } }
to = ["desk"]
"#;

async fn start_world() -> World {
    let secret = "whsec_c3Rvcmllcy1vZi1jb252ZXJzYXRpb25zLTAx".to_owned();
    let world = World::start_with(WorldSetup {
        client_toml: Some(CLIENT_TOML),
        line_events: true,
        extra_secrets: vec![("crms/own", secret.clone()), ("targets/desk", secret)],
        ..WorldSetup::default()
    })
    .await;
    // In every run, the minutes include the one in which the sweep also erases aged data.
    world.begin_next(3600);
    world
}

/// The counters of a world at one moment.
struct Mark {
    invocations: BTreeMap<&'static str, u64>,
    log_lines: BTreeMap<&'static str, u64>,
}

fn mark_counters(world: &World) -> Mark {
    world.stack.dynamo().counters().reset();
    let last = |function| world.stack.log_lines(function).last().map_or(0, |line| line.number);
    Mark {
        invocations: FUNCTIONS.map(|function| (function, world.stack.invocation_counts(function).started)).into(),
        log_lines: FUNCTIONS.map(|function| (function, last(function))).into(),
    }
}

/// The functions' own log lines since then.
fn log_lines_since(world: &World, mark: &Mark) -> Vec<String> {
    let of_function = |function| {
        let lines = world.stack.log_lines(function).into_iter();
        let is_new = |number| number > mark.log_lines[function];
        lines.filter(move |line| line.source != LogSource::Stack && is_new(line.number)).map(|line| line.text)
    };
    FUNCTIONS.into_iter().flat_map(of_function).collect()
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn to_f64(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or(u64::MAX) as f64
}

/// What was used since then. `gateway` and `calls` are the requests to the HTTP API, and to the
/// provider and the CRM.
fn usage_since(world: &World, mark: &Mark, gateway: f64, calls: f64) -> EventLoad {
    let counters = world.stack.dynamo().counters();
    let started =
        |function: &&'static str| world.stack.invocation_counts(function).started - mark.invocations[*function];
    let invocations = to_f64(FUNCTIONS.iter().map(started).sum::<u64>());
    let own_lines: usize = log_lines_since(world, mark).iter().map(|line| line.len() + 1).sum();
    EventLoad {
        memory_mb: 128.0,
        invocations,
        cpu_ms: invocations * CPU_MS,
        dynamo: to_f64(counters.snapshot().values().map(|usage| usage.requests).sum::<u64>()),
        write_units: counters.write_units(),
        read_units: counters.read_units(),
        secrets: 0.0,
        provider: calls,
        log_bytes: to_f64(own_lines)
            + invocations * platform_log_bytes(&template_text())
            + gateway * access_log_bytes(&template_text()),
        init_ms: 0.0,
        secrets_at_start: 0.0,
        gateway,
    }
}

fn divide(load: &EventLoad, by: f64) -> EventLoad {
    EventLoad {
        invocations: load.invocations / by,
        cpu_ms: load.cpu_ms / by,
        dynamo: load.dynamo / by,
        write_units: load.write_units / by,
        read_units: load.read_units / by,
        log_bytes: load.log_bytes / by,
        ..*load
    }
}

/// A load without the summary of a chat, which local webhooks get and real ones do not: its
/// delivery is stored and skipped.
fn without_chat_summary(load: &EventLoad) -> EventLoad {
    EventLoad {
        invocations: load.invocations - 2.0,
        cpu_ms: load.cpu_ms - 2.0 * CPU_MS,
        dynamo: load.dynamo - 2.0,
        write_units: load.write_units - 2.0,
        log_bytes: load.log_bytes - 2.0 * platform_log_bytes(&template_text()),
        ..*load
    }
}

/// The names of the metrics in log lines, with their dimensions: each is billed.
fn published_metrics(lines: &[String]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten() {
            for metric in directive["Metrics"].as_array().into_iter().flatten() {
                names.insert(format!("{} {}", metric["Name"], directive["Dimensions"]));
            }
        }
    }
    names
}

/// The number of secrets: one for each role, and separate ones.
fn count_secrets() -> (usize, usize) {
    let config = ClientConfig::parse(CLIENT_TOML).unwrap();
    let names: Vec<String> = list_needed_secrets(&config).into_iter().map(|secret| secret.name).collect();
    let role = |name: &String| match name.split('/').nth(2).unwrap() {
        "stores" | "calendars" | "forms" => "apis".to_owned(),
        role => role.to_owned(),
    };
    (names.iter().map(role).collect::<BTreeSet<_>>().len(), names.len())
}

fn template_text() -> String {
    std::fs::read_to_string(workspace_root().join("template.yaml")).unwrap()
}

/// A row of the tables: its name in the page, and its figures.
struct CostRow {
    name: &'static str,
    figures: Vec<f64>,
}

/// The figures of a row in the page.
fn documented_figures(page: &str, name: &str) -> Vec<f64> {
    let row = page.lines().find(|line| line.starts_with(&format!("| {name} |"))).unwrap_or_default();
    let cells = row.trim_matches('|').split('|').skip(1);
    cells.filter_map(|cell| cell.trim().trim_matches('*').parse().ok()).collect()
}

/// Fails if a figure of the page differs by more than a fiftieth, or two cents. Shows all rows.
#[expect(clippy::print_stdout, reason = "figures of a story, for a person who reads its output")]
fn assert_documented(rows: &[CostRow]) {
    let page = std::fs::read_to_string(workspace_root().join("docs/operations.md")).unwrap();
    let is_close = |(found, documented): (&f64, &f64)| (found - documented).abs() <= (found / 50.0).max(0.02);
    let mut differs = false;
    let mut all = String::new();
    for CostRow { name, figures } in rows {
        let documented = documented_figures(&page, name);
        let cells: Vec<String> = figures.iter().map(|figure| format!("{figure:.2}")).collect();
        all = format!("{all}| {name} | {} |\n", cells.join(" | "));
        differs |= documented.len() != figures.len() || !figures.iter().zip(&documented).all(is_close);
    }
    println!("{all}");
    assert!(!differs, "docs/operations.md differs from these rows:\n{all}");
}

/// The bills of an idle client with secrets by role, and with separate ones.
#[expect(clippy::print_stdout, reason = "figures of a story, for a person who reads its output")]
async fn idle_bills() -> [IdleMonth; 2] {
    let world = start_world().await;
    // Warm: all functions run.
    world.tick().await;
    world.tick_conversations().await;
    world.stack.poll_feeds().await.unwrap();
    let mark = mark_counters(&world);
    for minute in 1..=MINUTES {
        world.advance_time(SignedDuration::from_mins(1));
        world.tick().await;
        world.tick_conversations().await;
        if minute % 5 == 0 {
            world.stack.poll_feeds().await.unwrap();
        }
    }
    world.settle().await;
    let minute = divide(&usage_since(&world, &mark, 0.0, 0.0), f64::from(MINUTES));
    let metrics = to_f64(published_metrics(&log_lines_since(&world, &mark)).len());
    let (by_role, separate) = count_secrets();
    println!("a minute: {minute:?}; {metrics} metrics");
    let alarms = to_f64(template_alarms().len());
    [by_role, separate].map(|secrets| idle_month(to_f64(secrets), alarms, metrics, &minute))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_client_costs_what_the_page_says_and_at_most_three_dollars_a_month() {
    let bills = idle_bills().await;
    let by_role = &bills[0];
    assert!(by_role.total() <= 3.00, "{by_role:?}");
    let row = |name, figure: &dyn Fn(usize) -> f64| CostRow { name, figures: vec![figure(0), figure(1)] };
    assert_documented(&[
        row("secrets", &|index| bills[index].secrets),
        row("alarms", &|index| bills[index].alarms),
        row("metrics that are always published", &|index| bills[index].metrics),
        row("what runs every minute", &|index| bills[index].minutes),
        row("**together**", &|index| bills[index].total()),
        CostRow { name: "the dashboard, from an account's fourth on", figures: vec![DASHBOARD_MONTH; 2] },
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_messages_cost_what_the_page_says() {
    let world = start_world().await;
    let order = |number| world.woocommerce_post(&format!("d-{number}"), number, "completed", PHONE);
    // Warm: the conversation and the customer are known.
    world.deliver(order(1)).await;
    settle_line_events(&world).await;
    world.stack.provider().read_messages(PHONE).unwrap();
    settle_line_events(&world).await;

    let mark = mark_counters(&world);
    world.deliver(order(2)).await;
    settle_line_events(&world).await;
    world.stack.provider().read_messages(PHONE).unwrap();
    settle_line_events(&world).await;
    // The order; the message, sent, delivered and read. Two calls: the send, and the CRM's entry.
    let reported = without_chat_summary(&usage_since(&world, &mark, 5.0, 2.0));

    let at = world.now().as_second();
    let mark = mark_counters(&world);
    world.deliver(line_event("from-phone", "messages.post", &message_body("wamid_1", "Is it here?", at))).await;
    settle_line_events(&world).await;
    let written = usage_since(&world, &mark, 1.0, 1.0);

    let silent = World::start().await;
    silent.deliver(silent.woocommerce_post("a", 1, "completed", PHONE)).await;
    let mark = mark_counters(&silent);
    silent.deliver(silent.woocommerce_post("b", 2, "completed", PHONE)).await;
    let sent = usage_since(&silent, &mark, 1.0, 1.0);

    let row = |name, load: &EventLoad| {
        let bill = load.compute_cost();
        println!("{name}: {load:?}");
        let invocations = bill.requests + bill.compute;
        let figures = vec![bill.gateway, invocations, bill.writes + bill.reads, bill.logs, bill.total_cost()];
        CostRow { name, figures }
    };
    assert_documented(&[
        row("messages of tellonce", &sent),
        row("messages of tellonce, with all reports and one CRM", &reported),
        row("messages of customers, with one CRM", &written),
    ]);
}
