//! What the console knows of the tables. It follows their changes: a look reads the items that were
//! written since the look before, and orders them as the page needs them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::{Value, json};
use tellonce_core::{appointment::HEADER_STAGE, heartbeat::HEARTBEAT_ID};
use tellonce_stack::dynamo::{EmbeddedDynamo, ItemKey, TableChanges};

/// The code of the outcome of a lead whose form is held.
const HELD_OUTCOME: &str = "held-for-review";

/// The tables that the console shows.
#[derive(Debug, Clone)]
pub(super) struct ShownTables {
    /// Inboxes of stores, calendars and forms.
    pub(super) inboxes: Vec<String>,
    pub(super) lead_inbox: String,
    pub(super) ledger: String,
}

impl ShownTables {
    /// The name of an item, from all of its attributes or only those of its key.
    fn item_name(&self, table: &str, item: &Value) -> ItemName {
        let text = |name: &str| item[name].as_str().unwrap_or_default();
        if table == self.ledger {
            format!("{table}\n{}\n{}", text("subject"), text("stage"))
        } else {
            format!("{table}\n{}", text("id"))
        }
    }
}

/// The name of an item in the view: its table and its key.
type ItemName = String;

/// What a record of conversation-sync is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum RecordKey {
    CrmTask { reference: String, queue: String },
    Conversation { phone: String },
}

impl RecordKey {
    fn of_item(item: &Value) -> Option<Self> {
        let stage = item["stage"].as_str()?;
        let is_conversation = item["subject"].as_str()?.starts_with("conversation:") && stage == HEADER_STAGE;
        if !is_conversation && !stage.starts_with("crm-") {
            return None;
        }
        let record = read_record(item)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(if is_conversation {
            Self::Conversation { phone: text(&record["phone"])? }
        } else {
            Self::CrmTask { reference: text(&record["content"]["entry"]["reference"])?, queue: text(&record["queue"])? }
        })
    }
}

fn read_record(item: &Value) -> Option<Value> {
    serde_json::from_str(item["record"].as_str()?).ok()
}

/// Items by a time, the newest first.
#[derive(Debug, Default)]
struct NewestFirst(BTreeSet<(Reverse<i64>, ItemName)>);

/// The items of the tables, and their orders.
#[derive(Debug, Default)]
pub(super) struct TablesView {
    /// Position in the changes of the tables; `None` before the first look.
    position: Option<u64>,
    items: HashMap<ItemName, Arc<Value>>,
    deliveries: NewestFirst,
    leads: NewestFirst,
    message_rows: NewestFirst,
    appointments: NewestFirst,
    /// Messages by the delivery that they follow from.
    rows_by_delivery: HashMap<String, BTreeSet<ItemName>>,
    /// Deliveries that wait until an operator releases their form, by form.
    held: BTreeMap<String, usize>,
    due: BTreeSet<(i64, ItemName)>,
    /// Tasks for CRMs by the reference of their entry and their CRM, and conversations by the
    /// customer's number.
    records: HashMap<RecordKey, ItemName>,
    /// Items that were read, for tests.
    items_read: usize,
}

impl TablesView {
    /// Reads what changed since the last look.
    pub(super) fn follow(&mut self, dynamo: &EmbeddedDynamo, tables: &ShownTables) -> anyhow::Result<()> {
        // Taken first: a write during the reads is read again at the next look.
        let position = dynamo.change_position();
        match self.position.map_or(TableChanges::Unknown, |known| dynamo.changes_since(known)) {
            TableChanges::Items(changed) => self.read_changed(dynamo, tables, changed)?,
            TableChanges::Unknown => {
                *self = Self { items_read: self.items_read, ..Self::default() };
                for table in tables.inboxes.iter().chain([&tables.ledger]) {
                    for item in dynamo.scan_items(table)? {
                        self.items_read += 1;
                        self.insert(tables, table, item);
                    }
                }
            }
        }
        self.position = Some(position);
        Ok(())
    }

    fn read_changed(
        &mut self,
        dynamo: &EmbeddedDynamo,
        tables: &ShownTables,
        changed: Vec<ItemKey>,
    ) -> anyhow::Result<()> {
        let mut read = BTreeSet::new();
        for changed in changed {
            let is_shown = changed.table == tables.ledger || tables.inboxes.contains(&changed.table);
            let key = tellonce_stack::dynamo::to_plain_item(&changed.key)?;
            let name = tables.item_name(&changed.table, &key);
            if !is_shown || !read.insert(name.clone()) {
                continue;
            }
            self.items_read += 1;
            self.remove(tables, &changed.table, &name);
            if let Some(item) = dynamo.find_item(&changed)? {
                self.insert(tables, &changed.table, item);
            }
        }
        Ok(())
    }

    fn insert(&mut self, tables: &ShownTables, table: &str, mut item: Value) {
        // A heartbeat is in an inbox and is not a delivery.
        if table != tables.ledger && item["id"] == HEARTBEAT_ID {
            return;
        }
        let name = tables.item_name(table, &item);
        if table != tables.ledger {
            item["inbox"] = json!(table);
            // The body is large, and shown only on demand.
            if let Some(Value::String(body)) = item.as_object_mut().and_then(|item| item.remove("body")) {
                item["stored_bytes"] = json!(body.len() / 4 * 3);
            }
        }
        let item = Arc::new(item);
        self.change_orders(tables, table, &name, &item, true);
        self.items.insert(name, item);
    }

    fn remove(&mut self, tables: &ShownTables, table: &str, name: &str) {
        if let Some(item) = self.items.remove(name) {
            self.change_orders(tables, table, name, &item, false);
        }
    }

    /// Adds an item to the orders that it belongs to, or removes it from them.
    fn change_orders(&mut self, tables: &ShownTables, table: &str, name: &str, item: &Value, adds: bool) {
        if table != tables.ledger {
            self.deliveries.change(item, "received_at", name, adds);
            if table == tables.lead_inbox {
                self.leads.change(item, "received_at", name, adds);
            }
            if item["outcome"] == HELD_OUTCOME {
                let held = self.held.entry(item["sender"].as_str().unwrap_or_default().to_owned()).or_default();
                *held = if adds { *held + 1 } else { held.saturating_sub(1) };
            }
            return;
        }
        if is_message_row(item) {
            self.message_rows.change(item, "updated_at", name, adds);
            let delivery = item["delivery"].as_str().unwrap_or_default();
            let rows = self.rows_by_delivery.entry(delivery.to_owned()).or_default();
            change_set(rows, name.to_owned(), adds);
            if rows.is_empty() {
                self.rows_by_delivery.remove(delivery);
            }
        } else if item["appointment"].is_string() {
            self.appointments.change(item, "updated_at", name, adds);
        }
        if let Some(key) = RecordKey::of_item(item) {
            if adds {
                self.records.insert(key, name.to_owned());
            } else {
                self.records.remove(&key);
            }
        }
        if let Some(due) = item["due_at"].as_i64() {
            change_set(&mut self.due, (due, name.to_owned()), adds);
        }
    }

    fn iter_newest<'v>(&'v self, order: &'v NewestFirst) -> impl Iterator<Item = &'v Value> {
        order.0.iter().filter_map(|(_, name)| self.items.get(name).map(AsRef::as_ref))
    }

    #[cfg(test)]
    /// Deliveries, newest first.
    pub(super) fn deliveries(&self) -> impl Iterator<Item = &Value> {
        self.iter_newest(&self.deliveries)
    }

    /// Deliveries of forms, newest first.
    pub(super) fn leads(&self) -> impl Iterator<Item = &Value> {
        self.iter_newest(&self.leads)
    }

    /// Ledger rows of messages, newest first.
    pub(super) fn message_rows(&self) -> impl Iterator<Item = &Value> {
        self.iter_newest(&self.message_rows)
    }

    /// Headers of appointments, newest first.
    pub(super) fn appointments(&self) -> impl Iterator<Item = &Value> {
        self.iter_newest(&self.appointments)
    }

    /// The row of a message, by its key's subject and stage.
    pub(super) fn message_row(&self, tables: &ShownTables, subject: &str, stage: &str) -> Option<&Value> {
        self.items.get(&format!("{}\n{subject}\n{stage}", tables.ledger)).map(AsRef::as_ref)
    }

    /// A delivery by its key in its inbox.
    pub(super) fn delivery(&self, tables: &ShownTables, id: &str) -> Option<&Value> {
        let found = tables.inboxes.iter().find_map(|inbox| self.items.get(&format!("{inbox}\n{id}")));
        found.map(AsRef::as_ref)
    }

    /// The messages that follow from a delivery, newest first.
    pub(super) fn rows_of_delivery(&self, delivery: &str) -> Vec<&Value> {
        let names = self.rows_by_delivery.get(delivery).into_iter().flatten();
        let mut rows: Vec<&Value> = names.filter_map(|name| self.items.get(name).map(AsRef::as_ref)).collect();
        rows.sort_by_key(|row| Reverse(row["updated_at"].as_i64()));
        rows
    }

    /// The row with the state of a line, a feed or a form.
    pub(super) fn state_row(&self, tables: &ShownTables, subject: &str) -> Option<&Value> {
        let key = json!({"subject": subject, "stage": HEADER_STAGE});
        self.items.get(&tables.item_name(&tables.ledger, &key)).map(AsRef::as_ref)
    }

    /// The task that writes the entry of a message into a CRM.
    pub(super) fn crm_task(&self, reference: &str, crm: &str) -> Option<Value> {
        let (reference, queue) = (reference.to_owned(), format!("crm:{crm}"));
        read_record(self.items.get(self.records.get(&RecordKey::CrmTask { reference, queue })?)?)
    }

    /// The conversation of a number, and when the alert for a customer who waits is checked next.
    pub(super) fn conversation(&self, phone: &str) -> Option<(Value, Option<i64>)> {
        let key = RecordKey::Conversation { phone: phone.to_owned() };
        let item = self.items.get(self.records.get(&key)?)?;
        Some((read_record(item)?, item["due_at"].as_i64()))
    }

    /// How many leads of a form wait until an operator releases it.
    pub(super) fn held_leads(&self, form: &str) -> usize {
        self.held.get(form).copied().unwrap_or_default()
    }

    /// The next due time after `now_ms`, in unix milliseconds.
    pub(super) fn next_due(&self, now_ms: i64) -> Option<i64> {
        self.due.range((now_ms.saturating_add(1), ItemName::new())..).next().map(|(due, _)| *due)
    }
}

impl NewestFirst {
    fn change(&mut self, item: &Value, time: &str, name: &str, adds: bool) {
        change_set(&mut self.0, (Reverse(item[time].as_i64().unwrap_or(0)), name.to_owned()), adds);
    }
}

fn change_set<T: Ord>(set: &mut BTreeSet<T>, member: T, adds: bool) {
    if adds {
        set.insert(member);
    } else {
        set.remove(&member);
    }
}

/// Whether a row holds the state of a line, an appointment, a feed, a form or a customer, and not a
/// message.
fn is_state_row(row: &Value) -> bool {
    row["stage"] == HEADER_STAGE
}

/// Whether a row is a message. Only messages have a state: a row of greetings has none.
fn is_message_row(row: &Value) -> bool {
    !is_state_row(row) && row["state"].is_string()
}

#[cfg(test)]
mod tests {
    use tellonce_stack::{clock::LocalClock, template::TemplateTable};

    use super::*;

    const LEDGER: &str = "ledger";

    struct ViewFixture {
        dynamo: EmbeddedDynamo,
        tables: ShownTables,
        view: TablesView,
        _folder: tempfile::TempDir,
    }

    fn table(name: &str, key: &[&str]) -> TemplateTable {
        let kinds = ["HASH", "RANGE"];
        let schema: Vec<Value> =
            key.iter().zip(kinds).map(|(name, kind)| json!({"AttributeName": name, "KeyType": kind})).collect();
        let types: Vec<Value> = key.iter().map(|name| json!({"AttributeName": name, "AttributeType": "S"})).collect();
        TemplateTable {
            id: name.to_owned(),
            name: name.to_owned(),
            ttl_attribute: None,
            definition: json!({
                "TableName": name, "KeySchema": schema, "AttributeDefinitions": types, "BillingMode": "PAY_PER_REQUEST"
            }),
        }
    }

    impl ViewFixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let clock = Arc::new(LocalClock::open(&folder.path().join("clock")).unwrap());
            let dynamo = EmbeddedDynamo::open(None, clock).unwrap();
            let tables = [table("orders", &["id"]), table("leads", &["id"]), table(LEDGER, &["subject", "stage"])];
            dynamo.create_tables(&tables).unwrap();
            let tables = ShownTables {
                inboxes: vec!["orders".to_owned(), "leads".to_owned()],
                lead_inbox: "leads".to_owned(),
                ledger: LEDGER.to_owned(),
            };
            Self { dynamo, tables, view: TablesView::default(), _folder: folder }
        }

        fn put(&self, table: &str, item: &Value) {
            let typed: Value = item
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| {
                    let typed =
                        value.as_str().map_or_else(|| json!({"N": value.to_string()}), |text| json!({"S": text}));
                    (name.clone(), typed)
                })
                .collect();
            self.dynamo.call_operation("PutItem", &json!({"TableName": table, "Item": typed})).unwrap();
        }

        /// Looks, and returns how many items the look read.
        fn look(&mut self) -> usize {
            let before = self.view.items_read;
            self.view.follow(&self.dynamo, &self.tables).unwrap();
            self.view.items_read - before
        }

        fn put_message(&self, order: &str, delivery: &str, updated_at: i64) {
            let row = json!({
                "subject": format!("order:{order}"), "stage": "ready", "state": "accepted", "delivery": delivery,
                "updated_at": updated_at,
            });
            self.put(LEDGER, &row);
        }
    }

    fn texts(items: impl Iterator<Item = impl std::borrow::Borrow<Value>>, name: &str) -> Vec<String> {
        items.map(|item| item.borrow()[name].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_look_reads_what_was_written_and_nothing_else() {
        let mut fixture = ViewFixture::new();
        for n in 0..20 {
            fixture.put("orders", &json!({"id": format!("shop#{n}"), "sender": "shop", "received_at": n}));
            fixture.put_message(&n.to_string(), &format!("shop#{n}"), n);
        }
        assert_eq!(fixture.look(), 40);
        assert_eq!(fixture.look(), 0);
        fixture.put_message("7", "shop#7", 100);
        fixture.put_message("7", "shop#7", 101);
        assert_eq!(fixture.look(), 1);
        assert_eq!(texts(fixture.view.message_rows().take(2), "subject"), ["order:7", "order:19"]);
        assert_eq!(fixture.view.message_rows().count(), 20);
        assert_eq!(texts(fixture.view.rows_of_delivery("shop#7").into_iter(), "subject"), ["order:7"]);
        assert_eq!(texts(fixture.view.deliveries().take(2), "id"), ["shop#19", "shop#18"]);
        let key = json!({"id": {"S": "shop#19"}});
        fixture.dynamo.call_operation("DeleteItem", &json!({"TableName": "orders", "Key": key})).unwrap();
        assert_eq!(fixture.look(), 1);
        assert_eq!(texts(fixture.view.deliveries().take(1), "id"), ["shop#18"]);
        fixture.put("orders", &json!({"id": HEARTBEAT_ID, "sent_at": 200}));
        fixture.look();
        assert_eq!(fixture.view.deliveries().count(), 19, "a heartbeat is not a delivery");
    }

    #[test]
    fn a_task_is_found_by_its_entry_and_a_conversation_by_its_number() {
        let mut fixture = ViewFixture::new();
        let task = |state: &str| {
            let record = json!({"queue": "crm:hub", "content": {"entry": {"reference": "main:1"}}, "state": state});
            json!({"subject": "message:main:ab", "stage": "crm-hub", "record": record.to_string()})
        };
        fixture.put(LEDGER, &task("waiting"));
        let record = json!({"phone": "+972545550199", "waiting_since": {"at": "2026-11-30T14:37:11Z"}}).to_string();
        fixture
            .put(LEDGER, &json!({"subject": "conversation:main:ab", "stage": "state", "record": record, "due_at": 7}));
        fixture.look();
        assert_eq!(fixture.view.crm_task("main:1", "hub").unwrap()["state"], "waiting");
        fixture.put(LEDGER, &task("done"));
        fixture.look();
        assert_eq!(fixture.view.crm_task("main:1", "hub").unwrap()["state"], "done");
        assert!(fixture.view.crm_task("main:1", "own").is_none() && fixture.view.conversation("+1").is_none());
        assert_eq!(fixture.view.conversation("+972545550199").unwrap().1, Some(7));
    }

    #[test]
    fn a_followed_view_equals_one_that_reads_everything() {
        let mut fixture = ViewFixture::new();
        fixture.look();
        for n in 0..12 {
            let (id, sender) = (format!("site#{n}"), if n % 2 == 0 { "site" } else { "other" });
            let held = json!({"id": id, "sender": sender, "received_at": n, "outcome": "held-for-review"});
            fixture.put("leads", &held);
            fixture.put_message(&n.to_string(), &id, n);
            fixture.put(LEDGER, &json!({"subject": format!("appointment:{n}"), "stage": "state", "appointment": "{}", "due_at": n * 10}));
            fixture.look();
        }
        fixture.put("leads", &json!({"id": "site#4", "sender": "site", "received_at": 50, "outcome": "test"}));
        fixture
            .put(LEDGER, &json!({"subject": "appointment:5", "stage": "state", "appointment": "{}", "updated_at": 9}));
        fixture.put(LEDGER, &json!({"subject": "line:main", "stage": "state", "stopped": "by"}));
        fixture.look();
        let mut fresh = TablesView::default();
        fresh.follow(&fixture.dynamo, &fixture.tables).unwrap();
        for view in [&fixture.view, &fresh] {
            assert_eq!((view.held_leads("site"), view.held_leads("other"), view.held_leads("none")), (5, 6, 0));
            assert_eq!(texts(view.leads().take(2), "id"), ["site#4", "site#11"]);
            assert_eq!(texts(view.appointments().take(1), "subject"), ["appointment:5"]);
            assert_eq!(view.appointments().count(), 12);
            assert_eq!((view.next_due(39), view.next_due(40), view.next_due(110)), (Some(40), Some(60), None));
            assert_eq!(view.state_row(&fixture.tables, "line:main").unwrap()["stopped"], "by");
            assert!(view.state_row(&fixture.tables, "line:other").is_none());
        }
    }

    #[test]
    fn rows_about_contacts_forms_and_appointments_are_not_messages() {
        let greetings = json!({"subject": "contact:ab", "stage": "greetings", "version": 1, "greetings": "[]"});
        let form = json!({"subject": "form:site", "stage": "state", "leads": 3, "held_since": 5});
        let opt_out = json!({"subject": "contact:ab", "stage": "state", "opted_out_at": 1});
        let header = json!({"subject": "appointment:88", "stage": "state", "appointment": "{}", "state": "x"});
        for row in [&greetings, &form, &opt_out, &header] {
            assert!(!is_message_row(row), "{row}");
        }
        assert!(is_message_row(&json!({"subject": "lead:1", "stage": "first-touch", "state": "suppressed"})));
    }
}
