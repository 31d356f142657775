//! Changing one key of a YAML text and nothing else: comments, order and every other line stay.
//!
//! The place of the change comes from the parser; the result is parsed again, and refused unless it says exactly what
//! the old text said with that one change, with all its comments.

use std::ops::Range;

use serde_json::{Map, Value};

use super::render;
use super::yaml::{self, Body, Entry, Node, Scalar, Style};

/// Why a text can't be changed by a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unable {
    /// It can't be read.
    Syntax(yaml::SyntaxError),
    /// It is written in a way that this editor would have to rearrange.
    ByHand { line: usize },
}

/// `text` with `value` at `path`.
pub(crate) fn set(text: &str, path: &[&str], value: &Value) -> Result<String, Unable> {
    let root = yaml::parse(text).map_err(Unable::Syntax)?;
    let mut wanted = generic(&root).ok_or(Unable::ByHand { line: root.line })?;
    put(&mut wanted, path, value.clone());
    let by_hand = |line| Unable::ByHand { line };
    let (line, edited) = Editor::new(text, &root).set(path, value).map_err(by_hand)?;
    let reread = yaml::parse(&edited).map_err(|_| by_hand(line))?;
    if generic(&reread).as_ref() != Some(&wanted) {
        return Err(by_hand(line));
    }
    let comments = |text: &str, root: &Node| -> Vec<String> {
        let mut all: Vec<String> = yaml::comments(text, root)
            .into_iter()
            .map(|range| text[range].to_owned())
            .collect();
        all.sort();
        all
    };
    if comments(text, &root) != comments(&edited, &reread) {
        return Err(by_hand(line));
    }
    Ok(edited)
}

/// `text` without what is set at `path`. A line with a comment becomes a comment itself; one without goes away.
pub(crate) fn unset(text: &str, path: &[&str]) -> Result<String, Unable> {
    let root = yaml::parse(text).map_err(Unable::Syntax)?;
    let mut wanted = generic(&root).ok_or(Unable::ByHand { line: root.line })?;
    take(&mut wanted, path);
    let by_hand = |line| Unable::ByHand { line };
    let (line, edited) = Editor::new(text, &root).unset(path).map_err(by_hand)?;
    let reread = yaml::parse(&edited).map_err(|_| by_hand(line))?;
    let says = generic(&reread).map(without_empty);
    let kept = |comment: Range<usize>| edited.contains(&text[comment]);
    if says != Some(without_empty(wanted)) || !yaml::comments(text, &root).into_iter().all(kept) {
        return Err(by_hand(line));
    }
    Ok(edited)
}

/// What a tree says, without places. `None` if a key is written twice or is no text.
pub(crate) fn generic(node: &Node) -> Option<Value> {
    Some(match &node.body {
        Body::Scalar { .. } => match node.scalar()? {
            Scalar::Null => Value::Null,
            Scalar::Bool(value) => value.into(),
            Scalar::Int(value) => value.into(),
            Scalar::Number(text) => Value::from_iter([("number", text)]),
            Scalar::Text(text) => text.into(),
        },
        Body::List { items, .. } => items.iter().map(generic).collect::<Option<Value>>()?,
        Body::Map { entries, .. } => {
            let mut map = Map::new();
            for entry in entries {
                let Body::Scalar { text, .. } = &entry.key.body else {
                    return None;
                };
                if map.insert(text.clone(), generic(&entry.value)?).is_some() {
                    return None;
                }
            }
            Value::Object(map)
        }
    })
}

fn put(place: &mut Value, path: &[&str], value: Value) {
    match path {
        [] => *place = value,
        [first, rest @ ..] => {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            put(&mut place[*first], rest, value);
        }
    }
}

fn take(place: &mut Value, path: &[&str]) {
    let (Some(map), [first, rest @ ..]) = (place.as_object_mut(), path) else {
        return;
    };
    match (rest, map.get_mut(*first)) {
        ([], _) => drop(map.remove(*first)),
        (rest, Some(inner)) => take(inner, rest),
        (_, None) => {}
    }
}

/// The same with nothing where there are maps of nothing: a section that lost its last key.
fn without_empty(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: Map<String, Value> = map
                .into_iter()
                .map(|(key, value)| (key, without_empty(value)))
                .collect();
            if map.is_empty() {
                Value::Null
            } else {
                Value::Object(map)
            }
        }
        other => other,
    }
}

struct Editor<'a> {
    text: &'a str,
    root: &'a Node,
    newline: &'static str,
}

/// The changed text and the line of the change, or the line that can't be changed.
type Edit = Result<(usize, String), usize>;

impl<'a> Editor<'a> {
    fn new(text: &'a str, root: &'a Node) -> Self {
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        Self {
            text,
            root,
            newline,
        }
    }

    /// Takes an entry away. One that is not there is taken away already.
    fn unset(&self, path: &[&str]) -> Edit {
        let mut map = self.root;
        for (depth, part) in path.iter().enumerate() {
            let Some(entry) = map.get(part) else {
                return Ok((map.line, self.text.to_owned()));
            };
            if depth + 1 < path.len() {
                map = &entry.value;
                continue;
            }
            return match &map.body {
                Body::Map {
                    entries,
                    flow: true,
                } => self.cut(entries, entry),
                _ => self.retire(entry),
            };
        }
        Err(map.line)
    }

    /// Takes an entry out of a mapping in braces.
    fn cut(&self, entries: &[Entry], entry: &Entry) -> Edit {
        let line = entry.key.line;
        let at = |one: &Entry| one.key.range.start;
        let place = entries.iter().position(|one| at(one) == at(entry));
        let place = place.ok_or(line)?;
        // With the comma that goes away too: the one behind, or for the last entry the one before.
        let range = match (place.checked_sub(1), entries.get(place + 1)) {
            (_, Some(next)) => at(entry)..at(next),
            (Some(previous), None) => self.entry_end(&entries[previous])..self.entry_end(entry),
            (None, None) => at(entry)..self.entry_end(entry),
        };
        self.spliced(line, range, "")
    }

    fn entry_end(&self, entry: &Entry) -> usize {
        let colon = self.after_colon(entry).unwrap_or(entry.key.range.end);
        let value = &entry.value.range;
        let end = if value.is_empty() { colon } else { value.end };
        self.text[..end].trim_end().len().max(colon)
    }

    /// Takes an entry away whose lines are its own.
    fn retire(&self, entry: &Entry) -> Edit {
        let line = entry.key.line;
        let start = self.line_start(entry.key.range.start);
        let indent = &self.text[start..entry.key.range.start];
        if !indent.chars().all(|c| c == ' ') {
            return Err(line);
        }
        let end = self.line_end(self.entry_end(entry));
        let range = start..end;
        let has_comment = yaml::comments(self.text, self.root)
            .into_iter()
            .any(|comment| range.contains(&comment.start));
        if !has_comment {
            return self.spliced(line, range, "");
        }
        let retired: String = self.text[range.clone()]
            .split_inclusive('\n')
            .map(|line| {
                let (space, rest) = line.split_at(line.len().min(indent.len()));
                let blank = rest.trim().is_empty() || rest.starts_with('#');
                format!("{space}{}{rest}", if blank { "" } else { "# " })
            })
            .collect();
        self.spliced(line, range, &retired)
    }

    fn set(&self, path: &[&str], value: &Value) -> Edit {
        let mut map = self.root;
        for (depth, part) in path.iter().enumerate() {
            let rest = &path[depth + 1..];
            let Some(entry) = map.get(part) else {
                return self.insert(map, &path[depth..], value);
            };
            if rest.is_empty() {
                return self.replace(entry, value);
            }
            match &entry.value.body {
                Body::Map { .. } => map = &entry.value,
                _ if entry.value.is_null() && entry.value.range.is_empty() => {
                    return self.insert_below(entry, rest, value);
                }
                _ if entry.value.is_null() => return self.replace(entry, &nested(rest, value)),
                _ => return Err(entry.value.line),
            }
        }
        Err(map.line)
    }

    /// Puts `value` in the place of an entry's value.
    fn replace(&self, entry: &Entry, value: &Value) -> Edit {
        let line = entry.key.line;
        let written = render::flow(value);
        let colon = self.after_colon(entry).ok_or(line)?;
        let old = &entry.value;
        if old.range.is_empty() {
            return self.spliced(line, colon..colon, &format!(" {written}"));
        }
        let end = self.text[..old.range.end]
            .trim_end()
            .len()
            .max(old.range.start);
        let (start, block) = match &old.body {
            Body::List { flow, .. } | Body::Map { flow, .. } => (old.range.start, !flow),
            Body::Scalar {
                style: Style::Block,
                ..
            } => {
                // The place of a block's text begins below its mark, which goes away with it.
                let mark = self.text[colon..].trim_start_matches([' ', '\t']);
                let start = self.text.len() - mark.len();
                if !mark.starts_with(['|', '>']) {
                    return Err(line);
                }
                (start, false)
            }
            Body::Scalar { .. } => (old.range.start, false),
        };
        let range = start..end.max(start);
        // Comments inside of what goes away move above the key.
        let inside: Vec<&str> = yaml::comments(self.text, self.root)
            .into_iter()
            .filter(|comment| range.contains(&comment.start))
            .map(|comment| &self.text[comment])
            .collect();
        let line_start = self.line_start(entry.key.range.start);
        let indent = &self.text[line_start..entry.key.range.start];
        if !inside.is_empty() && !indent.trim().is_empty() {
            return Err(line);
        }
        let above: String = inside
            .iter()
            .map(|comment| format!("{indent}{comment}{}", self.newline))
            .collect();
        let gap = &self.text[colon..range.start];
        let rest = &self.text[range.end..];
        let middle = if block && gap.contains('\n') {
            // The value goes up to its key; what stood between them stays where it is.
            let bare_line_end = rest.is_empty() || rest.starts_with(['\n', '\r']);
            let gap = if bare_line_end {
                gap.trim_end_matches([' ', '\t', '\n', '\r'])
            } else {
                gap
            };
            format!(" {written}{gap}")
        } else if gap.is_empty() {
            format!(" {written}")
        } else {
            format!("{gap}{written}")
        };
        let before_key = &self.text[..line_start];
        let key = &self.text[line_start..colon];
        Ok((line, format!("{before_key}{above}{key}{middle}{rest}")))
    }

    /// Adds an entry to a mapping, behind its last one.
    fn insert(&self, map: &Node, path: &[&str], value: &Value) -> Edit {
        let Body::Map { entries, flow } = &map.body else {
            return Err(map.line);
        };
        if *flow {
            let close = map.range.end.checked_sub(1).ok_or(map.line)?;
            let open = self.text[..close].trim_end().ends_with(['{', ',']);
            let separator = if open { "" } else { ", " };
            // The mapping that nests nothing else, without its braces.
            let entry = render::flow(&nested(path, value));
            let entry = entry
                .strip_prefix('{')
                .and_then(|entry| entry.strip_suffix('}'))
                .ok_or(map.line)?;
            return self.spliced(map.line, close..close, &format!("{separator}{entry}"));
        }
        let Some(first) = entries.first() else {
            let gap = if self.text.is_empty() || self.text.ends_with('\n') {
                ""
            } else {
                self.newline
            };
            let added = format!("{gap}{}", self.block("", path, value));
            return self.spliced(map.line, self.text.len()..self.text.len(), &added);
        };
        let line_start = self.line_start(first.key.range.start);
        let indent = &self.text[line_start..first.key.range.start];
        if !indent.chars().all(|c| c == ' ') {
            return Err(first.key.line);
        }
        let end = self.text[..map.range.end].trim_end().len();
        // An empty value of the last key still has its colon behind it; the end of the line is behind both.
        let at = self.below_comments(self.line_end(end), indent.len());
        let mut added = self.block(indent, path, value);
        if path.len() > 1 && indent.is_empty() {
            added.insert_str(0, self.newline);
        }
        if !self.text[..at].ends_with('\n') {
            added.insert_str(0, self.newline);
        }
        self.spliced(map.line, at..at, &added)
    }

    /// Adds the first entry of a section that has none.
    fn insert_below(&self, section: &Entry, path: &[&str], value: &Value) -> Edit {
        let line = section.key.line;
        let colon = self.after_colon(section).ok_or(line)?;
        let line_start = self.line_start(section.key.range.start);
        let indent = &self.text[line_start..section.key.range.start];
        if !indent.chars().all(|c| c == ' ') {
            return Err(line);
        }
        let at = self.line_end(colon);
        let mut added = self.block(&format!("{indent}  "), path, value);
        if !self.text[..at].ends_with('\n') {
            added.insert_str(0, self.newline);
        }
        self.spliced(line, at..at, &added)
    }

    /// `path: value` as lines.
    fn block(&self, indent: &str, path: &[&str], value: &Value) -> String {
        let mut lines = String::new();
        for (depth, part) in path.iter().enumerate() {
            let written = if depth + 1 == path.len() {
                format!(" {}", render::flow(value))
            } else {
                String::new()
            };
            let key = render::flow(&(*part).into());
            let deeper = "  ".repeat(depth);
            lines.push_str(&format!("{indent}{deeper}{key}:{written}{}", self.newline));
        }
        lines
    }

    fn spliced(&self, line: usize, range: Range<usize>, added: &str) -> Edit {
        let before = &self.text[..range.start];
        let after = &self.text[range.end..];
        Ok((line, format!("{before}{added}{after}")))
    }

    /// Where an entry's colon ends.
    fn after_colon(&self, entry: &Entry) -> Option<usize> {
        let rest = &self.text[entry.key.range.end..];
        let trimmed = rest.trim_start_matches([' ', '\t']);
        trimmed
            .starts_with(':')
            .then_some(entry.key.range.end + (rest.len() - trimmed.len()) + 1)
    }

    /// Behind the comments at `at` that stand deeper than `indent`: they belong to the entry above them.
    fn below_comments(&self, mut at: usize, indent: usize) -> usize {
        loop {
            let line = &self.text[at..self.line_end(at)];
            let text = line.trim_start_matches(' ');
            if !text.starts_with('#') || line.len() - text.len() <= indent {
                return at;
            }
            at += line.len();
        }
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// Behind the line break that ends the line of `at`.
    fn line_end(&self, at: usize) -> usize {
        self.text[at..]
            .find('\n')
            .map_or(self.text.len(), |newline| at + newline + 1)
    }
}

fn nested(path: &[&str], value: &Value) -> Value {
    path.iter().rev().fold(value.clone(), |inner, part| {
        Value::from_iter([(*part, inner)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TEXT: &str = "\
# CCM
profile: full  # full | minimal

system:
  id: x
  tags: [a, b]
agents:  # how many
  max_concurrent: 10   # at once
  # max_idle_time: 300
daemon:
  # nothing yet

env:
  # why a
  A: one
list:
  - x  # first
  # second
  - y
last: |
  text
  more
";

    fn check(path: &[&str], value: &Value, removed: &[&str], added: &[&str]) {
        let edited = set(TEXT, path, value).unwrap();
        let only = |a: &str, b: &str| -> Vec<String> {
            let mut others: Vec<&str> = b.lines().collect();
            a.lines()
                .filter(|line| match others.iter().position(|other| other == line) {
                    Some(at) => {
                        others.remove(at);
                        false
                    }
                    None => true,
                })
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(only(TEXT, &edited), removed, "{edited}");
        assert_eq!(only(&edited, TEXT), added, "{edited}");
    }

    #[test]
    fn a_value_changes_in_its_line() {
        check(
            &["profile"],
            &json!("minimal"),
            &["profile: full  # full | minimal"],
            &["profile: minimal  # full | minimal"],
        );
        check(
            &["system", "tags"],
            &json!([]),
            &["  tags: [a, b]"],
            &["  tags: []"],
        );
        check(
            &["agents", "max_concurrent"],
            &json!(5),
            &["  max_concurrent: 10   # at once"],
            &["  max_concurrent: 5   # at once"],
        );
        check(
            &["env", "A"],
            &json!("t\"w o"),
            &["  A: one"],
            &["  A: \"t\\\"w o\""],
        );
    }

    #[test]
    fn a_new_key_goes_behind_the_last_one_of_its_section() {
        check(
            &["agents", "runtime"],
            &json!("process"),
            &[],
            &["  runtime: process"],
        );
        check(
            &["daemon", "log_level"],
            &json!("debug"),
            &[],
            &["  log_level: debug"],
        );
        check(&["env", "B"], &json!("2"), &[], &["  B: \"2\""]);
        check(
            &["retention", "days"],
            &json!(7),
            &[],
            &["", "retention:", "  days: 7"],
        );
        check(&["top"], &json!(true), &[], &["top: true"]);
        let text = set(TEXT, &["agents", "runtime"], &json!("process")).unwrap();
        assert!(
            text.contains("# at once\n  runtime: process\n  # max_idle"),
            "{text}"
        );
    }

    #[test]
    fn a_block_becomes_one_line_and_its_comments_stay() {
        check(
            &["list"],
            &json!(["z"]),
            &["list:", "  - x  # first", "  # second", "  - y"],
            &["# first", "# second", "list: [z]"],
        );
        check(
            &["last"],
            &json!("one"),
            &["last: |", "  text", "  more"],
            &["last: one"],
        );
        check(&["env"], &json!({}), &["env:", "  A: one"], &["env: {}"]);
    }

    #[test]
    fn unusual_texts() {
        for (text, path, value, wanted) in [
            ("", &["a", "b"][..], json!(1), "a:\n  b: 1\n"),
            ("# c", &["a"], json!(1), "# c\na: 1\n"),
            ("a: 1", &["b"], json!(1), "a: 1\nb: 1\n"),
            (
                "a: 1\r\nb: 2\r\n",
                &["c"],
                json!(1),
                "a: 1\r\nb: 2\r\nc: 1\r\n",
            ),
            ("{}", &["a"], json!(1), "{a: 1}"),
            ("{a: 1}\n", &["b", "c"], json!(1), "{a: 1, b: {c: 1}}\n"),
            (
                "a: {b: 1,}\n",
                &["a", "c"],
                json!([1]),
                "a: {b: 1,c: [1]}\n",
            ),
            ("a: ~\n", &["a", "b"], json!(1), "a: {b: 1}\n"),
            ("a:\n", &["a"], json!("x"), "a: x\n"),
            ("a:", &["a"], json!("x"), "a: x"),
            ("a:   # c\n", &["a"], json!("x"), "a: x   # c\n"),
            ("a:\n- 1\n- 2\nb: 1\n", &["a"], json!([3]), "a: [3]\nb: 1\n"),
            (
                "a:  # c\n  - 1\nb: 1\n",
                &["a"],
                json!([3]),
                "a: [3]  # c\nb: 1\n",
            ),
            ("a: 'it''s'\n", &["a"], json!("# x"), "a: \"# x\"\n"),
            ("a: one\n  two\nb: 1\n", &["a"], json!("x"), "a: x\nb: 1\n"),
            ("a: 1\n...\n", &["b"], json!(1), "a: 1\nb: 1\n...\n"),
            (
                "a:\n  # b: 1\n\n# d: 1\n",
                &["c"],
                json!(1),
                "a:\n  # b: 1\nc: 1\n\n# d: 1\n",
            ),
            (
                "a: >- # c\n  text\n\nb: 1\n",
                &["a"],
                json!("x"),
                "# c\na: x\n\nb: 1\n",
            ),
            ("a: [1, # c\n  2]\n", &["a"], json!([3]), "# c\na: [3]\n"),
            ("---\na: 1\n", &["a"], json!(2), "---\na: 2\n"),
            ("\u{feff}a: 1\n", &["a"], json!(2), "\u{feff}a: 2\n"),
        ] {
            assert_eq!(set(text, path, &value), Ok(wanted.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn what_is_unset_goes_away_and_its_comments_stay() {
        for (text, path, wanted) in [
            ("a: 1\nb: 2\n", &["a"][..], "b: 2\n"),
            ("a: 1  # why\nb: 2\n", &["a"], "# a: 1  # why\nb: 2\n"),
            ("a:\n  b: 1\n  c: 2\n", &["a", "b"], "a:\n  c: 2\n"),
            ("a:\n  b: 1\nc: 2\n", &["a", "b"], "a:\nc: 2\n"),
            ("a:\n  b: 1 # x\r\n", &["a", "b"], "a:\n  # b: 1 # x\r\n"),
            (
                "a:\n  - 1  # one\n  - 2\nb: 1\n",
                &["a"],
                "# a:\n#   - 1  # one\n#   - 2\nb: 1\n",
            ),
            ("a:\n  - 1\n  - 2\nb: 1\n", &["a"], "b: 1\n"),
            ("a: |\n  text\n\n  more\nb: 1\n", &["a"], "b: 1\n"),
            ("a: {b: 1, c: 2}\n", &["a", "b"], "a: {c: 2}\n"),
            ("a: {b: 1, c: 2}\n", &["a", "c"], "a: {b: 1}\n"),
            ("a: {b: 1}\n", &["a", "b"], "a: {}\n"),
            (
                "{a: 1, b: {c: [1, 2], d: 3}, e: 4}\n",
                &["b"],
                "{a: 1, e: 4}\n",
            ),
            ("a: 1", &["a"], ""),
            ("a: 1\n", &["b", "c"], "a: 1\n"),
            ("a:\nb: 1\n", &["a"], "b: 1\n"),
            ("a: 1\n# end\n", &["a"], "# end\n"),
        ] {
            assert_eq!(unset(text, path), Ok(wanted.to_owned()), "{text:?}");
        }
        let nested = unset("[{a: 1}]\n", &["a"]);
        assert_eq!(nested, Ok("[{a: 1}]\n".to_owned()));
    }

    #[test]
    fn what_would_have_to_be_rearranged_is_refused() {
        for (text, path) in [
            ("a: 1\n", &["a", "b"][..]),
            ("a: 1\na: 2\n", &["a"]),
            ("[1, 2]\n", &["a"]),
            ("a: !!str 1\n", &["a"]),
        ] {
            let answer = set(text, path, &json!(3));
            assert!(
                matches!(answer, Err(Unable::ByHand { .. })),
                "{text:?}: {answer:?}"
            );
        }
    }
}
