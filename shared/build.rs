//! Names the commit that a release was built from. A build for development is called `dev`, so that
//! no commit compiles anything again.
//!
//! The commit is the last one that changed the code of the functions. So a change of `clients/`
//! leaves the functions byte for byte the same.

use std::process::Command;

/// What the functions are built from, from the folder of this crate.
const SOURCES: [&str; 5] = ["../functions", "../shared", "../Cargo.toml", "../Cargo.lock", "../rust-toolchain.toml"];
/// The characters of a commit that are kept.
const COMMIT_LENGTH: usize = 12;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[expect(clippy::disallowed_methods, reason = "cargo tells a build script everything in its environment")]
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = if is_release { find_commit() } else { "dev".to_owned() };
    println!("cargo:rustc-env=TELLONCE_COMMIT={commit}");
}

/// The commit, with `+` behind it if the sources differ from it; `unknown` without a repository.
fn find_commit() -> String {
    // The log of HEAD grows with every commit, and HEAD changes with every checkout.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = run_git(&["rev-parse", "--git-path", file], &[]) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
    }
    let Some(commit) = run_git(&["log", "-1", "--format=%H"], &SOURCES).filter(|commit| !commit.is_empty()) else {
        return "unknown".to_owned();
    };
    let is_changed = run_git(&["status", "--porcelain"], &SOURCES).is_some_and(|changes| !changes.is_empty());
    let short = commit.get(..COMMIT_LENGTH).unwrap_or(&commit);
    format!("{short}{}", if is_changed { "+" } else { "" })
}

fn run_git(arguments: &[&str], paths: &[&str]) -> Option<String> {
    let mut git = Command::new("git");
    git.args(arguments);
    if !paths.is_empty() {
        git.arg("--").args(paths);
    }
    let output = git.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
