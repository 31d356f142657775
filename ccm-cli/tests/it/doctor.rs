//! `ccm doctor`: each kind of trouble is made for real, found, mended where it can be, and gone the next time.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use insta::assert_snapshot;
use nix::sys::signal::Signal;
use rusqlite::Connection;
use serde_json::Value;

use crate::claude::Claude;
use crate::stub::Stub;
use crate::support::{Machine, Ran, until};

/// What a check found: how bad, and what.
type Found = (String, String);

/// What `doctor` says of one subject.
struct Said(Value);

impl Said {
    #[track_caller]
    fn of(ran: &Ran) -> Self {
        assert!(matches!(ran.code, 0 | 1), "{ran}");
        let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!(report["ok"] == true, ran.code == 0, "{ran}");
        Self(report)
    }

    fn found(&self, check: &str) -> Vec<Found> {
        let findings = self.0["findings"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        findings
            .iter()
            .filter(|finding| finding["check"] == check)
            .map(|finding| (text(&finding["level"]), text(&finding["what"])))
            .collect()
    }

    /// The one thing that was found.
    #[track_caller]
    fn one(&self, check: &str) -> Found {
        let found = self.found(check);
        assert_eq!(found.len(), 1, "{check}: {:#}", self.0);
        found.into_iter().next().unwrap()
    }

    #[track_caller]
    fn nothing(&self, check: &str) {
        assert_eq!(self.found(check), [], "{:#}", self.0);
    }

    fn fixed(&self) -> usize {
        self.0["fixed"].as_array().unwrap().len()
    }
}

#[track_caller]
fn doctor(machine: &Machine) -> Said {
    Said::of(&machine.ccm(&["doctor", "--json"]))
}

#[track_caller]
fn doctor_with(machine: &Machine, change: impl FnOnce(&mut Command) -> &mut Command) -> Said {
    let mut command = machine.command("ccm", &["doctor", "--json"]);
    Said::of(&Ran::of(change(&mut command)))
}

#[track_caller]
fn fix(machine: &Machine) -> Said {
    Said::of(&machine.ccm(&["doctor", "--fix", "--json"]))
}

/// It is found, mended by `--fix`, and not there afterwards.
#[track_caller]
fn is_mended(machine: &Machine, check: &str, level: &str, word: &str) {
    let found = doctor(machine).found(check);
    assert!(
        found
            .iter()
            .any(|(l, what)| l == level && what.contains(word)),
        "{check}: {found:?}"
    );
    let fixed = fix(machine);
    assert!(fixed.fixed() > 0, "{:#}", fixed.0);
    fixed.nothing(check);
    let again = fix(machine);
    again.nothing(check);
    assert_eq!(again.fixed(), 0, "{:#}", again.0);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A program of this name in a folder of its own, which is returned.
fn program(machine: &Machine, folder: &str, name: &str, script: &str) -> PathBuf {
    let folder = machine.folder(folder);
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    set_mode(&path, 0o755);
    folder
}

/// The PATH of the tests, with these folders first.
fn path_with(folders: &[&Path]) -> String {
    let own = std::env::var("PATH").unwrap();
    let first = folders.iter().map(|folder| folder.to_str().unwrap());
    let all: Vec<&str> = first.chain([own.as_str()]).collect();
    all.join(":")
}

#[test]
fn it_speaks_to_people() {
    let machine = Machine::bare();
    machine.snapshots(|| {
        assert_snapshot!("doctor_usage", machine.ccm(&["doctor", "--yes"]));
    });
    let machine = Machine::new();
    set_mode(&machine.path("ccm/token"), 0o644);
    let ran = machine.ccm(&["doctor"]);
    assert_eq!(ran.code, 1, "{ran}");
    let text = String::from_utf8(ran.stdout).unwrap();
    let block: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.contains("modes:"))
        .take(4)
        .collect();
    let block = block.join("\n");
    machine.snapshots(|| assert_snapshot!("doctor_problem", block));
    let ran = machine.ccm(&["doctor", "--fix"]);
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(text.starts_with("fixed: gave "), "{text}");
}

#[test]
fn a_machine_that_is_well_has_no_problem() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["sh", "-c", "cat"]);
    machine.ccm(&["task", "wait", &project.task("one")]).ok();
    let said = doctor(&machine);
    assert_eq!(said.0["ok"], true, "{:#}", said.0);
    // The rest is about the machine that the test runs on.
    for check in [
        "home", "modes", "place", "token", "database", "daemon", "port", "socket", "tmux",
        "program", "login", "projects", "agents", "installs", "litter",
    ] {
        said.nothing(check);
    }
}

#[test]
fn a_machine_that_is_not_set_up_is_told_so_and_left_alone() {
    let machine = Machine::bare();
    let (level, what) = doctor(&machine).one("home");
    assert_eq!(
        (level.as_str(), what.as_str()),
        ("problem", "this machine is not set up")
    );
    fix(&machine);
    assert!(!machine.path("ccm").exists());
    fs::write(machine.path("ccm"), "a file").unwrap();
    assert!(doctor(&machine).one("home").1.contains("no folder"));
}

#[test]
fn a_lost_folder_is_made_again() {
    let machine = Machine::new();
    fs::remove_dir_all(machine.path("ccm/trust")).unwrap();
    is_mended(&machine, "home", "problem", "missing");
    assert_eq!(mode(&machine.path("ccm/trust")), 0o700);
    // What is in the way is somebody's.
    let run = machine.path("ccm/run");
    fs::remove_dir_all(&run).unwrap();
    fs::write(&run, "notes").unwrap();
    assert!(
        doctor(&machine)
            .one("home")
            .1
            .contains("in the place of a folder")
    );
    fix(&machine);
    assert_eq!(fs::read(&run).unwrap(), b"notes");
}

#[test]
fn what_others_can_read_is_closed() {
    let machine = Machine::new();
    drop(machine.daemon());
    let open = ["ccm", "ccm/token", "ccm/config.yaml", "ccm/ccm.db"];
    for name in open {
        let path = machine.path(name);
        set_mode(&path, mode(&path) | 0o055);
    }
    assert_eq!(doctor(&machine).found("modes").len(), open.len());
    is_mended(&machine, "modes", "problem", "others can reach it");
    for name in open {
        assert_eq!(mode(&machine.path(name)) & 0o077, 0, "{name}");
    }
    let _daemon = machine.daemon();
}

#[test]
#[cfg(target_os = "linux")]
fn a_small_disk_and_one_that_is_read_only_are_told() {
    let Some(machine) = Machine::on_a_small_disk(12) else {
        return;
    };
    let (level, what) = doctor(&machine).one("disk");
    assert_eq!(level, "problem");
    assert!(what.contains("MiB left"), "{what}");
    machine.disk().set_read_only(true);
    assert!(doctor(&machine).one("place").1.contains("can't be written"));
    machine.disk().set_read_only(false);
    doctor(&machine).nothing("place");
}

#[test]
fn every_error_of_the_config_is_told_with_its_line() {
    let machine = Machine::new();
    let file = machine.path("ccm/config.yaml");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        "agents:\n  max_idle_time: soon\n  max_concurrent: -1\n",
    )
    .unwrap();
    let said = doctor(&machine);
    let found = said.found("config");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].1.contains(":2: agents.max_idle_time"), "{found:?}");
    fs::write(&file, &good).unwrap();
    assert!(
        doctor(&machine)
            .found("config")
            .iter()
            .all(|(level, _)| level == "note")
    );
    fs::remove_file(&file).unwrap();
    assert_eq!(doctor(&machine).one("config").1, "there is no config.yaml");
}

#[test]
fn a_token_that_is_missing_or_none_is_made_anew() {
    let machine = Machine::new();
    let token = machine.path("ccm/token");
    fs::remove_file(&token).unwrap();
    is_mended(&machine, "token", "problem", "no API token");
    assert_eq!(mode(&token), 0o600);
    // What may be of use to somebody is not thrown away unasked.
    fs::write(&token, "half a tok").unwrap();
    let ran = machine.ccm(&["doctor", "--fix"]);
    assert_eq!(ran.code, 1, "{ran}");
    assert!(ran.stderr.contains("--yes"), "{ran}");
    assert_eq!(fs::read(&token).unwrap(), b"half a tok");
    let said = Said::of(&machine.ccm(&["doctor", "--fix", "--yes", "--json"]));
    said.nothing("token");
    assert_eq!(fs::read(&token).unwrap().len(), 65);
    assert_eq!(
        fs::read(machine.path("ccm/token.old")).unwrap(),
        b"half a tok"
    );
}

#[test]
fn a_damaged_database_is_told_with_the_newest_backup() {
    let machine = Machine::new();
    machine.daemon().stop();
    doctor(&machine).nothing("database");
    let kept = machine.ccm(&["backup"]).ok();
    let database = machine.path("ccm/ccm.db");
    let good = fs::read(&database).unwrap();
    let mut bad = good.clone();
    bad[4096..].fill(0xa5);
    fs::write(&database, &bad).unwrap();
    let said = doctor(&machine);
    assert_eq!(said.one("database").0, "problem");
    let findings = said.0["findings"].as_array().unwrap();
    let found = findings
        .iter()
        .find(|finding| finding["check"] == "database")
        .unwrap();
    assert_eq!(found["remedy"], format!("ccm restore {kept}"));
    machine.ccm(&["restore", &kept, "--yes"]).ok();
    doctor(&machine).nothing("database");
    Connection::open(&database)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    assert!(doctor(&machine).one("database").1.contains("schema 99"));
}

#[test]
fn a_huge_log_of_the_database_is_told() {
    let machine = Machine::new();
    machine.daemon().stop();
    let log = machine.path("ccm/ccm.db-wal");
    fs::File::create(&log).unwrap().set_len(300 << 20).unwrap();
    let (level, what) = doctor(&machine).one("database");
    assert_eq!(level, "warning");
    assert!(what.contains("300 MiB"), "{what}");
}

#[test]
fn a_restore_that_was_cut_short_is_finished() {
    let machine = Machine::new();
    machine.daemon().stop();
    let kept = machine.ccm(&["backup"]).ok();
    machine.set("retention.days", "7");
    machine.hold("restore_moved");
    let mut child = machine
        .command("ccm", &["restore", &kept, "--yes"])
        .spawn()
        .unwrap();
    machine.reached("restore_moved");
    child.kill().unwrap();
    child.wait().unwrap();
    machine.release("restore_moved");
    is_mended(&machine, "database", "problem", "cut short");
    assert_eq!(machine.ccm(&["config", "get", "retention.days"]).ok(), "30");
}

#[test]
fn a_daemon_that_is_down_silent_or_of_another_version_is_told() {
    let machine = Machine::new();
    let said = doctor(&machine);
    assert_eq!(
        said.one("daemon"),
        ("warning".to_owned(), "the daemon is not running".to_owned())
    );
    let daemon = machine.daemon();
    doctor(&machine).nothing("daemon");
    daemon.signal(Signal::SIGSTOP);
    let (level, what) = doctor(&machine).one("daemon");
    assert_eq!(level, "problem");
    assert!(what.contains("does not answer"), "{what}");
    daemon.signal(Signal::SIGCONT);
    let file = machine.path("ccm/run/daemon.json");
    let text = fs::read_to_string(&file).unwrap();
    let other = text.replace(env!("CARGO_PKG_VERSION"), "0.0.1");
    fs::write(&file, other).unwrap();
    let (level, what) = doctor(&machine).one("daemon");
    assert_eq!(level, "warning");
    assert!(what.contains("0.0.1"), "{what}");
    fs::write(&file, text).unwrap();
    daemon.kill();
    assert!(file.exists());
    let fixed = fix(&machine);
    assert_eq!(fixed.fixed(), 1);
    assert!(!file.exists());
    assert!(fixed.one("daemon").1.contains("not running"));
}

#[test]
fn a_config_that_was_changed_since_is_told() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    doctor(&machine).nothing("changed");
    machine.set("retention.days", "7");
    assert_eq!(doctor(&machine).one("changed").0, "note");
}

#[test]
fn who_has_the_port_is_told() {
    let machine = Machine::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    machine.set("web_ui.port", &port.to_string());
    let (level, what) = doctor(&machine).one("port");
    assert_eq!(level, "problem");
    if cfg!(target_os = "linux") {
        assert!(
            what.contains(&format!("(pid {})", std::process::id())),
            "{what}"
        );
    }
    drop(listener);
    doctor(&machine).nothing("port");
}

#[test]
fn a_dead_socket_is_removed_and_a_living_one_is_not() {
    let machine = Machine::new();
    let socket = machine.path("ccm/ccm.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    doctor(&machine).nothing("socket");
    drop(listener);
    is_mended(&machine, "socket", "warning", "nobody listens");
    assert!(!socket.exists());
    fs::write(&socket, "no socket").unwrap();
    doctor(&machine).nothing("socket");
}

#[test]
fn a_tmux_that_is_missing_old_broken_or_silent_is_told() {
    let machine = Machine::with_tmux();
    doctor(&machine).nothing("tmux");
    let none = machine.folder("empty");
    let told = |path: &Path| {
        doctor_with(&machine, |command| command.env("PATH", path))
            .one("tmux")
            .1
    };
    assert!(told(&none).contains("not installed"));
    let path = program(&machine, "old", "tmux", "echo tmux 3.1c");
    assert!(told(&path).contains("tmux 3.1c is too old"));
    let path = program(&machine, "broken", "tmux", "exit 127");
    assert!(told(&path).contains("can't be run"));
    // It ends in a few seconds whatever hangs.
    let path = program(&machine, "silent", "tmux", "exec /bin/sleep 600");
    let begun = Instant::now();
    assert!(told(&path).contains("does not answer"));
    assert!(begun.elapsed() < Duration::from_secs(20));
    let said = doctor_with(&machine, |command| {
        command.env("TMUX_TMPDIR", machine.path("nowhere"))
    });
    assert!(said.one("tmux").1.contains("folder for tmux's sockets"));
    machine.set("agents.runtime", "process");
    doctor_with(&machine, |command| command.env("PATH", &none)).nothing("tmux");
}

#[test]
fn a_program_that_is_gone_is_told_and_where_it_is() {
    let machine = Machine::new();
    let tools = program(&machine, "tools", "worker", "cat");
    let daemon = machine.daemon();
    let project = machine.project("demo", &["sh", "-c", "cat"]);
    project.set("agent.command", "[worker]");
    let (level, what) = doctor(&machine).one("program");
    assert_eq!(level, "problem");
    assert!(
        what.contains("worker, which does the work of demo"),
        "{what}"
    );
    // It is on the PATH of whoever looks, and not on the daemon's.
    let said = doctor_with(&machine, |command| {
        command.env("PATH", path_with(&[&tools]))
    });
    assert_eq!(
        said.found("program").len(),
        if cfg!(target_os = "linux") { 1 } else { 0 }
    );
    assert!(
        said.0.to_string().contains("not on the daemon's PATH"),
        "{:#}",
        said.0
    );
    assert_eq!(said.one("path").0, "note");
    assert!(daemon.stop().success());
    let _daemon = machine.daemon_with(|command| command.env("PATH", path_with(&[&tools])));
    let said = doctor_with(&machine, |command| {
        command.env("PATH", path_with(&[&tools]))
    });
    said.nothing("program");
    said.nothing("path");
}

#[test]
fn a_claude_code_that_is_not_logged_in_is_told() {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let bin = machine.folder("bin");
    symlink(Claude::program(), bin.join("claude")).unwrap();
    let path = path_with(&[&bin]);
    let _project = machine.plain_project("demo");
    machine.ccm(&["project", "list"]).fails(3);
    let daemon = machine.daemon_with(|command| {
        command
            .envs(claude.environment())
            .env("PATH", &path)
            .env_remove("ANTHROPIC_API_KEY")
    });
    let folder = machine.folder("demo");
    let mut init = machine.command("ccm", &["init"]);
    Ran::of(init.current_dir(&folder)).ok();
    let (level, what) = doctor(&machine).one("login");
    assert_eq!(level, "problem");
    assert!(
        what.contains("not logged in for the agent of demo"),
        "{what}"
    );
    assert!(daemon.stop().success());
    let _daemon =
        machine.daemon_with(|command| command.envs(claude.environment()).env("PATH", &path));
    until("all is well", || doctor(&machine).found("login").is_empty());
}

#[test]
fn a_project_that_is_gone_or_not_trusted_is_told() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["sh", "-c", "cat"]);
    let gone = machine.project("gone", &["sh", "-c", "cat"]);
    doctor(&machine).nothing("projects");
    fs::remove_dir_all(&gone.folder).unwrap();
    let config = project.folder.join(".ccm/config.yaml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("cat", "cat; rm -rf x")).unwrap();
    let found = doctor(&machine).found("projects");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0]
            .1
            .contains("settings of demo that can run code are not trusted"),
        "{found:?}"
    );
    assert!(
        found[1].1.contains("folder of gone is not there"),
        "{found:?}"
    );
    project.ccm(&["project", "trust", "--yes"]).ok();
    machine.ccm(&["project", "remove", "gone", "--yes"]).ok();
    doctor(&machine).nothing("projects");
    fs::write(&config, "agent: [").unwrap();
    assert!(doctor(&machine).one("projects").1.contains("can't be used"));
}

#[test]
fn an_agent_of_no_project_is_ended() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    let project = machine.project("demo", &["sh", "-c", "cat"]);
    machine.ccm(&["task", "wait", &project.task("one")]).ok();
    assert!(daemon.stop().success());
    assert_eq!(machine.hosts().len(), 1);
    doctor(&machine).nothing("agents");
    let database = Connection::open(machine.path("ccm/ccm.db")).unwrap();
    database
        .execute("UPDATE project SET removed_at = 1", [])
        .unwrap();
    drop(database);
    is_mended(&machine, "agents", "warning", "an agent of no project");
    until("its host is gone", || machine.hosts().is_empty());
}

#[test]
fn installs_of_different_versions_are_told() {
    let machine = Machine::new();
    let new = program(&machine, "new", "ccm", "echo ccm 9.0.0");
    let old = program(&machine, "old", "ccm", "echo ccm 0.0.1");
    let look = |folders: &[&Path]| {
        let folders: Vec<&str> = folders
            .iter()
            .map(|folder| folder.to_str().unwrap())
            .collect();
        let path = folders.join(":");
        doctor_with(&machine, |command| command.env("PATH", path))
    };
    let (level, what) = look(&[&new, &old]).one("installs");
    assert_eq!(level, "warning");
    assert!(what.contains("9.0.0") && what.contains("0.0.1"), "{what}");
    look(&[&new]).nothing("installs");
    let link = machine.folder("link");
    symlink(new.join("ccm"), link.join("ccm")).unwrap();
    look(&[&new, &link]).nothing("installs");
}

#[test]
fn a_low_limit_on_files_is_told() {
    let machine = Machine::new();
    let ccm = machine.command("ccm", &["doctor", "--json"]);
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 200 && exec \"$0\" doctor --json"])
        .arg(ccm.get_program())
        .env_clear();
    for (name, value) in ccm.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let said = Said::of(&Ran::of(&mut command));
    let found = said.found("limits");
    assert!(
        found
            .iter()
            .any(|(_, what)| what.contains("only 200 files")),
        "{found:?}"
    );
}

#[test]
fn a_clock_that_nobody_sets_is_told() {
    let machine = Machine::new();
    let path = program(&machine, "time", "timedatectl", "echo no");
    let said = doctor_with(&machine, |command| command.env("PATH", path_with(&[&path])));
    assert_eq!(said.one("clock").0, "note");
    program(&machine, "time", "timedatectl", "echo yes");
    doctor_with(&machine, |command| command.env("PATH", path_with(&[&path]))).nothing("clock");
}

#[test]
fn what_killed_programs_left_behind_is_removed_once_it_is_old() {
    let machine = Machine::new();
    let part = machine.path("ccm/.ccm-unfinished-0123456789abcdef.part");
    let temp = machine.path("ccm/.config.yaml.0123456789abcdef");
    for path in [&part, &temp] {
        fs::write(path, "half").unwrap();
    }
    doctor(&machine).nothing("litter");
    let old = SystemTime::now() - Duration::from_secs(2 * 3600);
    for path in [&part, &temp] {
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(old)
            .unwrap();
    }
    is_mended(&machine, "litter", "warning", "(2)");
    assert!(!part.exists() && !temp.exists());
    assert!(machine.path("ccm/config.yaml").exists());
}

#[test]
#[cfg(target_os = "linux")]
fn a_service_whose_program_is_gone_is_told() {
    let machine = Machine::new();
    let units = machine.path("home/.config/systemd/user");
    fs::create_dir_all(&units).unwrap();
    let unit = units.join("ccm-orchestrator.service");
    let text = |program: &Path| {
        format!(
            "[Service]\nExecStart={}\nEnvironment=CCM_CONFIG={}\n",
            program.display(),
            machine.path("ccm/config.yaml").display()
        )
    };
    fs::write(&unit, text(Path::new("/nowhere/ccm-daemon"))).unwrap();
    let found = doctor(&machine).found("service");
    assert!(
        found
            .iter()
            .any(|(level, what)| level == "problem" && what.contains("/nowhere/ccm-daemon")),
        "{found:?}"
    );
    fs::write(&unit, text(Path::new("/bin/sh"))).unwrap();
    let found = doctor(&machine).found("service");
    assert!(
        found.iter().all(|(level, _)| level != "problem"),
        "{found:?}"
    );
}
