//! What a privacy request erased.

use jiff::Timestamp;
use serde::Serialize;

/// How many items of a kind a table holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PersonCount {
    /// The table: `ledger`, or the function whose inbox it is.
    pub table: String,
    /// What they are: `messages`, `deliveries`.
    pub kind: String,
    /// How many.
    pub items: usize,
}

/// What was erased, for the person who asked: it holds no personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForgetReceipt {
    /// When it was done.
    pub at: Timestamp,
    /// The client.
    pub client: String,
    /// The contact, by its pseudonym.
    pub contact: String,
    /// What was erased.
    pub erased: Vec<PersonCount>,
    /// How many items were in use until the end. The command has to be repeated.
    pub in_use: usize,
    /// Whether nothing is left that can be erased. If not, the command has to be repeated.
    pub complete: bool,
    /// What stays, and why.
    pub stays: Vec<String>,
}

impl ForgetReceipt {
    /// How many items were erased.
    pub fn items(&self) -> usize {
        self.erased.iter().map(|count| count.items).sum()
    }
}
