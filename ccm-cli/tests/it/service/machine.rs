//! The service of the machine's systemd, which root sets up for an account.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::boot::{As, HOME, UID, under_systemd};
use super::*;

/// One of the programs as root, with nothing that names a home.
fn root(args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ccm-orchestrator"));
    command.args(args).env_clear().env("HOME", "/run/root");
    Ran::of(command.env("PATH", "/usr/local/bin:/usr/bin:/bin"))
}

/// The same as the account.
fn ada(folder: &Path, program: &str, args: &[&str], input: &str) -> Ran {
    let uid = UID.to_string();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &uid, "--regid", &uid, "--clear-groups", program])
        .args(args)
        .env_clear()
        .env("HOME", HOME)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .current_dir(folder);
    Ran::with_input(&mut command, input.as_bytes())
}

fn show(property: &str) -> String {
    let mut command = Command::new("systemctl");
    Ran::of(command.args(["show", "--value", "--property", property, UNIT])).ok()
}

#[test]
fn root_sets_the_machine_up_for_an_account() {
    if !under_systemd(As::Root) {
        return;
    }
    // Root has to say for whom.
    let said = root(&["init", "--yes", "--no-start"]);
    assert!(said.stderr.contains("--user ACCOUNT"), "{said}");
    std::fs::remove_dir_all("/run/root/.ccm-global").unwrap();
    let said = root(&["init", "--yes", "--user", "nobody-of-that-name"]);
    assert_eq!(said.code, 4, "{said}");

    let said = root(&["init", "--yes", "--user", "ada", "--no-start"]);
    assert_eq!(said.code, 0, "{said}");
    let home = Path::new(HOME).join(".ccm-global");
    for file in ["", "config.yaml", "token", "logs", "run"] {
        assert_eq!(
            std::fs::metadata(home.join(file)).unwrap().uid(),
            UID,
            "{file}"
        );
    }
    assert!(!Path::new("/run/root/.ccm-global").exists());
    let unit_file = Path::new("/etc/systemd/system").join(UNIT);
    let unit = std::fs::read_to_string(&unit_file).unwrap();
    for line in [
        "User=ada",
        "Group=ada",
        "Environment=CCM_CONFIG=/run/ada/.ccm-global/config.yaml",
        "WantedBy=multi-user.target",
    ] {
        assert!(unit.lines().any(|there| there == line), "{line}:\n{unit}");
    }
    assert_eq!(verified("--system", &unit_file), "");
    assert_eq!(show("UnitFileState"), "enabled");

    let ccm = env!("CARGO_BIN_EXE_ccm");
    for (key, value) in [("web_ui.port", "0"), ("agents.runtime", "process")] {
        ada(&home, ccm, &["config", "set", key, value], "").ok();
    }
    // The lines of the document.
    let typed = |args: &[&str]| Ran::of(Command::new("systemctl").arg("--no-pager").args(args));
    typed(&["daemon-reload"]).ok();
    typed(&["enable", "ccm-orchestrator"]).ok();
    typed(&["start", "ccm-orchestrator"]).ok();
    until("the daemon is up", || root(&["daemon", "status"]).code == 0);
    let status = typed(&["status", "ccm-orchestrator"]).ok();
    assert!(status.contains("Active: active (running)"), "{status}");
    assert!(
        status.contains("Status: \"at http://127.0.0.1:"),
        "{status}"
    );
    typed(&["disable", "ccm-orchestrator"]).ok();
    assert_eq!(show("UnitFileState"), "disabled");
    let said = root(&["init", "--yes", "--user", "ada", "--no-start"]);
    assert_eq!(said.code, 0, "{said}");
    assert_eq!(show("UnitFileState"), "enabled");
    root(&["daemon", "stop"]).ok();
    assert_eq!(show("ActiveState"), "inactive");

    // Root, who has no home of its own, means the service.
    let said = root(&["daemon", "start"]);
    assert!(
        said.stderr.contains("system unit ccm-orchestrator.service"),
        "{said}"
    );
    let pid: u32 = show("MainPID").parse().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap()
    };
    assert!(field("Uid:").contains(&UID.to_string()));
    // Agents may use sudo, and have no power over the kernel.
    let powers = u64::from_str_radix(field("CapBnd:").trim(), 16).unwrap();
    let (setuid, sys_module) = (1 << 7, 1 << 16);
    assert_eq!(powers & (setuid | sys_module), setuid);
    assert_eq!(field("NoNewPrivs:").trim(), "0");

    // The account needs no second one.
    let said = ada(
        Path::new(HOME),
        env!("CARGO_BIN_EXE_ccm-orchestrator"),
        &["init", "--yes"],
        "",
    );
    assert!(
        said.stderr
            .contains("The machine has a service for this home"),
        "{said}"
    );

    // A program like sudo: it becomes root whoever starts it.
    std::fs::copy("/usr/bin/id", "/run/as-root").unwrap();
    std::fs::set_permissions("/run/as-root", PermissionsExt::from_mode(0o4755)).unwrap();

    // A run outlives the daemon's restart.
    let folder = Path::new(HOME).join("demo");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::chown(&folder, Some(UID), Some(UID)).unwrap();
    ada(&folder, ccm, &["init"], "").ok();
    let script = "[sh, -c, '/run/as-root -u > root; echo x >> starts; while [ ! -e go ]; do sleep 0.02; done']";
    for (key, value) in [("agent.command", script), ("agent.driver", "command")] {
        ada(
            &folder,
            ccm,
            &["config", "set", "--project", key, value],
            "",
        )
        .ok();
    }
    let id = ada(&folder, ccm, &["task", "create"], "the work").ok();
    until("the agent works", || started(&folder) == 1);
    let powers = std::fs::read_to_string(folder.join("root")).unwrap();
    assert_eq!(powers, "0\n", "agents can't become root any more");
    let restarted = root(&["daemon", "restart"]);
    assert_eq!(restarted.code, 0, "{restarted}");
    assert_ne!(show("MainPID"), pid.to_string());
    // The account itself may not stop the machine's service, and the daemon would be started again.
    let stopped = ada(&folder, ccm, &["daemon", "stop", "--agents"], "");
    assert!(stopped.code != 0, "{stopped}");
    assert_eq!(show("ActiveState"), "active");
    std::fs::write(folder.join("go"), "").unwrap();
    ada(&folder, ccm, &["task", "wait", &id], "").ok();
    assert_eq!(started(&folder), 1);

    let gone = root(&["uninstall", "--yes", "--data"]);
    assert_eq!(gone.code, 0, "{gone}");
    assert!(!unit_file.exists() && !home.exists(), "{gone}");
    assert_eq!(show("LoadState"), "not-found");
    assert!(folder.join(".ccm/config.yaml").exists());
    assert!(Path::new(ccm).exists(), "a build is not uninstalled");
}
