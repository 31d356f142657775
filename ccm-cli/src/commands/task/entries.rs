//! What an agent said and did, on standard output.

use ccm_agents::terminal::Filter;
use ccm_core::api::Entry;
use ccm_core::id::RunId;

use crate::client::Client;
use crate::exit::Failure;
use crate::printer::Printer;

/// How many entries are asked for at once.
const PART: u32 = 500;

/// A run's entries as far as they were printed.
pub(super) struct Entries {
    printer: Printer,
    client: Client,
    run: RunId,
    after: u64,
    printed: bool,
}

impl Entries {
    pub(super) fn new(printer: Printer, client: Client, run: RunId) -> Self {
        Self {
            printer,
            client,
            run,
            after: 0,
            printed: false,
        }
    }

    /// Whether anything was printed.
    pub(super) const fn has_printed(&self) -> bool {
        self.printed
    }

    /// Prints what is there by now. Returns whether that is all that there can be until the run says more.
    pub(super) async fn read(&mut self) -> Result<bool, Failure> {
        loop {
            let part = self.client.transcript(self.run, self.after, PART).await?;
            self.printed |= !part.entries.is_empty();
            for entry in &part.entries {
                self.print(entry)?;
            }
            let stands = part.next <= self.after;
            self.after = self.after.max(part.next);
            if part.complete || stands {
                return Ok(part.complete);
            }
        }
    }

    fn print(&self, entry: &Entry) -> Result<(), Failure> {
        if self.printer.json {
            // One line each, so that whoever reads along needs no parser for half an object.
            let line = serde_json::to_string(entry);
            return self
                .printer
                .line(line.map_err(|e| Failure::of_output(&e.into()))?);
        }
        let text = shown(entry, self.printer.shows_colours());
        self.printer.raw(text.as_bytes())
    }
}

/// An entry as a terminal may show it. What it leaves open ends with it, and hides nothing of the next one.
fn shown(entry: &Entry, colours: bool) -> String {
    let mut filter = Filter::new(colours);
    let mut text = filter.push(entry.render().as_bytes());
    // A string for the terminal that has no end swallowed the rest, and the line's end with it.
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(filter.reset());
    text
}

#[cfg(test)]
mod tests {
    use ccm_core::api::EntryBody;

    use super::*;

    fn text(text: &str) -> Entry {
        Entry {
            offset: 0,
            time: None,
            body: EntryBody::Text {
                text: text.to_owned(),
            },
        }
    }

    #[test]
    fn an_entry_can_not_act_on_the_terminal_or_hide_the_next() {
        let hostile = text("a\u{1b}]52;c;AAAA\u{7}b\u{1b}[2J\u{1b}Phidden");
        assert_eq!(shown(&hostile, true), "ab\n");
        let colour = text("\u{1b}[31mred");
        assert_eq!(shown(&colour, true), "\u{1b}[31mred\n\u{1b}[0m");
        assert_eq!(shown(&colour, false), "red\n");
    }
}
