//! A host of fakes for tests without a stack.

use tellonce_fakes::FakeHost;

/// A host without secrets, with a clock that does not move.
#[derive(Debug)]
pub(crate) struct IdleHost;

impl FakeHost for IdleHost {
    fn now_ms(&self) -> i64 {
        0
    }

    fn secret_value(&self, _name: &str) -> Option<String> {
        None
    }
}
