use std::{collections::BTreeMap, path::Path};

use super::*;
use crate::{
    clock::LocalClock,
    functions::child,
    template::{FilterPattern, MetricId, TemplateTable},
};

struct StreamFixture {
    dir: tempfile::TempDir,
    dynamo: Arc<EmbeddedDynamo>,
    functions: Arc<FunctionPool>,
    metrics: Arc<MetricLog>,
}

impl StreamFixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(LocalClock::open(&dir.path().join("clock")).unwrap());
        let dynamo = EmbeddedDynamo::open(None, clock.clone()).unwrap();
        let definition = json!({
            "TableName": "Inbox",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"},
        });
        let table = TemplateTable { id: "Inbox".to_owned(), name: "Inbox".to_owned(), definition, ttl_attribute: None };
        dynamo.create_tables(&[table]).unwrap();
        child::install_binary(dir.path(), child::FUNCTION_NAME);
        let functions = child::create_pool(dir.path(), Duration::from_secs(10), 1);
        Self { dir, dynamo: Arc::new(dynamo), functions, metrics: Arc::new(MetricLog::new(clock)) }
    }

    fn put_item(&self, id: &str, what: &str) {
        let item = json!({"id": {"S": id}, "do": {"S": what}});
        self.dynamo.call_operation("PutItem", &json!({"TableName": "Inbox", "Item": item})).unwrap();
    }

    /// A reader with the positions and failures of a file, as after a restart.
    fn build_reader(&self, batch_size: usize, max_retries: u32) -> Arc<StreamReader> {
        let file = |name: &str| self.dir.path().join(name);
        let shared = ReaderContext {
            dynamo: self.dynamo.clone(),
            functions: self.functions.clone(),
            positions: Arc::new(StreamPositions::open(Some(&file("streams.json"))).unwrap()),
            failures: Arc::new(FailureLog::open(Some(&file("failures.jsonl"))).unwrap()),
            metrics: self.metrics.clone(),
            backoff: RetryBackoff { first: Duration::from_millis(1), longest: Duration::from_millis(5) },
        };
        let mapping = StreamMapping {
            id: "Child/Inbox".to_owned(),
            table: "Inbox".to_owned(),
            batch_size,
            filters: vec![
                FilterPattern::parse(&json!({"dynamodb": {"NewImage": {"do": {"S": ["x", "poison", "crash"]}}}}))
                    .unwrap(),
            ],
            bisect: true,
            max_retries: Some(max_retries),
            reports_failures: true,
            on_failure: Some("Failures".to_owned()),
            from_start: true,
        };
        Arc::new(StreamReader::new(mapping, child::FUNCTION_NAME, shared).unwrap())
    }

    /// Waits for `count` handled lines. Returns what was handled if they do not come.
    async fn wait_for_handled(&self, count: usize) -> Vec<String> {
        let mut handled = Vec::new();
        for _ in 0..1000 {
            let lines = self.functions.log_lines(child::FUNCTION_NAME);
            handled = lines.iter().filter_map(|line| line.text.strip_prefix("handled ")).map(str::to_owned).collect();
            if handled.len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        handled
    }
}

async fn wait_until_caught_up(reader: &Arc<StreamReader>) {
    let pages = async {
        while !reader.read_state().unwrap().is_caught_up() {
            reader.clone().read_page().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), pages).await.unwrap();
}

#[tokio::test]
async fn records_arrive_in_order_in_batches_and_without_those_filtered_out() {
    let world = StreamFixture::new();
    for (id, what) in [("a", "x"), ("b", "skip"), ("c", "x"), ("d", "x"), ("e", "skip")] {
        world.put_item(id, what);
    }
    wait_until_caught_up(&world.build_reader(2, 3)).await;
    assert_eq!(world.wait_for_handled(3).await, ["a", "c", "d"]);
    assert_eq!(world.functions.invocation_counts(child::FUNCTION_NAME).started, 2);
}

#[tokio::test]
async fn a_poisoned_record_ends_in_the_queue_and_those_behind_it_are_handled() {
    let world = StreamFixture::new();
    for (id, what) in [("a", "x"), ("b", "poison"), ("c", "x"), ("d", "x")] {
        world.put_item(id, what);
    }
    let reader = world.build_reader(10, 2);
    wait_until_caught_up(&reader).await;
    assert_eq!(world.wait_for_handled(3).await, ["a", "c", "d"]);
    let failures = FailureLog::open(Some(&world.dir.path().join("failures.jsonl"))).unwrap().list_batches();
    assert_eq!(failures, reader.failures.list_batches());
    let [failure] = failures.as_slice() else { panic!("{failures:?}") };
    assert_eq!((failure.attempts, failure.queue.as_deref()), (3, Some("Failures")));
    assert_eq!(failure.records[0]["dynamodb"]["NewImage"]["id"]["S"], "b");
    let depth = MetricId {
        namespace: "AWS/SQS".to_owned(),
        name: "ApproximateNumberOfMessagesVisible".to_owned(),
        dimensions: BTreeMap::from([("QueueName".to_owned(), "Failures".to_owned())]),
    };
    let now = world.metrics.current_minute();
    assert_eq!(world.metrics.values_in(&depth, now..now + 1), [1.0]);
}

#[tokio::test]
async fn a_stopped_mapping_reads_nothing_and_resumes_where_it_stopped() {
    let world = StreamFixture::new();
    let reader = world.build_reader(10, 1);
    reader.set_enabled(false);
    let running = tokio::spawn(reader.clone().run_forever());
    world.put_item("a", "x");
    world.dynamo.wake_readers();
    // Another reader of the stream does not wait.
    wait_until_caught_up(&world.build_reader(10, 1)).await;
    let state = reader.read_state().unwrap();
    assert!(!state.enabled && !state.is_caught_up(), "{state:?}");
    reader.set_enabled(true);
    assert_eq!(world.wait_for_handled(2).await, ["a", "a"]);
    running.abort();
}

#[tokio::test]
async fn a_record_that_crashes_the_function_is_isolated_by_halving() {
    let world = StreamFixture::new();
    for (id, what) in [("a", "x"), ("b", "x"), ("c", "crash"), ("d", "x")] {
        world.put_item(id, what);
    }
    let reader = world.build_reader(10, 1);
    wait_until_caught_up(&reader).await;
    let handled = world.wait_for_handled(3).await;
    for id in ["a", "b", "d"] {
        assert!(handled.iter().any(|h| h == id), "{handled:?}");
    }
    let failures = reader.failures.list_batches();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].records.len(), 1);
    assert!(failures[0].error.contains("exited without an answer"), "{}", failures[0].error);
}

#[tokio::test]
async fn a_restart_goes_on_where_the_last_reader_stopped() {
    let world = StreamFixture::new();
    world.put_item("a", "x");
    wait_until_caught_up(&world.build_reader(10, 1)).await;
    world.put_item("b", "x");
    let reader = world.build_reader(10, 1);
    assert!(!reader.read_state().unwrap().is_caught_up());
    wait_until_caught_up(&reader).await;
    assert_eq!(world.wait_for_handled(2).await, ["a", "b"]);
}

#[tokio::test]
async fn a_write_wakes_the_reader() {
    let world = StreamFixture::new();
    let reader = tokio::spawn(world.build_reader(10, 1).run_forever());
    world.put_item("a", "x");
    world.dynamo.wake_readers();
    assert_eq!(world.wait_for_handled(1).await, ["a"]);
    reader.abort();
}

#[test]
fn pauses_grow_up_to_their_limit() {
    let backoff = RetryBackoff { first: Duration::from_millis(50), longest: Duration::from_secs(2) };
    let pauses: Vec<u128> = [1, 2, 3, 20, u32::MAX].map(|n| backoff.pause_before(n).as_millis()).to_vec();
    assert_eq!(pauses, [50, 100, 200, 2000, 2000]);
}

#[test]
fn a_failure_line_cut_short_by_a_kill_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path: &Path = &dir.path().join("failures.jsonl");
    std::fs::write(path, "{\"queue\": null, \"mapp").unwrap();
    assert!(FailureLog::open(Some(path)).unwrap().list_batches().is_empty());
}
