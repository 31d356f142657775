//! The program does what its README says, and an agent's host that is this program keeps the runtime's contract.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod suite;

#[test]
fn the_program_prints_the_result() {
    let temporary = tempfile::tempdir().unwrap();
    let mut program = std::process::Command::new(suite::PROGRAM);
    let output = program.env("TMPDIR", temporary.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "succeeded: I was asked to: say hello\n");
}
