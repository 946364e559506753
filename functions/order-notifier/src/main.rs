//! The `order-notifier` binary.

fn main() -> Result<(), lambda_runtime::Error> {
    tellonce_core::bootstrap::run_function(order_notifier::run())
}
