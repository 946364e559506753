//! Whether git tracks a file of secrets.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tellonce_check::{Finding, Severity};

/// The files of secrets that belong in git: their values are public test values.
const PUBLIC_FILES: [&str; 2] = ["clients/demo/secrets.json", "clients/examples/secrets.json"];

/// Finds a file of secrets that git tracks, or that git could not be asked about.
///
/// Only git itself knows its index, so this runs `git ls-files`. A file outside of a working tree
/// needs no git.
pub(crate) fn find_tracked_file(file: &Path) -> Option<Finding> {
    find_tracked_with("git", file)
}

fn find_tracked_with(git: &str, file: &Path) -> Option<Finding> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.canonicalize().ok()?;
    let name = PathBuf::from(file.file_name()?);
    let root = folder.ancestors().find(|ancestor| ancestor.join(".git").exists())?;
    if folder
        .join(&name)
        .strip_prefix(root)
        .is_ok_and(|path| PUBLIC_FILES.iter().any(|public| path == Path::new(public)))
    {
        return None;
    }
    let listed = Command::new(git)
        .arg("-C")
        .arg(&folder)
        .args(["--literal-pathspecs", "ls-files", "-z", "--"])
        .arg(&name)
        .output();
    let finding = |severity, problem: String, remedy: String| Some(Finding { severity, line: 1, problem, remedy });
    match listed {
        Ok(listed) if listed.status.success() && listed.stdout.is_empty() => None,
        Ok(listed) if listed.status.success() => finding(
            Severity::Error,
            format!("{} is in git: every clone holds its values", name.display()),
            format!(
                "run `git rm --cached {}` and commit; then replace every value in it, because the history keeps them",
                file.display()
            ),
        ),
        Ok(_) => finding(
            Severity::Warning,
            format!("could not find out whether {} is in git: `git ls-files` failed", name.display()),
            format!("run `git ls-files {}`; it must print nothing", file.display()),
        ),
        Err(error) => finding(
            Severity::Warning,
            format!("could not find out whether {} is in git: could not run git ({})", name.display(), error.kind()),
            "install git, or make sure that the file is in no repository".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_git(folder: &Path, arguments: &[&str]) {
        let run = Command::new("git").arg("-C").arg(folder).args(arguments).output().unwrap();
        assert!(run.status.success(), "{run:?}");
    }

    fn find(file: &Path) -> Option<(Severity, String)> {
        find_tracked_file(file).map(|finding| (finding.severity, finding.problem))
    }

    #[test]
    fn a_tracked_file_is_an_error_even_after_it_was_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let client = folder.path().join("clients/acme");
        let file = client.join("secrets.json");
        std::fs::create_dir_all(&client).unwrap();
        std::fs::write(&file, "{}").unwrap();
        assert_eq!(find(&file), None, "outside of git");
        run_git(folder.path(), &["init", "--quiet"]);
        assert_eq!(find(&file), None, "not added");
        run_git(folder.path(), &["add", "--force", "clients/acme/secrets.json"]);
        for _ in 0..2 {
            let (severity, problem) = find(&file).unwrap();
            assert_eq!(
                (severity, problem.as_str()),
                (Severity::Error, "secrets.json is in git: every clone holds its values")
            );
            std::fs::remove_file(&file).unwrap_or_default();
        }
    }

    #[test]
    fn only_the_clients_with_public_values_may_be_tracked() {
        let folder = tempfile::tempdir().unwrap();
        run_git(folder.path(), &["init", "--quiet"]);
        for (client, is_found) in
            [("clients/demo", false), ("clients/examples", false), ("clients/demo2", true), ("demo", true)]
        {
            let client = folder.path().join(client);
            std::fs::create_dir_all(&client).unwrap();
            std::fs::write(client.join("secrets.json"), "{}").unwrap();
            run_git(&client, &["add", "--force", "secrets.json"]);
            assert_eq!(find(&client.join("secrets.json")).is_some(), is_found, "{}", client.display());
        }
    }

    #[test]
    fn without_an_answer_of_git_there_is_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secrets.json");
        std::fs::write(folder.path().join(".git"), "gitdir: /nowhere\n").unwrap();
        for (git, why) in [("git", "`git ls-files` failed"), ("/nowhere/git", "could not run git")] {
            let finding = find_tracked_with(git, &file).unwrap();
            assert!(finding.severity == Severity::Warning && finding.problem.contains(why), "{finding:?}");
        }
    }
}
