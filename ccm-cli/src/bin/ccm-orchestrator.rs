//! The program `ccm-orchestrator`: `ccm` under its machine-level name.
//!
//! It becomes the `ccm` that was installed with it, which goes by the name it is called by. So there is one copy of the
//! command line on the disk, and the two can't be of different versions.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

const NAME: &str = "ccm-orchestrator";

fn main() -> ExitCode {
    let beside = std::env::current_exe()
        .and_then(std::fs::canonicalize)
        .map(|own| own.with_file_name("ccm"))
        .ok()
        .filter(|program| program.is_file());
    let program = beside.unwrap_or_else(|| PathBuf::from("ccm"));
    let error = Command::new(&program)
        .arg0(NAME)
        .args(std::env::args_os().skip(1))
        .exec();
    eprintln!(
        "error: {} can't be started: {error}\nhint: {NAME} needs the program ccm beside it or on the PATH; install both \
         again",
        program.display()
    );
    ExitCode::FAILURE
}
