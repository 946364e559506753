//! The `order-notifier` binary.

fn main() -> Result<(), lambda_runtime::Error> {
    shared::cold_start::run(order_notifier::life())
}
