//! Two machines of one account, with real daemons and a stand-in for a Supabase project on a real PostgreSQL: what is
//! written at the command line of one runs on the other.

mod killed;

use supabase_double::Supabase;
use tokio::runtime::Runtime;

use crate::support::{Machine, Ran, until};

const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "correct horse";

/// A Supabase project with one user.
struct Place {
    runtime: Runtime,
    server: Supabase,
}

impl Place {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let server = runtime.block_on(async {
            let server = Supabase::start().await;
            server.create_user(EMAIL, PASSWORD).await;
            server
        });
        Self { runtime, server }
    }

    /// A machine called `hostname`. Its daemon is to be connected once it runs.
    fn machine(hostname: &str) -> Machine {
        let machine = Machine::new();
        machine.set("system.hostname", hostname);
        machine.set("sync.interval_seconds", "1");
        machine
    }

    fn connect(&self, machine: &Machine) -> Ran {
        let url = self.runtime.block_on(async { self.server.url() });
        let args = [
            "supabase",
            "connect",
            "--supabase-url",
            &url,
            "--supabase-key",
            self.server.anon_key(),
            "--email",
            EMAIL,
            "--password-stdin",
        ];
        machine.ccm_with(&args, format!("{PASSWORD}\n").as_bytes())
    }
}

/// A folder that is a copy of a repository.
fn repository(folder: &std::path::Path, url: &str) {
    std::fs::create_dir_all(folder.join(".git")).unwrap();
    let config = format!("[remote \"origin\"]\n\turl = {url}\n");
    std::fs::write(folder.join(".git/config"), config).unwrap();
}

fn shows(machine: &Machine, task: &str, what: &str) {
    until(&format!("the task shows {what:?}"), || {
        let shown = machine.ccm(&["task", "show", task]);
        shown.code == 0 && String::from_utf8_lossy(&shown.stdout).contains(what)
    });
}

#[test]
fn a_task_for_a_project_of_another_machine_runs_there_and_comes_back() {
    let place = Place::new();
    let (laptop, server) = (Place::machine("laptop"), Place::machine("server"));
    let (_laptop, _server) = (laptop.daemon(), server.daemon());
    place.connect(&laptop).ok();
    place.connect(&server).ok();
    let shop = server.project("shop", &["sh", "-c", "cat; echo; echo done"]);

    until("the laptop hears of the project", || {
        laptop.ccm(&["project", "show", "shop@server"]).code == 0
    });
    assert_eq!(laptop.ccm(&["project", "list"]).ok(), "");
    let folder = shop.folder.display().to_string();
    let listed = laptop.ccm(&["project", "list", "--all"]).ok();
    assert_eq!(listed, format!("- shop (server:{folder})"));
    let machines = laptop.ccm(&["machines"]).ok();
    assert!(
        machines.contains("server") && machines.contains("this machine"),
        "{machines}"
    );
    laptop
        .ccm(&["task", "create", "--project", "shop@sever", "x"])
        .fails(4);
    laptop
        .ccm(&["task", "create", "--project", "shpo@server", "x"])
        .fails(4);
    laptop.ccm(&["project", "pause", "shop@server"]).fails(5);

    // It asks first, and the person says so on the server.
    let task = laptop
        .ccm(&["task", "create", "--project", "shop@server", "say hello"])
        .ok();
    shows(&server, &task, "remote_unapproved");
    shows(&laptop, &task, "waits for somebody to let it run on server");
    laptop.ccm(&["task", "approve", &task]).fails(5);
    server.ccm(&["task", "approve", &task]).ok();
    assert_eq!(
        laptop.ccm(&["task", "wait", &task]).ok(),
        format!("{task} succeeded")
    );
    let shown = laptop.ccm(&["task", "show", &task]).ok();
    assert!(shown.contains("runs on:    server (heard of "), "{shown}");
    assert!(shown.contains("say hello"), "{shown}");
    let came = server.ccm(&["task", "show", &task]).ok();
    assert!(came.contains("came from:  laptop"), "{came}");
    let logs = laptop.ccm(&["task", "logs", "-f", &task]).ok();
    assert_eq!(logs, "say hello\ndone");
    laptop.ccm(&["task", "logs", "--raw", &task]).fails(5);
    let listed = laptop.ccm(&["task", "list"]).ok();
    assert!(listed.contains("shop@server"), "{listed}");
    // Its end is enough to name it, also from afar.
    let short = &task[task.len() - 12..];
    laptop.ccm(&["task", "show", short]).ok();
}

#[test]
fn a_task_is_called_off_and_done_again_from_the_other_machine() {
    let place = Place::new();
    let (laptop, server) = (Place::machine("laptop"), Place::machine("server"));
    let (_laptop, _server) = (laptop.daemon(), server.daemon());
    place.connect(&laptop).ok();
    place.connect(&server).ok();
    let shop = server.project("shop", &["sh", "-c", "cat; sleep 600"]);
    shop.set("remote_tasks", "allow");
    until("the laptop hears of the project", || {
        laptop.ccm(&["project", "show", "shop"]).code == 0
    });
    let task = laptop
        .ccm(&["task", "create", "--project", "shop", "sleep well"])
        .ok();
    shows(&laptop, &task, "running");
    laptop.ccm(&["task", "cancel", &task]).ok();
    laptop
        .ccm(&["task", "wait", "--timeout", "30s", &task])
        .fails(1);
    shows(&server, &task, "cancelled");
    laptop.ccm(&["task", "retry", &task]).ok();
    shows(&laptop, &task, "running");
    server.ccm(&["task", "cancel", &task]).ok();
    shows(&laptop, &task, "cancelled by");

    // A project that takes none says so.
    shop.set("remote_tasks", "deny");
    let refused = laptop
        .ccm(&["task", "create", "--project", "shop", "once more"])
        .ok();
    laptop
        .ccm(&["task", "wait", "--timeout", "30s", &refused])
        .fails(1);
    shows(&laptop, &refused, "remote_denied");
}

#[test]
fn a_task_for_any_machine_runs_where_the_repository_is() {
    let place = Place::new();
    let (laptop, server) = (Place::machine("laptop"), Place::machine("server"));
    let (_laptop, _server) = (laptop.daemon(), server.daemon());
    place.connect(&laptop).ok();
    place.connect(&server).ok();
    repository(&server.folder("shop"), "git@example.com:me/shop.git");
    repository(&laptop.folder("shop"), "https://token@example.com/me/shop");
    let there = server.project("shop", &["sh", "-c", "cat"]);
    there.set("remote_tasks", "allow");
    let here = laptop.project("shop", &["sh", "-c", "cat"]);
    laptop.ccm_in(&here.folder, &["project", "pause"]).ok();
    let task = laptop
        .ccm_in(
            &here.folder,
            &["task", "create", "--any-machine", "say hello"],
        )
        .ok();
    laptop
        .ccm(&["task", "wait", "--timeout", "30s", &task])
        .ok();
    shows(&laptop, &task, "runs on:    server");
    // What git keeps is told without the password in it.
    let body = laptop.ccm(&["task", "show", &task, "--json"]).ok();
    assert!(!body.contains("token@"), "{body}");
}
