//! YAML text as a tree in which every node knows its place, so that errors can name lines and edits can leave
//! everything else as it is.

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle};

/// The most bytes a config file may have.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;

/// A value and where it is written.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Line of its first character, from 1.
    pub(crate) line: usize,
    /// Its bytes in the text, without the comment behind it. Empty for a value that is not written.
    pub(crate) range: Range<usize>,
    pub(crate) body: Body,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Scalar { text: String, style: Style },
    List { items: Vec<Node>, flow: bool },
    Map { entries: Vec<Entry>, flow: bool },
}

/// How a scalar is written, as far as it changes its meaning or how it is edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Quoted,
    Block,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Node,
    pub(crate) value: Node,
}

/// What a scalar is in YAML's core schema.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// A number that is no [`Scalar::Int`], as it is written.
    Number(&'a str),
    Text(&'a str),
}

/// A text that can't be read at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl Node {
    /// What the node is, if it is a scalar.
    pub(crate) fn scalar(&self) -> Option<Scalar<'_>> {
        match &self.body {
            Body::Scalar { text, style } if *style == Style::Plain => Some(plain(text)),
            Body::Scalar { text, .. } => Some(Scalar::Text(text)),
            _ => None,
        }
    }

    /// Whether nothing is set here.
    pub(crate) fn is_null(&self) -> bool {
        self.scalar() == Some(Scalar::Null)
    }

    /// The value of `key` in this mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.body {
            Body::Map { entries, .. } => entries.iter().find(|entry| entry.key.is_text(key)),
            _ => None,
        }
    }

    fn is_text(&self, wanted: &str) -> bool {
        matches!(&self.body, Body::Scalar { text, .. } if text == wanted)
    }

    /// The value in words, for "found ...". Long ones are cut.
    pub(crate) fn found(&self) -> String {
        match &self.body {
            Body::List { .. } => "a list".to_owned(),
            Body::Map { .. } => "keys and values".to_owned(),
            Body::Scalar { text, .. } => match self.scalar() {
                Some(Scalar::Null) | None => "nothing".to_owned(),
                Some(Scalar::Text(_)) => format!("{:?}", shortened(text)),
                Some(_) => shortened(text),
            },
        }
    }
}

fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST - 1).chain(['…']).collect()
}

/// What an unquoted scalar is.
fn plain(text: &str) -> Scalar<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "true" | "True" | "TRUE" => return Scalar::Bool(true),
        "false" | "False" | "FALSE" => return Scalar::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let whole = if let Some(hex) = text.strip_prefix("0x") {
        i64::from_str_radix(hex, 16).ok()
    } else if let Some(octal) = text.strip_prefix("0o") {
        i64::from_str_radix(octal, 8).ok()
    } else if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    };
    if let Some(number) = whole {
        return Scalar::Int(number);
    }
    let starts_as_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let of_a_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    if starts_as_number && digits.chars().all(of_a_number) && text.parse::<f64>().is_ok() {
        return Scalar::Number(text);
    }
    let special = digits.to_ascii_lowercase();
    if special == ".inf" || (special == ".nan" && digits == text) {
        return Scalar::Number(text);
    }
    Scalar::Text(text)
}

/// Reads `text`, which must be one document. An empty one, or one of comments only, gives an empty mapping.
pub(crate) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let empty = Node {
        line: 1,
        range: text.len()..text.len(),
        body: Body::Map {
            entries: Vec::new(),
            flow: false,
        },
    };
    Ok(match document(text)? {
        Some(root) if !root.is_null() => root,
        _ => empty,
    })
}

/// Reads `text` as a single value. `None` if it writes none.
pub(crate) fn document(text: &str) -> Result<Option<Node>, SyntaxError> {
    if text.len() > MAX_BYTES {
        return Err(SyntaxError {
            line: 1,
            message: format!("the file has more than {MAX_BYTES} bytes"),
        });
    }
    let options = granit_parser::options! { emit_comments: false };
    let mut reader = Reader {
        parser: Parser::new_from_str_with_options(text, options),
        text,
    };
    let mut root = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(root),
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            event if root.is_none() => root = Some(reader.node(event, span)?),
            _ => return Err(error(&span, "only one document (one `---`) is allowed")),
        }
    }
}

/// The places of all comments in a text that [`parse`] can read, from `#` to the end of their lines.
///
/// Found without the parser's own comment events, whose number it bounds: a `#` at the beginning of a line or after
/// white space begins a comment unless it is inside a value.
pub(crate) fn comments(text: &str, root: &Node) -> Vec<Range<usize>> {
    let mut values = Vec::new();
    scalars(root, &mut values);
    let mut found = Vec::new();
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        let body = line.trim_end_matches(['\n', '\r']);
        let comment = body.match_indices('#').find(|(at, _)| {
            let place = line_start + at;
            let spaced = *at == 0 || body[..*at].ends_with([' ', '\t']);
            spaced
                && !values
                    .iter()
                    .any(|range: &Range<usize>| range.contains(&place))
        });
        if let Some((at, _)) = comment {
            found.push(line_start + at..line_start + body.len());
        }
        line_start += line.len();
    }
    found
}

fn scalars(node: &Node, into: &mut Vec<Range<usize>>) {
    match &node.body {
        Body::Scalar { .. } => into.push(node.range.clone()),
        Body::List { items, .. } => items.iter().for_each(|item| scalars(item, into)),
        Body::Map { entries, .. } => entries.iter().for_each(|entry| {
            scalars(&entry.key, into);
            scalars(&entry.value, into);
        }),
    }
}

struct Reader<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    text: &'a str,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), SyntaxError> {
        match self.parser.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(e)) => Err(SyntaxError {
                line: e.marker().line(),
                message: format!("not valid YAML: {}", e.info()),
            }),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, SyntaxError> {
        let start = self.offset(&span, true);
        match event {
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(_, anchor, _)
            | Event::MappingStart(_, anchor, _)
                if anchor != 0 =>
            {
                Err(error(&span, "anchors (&name) are not allowed here"))
            }
            Event::Scalar(value, style, _, tag) => {
                let mut style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                    _ => Style::Quoted,
                };
                match tag {
                    None => {}
                    Some(tag) if tag.is_yaml_core_schema_tag("str") && style == Style::Plain => {
                        style = Style::Quoted;
                    }
                    Some(_) => return Err(error(&span, "tags (!name) are not allowed here")),
                }
                Ok(Node {
                    line: span.start.line(),
                    range: start..self.offset(&span, false),
                    body: Body::Scalar {
                        text: value.into_owned(),
                        style,
                    },
                })
            }
            Event::SequenceStart(style, _, None) => {
                let flow = style == StructureStyle::Flow;
                // A list that is not indented is reported behind its first dash.
                let dash = self.text[..start].trim_end();
                let start = if !flow && !self.text[start..].starts_with('-') && dash.ends_with('-')
                {
                    dash.len() - 1
                } else {
                    start
                };
                let mut items: Vec<Node> = Vec::new();
                let end = loop {
                    match self.next()? {
                        (Event::SequenceEnd, end) => break end,
                        (event, span) => items.push(self.node(event, span)?),
                    }
                };
                let range = start..self.end(flow, &end, items.last(), start);
                let body = Body::List { items, flow };
                Ok(Node {
                    line: span.start.line(),
                    range,
                    body,
                })
            }
            Event::MappingStart(style, _, None) => {
                let flow = style == StructureStyle::Flow;
                let mut entries: Vec<Entry> = Vec::new();
                let end = loop {
                    match self.next()? {
                        (Event::MappingEnd, end) => break end,
                        (event, span) => {
                            let key = self.node(event, span)?;
                            let (event, span) = self.next()?;
                            let value = self.node(event, span)?;
                            entries.push(Entry { key, value });
                        }
                    }
                };
                let last = entries.last().map(|entry| {
                    if entry.value.range.is_empty() {
                        &entry.key
                    } else {
                        &entry.value
                    }
                });
                let range = start..self.end(flow, &end, last, start);
                let body = Body::Map { entries, flow };
                Ok(Node {
                    line: span.start.line(),
                    range,
                    body,
                })
            }
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                Err(error(&span, "tags (!name) are not allowed here"))
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                Err(error(&span, "aliases (*name) are not allowed here"))
            }
            _ => Err(error(&span, "the document ends too early")),
        }
    }

    fn end(&self, flow: bool, end: &Span, last: Option<&Node>, start: usize) -> usize {
        if flow {
            self.offset(end, false)
        } else {
            last.map_or(start, |node| node.range.end)
        }
    }

    fn offset(&self, span: &Span, start: bool) -> usize {
        let marker = if start { span.start } else { span.end };
        marker.byte_offset().unwrap_or_else(|| {
            // Only inputs that are no strings have no byte offsets; counting characters is the same, slower.
            self.text
                .char_indices()
                .nth(marker.index())
                .map_or(self.text.len(), |(at, _)| at)
        })
    }
}

fn error(span: &Span, message: &str) -> SyntaxError {
    SyntaxError {
        line: span.start.line(),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_text() {
        let text = "# ö\na: 1  # one\nb:\n  - x\n  - 'y z'\nc: {d: [1, 2], e: \"\\n\"}\nf:\n";
        let root = parse(text).unwrap();
        let slice = |key: &str| {
            let node = &root.get(key).unwrap().value;
            (node.line, &text[node.range.clone()])
        };
        assert_eq!(slice("a"), (2, "1"));
        assert_eq!(slice("b"), (4, "- x\n  - 'y z'"));
        assert_eq!(slice("c"), (6, "{d: [1, 2], e: \"\\n\"}"));
        assert!(root.get("f").unwrap().value.is_null());
        assert!(root.get("f").unwrap().value.range.is_empty());
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        for (text, wanted) in [
            ("", Scalar::Null),
            ("~", Scalar::Null),
            ("true", Scalar::Bool(true)),
            ("yes", Scalar::Text("yes")),
            ("-12", Scalar::Int(-12)),
            ("0x10", Scalar::Int(16)),
            ("1.5", Scalar::Number("1.5")),
            ("1e3", Scalar::Number("1e3")),
            ("-.inf", Scalar::Number("-.inf")),
            (
                "99999999999999999999",
                Scalar::Number("99999999999999999999"),
            ),
            ("1.2.3", Scalar::Text("1.2.3")),
            ("5 minutes", Scalar::Text("5 minutes")),
            (".ccm", Scalar::Text(".ccm")),
            ("-", Scalar::Text("-")),
            ("infinity", Scalar::Text("infinity")),
        ] {
            assert_eq!(plain(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_can_not_be_read_names_its_line() {
        for (text, line, part) in [
            ("a: 1\nb: [1,\n", 2, "not valid YAML"),
            ("a: &x 1\n", 1, "anchors"),
            ("a: 1\nb: !foo 1\n", 2, "tags"),
            ("a: 1\n---\nb: 1\n", 3, "one document"),
            ("a: 1\n b: 2\n", 2, "not valid YAML"),
        ] {
            let e = parse(text).unwrap_err();
            assert!(e.message.contains(part), "{text:?}: {e:?}");
            assert_eq!(e.line, line, "{text:?}: {e:?}");
        }
        assert!(matches!(parse("# only\n").unwrap().body, Body::Map { .. }));
    }
}
