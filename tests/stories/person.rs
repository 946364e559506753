//! Privacy requests, with the rights of the operator's role: what is stored of a person is
//! exported, and erased from every table, and nothing is sent to that person again.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tellonce_core::{contact::Phone, inbox::InboxItem};
use tellonce_ops::{
    CommandOutcome, CommandRunner, ForgetReceipt, LineAction, OperatorCommand, OperatorError, Plan, ReplaySelection,
    SubjectReport,
};
use tellonce_samples::{SenderProof, WebhookPost};
use tellonce_stack::dynamo::{DynamoFault, FaultFrequency, FaultRule};

use crate::{
    calendars::advance_to_day_before,
    conversations::{OWN_CRM_TOML, crm_and_target_secrets, line_event, settle_line_events, write_from_phone},
    leads::{self, lead_post},
    operator::{OPERATOR, connect, operate, read_config, role_parameters},
    world::{CRM_SECRET, ERP_SECRET, WEB_TOKEN, World, WorldSetup},
};

/// The person who is forgotten, and another customer.
const ZILPAH: Customer =
    Customer { phone: "+972545550199", local: "054-555-0199", name: "Zilpah Tamari", word: "umbrella", id: "7" };
const BOAZ: Customer =
    Customer { phone: "+972525550101", local: "052 555 0101", name: "Boaz Regev", word: "bicycle", id: "8" };
/// What a table must not contain of the person: digits of the number in the forms in which senders
/// wrote it, the private id, the name, and words of texts.
const TRACES: [&str; 7] =
    ["545550199", "54-555-0199", "235085806700321", "OTcyNTQ1NTUwMTk5", "Zilpah", "Tamari", "umbrella"];
const TABLES: [&str; 5] = ["Ledger", "StoreInbox", "BookingInbox", "LeadInbox", "LineInbox"];

struct Customer {
    phone: &'static str,
    local: &'static str,
    name: &'static str,
    /// What the customer writes about.
    word: &'static str,
    /// Of orders, leads and bookings.
    id: &'static str,
}

impl Customer {
    fn phone(&self) -> Phone {
        Phone::from_e164(self.phone).unwrap()
    }

    fn erp_post(&self, world: &World, delivery: &str, event: &str, order: &str) -> WebhookPost {
        let body = json!({
            "type": event, "order": order, "phone": self.local, "name": self.name, "at": world.now().to_string(),
            "invoice": "https://story.example/invoices/1.pdf", "note": format!("for {}", self.name),
        });
        world.erp_post_with_body(ERP_SECRET, delivery, &body)
    }

    /// Everything that senders post about this customer. `batch` distinguishes deliveries.
    fn posts(&self, world: &World, batch: &str) -> Vec<WebhookPost> {
        let Self { phone, local, name, word, id } = self;
        let delivery = |number: u32| format!("{batch}-{id}-{number}");
        // The number is missing, and the name is not.
        let shipped = json!({"type": "shipped", "order": id, "name": name, "at": world.now().to_string()});
        let unreadable = format!("<order><tel>{local}</tel><item>{word}</item></order>");
        let proof = SenderProof::StandardWebhooks { id: &delivery(3), at: world.now() };
        let lead = json!({"leadId": id, "phone": local, "name": name, "consent": {"whatsapp": true}, "wish": word});
        let no_consent = json!({"leadId": format!("no-{id}"), "phone": phone, "name": name});
        let web = |body: &Value| {
            WebhookPost::new("/leads/web", "application/json", body.to_string())
                .with_header("X-Webhook-Token", Some(WEB_TOKEN))
        };
        let mut shopify = world.shopify_order(1000 + id.parse::<u64>().unwrap(), local);
        shopify["shipping_address"]["name"] = json!(name);
        vec![
            self.erp_post(world, &delivery(1), "ready", id),
            world.erp_post_with_body(ERP_SECRET, &delivery(2), &shipped),
            WebhookPost::new("/stores/erp", "application/json", unreadable).sign(proof, ERP_SECRET).unwrap(),
            world.woocommerce_post(&delivery(4), 700 + id.parse::<u64>().unwrap(), "processing", local),
            world.shopify_post("orders/create", &delivery(5), &shopify),
            web(&lead),
            web(&no_consent),
            self.booking_post(world, &delivery(8)),
            self.chat_post(world, &delivery(9)),
        ]
    }

    fn booking_post(&self, world: &World, delivery: &str) -> WebhookPost {
        let booking = json!({
            "id": self.id, "start": (world.now() + SignedDuration::from_hours(72)).to_string(), "zone": "Asia/Jerusalem",
            "phone": self.phone, "name": self.name, "status": "booked", "at": "2026-01-01T10:00:00Z",
        });
        world.standard_webhooks_post("/bookings/crm", CRM_SECRET, delivery, &booking)
    }

    /// A message on the line, with the private id of the first customer only.
    fn chat_post(&self, world: &World, delivery: &str) -> WebhookPost {
        let (id, at) = (format!("wamid.{}", self.id), world.now().as_second());
        let lid = if self.id == ZILPAH.id { "235085806700321@lid" } else { "335085806700321@lid" };
        let body = json!({"event": "messages.post", "messages": [{
            "id": id, "message_id": id, "chat_id": lid, "from": lid, "conversationId": format!("conv_{}", self.id),
            "contactPhoneNumber": self.phone, "from_me": false, "timestamp": at, "type": "text",
            "text": {"body": format!("{} lost the {}", self.name, self.word)},
        }]});
        line_event(delivery, "messages.post", &body)
    }
}

async fn start_world() -> World {
    let toml = [OWN_CRM_TOML, DESK_TOML].concat();
    World::start_with(WorldSetup {
        extra_toml: toml.leak(),
        extra_secrets: crm_and_target_secrets(),
        line_events: true,
        parameters: role_parameters(),
        ..WorldSetup::default()
    })
    .await
}

const DESK_TOML: &str = r#"
[targets.desk]
kind = "webhook"
url = "https://desk.example.com/calls"
text = "full"
[escalations.lost]
when = { words = { en = ["lost"] } }
to = ["desk"]
"#;

/// Everything in the tables, as `table / key: text`, with the bodies of deliveries.
fn read_tables(world: &World) -> Vec<String> {
    let texts = TABLES.into_iter().flat_map(|table| {
        let items = world.stack.dynamo().scan_typed_items(&world.table_name(table)).unwrap();
        items.into_iter().map(move |item| {
            // As its function reads it.
            let body = InboxItem::from_image(&item.to_string()).map(|delivery| delivery.body).unwrap_or_default();
            format!("{table} {item} {}", String::from_utf8_lossy(&body))
        })
    });
    texts.collect()
}

/// The texts with a trace of the person.
fn find_traces(world: &World) -> Vec<String> {
    let mut texts = read_tables(world);
    texts.retain(|text| TRACES.iter().any(|trace| text.contains(trace)));
    texts
}

/// All items about the other customer.
fn items_of_other(world: &World) -> BTreeSet<String> {
    let mut texts = read_tables(world);
    texts.retain(|text| ["525550101", "052 555 0101", "Boaz"].iter().any(|trace| text.contains(trace)));
    texts.into_iter().collect()
}

async fn forget(world: &World) -> (Plan, ForgetReceipt) {
    let (plan, outcome) = operate(world, OperatorCommand::Forget { phone: ZILPAH.phone() }).await;
    let Ok(CommandOutcome::Forgotten(receipt)) = outcome else { panic!("{outcome:?}") };
    (plan, receipt)
}

async fn explain(world: &World, name: &str) -> SubjectReport {
    let stack = connect(world, "dana");
    let tables = stack.find_tables().await.unwrap();
    tables.explain(name).await.unwrap()
}

/// Lets customers order, submit, book and write, and lets a message of each wait.
async fn live(world: &World) {
    for customer in [&ZILPAH, &BOAZ] {
        for post in customer.posts(world, "first") {
            world.deliver(post).await;
        }
        write_from_phone(world, customer.phone, &format!("{} found the {}", customer.name, customer.word));
        settle_line_events(world).await;
    }
    world.stack.provider().reply_as_team(ZILPAH.phone, "Which umbrella?", "line_story").unwrap();
    settle_line_events(world).await;
    operate(world, OperatorCommand::Line { action: LineAction::Hold, line: "main".to_owned() }).await.1.unwrap();
    for customer in [&ZILPAH, &BOAZ] {
        world.deliver(customer.erp_post(world, &format!("wait-{}", customer.id), "invoice", customer.id)).await;
    }
    world.run_minutes(2).await;
    settle_line_events(world).await;
}

async fn release(world: &World) {
    operate(world, OperatorCommand::Line { action: LineAction::Release, line: "main".to_owned() }).await.1.unwrap();
    world.run_minutes(3).await;
    settle_line_events(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_person_is_in_no_table_and_gets_nothing_whatever_is_replayed_or_posted_again() {
    let world = start_world().await;
    live(&world).await;
    let kinds = |texts: &[String]| -> BTreeSet<String> {
        texts.iter().map(|text| text.split(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(&find_traces(&world)).len(), TABLES.len(), "the scan sees each table");
    let (others, got) = (items_of_other(&world), world.texts_on_phone(ZILPAH.phone));
    assert!(got.len() >= 5, "{got:?}");
    let states = world.message_rows();

    let (plan, receipt) = forget(&world).await;
    let Plan::Forget(plan) = &plan else { panic!("{plan:?}") };
    assert_eq!(plan.count("waiting-messages"), 1);
    assert!(plan.count("deliveries") >= 12 && plan.count("appointments") == 1, "{:?}", plan.found);
    assert!(plan.count("crm-entries") >= 2 && plan.count("alerts") >= 1, "{:?}", plan.found);
    assert_eq!(find_traces(&world), [""; 0]);
    assert_eq!(items_of_other(&world), others, "the other customer's data is as before");
    assert_eq!((receipt.erased.clone(), receipt.in_use), (plan.found.clone(), 0));
    let shown = format!("{plan:?}{}", serde_json::to_string(&receipt).unwrap());
    assert!(!TRACES.iter().any(|trace| shown.contains(trace)), "{shown}");
    // Keys and states stay, except that what waited is not sent.
    let is_kept = |key: &str| ["order:", "lead:", "appointment:"].iter().any(|kind| key.starts_with(kind));
    for (key, before) in states.iter().filter(|(key, _)| is_kept(key)) {
        let after = &world.message_rows()[key]["state"];
        let is_dropped = before["state"] != *after;
        let could_go = before["due_at"].is_number() || before["state"] == "incomplete";
        assert!(!is_dropped || (could_go && after == "suppressed"), "{key}: {before} {after}");
    }

    release(&world).await;
    let since = Some(world.now() - SignedDuration::from_hours(24 * 5));
    operate(&world, OperatorCommand::Replay(ReplaySelection { since, ..Default::default() })).await.1.unwrap();
    settle_line_events(&world).await;
    assert_eq!(find_traces(&world), [""; 0], "after a replay of all inboxes");
    let order = explain(&world, "order:7").await;
    let codes: BTreeSet<&str> = order.without_message.iter().map(|delivery| delivery.outcome.as_str()).collect();
    assert_eq!(codes, ["forgotten"].into());
    assert!(order.messages.iter().all(|message| message.steps.last().unwrap().code == "forgotten"), "{order:?}");

    // The senders post all of it again: as repeats, and as new deliveries.
    for batch in ["first", "again"] {
        for post in ZILPAH.posts(&world, batch) {
            world.deliver(post).await;
        }
    }
    settle_line_events(&world).await;
    advance_to_day_before(&world, world.now() + SignedDuration::from_hours(72)).await;
    world.run_minutes(2).await;
    settle_line_events(&world).await;
    assert_eq!(world.texts_on_phone(ZILPAH.phone), got, "nothing was sent again");
    let others = world.texts_on_phone(BOAZ.phone);
    assert!(others.iter().any(|text| text.starts_with("Invoice of order 8.")), "{others:?}");
    assert_eq!(world.stack.provider().max_messages_per_key(), 1);

    // What they posted again is erased like the first. A new order is new.
    forget(&world).await;
    assert_eq!(find_traces(&world), [""; 0]);
    world.deliver(ZILPAH.erp_post(&world, "new", "ready", "99")).await;
    assert_eq!(world.texts_on_phone(ZILPAH.phone).len(), got.len() + 1);
    world.stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_erasure_is_finished_by_the_next_one_and_an_opt_out_stays() {
    let world = start_world().await;
    live(&world).await;
    operate(&world, OperatorCommand::OptOut { phone: ZILPAH.phone(), opts_out: true }).await.1.unwrap();
    let (stack, config) = (connect(&world, OPERATOR), read_config(&world));
    let runner = CommandRunner::connect(&stack, &config, |_| {}).await.unwrap();
    let plan = runner.plan(OperatorCommand::Forget { phone: ZILPAH.phone() }).await.unwrap();
    world.stack.dynamo().faults().inject_rule(FaultRule {
        operation: Some("UpdateItem".to_owned()),
        table: Some(world.table_name("LeadInbox")),
        fault: DynamoFault::Outage,
        frequency: FaultFrequency::Fraction(1.0),
    });
    let ended = runner.run(&plan, None).await.unwrap_err();
    let OperatorError::ForgetEndedEarly { receipt: early, .. } = ended else { panic!("{ended}") };
    assert!(early.items() > 0 && !early.complete, "{early:?}");
    world.stack.dynamo().faults().clear();
    assert!(!find_traces(&world).is_empty(), "it was interrupted");
    let (_, receipt) = forget(&world).await;
    assert!(receipt.items() > 0 && receipt.complete, "{receipt:?}");
    let Plan::Forget(plan) = &plan else { panic!("{plan:?}") };
    let planned: usize = plan.found.iter().map(|found| found.items).sum();
    assert_eq!(early.items() + receipt.items(), planned, "each item is in one receipt");
    assert_eq!(find_traces(&world), [""; 0]);
    let (plan, _) = operate(&world, OperatorCommand::OptOut { phone: ZILPAH.phone(), opts_out: true }).await;
    assert!(plan.changes_nothing(), "the opt-out stays");
    let (plan, _) = operate(&world, OperatorCommand::Forget { phone: ZILPAH.phone() }).await;
    assert!(plan.changes_nothing(), "nothing is left: {plan:?}");
    world.stack.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_holds_everything_of_one_person_and_is_recorded_without_the_number() {
    let world = start_world().await;
    live(&world).await;
    let (stack, config) = (connect(&world, OPERATOR), read_config(&world));
    let runner = CommandRunner::connect(&stack, &config, |_| {}).await.unwrap();
    let before = find_traces(&world).len();
    let export = runner.export_person(&ZILPAH.phone(), Some("request of 3 May")).await.unwrap();
    let text = serde_json::to_string(&export).unwrap();
    for trace in TRACES.iter().filter(|trace| !["OTcyNTQ1NTUwMTk5", "545550199"].contains(*trace)) {
        assert!(text.contains(trace), "{trace}");
    }
    assert!(!text.contains("Boaz") && !text.contains("525550101"), "only this person");
    let stored = export.entries.iter().filter(|entry| entry.item.kind != "contact").count();
    assert!(stored >= before, "{stored} of {before}");
    assert_eq!(find_traces(&world).len(), before, "nothing changed");
    let operations = tellonce_ops::list_operations(&connect(&world, "local-ReaderRole"), 5).await.unwrap();
    let shown = format!("{operations:?}");
    assert!(operations[0].command.starts_with("export what is stored of contact:"), "{shown}");
    assert!(!TRACES.iter().any(|trace| shown.contains(trace)), "{shown}");
    world.stack.shutdown().await;
}

#[tokio::test]
async fn a_lead_of_a_held_form_who_is_forgotten_is_not_greeted_after_the_release() {
    let world = leads::start_world("", WorldSetup { parameters: role_parameters(), ..WorldSetup::default() }).await;
    world.begin_next(3600);
    for number in 0..4 {
        world.deliver(lead_post("landing", &number.to_string(), &format!("+9725255502{number:02}"))).await;
    }
    world.deliver(lead_post("landing", "held", ZILPAH.phone)).await;
    assert_eq!(world.messages().len(), 3, "the form is held");
    forget(&world).await;
    operate(&world, OperatorCommand::Form { form: "landing".to_owned(), greets: true }).await.1.unwrap();
    assert_eq!(world.messages().len(), 4);
    let again = lead_post("landing", "held", ZILPAH.phone);
    world.deliver(WebhookPost { body: [again.body.as_slice(), b" "].concat(), ..again }).await;
    assert!(world.texts_on_phone(ZILPAH.phone).is_empty());
    let states: Vec<_> = world.message_rows().into_values().map(|row| row["state"].clone()).collect();
    assert_eq!(states.iter().filter(|state| **state == "suppressed").count(), 1, "{states:?}");
}

#[tokio::test]
async fn a_privacy_request_of_shopify_is_a_need_with_a_deadline_until_its_customer_is_forgotten() {
    let world = World::start_with(WorldSetup { parameters: role_parameters(), ..WorldSetup::default() }).await;
    let order = world.shopify_order(1007, ZILPAH.phone);
    world.deliver(world.shopify_post("orders/create", "s-1", &order)).await;
    let customer = json!({"id": 7, "email": "zilpah@example.com", "phone": null});
    for (delivery, topic, orders) in
        [("s-2", "customers/data_request", "orders_requested"), ("s-3", "customers/redact", "orders_to_redact")]
    {
        let mut body = json!({"shop_id": 1, "shop_domain": "story.myshopify.com", "customer": customer});
        body[orders] = json!([1007]);
        world.deliver(world.shopify_post(topic, delivery, &body)).await;
    }
    let shop = json!({"shop_id": 1, "shop_domain": "story.myshopify.com"});
    world.deliver(world.shopify_post("shop/redact", "s-4", &shop)).await;
    assert_eq!(world.metric_values("attention", 5), [1.0; 3], "attention is raised");
    let read_needs = async || {
        let stack = connect(&world, "dana");
        let tables = stack.find_tables().await.unwrap();
        let overview = tables.read_overview(&read_config(&world), world.now()).await.unwrap();
        tables.read_needs(&overview).await.unwrap().list
    };
    let needs = read_needs().await;
    let request = needs.iter().find(|need| need.name == "shop#s-3").unwrap();
    assert!(request.action.contains("person forget") && request.command.as_deref() == Some("done shop#s-3"));
    let days = request.deadline.unwrap().duration_since(world.now()).as_hours() / 24;
    assert!(needs.len() == 3 && days == 29, "{needs:?}");
    // The requests name the order, and no number.
    forget(&world).await;
    let texts = read_tables(&world);
    assert!(!texts.iter().any(|text| text.contains("zilpah@example.com")), "{texts:?}");
    let left: Vec<String> = read_needs().await.into_iter().map(|need| need.name).collect();
    assert_eq!(left, ["shop#s-4"], "a shop is not a person");
}

#[tokio::test(flavor = "multi_thread")]
async fn number_name_and_text_of_a_settled_message_go_after_their_days_and_its_key_stays() {
    let toml = "[retention]\npersonal_days = 40\n";
    let world = World::start_with(WorldSetup { extra_toml: toml, ..WorldSetup::default() }).await;
    for post in [
        ZILPAH.erp_post(&world, "m-1", "ready", "7"),
        ZILPAH.booking_post(&world, "b-1"),
        ZILPAH.erp_post(&world, "m-2", "arrived", "8"),
    ] {
        world.deliver(post).await;
    }
    advance_to_day_before(&world, world.now() + SignedDuration::from_hours(72)).await;
    // The reminder of two hours before.
    world.tick_after(SignedDuration::from_mins(22 * 60 + 30)).await;
    let rows = world.message_rows();
    let holds_name =
        || read_tables(&world).iter().filter(|text| text.starts_with("Ledger") && text.contains("Zilpah")).count();
    let held = holds_name();
    let pass = async |days: i64| {
        world.advance_time(SignedDuration::from_hours(24 * days));
        world.begin_next(3600);
        world.tick_after(SignedDuration::from_mins(17)).await;
    };
    pass(35).await;
    assert_eq!(holds_name(), held, "not yet");
    pass(10).await;
    assert_eq!(holds_name(), 0);
    for (key, before) in &rows {
        let after = &world.message_rows()[key];
        assert_eq!((&after["state"], &after["ttl"]), (&before["state"], &before["ttl"]), "{key}");
    }
    // A repeat finds its key, and a later event of the order is sent.
    let got = world.texts_on_phone(ZILPAH.phone).len();
    world.deliver(ZILPAH.erp_post(&world, "m-3", "ready", "7")).await;
    assert_eq!(world.texts_on_phone(ZILPAH.phone).len(), got);
    world.deliver(ZILPAH.erp_post(&world, "m-4", "shipped", "7")).await;
    assert_eq!(world.texts_on_phone(ZILPAH.phone).len(), got + 1);
}
