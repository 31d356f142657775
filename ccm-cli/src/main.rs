//! The program `ccm`, which is also `ccm-orchestrator` where it is called so.

fn main() -> std::process::ExitCode {
    ccm_cli::run()
}
