//! The `webhook-receiver` binary.

fn main() -> Result<(), lambda_http::Error> {
    tellonce_core::bootstrap::run_function(webhook_receiver::run())
}
