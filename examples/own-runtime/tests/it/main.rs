//! The runtime passes the contract's suite, and the program does what its README says.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod suite;

#[test]
fn the_program_prints_the_result() {
    let program = std::process::Command::new(env!("CARGO_BIN_EXE_own-runtime"));
    let output = { program }.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "succeeded: I was asked to: say hello\n");
}
