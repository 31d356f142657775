//! The least that a program must do so that its own agents can run in it.
//!
//! `ProcessRuntime` is given this program as its `HostCommand` and starts it as `host __host AGENT_DIR`.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = ccm_agents::hidden_command(std::env::args_os()) {
        return code;
    }
    println!("the program itself would begin here");
    ExitCode::SUCCESS
}
