//! Starts the binary without its environment.

use std::process::Command;

#[test]
fn a_function_without_its_environment_names_the_missing_variable() {
    let output = Command::new(env!("CARGO_BIN_EXE_order-notifier")).env_clear().output().expect("the binary runs");
    let output_bytes = [output.stdout, output.stderr].concat();
    let output_text = String::from_utf8_lossy(&output_bytes);
    assert!(!output.status.success(), "{output_text}");
    assert!(output_text.contains("CLIENT_CONFIG"), "{output_text}");
}
