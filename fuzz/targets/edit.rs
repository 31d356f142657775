//! Any YAML in which one key is changed.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| ccm_daemon::fuzzing::edit(text));
