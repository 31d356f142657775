//! Another page in a browser that is signed in, and what it gets. What the web page itself does is tested in
//! `ccm-cli/tests/web`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::support::{Machine, Ran, block_on};

/// Opens `url` in a browser whose profile is kept under `profile`, and tells what it looks like then.
fn look(machine: &Machine, profile: &str, url: &str, settled: Settled) -> String {
    let program = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok())
        .expect("`scripts/tools chromium` installs the browser of the tests");
    let mut command = Command::new(program);
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--dump-dom",
        ])
        .arg(format!(
            "--user-data-dir={}",
            machine.path(profile).display()
        ))
        .env("HOME", machine.path("home"))
        .env("TMPDIR", machine.path("tmp"))
        .stdin(Stdio::null());
    if settled == Settled::Everything {
        command.arg("--virtual-time-budget=10000");
    }
    let seen = Ran::of(command.arg(url));
    assert_eq!(seen.code, 0, "{seen}");
    String::from_utf8_lossy(&seen.stdout).into_owned()
}

/// How long a browser looks at a page.
#[derive(PartialEq)]
enum Settled {
    /// Until it is loaded. The page of the daemon listens to events for as long as it is there.
    Loaded,
    /// Until nothing is to come any more.
    Everything,
}

/// Where a code signs a browser in.
fn code(machine: &Machine) -> String {
    machine.ccm(&["ui", "--no-open"]).ok().trim().to_owned()
}

/// A daemon with a web page, and a project.
fn machine() -> Machine {
    let machine = Machine::new();
    machine.set("profile", "full");
    machine
}

/// How many browsers are signed in.
fn sessions(machine: &Machine) -> usize {
    let address = machine.info().unwrap().address;
    let token = machine.home().token().unwrap();
    let listed = Ran::of(
        Command::new("curl")
            .args(["--silent", "--noproxy", "*", "--header"])
            .arg(format!("Authorization: Bearer {}", token.reveal()))
            .arg(format!("http://{address}/api/v1/sessions")),
    );
    listed.json()["items"].as_array().unwrap().len()
}

/// A site of somebody else's: it serves one page and keeps the heads of the requests that it gets.
struct Site {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Site {
    fn serve(page: impl Fn(u16) -> String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (page, kept) = (page(port), Arc::clone(&heads));
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (page, kept) = (page.clone(), Arc::clone(&kept));
                std::thread::spawn(move || answer(stream, &page, &kept));
            }
        });
        Self { port, heads }
    }

    /// The cookies of the daemon that browsers sent here.
    fn cookies(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        let lines = heads.iter().flat_map(|head| head.lines());
        let cookies = lines.filter_map(|line| line.strip_prefix("Cookie: "));
        let pairs = cookies.flat_map(|all| all.split("; "));
        pairs
            .filter(|pair| pair.starts_with("ccm_session_"))
            .map(str::to_owned)
            .collect()
    }
}

fn answer(stream: TcpStream, page: &str, heads: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while reader.read_line(&mut head)? > 2 {}
    heads.lock().unwrap().push(head);
    let mut stream = reader.into_inner();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    )?;
    stream.flush()?;
    // Until the browser has read it.
    let _ = stream.read(&mut [0; 1]);
    Ok(())
}

/// Everything that a page can do without asking, but for a WebSocket and a frame, for which this way of running a browser
/// does not wait; these are among the attacks of ccm-daemon's tests. What it got is written into the page.
const ATTACK: &str = r#"<!doctype html><title>attack</title><pre id="got"></pre>
<iframe name="inner"></iframe>
<form id="form" method="post" enctype="text/plain" target="inner" action="DAEMON/api/v1/tasks">
  <input name='{"project_id":"PROJECT","text":"owned","title":"' value='form"}'></form>
<script>
const got = (line) => { document.getElementById("got").textContent += line + "\n"; };
const body = JSON.stringify({ project_id: "PROJECT", text: "owned" });
const tries = {
  read: () => fetch("DAEMON/api/v1/status", { credentials: "include" }),
  blind: () => fetch("DAEMON/api/v1/tasks", { method: "POST", mode: "no-cors", credentials: "include", body }),
  json: () => fetch("DAEMON/api/v1/tasks", { method: "POST", credentials: "include", body,
    headers: { "Content-Type": "application/json", "X-CCM-CSRF": "0" } }),
  stop: () => fetch("DAEMON/api/v1/shutdown", { method: "POST", mode: "no-cors", credentials: "include", body: "{}" }),
  open: () => fetch("DAEMON/health"),
};
(async () => {
  document.getElementById("form").submit();
  for (const [name, attempt] of Object.entries(tries)) {
    try { const answer = await attempt(); got(`${name}: ${answer.type ?? "done"} ${answer.status ?? ""}`); }
    catch (error) { got(`${name}: refused`); }
  }
  got("over");
})();
</script>"#;

#[test]
fn a_page_of_another_site_gets_nothing_out_of_a_signed_in_browser() {
    if cfg!(not(feature = "web-ui")) {
        return;
    }
    let machine = machine();
    let _daemon = machine.daemon();
    let project = machine.project("shop", &["cat"]);
    project.ccm(&["project", "pause"]).ok();
    let url = code(&machine);
    let page = url.split_once("/sign-in").unwrap().0.to_owned();
    look(&machine, "one", &url, Settled::Loaded);
    assert_eq!(sessions(&machine), 1, "the browser is signed in");
    let (id, agent) = block_on(async {
        let agents = machine.client().agents(None).all().await.unwrap();
        (agents[0].project_id, agents[0].id)
    });
    let site = Site::serve(|_| {
        ATTACK
            .replace("DAEMON", &page)
            .replace("PROJECT", &id.to_string())
            .replace("AGENT", &agent.to_string())
    });
    // Another site, and a worse one: another port of the very same host, to which browsers send the cookie.
    for host in ["127.0.0.1", "localhost"] {
        let seen = look(
            &machine,
            "one",
            &format!("http://{host}:{}/", site.port),
            Settled::Everything,
        );
        assert!(seen.contains("over\n"), "{seen}");
        for line in ["read: refused", "json: refused", "open: refused"] {
            assert!(seen.contains(line), "{line} from {host}: {seen}");
        }
    }
    assert!(machine.is_ready(), "it was not stopped");
    let tasks = machine.ccm(&["task", "list", "--json"]).json();
    assert_eq!(tasks.as_array().map(Vec::len), Some(0), "{tasks}");
    assert_eq!(sessions(&machine), 1, "nor signed out");

    // What the other port was sent opens nothing without what the page keeps.
    let cookies = site.cookies();
    assert!(!cookies.is_empty(), "browsers know no ports for cookies");
    let asked = Ran::of(
        Command::new("curl")
            .args([
                "--silent",
                "--noproxy",
                "*",
                "--write-out",
                "%{http_code}",
                "--output",
                "/dev/null",
            ])
            .args(["--header", &format!("Cookie: {}", cookies[0])])
            .arg(format!("{page}/api/v1/status")),
    );
    assert_eq!(asked.ok(), "401");
}
