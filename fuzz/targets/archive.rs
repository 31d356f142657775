//! A backup.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| ccm_daemon::fuzzing::archive(bytes));
