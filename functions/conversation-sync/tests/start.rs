//! The binary by itself, before any event.

use std::process::Command;

#[test]
fn a_function_without_its_environment_says_which_variable_is_missing() {
    let output = Command::new(env!("CARGO_BIN_EXE_conversation-sync")).env_clear().output().expect("the binary runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("CLIENT_CONFIG"), "{said}");
}
