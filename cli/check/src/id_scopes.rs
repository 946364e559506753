//! Books: whose ids mean the same thing.

use super::{FindingCollector, is_plain_name};

/// The longest name of a book that comes out unchanged in keys.
const MAX_NAME_LENGTH: usize = 20;

/// The book of one sender.
pub(super) struct SenderIdScope<'a> {
    /// The sender's name.
    pub(super) sender: &'a str,
    /// The book's name.
    pub(super) name: &'a str,
    /// Whether it is written in the file.
    pub(super) is_explicit: bool,
}

/// What is kept in books, and the words of the file for it.
pub(super) struct IdScopeTable<'a> {
    /// The table of the senders: `stores`.
    pub(super) table: &'a str,
    /// What one sender is called: `store`.
    pub(super) sender: &'a str,
    /// The setting that names the book: `id_scope`.
    pub(super) setting: &'a str,
    /// What is in the book: `order`.
    pub(super) entity: &'a str,
    /// What goes wrong if two things of one id meet in a book.
    pub(super) danger: &'a str,
    /// The senders.
    pub(super) scopes: Vec<SenderIdScope<'a>>,
}

/// Senders that share a book must say so: two with ids of their own in one book would silence each other.
pub(super) fn check_id_scopes(table_scopes: &IdScopeTable<'_>, findings: &mut FindingCollector<'_>) {
    let IdScopeTable { table, sender: sender_kind, setting, entity: of, danger, scopes: books } = table_scopes;
    for SenderIdScope { sender, name, is_explicit: written } in books {
        if !is_plain_name(name, MAX_NAME_LENGTH) {
            findings.add_error(
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
            findings.add_error(
                &[table, sender],
                format!(
                    "this {sender_kind} shares the {of} book `{name}` with {others} and does not say so: if two different {of}s \
                     have the same id there, {danger}"
                ),
                format!(
                    "if they report on the same {of}s, or their ids never meet, write {setting} = \"{name}\" in each of \
                     them; otherwise give this {sender_kind} a book of its own, like {setting} = \"{sender}\""
                ),
            );
        }
    }
}
