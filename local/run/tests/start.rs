//! Starts the program with a client that does not exist. So cargo builds the program for the
//! stories too.

use std::process::Command;

#[test]
fn a_client_that_does_not_exist_is_named() {
    let run = Command::new(env!("CARGO_BIN_EXE_local")).args(["--no-build", "--client", "clients/nobody"]).output();
    let run = run.expect("the program runs");
    let error = String::from_utf8_lossy(&run.stderr);
    assert!(!run.status.success() && error.contains("clients/nobody"), "{error}");
}
