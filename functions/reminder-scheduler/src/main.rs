//! The `reminder-scheduler` binary.

fn main() -> Result<(), lambda_runtime::Error> {
    shared::cold_start::run(reminder_scheduler::life())
}
