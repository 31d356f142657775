//! Tasks from templates, and the list of them.

use std::os::unix::fs::symlink;

use insta::assert_snapshot;

use crate::support::{Machine, Project};

const REVIEW: &str = "# Review {{file}}\n\nLook for {{what=mistakes}} in {{file}}.\n";

fn project(machine: &Machine) -> Project<'_> {
    let project = machine.project("demo", &["cat"]);
    let write = |name: &str, text: &str| {
        std::fs::write(project.folder.join(".ccm/prompts").join(name), text).unwrap();
    };
    write("review.md", REVIEW);
    write("say.txt", "Say this: {{input}}\n");
    write("plain.md", "Tidy up.\n");
    project
}

fn text_of(machine: &Machine, id: &str) -> String {
    let task = machine.ccm(&["task", "show", id, "--json"]).json();
    task["text"].as_str().unwrap().to_owned()
}

#[test]
fn a_template_is_filled_in_and_its_agent_gets_that() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = project(&machine);
    let review = [
        "task",
        "create",
        "--template",
        "review",
        "--var",
        "file=a b.rs",
    ];
    let id = project.ccm(&review).ok();
    machine.ccm(&["task", "wait", &id]).ok();
    let want = "# Review a b.rs\n\nLook for mistakes in a b.rs.\n";
    assert_eq!(machine.ccm(&["task", "logs", &id]).stdout, want.as_bytes());
    let task = machine.ccm(&["task", "show", &id, "--json"]).json();
    assert_eq!(task["title"], "# Review a b.rs");

    // From below the folder, from elsewhere, and with the file's whole name.
    let below = project.folder.join("src/deep");
    std::fs::create_dir_all(&below).unwrap();
    let id = machine.ccm_in(&below, &review).ok();
    assert_eq!(text_of(&machine, &id), want);
    let id = machine
        .ccm(&[&review[..], &["--project", "demo"]].concat())
        .ok();
    assert_eq!(text_of(&machine, &id), want);
    let more = [
        "--template",
        "review.md",
        "--var",
        "file={{what}}",
        "--var",
        "what=a=b",
    ];
    let id = project.ccm(&[&["task", "create"][..], &more].concat()).ok();
    assert_eq!(
        text_of(&machine, &id),
        "# Review {{what}}\n\nLook for a=b in {{what}}.\n"
    );
}

#[test]
fn the_tasks_own_text_has_its_place_or_follows() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = project(&machine);
    let create = |args: &[&str], input: &[u8]| {
        let id = project
            .ccm_with(
                &[&["task", "create", "--template"][..], args].concat(),
                input,
            )
            .ok();
        text_of(&machine, &id)
    };
    assert_eq!(
        create(&["say.txt", "good", "day"], b""),
        "Say this: good day\n"
    );
    assert_eq!(create(&["say.txt"], b"a line\n"), "Say this: a line\n\n");
    assert_eq!(
        create(&["plain", "The kitchen first"], b"x"),
        "Tidy up.\n\nThe kitchen first"
    );
    assert_eq!(
        create(&["plain", "-"], b"from\na file\n"),
        "Tidy up.\n\nfrom\na file\n"
    );
    // Nobody asked for what is on standard input.
    assert_eq!(create(&["plain"], b"the loop's next line\n"), "Tidy up.\n");
}

#[test]
fn what_is_wrong_with_a_template_is_said_before_anything_is_asked() {
    let machine = Machine::new();
    let project = project(&machine);
    let prompts = project.folder.join(".ccm/prompts");
    std::fs::write(prompts.join("nul.md"), "a\0b").unwrap();
    std::fs::write(machine.path("secret"), "secret").unwrap();
    symlink(machine.path("secret"), prompts.join("link.md")).unwrap();
    let create = |args: &[&str]| project.ccm(&[&["task", "create"][..], args].concat());
    // No daemon runs: none of this needs one.
    machine.snapshots(|| {
        assert_snapshot!("template_unknown", create(&["--template", "reveiw"]));
        assert_snapshot!("template_missing", create(&["--template", "review"]));
        let typo = ["--template", "review", "--var", "fiel=x"];
        assert_snapshot!("template_unknown_var", create(&typo));
        assert_snapshot!("templates", project.ccm(&["task", "templates"]));
    });
    for (args, code) in [
        (&["--template", "../config.yaml"][..], 2),
        (&["--template", "/etc/passwd"], 2),
        (&["--template", "link"], 2),
        (&["--template", "nul"], 2),
        (&["--template", "nothing-like-it"], 4),
        (&["--template", "review", "--var", "file"], 2),
        (
            &["--template", "review", "--var", "file=a", "--var", "file=b"],
            2,
        ),
        (&["--template", "say.txt", "--var", "input=x"], 2),
        (&["--var", "file=a", "text"], 2),
        (&["--template"], 2),
        (&["--template", "plain"], 3),
    ] {
        create(args).fails(code);
    }
    let listed = project.ccm(&["task", "templates", "--json"]).json();
    assert_eq!(listed[2]["name"], "review");
    assert_eq!(listed[2]["variables"][1]["default"], "mistakes");
    std::fs::remove_dir_all(&prompts).unwrap();
    machine.snapshots(|| {
        assert_snapshot!("templates_none", project.ccm(&["task", "templates"]));
        assert_snapshot!("template_nowhere", machine.ccm(&["task", "templates"]));
    });
}
