//! What the folder of a client shows: no secret in git, and the decisions.

use std::{
    path::Path,
    process::{Command, Output},
};

use tellonce_core::{hash::sha256_hex, provider::PROVIDER};
use tellonce_ops::{
    EvidenceCheck,
    EvidenceResult::{Failed, NotChecked, Passed, ToSign},
};

use crate::secrets::find_tracked_file;

/// What follows the prefix of a line token, as an extended regular expression of git.
const TOKEN_REST: &str = "[A-Za-z0-9_-]{6,}";

fn run_git(folder: &Path, arguments: &[&str]) -> Result<Output, String> {
    Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .output()
        .map_err(|error| format!("git could not be run ({})", error.kind()))
}

/// The commit of the files of a folder, if it is in git, and whether one of them was changed since.
pub(super) fn find_commit(folder: &Path) -> Option<String> {
    let head = run_git(folder, &["rev-parse", "--short=12", "HEAD"]).ok().filter(|head| head.status.success())?;
    let commit = String::from_utf8(head.stdout).ok()?.trim().to_owned();
    let changed = run_git(folder, &["status", "--porcelain", "--", "."]).ok()?;
    Some(if changed.stdout.is_empty() { commit } else { format!("{commit}, with later changes") })
}

/// Why a file is not safe from being committed: git tracks it, or its repository does not ignore
/// it. `None` outside of every repository.
pub(super) fn find_exposure(file: &Path) -> Option<String> {
    if let Some(tracked) = find_tracked_file(file) {
        return Some(tracked.problem);
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.canonicalize().ok()?;
    folder.ancestors().find(|ancestor| ancestor.join(".git").exists())?;
    let name = file.file_name()?.to_str()?;
    let is_ignored =
        run_git(&folder, &["check-ignore", "--quiet", "--", name]).is_ok_and(|asked| asked.status.success());
    (!is_ignored).then(|| format!("{} is in a git repository that does not ignore it", file.display()))
}

/// Whether git tracks a secret in the folder of a client.
pub(super) fn check_tracked_secrets(folder: &Path) -> Vec<EvidenceCheck> {
    let checked = "secrets in the tracked files of the client's folder";
    let tracked = match run_git(folder, &["ls-files", "-z", "--", "."]) {
        Ok(listed) if listed.status.success() => {
            listed.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty()).count()
        }
        Ok(_) => return vec![EvidenceCheck::new(NotChecked, checked, "the folder is in no git repository")],
        Err(error) => return vec![EvidenceCheck::new(NotChecked, checked, error)],
    };
    if tracked == 0 {
        return vec![EvidenceCheck::new(NotChecked, checked, "git tracks no file of the folder")];
    }
    let secrets = match find_tracked_file(&folder.join("secrets.json")) {
        Some(finding) => EvidenceCheck::new(Failed, "the local file of secrets", finding.problem),
        None => {
            EvidenceCheck::new(Passed, "the local file of secrets", "git does not track it, or its values are public")
        }
    };
    let pattern = format!("{}{TOKEN_REST}", PROVIDER.facts().token_prefix);
    let search = ["grep", "--cached", "-I", "-E", "-l", "-e", &pattern, "--", ".", ":(exclude)secrets.json"];
    let tokens = match run_git(folder, &search) {
        Ok(found) if found.status.success() => {
            let files = String::from_utf8_lossy(&found.stdout).lines().collect::<Vec<_>>().join(", ");
            EvidenceCheck::new(Failed, checked, format!("what looks like a line token is in {files}"))
        }
        Ok(found) if found.status.code() == Some(1) => {
            EvidenceCheck::new(Passed, checked, format!("no line token in {tracked} tracked files"))
        }
        Ok(_) => EvidenceCheck::new(NotChecked, checked, "`git grep` failed"),
        Err(error) => EvidenceCheck::new(NotChecked, checked, error),
    };
    vec![tokens, secrets]
}

/// What a decisions.md holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct DecisionCounts {
    refused: usize,
    accepted: usize,
    questions: usize,
    open: usize,
    signatures: usize,
    unsigned: usize,
}

/// Whether the client's decisions are recorded and signed off.
pub(super) fn check_decisions(folder: &Path) -> Vec<EvidenceCheck> {
    let settings = EvidenceCheck::new(
        Passed,
        "settings that tellonce refuses, such as campaigns, bots and assignment",
        "none is in client.toml: tellonce does not load a file with one",
    );
    let Ok(text) = std::fs::read_to_string(folder.join("decisions.md")) else {
        return vec![
            settings,
            EvidenceCheck::new(Failed, "decisions.md", "the file is missing in the client's folder"),
        ];
    };
    let counts = count_decisions(&text);
    let DecisionCounts { refused, accepted, questions, open, signatures, unsigned } = counts;
    let hash = sha256_hex(text.as_bytes(), 32);
    let recorded = format!("{refused} refused and {accepted} accepted requests are recorded (sha256 {hash})");
    let decided = match questions {
        0 => EvidenceCheck::new(Passed, "questions before the first deployment", "none is listed"),
        all => EvidenceCheck::new(
            if open == 0 { Passed } else { Failed },
            "questions before the first deployment",
            format!("{open} of {all} are open"),
        ),
    };
    let signed = if signatures == 0 || unsigned > 0 {
        EvidenceCheck::new(
            ToSign,
            "the sign-off of the client",
            format!("{} of {signatures} entries are signed", signatures - unsigned),
        )
    } else {
        EvidenceCheck::new(
            Passed,
            "the sign-off of the client",
            format!("all {signatures} entries have a name and a date"),
        )
    };
    vec![settings, EvidenceCheck::new(Passed, "decisions.md", recorded), decided, signed]
}

fn count_decisions(text: &str) -> DecisionCounts {
    let mut counts = DecisionCounts::default();
    let (mut section, mut previous_row) = ("", false);
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            section = title;
        }
        let is_row = line.starts_with('|');
        // The first row of a table is its header, and the second one its rule.
        let is_content = is_row && previous_row && !line.contains("| ---");
        previous_row = is_row;
        if line.starts_with("### ") {
            counts.refused += usize::from(section.starts_with("Refused"));
            counts.accepted += usize::from(section.starts_with("Accepted"));
        } else if is_content {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let is_blank = |cell: &str| cell.is_empty() || cell.starts_with('(');
            if section.starts_with("To decide") {
                counts.questions += 1;
                counts.open += usize::from(cells.get(1).is_none_or(|cell| is_blank(cell)));
            } else if section.starts_with("Signed off") {
                counts.signatures += 1;
                counts.unsigned += usize::from(cells.len() < 3 || cells[1..].iter().any(|cell| is_blank(cell)));
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use tellonce_ops::EvidenceResult;

    use super::*;

    fn git(folder: &Path, arguments: &[&str]) {
        assert!(run_git(folder, arguments).unwrap().status.success(), "{arguments:?}");
    }

    #[test]
    fn a_token_in_a_tracked_file_fails_and_names_the_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let results = || check_tracked_secrets(folder.path()).iter().map(|check| check.result).collect::<Vec<_>>();
        assert_eq!(results(), [NotChecked], "outside of git");
        git(folder.path(), &["init", "--quiet"]);
        assert_eq!(results(), [NotChecked], "nothing is tracked");
        std::fs::write(folder.path().join("client.toml"), "client = \"acme\"\n").unwrap();
        git(folder.path(), &["add", "client.toml"]);
        assert_eq!(results(), [Passed, Passed]);
        std::fs::write(folder.path().join("notes.md"), "token ezw_line_0f3a9c27d481\n").unwrap();
        assert_eq!(results(), [Passed, Passed], "not tracked");
        git(folder.path(), &["add", "notes.md"]);
        let checks = check_tracked_secrets(folder.path());
        assert_eq!(checks[0].result, Failed);
        assert!(checks[0].seen.contains("notes.md") && !checks[0].seen.contains("0f3a9c"), "{checks:?}");
        std::fs::write(folder.path().join("secrets.json"), "{}").unwrap();
        git(folder.path(), &["add", "--force", "secrets.json"]);
        assert_eq!(results(), [Failed, Failed]);
    }

    #[test]
    fn a_key_is_exposed_in_a_repository_unless_git_ignores_it() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("a.key");
        assert_eq!(find_exposure(&key), None, "outside of git");
        git(folder.path(), &["init", "--quiet"]);
        assert!(find_exposure(&key).unwrap().contains("does not ignore it"));
        std::fs::write(folder.path().join(".gitignore"), "*.key\n").unwrap();
        assert_eq!(find_exposure(&key), None);
        std::fs::write(&key, "").unwrap();
        git(folder.path(), &["add", "--force", "a.key"]);
        assert!(find_exposure(&key).unwrap().contains("is in git"));
    }

    #[test]
    fn decisions_are_counted_with_what_is_open() {
        let demo = std::fs::read_to_string("../clients/demo/decisions.md").unwrap();
        let counts = count_decisions(&demo);
        assert!(counts.refused >= 6 && counts.accepted >= 8, "{counts:?}");
        assert!(counts.signatures >= 2 && counts.unsigned == counts.signatures, "{counts:?}");
        let text = "## Refused\n\nNone yet.\n\n## To decide before the first deployment\n\n\
            | question | decision | who | when |\n| --- | --- | --- | --- |\n| Where? | the desk | N | 1 May |\n\
            | When? | | | |\n\n## Signed off\n\n| what | who | when |\n| --- | --- | --- |\n| all | N | 2 May |\n";
        let expected = DecisionCounts { questions: 2, open: 1, signatures: 1, ..DecisionCounts::default() };
        assert_eq!(count_decisions(text), expected);
        let folder = tempfile::tempdir().unwrap();
        let results =
            || check_decisions(folder.path()).iter().map(|check| check.result).collect::<Vec<EvidenceResult>>();
        assert_eq!(results(), [Passed, Failed]);
        std::fs::write(folder.path().join("decisions.md"), text).unwrap();
        assert_eq!(results(), [Passed, Passed, Failed, Passed]);
    }
}
