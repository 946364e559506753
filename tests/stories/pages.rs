//! An outage that leaves customers or the team unserved pages once, and stops when it ends.
//!
//! A page is a change of an alarm of `template.yaml` to `ALARM` that notifies an operator. Each
//! story prints how many an outage caused, and how long after the first customer or team member who
//! was not served. Minutes pass for the functions only.

use jiff::SignedDuration;
use serde_json::json;
use tellonce_fakes::services::{FakeFault, FakeService};
use tellonce_stack::{
    alarms::{self, AlarmChange, AlarmState},
    dynamo::{DynamoFault, FaultFrequency, FaultRule},
    template::TemplateAlarm,
};

use crate::{
    calendars::{diary_event, whole_minute_in_hours},
    conversations::{self, entry_counts, settle_line_events, team_notifications, write_from_phone},
    lead_endpoint::{meta_post, website_json_post},
    leads::{meta_lead, recorded_body_of_today},
    sources::template_alarms,
    world::{LINE_TOKEN, META_TOKEN, World},
};

const PHONE: &str = "+972545550199";
const OTHER_PHONE: &str = "+972525550101";
/// How long an outage may be unnoticed, in minutes.
const PAGE_WITHIN: i64 = 15;
/// After an outage an alarm may need this long to end, in minutes: the next try of what waited, and
/// the minutes that the alarm looks back on.
const ENDS_WITHIN: u32 = 60;

const CRM_AND_SLACK_TOML: &str = r#"
[crms.hub]
kind = "hubspot"
[targets.slack]
kind = "slack"
[escalations.urgent]
when = { words = { en = ["urgent"] } }
to = ["slack"]
"#;

const HUBSPOT: FakeService = FakeService::Crm("hubspot");
const SLACK: FakeService = FakeService::Target("slack");
/// More faults than requests in any story.
const ALWAYS: u32 = 1_000_000;

/// A world in which all has been well for long enough that every alarm knows it.
async fn start_world() -> World {
    let world = conversations::start_world(&[CRM_AND_SLACK_TOML]).await;
    // A feed without any event would be a problem of its own.
    let start = whole_minute_in_hours(&world, 20 * 24);
    world.stack.calendars().put_event("diary.ics", diary_event(&world, "far", start, OTHER_PHONE)).unwrap();
    world.run_minutes(15).await;
    world
}

/// What the operators see of an outage.
struct PageWatch<'w> {
    world: &'w World,
    outage: &'static str,
    alarms: Vec<TemplateAlarm>,
    /// The first evaluation of the alarms.
    from: i64,
    /// When the first customer or team member was not served.
    unserved_at: i64,
}

impl<'w> PageWatch<'w> {
    /// An outage that leaves the first customer or team member unserved now.
    fn begin(world: &'w World, outage: &'static str) -> Self {
        let now = world.stack.metrics().current_minute();
        Self { world, outage, alarms: template_alarms(), from: now - 1, unserved_at: now }
    }

    fn list_changes(&self) -> Vec<AlarmChange> {
        let metrics = self.world.stack.metrics();
        alarms::list_alarm_changes(&self.alarms, metrics, self.from, metrics.current_minute()).unwrap()
    }

    /// The alarms that are on now.
    fn list_raised(&self) -> Vec<String> {
        let mut raised: Vec<String> = Vec::new();
        for change in self.list_changes() {
            raised.retain(|alarm| *alarm != change.alarm);
            if change.state == AlarmState::Alarm {
                raised.push(change.alarm);
            }
        }
        raised
    }

    /// Lets minutes pass after the end of the outage until no alarm is on.
    async fn wait_for_end(&self) {
        for _ in 0..ENDS_WITHIN / 5 {
            self.world.run_minutes(5).await;
            settle_line_events(self.world).await;
            if self.list_raised().is_empty() {
                return;
            }
        }
        panic!("{}: after {ENDS_WITHIN} minutes these alarms are still on: {:?}", self.outage, self.list_raised());
    }

    /// Prints and returns the pages: alarm, and minutes since the first customer or team member who
    /// was not served.
    #[expect(clippy::print_stdout, reason = "figures of a story, for a person who reads its output")]
    fn report_pages(&self) -> Vec<(String, i64)> {
        let changes = self.list_changes();
        let pages = changes.iter().filter(|change| change.state == AlarmState::Alarm && change.notifies);
        let pages: Vec<(String, i64)> = pages
            .map(|change| (change.alarm.replace("tellonce-story-", ""), change.minute - self.unserved_at))
            .collect();
        let after = pages.first().map(|(_, minutes)| format!(" (alarm after {minutes} min)")).unwrap_or_default();
        println!("pages: {}: {}{after}", self.outage, pages.len());
        pages
    }

    /// Asserts that the outage caused one page, of this alarm, at most `within` minutes after the
    /// first customer or team member who was not served.
    fn assert_one_page(&self, alarm: &str, within: i64) {
        let pages = self.report_pages();
        let [(raised, minutes)] = pages.as_slice() else { panic!("{}: {pages:?}", self.outage) };
        assert_eq!(raised, alarm, "{}", self.outage);
        assert!((0..=within).contains(minutes), "{}: after {minutes} minutes", self.outage);
    }
}

/// Asserts that nothing was given up and no message was sent twice.
fn assert_nothing_lost_or_repeated(world: &World) {
    assert!(world.stack.failures().is_empty(), "{:?}", world.stack.failures());
    assert!(world.stack.provider().max_messages_per_key() <= 1);
}

/// Lets hours pass. A customer writes once in each hour; returns how many did.
async fn write_every_hour(world: &World, hours: u32) -> usize {
    for hour in 0..hours {
        write_from_phone(world, PHONE, &format!("Question {hour}"));
        settle_line_events(world).await;
        run_minutes_cheaply(world, 60).await;
    }
    usize::try_from(hours).unwrap()
}

/// Lets minutes pass. Only the minute of reminder-scheduler runs every minute, because its gauge
/// may not be missing. The other schedules run every five minutes.
async fn run_minutes_cheaply(world: &World, minutes: u32) {
    for minute in 0..minutes {
        world.advance_time(SignedDuration::from_mins(1));
        world.tick().await;
        if minute % 5 == 0 {
            world.tick_conversations().await;
            world.stack.poll_feeds().await.unwrap();
        }
    }
    world.settle().await;
}

/// Asserts that each message of the line is in the CRM once.
fn assert_entries(world: &World, count: usize) {
    let entries = entry_counts(world, "hub");
    assert!(entries.len() == count && entries.values().all(|count| *count == 1), "{entries:?}");
}

#[tokio::test]
async fn a_line_that_is_down_pages_once_whatever_waits_and_expires_and_in_every_process() {
    let world = start_world().await;
    world.stack.secrets().remove("tellonce/story/lines/main");
    for function in ["order-notifier", "lead-first-touch", "reminder-scheduler"] {
        world.stack.kill_function(function).await;
    }
    let watch = PageWatch::begin(&world, "line down for three hours, with orders and a lead");
    world.deliver(world.erp_post("m-1", "late", "1", PHONE)).await;
    world.run_minutes(4).await;
    let lead = json!({
        "leadId": "L-1", "firstName": "Omer", "phone": OTHER_PHONE, "country": "IL", "consent": {"whatsapp": true},
        "createdAt": world.now().to_string(),
    });
    world.deliver(website_json_post(&lead)).await;
    world.run_minutes(20).await;
    world.deliver(world.erp_post("m-2", "ready", "2", PHONE)).await;
    // Another process knows nothing of what this one reported.
    world.stack.kill_function("reminder-scheduler").await;
    run_minutes_cheaply(&world, 160).await;
    assert_eq!(world.message_state("order:1:out-for-delivery"), "expired");
    assert_eq!(world.metric_values("attention", 180), [0.0; 0], "the alarm was raised for it");
    world.stack.secrets().rotate("tellonce/story/lines/main", LINE_TOKEN);
    watch.wait_for_end().await;
    watch.assert_one_page("messages-waiting", PAGE_WITHIN);
    assert_eq!((world.texts_on_phone(PHONE).len(), world.texts_on_phone(OTHER_PHONE).len()), (1, 1));
    assert_nothing_lost_or_repeated(&world);
}

#[tokio::test]
async fn queues_that_cannot_be_read_page_once() {
    let world = start_world().await;
    world.stack.secrets().remove("tellonce/story/lines/main");
    for function in ["order-notifier", "reminder-scheduler"] {
        world.stack.kill_function(function).await;
    }
    world.deliver(world.erp_post("m-1", "ready", "1", PHONE)).await;
    world.stack.secrets().rotate("tellonce/story/lines/main", LINE_TOKEN);
    world.stack.dynamo().faults().inject_rule(FaultRule {
        operation: Some("Query".to_owned()),
        table: Some(world.table_name("Ledger")),
        fault: DynamoFault::Outage,
        frequency: FaultFrequency::Fraction(1.0),
    });
    let watch = PageWatch::begin(&world, "queues of the ledger unreadable");
    for _ in 0..20 {
        world.advance_time(SignedDuration::from_mins(1));
        let (messages, conversations) = futures::join!(world.stack.tick_messages(), world.stack.tick_conversations());
        assert!(messages.is_err() && conversations.is_err(), "a minute without its queues is not done");
    }
    world.stack.dynamo().faults().clear();
    watch.wait_for_end().await;
    watch.assert_one_page("heartbeat-late", PAGE_WITHIN);
    assert_eq!(world.texts_on_phone(PHONE), ["Amit, order 1: ready."]);
    assert_nothing_lost_or_repeated(&world);
}

#[tokio::test]
async fn a_crm_that_is_unavailable_pages_once_although_few_customers_write() {
    let world = start_world().await;
    world.stack.fakes().fail_next(HUBSPOT, FakeFault::Status(503), ALWAYS);
    let watch = PageWatch::begin(&world, "CRM 503 at one message an hour");
    let messages = write_every_hour(&world, 3).await;
    assert_entries(&world, 0);
    world.stack.fakes().heal();
    watch.wait_for_end().await;
    // Entries lose nothing by waiting, so the alarm comes after two hours.
    watch.assert_one_page("entries-waiting", 120 + PAGE_WITHIN);
    assert_entries(&world, messages);
    assert_nothing_lost_or_repeated(&world);
}

#[tokio::test]
async fn a_target_that_is_down_pages_once() {
    let world = start_world().await;
    world.stack.fakes().fail_next(SLACK, FakeFault::Status(503), ALWAYS);
    let watch = PageWatch::begin(&world, "Slack down");
    write_from_phone(&world, PHONE, "This is urgent");
    settle_line_events(&world).await;
    run_minutes_cheaply(&world, 120).await;
    assert!(team_notifications(&world).is_empty());
    world.stack.fakes().heal();
    watch.wait_for_end().await;
    watch.assert_one_page("alerts-waiting", PAGE_WITHIN);
    assert_eq!(team_notifications(&world).len(), 1, "{:?}", team_notifications(&world));
    assert_entries(&world, 1);
    assert_nothing_lost_or_repeated(&world);
}

#[tokio::test]
async fn a_credential_that_is_refused_for_hours_pages_once() {
    let world = start_world().await;
    world.stack.fakes().fail_next(SLACK, FakeFault::Status(403), ALWAYS);
    let watch = PageWatch::begin(&world, "credential refused for two hours");
    write_from_phone(&world, PHONE, "This is urgent");
    settle_line_events(&world).await;
    run_minutes_cheaply(&world, 120).await;
    assert!(team_notifications(&world).is_empty());
    world.stack.fakes().heal();
    watch.wait_for_end().await;
    watch.assert_one_page("alerts-waiting", PAGE_WITHIN);
    assert_eq!(team_notifications(&world).len(), 1, "{:?}", team_notifications(&world));
    assert_nothing_lost_or_repeated(&world);
}

#[tokio::test]
async fn a_stream_mapping_that_is_disabled_pages_once() {
    let world = start_world().await;
    world.stack.set_mapping_enabled("OrderNotifier/Inbox", false).unwrap();
    let watch = PageWatch::begin(&world, "stream mapping disabled");
    assert_eq!(world.post(world.erp_post("m-1", "ready", "1", PHONE)).await, 200);
    run_minutes_cheaply(&world, 120).await;
    assert_eq!(world.texts_on_phone(PHONE), [""; 0]);
    world.stack.set_mapping_enabled("OrderNotifier/Inbox", true).unwrap();
    watch.wait_for_end().await;
    watch.assert_one_page("heartbeat-late", PAGE_WITHIN);
    assert_eq!(world.texts_on_phone(PHONE), ["Amit, order 1: ready."]);
    assert_nothing_lost_or_repeated(&world);
}

#[tokio::test]
async fn a_lookup_api_that_is_down_for_hours_pages_once() {
    let world = start_world().await;
    world.stack.leads().put_lead(meta_lead(&world, "444444444444000", PHONE)).unwrap();
    world.stack.fakes().fail_next(FakeService::Graph, FakeFault::Status(503), ALWAYS);
    let watch = PageWatch::begin(&world, "look-up API down for two hours");
    world.deliver(meta_post(recorded_body_of_today(&world, "meta/leadgen.json"))).await;
    run_minutes_cheaply(&world, 120).await;
    assert_eq!(world.texts_on_phone(PHONE), [""; 0]);
    world.stack.fakes().heal();
    watch.wait_for_end().await;
    let pages = watch.report_pages();
    let [(_, minutes)] = pages.as_slice() else { panic!("{pages:?}") };
    assert!((0..=PAGE_WITHIN).contains(minutes), "{pages:?}");
    assert_eq!(world.texts_on_phone(PHONE).len(), 1);
    assert_nothing_lost_or_repeated(&world);
}

#[tokio::test]
async fn a_lookup_credential_that_is_missing_or_refused_pages_once_and_is_named() {
    for (outage, is_refused) in [("look-up credential missing", false), ("look-up credential refused", true)] {
        let world = start_world().await;
        world.stack.leads().put_lead(meta_lead(&world, "444444444444000", PHONE)).unwrap();
        if is_refused {
            world.stack.fakes().fail_next(FakeService::Graph, FakeFault::Status(401), ALWAYS);
        } else {
            world.stack.secrets().remove("tellonce/story/forms/meta");
        }
        let watch = PageWatch::begin(&world, outage);
        world.deliver(meta_post(recorded_body_of_today(&world, "meta/leadgen.json"))).await;
        world.run_minutes(60).await;
        assert_eq!(world.texts_on_phone(PHONE), [""; 0]);
        let reasons = world.read_gauge("reminder-scheduler", "oldest_due_seconds").unwrap()["reasons"].to_string();
        assert!(reasons.contains("lookups of meta: "), "{reasons}");
        assert!(reasons.contains("tellonce/story/apis (member `forms/meta`)"), "{reasons}");
        world.stack.fakes().heal();
        world.stack.secrets().rotate("tellonce/story/forms/meta", META_TOKEN);
        watch.wait_for_end().await;
        watch.assert_one_page("messages-waiting", PAGE_WITHIN);
        assert_eq!(world.texts_on_phone(PHONE).len(), 1);
        assert_nothing_lost_or_repeated(&world);
    }
}

#[tokio::test]
async fn transaction_conflicts_page_not_at_all() {
    const LEADS: usize = 40;
    let world = start_world().await;
    let watch = PageWatch::begin(&world, "transaction conflicts at 15 %");
    world.stack.dynamo().faults().conflict_fraction(&world.table_name("Ledger"), 0.15);
    for number in 0..LEADS {
        let body = json!({
            "leadId": format!("L-{number}"), "firstName": "Omer", "phone": format!("+9725255502{number:02}"),
            "country": "IL", "consent": {"whatsapp": true}, "createdAt": world.now().to_string(),
        });
        assert_eq!(world.post(website_json_post(&body)).await, 200);
        if number % 10 == 9 {
            world.settle().await;
            world.run_minutes(5).await;
        }
    }
    world.run_minutes(15).await;
    world.stack.dynamo().faults().clear();
    world.advance_time(SignedDuration::from_mins(1));
    world.tick().await;
    let used = world.stack.dynamo().counters().operation_usage("TransactWriteItems", &world.table_name("Ledger"));
    assert!(used.errors["TransactionCanceledException"] > 3, "{used:?}");
    let pages = watch.report_pages();
    assert!(pages.is_empty(), "{pages:?}");
    assert_eq!(world.messages().len(), LEADS);
    assert_nothing_lost_or_repeated(&world);
}
