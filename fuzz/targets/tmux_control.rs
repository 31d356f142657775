//! What tmux prints in control mode, its listings and its version.
#![no_main]

use ccm_agents::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let cut = usize::from(cut);
    fuzzing::control(bytes, cut % (bytes.len() + 1));
    fuzzing::listings(bytes);
    fuzzing::version(&String::from_utf8_lossy(bytes));
});
