//! The `conversation_id-delivery_flow` binary.

fn main() -> Result<(), lambda_runtime::Error> {
    tellonce_core::bootstrap::run_function(conversation_sync::run())
}
