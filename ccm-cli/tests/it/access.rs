//! What an agent may do with the token that it finds in its environment, and where secrets are not.

use ccm_core::api::{AuditEntry, Task, TaskStateName};
use ccm_core::id::TaskId;

use crate::support::{Machine, Ran, block_on, until};

fn task(machine: &Machine, id: &str) -> Task {
    let id: TaskId = id.parse().unwrap();
    block_on(async { machine.client().task(id).await.unwrap() })
}

#[test]
fn an_agent_queues_tasks_in_its_own_project_and_decides_nothing() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let other = machine.project("other", &["cat"]);
    other.ccm(&["project", "pause"]).ok();
    let foreign = other.task("somebody else's");
    let ccm = env!("CARGO_BIN_EXE_ccm");
    let script = format!(
        "read what
         test \"$what\" = first || exit 0
         ccm() {{ '{ccm}' \"$@\"; echo \"$1 $2: $?\"; }}
         ccm task create second
         ccm task list --json
         ccm task show {foreign}
         ccm task create --project other x
         ccm agent stop
         ccm project trust --yes
         ccm daemon stop
         ccm ui --no-open"
    );
    let project = machine.project("own", &["sh", "-c", &script]);
    let id = project.task("first");
    project.ccm(&["task", "wait", &id]).ok();
    let first = task(&machine, &id);
    assert_eq!(first.state, TaskStateName::Succeeded, "{first:?}");
    let said = project.ccm(&["task", "logs", "--raw", &id]).ok();
    for (line, code) in [
        ("task create", 0),
        ("task list", 0),
        ("task show", 6),
        ("task create", 4),
        ("agent stop", 5),
        ("project trust", 6),
        ("daemon stop", 6),
        ("ui --no-open", 6),
    ] {
        assert!(said.contains(&format!("{line}: {code}")), "{line}: {said}");
    }
    assert!(!said.contains(&foreign), "{said}");
    assert!(machine.is_ready(), "the daemon goes on");

    let run = first.run_id.unwrap();
    let tasks = block_on(async {
        let of = ccm_cli::client::TaskFilter {
            project_id: Some(first.project_id),
            ..Default::default()
        };
        machine.client().tasks(&of).all().await.unwrap()
    });
    let titles: Vec<_> = tasks.iter().map(|task| &*task.title).collect();
    assert_eq!(titles, ["second", "first"]);
    assert_eq!(tasks[0].created_by, format!("run:{run}"));

    let log: Vec<AuditEntry> = block_on(async { machine.client().audit().all().await.unwrap() });
    let refused = log.iter().filter(|entry| entry.status == 403);
    let by: Vec<_> = refused.map(|entry| &*entry.principal).collect();
    assert_eq!(by.len(), 2, "{log:?}");
    assert!(by.iter().all(|by| *by == format!("run:{run}")), "{by:?}");
}

#[test]
fn no_secret_is_in_a_log_or_in_the_list_of_processes() {
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["sh", "-c", "echo $CCM_TOKEN >&2; sleep 1000"]);
    let id = project.task("look");
    until("the agent has its token", || {
        let Some(run) = task(&machine, &id).run_id else {
            return false;
        };
        let spool = machine
            .home()
            .runs_dir()
            .join(run.to_string())
            .join("spool.err");
        std::fs::read_to_string(spool).is_ok_and(|text| text.ends_with('\n'))
    });
    let run = task(&machine, &id).run_id.unwrap();
    let spool = machine
        .home()
        .runs_dir()
        .join(run.to_string())
        .join("spool.err");
    let agents = std::fs::read_to_string(spool).unwrap();
    let agents = agents.trim();
    assert!(agents.starts_with("ccm-run_"), "{agents}");
    let token = machine.home().token().unwrap();
    let owner = token.reveal();
    let code = machine.ccm(&["ui", "--no-open"]).ok();
    let code = code.trim().rsplit_once('=').unwrap().1;
    // Refused and accepted requests, and wrong ones, are all logged.
    machine
        .command("ccm", &["task", "list"])
        .env("CCM_TOKEN", "0".repeat(64))
        .output()
        .unwrap();

    for pid in machine.processes() {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        for secret in [owner, agents, code] {
            assert!(!line.contains(secret), "{line}");
        }
    }
    let logs = std::fs::read_dir(machine.home().logs_dir()).unwrap();
    let mut read = 0;
    for file in logs {
        let text = std::fs::read(file.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&text);
        read += 1;
        for secret in [owner, agents, code] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    assert!(read >= 2, "the daemon's log and the audit log");
    machine.ccm(&["task", "cancel", &id]).ok();
}

#[test]
fn programs_ask_at_the_socket_where_the_port_speaks_tls() {
    let machine = Machine::new();
    let dir = machine.home().dir().to_owned();
    let made = rcgen::generate_simple_self_signed(["box.example".to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    // Neither can be set without the other, which is what `config edit` is for.
    let config = machine.home().config_file().to_owned();
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text
        .replace("    # cert: ", "    cert: cert.pem ")
        .replace("    # key: ", "    key: key.pem ");
    std::fs::write(&config, text).unwrap();
    machine.ccm(&["config", "validate"]).ok();
    let _daemon = machine.daemon();
    let project = machine.project("demo", &["cat"]);
    let id = project.task("hello");
    project.ccm(&["task", "wait", &id]).ok();
    let info = machine.info().unwrap();
    assert!(info.tls);
    // Named, it needs no token.
    let elsewhere = |url: &str| {
        let mut command = machine.command("ccm", &["task", "show", &id, "--json"]);
        Ran::of(command.env("CCM_URL", url))
    };
    let socket = format!("unix:{}", info.socket.unwrap().display());
    assert_eq!(elsewhere(&socket).json()["state"], "succeeded");
    let told = elsewhere("unix:ccm.sock").fails(2);
    assert!(told.contains("begins with a slash"), "{told}");
    let told = elsewhere("unix:/nowhere/ccm.sock").fails(3);
    assert!(told.contains("/nowhere/ccm.sock"), "{told}");
}
