//! The `lead-first-touch` binary.

fn main() -> Result<(), lambda_runtime::Error> {
    shared::cold_start::run(lead_first_touch::life())
}
