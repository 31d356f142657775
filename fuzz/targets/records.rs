//! Records on the disk, what hosts are told, what the kernel and service managers say.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    ccm_agents::fuzzing::records(bytes);
    ccm_agents::fuzzing::kernel(bytes);
    ccm_daemon::fuzzing::records(bytes);
});
