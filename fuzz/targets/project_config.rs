//! A project's config file, and its templates.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    ccm_daemon::fuzzing::project_config(text);
    ccm_daemon::fuzzing::template(text);
});
