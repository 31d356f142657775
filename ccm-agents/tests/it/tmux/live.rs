//! Panes as they live, seen by viewers that are not tmux's own.

use std::sync::Arc;

use ccm_agents::TmuxConfig;
use ccm_agents::tmux::{Frame, Screen, Terminal, TerminalEnd};
use ccm_core::id::AgentId;
use ccm_core::runtime::AgentRuntime;
use ccm_core::{ErrorKind, Noun};

use super::{Desk, Server};
use crate::bench::{PATIENCE, until};

/// An agent whose pane runs `script` instead of the view, which would filter what it shows a first time.
async fn pane_with(script: &str) -> Desk {
    let desk = Desk::new();
    desk.runtime.start_agent(&desk.place()).await.unwrap();
    respawn(&desk, script);
    desk
}

fn respawn(desk: &Desk, script: &str) {
    desk.server
        .run(&["respawn-pane", "-k", "-t", &pane(desk), script]);
}

fn pane(desk: &Desk) -> String {
    let windows = desk.server.windows();
    desk.server
        .run(&["list-panes", "-t", &windows[0].0, "-F", "#{pane_id}"])
}

/// What tmux itself says that the pane shows.
fn captured(desk: &Desk) -> String {
    desk.server.run(&["capture-pane", "-p", "-t", &pane(desk)])
}

async fn shows(desk: &Desk, words: &str) {
    until("the pane to show it", || {
        captured(desk).contains(words).then_some(())
    })
    .await;
}

/// A viewer, with somebody else's terminal that is written to.
struct Viewer {
    terminal: Terminal,
    screen: vt100::Parser,
    /// Everything that was written to it since its last screen.
    written: String,
    screens: usize,
}

impl Viewer {
    async fn open(desk: &Desk) -> Self {
        let mut viewer = Self {
            terminal: desk.runtime.terminal(desk.agent).await.unwrap(),
            screen: vt100::Parser::default(),
            written: String::new(),
            screens: 0,
        };
        viewer.step().await.unwrap();
        assert_eq!(viewer.screens, 1, "a screen comes first");
        viewer
    }

    async fn step(&mut self) -> Result<(), TerminalEnd> {
        let frame = tokio::time::timeout(PATIENCE, self.terminal.next());
        match frame.await.expect("something to see")? {
            Frame::Screen(screen) => self.begin(&screen),
            Frame::Output(text) => self.write(&text),
        }
        Ok(())
    }

    fn begin(&mut self, screen: &Arc<Screen>) {
        self.screens += 1;
        self.written.clear();
        self.screen
            .screen_mut()
            .set_size(size(screen.rows), size(screen.columns));
        self.write(&screen.content);
        let cursor = self.screen.screen().cursor_position();
        assert_eq!(cursor, (screen.cursor.row, screen.cursor.column));
        assert_eq!(self.screen.screen().hide_cursor(), !screen.cursor.visible);
        assert_eq!(self.screen.screen().alternate_screen(), screen.alternate);
    }

    fn write(&mut self, text: &str) {
        self.screen.process(text.as_bytes());
        self.written.push_str(text);
    }

    fn text(&self) -> String {
        let rows = self.screen.screen().rows(0, u16::MAX);
        let rows: Vec<String> = rows.map(|row| row.trim_end().to_owned()).collect();
        rows.join("\n").trim_end().to_owned()
    }

    async fn until(&mut self, words: &str) {
        while !self.text().contains(words) {
            self.step().await.unwrap();
        }
    }

    async fn end(mut self) -> TerminalEnd {
        loop {
            if let Err(end) = self.step().await {
                return end;
            }
        }
    }
}

fn size(number: u16) -> std::num::NonZero<u16> {
    number.try_into().unwrap()
}

/// The clients in control mode that the server has.
fn control_clients(desk: &Desk) -> usize {
    let listed = desk
        .server
        .run(&["list-clients", "-F", "#{client_control_mode}"]);
    listed.lines().filter(|line| *line == "1").count()
}

#[tokio::test]
async fn a_viewer_sees_the_screen_and_what_follows() {
    let desk = pane_with(
        "stty raw -echo; printf 'first\\r\\n  \\033[1;31mbold\\033[m\\r\\nlast'; exec cat",
    )
    .await;
    shows(&desk, "last").await;
    let mut viewer = Viewer::open(&desk).await;
    assert_eq!(viewer.text(), "first\n  bold\nlast");
    assert!(viewer.screen.screen().cell(1, 2).unwrap().bold());
    viewer
        .terminal
        .keys(b"\r\n\x1b[5;7Hhere \xc3\xa4")
        .await
        .unwrap();
    viewer.until("here ä").await;
    assert_eq!(viewer.text(), captured(&desk));
    assert_eq!(viewer.screens, 1);
    // Looking changes nothing about the window.
    let size = desk.server.run(&[
        "display-message",
        "-p",
        "-t",
        &pane(&desk),
        "#{window_width}x#{window_height}",
    ]);
    assert_eq!(size, "120x40");
}

#[tokio::test]
async fn what_is_hostile_stays_behind_and_the_rest_is_as_in_tmux() {
    let hostile: &[u8] = b"\x1b[2J\x1b[H\x1b]0;TITLE\x07\x1b]52;c;Y2xpcA==\x1b\\\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\\
        \x1b[6n\x1b[c\x1b[>c\x1b[?1000h\x1b[?2004h\x1b[21t\x1bP$qm\x1b\\\x1b_apc\x1b\\\x05\x07\r\n\
        \x1b[3;5Hmoved\x1b[1;31m red\x1b[m\x1b[4;1Hgone\x1b[2K\x1b[5;1Habc\x1b[2D\x1b[P\r\n\xe2\x82\xac \xf0\x9f\x99\x82 end";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hostile");
    std::fs::write(&file, hostile).unwrap();
    // Byte by byte. What tmux answers to the queries is read by nobody.
    let script = format!(
        "stty raw -echo; printf ready; dd bs=1 count=1 2>/dev/null; dd if='{}' bs=1 2>/dev/null; exec sleep 1000",
        file.display()
    );
    let desk = pane_with(&script).await;
    shows(&desk, "ready").await;
    let mut viewer = Viewer::open(&desk).await;
    viewer.terminal.keys(b"!").await.unwrap();
    viewer.until("end").await;
    assert_eq!(viewer.text(), captured(&desk));
    assert!(
        viewer
            .text()
            .starts_with("link\n\n    moved red\n\nac\n€ 🙂 end"),
        "{}",
        viewer.text()
    );
    for gone in [
        "TITLE", "Y2xp", "evil", "\x1b]", "\x1bP", "\x1b_", "\x07", "\x05", "1000", "2004", "21t",
        "6n",
    ] {
        assert!(
            !viewer.written.contains(gone),
            "{gone:?} in {:?}",
            viewer.written
        );
    }
    // Who comes later sees the same, from a picture.
    let later = Viewer::open(&desk).await;
    assert_eq!(later.text(), viewer.text());
}

#[tokio::test]
async fn a_sequence_that_began_before_the_viewer_came_is_whole() {
    let desk = pane_with("stty raw -echo; printf 'a\\033[3'; exec cat").await;
    shows(&desk, "a").await;
    let mut first = Viewer::open(&desk).await;
    // The second one comes to a source that runs.
    let mut second = Viewer::open(&desk).await;
    first.terminal.keys(b"1mred\x1b]0;ti").await.unwrap();
    second.until("red").await;
    let mut third = Viewer::open(&desk).await;
    first.terminal.keys(b"tle\x07!").await.unwrap();
    for viewer in [&mut first, &mut second, &mut third] {
        viewer.until("!").await;
        assert_eq!(viewer.text(), "ared!");
        let colour = viewer.screen.screen().cell(0, 4).unwrap().fgcolor();
        assert_eq!(colour, vt100::Color::Idx(1));
    }
}

#[tokio::test]
async fn an_alternate_screen_is_left_for_what_was_behind_it() {
    let desk = pane_with("stty raw -echo; printf 'shell\\r\\n'; printf '\\033[?1049h\\033[2;1Heditor\\033[?25l'; exec cat").await;
    shows(&desk, "editor").await;
    let mut viewer = Viewer::open(&desk).await;
    assert!(viewer.screen.screen().alternate_screen());
    viewer
        .terminal
        .keys(b"\x1b[?1049l\x1b[?25hback")
        .await
        .unwrap();
    viewer.until("back").await;
    assert_eq!(viewer.text(), "shell\nback");
    assert_eq!(captured(&desk), "shell\nback");
}

#[tokio::test]
async fn viewers_share_one_source_and_leave_nothing_behind() {
    let desk = pane_with("stty raw -echo; printf ready; exec cat").await;
    shows(&desk, "ready").await;
    let before = control_clients(&desk);
    let mut viewers = Vec::new();
    for _ in 0..5 {
        viewers.push(Viewer::open(&desk).await);
    }
    assert_eq!(control_clients(&desk), before + 1);
    let agents = desk.runtime.agents().await.unwrap();
    assert!(agents[0].watched, "who is looked at does not sleep");
    viewers[0].terminal.keys(b" steady").await.unwrap();
    for viewer in &mut viewers {
        viewer.until("steady").await;
    }
    viewers.truncate(1);
    viewers[0].terminal.keys(b" on").await.unwrap();
    viewers[0].until("on").await;
    assert_eq!(control_clients(&desk), before + 1);
    drop(viewers);
    until("the source to end", || {
        (control_clients(&desk) == before).then_some(())
    })
    .await;
    assert!(!desk.runtime.agents().await.unwrap()[0].watched);
    // And the next one begins anew.
    assert_eq!(Viewer::open(&desk).await.text(), captured(&desk));
}

#[tokio::test]
async fn who_does_not_keep_up_gets_a_new_screen_and_holds_nobody_up() {
    let desk = pane_with("stty raw -echo; printf ready; exec cat").await;
    shows(&desk, "ready").await;
    let mut slow = Viewer::open(&desk).await;
    let mut quick = Viewer::open(&desk).await;
    respawn(
        &desk,
        "i=0; while [ $i -lt 40 ]; do seq -s ' ' 1 20000; i=$((i+1)); done; printf '\\033[2J\\033[Hthe end'; exec cat",
    );
    quick.until("the end").await;
    slow.until("the end").await;
    assert!(slow.screens > 1, "it was given a new screen");
    assert_eq!(slow.text(), "the end");
    assert!(slow.written.len() < 1024 * 1024, "{}", slow.written.len());
}

#[tokio::test]
async fn a_resize_is_told_with_a_new_screen() {
    let desk = pane_with("stty raw -echo; printf ready; exec cat").await;
    shows(&desk, "ready").await;
    let mut viewer = Viewer::open(&desk).await;
    let window = desk.server.windows().remove(0).0;
    desk.server
        .run(&["resize-window", "-t", &window, "-x", "77", "-y", "13"]);
    while viewer.screens < 2 {
        viewer.step().await.unwrap();
    }
    assert_eq!(viewer.screen.screen().size(), (size(13), size(77)));
    assert_eq!(viewer.text(), "ready");
}

#[tokio::test]
async fn keys_and_pastes_arrive_as_they_were_sent() {
    // What comes in is shown as hexadecimal numbers.
    let desk = pane_with("stty raw -echo; printf 'ready\\033[?2004h\\r\\n'; while :; do dd bs=1 count=1 2>/dev/null | od -An -tx1 | tr -d '\\n'; done").await;
    shows(&desk, "ready").await;
    let mut viewer = Viewer::open(&desk).await;
    viewer.terminal.keys(b"a;\0\x1b\xc3\xa4'\"$").await.unwrap();
    viewer.until(" 61 3b 00 1b c3 a4 27 22 24").await;
    // Somebody scrolls, where keys would be commands.
    desk.server.run(&["copy-mode", "-t", &pane(&desk)]);
    viewer.terminal.keys(b"z:q").await.unwrap();
    viewer.until(" 7a 3a 71").await;
    viewer
        .terminal
        .paste("-x\u{1b}[201~;\r\n#{pane_id}\0")
        .await
        .unwrap();
    let text: String = b"\x1b[200~-x[201~;\r#{pane_id}\x1b[201~"
        .iter()
        .map(|byte| format!(" {byte:02x}"))
        .collect();
    let all = |viewer: &Viewer| viewer.text().replace('\n', "");
    while !all(&viewer).ends_with(&text) {
        viewer.step().await.unwrap();
    }
    assert_eq!(desk.server.run(&["list-buffers"]), "");
}

#[tokio::test]
async fn other_panes_are_neither_seen_nor_listened_to() {
    let desk = pane_with("stty raw -echo; printf ready; exec cat").await;
    shows(&desk, "ready").await;
    let mut viewer = Viewer::open(&desk).await;
    desk.server.run(&[
        "new-window",
        "-d",
        "-t",
        "=ccm:",
        "while :; do echo foreign; sleep 0.01; done",
    ]);
    viewer.terminal.keys(b"mine").await.unwrap();
    viewer.until("mine").await;
    assert_eq!(viewer.text(), "readymine");
}

#[tokio::test]
async fn the_end_of_a_window_or_of_tmux_is_told() {
    let desk = pane_with("stty raw -echo; printf ready; exec cat").await;
    shows(&desk, "ready").await;
    let viewer = Viewer::open(&desk).await;
    // So that the server lives on.
    desk.server.run(&["new-window", "-d", "-t", "=ccm:", "cat"]);
    let window = desk.server.windows().remove(0).0;
    desk.server.run(&["kill-window", "-t", &window]);
    assert_eq!(viewer.end().await, TerminalEnd::Closed);
    let none = desk.runtime.terminal(desk.agent).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::WrongState(Noun::Agent));

    // With a pane of somebody else's in the window, the agent's may go alone.
    let desk = pane_with("stty raw -echo; printf ready; exec cat").await;
    let mine = pane(&desk);
    desk.server.run(&["split-window", "-d", "-t", &mine, "cat"]);
    let viewer = Viewer::open(&desk).await;
    desk.server.run(&["kill-pane", "-t", &mine]);
    assert_eq!(viewer.end().await, TerminalEnd::Closed);

    let desk = pane_with("stty raw -echo; printf ready; exec cat").await;
    let viewer = Viewer::open(&desk).await;
    desk.server.run(&["kill-server"]);
    assert_eq!(viewer.end().await, TerminalEnd::Lost);
}

#[tokio::test]
async fn an_agent_without_a_window_has_no_terminal() {
    let desk = Desk::on(Arc::new(Server::new()), |config| TmuxConfig { ..config });
    for agent in [desk.agent, AgentId::new()] {
        let none = desk.runtime.terminal(agent).await.unwrap_err();
        assert_eq!(none.kind(), ErrorKind::WrongState(Noun::Agent));
    }
}
