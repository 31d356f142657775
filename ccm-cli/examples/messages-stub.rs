//! A stub of Anthropic's Messages API to try things with: it answers what the prompt says.
//!
//! `cargo run -p ccm-cli --example messages-stub -- --help`

#[path = "../tests/stub/mod.rs"]
mod stub;

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use stub::{DIRECTIVES, Request, Stub};

const HELP: &str = "\
Usage: messages-stub [--port PORT] [--record FILE]

  --port PORT    listen there on 127.0.0.1; 0, the default, lets the system choose
  --record FILE  add every request to this file, as a line of JSON
  --help         print this

A line `open GATE` on standard input opens a gate.
";

/// Claude Code takes any key that begins like one, if `.claude.json` approves of its last 20 characters.
const KEY: &str = "sk-ant-dummy-00000000000000000000";

fn main() -> ExitCode {
    let mut port = 0;
    let mut record = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next();
        match &*option {
            "--help" | "-h" => {
                print!("{HELP}\n{DIRECTIVES}");
                return ExitCode::SUCCESS;
            }
            "--port" => match value().and_then(|port| port.parse().ok()) {
                Some(given) => port = given,
                None => return misused("--port needs a number up to 65535"),
            },
            "--record" => match value() {
                Some(file) => record = Some(PathBuf::from(file)),
                None => return misused("--record needs a file"),
            },
            other => return misused(&format!("there is no argument {other}")),
        }
    }
    match serve(port, record.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn misused(why: &str) -> ExitCode {
    eprint!("error: {why}\n\n{HELP}");
    ExitCode::from(2)
}

/// Serves until nobody reads what it says.
fn serve(port: u16, record: Option<&Path>) -> io::Result<()> {
    let mut record = record
        .map(|file| File::options().append(true).create(true).open(file))
        .transpose()?;
    let stub = Arc::new(Stub::at(port));
    let gates = Arc::clone(&stub);
    // Nothing ends a read of standard input but its end, so the thread ends with the process.
    std::thread::spawn(move || open_gates(&gates));
    let mut out = io::stdout();
    writeln!(out, "# {}", stub.url())?;
    writeln!(out, "export ANTHROPIC_BASE_URL={}", stub.url())?;
    writeln!(out, "export ANTHROPIC_API_KEY={KEY}")?;
    for name in [
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "DISABLE_AUTOUPDATER",
        "DISABLE_TELEMETRY",
        "DISABLE_ERROR_REPORTING",
    ] {
        writeln!(out, "export {name}=1")?;
    }
    writeln!(out, "# try: claude -p '@say It works.'")?;
    let mut seen = 0;
    loop {
        for request in stub.beyond(seen) {
            seen += 1;
            writeln!(out, "# {seen} {}", line(&request))?;
            if let Some(file) = &mut record {
                writeln!(file, "{}", serde_json::to_string(&*request)?)?;
            }
        }
    }
}

/// Opens the gates that are named on standard input.
fn open_gates(stub: &Stub) {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        match line.trim().split_once(' ') {
            Some(("open", gate)) => stub.open(gate.trim()),
            _ => eprintln!("error: {line:?} is not `open GATE`"),
        }
    }
}

/// A request in a line.
fn line(request: &Request) -> String {
    let text = request.last_user_text().unwrap_or_default();
    let text: String = text.trim().chars().take(100).collect();
    format!(
        "{} {} {} {} {text:?}",
        request.method,
        request.path,
        request.session().unwrap_or("-"),
        if request.is_turn() { "turn" } else { "aside" },
    )
}
