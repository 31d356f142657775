//! The help of every command there is.

use std::fmt::Write;

use insta::assert_snapshot;

use crate::support::Machine;

/// Calls `look` with every command below `path` and its help, families before their members.
pub(crate) fn walk(machine: &Machine, path: &[&str], look: &mut impl FnMut(&[&str], &str, bool)) {
    let help = machine.ccm(&[path, &["--help"]].concat()).ok();
    let members: Vec<_> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // What continues a description is indented further.
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty())
        .collect();
    look(path, &help, members.is_empty());
    for member in members {
        walk(machine, &[path, &[member]].concat(), look);
    }
}

#[test]
fn every_command_tells_what_it_is_for_with_examples() {
    let machine = Machine::bare();
    assert_snapshot!("ccm", machine.ccm(&["--help"]));
    let mut families: Vec<(String, String)> = Vec::new();
    let mut without = Vec::new();
    walk(&machine, &[], &mut |path, help, leaf| {
        let Some(first) = path.first() else { return };
        if families.last().is_none_or(|(name, _)| name != first) {
            families.push(((*first).to_owned(), String::new()));
        }
        let (_, text) = families.last_mut().unwrap();
        writeln!(text, "$ ccm {} --help\n{help}\n", path.join(" ")).unwrap();
        if leaf && !help.contains("\nExamples:\n  ") {
            without.push(path.join(" "));
        }
    });
    for (name, text) in families {
        assert_snapshot!(name, text.trim_end());
    }
    assert_eq!(without, [""; 0], "these have no examples");
}

#[test]
fn init_means_the_machine_under_its_machine_level_name() {
    let machine = Machine::bare();
    let first = |text: String| text.lines().next().unwrap().to_owned();
    assert_eq!(
        first(machine.orchestrator(&["init", "--help"]).ok()),
        first(machine.ccm(&["daemon", "init", "--help"]).ok()),
    );
}
