//! Books: whose ids mean the same thing.

use super::{Findings, is_plain_name};

/// The longest name of a book that comes out unchanged in keys.
const LONGEST: usize = 20;

/// The book of one sender.
pub(super) struct Book<'a> {
    /// The sender's name.
    pub(super) sender: &'a str,
    /// The book's name.
    pub(super) name: &'a str,
    /// Whether it is written in the file.
    pub(super) written: bool,
}

/// What is kept in books, and the words of the file for it.
pub(super) struct Shelf<'a> {
    /// The table of the senders: `stores`.
    pub(super) table: &'a str,
    /// What one sender is called: `store`.
    pub(super) sender: &'a str,
    /// The setting that names the book: `order_book`.
    pub(super) setting: &'a str,
    /// What is in the book: `order`.
    pub(super) of: &'a str,
    /// What goes wrong if two things of one id meet in a book.
    pub(super) danger: &'a str,
    /// The senders.
    pub(super) books: Vec<Book<'a>>,
}

/// Senders that share a book must say so: two with ids of their own in one book would silence each other.
pub(super) fn look(shelf: &Shelf<'_>, findings: &mut Findings<'_>) {
    let Shelf { table, sender: what, setting, of, danger, books } = shelf;
    for Book { sender, name, written } in books {
        if !is_plain_name(name, LONGEST) {
            findings.error(
                &[table, sender, setting],
                format!("`{name}` cannot name the {of} book: it becomes part of idempotency keys"),
                "use lower-case letters, digits, `-` and `_`, at most 20",
            );
        }
        let others: Vec<_> = books
            .iter()
            .filter(|other| other.sender != *sender && other.name == *name)
            .map(|other| format!("`{}`", other.sender))
            .collect();
        if !written && !others.is_empty() {
            let others = others.join(", ");
            findings.error(
                &[table, sender],
                format!(
                    "this {what} shares the {of} book `{name}` with {others} and does not say so: if two different {of}s \
                     have the same id there, {danger}"
                ),
                format!(
                    "if they report on the same {of}s, or their ids never meet, write {setting} = \"{name}\" in each of \
                     them; otherwise give this {what} a book of its own, like {setting} = \"{sender}\""
                ),
            );
        }
    }
}
