//! The service of an account's own systemd.

use std::net::TcpListener;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::boot::{As, HOME, under_systemd};
use super::*;

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

#[test]
fn a_service_is_installed_used_and_removed() {
    if !under_systemd(As::Ada) {
        return;
    }
    let ada = Ada::new("RestartSec=1");
    let said = ada.orchestrator(&["init", "--yes"]);
    assert_eq!(said.code, 0, "{said}");
    let unit_file = Ada::unit_file();
    assert!(
        said.stderr
            .contains(&format!("Wrote {}", unit_file.display())),
        "{said}"
    );
    assert_eq!(verified("--user", &unit_file), "");
    assert_eq!(ada.unit("UnitFileState"), "enabled");
    assert_eq!(ada.unit("ActiveState"), "active");
    assert_eq!(ada.unit("MainPID"), ada.pid().to_string());

    let status = ada.orchestrator(&["daemon", "status"]).ok();
    let line = "service:   user unit ccm-orchestrator.service (enabled, running)";
    assert!(
        status.starts_with("Running\n") && status.contains(line),
        "{status}"
    );
    let status = ada.orchestrator(&["daemon", "status", "--json"]).json();
    assert_eq!(status["service"]["runs_the_daemon"], true, "{status}");
    assert_eq!(status["service"]["kind"], "systemd_user");
    let started = ada.orchestrator(&["daemon", "start"]);
    assert!(started.stderr.contains("running already"), "{started}");
    assert!(
        started
            .stderr
            .contains("user unit ccm-orchestrator.service"),
        "{started}"
    );

    // A second time there is nothing to do; with another PATH the unit says so.
    let before = std::fs::read(&unit_file).unwrap();
    let again = ada.orchestrator(&["init", "--yes"]);
    assert!(!again.stderr.contains(".service anew"), "{again}");
    assert_eq!(std::fs::read(&unit_file).unwrap(), before);
    let moved = Ran::of(
        ada.command(&["init", "--yes"])
            .env("PATH", "/opt/tools:/usr/bin:/bin"),
    );
    assert!(moved.stderr.contains(".service anew"), "{moved}");
    let unit = std::fs::read_to_string(&unit_file).unwrap();
    assert!(
        unit.contains("\nEnvironment=PATH=/opt/tools:/usr/bin:/bin"),
        "{unit}"
    );
    assert!(ada.drop_in().exists());

    // The log is the daemon's file, whoever runs it; the journal's copy has no times.
    let log = ada.orchestrator(&["daemon", "logs"]).ok();
    assert!(log.contains("up, at http://127.0.0.1:"), "{log}");

    let stopped = ada.orchestrator(&["daemon", "stop"]);
    assert_eq!(stopped.code, 0, "{stopped}");
    assert_eq!(ada.unit("SubState"), "dead");
    let status = ada.orchestrator(&["daemon", "status"]);
    assert_eq!(status.code, 3, "{status}");
    let told = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(
        told.contains("user unit ccm-orchestrator.service (enabled, stopped)"),
        "{told}"
    );
    ada.orchestrator(&["daemon", "start"]).ok();
    assert_eq!(ada.unit("ActiveState"), "active");

    let gone = ada.orchestrator(&["uninstall", "--yes"]);
    assert_eq!(gone.code, 0, "{gone}");
    assert!(!unit_file.exists() && ada.machine.info().is_none());
    assert_eq!(ada.unit("LoadState"), "not-found");
    let wants = unit_file.with_file_name("default.target.wants");
    assert!(!wants.join(UNIT).exists());
    // The data were not meant, and a second time there is nothing to do.
    assert!(ada.machine.home().is_set_up());
    ada.orchestrator(&["uninstall", "--yes"]).ok();
    ada.orchestrator(&["daemon", "start"]).ok();
    assert!(
        ada.machine.info().is_some(),
        "without a service it is a process"
    );
}

#[test]
fn a_run_outlives_whatever_happens_to_the_daemon() {
    if !under_systemd(As::Ada) {
        return;
    }
    let ada = Ada::new("RestartSec=1");
    ada.orchestrator(&["init", "--yes"]).ok();
    let project = ada.project();
    let id = project.task("the work");
    until("the agent works", || ada.started() == 1);

    // Neither agents nor windows are in the daemon's unit.
    let hosts = ada.machine.hosts();
    assert_eq!(hosts.len(), 1);
    let host = group_of(hosts[0]);
    assert!(host.contains("/app-ccm.slice/ccm-agent-"), "{host}");
    let mut tmux = Command::new("tmux");
    tmux.args(["-L", "ccm-test", "display-message", "-p", "#{pid}"])
        .env("TMUX_TMPDIR", ada.machine.path("tmux"));
    let server = group_of(Ran::of(&mut tmux).ok().parse().unwrap());
    assert!(server.contains("/app-ccm.slice/ccm-tmux-"), "{server}");
    assert!(group_of(ada.pid()).ends_with(&format!("/{UNIT}")));
    // What systemd tells the daemon is not for agents.
    let env = std::fs::read_to_string(ada.machine.path("work/environment")).unwrap();
    assert!(
        !env.contains("NOTIFY_SOCKET") && !env.contains("WATCHDOG"),
        "{env}"
    );

    let goes_on = || {
        assert_eq!(ada.machine.hosts(), hosts);
        let task = ada.machine.ccm(&["task", "show", "--json", &id]).json();
        assert_eq!(task["state"], "running", "{task}");
    };
    let old = ada.pid();
    assert_eq!(ada.systemctl(&["restart", UNIT]).code, 0);
    ada.until_another(old);
    goes_on();

    let old = ada.pid();
    let restarted = ada.orchestrator(&["daemon", "restart"]);
    assert_eq!(restarted.code, 0, "{restarted}");
    assert_ne!(ada.pid(), old);
    assert_eq!(ada.unit("MainPID"), ada.pid().to_string());
    goes_on();

    let old = ada.pid();
    signal(old, Signal::SIGKILL);
    ada.until_another(old);
    assert_eq!(ada.unit("NRestarts"), "1");
    goes_on();

    let stopped = ada.orchestrator(&["daemon", "stop"]);
    assert!(
        stopped.stderr.contains("1 run goes on without it"),
        "{stopped}"
    );
    assert_eq!(ada.unit("SubState"), "dead");
    assert_eq!(ada.machine.hosts(), hosts);
    ada.orchestrator(&["daemon", "start"]).ok();
    goes_on();

    std::fs::write(ada.machine.path("work/go"), "").unwrap();
    ada.machine.ccm(&["task", "wait", &id]).ok();
    assert_eq!(ada.started(), 1);

    // Stopping agents is asked for.
    project.task("more work");
    let stopped = ada.orchestrator(&["daemon", "stop", "--agents"]);
    assert_eq!(stopped.code, 0, "{stopped}");
    assert_eq!(ada.unit("SubState"), "dead");
    assert!(ada.machine.hosts().is_empty());
}

#[test]
fn a_run_outlives_a_restart_where_no_scope_can_be_had() {
    if !under_systemd(As::Ada) {
        return;
    }
    let ada = Ada::new("");
    let broken = ada.machine.path("work/systemd-run");
    std::fs::write(&broken, "#!/bin/sh\nexit 1\n").unwrap();
    let mut chmod = Command::new("chmod");
    Ran::of(chmod.arg("+x").arg(&broken)).ok();
    let path = format!("{}:/usr/bin:/bin", ada.machine.path("work").display());
    let init = Ran::of(ada.command(&["init", "--yes"]).env("PATH", path));
    assert_eq!(init.code, 0, "{init}");
    let project = ada.project();
    let id = project.task("the work");
    until("the agent works", || ada.started() == 1);
    let hosts = ada.machine.hosts();
    let group = group_of(hosts[0]);
    assert!(group.contains(&format!("/{UNIT}")), "{group}");
    assert!(ada.machine.log().contains("gets no scope of its own"));
    for _ in 0..2 {
        let old = ada.pid();
        let restarted = ada.systemctl(&["restart", UNIT]);
        assert_eq!(restarted.code, 0, "{restarted}");
        ada.until_another(old);
        assert_eq!(ada.machine.hosts(), hosts);
    }
    std::fs::write(ada.machine.path("work/go"), "").unwrap();
    ada.machine.ccm(&["task", "wait", &id]).ok();
    assert_eq!(ada.started(), 1);
}

#[test]
fn a_daemon_that_hangs_is_replaced() {
    if !under_systemd(As::Ada) {
        return;
    }
    let ada = Ada::new("RestartSec=1\nWatchdogSec=2");
    ada.orchestrator(&["init", "--yes"]).ok();
    let id = ada.project().task("the work");
    until("the agent works", || ada.started() == 1);
    let (old, hosts) = (ada.pid(), ada.machine.hosts());
    signal(old, Signal::SIGSTOP);
    ada.until_another(old);
    assert_eq!(ada.unit("NRestarts"), "1");
    assert_eq!(ada.machine.hosts(), hosts);
    std::fs::write(ada.machine.path("work/go"), "").unwrap();
    ada.machine.ccm(&["task", "wait", &id]).ok();
    // One that only has nothing to do is left alone: longer than the watchdog waits.
    let pid = ada.pid();
    let begun = std::time::Instant::now();
    until("some watches go by", || begun.elapsed().as_secs() >= 5);
    assert_eq!((ada.pid(), ada.unit("NRestarts")), (pid, "1".to_owned()));
}

#[test]
fn what_starting_again_does_not_mend_is_not_tried_again() {
    if !under_systemd(As::Ada) {
        return;
    }
    let ada = Ada::new("RestartSec=1");
    ada.orchestrator(&["init", "--yes"]).ok();
    let config = ada.machine.path("ccm/config.yaml");
    let good = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        good.replace("max_concurrent: 10", "max_concurrent: ten"),
    )
    .unwrap();
    ada.systemctl(&["restart", UNIT]);
    until("the unit fails", || ada.unit("SubState") == "failed");
    assert_eq!(
        (ada.unit("NRestarts"), ada.unit("ExecMainStatus")),
        ("0".into(), "2".into())
    );
    let said = ada.orchestrator(&["daemon", "status"]);
    assert!(said.stderr.contains("max_concurrent"), "{said}");
    let said = ada.orchestrator(&["daemon", "start"]);
    assert!(
        said.code != 0 && said.stderr.contains("max_concurrent"),
        "{said}"
    );
    std::fs::write(&config, &good).unwrap();
    ada.orchestrator(&["daemon", "start"]).ok();

    // A daemon that somebody started by hand keeps the home, until it is handed over.
    ada.orchestrator(&["daemon", "stop"]).ok();
    let by_hand = ada.machine.daemon();
    ada.systemctl(&["start", UNIT]);
    until("the unit fails", || ada.unit("SubState") == "failed");
    assert_eq!(
        (ada.unit("NRestarts"), ada.unit("ExecMainStatus")),
        ("0".into(), "5".into())
    );
    let status = ada.orchestrator(&["daemon", "status"]).ok();
    assert!(status.contains("started by hand"), "{status}");
    assert_eq!(ada.pid(), by_hand.pid());
    let restarted = ada.orchestrator(&["daemon", "restart"]);
    assert!(restarted.stderr.contains("user unit"), "{restarted}");
    assert_eq!(ada.unit("MainPID"), ada.pid().to_string());
    drop(by_hand);
}

#[test]
fn a_port_that_is_taken_is_waited_for() {
    if !under_systemd(As::Ada) {
        return;
    }
    let ada = Ada::new("RestartSec=1");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    ada.machine.set("web_ui.port", &port);
    let said = ada.orchestrator(&["init", "--yes"]);
    assert_eq!(said.code, 1, "{said}");
    assert!(
        said.stderr
            .contains(&format!("port {port} of 127.0.0.1 is taken")),
        "{said}"
    );
    assert!(
        said.stderr
            .contains("journalctl --user -u ccm-orchestrator"),
        "{said}"
    );
    drop(taken);
    until("the daemon has its port", || ada.machine.is_ready());
    // Asked to stop, it is not tried again either.
    ada.orchestrator(&["daemon", "stop"]).ok();
    assert_eq!(ada.unit("SubState"), "dead");
}

#[test]
fn what_somebody_else_wrote_is_told_and_left() {
    if !under_systemd(As::Ada) {
        return;
    }
    let ada = Ada::new("");
    let unit_file = Ada::unit_file();
    let text = "[Service]\nExecStart=/bin/true\n";
    std::fs::write(&unit_file, text).unwrap();
    let said = ada.orchestrator(&["init", "--yes"]);
    assert_eq!(said.code, 0, "{said}");
    assert!(
        said.stderr.contains("was not written by ccm-orchestrator"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(&unit_file).unwrap(), text);
    let status = ada.orchestrator(&["daemon", "status"]).ok();
    assert!(
        status.contains("service:   none; a background process"),
        "{status}"
    );
    ada.orchestrator(&["uninstall", "--yes"]).ok();
    assert_eq!(std::fs::read_to_string(&unit_file).unwrap(), text);
    assert!(ada.machine.info().is_none());

    // A service that is installed while a daemon runs takes it over when it is told to.
    std::fs::remove_file(&unit_file).unwrap();
    let by_hand = ada.machine.daemon();
    let said = ada.orchestrator(&["init", "--yes"]);
    assert!(
        said.stderr
            .contains("`ccm-orchestrator daemon restart` hands it over"),
        "{said}"
    );
    ada.orchestrator(&["daemon", "restart"]).ok();
    assert_eq!(ada.unit("MainPID"), ada.pid().to_string());
    drop(by_hand);
    ada.orchestrator(&["uninstall", "--yes"]).ok();

    // A manager of another home folder would not find it.
    let elsewhere = Ran::of(
        ada.command(&["init", "--yes", "--no-start"])
            .env("HOME", "/tmp"),
    );
    assert!(
        elsewhere.stderr.contains("No service was installed"),
        "{elsewhere}"
    );
    let other = Ran::of(&mut ada.command(&["init", "--yes", "--user", "root"]));
    assert_eq!(other.code, 2, "{other}");
    assert!(
        !std::path::Path::new(HOME)
            .join(".config/systemd/user")
            .join(UNIT)
            .exists()
    );
}
