//! The program `ccm`.

fn main() -> std::process::ExitCode {
    ccm_cli::ccm()
}
