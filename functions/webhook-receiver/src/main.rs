//! The `webhook-receiver` binary.

fn main() -> Result<(), lambda_http::Error> {
    shared::cold_start::run(webhook_receiver::life())
}
