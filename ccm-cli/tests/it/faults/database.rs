//! A database that is locked, damaged, or of a newer program.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ccm_core::api::TaskStateName;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::{agent, ended_once, let_go, nothing_is_left, runs_of, soon, started, status, task_of};
use crate::support::{Machine, until};

fn database(machine: &Machine) -> PathBuf {
    machine.path("ccm/ccm.db")
}

/// The database and all that lies beside it, byte for byte.
fn files(machine: &Machine) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(machine.path("ccm")).unwrap().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            // The index of the log is no data: every reader makes it anew.
            name.starts_with("ccm.db") && !name.ends_with("-shm")
        })
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn put_back(machine: &Machine, kept: &BTreeMap<PathBuf, Vec<u8>>) {
    for path in files(machine).keys() {
        fs::remove_file(path).unwrap();
    }
    for (path, bytes) in kept {
        fs::write(path, bytes).unwrap();
    }
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

fn shorten(path: &Path, bytes: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(bytes).unwrap();
}

/// What may have become of a database, how it comes to be, and what is told of it.
type Spoilt = (&'static str, fn(&Path), &'static str);

const SPOILT: [Spoilt; 7] = [
    (
        "other content",
        |path| overwrite(path, 0, &[b'x'; 4096]),
        "damaged",
    ),
    ("a header alone", |path| shorten(path, 100), "damaged"),
    ("half a header", |path| shorten(path, 50), "damaged"),
    (
        "half a file",
        |path| shorten(path, fs::metadata(path).unwrap().len() / 8192 * 4096),
        "damaged",
    ),
    (
        "no schema",
        |path| overwrite(path, 100, &[0xa5; 3996]),
        "damaged",
    ),
    (
        "a newer schema",
        |path| overwrite(path, 60, &99_u32.to_be_bytes()),
        "schema 99",
    ),
    ("a newer schema in the log", newer_in_the_log, "schema 99"),
];

fn newer_in_the_log(path: &Path) {
    let database = Connection::open(path).unwrap();
    database
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    drop(database);
    let log = path.with_extension("db-wal");
    assert!(fs::metadata(log).is_ok_and(|log| log.len() > 0));
}

#[test]
fn a_database_that_is_damaged_or_newer_is_refused_and_left_as_it_is() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let project = agent(&machine, "demo");
    let_go(&machine);
    let done = project.task("a\n");
    ended_once(&machine, &done);
    assert!(daemon.stop().success());
    let good = files(&machine);
    for (what, spoil, told) in SPOILT {
        spoil(&database(&machine));
        let spoilt = files(&machine);
        let start = machine.ccm(&["daemon", "start"]).fails(1);
        let sentence = start.lines().next().unwrap();
        let name = database(&machine);
        for part in [name.to_str().unwrap(), told, "left as it is", "backup"] {
            assert!(sentence.contains(part), "{what}: {start}");
        }
        assert!(files(&machine) == spoilt, "{what}: the files were touched");
        assert_eq!(machine.ccm(&["daemon", "status"]).code, 3, "{what}");
        machine.ccm(&["task", "list"]).fails(3);
        assert!(machine.log().contains(told), "{what}");

        put_back(&machine, &good);
        let daemon = machine.daemon();
        assert_eq!(task_of(&machine, &done).state, TaskStateName::Succeeded);
        assert!(daemon.stop().success());
    }
    let _daemon = machine.daemon();
    nothing_is_left(&machine);
}

/// The numbers of the pages at which the tasks and their indexes begin.
fn pages_of_tasks(path: &Path) -> Vec<u64> {
    let database = Connection::open(path).unwrap();
    let mut asked = database
        .prepare("SELECT rootpage FROM sqlite_schema WHERE tbl_name = 'task'")
        .unwrap();
    let pages = asked.query_map([], |row| row.get(0)).unwrap();
    pages
        .map(|page: Result<u32, _>| page.unwrap().into())
        .collect()
}

#[test]
fn damage_that_is_found_later_is_told_and_nothing_is_started() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let project = agent(&machine, "demo");
    project.ccm(&["project", "pause"]).ok();
    let waits = project.task("a\n");
    assert!(daemon.stop().success());
    let good = files(&machine);
    for page in pages_of_tasks(&database(&machine)) {
        overwrite(&database(&machine), (page - 1) * 4096, &[0xa5; 4096]);
    }
    let start = machine.ccm(&["daemon", "start"]);
    let told = match start.code {
        0 => {
            let told = machine.ccm(&["task", "show", &waits]).fails(1);
            machine.ccm(&["daemon", "stop"]).ok();
            told
        }
        _ => start.fails(1),
    };
    assert!(
        told.contains("damaged") && told.contains("backup"),
        "{told}"
    );

    put_back(&machine, &good);
    let _daemon = machine.daemon();
    let_go(&machine);
    project.ccm(&["project", "resume"]).ok();
    assert_eq!(ended_once(&machine, &waits).state, TaskStateName::Succeeded);
    nothing_is_left(&machine);
}

/// Another program's hold on the database; nobody else can write, or not even read.
fn lock(machine: &Machine, readers_too: bool) -> Connection {
    let other = Connection::open(database(machine)).unwrap();
    if readers_too {
        other
            .pragma_update(None, "locking_mode", "EXCLUSIVE")
            .unwrap();
    }
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    other
}

#[test]
fn a_database_that_is_locked_at_the_start_is_told() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let project = agent(&machine, "demo");
    let id = project.task("a\n");
    let run = started(&machine, &id);
    daemon.kill();
    for readers_too in [true, false] {
        let other = lock(&machine, readers_too);
        let told = machine.ccm(&["daemon", "start"]).fails(1);
        assert!(told.contains("locked"), "{told}");
        assert!(told.contains("another program"), "what to do: {told}");
        assert!(machine.info().is_none());
        drop(other);
    }
    let _daemon = machine.daemon();
    assert_eq!(runs_of(&machine, &id), [run]);
    let_go(&machine);
    assert_eq!(ended_once(&machine, &id).state, TaskStateName::Succeeded);
    nothing_is_left(&machine);
}

#[test]
fn a_database_that_is_locked_for_a_while_is_told_and_made_up_for() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let (one, two) = (agent(&machine, "one"), agent(&machine, "two"));
    let (ends, stopped) = (one.task("a\n"), two.task("b\n"));
    let run = started(&machine, &ends);
    started(&machine, &stopped);
    let other = lock(&machine, false);
    let_go(&machine);
    let record = machine
        .path("ccm/runs")
        .join(run.id.to_string())
        .join("exit");
    until("the agent ends", || record.exists());
    // What is read is what was committed last.
    assert_eq!(task_of(&machine, &ends).state, TaskStateName::Running);
    let told = one.ccm_with(&["task", "create"], b"c\n").fails(3);
    assert!(told.contains("can't be reached"), "{told}");
    until("it is told", || !status(&machine).problems.is_empty());
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    soon("what ended is known to have", || {
        let state = |id: &str| task_of(&machine, id).state;
        state(&ends) == TaskStateName::Succeeded && state(&stopped) == TaskStateName::Succeeded
    });
    for id in [&ends, &stopped] {
        assert_eq!(ended_once(&machine, id).state, TaskStateName::Succeeded);
        assert_eq!(runs_of(&machine, id).len(), 1);
    }
    soon("nothing is wrong any more", || {
        status(&machine).problems.is_empty()
    });
    let next = one.task("d\n");
    assert_eq!(ended_once(&machine, &next).state, TaskStateName::Succeeded);
    nothing_is_left(&machine);
}
