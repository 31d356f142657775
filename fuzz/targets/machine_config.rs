//! A machine's config file.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| ccm_daemon::fuzzing::machine_config(text));
