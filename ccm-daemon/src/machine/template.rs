//! The config files that CCM writes: every key with its comment, in the tables' order.

use serde_json::Value;

use super::schema::{Key, MACHINE, PROJECT, Schema};
use super::values::default_of;

/// The machine's config file, with `values` instead of defaults.
pub(crate) fn machine(values: &[(&str, Value)]) -> String {
    let head = "\
# yaml-language-server: $schema=config.schema.json
# CCM on this machine. `ccm config validate` checks this file, `ccm daemon reload` makes changes count.

";
    format!(
        "{head}{}",
        body(&MACHINE, values, |key| !key.default.is_empty())
    )
}

/// A project's config file: everything but `values` is a comment that shows the default.
pub(crate) fn project(values: &[(&str, Value)]) -> String {
    let head = "\
# How CCM works on this project. Every key is optional; a changed one counts from the next run.
# Changes to `agent` count only after `ccm project trust`, or when made with `ccm config set --project`.

";
    format!("{head}{}", body(&PROJECT, values, |_| false))
}

fn body(schema: &Schema, values: &[(&str, Value)], shown: impl Fn(&Key) -> bool) -> String {
    let mut text = String::new();
    let mut open: Vec<&str> = Vec::new();
    for key in schema.keys {
        let parts: Vec<&str> = key.path.split('.').collect();
        let Some((name, sections)) = parts.split_last() else {
            continue;
        };
        let same = open
            .iter()
            .zip(sections)
            .take_while(|(a, b)| a == b)
            .count();
        if same == 0 && !text.is_empty() && (open != sections || sections.is_empty()) {
            text.push('\n');
        }
        open.truncate(same);
        for section in &sections[same..] {
            // Never a comment: a key that a command sets later then finds its place.
            text.push_str(&format!("{}{section}:\n", "  ".repeat(open.len())));
            open.push(section);
        }
        let given = values.iter().find(|(path, _)| *path == key.path);
        let live = given.is_some() || shown(key);
        let value = given.map_or_else(|| default_of(key), |(_, value)| value.clone());
        let mark = if live { "" } else { "# " };
        let written = match &value {
            Value::Null => String::new(),
            value => format!(" {}", super::render::flow(value)),
        };
        let line = format!("{}{mark}{name}:{written}", "  ".repeat(sections.len()));
        text.push_str(&format!("{line:<36}  # {}\n", key.doc));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::values::Checked;

    #[test]
    fn what_is_written_says_the_defaults() {
        for (schema, text) in [(&MACHINE, machine(&[])), (&PROJECT, project(&[]))] {
            let checked = Checked::new(schema, &text);
            assert_eq!(checked.errors, [], "{text}");
            assert_eq!(checked.unknown, [], "{text}");
            for (path, setting) in &checked.settings {
                assert_eq!(
                    setting.value,
                    default_of(schema.key(path).unwrap()),
                    "{path}"
                );
            }
        }
        let text = machine(&[("profile", "minimal".into())]);
        assert!(text.contains("\nprofile: minimal "), "{text}");
    }

    #[test]
    fn every_comment_becomes_a_key_when_its_mark_is_taken_away() {
        for (schema, text) in [(&MACHINE, machine(&[])), (&PROJECT, project(&[]))] {
            let (_, body) = text.split_once("\n\n").unwrap();
            let bare: String = body
                .lines()
                .map(|line| format!("{}\n", line.replacen("# ", "", usize::from(is_key(line)))))
                .collect();
            let checked = Checked::new(schema, &bare);
            assert_eq!(checked.unknown, [], "{bare}");
            assert_eq!(checked.errors, [], "{bare}");
        }
    }

    fn is_key(line: &str) -> bool {
        line.trim_start().starts_with("# ")
    }
}
