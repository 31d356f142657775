//! Stopping a run leaves nothing of it behind: Claude Code gives each shell tool a session of its own, and what tools
//! start can leave that too.
//!
//! Each test runs on the machine as it is, and once more for a daemon that finds no cgroups.

use ccm_core::api::TaskStateName;

use super::Claude;
use super::scene::*;
use crate::stub::Stub;
use crate::support::{Daemon, Machine, Project, until};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cgroups {
    AsTheyAre,
    None,
}

/// A daemon for which there may be no cgroups: its mounts are its own, and theirs are gone.
fn start<'a>(machine: &'a Machine, claude: &Claude<'_>, cgroups: Cgroups) -> Daemon<'a> {
    if cgroups == Cgroups::AsTheyAre || !nix::unistd::geteuid().is_root() {
        // An ordinary user outside of systemd can make none anyway.
        return daemon(machine, claude);
    }
    let hide = "umount -l $(awk '$3 == \"cgroup2\" { print $2 }' /proc/mounts); exec \"$0\"";
    let launcher = ["unshare", "--mount", "sh", "-c", hide];
    machine.daemon_under(&launcher, |command| surroundings(command, claude))
}

fn unhindered<'a>(machine: &'a Machine) -> Project<'a> {
    let project = machine.plain_project("demo");
    project.set("agent.permission_mode", "bypassPermissions");
    project.set("agent.env", "{IS_SANDBOX: '1'}");
    project
}

/// A shell tool that leaves processes everywhere, then stays itself; none of them heeds a polite signal.
fn tool(project: &Project<'_>) -> String {
    let pids = project.folder.join("pids");
    let stay = "trap \"\" INT TERM HUP; echo $$ >> PIDS; while :; do sleep 0.05; done"
        .replace("PIDS", &pids.display().to_string());
    let command = format!(
        "trap '' INT TERM HUP; (setsid sh -c '{stay}' &); nohup sh -c '{stay}' > /dev/null 2>&1 & sh -c '{stay}'"
    );
    format!("@tool Bash {}", serde_json::json!({ "command": command }))
}

fn pids(project: &Project<'_>, count: usize) -> Vec<u32> {
    let file = project.folder.join("pids");
    let mut found = Vec::new();
    until("the tool's processes run", || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        found = text.lines().filter_map(|line| line.parse().ok()).collect();
        found.len() == count
    });
    found
}

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .trim()
        .chars()
        .next();
    !matches!(state, None | Some('Z' | 'X'))
}

#[track_caller]
fn until_gone(pids: &[u32]) {
    until("the tool's processes are gone", || {
        !pids.iter().any(|pid| is_alive(*pid))
    });
}

fn a_cancel_leaves_no_tool(cgroups: Cgroups) {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = start(&machine, &claude, cgroups);
    let project = unhindered(&machine);
    let id = project.task(&format!("{}\n@say never", tool(&project)));
    let pids = pids(&project, 3);
    assert_eq!(project.ccm(&["task", "cancel", &id]).code, 0);
    // A task is over only when nothing of it is left.
    until("it is cancelled", || {
        task(&machine, &id).state == TaskStateName::Cancelled
    });
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
}

fn a_killed_host_leaves_no_tool(cgroups: Cgroups) {
    let machine = Machine::new();
    let stub = Stub::start();
    let claude = Claude::new(&machine, &stub);
    let _daemon = start(&machine, &claude, cgroups);
    let project = unhindered(&machine);
    let id = project.task(&format!("{}\n@say never", tool(&project)));
    let pids = pids(&project, 3);
    for host in machine.hosts() {
        let host = nix::unistd::Pid::from_raw(i32::try_from(host).unwrap());
        nix::sys::signal::kill(host, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    until("it is over", || {
        task(&machine, &id).state == TaskStateName::Failed
    });
    until_gone(&pids);
}

#[test]
fn a_cancel_leaves_no_shell_tool_behind() {
    a_cancel_leaves_no_tool(Cgroups::AsTheyAre);
}

#[test]
fn a_cancel_leaves_no_shell_tool_behind_without_cgroups() {
    a_cancel_leaves_no_tool(Cgroups::None);
}

#[test]
fn a_killed_host_leaves_no_shell_tool_behind() {
    a_killed_host_leaves_no_tool(Cgroups::AsTheyAre);
}

#[test]
fn a_killed_host_leaves_no_shell_tool_behind_without_cgroups() {
    a_killed_host_leaves_no_tool(Cgroups::None);
}
