//! A stream of events, as the client reads it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let cut = usize::from(cut);
    ccm_cli::fuzzing::events(bytes, cut % (bytes.len() + 1));
});
