//! What a Supabase project says: refusals, frames of Realtime, answers of the functions.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    ccm_sync::supabase::fuzzing::refusal(bytes);
    ccm_sync::supabase::fuzzing::answer(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        ccm_sync::supabase::fuzzing::frame(text);
    }
});
