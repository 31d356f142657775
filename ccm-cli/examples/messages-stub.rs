//! A stub of Anthropic's Messages API to try things with: it answers what the prompt says.
//!
//! `cargo run -p ccm-cli --example messages-stub -- --help`

#[path = "../tests/stub/mod.rs"]
mod stub;

use std::io::Write;
use std::process::ExitCode;

use stub::{DIRECTIVES, Request, Stub};

const HELP: &str = "\
Usage: messages-stub [--port PORT]

  --port PORT  listen there on 127.0.0.1; 0, the default, lets the system choose
  --help       print this
";

/// Claude Code takes any key that begins like one, if `.claude.json` approves of its last 20 characters.
const KEY: &str = "sk-ant-dummy-00000000000000000000";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let port = match arguments[..] {
        [] => Some(0),
        ["--port", port] => port.parse().ok(),
        ["--help" | "-h"] => {
            print!("{HELP}\n{DIRECTIVES}");
            return ExitCode::SUCCESS;
        }
        _ => None,
    };
    let Some(port) = port else {
        eprint!("{HELP}");
        return ExitCode::from(2);
    };
    serve(port)
}

fn serve(port: u16) -> ExitCode {
    let stub = Stub::at(port);
    println!("# {}", stub.url());
    println!("export ANTHROPIC_BASE_URL={}", stub.url());
    println!("export ANTHROPIC_API_KEY={KEY}");
    for name in [
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "DISABLE_AUTOUPDATER",
        "DISABLE_TELEMETRY",
        "DISABLE_ERROR_REPORTING",
    ] {
        println!("export {name}=1");
    }
    println!("# try: claude -p --model sonnet '@say It works.'");
    let mut seen = 0;
    // Until nobody reads what came.
    while std::io::stdout().flush().is_ok() {
        for request in stub.beyond(seen) {
            seen += 1;
            println!("# {seen} {}", line(&request));
        }
    }
    ExitCode::SUCCESS
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
