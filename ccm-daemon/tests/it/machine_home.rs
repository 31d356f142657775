//! Which folder is the home, its secrets, and the daemon that runs for it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ccm_core::ErrorKind;
use ccm_core::id::Epoch;
use ccm_core::time::Timestamp;
use ccm_daemon::machine::{DaemonInfo, Home, HomeChoice};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn choice(user: &Path) -> HomeChoice {
    HomeChoice {
        user_home: Some(user.to_owned()),
        current_dir: "/here".into(),
        ..HomeChoice::default()
    }
}

fn dir(choice: &HomeChoice) -> (PathBuf, PathBuf) {
    let home = Home::choose(choice).unwrap();
    (home.dir().to_owned(), home.config_file().to_owned())
}

#[test]
fn the_command_line_beats_ccm_config_beats_ccm_home_beats_the_usual_place() {
    let user = tempfile::tempdir().unwrap();
    let mut choice = choice(user.path());
    let usual = user.path().join(".ccm-global");
    assert_eq!(dir(&choice), (usual.clone(), usual.join("config.yaml")));
    choice.ccm_home = Some("/a/b/../home".into());
    assert_eq!(
        dir(&choice),
        ("/a/home".into(), "/a/home/config.yaml".into())
    );
    choice.ccm_config = Some("rel/ccm.yml".into());
    assert_eq!(
        dir(&choice),
        ("/here/rel".into(), "/here/rel/ccm.yml".into())
    );
    choice.config = Some("mine.yaml".into());
    assert_eq!(dir(&choice), ("/here".into(), "/here/mine.yaml".into()));
    choice.config = Some("/".into());
    assert_eq!(
        Home::choose(&choice).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    let nothing = HomeChoice::default();
    assert!(
        Home::choose(&nothing)
            .unwrap_err()
            .to_string()
            .contains("set HOME")
    );
}

#[test]
fn the_older_layout_counts_where_only_that_is_a_machine_config() {
    let user = tempfile::tempdir().unwrap();
    let choice = choice(user.path());
    let older = user.path().join(".ccm");
    let usual = user.path().join(".ccm-global");
    std::fs::create_dir(&older).unwrap();
    assert_eq!(dir(&choice).0, usual, "an empty folder is no home");
    std::fs::write(
        older.join("config.yaml"),
        "name: x\nagent:\n  driver: command\n",
    )
    .unwrap();
    assert_eq!(dir(&choice).0, usual, "a project's config is no machine's");
    std::fs::write(older.join("config.yaml"), "# broken\nprofile: [\n").unwrap();
    assert_eq!(
        dir(&choice).0,
        older,
        "a broken one counts, so that it can be mended"
    );
    std::fs::create_dir(&usual).unwrap();
    assert_eq!(dir(&choice).0, usual);
}

#[test]
fn the_home_and_its_secrets_are_of_the_owner_alone() {
    let temp = tempfile::tempdir().unwrap();
    let home = Home::at(temp.path().join("a/home"));
    assert!(home.create().unwrap());
    assert!(!home.create().unwrap());
    for dir in [
        home.dir().to_owned(),
        home.run_dir(),
        home.runs_dir(),
        home.trust_dir(),
        home.logs_dir(),
    ] {
        assert_eq!(mode(&dir), 0o700, "{}", dir.display());
    }
    let e = home.token().unwrap_err();
    assert!(
        e.to_string().contains("`ccm-orchestrator init` makes one"),
        "{e}"
    );
    assert!(home.create_token().unwrap());
    assert_eq!(mode(&home.token_file()), 0o600);
    let token = home.token().unwrap();
    assert_eq!(token.reveal().len(), 64);
    assert!(!home.create_token().unwrap());
    assert_eq!(home.token().unwrap(), token);
    assert_eq!(format!("{token:?}"), "Token(...)");

    std::fs::set_permissions(home.token_file(), PermissionsExt::from_mode(0o644)).unwrap();
    let e = home.token().unwrap_err();
    assert!(e.to_string().starts_with("others can read "), "{e}");
    std::fs::set_permissions(home.token_file(), PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(home.token_file(), "hush").unwrap();
    assert!(
        home.token()
            .unwrap_err()
            .to_string()
            .contains("holds no token")
    );
}

fn info(port: u16) -> DaemonInfo {
    DaemonInfo {
        address: ([127, 0, 0, 1], port).into(),
        tls: false,
        socket: None,
        web_ui: false,
        pid: 4711,
        epoch: Epoch(3),
        version: "0.1.0".to_owned(),
        tmux_socket: "ccm".to_owned(),
        started_at: Timestamp::from_micros(1),
        migrated: None,
    }
}

#[test]
fn a_second_daemon_is_told_who_the_first_one_is() {
    let temp = tempfile::tempdir().unwrap();
    let home = Home::at(temp.path());
    home.create().unwrap();
    assert_eq!(home.running_daemon(), None);

    let mut lock = home.lock_daemon().unwrap();
    assert_eq!(home.running_daemon(), None, "not announced yet");
    let e = home.lock_daemon().unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::WrongState(_)));
    let pid = std::process::id();
    assert_eq!(
        e.to_string(),
        format!("another daemon (pid {pid}, still starting) already runs for this home")
    );

    lock.announce(&info(8765)).unwrap();
    assert_eq!(home.running_daemon(), Some(info(8765)));
    assert_eq!(
        home.running_daemon(),
        Some(info(8765)),
        "looking changes nothing"
    );
    assert_eq!(mode(&home.run_dir().join("daemon.json")), 0o600);
    assert_eq!(
        home.lock_daemon().unwrap_err().to_string(),
        "another daemon (pid 4711 at 127.0.0.1:8765) already runs for this home"
    );
    lock.announce(&info(9000)).unwrap();
    assert_eq!(
        home.running_daemon().unwrap().url(),
        "http://127.0.0.1:9000"
    );

    drop(lock);
    assert_eq!(home.running_daemon(), None);
    drop(home.lock_daemon().unwrap());
}

#[test]
fn what_a_dead_daemon_left_behind_counts_for_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let home = Home::at(temp.path());
    home.create().unwrap();
    let left = home.run_dir().join("daemon.json");
    std::fs::write(&left, serde_json::to_vec(&info(1)).unwrap()).unwrap();
    assert_eq!(home.running_daemon(), None);
    let mut lock = home.lock_daemon().unwrap();
    assert_eq!(
        home.running_daemon(),
        None,
        "a new daemon doesn't make the old word true"
    );
    lock.announce(&info(2)).unwrap();
    assert_eq!(home.running_daemon(), Some(info(2)));
}

#[test]
fn programs_that_the_daemon_starts_do_not_inherit_its_lock() {
    let temp = tempfile::tempdir().unwrap();
    let home = Home::at(temp.path());
    home.create().unwrap();
    let mut lock = home.lock_daemon().unwrap();
    lock.announce(&info(1)).unwrap();
    let run_dir = home.run_dir().canonicalize().unwrap();
    let open = std::process::Command::new("sh")
        .args(["-c", "ls -l /dev/fd/ /proc/self/fd/ 2>/dev/null; true"])
        .output()
        .unwrap();
    let open = String::from_utf8_lossy(&open.stdout).into_owned();
    assert!(!open.contains(&*run_dir.to_string_lossy()), "{open}");
}
