//! Backups, and putting them back: whatever happens, either what was there is there, or what is in the backup.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ccm_core::api::TaskStateName;
use ccm_core::id::{Epoch, Seq, TaskId};
use insta::assert_snapshot;
use rusqlite::Connection;

use crate::support::{Machine, Project, block_on, until};

const KIB: u64 = 1024;

/// An agent that repeats its task and ends, once the machine's file `go` is there.
fn agent<'a>(machine: &'a Machine, name: &str) -> Project<'a> {
    let script = format!(
        "cat; while [ ! -e '{}' ]; do sleep 0.02; done",
        machine.path("go").display()
    );
    machine.project(name, &["sh", "-c", &script])
}

fn let_go(machine: &Machine) {
    fs::write(machine.path("go"), "").unwrap();
}

fn database(machine: &Machine) -> PathBuf {
    machine.path("ccm/ccm.db")
}

/// Every file of the home by its content, but what comes and goes with a daemon.
fn home(machine: &Machine) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(dir: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name().into_string().unwrap();
            if path.is_dir() {
                if !["logs", "run", "backups"].contains(&&*name) {
                    walk(&path, files);
                }
            } else if !name.ends_with("-shm") {
                files.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(&machine.path("ccm"), &mut files);
    files
}

fn states(machine: &Machine) -> BTreeMap<String, TaskStateName> {
    let filter = ccm_cli::client::TaskFilter::default();
    let tasks = block_on(async { machine.client().tasks(&filter).all().await.unwrap() });
    tasks
        .into_iter()
        .map(|task| (task.id.to_string(), task.state))
        .collect()
}

/// A machine with three tasks done, and a backup of it.
fn backed_up() -> (Machine, PathBuf) {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let project = agent(&machine, "demo");
    let_go(&machine);
    for text in ["one", "two", "three"] {
        machine.ccm(&["task", "wait", &project.task(text)]).ok();
    }
    let file = machine.path("kept.tar");
    machine.ccm(&["backup", file.to_str().unwrap()]).ok();
    assert!(daemon.stop().success());
    (machine, file)
}

#[test]
fn a_backup_says_what_it_has_and_spares_what_is_there() {
    let machine = Machine::new();
    machine.snapshots(|| {
        assert_snapshot!("backup_nothing", machine.ccm(&["backup"]));
    });
    assert!(
        fs::read_dir(machine.path("ccm/backups"))
            .unwrap()
            .next()
            .is_none()
    );
    let daemon = machine.daemon();
    let project = agent(&machine, "demo");
    project.task("one");
    let file = machine.path("kept.tar");
    let name = file.to_str().unwrap();
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\(\d+ KiB\)", "([SIZE])");
    settings.add_filter(r"ccm-\d{8}T\d{6}Z", "ccm-[STAMP]");
    settings.bind(|| {
        machine.snapshots(|| {
            assert_snapshot!("backup", machine.ccm(&["backup", name]));
            assert_snapshot!("backup_again", machine.ccm(&["backup", name]));
            assert_snapshot!("backup_usual", machine.ccm(&["backup"]));
        });
    });
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    project.task("two");
    let made = machine.ccm(&["backup", name, "--force", "--json"]).json();
    assert_eq!(made["manifest"]["tasks"], 2);
    assert_eq!(made["path"], name);
    assert_eq!(made["size"], fs::metadata(&file).unwrap().len());
    let names: Vec<&str> = made["manifest"]["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["name"].as_str().unwrap())
        .collect();
    assert_eq!(names[..2], ["config.yaml", "token"]);
    assert_eq!(names.last(), Some(&"ccm.db"));
    // Any tar can read it.
    let listed = std::process::Command::new("tar")
        .arg("-tf")
        .arg(&file)
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.lines().next(), Some("manifest.json"));
    assert_eq!(listed.lines().count(), names.len() + 1);
    // Without a daemon it is no different.
    let_go(&machine);
    assert!(daemon.stop().success());
    let folder = machine.path("tmp");
    let there = machine.ccm(&["backup", folder.to_str().unwrap()]).ok();
    assert!(Path::new(&there).starts_with(&folder), "{there}");
    for dir in [&folder, &machine.path(""), &machine.path("ccm/backups")] {
        let left = fs::read_dir(dir).unwrap().flatten();
        let left = left.filter(|file| file.file_name().to_string_lossy().starts_with('.'));
        assert_eq!(left.count(), 0, "{}", dir.display());
    }
}

#[test]
fn what_was_accepted_before_the_backup_is_there_after_the_restore() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    let file = machine.path("kept.tar");
    let name = file.to_str().unwrap().to_owned();
    let mut before = Vec::new();
    let mut backing_up = None;
    for n in 0..20 {
        if n == 10 {
            let mut command = machine.command("ccm", &["backup", &name, "--json"]);
            backing_up = Some(
                command
                    .stdout(std::process::Stdio::piped())
                    .spawn()
                    .unwrap(),
            );
        }
        let id = project.task(&format!("task {n}"));
        if n < 10 {
            before.push(id);
        }
    }
    let made = backing_up.unwrap().wait_with_output().unwrap();
    assert!(made.status.success());
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let (old_log, old_status) = {
        let status = block_on(async { machine.client().status().await.unwrap() });
        (status.log, status)
    };
    let asked = machine.ccm(&["restore", &name]);
    asked.fails(2);
    assert!(asked.stderr.contains("--yes"), "{asked}");
    assert_eq!(
        machine.info().unwrap().epoch,
        old_status.epoch,
        "it still runs"
    );

    let restored = machine.ccm(&["restore", &name, "--yes", "--json"]).json();
    assert_eq!(restored["tasks"], made["manifest"]["tasks"]);
    assert_eq!(restored["running"], true);
    // The one that ran until then has ended and a new one runs.
    let mut old = daemon;
    old.wait();
    let now = states(&machine);
    for id in &before {
        assert!(now.contains_key(id), "{id} was lost");
    }
    let status = block_on(async { machine.client().status().await.unwrap() });
    assert!(status.epoch > old_status.epoch, "epochs never go back");
    assert_ne!(
        status.log.log_id, old_log.log_id,
        "readers have to begin anew"
    );
    for id in now.keys() {
        machine.ccm(&["task", "wait", id]).ok();
    }
    let new = project.task("after it");
    machine.ccm(&["task", "wait", &new]).ok();
    let mut problems = status.problems.clone();
    // About the disk that the test is on.
    problems.retain(|problem| !problem.contains("free on the disk"));
    assert_eq!(problems, Vec::<String>::new());
    machine.ccm(&["daemon", "stop", "--agents"]).ok();
    machine.until_empty();

    // And back to what was there before.
    let undo = restored["before"].as_str().unwrap();
    machine.ccm(&["restore", undo, "--yes"]).ok();
    let _daemon = machine.daemon();
    let again = states(&machine);
    assert!(again.len() >= 20, "{again:?}");
    assert!(!again.contains_key(&new));
}

#[test]
fn a_reader_of_the_log_is_told_to_begin_anew() {
    let (machine, file) = backed_up();
    let daemon = machine.daemon();
    let place = block_on(async { machine.client().status().await.unwrap().log });
    let beyond = format!("{}:{}", place.log_id, place.seq.0 + 1000);
    let token = machine.home().token().unwrap();
    machine
        .ccm(&["restore", file.to_str().unwrap(), "--yes"])
        .ok();
    drop(daemon);
    let url = format!("{}/api/v1/events", machine.info().unwrap().url());
    let mut stream = std::net::TcpStream::connect(machine.info().unwrap().address).unwrap();
    stream
        .set_read_timeout(Some(crate::support::PATIENCE))
        .unwrap();
    let request = format!(
        "GET /api/v1/events HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nLast-Event-ID: {beyond}\r\n\r\n",
        machine.info().unwrap().address,
        token.reveal()
    );
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut said = String::new();
    let mut chunk = [0; 1024];
    while !said.contains("resync") {
        let n = stream.read(&mut chunk).unwrap();
        assert!(n > 0, "{url} said only {said}");
        said.push_str(&String::from_utf8_lossy(&chunk[..n]));
    }
}

/// What may be wrong with a backup, how it comes to be, and a word of what is said.
type Spoilt = (&'static str, fn(&Path), &'static str);

const SPOILT: [Spoilt; 7] = [
    (
        "nothing in it",
        |path| fs::write(path, "").unwrap(),
        "empty",
    ),
    (
        "notes",
        |path| fs::write(path, "notes\n".repeat(500)).unwrap(),
        "no whole backup",
    ),
    ("cut short", |path| shorten(path, 2), "cut short"),
    (
        "cut within the first file",
        |path| shorten(path, 100),
        "backup of CCM",
    ),
    ("a changed byte", change_a_byte, "not as it was"),
    ("another archive", another_archive, "manifest.json"),
    ("of a newer program", of_a_newer_program, "newer program"),
];

fn shorten(path: &Path, by: u64) {
    let length = fs::metadata(path).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(length / by / 512 * 512 + 100).unwrap();
}

fn change_a_byte(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.len() - 4096;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn another_archive(path: &Path) {
    let folder = path.parent().unwrap();
    let packed = std::process::Command::new("tar")
        .arg("-cf")
        .arg(path)
        .arg("-C")
        .arg(folder.join("work"))
        .arg(".")
        .status();
    assert!(packed.unwrap().success());
}

fn of_a_newer_program(path: &Path) {
    let text = fs::read(path).unwrap();
    let from = text
        .windows(11)
        .position(|at| at == b"\"format\": 1")
        .unwrap();
    let mut bytes = text;
    bytes[from + 10] = b'9';
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_backup_that_is_not_whole_is_refused_and_nothing_changes() {
    let (machine, file) = backed_up();
    let good = fs::read(&file).unwrap();
    let before = home(&machine);
    let name = file.to_str().unwrap();
    for (what, spoil, told) in SPOILT {
        spoil(&file);
        let refused = machine.ccm(&["restore", name, "--yes"]);
        assert!(matches!(refused.code, 1 | 2 | 5), "{what}: {refused}");
        assert!(refused.stderr.contains(told), "{what}: {refused}");
        assert!(home(&machine) == before, "{what}: something changed");
        fs::write(&file, &good).unwrap();
    }
    machine.ccm(&["restore", "/nowhere.tar", "--yes"]).fails(4);
    // A database of a newer program.
    let newer = machine.path("newer.db");
    fs::copy(database(&machine), &newer).unwrap();
    Connection::open(&newer)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let refused = machine.ccm(&["restore", newer.to_str().unwrap(), "--yes"]);
    assert!(refused.stderr.contains("schema 99"), "{refused}");
    // One of another machine.
    let other = Machine::new();
    other.daemon().stop();
    let theirs = database(&other);
    let refused = machine.ccm(&["restore", theirs.to_str().unwrap(), "--yes"]);
    assert!(
        refused.stderr.contains("belongs to the machine"),
        "{refused}"
    );
    assert!(home(&machine) == before);
    let daemon = machine.daemon();
    assert_eq!(states(&machine).len(), 3);
    assert!(daemon.stop().success());
}

#[test]
fn what_is_newer_is_replaced_only_after_a_yes() {
    let (machine, file) = backed_up();
    let name = file.to_str().unwrap();
    let daemon = machine.daemon();
    let project = Project::at(&machine, "demo");
    let later = project.task("later");
    machine.ccm(&["task", "wait", &later]).ok();
    assert!(daemon.stop().success());
    let before = home(&machine);
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d+ changes", "[N] changes");
    settings.add_filter(r"\((\d{4}-\d\d-\d\d )?\d\d:\d\d\)", "([CLOCK])");
    settings.add_filter(r"ccm-\d{8}T\d{6}Z", "ccm-[STAMP]");
    settings.bind(|| {
        machine.snapshots(|| {
            assert_snapshot!("restore_newer", machine.ccm(&["restore", name]));
        });
        assert!(home(&machine) == before);
        machine.snapshots(|| {
            assert_snapshot!("restore", machine.ccm(&["restore", name, "--yes"]));
            assert_snapshot!("restore_missing", machine.ccm(&["restore", "missing.tar"]));
        });
    });
    let _daemon = machine.daemon();
    let now = states(&machine);
    assert_eq!(now.len(), 3);
    assert!(!now.contains_key(&later));
}

#[test]
fn a_restore_that_is_killed_leaves_the_old_or_the_new() {
    for (barrier, is_new) in [
        ("restore_staged", false),
        ("restore_committed", true),
        ("restore_moved", true),
    ] {
        let (machine, file) = backed_up();
        let daemon = machine.daemon();
        let project = Project::at(&machine, "demo");
        let later = project.task("later");
        machine.ccm(&["task", "wait", &later]).ok();
        assert!(daemon.stop().success());
        // A setting that only what is here has.
        machine.set("retention.days", "7");
        machine.hold(barrier);
        let mut command = machine.command("ccm", &["restore", file.to_str().unwrap(), "--yes"]);
        let mut child = command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        assert_eq!(machine.reached(barrier), child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        machine.release(barrier);

        let daemon = machine.daemon();
        let tasks = states(&machine);
        assert_eq!(tasks.contains_key(&later), !is_new, "{barrier}");
        assert_eq!(tasks.len(), if is_new { 3 } else { 4 }, "{barrier}");
        let days = machine.ccm(&["config", "get", "retention.days"]).ok();
        assert_eq!(days, if is_new { "30" } else { "7" }, "{barrier}");
        let new = project.task("after it");
        machine.ccm(&["task", "wait", &new]).ok();
        assert!(daemon.stop().success());
        assert!(!machine.path("ccm/run/restore.json").exists());
    }
}

#[test]
fn runs_without_a_daemon_are_in_the_way_of_a_restore() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let project = agent(&machine, "demo");
    let file = machine.path("kept.tar");
    let name = file.to_str().unwrap();
    machine.ccm(&["backup", name]).ok();
    let id = project.task("one");
    until("it runs", || {
        let id: TaskId = id.parse().unwrap();
        let task = block_on(async { machine.client().task(id).await.unwrap() });
        task.state == TaskStateName::Running
    });
    until("its program runs", || {
        let log = machine.ccm(&["task", "logs", &id]);
        log.stdout.starts_with(b"one") || String::from_utf8_lossy(&log.stdout).contains("one")
    });
    assert!(daemon.stop().success());
    let before = home(&machine);
    let refused = machine.ccm(&["restore", name, "--yes"]);
    refused.fails(5);
    assert!(refused.stderr.contains("daemon stop --agents"), "{refused}");
    assert!(home(&machine) == before);
    // With a daemon they are ended, because they belong to the queue that goes.
    let mut daemon = machine.daemon();
    machine.ccm(&["restore", name, "--yes"]).ok();
    daemon.wait();
    assert!(states(&machine).is_empty());
    let_go(&machine);
    let new = project.task("two");
    machine.ccm(&["task", "wait", &new]).ok();
}

#[test]
fn a_machine_comes_back_from_a_backup_alone() {
    let (machine, file) = backed_up();
    let other = Machine::bare();
    // Its projects are where they were.
    let restored = other
        .ccm(&["restore", file.to_str().unwrap(), "--json"])
        .json();
    assert_eq!(restored["tasks"], 3);
    assert_eq!(restored["replaced"], serde_json::json!([]));
    let token = |machine: &Machine| fs::read(machine.path("ccm/token")).unwrap();
    assert_eq!(token(&other), token(&machine));
    for path in ["ccm", "ccm/ccm.db", "ccm/token", "ccm/config.yaml"] {
        let mode = fs::metadata(other.path(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{path}");
    }
    let _daemon = other.daemon();
    assert_eq!(states(&other).len(), 3);
    let info = other.info().unwrap();
    assert!(info.epoch > Epoch(1));
    // A home that was refused a backup is not made.
    let bare = Machine::bare();
    fs::write(bare.path("notes"), "notes").unwrap();
    bare.ccm(&["restore", bare.path("notes").to_str().unwrap()])
        .fails(1);
    assert!(!bare.path("ccm").exists());
}

#[test]
fn a_damaged_database_is_kept_beside_the_one_that_takes_its_place() {
    let (machine, file) = backed_up();
    fs::write(database(&machine), "ruined").unwrap();
    let restored = machine
        .ccm(&["restore", file.to_str().unwrap(), "--yes", "--json"])
        .json();
    assert_eq!(restored["before"], serde_json::Value::Null);
    let kept = restored["replaced"].as_array().unwrap();
    let ruined = kept.iter().filter_map(|path| path.as_str());
    let ruined: Vec<_> = ruined.filter(|path| path.contains("ccm.db")).collect();
    assert_eq!(ruined.len(), 1);
    assert_eq!(fs::read(ruined[0]).unwrap(), b"ruined");
    let _daemon = machine.daemon();
    assert_eq!(states(&machine).len(), 3);
}

#[test]
fn the_database_alone_can_be_restored_also_from_a_copy() {
    let (machine, file) = backed_up();
    machine.set("retention.days", "7");
    machine
        .ccm(&[
            "restore",
            file.to_str().unwrap(),
            "--yes",
            "--database-only",
        ])
        .ok();
    assert_eq!(machine.ccm(&["config", "get", "retention.days"]).ok(), "7");
    let copy = machine.path("copy.db");
    fs::copy(database(&machine), &copy).unwrap();
    machine
        .ccm(&["restore", copy.to_str().unwrap(), "--yes"])
        .ok();
    assert_eq!(machine.ccm(&["config", "get", "retention.days"]).ok(), "7");
    let _daemon = machine.daemon();
    assert_eq!(states(&machine).len(), 3);
    let status = block_on(async { machine.client().status().await.unwrap() });
    assert!(status.log.seq > Seq(3));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_leaves_no_half_backup_and_no_half_restore() {
    let Some(machine) = Machine::on_a_small_disk(12) else {
        return;
    };
    let daemon = machine.daemon();
    let project = agent(&machine, "demo");
    let_go(&machine);
    machine
        .ccm(&["task", "wait", &project.task(&"x".repeat(400_000))])
        .ok();
    let kept = machine.path("kept.tar");
    machine.ccm(&["backup", kept.to_str().unwrap()]).ok();
    assert!(daemon.stop().success());
    let before = home(&machine);
    for left in [0, 8 * KIB, 100 * KIB, 600 * KIB] {
        machine.disk().fill(left);
        let full = machine.ccm(&["backup"]);
        assert_eq!(full.code, 1, "{left}: {full}");
        assert!(full.stderr.contains("room"), "{left}: {full}");
        let restored = machine.ccm(&["restore", kept.to_str().unwrap(), "--yes"]);
        assert_eq!(restored.code, 1, "{left}: {restored}");
        machine.disk().free();
        let left_over = fs::read_dir(machine.path("ccm/backups"));
        assert_eq!(left_over.map_or(0, Iterator::count), 0, "{left}");
        assert!(home(&machine) == before, "{left}");
    }
    machine.ccm(&["backup"]).ok();
    machine
        .ccm(&["restore", kept.to_str().unwrap(), "--yes"])
        .ok();
}

#[test]
fn a_restored_queue_can_be_looked_at_before_it_runs() {
    let machine = Machine::new();
    let mut daemon = machine.daemon();
    let project = agent(&machine, "demo");
    let ids = [project.task("one"), project.task("two")];
    let kept = machine.ccm(&["backup"]).ok();
    let_go(&machine);
    for id in &ids {
        machine.ccm(&["task", "wait", id]).ok();
    }
    machine.ccm(&["restore", &kept, "--yes", "--paused"]).ok();
    daemon.wait();
    assert_eq!(states(&machine)[&ids[1]], TaskStateName::Queued);
    let projects = machine.ccm(&["project", "list", "--json"]).json();
    assert_eq!(projects[0]["state"], "paused", "{projects}");
    machine.ccm(&["project", "resume", "demo"]).ok();
    machine.ccm(&["task", "wait", &ids[1]]).ok();
}

/// What other machines know to be done must not be done again before somebody has looked.
#[test]
fn a_restored_queue_that_is_shared_rests() {
    let (machine, file) = backed_up();
    let shared = "INSERT INTO sharing SELECT 1, id, id, NULL, 7, NULL, 7, 9, 1, 1, 0, x'' FROM system; \
        UPDATE meta SET sharing = 1";
    Connection::open(database(&machine))
        .unwrap()
        .execute_batch(shared)
        .unwrap();
    let restored = machine.ccm(&["restore", file.to_str().unwrap(), "--yes"]);
    restored.ok();
    assert!(restored.stderr.contains("its projects rest"), "{restored}");
    let _daemon = machine.daemon();
    let projects = machine.ccm(&["project", "list", "--json"]).json();
    assert_eq!(projects[0]["state"], "paused", "{projects}");
}

/// Puts a database of the first schema in the machine's home.
fn old_database(machine: &Machine) {
    let dump = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ccm-store/tests/schemas/1.sql");
    let dump = fs::read_to_string(dump).unwrap();
    Connection::open(database(machine))
        .unwrap()
        .execute_batch(&dump)
        .unwrap();
    machine.set("system.id", "01900000-0000-7000-8000-000000000001");
}

#[test]
fn a_start_that_changes_the_schema_says_where_the_backup_is() {
    let machine = Machine::new();
    old_database(&machine);
    machine.snapshots(|| {
        let mut settings = insta::Settings::clone_current();
        settings.add_filter(r"schema 1 to \d+", "schema 1 to [NEWEST]");
        // About the disk that the test is on.
        settings.add_filter(r"warning: .* free on the disk .*\n", "");
        settings.bind(|| assert_snapshot!("start_migrated", machine.ccm(&["daemon", "start"])));
    });
    let backup = machine.path("ccm/ccm.db.schema-1.backup");
    let mode = fs::metadata(&backup).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        machine.log().contains("ccm.db.schema-1.backup"),
        "{}",
        machine.log()
    );
    let tasks = states(&machine).len();
    assert_eq!(tasks, 9);
    machine.ccm(&["daemon", "restart"]).ok();
    assert_eq!(machine.info().unwrap().migrated, None);
    // And that copy can be restored as it is.
    machine
        .ccm(&["restore", backup.to_str().unwrap(), "--yes"])
        .ok();
    assert_eq!(machine.info().unwrap().migrated.unwrap().from, 1);
    assert_eq!(states(&machine).len(), tasks);
}

#[test]
#[cfg(target_os = "linux")]
fn without_room_for_the_backup_the_schema_stays() {
    let Some(machine) = Machine::on_a_small_disk(12) else {
        return;
    };
    old_database(&machine);
    machine.disk().fill(48 * KIB);
    let refused = machine.ccm(&["daemon", "start"]);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(
        refused.stderr.contains("left as it is, at schema 1"),
        "{refused}"
    );
    assert!(refused.stderr.contains("make room"), "{refused}");
    machine.disk().free();
    let names = fs::read_dir(machine.path("ccm")).unwrap().flatten();
    let names: Vec<_> = names
        .map(|file| file.file_name().into_string().unwrap())
        .collect();
    assert!(
        !names.iter().any(|name| name.contains("backup.")),
        "{names:?}"
    );
    assert!(
        !names.iter().any(|name| name.ends_with(".backup")),
        "{names:?}"
    );
    machine.ccm(&["daemon", "start"]).ok();
    assert_eq!(states(&machine).len(), 9);
}

#[test]
fn what_old_runs_wrote_is_deleted_and_their_tasks_stay() {
    let machine = Machine::new();
    machine.set("retention.days", "7");
    let daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    let (old, young) = (project.task("old"), project.task("young"));
    for id in [&old, &young] {
        machine.ccm(&["task", "wait", id]).ok();
    }
    let run = |id: &str| {
        let task: TaskId = id.parse().unwrap();
        let task = block_on(async { machine.client().task(task).await.unwrap() });
        task.run_id.unwrap()
    };
    let folders = [&old, &young].map(|id| machine.path("ccm/runs").join(run(id).to_string()));
    assert!(folders.iter().all(|folder| folder.is_dir()));
    let of_old = run(&old);
    assert!(daemon.stop().success());
    let eight_days: i64 = 8 * 24 * 3600 * 1_000_000;
    let changed = Connection::open(database(&machine)).unwrap().execute(
        "UPDATE run SET finished_at = finished_at - ?1 WHERE id = ?2",
        rusqlite::params![eight_days, of_old.as_uuid().as_bytes()],
    );
    assert_eq!(changed.unwrap(), 1);
    let _daemon = machine.daemon();
    until("the old run's data are gone", || !folders[0].exists());
    assert!(folders[1].is_dir());
    assert_eq!(states(&machine)[&old], TaskStateName::Succeeded);
    assert!(machine.ccm(&["task", "show", &old]).ok().contains("old"));
}
