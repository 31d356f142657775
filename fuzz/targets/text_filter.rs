//! Lines of text, cut anywhere: nothing comes through but colours.
#![no_main]

use ccm_agents::terminal::Filter;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let cut = usize::from(cut);
    let (before, after) = bytes.split_at(cut % (bytes.len() + 1));
    let whole = Filter::default().push(bytes);
    let mut filter = Filter::default();
    let parts = filter.push(before) + &filter.push(after);
    assert_eq!(whole, parts, "a cut changes something");
    assert_eq!(
        Filter::default().push(whole.as_bytes()),
        whole,
        "it is not the same again"
    );
    assert!(!Filter::new(false).push(bytes).contains('\x1b'));
    ccm_fuzz::judge_text(&whole);
});
