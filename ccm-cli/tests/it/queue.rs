//! Tasks while they wait: created from a file, edited, moved, called off and queued again together.

use std::os::unix::fs::PermissionsExt;

use ccm_core::api::Task;
use insta::assert_snapshot;

use crate::support::{Machine, Project, Ran, until};
use crate::terminal::Terminal;

/// A project whose queue stands still.
fn paused(machine: &Machine) -> Project<'_> {
    let project = machine.project("demo", &["cat"]);
    project.ccm(&["project", "pause", "demo"]).ok();
    project
}

fn created(project: &Project<'_>, lines: &str) -> Vec<String> {
    let file = project.machine.path("tasks.jsonl");
    std::fs::write(&file, lines).unwrap();
    let ids = project.ccm(&["task", "create", "--file", file.to_str().unwrap()]);
    ids.ok().lines().map(str::to_owned).collect()
}

fn show(project: &Project<'_>, id: &str) -> Task {
    let shown = project.ccm(&["task", "show", id, "--json"]).json();
    serde_json::from_value(shown).unwrap()
}

fn queue(project: &Project<'_>) -> Vec<String> {
    let list = project.ccm(&["task", "list", "--queue", "--json"]).json();
    let ids = list.as_array().unwrap().iter();
    ids.map(|task| task["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Edits a task with an editor that does what `script` says with the file `$1`.
fn edited(project: &Project<'_>, args: &[&str], script: &str) -> Ran {
    let path = project.machine.path("editor.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    let args = [&["task", "edit"], args].concat();
    Ran::of(project.machine.command("ccm", &args).env("EDITOR", path))
}

#[test]
fn a_file_becomes_tasks_all_of_them_or_none() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = paused(&machine);
    let other = machine.project("other", &["cat"]);
    other.ccm(&["project", "pause", "other"]).ok();
    let lines = "{\"text\": \"one\", \"priority\": 1}\n\n{\"text\":\"zwei 🦀\",\"tags\":[\"gpu\"]}\r\n\
                 {\"project\": \"other\", \"text\": \"three\"}";
    let ids = created(&project, lines);
    let shown: Vec<Task> = ids.iter().map(|id| show(&project, id)).collect();
    let told = |task: &Task| (task.text.clone(), task.project.clone(), task.priority);
    let told: Vec<_> = shown.iter().map(told).collect();
    let of = |text: &str, project: &str, priority| (text.to_owned(), project.to_owned(), priority);
    let want = [
        of("one", "demo", 1),
        of("zwei 🦀", "demo", 0),
        of("three", "other", 0),
    ];
    assert_eq!(told, want);
    assert_eq!(shown[1].tags, ["gpu"]);

    let once = [
        "task", "create", "--file", "-", "--key", "nightly", "--json",
    ];
    let pipe = |lines: &str| {
        let mut command = machine.command("ccm", &once);
        Ran::with_input(command.current_dir(&project.folder), lines.as_bytes())
    };
    let first = pipe(lines).json();
    assert_eq!(first.as_array().unwrap().len(), 3);
    assert_eq!(
        pipe(lines).json(),
        first,
        "the same key is the same request"
    );
    pipe("{\"text\": \"another\"}").fails(2);

    let all = || machine.ccm(&["task", "list", "--json"]).json();
    let before = all();
    let many = "{\"text\":\"x\"}\n".repeat(1001);
    let wrong = [
        ("nothing", "\n \n", 2),
        ("no_json", "{\"text\": \"a\"}\nplain words\n", 2),
        ("no_object", "\"text\"", 2),
        (
            "no_field",
            "{\"text\": \"a\"}\n\n{\"text\": \"b\", \"prio\": 1}\n",
            2,
        ),
        ("no_text", "{\"text\": \"a\"}\n\n{\"text\": \"\"}\n", 2),
        ("no_project", "{\"text\": \"a\", \"project\": \"ohter\"}", 4),
        ("too_many", &many, 2),
    ];
    machine.snapshots(|| {
        for (name, lines, code) in wrong {
            let args = ["task", "create", "--file", "-"];
            let mut command = machine.command("ccm", &args);
            let ran = Ran::with_input(command.current_dir(&project.folder), lines.as_bytes());
            assert_eq!(ran.code, code, "{ran}");
            assert_snapshot!(format!("create_file_{name}"), ran);
        }
        let args = ["task", "create", "--file", "nowhere.jsonl"];
        assert_snapshot!("create_file_nowhere", project.ccm(&args));
    });
    assert_eq!(all(), before);
}

#[test]
fn a_waiting_task_is_edited_by_options() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = paused(&machine);
    let ids = created(
        &project,
        "{\"text\": \"first\"}\n{\"text\": \"to edit\", \"timeout_s\": 9}",
    );
    let (first, id) = (&*ids[0], &*ids[1]);
    let edit = |args: &[&str]| project.ccm(&[&["task", "edit", id], args].concat());
    edit(&[
        "--text",
        "-n 3",
        "--priority",
        "-2",
        "--after",
        first,
        "--retries",
        "2",
    ])
    .ok();
    edit(&[
        "--not-before",
        "+2h",
        "--unset",
        "timeout",
        "--session",
        "continue",
    ])
    .ok();
    edit(&[
        "--tag",
        "gpu",
        "--tag",
        "a:b",
        "--system-type",
        "devops",
        "--title",
        "T",
    ])
    .ok();
    let task = show(&project, id);
    assert_eq!(
        (&*task.text, &*task.title, task.priority),
        ("-n 3", "T", -2)
    );
    assert_eq!(task.blocked_by, [first.parse().unwrap()]);
    assert_eq!((task.max_retries, task.timeout_s), (2, None));
    assert_eq!(task.tags, ["gpu", "a:b"]);
    assert!(task.not_before.is_some() && task.system_type.is_some());
    let unset = "--unset title --unset not-before --unset after --unset tag --unset system-type";
    edit(&unset.split(' ').collect::<Vec<_>>()).ok();
    let task = show(&project, id);
    assert_eq!(
        (&*task.title, task.not_before, task.system_type),
        ("-n 3", None, None)
    );
    assert!(task.blocked_by.is_empty() && task.tags.is_empty());
    let mut command = machine.command("ccm", &["task", "edit", id, "--text", "-", "--json"]);
    let piped = Ran::with_input(&mut command, "from a pipe\n".as_bytes()).json();
    assert_eq!(piped["text"], "from a pipe\n");
    machine.snapshots(|| {
        assert_snapshot!("edit_nothing", edit(&[]));
        assert_snapshot!("edit_same", edit(&["--priority", "-2"]));
        assert_snapshot!(
            "edit_both",
            edit(&["--timeout", "5m", "--unset", "timeout"])
        );
        assert_snapshot!("edit_itself", edit(&["--after", id]));
        assert_snapshot!("edit_empty", edit(&["--text", ""]));
    });
}

#[test]
fn a_waiting_task_is_edited_in_an_editor() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = paused(&machine);
    let id = created(&project, "{\"text\": \"fix it\"}").remove(0);
    let drafts = || {
        let files = std::fs::read_dir(machine.path("tmp")).unwrap().flatten();
        let names = files.map(|file| file.file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("ccm-task-")).count()
    };
    // As editors do, it ends the last line.
    let ran = edited(
        &project,
        &[&id, "--editor"],
        "printf 'fix it\\nall of it\\n' > \"$1\"",
    );
    ran.ok();
    let task = show(&project, &id);
    assert_eq!((&*task.text, &*task.title), ("fix it\nall of it", "fix it"));
    let ran = edited(
        &project,
        &[&id, "--editor"],
        "stat -c %a \"$1\" >&2; echo >> \"$1\"",
    );
    assert!(ran.stderr.contains("600"), "only its owner reads it: {ran}");
    assert!(ran.stderr.contains("Nothing was changed"), "{ran}");
    assert_eq!(drafts(), 0);

    // Somebody else was faster: the text is not lost.
    let ccm = env!("CARGO_BIN_EXE_ccm");
    let other = format!("{ccm} task edit {id} --priority 4; echo mine > \"$1\"");
    let stale = edited(&project, &[&id, "--editor"], &other);
    assert_eq!(stale.code, 5, "{stale}");
    let path = stale.stderr.split("kept in ").nth(1).unwrap().trim();
    assert_eq!(std::fs::read_to_string(path).unwrap(), "mine\n");
    assert_eq!(show(&project, &id).text, "fix it\nall of it");
    let failed = edited(&project, &[&id, "--editor"], "exit 3");
    assert_eq!(failed.code, 1, "{failed}");
    let emptied = edited(&project, &[&id, "--editor"], ": > \"$1\"");
    assert_eq!(emptied.code, 2, "{emptied}");

    // At a terminal, no option means the editor.
    let path = machine.path("editor.sh");
    std::fs::write(&path, "#!/bin/sh\necho at the terminal > \"$1\"\n").unwrap();
    let mut command = machine.command("ccm", &["task", "edit", &id]);
    command.env("EDITOR", &path);
    let (code, screen) = Terminal::new(command).end();
    assert_eq!(code, 0, "{screen}");
    assert_eq!(show(&project, &id).text, "at the terminal");
}

#[test]
fn waiting_tasks_are_put_in_another_order() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = paused(&machine);
    let ids = created(&project, &"{\"text\": \"x\"}\n".repeat(4));
    assert_eq!(queue(&project), ids);
    let order = |want: [usize; 4]| {
        let want: Vec<&String> = want.iter().map(|at| &ids[*at]).collect();
        assert_eq!(queue(&project).iter().collect::<Vec<_>>(), want);
    };
    let short = |at: usize| &ids[at][24..];
    let to = |at: usize, args: &[&str]| project.ccm(&[&["task", "move", short(at)], args].concat());
    to(3, &["--first"]).ok();
    order([3, 0, 1, 2]);
    to(0, &["--last"]).ok();
    order([3, 1, 2, 0]);
    to(0, &["--before", short(2)]).ok();
    order([3, 1, 0, 2]);
    to(3, &["--after", short(1)]).ok();
    order([1, 3, 0, 2]);
    machine.snapshots(|| {
        assert_snapshot!("queue", project.ccm(&["task", "list", "--queue"]));
        assert_snapshot!("move_nowhere", to(0, &[]));
        assert_snapshot!("move_twice", to(0, &["--first", "--last"]));
        assert_snapshot!("move_beside_itself", to(0, &["--after", short(0)]));
    });
    // They start in that order.
    project.ccm(&["project", "resume", "demo"]).ok();
    for id in &ids {
        project.ccm(&["task", "wait", id]).ok();
    }
    let mut done: Vec<Task> = ids.iter().map(|id| show(&project, id)).collect();
    done.sort_by_key(|task| task.finished_at);
    let done: Vec<String> = done.iter().map(|task| task.id.to_string()).collect();
    let want = [1, 3, 0, 2].map(|at| ids[at].clone());
    assert_eq!(done, want);
}

#[test]
fn several_tasks_are_called_off_and_queued_again_and_each_is_told() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    let done = project.task("once");
    project.ccm(&["task", "wait", &done]).ok();
    project.ccm(&["project", "pause", "demo"]).ok();
    let ids = created(&project, &"{\"text\": \"x\"}\n".repeat(2));
    let nobody = "01890000-0000-7000-8000-000000000000";
    let all = [&*ids[0], nobody, &*done, &*ids[1]];
    machine.snapshots(|| {
        let cancel = project.ccm(&[&["task", "cancel"], &all[..]].concat());
        assert_snapshot!("cancel_several", cancel);
        let retry = project.ccm(&[&["task", "retry"], &all[..]].concat());
        assert_snapshot!("retry_several", retry);
    });
    until("they wait again", || queue(&project).len() == 3);
    let json = project.ccm(&["task", "cancel", "--json", &ids[0], &ids[1]]);
    assert_eq!(json.code, 0, "{json}");
}
