//! Agents' panes over WebSocket, with the real daemon and a real tmux.

use std::time::Duration;

use ccm_core::api::{AgentStateName, TerminalMessage, TerminalScreen};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::{Daemon, Machine, PATIENCE, block_on, until};

/// A machine whose one agent's pane runs a script instead of the view, which would filter what it shows a first time.
fn pane_with(machine: &Machine, script: &str) -> String {
    machine.project("demo", &["cat"]);
    let pane = pane(machine);
    let script = format!("stty raw -echo; {script}");
    machine.tmux(&["respawn-pane", "-k", "-t", &pane, &script]);
    until("the script runs", || captured(machine).contains("ready"));
    pane
}

/// The agent's pane, once it is there and the agent is up.
fn pane(machine: &Machine) -> String {
    let mut pane = String::new();
    until("the agent has a pane", || {
        pane = machine
            .tmux(&["list-panes", "-a", "-F", "#{pane_id}"])
            .trim()
            .to_owned();
        pane.starts_with('%') && agent(machine)["state"] == AgentStateName::Idle.as_str()
    });
    pane
}

fn agent(machine: &Machine) -> serde_json::Value {
    machine.ccm(&["agent", "show", "demo", "--json"]).json()
}

fn captured(machine: &Machine) -> String {
    machine.tmux(&["capture-pane", "-p"]).trim_end().to_owned()
}

fn control_clients(machine: &Machine) -> usize {
    let listed = machine.tmux(&["list-clients", "-F", "#{client_control_mode}"]);
    listed.lines().filter(|line| *line == "1").count()
}

/// A reader with a terminal of its own.
struct Reader {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    screen: vt100::Parser,
    last: Option<TerminalScreen>,
    screens: usize,
    /// Everything that came.
    came: String,
}

impl Reader {
    async fn try_open(machine: &Machine, query: &str) -> Result<Self, Error> {
        let info = machine.info().unwrap();
        let id = agent(machine)["id"].as_str().unwrap().to_owned();
        let url = format!("ws://{}/api/v1/agents/{id}/terminal{query}", info.address);
        let mut request = url.into_client_request().unwrap();
        let token = machine.home().token().unwrap();
        for (name, value) in [
            ("authorization", format!("Bearer {}", token.reveal())),
            ("sec-websocket-protocol", "ccm.terminal.v1".to_owned()),
        ] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let (socket, answer) = connect_async(request).await?;
        assert_eq!(answer.status(), 101);
        assert_eq!(
            answer.headers()["sec-websocket-protocol"],
            "ccm.terminal.v1"
        );
        Ok(Self {
            socket,
            screen: vt100::Parser::default(),
            last: None,
            screens: 0,
            came: String::new(),
        })
    }

    async fn open(machine: &Machine, query: &str) -> Self {
        let mut reader = Self::try_open(machine, query).await.unwrap();
        reader.step().await.unwrap();
        assert_eq!(reader.screens, 1, "a screen comes first");
        reader
    }

    /// The code and the reason if it was closed.
    async fn step(&mut self) -> Result<(), (u16, String)> {
        let message = tokio::time::timeout(PATIENCE, self.socket.next()).await;
        match message.expect("something to see") {
            Some(Ok(Message::Text(text))) => {
                let message: TerminalMessage = serde_json::from_str(&text).unwrap();
                let TerminalMessage::Screen(screen) = message else {
                    panic!("{text}");
                };
                let size = |number: u16| number.try_into().unwrap();
                self.screen
                    .screen_mut()
                    .set_size(size(screen.rows), size(screen.columns));
                self.screens += 1;
                self.write(&screen.content);
                self.last = Some(screen);
            }
            Some(Ok(Message::Binary(bytes))) => self.write(std::str::from_utf8(&bytes).unwrap()),
            Some(Ok(Message::Close(Some(frame)))) => {
                return Err((frame.code.into(), frame.reason.to_string()));
            }
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
        Ok(())
    }

    fn write(&mut self, text: &str) {
        self.screen.process(text.as_bytes());
        self.came.push_str(text);
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

    async fn say(&mut self, message: impl Into<Message>) {
        self.socket.send(message.into()).await.unwrap();
    }

    async fn closed(mut self) -> (u16, String) {
        loop {
            if let Err(closed) = self.step().await {
                return closed;
            }
        }
    }
}

fn close(code: u16, reason: &str) -> (u16, String) {
    (code, reason.to_owned())
}

/// The status and the body of the answer to who is refused.
async fn refused(machine: &Machine) -> (u16, String) {
    match Reader::try_open(machine, "").await {
        Err(Error::Http(answer)) => {
            let body = answer.body().clone().unwrap_or_default();
            (answer.status().as_u16(), String::from_utf8(body).unwrap())
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was not refused"),
    }
}

const HOSTILE: &[u8] = b"\x1b[2J\x1b[H\x1b]0;TITLE\x07\x1b]2;TITLE\x1b\\\x1bkTITLE\x1b\\\x1b]52;c;Y2xpcA==\x07\x1b]52;p;?\x1b\\\
    \x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\\x1b]7;file:///evil\x07\x1b]9;evil\x07\x1b]133;A\x07\x1b]1337;Copy=:ZXZpbA==\x07\
    \x1b]4;1;?\x07\x1b]10;?\x07\x1b]777;notify;evil;evil\x07\
    \x1b[c\x1b[>c\x1b[=c\x1b[5n\x1b[6n\x1b[?1$p\x1b[>q\x1b[14t\x1b[21t\x1b[8;1;1t\x1bZ\x05\x07\
    \x1b[?9h\x1b[?1000h\x1b[?1003;1006h\x1b[?1004h\x1b[?2004h\x1b[>4;2m\x1b[>1u\x1b[5i\x1b[4i\
    \x1bP$q m\x1b\\\x1bP+q544e\x1b\\\x1bPtmux;\x1b\x1b]52;c;ZXZpbA==\x07\x1b\\\x1b_evil\x1b\\\x1b^evil\x1b\\\x1bXevil\x1b\\\r\n\
    \x1b[3;5Hmoved\x1b[1;31m red\x1b[m\x1b[4;1Hgone\x1b[2K\x1b[5;1Habc\x1b[2D\x1b[P\r\n\xe2\x82\xac \xf0\x9f\x99\x82 end";

#[test]
fn what_a_hostile_pane_prints_does_not_reach_its_reader() {
    let machine = Machine::with_tmux();
    let _daemon = machine.daemon();
    let file = machine.path("work/hostile");
    std::fs::write(&file, HOSTILE).unwrap();
    // In pieces of one, two and many bytes, when the reader says so. What tmux answers to the queries is passed over.
    let mut script = "printf ready; ".to_owned();
    for size in [1, 2, 1000] {
        script.push_str(&format!(
            "while [ \"$(dd bs=1 count=1 2>/dev/null)\" != '!' ]; do :; done; printf '\\033[2J'; dd if='{}' bs={size} 2>/dev/null; ",
            file.display()
        ));
    }
    pane_with(&machine, &format!("{script} exec sleep 1000"));
    block_on(async {
        let mut reader = Reader::open(&machine, "?input=true").await;
        for _ in 0..3 {
            reader.say(&b"!"[..]).await;
            reader.until("end").await;
            assert_eq!(reader.text(), captured(&machine));
            let expected = "link\n\n    moved red\n\nac\n€ 🙂 end";
            assert!(reader.text().ends_with(expected), "{}", reader.text());
            // So that the next end is another one.
            reader.screen.process(b"\x1b[2J");
        }
        let later = Reader::open(&machine, "").await;
        assert_eq!(later.text(), captured(&machine));
        for came in [reader.came, later.came] {
            for gone in [
                "TITLE", "evil", "Y2xp", "ZXZp", "\x1b]", "\x1bP", "\x1b_", "\x1b^", "\x1bX",
                "\x1bk", "\x07", "\x05", "\x1bZ",
            ] {
                assert!(!came.contains(gone), "{gone:?} in {came:?}");
            }
            // Every sequence that is left ends with one of these.
            for sequence in came.split("\x1b[").skip(1) {
                let last = sequence.trim_start_matches(|c: char| !('@'..='~').contains(&c));
                assert!(
                    last.starts_with(['m', 'H', 'J', 'K', 'D', 'P', 'h', 'l']),
                    "{sequence:?}"
                );
            }
        }
    });
}

#[test]
fn a_reader_types_only_if_it_asked_to() {
    let machine = Machine::with_tmux();
    let _daemon = machine.daemon();
    pane_with(&machine, "printf 'ready\\r\\n'; exec cat");
    block_on(async {
        for message in [
            Message::from(&b"typed"[..]),
            Message::from(r#"{"type":"paste","text":"typed"}"#),
        ] {
            for query in ["", "?input=false"] {
                let mut reader = Reader::open(&machine, query).await;
                assert!(!reader.last.as_ref().unwrap().input);
                reader.say(message.clone()).await;
                assert_eq!(reader.closed().await, close(1008, "input_not_allowed"));
            }
        }
        let mut reader = Reader::open(&machine, "?input=true").await;
        assert!(reader.last.as_ref().unwrap().input);
        reader.say("ü;'\"$(id)".as_bytes()).await;
        reader
            .say(r#"{"type":"paste","text":" pa\u001b[201~sted;"}"#)
            .await;
        reader.until("sted;").await;
        assert_eq!(reader.text(), "ready\nü;'\"$(id) pa[201~sted;");

        for (message, code, reason) in [
            ("{", 1007, "bad_message"),
            (r#"{"type":"resize","columns":1}"#, 1007, "bad_message"),
            (
                r#"{"type":"paste","text":"x","as":"keys"}"#,
                1007,
                "bad_message",
            ),
        ] {
            let mut reader = Reader::open(&machine, "?input=true").await;
            reader.say(message).await;
            assert_eq!(reader.closed().await, close(code, reason), "{message}");
        }
        let mut large = Reader::open(&machine, "?input=true").await;
        large.say(vec![b'x'; 64 * 1024 + 1]).await;
        assert_eq!(large.closed().await, close(1009, "too_large"));
        assert_eq!(captured(&machine), reader.text(), "nothing else was typed");
    });
}

#[test]
fn a_terminal_that_ends_says_why() {
    let machine = Machine::with_tmux();
    let daemon = machine.daemon();
    machine.project("demo", &["cat"]);
    let first = pane(&machine);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let open = || runtime.block_on(Reader::open(&machine, ""));
    let closed = |reader: Reader| runtime.block_on(reader.closed());
    // A window that is closed is drawn again, and who comes back sees it.
    let reader = open();
    machine.tmux(&["kill-pane", "-t", &first]);
    assert_eq!(closed(reader), close(4001, "window_gone"));
    pane(&machine);
    let reader = open();
    machine.tmux(&["kill-server"]);
    assert_eq!(closed(reader), close(4001, "window_gone"));
    pane(&machine);

    let reader = open();
    machine.ccm(&["agent", "stop", "demo"]).ok();
    assert_eq!(closed(reader), close(4002, "agent_stopped"));
    let (status, said) = runtime.block_on(refused(&machine));
    assert!(
        status == 409 && said.contains("ccm agent start demo"),
        "{said}"
    );

    machine.ccm(&["agent", "start", "demo"]).ok();
    pane(&machine);
    machine.ccm(&["agent", "cleanup", "demo"]).ok();
    let (status, said) = runtime.block_on(refused(&machine));
    assert!(status == 409 && said.contains("sleeps"), "{said}");
    machine.ccm(&["agent", "start", "demo"]).ok();
    pane(&machine);

    // A daemon that stops does not wait for who looks.
    let reader = open();
    std::thread::scope(|scope| {
        scope.spawn(|| daemon.stop());
        assert_eq!(closed(reader), close(1001, "stopping"));
    });
}

#[test]
fn seats_are_few_and_given_back() {
    let machine = Machine::with_tmux();
    let _daemon = machine.daemon();
    pane_with(&machine, "printf ready; exec cat");
    let before = control_clients(&machine);
    block_on(async {
        let mut readers = Vec::new();
        for _ in 0..16 {
            readers.push(Reader::open(&machine, "").await);
        }
        assert_eq!(control_clients(&machine), before + 1, "all share one");
        let (status, said) = refused(&machine).await;
        assert!(status == 429 && said.contains("too_many_viewers"), "{said}");
        // One that says good-bye, and ones that vanish.
        let mut polite = readers.pop().unwrap();
        polite.socket.close(None).await.unwrap();
        drop(readers);
        let waiting = async {
            while Reader::try_open(&machine, "").await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    });
    until("nobody looks any more", || {
        control_clients(&machine) == before
    });
}

#[test]
fn who_does_not_read_holds_nobody_up_and_catches_up() {
    let machine = Machine::with_tmux();
    let daemon: Daemon<'_> = machine.daemon();
    let flood = "i=0; while [ $i -lt 100 ]; do seq -s ' ' 1 20000; i=$((i+1)); done";
    let pane = pane_with(
        &machine,
        &format!(
            "printf ready; dd bs=1 count=1 2>/dev/null; {flood}; printf '\\033[2J\\033[Hthe end'; exec cat"
        ),
    );
    block_on(async {
        let mut stuck = Reader::open(&machine, "").await;
        let mut reading = Reader::open(&machine, "?input=true").await;
        reading.say(&b"!"[..]).await;
        reading.until("the end").await;
        stuck.until("the end").await;
        assert_eq!(stuck.text(), "the end");
        // A size that changes comes with a new screen.
        machine.tmux(&["resize-window", "-t", &pane, "-x", "66", "-y", "11"]);
        while reading
            .last
            .as_ref()
            .is_none_or(|screen| screen.columns != 66)
        {
            reading.step().await.unwrap();
        }
        assert_eq!(reading.last.as_ref().unwrap().rows, 11);
        assert_eq!(reading.text(), "the end");
    });
    drop(daemon);
}
