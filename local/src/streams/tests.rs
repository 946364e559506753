use std::path::Path;

use super::*;
use crate::{clock::Clock, functions::child, template::Table};

struct World {
    dir: tempfile::TempDir,
    dynamo: Arc<Dynamo>,
    functions: Arc<Functions>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(Clock::open(&dir.path().join("clock")).unwrap());
        let dynamo = Dynamo::open(None, clock).unwrap();
        let definition = json!({
            "TableName": "Inbox",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"},
        });
        let table = Table { id: "Inbox".to_owned(), name: "Inbox".to_owned(), definition, ttl_attribute: None };
        dynamo.create_tables(&[table]).unwrap();
        child::put_into(dir.path(), child::NAME);
        let functions = child::pool(dir.path(), Duration::from_secs(10), 1);
        Self { dir, dynamo: Arc::new(dynamo), functions }
    }

    fn put(&self, id: &str, what: &str) {
        let item = json!({"id": {"S": id}, "do": {"S": what}});
        self.dynamo.call("PutItem", &json!({"TableName": "Inbox", "Item": item})).unwrap();
    }

    /// A reader with the positions and failures of a file, as after a restart.
    fn reader(&self, batch_size: usize, max_retries: u32) -> Arc<Reader> {
        let file = |name: &str| self.dir.path().join(name);
        let shared = Shared {
            dynamo: self.dynamo.clone(),
            functions: self.functions.clone(),
            positions: Arc::new(Positions::open(Some(&file("streams.json"))).unwrap()),
            failures: Arc::new(Failures::open(Some(&file("failures.jsonl"))).unwrap()),
            backoff: Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(5) },
        };
        let mapping = StreamMapping {
            id: "Child/Inbox".to_owned(),
            table: "Inbox".to_owned(),
            batch_size,
            filters: vec![
                Pattern::parse(&json!({"dynamodb": {"NewImage": {"do": {"S": [{"anything-but": "skip"}]}}}})).unwrap(),
            ],
            bisect: true,
            max_retries: Some(max_retries),
            reports_failures: true,
            on_failure: Some("Failures".to_owned()),
            from_start: true,
        };
        Arc::new(Reader::new(mapping, child::NAME, shared).unwrap())
    }

    /// What was handled, once it is so much (or will never be).
    async fn handled(&self, count: usize) -> Vec<String> {
        let mut handled = Vec::new();
        for _ in 0..1000 {
            let lines = self.functions.logs(child::NAME);
            handled = lines.iter().filter_map(|line| line.text.strip_prefix("handled ")).map(str::to_owned).collect();
            if handled.len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        handled
    }
}

async fn read_to_the_end(reader: &Arc<Reader>) {
    let pages = async {
        while !reader.state().unwrap().caught_up() {
            reader.clone().read_page().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), pages).await.unwrap();
}

#[tokio::test]
async fn records_arrive_in_order_in_batches_and_without_those_filtered_out() {
    let world = World::new();
    for (id, what) in [("a", "x"), ("b", "skip"), ("c", "x"), ("d", "x"), ("e", "skip")] {
        world.put(id, what);
    }
    read_to_the_end(&world.reader(2, 3)).await;
    assert_eq!(world.handled(3).await, ["a", "c", "d"]);
    assert_eq!(world.functions.invocations(child::NAME).started, 2);
}

#[tokio::test]
async fn a_poisoned_record_ends_in_the_queue_and_those_behind_it_are_handled() {
    let world = World::new();
    for (id, what) in [("a", "x"), ("b", "poison"), ("c", "x"), ("d", "x")] {
        world.put(id, what);
    }
    let reader = world.reader(10, 2);
    read_to_the_end(&reader).await;
    assert_eq!(world.handled(3).await, ["a", "c", "d"]);
    let failures = Failures::open(Some(&world.dir.path().join("failures.jsonl"))).unwrap().list();
    assert_eq!(failures, reader.failures.list());
    let [failure] = failures.as_slice() else { panic!("{failures:?}") };
    assert_eq!((failure.attempts, failure.queue.as_deref()), (3, Some("Failures")));
    assert_eq!(failure.records[0]["dynamodb"]["NewImage"]["id"]["S"], "b");
}

#[tokio::test]
async fn a_record_that_crashes_the_function_is_isolated_by_halving() {
    let world = World::new();
    for (id, what) in [("a", "x"), ("b", "x"), ("c", "crash"), ("d", "x")] {
        world.put(id, what);
    }
    let reader = world.reader(10, 1);
    read_to_the_end(&reader).await;
    let handled = world.handled(3).await;
    for id in ["a", "b", "d"] {
        assert!(handled.iter().any(|h| h == id), "{handled:?}");
    }
    let failures = reader.failures.list();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].records.len(), 1);
    assert!(failures[0].error.contains("exited without an answer"), "{}", failures[0].error);
}

#[tokio::test]
async fn a_restart_goes_on_where_the_last_reader_stopped() {
    let world = World::new();
    world.put("a", "x");
    read_to_the_end(&world.reader(10, 1)).await;
    world.put("b", "x");
    let reader = world.reader(10, 1);
    assert!(!reader.state().unwrap().caught_up());
    read_to_the_end(&reader).await;
    assert_eq!(world.handled(2).await, ["a", "b"]);
}

#[tokio::test]
async fn a_write_wakes_the_reader() {
    let world = World::new();
    let reader = tokio::spawn(world.reader(10, 1).run());
    world.put("a", "x");
    world.dynamo.wake_readers();
    assert_eq!(world.handled(1).await, ["a"]);
    reader.abort();
}

#[test]
fn pauses_grow_up_to_their_limit() {
    let backoff = Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(2) };
    let pauses: Vec<u128> = [1, 2, 3, 20, u32::MAX].map(|n| backoff.pause(n).as_millis()).to_vec();
    assert_eq!(pauses, [50, 100, 200, 2000, 2000]);
}

#[test]
fn a_failure_line_cut_short_by_a_kill_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path: &Path = &dir.path().join("failures.jsonl");
    std::fs::write(path, "{\"queue\": null, \"mapp").unwrap();
    assert!(Failures::open(Some(path)).unwrap().list().is_empty());
}
