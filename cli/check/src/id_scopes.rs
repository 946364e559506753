//! Id scopes: which senders use ids with the same meaning.

use super::FindingCollector;
use tellonce_core::client_config::is_plain_name;

/// The longest name that is unchanged in keys.
const MAX_NAME_LENGTH: usize = 20;

/// The id scope of one sender.
pub(super) struct SenderIdScope<'a> {
    /// The sender's name.
    pub(super) sender: &'a str,
    /// The name of the id scope.
    pub(super) name: &'a str,
    /// Whether the file contains it. Otherwise it is the default.
    pub(super) is_explicit: bool,
}

/// All id scopes of one kind of sender, with the words for its findings.
pub(super) struct IdScopeTable<'a> {
    /// The table of the senders: `stores`.
    pub(super) table: &'a str,
    /// The word for one sender: `store`.
    pub(super) sender: &'a str,
    /// The setting of the id scope: `id_scope`.
    pub(super) setting: &'a str,
    /// The thing that has the ids: `order`.
    pub(super) entity: &'a str,
    /// The effect if two different things have the same id in one scope.
    pub(super) danger: &'a str,
    /// The senders.
    pub(super) scopes: Vec<SenderIdScope<'a>>,
}

/// Senders that share an id scope must name it. Otherwise two senders with separate ids would
/// suppress each other's messages.
pub(super) fn check_id_scopes(table_scopes: &IdScopeTable<'_>, findings: &mut FindingCollector<'_>) {
    let IdScopeTable { table, sender: sender_kind, setting, entity: of, danger, scopes } = table_scopes;
    for SenderIdScope { sender, name, is_explicit: written } in scopes {
        if !is_plain_name(name, MAX_NAME_LENGTH) {
            findings.add_error(
                &[table, sender, setting],
                format!("`{name}` cannot be the name of an id scope: it becomes part of idempotency keys"),
                "use lower-case letters, digits, `-` and `_`, at most 20",
            );
        }
        let others: Vec<_> = scopes
            .iter()
            .filter(|other| other.sender != *sender && other.name == *name)
            .map(|other| format!("`{}`", other.sender))
            .collect();
        if !written && !others.is_empty() {
            let others = others.join(", ");
            findings.add_error(
                &[table, sender],
                format!(
                    "this {sender_kind} shares the id scope `{name}` with {others} by default: if two different {of}s \
                     have the same id there, {danger}"
                ),
                format!(
                    "if they report on the same {of}s, or their ids never meet, write {setting} = \"{name}\" in each of \
                     them; otherwise give this {sender_kind} its own id scope, like {setting} = \"{sender}\""
                ),
            );
        }
    }
}
