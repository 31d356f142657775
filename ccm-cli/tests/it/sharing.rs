//! Machines that share an account: connecting them, what they say of it, and ending it. With real daemons, and a stand-in
//! for a Supabase project on a real PostgreSQL.

use std::os::unix::fs::PermissionsExt;

use supabase_double::Supabase;
use tokio::runtime::Runtime;

use crate::support::{Machine, Ran, until};
use crate::terminal::Terminal;

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

    fn url(&self) -> String {
        self.server.url()
    }

    fn stop(&self) {
        self.runtime.block_on(self.server.stop_server());
    }

    fn start(&self) {
        self.runtime.block_on(self.server.start_server());
    }

    fn number(&self, query: &str) -> i64 {
        self.runtime.block_on(self.server.number(query))
    }

    /// The machines that registered.
    fn machines(&self) -> i64 {
        self.number("select count(*) from public.ccm_devices")
    }

    /// `supabase connect` with everything given.
    fn connect(&self, machine: &Machine) -> Ran {
        self.connect_with(machine, PASSWORD, &[])
    }

    fn connect_with(&self, machine: &Machine, password: &str, more: &[&str]) -> Ran {
        let url = self.url();
        let key = self.server.anon_key();
        let args = [
            &["supabase", "connect", "--supabase-url", &url][..],
            &["--supabase-key", key, "--email", EMAIL, "--password-stdin"],
            more,
        ];
        machine.ccm_with(&args.concat(), format!("{password}\n").as_bytes())
    }
}

fn status(machine: &Machine) -> serde_json::Value {
    let told = machine.ccm(&["supabase", "status", "--json"]);
    serde_json::from_slice(&told.stdout).unwrap_or_else(|_| panic!("{told}"))
}

fn condition(machine: &Machine) -> String {
    status(machine)["condition"].as_str().unwrap().to_owned()
}

#[test]
fn a_machine_is_connected_says_so_and_is_disconnected_again() {
    let place = Place::new();
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let told = place.connect(&machine);
    let line = told.ok();
    assert_eq!(
        line,
        format!("Connected to {} as {EMAIL}", place.url()),
        "{told}"
    );
    assert!(told.stderr.contains("Next: "), "{told}");
    assert_eq!(place.machines(), 1);

    let file = machine.path("ccm/auth.json");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for secret in [PASSWORD, EMAIL] {
        let kept = std::fs::read(&file).unwrap();
        assert!(!String::from_utf8_lossy(&kept).contains(secret));
        assert!(!machine.log().contains(secret));
    }

    machine
        .project("demo", &["sh", "-c", "cat; exit 0"])
        .task("hello");
    machine.ccm(&["sync", "now"]).ok();
    let told = machine.ccm(&["supabase", "status"]).ok();
    for words in [
        "Connected: ",
        EMAIL,
        &place.url(),
        "testbox",
        "last contact:",
        "to send:",
        "key in a file",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let state = status(&machine);
    assert_eq!(
        (&state["enabled"], &state["connected"]),
        (&true.into(), &true.into())
    );
    machine.ccm(&["sync", "status"]).ok();
    let devices = machine.ccm(&["supabase", "devices", "--json"]).json();
    assert_eq!(
        (&devices[0]["hostname"], &devices[0]["this"]),
        (&"testbox".into(), &true.into())
    );
    assert!(machine.ccm(&["daemon", "status"]).ok().contains("sync"));
    assert!(
        !machine
            .ccm(&["doctor", "--json"])
            .json()
            .to_string()
            .contains("\"sync\",\"level\"")
    );

    // A second time signs in anew.
    place.connect(&machine).ok();
    assert_eq!(place.machines(), 1);
    machine.ccm(&["sync", "now"]).ok();

    let sessions = || place.number("select count(*) from auth.sessions");
    let before = sessions();
    machine.ccm(&["supabase", "disconnect"]).fails(2);
    assert_eq!(
        machine.ccm(&["supabase", "disconnect", "--yes"]).ok(),
        "Disconnected"
    );
    assert!(!file.exists());
    assert_eq!(condition(&machine), "off");
    machine.ccm(&["sync", "now"]).fails(5);
    assert!(machine.ccm(&["task", "list"]).ok().contains("hello"));
    assert_eq!(sessions(), before - 1, "signed out there, too");

    place.connect(&machine).ok();
    machine.ccm(&["sync", "now"]).ok();
    assert_eq!(condition(&machine), "ready");
}

#[test]
fn without_a_daemon_a_machine_is_registered_all_the_same() {
    let place = Place::new();
    let machine = Machine::new();
    let told = place.connect(&machine);
    told.ok();
    assert!(told.stderr.contains("daemon start"), "{told}");
    assert_eq!(place.machines(), 1);
    let told = machine.ccm(&["supabase", "status"]);
    assert_eq!(told.code, 3, "{told}");
    assert!(told.to_string().contains(EMAIL), "{told}");

    let _daemon = machine.daemon();
    machine.ccm(&["sync", "now"]).ok();
    assert_eq!(condition(&machine), "ready");
    assert_eq!(place.machines(), 1);
}

#[test]
fn who_may_not_in_is_told_and_nothing_is_changed() {
    let place = Place::new();
    let machine = Machine::new();
    let unchanged = || {
        assert!(!machine.path("ccm/auth.json").exists());
        assert_eq!(
            machine.ccm(&["config", "get", "supabase.enabled"]).ok(),
            "false"
        );
        assert_eq!(place.machines(), 0);
    };
    let told = place.connect_with(&machine, "wrong", &[]).fails(6);
    assert!(told.contains("hint: check email and password"), "{told}");
    unchanged();
    for key in place.server.secret_keys() {
        let url = place.url();
        let args = [
            "supabase",
            "connect",
            "--supabase-url",
            &url,
            "--supabase-key",
            key,
        ];
        let args = [&args[..], &["--email", EMAIL, "--password-stdin"]].concat();
        let told = machine.ccm_with(&args, b"x\n").fails(2);
        assert!(
            told.contains("publishable") && !told.contains(key),
            "{told}"
        );
        unchanged();
    }
    place.stop();
    let told = place.connect(&machine).fails(1);
    assert!(told.contains(&place.url()), "{told}");
    unchanged();
}

#[test]
fn an_account_with_a_second_factor_asks_for_its_code() {
    let place = Place::new();
    let secret = place
        .runtime
        .block_on(place.server.enrol_totp(EMAIL, PASSWORD));
    let code = || place.runtime.block_on(place.server.totp(&secret));
    let machine = Machine::new();
    let _daemon = machine.daemon();
    let told = place.connect(&machine).fails(2);
    assert!(told.contains("--otp CODE"), "{told}");
    place
        .connect_with(&machine, PASSWORD, &["--otp", "000000"])
        .fails(6);
    assert!(!machine.path("ccm/auth.json").exists());
    place
        .connect_with(&machine, PASSWORD, &["--otp", &code()])
        .ok();
    machine.ccm(&["sync", "now"]).ok();

    // At a terminal, with what the config knows already, and each mistake asked for again.
    let mut terminal = Terminal::new(machine.command("ccm", &["supabase", "connect"]));
    terminal.answer("Email?", "ada@example.com\r");
    terminal.answer("Password?", "wrong\r");
    // What is typed before it is asked for can be seen.
    terminal.answer("is wrong.", "");
    terminal.answer("Password?", "correct horse\r");
    terminal.answer("2FA code?", "12\r");
    terminal.answer("six digits", "");
    terminal.answer("2FA code?", "000000\r");
    terminal.answer("wrong or too old", "");
    terminal.answer("2FA code?", &format!("{}\r", code()));
    terminal.answer("Connected to", "");
    let (ended, screen) = terminal.end();
    assert_eq!(ended, 0, "{screen}");
    assert!(
        !screen.contains("Supabase URL?") && !screen.contains(PASSWORD),
        "{screen}"
    );
}

#[test]
fn a_project_without_the_migration_is_told_how_it_gets_it() {
    let place = Place::new();
    place.runtime.block_on(place.server.sql(
        "do $$ declare f regprocedure; begin \
         for f in select oid::regprocedure from pg_proc where proname like 'ccm\\_%' and pronamespace = 'public'::regnamespace \
         loop execute format('drop function %s cascade', f); end loop; end $$; notify pgrst, 'reload schema'",
    ));
    let machine = Machine::new();
    let told = place.connect(&machine);
    assert_eq!(told.code, 5, "{told}");
    assert!(told.stderr.contains("ccm supabase migrations"), "{told}");
    // So that it goes on by itself once it is there.
    assert_eq!(
        machine.ccm(&["config", "get", "supabase.enabled"]).ok(),
        "true"
    );
    let found = machine.ccm(&["doctor"]).to_string();
    assert!(found.contains("lacks CCM's tables"), "{found}");
    let sql = machine.ccm(&["supabase", "migrations"]).ok();
    place.runtime.block_on(place.server.sql(&sql));
    let _daemon = machine.daemon();
    until("the project is ready", || {
        machine.ccm(&["sync", "now"]).code == 0
    });
}

#[test]
fn a_machine_that_was_shut_out_says_so_and_the_others_go_on() {
    let place = Place::new();
    let (laptop, server) = (Machine::new(), Machine::new());
    server.set("system.hostname", "server");
    let (_one, _other) = (laptop.daemon(), server.daemon());
    place.connect(&laptop).ok();
    place.connect(&server).ok();
    let told = laptop
        .ccm(&["supabase", "revoke", "testbox", "--yes"])
        .fails(5);
    assert!(told.contains("disconnect"), "{told}");
    laptop
        .ccm(&["supabase", "revoke", "nobody", "--yes"])
        .fails(4);
    laptop.ccm(&["supabase", "revoke", "server"]).fails(2);
    assert_eq!(
        laptop.ccm(&["supabase", "revoke", "server", "--yes"]).ok(),
        "Shut out: server"
    );
    let devices = laptop.ccm(&["supabase", "devices"]).ok();
    assert!(devices.contains("revoked"), "{devices}");
    let refused = server.ccm(&["sync", "now"]);
    assert!([5, 6].contains(&refused.code), "{refused}");
    until("the machine says that it was shut out", || {
        ["revoked", "signed_out"].contains(&&*condition(&server))
    });
    let told = server.ccm(&["supabase", "status"]);
    assert!(told.code == 5 || told.code == 6, "{told}");
    assert!(told.stderr.contains("ccm supabase connect"), "{told}");
    laptop.ccm(&["sync", "now"]).ok();
}

#[test]
fn offline_is_told_as_what_it_is_and_everything_goes_on() {
    let place = Place::new();
    let machine = Machine::new();
    let _daemon = machine.daemon();
    place.connect(&machine).ok();
    place.stop();
    let project = machine.project("demo", &["sh", "-c", "cat; exit 0"]);
    let task = project.task("written offline");
    machine.ccm(&["task", "wait", &task]).ok();
    let told = machine.ccm(&["sync", "now"]);
    assert_eq!(told.code, 3, "{told}");
    let told = machine.ccm(&["supabase", "status"]);
    assert_eq!(told.code, 1, "{told}");
    let text = told.to_string();
    assert!(
        text.contains("Offline: ") && text.contains("trouble:"),
        "{told}"
    );
    assert!(!text.contains("to send:      nothing"), "{told}");
    let told = machine.ccm(&["supabase", "disconnect"]);
    assert!(told.stderr.contains("not sent yet"), "{told}");
    place.start();
    machine.ccm(&["sync", "now"]).ok();
    assert_eq!(status(&machine)["pending"], 0);
}

#[test]
fn sharing_is_switched_off_and_on_without_a_restart() {
    let place = Place::new();
    let machine = Machine::new();
    let _daemon = machine.daemon();
    place.connect(&machine).ok();
    machine.set("sync.enabled", "false");
    let told = machine.ccm(&["daemon", "reload"]).ok();
    assert!(told.contains("sync.enabled: true -> false"), "{told}");
    let told = machine.ccm(&["sync", "status"]);
    assert!(told.ok().starts_with("Off: "), "{told}");
    assert!(
        told.stderr.contains("config set sync.enabled true"),
        "{told}"
    );
    machine.set("sync.enabled", "true");
    machine.set("sync.conflict_resolution", "manual");
    machine.ccm(&["daemon", "reload"]).ok();
    machine.ccm(&["sync", "now"]).ok();
    let state = status(&machine);
    assert_eq!(
        (&state["condition"], &state["rule"]),
        (&"ready".into(), &"manual".into())
    );
}

#[test]
fn set_up_signs_in_and_registers_the_machine() {
    let place = Place::new();
    let secret = place
        .runtime
        .block_on(place.server.enrol_totp(EMAIL, PASSWORD));
    let machine = Machine::bare();
    let args = ["init", "--no-service", "--no-start"];
    let mut terminal = Terminal::new(machine.command("ccm-orchestrator", &args));
    terminal.answer("Profile? [1]", "1\r");
    terminal.answer("Enable Supabase? (y/n)", "y\r");
    terminal.answer("Supabase URL?", &format!("{}\r", place.url()));
    let key = place.server.anon_key();
    terminal.answer("Supabase publishable key?", &format!("{key}\r"));
    terminal.answer("Email?", "ada@example.com\r");
    terminal.answer("Password?", "correct horse\r");
    let code = place.runtime.block_on(place.server.totp(&secret));
    terminal.answer("2FA code?", &format!("{code}\r"));
    assert_eq!(
        place.machines(),
        0,
        "everything is asked before anything is done"
    );
    terminal.answer("System hostname? [", "laptop\r");
    terminal.answer("Connected to", "");
    terminal.answer("✓ Setup complete", "");
    let (ended, screen) = terminal.end();
    assert_eq!(ended, 0, "{screen}");
    assert!(
        !screen.contains(PASSWORD) && !screen.contains(key),
        "{screen}"
    );
    assert_eq!(place.machines(), 1);
    let get = |key: &str| machine.ccm(&["config", "get", key]).ok();
    let id = get("system.id");
    let found = format!("select count(*) from public.ccm_devices where id::text = '{id}'");
    assert_eq!(place.number(&found), 1, "{id}");
    assert_eq!(get("supabase.enabled"), "true");

    machine.set("web_ui.port", "0");
    machine.set("agents.runtime", "process");
    let _daemon = machine.daemon();
    machine.ccm(&["sync", "now"]).ok();
    let devices = machine.ccm(&["supabase", "devices", "--json"]).json();
    assert_eq!(devices[0]["hostname"], "laptop");
    // Run again it finds everything done.
    let again = machine.orchestrator(&["init", "--no-service", "--yes"]);
    assert!(again.stderr.contains("nothing was changed"), "{again}");
}

#[test]
fn leaving_set_up_after_the_sign_in_leaves_nothing_behind() {
    let place = Place::new();
    let machine = Machine::bare();
    let url = place.url();
    let sessions = || place.number("select count(*) from auth.sessions");
    let before = sessions();
    let args = [
        &["init", "--no-service", "--no-start", "--profile", "full"][..],
        &[
            "--supabase-url",
            &url,
            "--supabase-key",
            place.server.anon_key(),
        ],
        &["--email", EMAIL],
    ];
    let mut terminal = Terminal::new(machine.command("ccm-orchestrator", &args.concat()));
    terminal.answer("Password?", "correct horse\r");
    terminal.answer("System hostname? [", "\u{3}");
    let (ended, screen) = terminal.end();
    assert_eq!(ended, 130, "{screen}");
    assert!(!machine.path("ccm").exists());
    assert_eq!(sessions(), before);
}

#[test]
fn set_up_signs_in_by_options_alone() {
    let place = Place::new();
    let machine = Machine::bare();
    let url = place.url();
    let args = [
        &[
            "init",
            "--no-service",
            "--no-start",
            "--minimal",
            "--hostname",
            "box",
        ][..],
        &[
            "--supabase-url",
            &url,
            "--supabase-key",
            place.server.anon_key(),
        ],
        &["--email", EMAIL, "--password-stdin", "--json"],
    ];
    let args = args.concat();
    let run = |password: &[u8]| {
        let mut command = machine.command("ccm-orchestrator", &args);
        Ran::with_input(&mut command, password)
    };
    run(b"wrong\n").fails(6);
    assert!(!machine.path("ccm").exists());
    let report = run(b"correct horse\n").json();
    assert_eq!(report["sync"]["account"], EMAIL, "{report}");
    assert_eq!(place.machines(), 1);
}

#[test]
fn two_edits_of_one_task_are_shown_and_decided() {
    let place = Place::new();
    let (laptop, server) = (Machine::new(), Machine::new());
    server.set("system.hostname", "server");
    for machine in [&laptop, &server] {
        machine.set("sync.conflict_resolution", "manual");
    }
    let (_one, _other) = (laptop.daemon(), server.daemon());
    place.connect(&laptop).ok();
    place.connect(&server).ok();
    let demo = laptop.project("demo", &["sh", "-c", "cat; exit 0"]);
    let later = ["task", "create", "--not-before", "+9d", "one\ntwo\nthree"];
    let task = demo.ccm(&later).ok();
    let exchange = || {
        for machine in [&laptop, &server, &laptop] {
            machine.ccm(&["sync", "now"]).ok();
        }
    };
    exchange();
    // Neither knows of the other's edit.
    place.stop();
    laptop
        .ccm_with(&["task", "edit", &task, "--text", "one\n2\nthree"], b"")
        .ok();
    server
        .ccm_with(
            &[
                "task",
                "edit",
                &task,
                "--text",
                "one\ntwo\n3",
                "--priority",
                "4",
            ],
            b"",
        )
        .ok();
    place.start();
    exchange();
    server.ccm(&["sync", "now"]).ok();

    let listed = server.ccm(&["sync", "conflicts", "--json"]).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    let conflict = &listed[0];
    assert_eq!(conflict["state"], "open");
    let id = conflict["id"].as_str().unwrap();
    let end = id.rsplit('-').next().unwrap();
    let shown = server.ccm(&["sync", "conflicts", end]).ok();
    for words in [
        "text (changed by both):",
        "two",
        "3",
        "priority",
        "this machine",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let told = server
        .ccm(&["sync", "resolve", end, "--keep", "merge"])
        .fails(2);
    assert!(told.contains("--field text=local|remote"), "{told}");
    server
        .ccm(&[
            "sync",
            "resolve",
            end,
            "--keep",
            "merge",
            "--field",
            "title=local",
        ])
        .fails(2);
    let resolve = [
        "sync",
        "resolve",
        end,
        "--keep",
        "merge",
        "--field",
        "text=local",
    ];
    let resolved = server.ccm(&resolve).ok();
    assert!(resolved.contains("both count"), "{resolved}");
    server
        .ccm(&["sync", "resolve", end, "--keep", "remote"])
        .fails(5);
    exchange();
    for machine in [&laptop, &server] {
        let task = machine.ccm(&["task", "show", &task, "--json"]).json();
        assert_eq!(
            (&task["text"], &task["priority"]),
            (&"one\ntwo\n3".into(), &4.into())
        );
        let open = machine.ccm(&["sync", "conflicts", "--json"]).json();
        assert_eq!(open, serde_json::json!([]));
    }
}
