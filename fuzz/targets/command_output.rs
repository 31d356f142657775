//! What any other program writes.
#![no_main]

use ccm_agents::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (first, bytes) = input;
    let (out, err, sizes) = ccm_fuzz::spool(bytes);
    fuzzing::spool(false, out, err, sizes, u64::from(first) % (sizes.0 + 1));
});
