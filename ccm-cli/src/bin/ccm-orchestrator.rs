//! The program `ccm-orchestrator`: `ccm` under its machine-level name.

fn main() -> std::process::ExitCode {
    ccm_cli::ccm_orchestrator()
}
