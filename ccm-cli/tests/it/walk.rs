//! The user's document, `docs/installation-and-setup.md`, walked through from top to bottom in a fresh home.
//!
//! Every line of it that is typed is typed here, in its order, and what comes of it is compared with what the document
//! says. A line that the walk doesn't know fails it, so the document can't promise more than is shown.

mod document;
mod files;
mod lines;
mod world;

use document::{blocks, steps};
use world::World;

const DOCUMENT: &str = include_str!("../../../docs/installation-and-setup.md");

/// Who does what a line says.
#[derive(Debug, PartialEq, Eq)]
enum Done {
    /// It was done here.
    Here,
    /// `scripts/check-wheel` does it, with a wheel in a fresh virtual environment.
    CheckWheel,
    /// Only another system can.
    Elsewhere(&'static str),
}

/// The lines that only another system can run, in the document's order.
const ELSEWHERE: &[(&str, &str)] = &[
    ("sudo systemctl daemon-reload", BOOTED),
    ("sudo systemctl enable ccm-orchestrator", BOOTED),
    ("sudo systemctl start ccm-orchestrator", BOOTED),
    (
        "launchctl load ~/Library/LaunchAgents/com.ccm.orchestrator.plist",
        MACOS,
    ),
    ("sudo systemctl disable ccm-orchestrator", BOOTED),
    (
        "launchctl unload ~/Library/LaunchAgents/com.ccm.orchestrator.plist",
        MACOS,
    ),
    ("systemctl status ccm-orchestrator", BOOTED),
    ("launchctl list | grep ccm", MACOS),
];
const BOOTED: &str = "a booted systemd";
const MACOS: &str = "macOS";

/// Lines that a program of the wheel's own test runs.
const CHECK_WHEEL: &[&str] = &[
    "pip install ccm-orchestrator",
    "pip install --upgrade ccm-orchestrator",
    "pip uninstall ccm-orchestrator",
];

#[test]
fn the_document_is_true_from_top_to_bottom() {
    let Some(mut world) = World::new() else {
        return;
    };
    let blocks = blocks(DOCUMENT);
    let mut elsewhere = Vec::new();
    let mut with_the_wheel = Vec::new();
    for block in &blocks {
        match (&*block.language, &*block.section) {
            ("bash", _) => {
                for step in steps(block) {
                    match world.take(&step) {
                        Done::Here => {}
                        Done::CheckWheel => with_the_wheel.push(step.line),
                        Done::Elsewhere(system) => elsewhere.push((step.line, system)),
                    }
                }
            }
            ("", "Per-Project Initialization") => world.shows_the_folder(&block.text),
            ("", "Post-Installation Steps") => world.opens_the_page(&block.text),
            ("yaml", _) => world.has_the_keys(&block.text),
            ("ini", "Linux (systemd)") => world.has_the_unit(&block.text),
            ("xml", "macOS (launchd)") => world.has_the_plist(&block.text),
            // The flow of set-up, which is taken where `init` is typed.
            ("mermaid", "Initialization Flow") => {}
            _ => panic!("the walk does not know what to do with {block:?}"),
        }
    }
    world.takes_a_task_from_standard_input();
    let elsewhere: Vec<_> = elsewhere
        .iter()
        .map(|(line, system)| (&**line, *system))
        .collect();
    assert_eq!(elsewhere, ELSEWHERE);
    assert_eq!(with_the_wheel, CHECK_WHEEL);
    let script = include_str!("../../../scripts/check-wheel");
    for line in CHECK_WHEEL {
        // With options of its own in between.
        let does = |typed: &str| {
            line.split(' ')
                .all(|word| typed.split(' ').any(|one| one == word))
        };
        assert!(
            script.lines().any(does),
            "scripts/check-wheel does no `{line}`"
        );
    }
    println!("only another system can run these lines of the document:");
    for (line, system) in ELSEWHERE {
        println!("  {line}  ({system})");
    }
}
