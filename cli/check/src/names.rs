//! The names of tables, and suggestions for unknown names.

use tellonce_core::client_config::{ClientConfig, is_plain_name};

use super::FindingCollector;

/// The longest name of a table.
const MAX_NAME_LENGTH: usize = 40;

/// Reports the name of a table that cannot be part of other names. `kind` is the word for the
/// table, with its article, and `place` is the text that the name is part of.
pub(super) fn check_name(path: [&str; 2], kind: &str, place: &str, findings: &mut FindingCollector<'_>) {
    let [_, name] = path;
    if !is_plain_name(name, MAX_NAME_LENGTH) {
        findings.add_error(
            &path,
            format!("`{name}` cannot be the name of {kind}: it becomes part of {place}"),
            "use lower-case letters, digits, `-` and `_`, at most 40",
        );
    }
}

/// Reports an empty name for customers. `sender` is the word for the table: `store`.
pub(super) fn check_shown_name(
    path: [&str; 2],
    sender: &str,
    shown: Option<&str>,
    findings: &mut FindingCollector<'_>,
) {
    if shown.is_some_and(|shown| shown.trim().is_empty()) {
        let remedy = "write it, or remove it: the client's name is used then";
        findings.add_error(&[path[0], path[1], "name"], format!("the {sender}'s name is empty"), remedy);
    }
}

/// Reports that a sender of another kind, `other`, has the same name.
pub(super) fn add_shared_name(
    config: &ClientConfig,
    path: [&str; 2],
    other: &str,
    findings: &mut FindingCollector<'_>,
) {
    let [_, name] = path;
    findings.add_error(
        &path,
        format!(
            "there is a {other} `{name}` too: both would be verified with the secret {}",
            config.webhook_secret_name(name)
        ),
        "give one of them another name",
    );
}

/// The known name that is most similar to a mistyped one, if any is similar.
pub(crate) fn nearest_name<'n>(word: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let word = word.to_lowercase();
    let near = (word.chars().count() / 3).clamp(1, 4);
    let close = |name: &str| {
        let name = name.to_lowercase();
        // A part of a name counts as one typing error.
        let is_prefix = word.len() >= 3 && (name.starts_with(&word) || word.starts_with(&name));
        if is_prefix { near.min(1) } else { edit_distance(&word, &name) }
    };
    let distances = known.into_iter().map(|name| (close(name), name));
    distances.filter(|(distance, _)| *distance <= near).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// The remedy for an unknown name.
pub(crate) fn suggest_name<'n>(word: &str, known: impl IntoIterator<Item = &'n str> + Clone) -> String {
    if let Some(name) = nearest_name(word, known.clone()) {
        return format!("did you mean `{name}`?");
    }
    let known: Vec<_> = known.into_iter().map(|name| format!("`{name}`")).collect();
    if known.is_empty() { "there is none yet".to_owned() } else { format!("known here: {}", known.join(", ")) }
}

/// The number of characters to add, remove, replace or swap with the next one, to change one word
/// into the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 0..from.len() {
        let mut row = vec![i + 1];
        for j in 0..to.len() {
            let replaced = rows[i][j] + usize::from(from[i] != to[j]);
            let mut least = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from[i] == to[j - 1] && from[i - 1] == to[j] {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}
