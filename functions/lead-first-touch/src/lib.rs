//! lead-first-touch: whoever leaves their number in a form is greeted, once.

mod body;
pub mod facts;
pub mod lead;
#[cfg(test)]
mod samples;
mod senders;
mod submission;

/// Runs the function until Lambda ends it.
pub async fn life() -> Result<(), lambda_runtime::Error> {
    shared::observe::start();
    Ok(())
}
