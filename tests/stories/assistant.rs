//! `tellonce mcp`, as an assistant speaks to it: the protocol, every tool, and what no answer
//! holds.

use std::process::Stdio;

use jiff::SignedDuration;
use serde_json::{Value, json};
use tellonce_fakes::provider::HealthPreset;
use tellonce_stack::build::binaries_folder;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::world::{
    CRM_SECRET, ERP_SECRET, LINE_SECRET_PATH, LINE_TOKEN, SHOPIFY_SECRET, WOO_SECRET, World, WorldSetup,
};

const PHONE: &str = "+972545550199";
const TOOLS: [&str; 6] = ["explain", "explain_absence", "line", "needs", "status", "waiting"];

/// An assistant with a running `tellonce mcp`.
struct Assistant {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    requests: u32,
    /// Everything that it read.
    received: Vec<String>,
    _process: Child,
}

impl Assistant {
    async fn connect(state: &std::path::Path) -> Self {
        let mut command = Command::new(binaries_folder().unwrap().join("tellonce"));
        command.arg("mcp").arg("--state").arg(state).kill_on_drop(true);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        let input = process.stdin.take().unwrap();
        let mut assistant = Self { input, output, requests: 0, received: Vec::new(), _process: process };
        let hello = json!({
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "story", "version": "1"},
        });
        let server = assistant.ask("initialize", &hello).await;
        assert_eq!(server["result"]["serverInfo"]["name"], "tellonce");
        assert!(server["result"]["instructions"].as_str().unwrap().contains("only read"));
        assert!(server["result"]["capabilities"]["tools"].is_object());
        assistant.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        assistant
    }

    async fn send(&mut self, message: &Value) {
        self.input.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    async fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.requests += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": self.requests, "method": method, "params": params})).await;
        let line = self.output.next_line().await.unwrap().expect("the server ended");
        self.received.push(line.clone());
        let reply: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(reply["id"], self.requests);
        reply
    }

    async fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        self.ask("tools/call", &json!({"name": tool, "arguments": arguments})).await
    }

    /// The text of an answer. Its data is there too.
    async fn answer(&mut self, tool: &str, arguments: Value) -> String {
        let reply = self.call(tool, &arguments).await;
        assert_eq!(reply["result"]["isError"], false, "{reply}");
        assert!(reply["result"]["structuredContent"].is_object(), "{reply}");
        reply["result"]["content"][0]["text"].as_str().unwrap().to_owned()
    }

    async fn refusal(&mut self, tool: &str, arguments: Value) -> String {
        let reply = self.call(tool, &arguments).await;
        assert_eq!(reply["result"]["isError"], true, "{reply}");
        reply["result"]["content"][0]["text"].as_str().unwrap().to_owned()
    }
}

async fn start_world(state: &std::path::Path) -> World {
    let setup = WorldSetup { state: Some(state.to_owned()), line_events: true, ..WorldSetup::default() };
    let world = World::start_with(setup).await;
    world.deliver(world.erp_post("m-1", "ready", "1001", PHONE)).await;
    world.deliver(world.erp_post("m-2", "ready", "1002", "")).await;
    world.deliver(world.shopify_post("orders/paid", "d-1", &world.shopify_order(1, PHONE))).await;
    let forged =
        world.erp_post_with_body("whsec_b3RoZXIgc2VjcmV0IG9mIGEgc3RyYW5nZXI=", "m-3", &json!({"type": "ready"}));
    assert_eq!(world.post(forged).await, 401);
    let odd =
        world.erp_post_with_body(ERP_SECRET, "odd", &json!({"type": "ready", "phone": PHONE, "name": "Noa Levi"}));
    world.deliver(odd).await;
    world.run_minutes(8).await;
    world.stack.provider().set_health(None, HealthPreset::Qr).unwrap();
    world.advance_time(SignedDuration::from_mins(1));
    world.deliver(world.erp_post("m-4", "ready", "1004", PHONE)).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assistant_gets_answers_that_name_no_customer() {
    let state = tempfile::tempdir().unwrap();
    let world = start_world(state.path()).await;
    let mut assistant = Assistant::connect(state.path()).await;

    let listed = assistant.ask("tools/list", &json!({})).await;
    let tools = listed["result"]["tools"].as_array().unwrap();
    let mut names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, TOOLS);
    for tool in tools {
        assert!(tool["description"].as_str().unwrap().len() > 20, "{tool}");
        assert_eq!(tool["annotations"]["readOnlyHint"], true, "{tool}");
        for property in tool["inputSchema"]["properties"].as_object().into_iter().flat_map(serde_json::Map::values) {
            assert!(property["description"].as_str().is_some_and(|text| text.len() > 20), "{tool}");
        }
    }

    let sent = assistant.answer("explain", json!({"name": "order:1001"})).await;
    assert!(sent.contains("order:1001:ready: arrived") && sent.contains("Made by a development build"), "{sent}");
    let delivery = assistant.answer("explain", json!({"name": "erp#m-2"})).await;
    assert!(delivery.contains("(no-phone)"), "{delivery}");
    let waits = assistant.answer("explain_absence", json!({"key": "order:1004:ready"})).await;
    assert!(waits.contains("The first link that broke: sent."), "{waits}");
    let unplanned = assistant.answer("explain_absence", json!({"key": "order:1001:refunded"})).await;
    assert!(unplanned.contains("`messages.refunded` is missing") && unplanned.contains("client.toml:"), "{unplanned}");
    let status = assistant.answer("status", json!({})).await;
    assert!(status.contains("version ") && status.contains("a development build with client.toml "), "{status}");
    let waiting = assistant.answer("waiting", json!({})).await;
    assert!(waiting.contains("order:1004:ready to +972…0199"), "{waiting}");
    assert!(assistant.answer("needs", json!({})).await.contains("erp#odd"));
    let line = assistant.answer("line", json!({"name": "main"})).await;
    assert!(line.starts_with("line main: the line could not send"), "{line}");
    assert!(assistant.answer("line", json!({})).await.starts_with("line main: the line could not send"));

    // An error says what to do.
    let unknown = assistant.refusal("explain", json!({"name": "order:9"})).await;
    assert!(unknown.contains("a subject looks like `order:1001`"), "{unknown}");
    let unknown = assistant.refusal("line", json!({"name": "second"})).await;
    assert_eq!(unknown, "error: `second` is not a line of this client; known are: main");
    let forged = assistant.refusal("explain", json!({"name": "erp#m-3"})).await;
    assert!(forged.contains("erp was refused 1 time"), "{forged}");
    assistant.refusal("explain_absence", json!({"key": "order"})).await;
    assistant.refusal("explain", json!({})).await;
    assert!(assistant.call("hold", &json!({})).await["error"].is_object(), "no tool changes anything");

    let private = [
        "545550199",
        "5550199",
        "Amit",
        "Noa",
        "Levi",
        SHOPIFY_SECRET,
        WOO_SECRET,
        ERP_SECRET,
        CRM_SECRET,
        LINE_TOKEN,
        LINE_SECRET_PATH,
        "b3RoZXIgc2VjcmV0",
    ];
    let mut texts: Vec<String> = world.texts_on_phone(PHONE);
    assert!(!texts.is_empty());
    texts.extend(private.map(str::to_owned));
    assert!(assistant.received.len() > 15);
    for answer in &assistant.received {
        let found: Vec<&String> = texts.iter().filter(|text| answer.contains(text.as_str())).collect();
        assert!(found.is_empty(), "{found:?} in {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assistant_without_a_stack_reads_how_to_start_one() {
    let state = tempfile::tempdir().unwrap();
    let mut assistant = Assistant::connect(state.path()).await;
    let refused = assistant.refusal("status", json!({})).await;
    assert!(refused.contains("start one with `cargo run`"), "{refused}");
}
