//! A log's lines: nothing that is in one can begin another or speak to a terminal.

use std::io::{self, Write};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// An event of a log as one line, with its end.
pub fn one_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let mut line = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
}

/// Sends this process's log to standard error: what goes wrong, or what `RUST_LOG` asks for. A host is to be small, so
/// it knows targets and levels and no more.
pub(crate) fn start() {
    let wanted = std::env::var("RUST_LOG").unwrap_or_default();
    let usual = Targets::new().with_default(LevelFilter::WARN);
    let filter = match wanted.parse::<Targets>() {
        Ok(targets) if !wanted.is_empty() => targets,
        _ => usual,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(Line::default);
    // A process has one log, and this is the first.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
}

/// One event on its way, however many writes it comes in.
#[derive(Default)]
struct Line(Vec<u8>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            // A log that can't be written has nobody to tell.
            let _ = io::stderr().write_all(one_line(&self.0).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        let forged = "INFO name=a\n2026 INFO forged\r\u{1b}[2J\u{9b}\u{2028}x ö\n";
        assert_eq!(
            one_line(forged.as_bytes()),
            "INFO name=a\\n2026 INFO forged\\r\\u{1b}[2J\\u{9b}\\u{2028}x ö\n"
        );
    }
}
