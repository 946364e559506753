//! The `conversation-sync` binary.

fn main() -> Result<(), lambda_runtime::Error> {
    tellonce_core::bootstrap::run_function(conversation_sync::run())
}
