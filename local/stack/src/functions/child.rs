//! A function for tests that needs no binary.
//!
//! A script of one line starts this test program again with only [`acts_as_a_function`] selected.
//! That test then speaks the Runtime API over plain sockets.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};

use super::{FunctionPool, FunctionSetup};
use crate::{clock::LocalClock, metrics::MetricLog, template};

pub(crate) const FUNCTION_NAME: &str = "child";

/// Puts the function's "binary" into a folder.
pub(crate) fn install_binary(folder: &Path, name: &str) {
    let program = std::env::current_exe().unwrap();
    let test = "functions::child::acts_as_a_function";
    let script =
        format!("#!/bin/sh\nexec '{}' --ignored --exact {test} --nocapture --test-threads=1\n", program.display());
    let path = folder.join(name);
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A pool with this function only, whose binary is in `folder`.
pub(crate) fn create_pool(folder: &Path, timeout: Duration, max_instances: usize) -> Arc<FunctionPool> {
    let function = template::TemplateFunction {
        role: None,
        id: "Child".to_owned(),
        name: FUNCTION_NAME.to_owned(),
        memory_mb: 128,
        timeout,
        env: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        routes: Vec::new(),
        streams: Vec::new(),
        schedules: Vec::new(),
    };
    let clock = LocalClock::open(&folder.join("clock")).unwrap();
    let setup = FunctionSetup {
        binaries: folder,
        directory: folder,
        logs: &folder.join("logs"),
        metrics: &Arc::new(MetricLog::new(Arc::new(clock))),
        max_instances,
        spare_time: Duration::ZERO,
    };
    Arc::new(FunctionPool::prepare(&[function], &setup, |f| f.env.clone()).unwrap())
}

/// One HTTP exchange on a new connection; `None` if no server listens.
fn exchange_http(host: &str, request: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(host).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    Some((head.to_ascii_lowercase(), body.to_owned()))
}

fn post_to_runtime_api(host: &str, path: &str, body: &str) {
    let length = body.len();
    let head = format!(
        "POST /2018-06-01/runtime/{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}"
    );
    let (response, _) = exchange_http(host, &format!("{head}\r\n\r\n{body}")).unwrap();
    assert!(response.contains("202"), "{response}");
}

/// The actions of an event: its `do`, or the attribute `do` of each stream record.
#[test]
#[ignore = "the child process of other tests"]
#[expect(clippy::disallowed_methods, reason = "this is a whole program, with an environment and time of its own")]
fn acts_as_a_function() {
    let Ok(host) = std::env::var("AWS_LAMBDA_RUNTIME_API") else { return };
    let next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    // The test harness has begun a line.
    println!();
    while let Some((head, body)) = exchange_http(&host, next) {
        let header =
            |name: &str| head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).map(str::to_owned);
        let Some(id) = header("lambda-runtime-aws-request-id") else { return };
        let event: Value = serde_json::from_str(&body).unwrap();
        if let Some(records) = event["Records"].as_array() {
            let response = process_records(records);
            post_to_runtime_api(&host, &format!("invocation/{id}/response"), &response.to_string());
            continue;
        }
        println!("got {}", event["do"]);
        match event["do"].as_str().unwrap_or_default() {
            "crash" => std::process::exit(3),
            "hang" => std::thread::sleep(Duration::from_mins(1)),
            "nap" => std::thread::sleep(Duration::from_millis(300)),
            "fail" => {
                post_to_runtime_api(
                    &host,
                    &format!("invocation/{id}/error"),
                    r#"{"errorType":"Oops","errorMessage":"no"}"#,
                );
                continue;
            }
            _ => {}
        }
        let env: BTreeMap<String, String> = std::env::vars().collect();
        let (deadline, arn) = (header("lambda-runtime-deadline-ms"), header("lambda-runtime-invoked-function-arn"));
        let response = json!({"pid": std::process::id(), "env": env, "deadline": deadline, "arn": arn, "event": event});
        post_to_runtime_api(&host, &format!("invocation/{id}/response"), &response.to_string());
    }
}

/// Handles records one by one. Reports the first that fails and leaves the ones behind it alone.
fn process_records(records: &[Value]) -> Value {
    for record in records {
        let image = &record["dynamodb"]["NewImage"];
        let id = image["id"]["S"].as_str().unwrap_or_default();
        match image["do"]["S"].as_str().unwrap_or_default() {
            "crash" => std::process::exit(4),
            "poison" => return json!({"batchItemFailures": [{"itemIdentifier": record["dynamodb"]["SequenceNumber"]}]}),
            _ => println!("handled {id}"),
        }
    }
    json!({"batchItemFailures": []})
}
