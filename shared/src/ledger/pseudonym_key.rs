//! The client's pseudonym key, an item of the table.
//!
//! It is beside the rows that use it, because a reader of the table can read the numbers, too. So
//! it costs no secret, and a restored table has the right key.

use std::sync::Mutex;

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue as Value, ReturnValuesOnConditionCheckFailure},
};

use super::{Ledger, LedgerError, item::LedgerItemError, table::find_conflicting_item};
use crate::{
    appointment::HEADER_STAGE,
    attributes::{Item, ItemReader, ItemWriter},
    pseudonym::{KEY_BYTES, PseudonymKey},
};

/// The subject of the item.
const SUBJECT: &str = "pseudonym-key";
/// The attribute that holds the key.
const KEY_ATTRIBUTE: &str = "key";

impl Ledger {
    /// The ledger in a table, with the client's pseudonym key, which is read or created.
    pub async fn connect(db: Client, table: String, retention_days: u16) -> Result<Self, LedgerError> {
        let pseudonyms = load_or_create(&db, &table).await?;
        Ok(Self { db, table, pseudonyms, retention_days, known_queues: Mutex::default() })
    }
}

/// Reads the key, or creates it if the table is new. Of several functions that create it at the
/// same time, one succeeds and the others take its key.
async fn load_or_create(db: &Client, table: &str) -> Result<PseudonymKey, LedgerError> {
    let get = db.get_item().table_name(table).consistent_read(true);
    let get = get.key("subject", Value::S(SUBJECT.to_owned())).key("stage", Value::S(HEADER_STAGE.to_owned()));
    let stored = get.send().await.map_err(|error| LedgerError::Get(Box::new(error)))?.item;
    if let Some(item) = stored {
        return Ok(parse_item(&item)?);
    }
    let bytes = PseudonymKey::generate_bytes().map_err(|_| LedgerError::NoRandomNumbers)?;
    let mut item = ItemWriter::with_capacity(3);
    item.text("subject", SUBJECT);
    item.text("stage", HEADER_STAGE);
    item.bytes(KEY_ATTRIBUTE, bytes.to_vec());
    let put = db
        .put_item()
        .table_name(table)
        .set_item(Some(item.into_item()))
        .condition_expression("attribute_not_exists(subject)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    match find_conflicting_item(put.send().await)? {
        Some(earlier) => Ok(parse_item(&earlier)?),
        None => Ok(PseudonymKey::from_bytes(&bytes)),
    }
}

fn parse_item(item: &Item) -> Result<PseudonymKey, LedgerItemError> {
    let bytes = ItemReader(item).bytes(KEY_ATTRIBUTE).and_then(|bytes| <&[u8; KEY_BYTES]>::try_from(bytes).ok());
    bytes.map(PseudonymKey::from_bytes).ok_or(LedgerItemError::new(SUBJECT.to_owned(), KEY_ATTRIBUTE))
}
