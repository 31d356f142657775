//! What comes with a request: Host, Origin, query, cursors, bodies, a terminal's messages.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    ccm_daemon::fuzzing::request(text);
    ccm_daemon::fuzzing::terminal_message(text);
    ccm_fuzz::values(text);
});
