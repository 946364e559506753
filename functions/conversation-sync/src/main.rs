//! The `conversation-sync` binary.

fn main() -> Result<(), lambda_runtime::Error> {
    shared::cold_start::run(conversation_sync::life())
}
