//! What draws a screen, cut anywhere: nothing comes through but what is listed.
#![no_main]

use ccm_agents::terminal::ScreenFilter;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let cut = usize::from(cut);
    let (before, after) = bytes.split_at(cut % (bytes.len() + 1));
    let whole = ScreenFilter::new().push(bytes);
    let mut filter = ScreenFilter::new();
    let parts = filter.push(before) + &filter.push(after);
    assert_eq!(whole, parts, "a cut changes something");
    assert_eq!(
        ScreenFilter::new().push(whole.as_bytes()),
        whole,
        "it is not the same again"
    );
    ccm_fuzz::judge_screen(&whole);
});
