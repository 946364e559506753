use serde_json::json;

use super::{child::FUNCTION_NAME, *};

/// A pool of at most `max_instances` children, and its folder.
fn test_pool(timeout: Duration, max_instances: usize) -> (tempfile::TempDir, Arc<FunctionPool>) {
    let dir = tempfile::tempdir().unwrap();
    child::install_binary(dir.path(), FUNCTION_NAME);
    let functions = child::create_pool(dir.path(), timeout, max_instances);
    (dir, functions)
}

#[tokio::test]
async fn a_process_is_kept_warm_and_sees_only_its_own_environment() {
    let (_dir, functions) = test_pool(Duration::from_secs(5), 4);
    let first = functions.invoke_json(FUNCTION_NAME, &json!({"do": "echo"})).await.unwrap();
    let second = functions.invoke_json(FUNCTION_NAME, &json!({"do": "echo"})).await.unwrap();
    assert_eq!(first["pid"], second["pid"]);
    let env = first["env"].as_object().unwrap();
    assert_eq!(env["GREETING"], "hello");
    assert!(env.contains_key("AWS_LAMBDA_RUNTIME_API") && !env.contains_key("HOME"), "{env:?}");
    let deadline: i64 = first["deadline"].as_str().unwrap().parse().unwrap();
    assert!((1..=5000).contains(&(deadline - tellonce_fakes::system_now_ms())));
    assert!(first["arn"].as_str().unwrap().ends_with(":function:child"));
    let counts = functions.invocation_counts(FUNCTION_NAME);
    assert_eq!((counts.started, counts.succeeded, counts.cold_starts, counts.running), (2, 2, 1, 0));
}

#[tokio::test]
async fn overlapping_invocations_get_processes_of_their_own_up_to_the_limit() {
    let (_dir, functions) = test_pool(Duration::from_secs(10), 2);
    let nap = json!({"do": "nap"});
    let naps = futures::future::join_all((0..4).map(|_| functions.invoke_json(FUNCTION_NAME, &nap))).await;
    let pids: std::collections::BTreeSet<u64> =
        naps.iter().map(|nap| nap.as_ref().unwrap()["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids.len(), 2);
    assert_eq!(functions.invocation_counts(FUNCTION_NAME).cold_starts, 2);
}

#[tokio::test]
async fn a_crash_fails_its_invocation_at_once_and_the_next_gets_a_fresh_process() {
    let (_dir, functions) = test_pool(Duration::from_secs(30), 1);
    let error = functions.invoke_json(FUNCTION_NAME, &json!({"do": "crash"})).await.unwrap_err();
    assert!(matches!(&error, InvokeError::Crashed(how) if how.contains('3')), "{error}");
    functions.invoke_json(FUNCTION_NAME, &json!({"do": "echo"})).await.unwrap();
    assert_eq!(functions.invocation_counts(FUNCTION_NAME).cold_starts, 2);
}

#[tokio::test]
async fn a_killed_process_fails_its_invocation_at_once() {
    let (_dir, functions) = test_pool(Duration::from_secs(30), 1);
    let hanging = tokio::spawn({
        let functions = functions.clone();
        async move { functions.invoke_json(FUNCTION_NAME, &json!({"do": "hang"})).await }
    });
    while !functions.log_lines(FUNCTION_NAME).iter().any(|line| line.text.contains("hang")) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(functions.kill_instances(FUNCTION_NAME).await, 1);
    let error = hanging.await.unwrap().unwrap_err();
    assert!(matches!(&error, InvokeError::Crashed(how) if how.contains("signal: 9")), "{error}");
    assert!(functions.running_pids(FUNCTION_NAME).is_empty());
    functions.invoke_json(FUNCTION_NAME, &json!({"do": "echo"})).await.unwrap();
}

#[tokio::test]
async fn an_invocation_that_takes_too_long_is_killed() {
    let (_dir, functions) = test_pool(Duration::from_millis(200), 1);
    let error = functions.invoke_json(FUNCTION_NAME, &json!({"do": "hang"})).await.unwrap_err();
    assert_eq!(error.to_string(), "Task timed out after 0.20 seconds");
    functions.invoke_json(FUNCTION_NAME, &json!({"do": "echo"})).await.unwrap();
}

#[tokio::test]
async fn an_error_of_the_function_is_reported_and_its_process_stays() {
    let (_dir, functions) = test_pool(Duration::from_secs(5), 1);
    let error = functions.invoke_json(FUNCTION_NAME, &json!({"do": "fail"})).await.unwrap_err();
    assert_eq!(error, InvokeError::Function { kind: "Oops".to_owned(), message: "no".to_owned() });
    functions.invoke_json(FUNCTION_NAME, &json!({"do": "echo"})).await.unwrap();
    assert_eq!(functions.invocation_counts(FUNCTION_NAME).cold_starts, 1);
}

#[tokio::test]
async fn a_binary_that_is_not_there_or_ends_at_once_is_an_error_with_a_reason() {
    let (dir, functions) = test_pool(Duration::from_secs(5), 1);
    std::fs::write(dir.path().join(FUNCTION_NAME), "#!/bin/sh\necho not today\nexit 7\n").unwrap();
    let error = functions.invoke_json(FUNCTION_NAME, &json!({})).await.unwrap_err();
    assert!(matches!(&error, InvokeError::Init(how) if how.contains('7')), "{error}");
    assert!(
        functions
            .log_lines(FUNCTION_NAME)
            .iter()
            .any(|line| line.text == "not today" && line.source == LogSource::Stdout)
    );
    std::fs::remove_file(dir.path().join(FUNCTION_NAME)).unwrap();
    let error = functions.invoke_json(FUNCTION_NAME, &json!({})).await.unwrap_err().to_string();
    assert!(error.contains("cargo build"), "{error}");
}

#[tokio::test]
async fn after_the_stop_nothing_runs_and_nothing_starts() {
    let (_dir, functions) = test_pool(Duration::from_secs(5), 1);
    functions.invoke_json(FUNCTION_NAME, &json!({"do": "echo"})).await.unwrap();
    functions.stop_all().await;
    assert!(functions.running_pids(FUNCTION_NAME).is_empty());
    assert_eq!(functions.invoke_json(FUNCTION_NAME, &json!({"do": "echo"})).await.unwrap_err(), InvokeError::Stopping);
}

#[tokio::test]
async fn a_web_page_takes_no_invocation_from_a_process() {
    let api = runtime_api::RuntimeApi::start().unwrap();
    let http = tellonce_core::bootstrap::build_http_client().unwrap();
    let next = || http.get(format!("http://{}/2018-06-01/runtime/invocation/next", api.addr));
    for (request, status) in [
        (next().header("host", "rebound.example"), 421),
        (next().header("origin", "https://page.example"), 403),
        (next().header("sec-fetch-site", "cross-site"), 403),
    ] {
        assert_eq!(request.send().await.unwrap().status().as_u16(), status);
    }
    assert_eq!(*api.phase.borrow(), runtime_api::RuntimePhase::Starting);
}

#[tokio::test]
async fn a_process_ends_by_itself_when_its_endpoint_is_gone() {
    let (_dir, functions) = test_pool(Duration::from_secs(5), 1);
    let api = runtime_api::RuntimeApi::start().unwrap();
    let mut child = std::process::Command::new(functions.by_name[FUNCTION_NAME].launch_config.binary.clone())
        .env("AWS_LAMBDA_RUNTIME_API", api.addr.to_string())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    api.phase.clone().wait_for(|phase| *phase == runtime_api::RuntimePhase::Ready).await.unwrap();
    drop(api);
    let gone = tokio::time::timeout(Duration::from_secs(5), async {
        while child.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    gone.await.unwrap();
}

#[tokio::test]
async fn after_an_invocation_all_its_lines_are_in_the_log() {
    let (_dir, functions) = test_pool(Duration::from_secs(30), 2);
    let count = |text: &str| functions.log_lines(FUNCTION_NAME).iter().filter(|line| line.text == text).count();
    for number in 1..=100 {
        functions.invoke_json(FUNCTION_NAME, &json!({"do": "echo"})).await.unwrap();
        assert_eq!(count("got \"echo\""), number);
    }
    functions.invoke_json(FUNCTION_NAME, &json!({"do": "fail"})).await.unwrap_err();
    functions.invoke_json(FUNCTION_NAME, &json!({"do": "crash"})).await.unwrap_err();
    assert_eq!((count("got \"fail\""), count("got \"crash\"")), (1, 1));
    assert!(functions.log_lines(FUNCTION_NAME).iter().all(|line| !line.text.contains('\u{1}')));
}
