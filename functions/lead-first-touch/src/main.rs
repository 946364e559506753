//! The `lead-first-touch` binary.

fn main() -> Result<(), lambda_runtime::Error> {
    tellonce_core::bootstrap::run_function(lead_first_touch::run())
}
