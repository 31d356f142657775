//! The program `ccm-daemon`.

fn main() -> std::process::ExitCode {
    ccm_daemon::run()
}
