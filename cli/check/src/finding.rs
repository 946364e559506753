//! Findings: a problem, its line in the file, and the remedy.

use super::source::ConfigSource;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// A deployment would lose or misdirect messages, or not work at all.
    Error,
    /// It works, but is probably not intended.
    Warning,
}

/// One problem of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The severity.
    pub severity: Severity,
    /// Line in the file, from 1.
    pub line: usize,
    /// The problem.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// The findings so far, with the file to find their lines.
pub(crate) struct FindingCollector<'a> {
    pub(crate) source: &'a ConfigSource<'a>,
    findings: Vec<Finding>,
    /// The functions could not load the file.
    pub(crate) wrong_shape: bool,
}

impl<'a> FindingCollector<'a> {
    pub(crate) fn new(source: &'a ConfigSource<'a>) -> Self {
        Self { source, findings: Vec::new(), wrong_shape: false }
    }

    /// Adds an error at a key. `path` is the keys that lead to it.
    pub(crate) fn add_error(&mut self, path: &[&str], what: impl Into<String>, remedy: impl Into<String>) {
        self.add_finding(Severity::Error, self.source.line_of(path), what.into(), remedy.into());
    }

    /// Adds a warning at a key. `path` is the keys that lead to it.
    pub(crate) fn add_warning(&mut self, path: &[&str], what: impl Into<String>, remedy: impl Into<String>) {
        self.add_finding(Severity::Warning, self.source.line_of(path), what.into(), remedy.into());
    }

    pub(crate) fn add_finding(&mut self, severity: Severity, line: usize, what: String, remedy: String) {
        let finding = Finding { severity, line, problem: what, remedy };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    pub(crate) fn into_sorted(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| finding.line);
        self.findings
    }
}
