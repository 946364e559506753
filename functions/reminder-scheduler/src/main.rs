//! The `reminder-scheduler` binary.

fn main() -> Result<(), lambda_runtime::Error> {
    tellonce_core::bootstrap::run_function(reminder_scheduler::run())
}
