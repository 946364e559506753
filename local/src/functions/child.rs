//! A function for tests that needs no binary of its own: a script of one line starts this very test program again with
//! only [`acts_as_a_function`] selected, which then speaks the Runtime API over plain sockets.

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

use super::{Functions, Setup};
use crate::template;

pub(crate) const NAME: &str = "child";

/// Puts the function's "binary" into a folder.
pub(crate) fn put_into(folder: &Path, name: &str) {
    let program = std::env::current_exe().unwrap();
    let test = "functions::child::acts_as_a_function";
    let script =
        format!("#!/bin/sh\nexec '{}' --ignored --exact {test} --nocapture --test-threads=1\n", program.display());
    let path = folder.join(name);
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The function alone, run from `folder`.
pub(crate) fn pool(folder: &Path, timeout: Duration, max_instances: usize) -> Arc<Functions> {
    let function = template::Function {
        id: "Child".to_owned(),
        name: NAME.to_owned(),
        memory_mb: 128,
        timeout,
        env: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        routes: Vec::new(),
        streams: Vec::new(),
        schedules: Vec::new(),
    };
    let setup = Setup { binaries: folder, directory: folder, logs: &folder.join("logs"), max_instances };
    Arc::new(Functions::prepare(&[function], &setup, |f| f.env.clone()).unwrap())
}

/// One HTTP exchange, connection closed after it; `None` when there is nobody at the other end.
fn exchange(host: &str, request: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(host).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.to_ascii_lowercase(), body.to_owned()))
}

fn post(host: &str, path: &str, body: &str) {
    let length = body.len();
    let head =
        format!("POST /2018-06-01/runtime/{path} HTTP/1.1\r\nhost: l\r\nconnection: close\r\ncontent-length: {length}");
    let (answer, _) = exchange(host, &format!("{head}\r\n\r\n{body}")).unwrap();
    assert!(answer.contains("202"), "{answer}");
}

/// What an event asks for: `do`, or what the records of a stream say in their attribute `do`.
#[test]
#[ignore = "the child process of other tests"]
#[expect(clippy::disallowed_methods, reason = "this is a whole program, with an environment and time of its own")]
fn acts_as_a_function() {
    let Ok(host) = std::env::var("AWS_LAMBDA_RUNTIME_API") else { return };
    let next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: l\r\nconnection: close\r\n\r\n";
    // the test harness has begun a line of its own
    println!();
    while let Some((head, body)) = exchange(&host, next) {
        let header =
            |name: &str| head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).map(str::to_owned);
        let Some(id) = header("lambda-runtime-aws-request-id") else { return };
        let event: Value = serde_json::from_str(&body).unwrap();
        if let Some(records) = event["Records"].as_array() {
            let answer = records_answer(records);
            post(&host, &format!("invocation/{id}/response"), &answer.to_string());
            continue;
        }
        println!("got {}", event["do"]);
        match event["do"].as_str().unwrap_or_default() {
            "crash" => std::process::exit(3),
            "hang" => std::thread::sleep(Duration::from_mins(1)),
            "nap" => std::thread::sleep(Duration::from_millis(300)),
            "fail" => {
                post(&host, &format!("invocation/{id}/error"), r#"{"errorType":"Oops","errorMessage":"no"}"#);
                continue;
            }
            _ => {}
        }
        let env: BTreeMap<String, String> = std::env::vars().collect();
        let (deadline, arn) = (header("lambda-runtime-deadline-ms"), header("lambda-runtime-invoked-function-arn"));
        let answer = json!({"pid": std::process::id(), "env": env, "deadline": deadline, "arn": arn, "event": event});
        post(&host, &format!("invocation/{id}/response"), &answer.to_string());
    }
}

/// Handles records one by one; the first that can't be handled is reported, and nothing behind it is touched.
fn records_answer(records: &[Value]) -> Value {
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
