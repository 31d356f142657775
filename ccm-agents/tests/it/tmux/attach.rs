//! Views: a person's own look at an agent, and how it ends.

use std::process::{Child, Command, Stdio};

use ccm_core::runtime::AgentRuntime;
use ccm_core::{ErrorKind, Noun};

use super::Desk;
use crate::bench::until;

/// A terminal with a program in it.
struct Terminal {
    child: Child,
}

impl Terminal {
    fn run(argv: &[String]) -> Self {
        let words: Vec<String> = argv
            .iter()
            .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
            .collect();
        let child = Command::new("script")
            .args(["-q", "-e", "-c", &words.join(" "), "/dev/null"])
            .env("TERM", "xterm-256color")
            .env_remove("TMUX")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child }
    }

    fn type_in(&mut self, keys: &[u8]) {
        use std::io::Write;
        self.child.stdin.as_mut().unwrap().write_all(keys).unwrap();
    }

    /// Ends the terminal as a closed window does.
    fn close(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the one person looks: session and window.
fn looks_at(desk: &Desk) -> Option<(String, String)> {
    let listed = desk
        .server
        .try_run(&[
            "list-clients",
            "-F",
            "#{client_control_mode} #{client_session} #{window_id}",
        ])
        .unwrap_or_default();
    let mut people = listed.lines().filter_map(|line| line.strip_prefix("0 "));
    let (session, window) = people.next()?.split_once(' ')?;
    Some((session.to_owned(), window.to_owned()))
}

fn sessions(desk: &Desk) -> Vec<String> {
    let listed = desk
        .server
        .try_run(&["list-sessions", "-F", "#{session_name}"]);
    listed
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn a_view_is_ones_own_and_its_end_ends_nothing() {
    let desk = Desk::new();
    let _keep = desk.keep();
    let order = desk.working().await;
    desk.runtime
        .start_agent(&desk.place_named("other"))
        .await
        .unwrap();
    let windows = desk.server.windows();
    let attach = desk.runtime.attach_command(desk.agent).await.unwrap();
    let mut terminal = Terminal::run(&attach.argv);
    let (session, window) = until("a view", || {
        looks_at(&desk).filter(|(_, w)| *w == windows[0].0)
    })
    .await;
    assert_ne!(session, "ccm");

    // Looking elsewhere moves nobody else.
    let before = desk
        .server
        .run(&["display-message", "-p", "-t", "=ccm:", "#{window_id}"]);
    desk.server.run(&[
        "select-window",
        "-t",
        &format!("={session}:{}", windows[1].0),
    ]);
    assert_eq!(
        desk.server
            .run(&["display-message", "-p", "-t", "=ccm:", "#{window_id}"]),
        before
    );
    desk.server
        .run(&["select-window", "-t", &format!("={session}:{window}")]);

    // Ctrl-C, Ctrl-\, Ctrl-Z, Ctrl-D, Ctrl-S mean nothing to the agent.
    terminal.type_in(b"\x03\x1c\x1a\x04\x13q\r");
    let second = Terminal::run(&attach.argv);
    until("two views", || (sessions(&desk).len() == 3).then_some(())).await;
    terminal.close();
    drop(second);
    until("the views to be gone", || {
        (sessions(&desk) == ["ccm"]).then_some(())
    })
    .await;
    assert_eq!(desk.server.windows(), windows);
    assert!(desk.is_running(&order).await);
}

#[tokio::test]
async fn from_inside_one_switches_over() {
    let desk = Desk::new();
    desk.runtime.start_agent(&desk.place()).await.unwrap();
    let other = desk.place_named("other");
    desk.runtime.start_agent(&other).await.unwrap();
    let windows = desk.server.windows();
    let there = desk.runtime.attach_command(desk.agent).await.unwrap();
    let _terminal = Terminal::run(&there.argv);
    let (first, _) = until("a view", || {
        looks_at(&desk).filter(|(_, w)| *w == windows[0].0)
    })
    .await;

    let inside = desk
        .runtime
        .attach_command(other.id)
        .await
        .unwrap()
        .inside
        .unwrap();
    assert_eq!(
        desk.server
            .run(&["display-message", "-p", "#{socket_path}"]),
        inside.socket
    );
    // A person's shell in that view runs it.
    let shell = ["new-window", "-d", "-t", &format!("={first}:"), "--"];
    let argv: Vec<&str> = shell
        .into_iter()
        .chain(inside.argv.iter().map(|word| match word.as_str() {
            // The words pass another tmux on their way.
            ";" => "\\;",
            word => word,
        }))
        .collect();
    desk.server.run(&argv);
    let (second, _) = until("the other view", || {
        looks_at(&desk).filter(|(_, w)| *w == windows[1].0)
    })
    .await;
    assert!(
        second != first && second.starts_with("ccm-view-"),
        "{second}"
    );
    until("the first view to be gone", || {
        (sessions(&desk) == ["ccm", &second]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_is_unknown_has_no_view() {
    let desk = Desk::new();
    let refused = desk.runtime.attach_command(desk.agent).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound(Noun::Agent));
}

#[tokio::test]
async fn who_looks_at_an_agent_is_seen() {
    let desk = Desk::new();
    desk.runtime.start_agent(&desk.place()).await.unwrap();
    let other = desk.place_named("other");
    desk.runtime.start_agent(&other).await.unwrap();
    let watched = async || -> Vec<_> {
        let agents = desk.runtime.agents().await.unwrap();
        let watched = agents.into_iter().filter(|facts| facts.watched);
        watched.map(|facts| facts.id).collect()
    };
    // The daemon's own connection is nobody.
    assert_eq!(watched().await, []);
    let attach = desk.runtime.attach_command(other.id).await.unwrap();
    let mut terminal = Terminal::run(&attach.argv);
    let windows = desk.server.windows();
    until("a view", || {
        looks_at(&desk).filter(|(_, w)| *w == windows[1].0)
    })
    .await;
    assert_eq!(watched().await, [other.id]);
    terminal.close();
    until("the view to be gone", || {
        looks_at(&desk).is_none().then_some(())
    })
    .await;
    assert_eq!(watched().await, []);
    // A pane of one's own beside the agent's is a person's as well.
    desk.server
        .run(&["split-window", "-d", "-t", &windows[0].0, "sleep 1000"]);
    assert_eq!(watched().await, [desk.agent]);
}
