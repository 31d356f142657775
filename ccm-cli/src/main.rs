//! The program `ccm`.

fn main() {}
