//! The program `ccm-orchestrator`.

fn main() {}
