use ccm_core::id::AgentId;

use super::parse::Parser;
use super::picture::Picture;
use super::server::{Server, TmuxConfig};
use super::windows::Windows;
use crate::terminal::ScreenFilter;

/// What a client in control mode prints; the same wherever it is cut.
pub fn control(bytes: &[u8], cut: usize) {
    let (before, after) = bytes.split_at(cut.min(bytes.len()));
    let mut whole = Parser::default();
    whole.feed(bytes);
    let mut parts = Parser::default();
    parts.feed(before);
    let mut events: Vec<_> = std::iter::from_fn(|| parts.next()).collect();
    parts.feed(after);
    events.extend(std::iter::from_fn(|| parts.next()));
    let all: Vec<_> = std::iter::from_fn(|| whole.next()).collect();
    assert_eq!(all, events);
}

/// Listings of panes and windows, and pictures of panes.
pub fn listings(bytes: &[u8]) {
    let windows = Windows::new(Server::new(TmuxConfig::default(), None), "h");
    let text = String::from_utf8_lossy(bytes);
    let _ = windows.windows(&text, "$0");
    let _ = windows.pane_in(&text, "$0", AgentId::new());
    let answers: Vec<_> = bytes
        .splitn(4, |byte| *byte == 0)
        .map(<[u8]>::to_vec)
        .collect();
    if let Some(picture) = Picture::develop(&answers, "") {
        let content = picture.screen.content;
        assert_eq!(ScreenFilter::new().push(content.as_bytes()), content);
    }
}
