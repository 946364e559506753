//! The parts of the evidence: areas with their checks, and how ids are shown.

use jiff::Timestamp;
use serde::Serialize;
use tellonce_core::hash::sha256_hex;

/// The most digits in a row that an id may have without being replaced. A number has more.
const MAX_DIGITS: usize = 6;

/// The result of a check. The worst one of its checks is the result of an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceResult {
    /// It holds.
    Passed,
    /// Only a person can confirm it.
    ToSign,
    /// It was not checked, and the check says why.
    NotChecked,
    /// It does not hold.
    Failed,
}

impl EvidenceResult {
    /// The word for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::ToSign => "to be signed",
            Self::NotChecked => "not checked",
            Self::Failed => "failed",
        }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EvidenceCheck {
    /// What was checked.
    pub checked: String,
    /// What was seen, or why nothing was.
    pub seen: String,
    /// When it was seen, or happened.
    pub at: Option<Timestamp>,
    /// The result.
    pub result: EvidenceResult,
}

impl EvidenceCheck {
    /// A check with what was seen now.
    pub fn new(result: EvidenceResult, checked: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { checked: checked.into(), seen: seen.into(), at: None, result }
    }

    /// The same, of a time.
    #[must_use]
    pub fn at(self, at: Option<Timestamp>) -> Self {
        Self { at, ..self }
    }
}

/// A row of the handover table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EvidenceArea {
    /// Its name: `Idempotency`.
    pub name: &'static str,
    /// What must hold.
    pub must_hold: &'static str,
    /// The worst result of its checks.
    pub result: EvidenceResult,
    /// The checks.
    pub checks: Vec<EvidenceCheck>,
}

impl EvidenceArea {
    /// The name of the area of tokens.
    pub const AUTH: &str = "Auth";
    /// The name of the area of requests that are not supported.
    pub const BOUNDARY: &str = "Boundary";

    /// An area with its checks.
    pub fn new(name: &'static str, must_hold: &'static str, checks: Vec<EvidenceCheck>) -> Self {
        let result = checks.iter().map(|check| check.result).max().unwrap_or(EvidenceResult::NotChecked);
        Self { name, must_hold, result, checks }
    }

    /// The area with more checks.
    #[must_use]
    pub fn with_checks(mut self, more: Vec<EvidenceCheck>) -> Self {
        self.checks.extend(more);
        Self::new(self.name, self.must_hold, self.checks)
    }
}

/// An id of the provider, or its hash if it may contain a number.
pub(super) fn show_id(id: &str) -> String {
    let has_number = id.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > MAX_DIGITS);
    if has_number || id.contains('@') || !id.chars().all(|c| c.is_ascii_graphic()) {
        return format!("sha256:{}", sha256_hex(id.as_bytes(), 8));
    }
    id.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_may_contain_a_number_is_shown_as_its_hash() {
        for id in ["wamid-7f3a", "dlv_88", "m-123456"] {
            assert_eq!(show_id(id), id);
        }
        for id in ["true_972545550199@c.us_3EB0", "972545550199", "235085806700321@lid", "a\u{202e}b"] {
            let shown = show_id(id);
            assert!(shown.starts_with("sha256:") && shown.len() == 23, "{shown}");
        }
    }

    #[test]
    fn the_worst_check_is_the_result_of_its_area() {
        let check = |result| EvidenceCheck::new(result, "", "");
        let area = EvidenceArea::new("Auth", "", vec![check(EvidenceResult::Passed)]);
        assert_eq!(area.result, EvidenceResult::Passed);
        let area = area.with_checks(vec![check(EvidenceResult::NotChecked), check(EvidenceResult::ToSign)]);
        assert_eq!(area.result, EvidenceResult::NotChecked);
        assert_eq!(area.with_checks(vec![check(EvidenceResult::Failed)]).result, EvidenceResult::Failed);
        assert_eq!(EvidenceArea::new("Auth", "", Vec::new()).result, EvidenceResult::NotChecked);
    }
}
