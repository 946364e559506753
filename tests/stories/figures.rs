//! The sizes that CONTRIBUTING.md allows: of functions, files and comment lines.

use std::slice;

use crate::sources::{read_crates, source_texts};

const FUNCTION_LINES: usize = 60;
const FILE_LINES: usize = 500;
const COMMENT_COLUMNS: usize = 100;
/// A longer file says in the comment at its top why it is long, after these words.
const REASON: &str = "Long because";

/// Functions outside tests that may be longer.
const LONG_FUNCTIONS: usize = 5;
/// Files without a reason that may be longer.
const LONG_FILES: usize = 0;

fn assert_at_most(limit: usize, found: &[String], what: &str) {
    assert!(found.len() <= limit, "{what}: {} of at most {limit}\n{}", found.len(), found.join("\n"));
}

#[test]
fn functions_outside_tests_are_short() {
    let is_test = |root: &str| root.starts_with("tests/") || root.contains("/tests/");
    let mut found = Vec::new();
    for source in read_crates().iter().filter(|source| !is_test(&source.root)) {
        for (module, code) in &source.modules {
            for function in code.functions.iter().filter(|function| function.lines > FUNCTION_LINES) {
                let module = [slice::from_ref(&source.root), module.as_slice()].concat().join("::");
                found.push(format!("{} {module}::{}", function.lines, function.name));
            }
        }
    }
    assert_at_most(LONG_FUNCTIONS, &found, "functions above 60 lines");
}

#[test]
fn a_long_file_gives_a_reason_at_its_top() {
    let mut found = Vec::new();
    for (path, text) in source_texts() {
        let lines = text.lines().count();
        let top: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
        if lines > FILE_LINES && !top.join(" ").contains(REASON) {
            found.push(format!("{lines} {path}"));
        }
    }
    assert_at_most(LONG_FILES, &found, "files above 500 lines without a reason");
}

#[test]
fn comments_wrap_at_100_columns() {
    let mut found = Vec::new();
    for (path, text) in source_texts() {
        for (line, comment) in (1..).zip(text.lines()).filter(|(_, line)| line.trim_start().starts_with("//")) {
            // An address or a command cannot be wrapped.
            let is_text = !comment.contains("<https://") && !comment.contains("openssl dgst");
            if is_text && comment.chars().count() > COMMENT_COLUMNS {
                found.push(format!("{path}:{line}"));
            }
        }
    }
    assert_at_most(0, &found, "comment lines above 100 columns");
}
