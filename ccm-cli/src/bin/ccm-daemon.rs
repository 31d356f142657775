//! The program `ccm-daemon`.

fn main() {}
