//! The store passes the contract's suite, outlives its process, and mends what a crash leaves.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod suite;
mod survival;

#[test]
fn the_program_prints_the_task() {
    let program = std::process::Command::new(env!("CARGO_BIN_EXE_own-store"));
    let output = { program }.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "queued: Write a note that says hello.\n");
}
