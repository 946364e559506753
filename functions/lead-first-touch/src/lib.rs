//! lead-first-touch: whoever leaves their number in a form is greeted, once.

pub mod lead;
pub mod read_back;

/// Runs the function until Lambda ends it.
pub async fn life() -> Result<(), lambda_runtime::Error> {
    shared::observe::start();
    Ok(())
}
