//! What may run code, and when a project's queue waits for it.

use std::path::{Path, PathBuf};

use ccm_core::id::{ProjectId, SystemId};
use ccm_core::project::{Profile, Profiles, Project};
use ccm_core::task::Setback;
use ccm_core::time::Timestamp;
use ccm_core::{ErrorKind, Reason};
use ccm_daemon::machine::setup::{self, Answers};
use ccm_daemon::machine::{
    Home, InitOptions, ProjectConfig, ProjectDir, ProjectProfiles, TrustStore, trust,
};

struct Machine {
    temp: tempfile::TempDir,
    home: Home,
    folder: PathBuf,
    project: Project,
    profiles: ProjectProfiles,
}

impl Machine {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        let home = Home::at(root.join("home"));
        let config = setup::set_up(&home, &Answers::default()).unwrap().config;
        let folder = root.join("repo");
        std::fs::create_dir(&folder).unwrap();
        let made = ProjectDir::init(&folder, &home, &InitOptions::default()).unwrap();
        Self {
            profiles: ProjectProfiles::new(&home, config),
            project: project(made.id, &folder),
            temp,
            home,
            folder,
        }
    }

    fn write(&self, text: &str) {
        std::fs::write(self.folder.join(".ccm/config.yaml"), text).unwrap();
    }

    fn config(&self) -> ProjectConfig {
        ProjectConfig::load(&self.folder).unwrap().config
    }

    fn trust(&self) -> TrustStore {
        TrustStore::new(&self.home)
    }

    async fn profile(&self) -> Result<Profile, Setback> {
        self.profiles.profile(&self.project).await
    }
}

fn project(id: ProjectId, path: &Path) -> Project {
    Project {
        id,
        name: "repo".to_owned(),
        path: path.to_owned(),
        system_id: SystemId::new(),
        paused: false,
        hold: None,
        queued: 1,
        running: 0,
        created_at: now(),
    }
}

fn now() -> Timestamp {
    Timestamp::from_micros(1)
}

const RUNS: &str = "agent:\n  driver: command\n  command: [sh, -c, cat]\n";

#[tokio::test]
async fn a_project_of_defaults_needs_no_trust() {
    let machine = Machine::new();
    let profile = machine.profile().await.unwrap();
    assert_eq!(profile.agent, ccm_core::project::AgentProfile::default());
    assert_eq!(profile.limits.memory_mb, Some(2048));

    machine.write("limits: {timeout: 5, memory_mb: 100}\ntasks: {priority: 7}\n");
    let profile = machine.profile().await.unwrap();
    assert_eq!(profile.limits.memory_mb, Some(100));
    assert_eq!(profile.tasks.priority, 7);
}

#[tokio::test]
async fn a_changed_command_holds_the_queue_until_it_is_trusted() {
    let machine = Machine::new();
    machine.profile().await.unwrap();
    machine.write(RUNS);
    let held = machine.profile().await.unwrap_err();
    assert_eq!(held.reason, Reason::ConfigUntrusted);
    let detail = held.detail.unwrap();
    assert!(detail.contains("run `ccm project trust repo`"), "{detail}");

    let shown = machine
        .trust()
        .look(machine.project.id, &machine.config())
        .unwrap();
    assert!(!shown.trusted);
    assert_eq!(
        shown.settings,
        ["agent.command: [sh, \"-c\", cat]", "agent.driver: command"]
    );
    assert_eq!(shown.trusted_settings, None);
    let id = machine.project.id;
    machine
        .trust()
        .trust_shown(id, &machine.folder, &shown.digest, now())
        .unwrap();
    let profile = machine.profile().await.unwrap();
    assert_eq!(profile.agent.command, ["sh", "-c", "cat"]);

    // The rest of the file may change freely, and how it is written does not matter.
    machine.write("# other words\nlimits: {max_retries: 1}\nagent: {command: ['sh', \"-c\", cat], driver: command}\n");
    assert_eq!(machine.profile().await.unwrap().limits.max_retries, 1);

    machine.write(&RUNS.replace("cat", "rm"));
    machine.profile().await.unwrap_err();
    let shown = machine.trust().look(id, &machine.config()).unwrap();
    assert_eq!(
        trust::changes(&shown),
        [
            "- agent.command: [sh, \"-c\", cat]",
            "+ agent.command: [sh, \"-c\", rm]"
        ]
    );
    machine.write(RUNS);
    machine.profile().await.unwrap();
}

#[tokio::test]
async fn every_setting_that_can_run_code_counts() {
    let machine = Machine::new();
    for text in [
        "agent: {driver: command, command: [x]}",
        "agent: {command: [x]}",
        "agent: {args: [x]}",
        "agent: {model: x}",
        "agent: {mode: interactive}",
        "agent: {permission_mode: bypassPermissions}",
        "agent: {env: {PATH: /tmp}}",
    ] {
        machine.write(text);
        let held = machine.profile().await.unwrap_err();
        assert_eq!(held.reason, Reason::ConfigUntrusted, "{text}");
    }
}

#[test]
fn nothing_is_trusted_that_was_not_shown() {
    let machine = Machine::new();
    machine.write(RUNS);
    let id = machine.project.id;
    let shown = machine.trust().look(id, &machine.config()).unwrap();
    machine.write(&RUNS.replace("cat", "evil"));
    let e = machine
        .trust()
        .trust_shown(id, &machine.folder, &shown.digest, now())
        .unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::WrongState(_)));
    assert!(!machine.trust().look(id, &machine.config()).unwrap().trusted);
}

#[test]
fn a_command_trusts_what_it_set_and_nothing_else() {
    let machine = Machine::new();
    let (trust, id, folder) = (machine.trust(), machine.project.id, &machine.folder);
    let set = |key: &str, value: &str| trust.set_in_project(id, folder, key, value, now()).unwrap();
    let (edited, trusted) = set("agent.args", "[-v]");
    assert!(edited.changed && trusted);
    assert!(set("agent.env.LANG", "C").1);
    assert!(set("limits.timeout", "5").1);
    assert!(trust.look(id, &machine.config()).unwrap().trusted);

    // Somebody else changed a key that this person did not see.
    let text = std::fs::read_to_string(folder.join(".ccm/config.yaml")).unwrap();
    machine.write(&text.replace("agent:\n", "agent:\n  permission_mode: bypassPermissions\n"));
    assert!(!trust.look(id, &machine.config()).unwrap().trusted);
    assert!(!set("agent.args", "[-q]").1);
    assert!(!trust.look(id, &machine.config()).unwrap().trusted);
}

#[test]
fn trust_is_of_one_project_and_ends_with_it() {
    let machine = Machine::new();
    machine.write(RUNS);
    let (trust, id) = (machine.trust(), machine.project.id);
    trust.trust(id, &machine.config(), now()).unwrap();
    assert!(
        !trust
            .look(ProjectId::new(), &machine.config())
            .unwrap()
            .trusted
    );
    trust.forget(id).unwrap();
    trust.forget(id).unwrap();
    assert!(!trust.look(id, &machine.config()).unwrap().trusted);

    std::fs::write(machine.home.trust_dir().join(id.to_string()), "{").unwrap();
    let e = trust.look(id, &machine.config()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_broken_config_holds_the_queue_and_says_where() {
    let machine = Machine::new();
    machine.write("name: x\nlimits:\n  timeout: 5m\n");
    let held = machine.profile().await.unwrap_err();
    assert_eq!(held.reason, Reason::ConfigUntrusted);
    assert_eq!(
        held.detail.as_deref(),
        Some(".ccm/config.yaml:3: limits.timeout: expected seconds (a whole number), found \"5m\"")
    );
    machine.write("name: x\n");
    machine.profile().await.unwrap();

    // A repository can't make the daemon read something else.
    let config = machine.folder.join(".ccm/config.yaml");
    std::fs::remove_file(&config).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &config).unwrap();
    let detail = machine.profile().await.unwrap_err().detail.unwrap();
    assert!(detail.contains("symbolic link"), "{detail}");
}

#[tokio::test]
async fn a_missing_folder_says_the_way_out() {
    let machine = Machine::new();
    let away = machine.temp.path().join("away");
    std::fs::rename(&machine.folder, &away).unwrap();
    let held = machine.profile().await.unwrap_err();
    assert_eq!(held.reason, Reason::ProjectMissing);
    let detail = held.detail.unwrap();
    assert!(
        detail.contains("is not there") && detail.contains("`ccm init`"),
        "{detail}"
    );

    // Another project in its place is not it.
    std::fs::create_dir(&machine.folder).unwrap();
    ProjectDir::init(&machine.folder, &machine.home, &InitOptions::default()).unwrap();
    let held = machine.profile().await.unwrap_err();
    assert_eq!(held.reason, Reason::ProjectMissing);
    assert!(held.detail.unwrap().contains("the id of another project"));

    std::fs::remove_dir_all(&machine.folder).unwrap();
    std::fs::rename(&away, &machine.folder).unwrap();
    machine.profile().await.unwrap();
}

#[tokio::test]
async fn a_lost_id_is_written_again() {
    let machine = Machine::new();
    machine.profile().await.unwrap();
    let id = || ProjectDir::open(&machine.folder).unwrap().id().unwrap();
    std::fs::remove_file(machine.folder.join(".ccm/id")).unwrap();
    machine.profile().await.unwrap();
    assert_eq!(id(), Some(machine.project.id));

    std::fs::remove_dir_all(machine.folder.join(".ccm")).unwrap();
    machine.profile().await.unwrap();
    assert_eq!(id(), Some(machine.project.id));
    assert!(machine.folder.join(".ccm/.gitignore").exists());
}

#[tokio::test]
async fn an_answer_is_kept_until_something_changes() {
    let machine = Machine::new();
    let config = machine.folder.join(".ccm/config.yaml");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    let age = || {
        let file = std::fs::File::options().write(true).open(&config).unwrap();
        file.set_modified(old).unwrap();
    };
    machine.write("tasks: {priority: 1}\n");
    age();
    assert_eq!(machine.profile().await.unwrap().tasks.priority, 1);
    // Same size, same date, other text: the time of change tells.
    machine.write("tasks: {priority: 2}\n");
    age();
    assert_eq!(machine.profile().await.unwrap().tasks.priority, 2);
    machine.write(RUNS);
    age();
    machine.profile().await.unwrap_err();
    machine
        .trust()
        .trust(machine.project.id, &machine.config(), now())
        .unwrap();
    machine.profile().await.unwrap();
    machine.trust().forget(machine.project.id).unwrap();
    machine.profile().await.unwrap_err();
}
