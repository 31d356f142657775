//! What takes in foreign bytes, for `fuzz/`. Each function panics where something does not hold.

use super::sse::Parser;

/// A stream of events; the same wherever it is cut.
pub fn events(bytes: &[u8], cut: usize) {
    let (before, after) = bytes.split_at(cut.min(bytes.len()));
    let read = |chunks: &[&[u8]]| {
        let mut parser = Parser::default();
        let mut frames = Vec::new();
        for chunk in chunks {
            let fed = parser.feed(chunk).is_ok();
            frames.extend(std::iter::from_fn(|| parser.next()));
            if !fed {
                break;
            }
        }
        frames
    };
    let whole = read(&[bytes]);
    assert_eq!(whole, read(&[before, after]));
    for frame in whole {
        if let Some(data) = frame.data {
            let _ = serde_json::from_str::<ccm_core::api::Event>(&data);
        }
        let _ = frame.id.map(|id| id.parse::<ccm_core::event::Cursor>());
    }
}
