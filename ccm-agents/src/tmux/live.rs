//! A pane as it lives: a picture of it, and what it prints from then on, for any number of viewers.
//!
//! One client in control mode a pane, however many look at it; there is none while nobody does. Whoever begins, or did
//! not keep up, gets a picture that was taken between two pieces of output, and all that came after it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::control::FAREWELL;
use super::parse::{Event, Parser};
use super::picture::{self, Picture, Screen};
use super::quote::Command;
use crate::terminal::ScreenFilter;

/// How many pieces of output a viewer may be behind before it gets a new picture instead.
const BACKLOG: usize = 128;
/// The most that is read at once, which makes the largest piece about three times as large.
const READ: usize = 16 * 1024;
/// How many viewers' wishes may wait.
const REQUESTS: usize = 64;
/// How many bytes of commands are collected for a tmux that takes none.
const WRITE_AHEAD: usize = 256 * 1024;
/// How many keys go into one command.
const KEYS: usize = 256;
/// How long a picture may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What tmux holds back for us before it drops output, in seconds. We read all the time, so it never should.
pub(super) const FLAGS: &str = "ignore-size,pause-after=5";
/// The buffer that carries what is pasted, for a moment.
const BUFFER: &str = "ccm-paste";

/// What a viewer is told.
#[derive(Debug, Clone)]
pub enum Frame {
    /// The whole screen: the first one, or a new one because the pane has another size or the viewer was too slow.
    Screen(Arc<Screen>),
    /// What the pane printed next, to be written as it is.
    Output(Arc<str>),
}

/// Why there will be nothing more to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TerminalEnd {
    /// The window was closed or moved away.
    #[error("the agent's window was closed")]
    Closed,
    /// tmux ended, or does not answer.
    #[error("tmux ended or does not answer")]
    Lost,
}

/// One viewer's look at an agent's pane. Dropping it is all it takes to stop looking.
#[derive(Debug)]
pub struct Terminal {
    source: Source,
    frames: Option<broadcast::Receiver<Frame>>,
    joining: Option<oneshot::Receiver<Joined>>,
}

/// A pane that is looked at. The last one that is dropped ends it.
#[derive(Debug, Clone)]
pub(super) struct Source {
    requests: mpsc::Sender<Request>,
    end: Arc<OnceLock<TerminalEnd>>,
}

/// A source that does not live for this.
#[derive(Debug)]
pub(super) struct WeakSource {
    requests: mpsc::WeakSender<Request>,
    end: Arc<OnceLock<TerminalEnd>>,
}

type Joined = (Arc<Screen>, broadcast::Receiver<Frame>);

#[derive(Debug)]
enum Request {
    Join(oneshot::Sender<Joined>),
    Keys(Vec<u8>),
    Paste(String),
}

impl Terminal {
    pub(super) fn of(source: Source) -> Self {
        Self {
            source,
            frames: None,
            joining: None,
        }
    }

    /// What comes next. A viewer that does not ask for a while costs nothing, holds nobody up, and gets a new screen.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the pane is gone: there is nothing after it.
    pub async fn next(&mut self) -> Result<Frame, TerminalEnd> {
        loop {
            if let Some(joining) = &mut self.joining {
                let joined = tokio::time::timeout(PATIENCE, joining).await;
                let (screen, frames) = joined
                    .map_err(|_| TerminalEnd::Lost)?
                    .map_err(|_| self.source.end())?;
                self.joining = None;
                self.frames = Some(frames);
                return Ok(Frame::Screen(screen));
            }
            if let Some(frames) = &mut self.frames {
                match frames.recv().await {
                    Ok(frame) => return Ok(frame),
                    Err(broadcast::error::RecvError::Closed) => return Err(self.source.end()),
                    Err(broadcast::error::RecvError::Lagged(_)) => self.frames = None,
                }
            }
            let (reply, joining) = oneshot::channel();
            self.source.send(Request::Join(reply)).await?;
            self.joining = Some(joining);
        }
    }

    /// Types `bytes`, exactly as a terminal would send them. If somebody scrolls in the pane (copy mode), that ends.
    ///
    /// # Errors
    /// When the pane is gone.
    pub async fn keys(&self, bytes: &[u8]) -> Result<(), TerminalEnd> {
        self.source.send(Request::Keys(bytes.to_vec())).await
    }

    /// Pastes text, without the control characters in it, in the form that the program in the pane has asked for.
    ///
    /// # Errors
    /// When the pane is gone.
    pub async fn paste(&self, text: &str) -> Result<(), TerminalEnd> {
        // Nothing in it can end the paste and be taken for keys.
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let text = text.replace(|c: char| c.is_control() && !matches!(c, '\n' | '\t'), "");
        self.source.send(Request::Paste(text)).await
    }
}

impl Source {
    /// Looks at `pane` in `window` through `client`, a tmux in control mode with [`FLAGS`].
    pub(super) fn start(
        mut client: tokio::process::Command,
        window: String,
        pane: String,
    ) -> std::io::Result<Self> {
        use std::process::Stdio;
        let mut child = client
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        };
        let (requests, queue) = mpsc::channel(REQUESTS);
        let end = Arc::new(OnceLock::new());
        let live = Live {
            child,
            input,
            output,
            parser: Parser::default(),
            window,
            pane,
            queue,
            frames: broadcast::Sender::new(BACKLOG),
            filter: None,
            size: None,
            attached: false,
            session: None,
            unwritten: Vec::new(),
            expected: VecDeque::new(),
            joining: Vec::new(),
            look: Look::default(),
            silenced: BTreeSet::new(),
        };
        // It owns the client, and ends when nobody has a handle any more.
        tokio::spawn(live.run(Arc::clone(&end)));
        Ok(Self { requests, end })
    }

    pub(super) fn downgrade(&self) -> WeakSource {
        WeakSource {
            requests: self.requests.downgrade(),
            end: Arc::clone(&self.end),
        }
    }

    async fn send(&self, request: Request) -> Result<(), TerminalEnd> {
        self.requests.send(request).await.map_err(|_| self.end())
    }

    fn end(&self) -> TerminalEnd {
        self.end.get().copied().unwrap_or(TerminalEnd::Lost)
    }
}

impl WeakSource {
    /// The source, if it lives.
    pub(super) fn upgrade(&self) -> Option<Source> {
        let requests = self.requests.upgrade()?;
        (!requests.is_closed()).then(|| Source {
            requests,
            end: Arc::clone(&self.end),
        })
    }
}

/// The task behind a [`Source`].
struct Live {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    parser: Parser,
    window: String,
    pane: String,
    queue: mpsc::Receiver<Request>,
    frames: broadcast::Sender<Frame>,
    /// What all viewers see goes through this one, because a sequence may begin before a picture and end after it. There
    /// is none before the first picture, which says how far tmux itself was.
    filter: Option<ScreenFilter>,
    size: Option<(u16, u16)>,
    /// Before that, tmux would carry out commands without showing any output yet.
    attached: bool,
    session: Option<String>,
    unwritten: Vec<u8>,
    /// What the answers that are to come are about, in order.
    expected: VecDeque<Expected>,
    joining: Vec<oneshot::Sender<Joined>>,
    look: Look,
    /// Other panes of the session, which we were told of and asked not to be.
    silenced: BTreeSet<String>,
}

struct Expected {
    /// Whether the answers make a picture; else nobody wants them.
    picture: bool,
    missing: usize,
    answers: Vec<Vec<u8>>,
}

/// Which pictures are on their way.
#[derive(Debug, Default)]
struct Look {
    /// One was asked for.
    asked: bool,
    /// Something changed since, so another one has to follow.
    again: bool,
    /// The last one is for all viewers, because the size is another one or they missed something.
    everybody: bool,
}

impl Live {
    async fn run(mut self, end: Arc<OnceLock<TerminalEnd>>) {
        let why = self.serve().await;
        let _ = end.set(why);
        let _ = self.child.start_kill();
        let _ = tokio::time::timeout(FAREWELL, self.child.wait()).await;
        // Dropping what is left tells the viewers.
    }

    async fn serve(&mut self) -> TerminalEnd {
        let mut read = Vec::with_capacity(READ);
        loop {
            tokio::select! {
                request = self.queue.recv(), if self.unwritten.len() < WRITE_AHEAD => match request {
                    Some(request) => self.request(request),
                    None => return TerminalEnd::Closed,
                },
                written = self.input.write(&self.unwritten), if self.attached && !self.unwritten.is_empty() => match written {
                    Ok(0) | Err(_) => return TerminalEnd::Lost,
                    Ok(count) => { self.unwritten.drain(..count); }
                },
                count = self.output.read_buf(&mut read) => {
                    match count {
                        Ok(0) | Err(_) => return TerminalEnd::Lost,
                        Ok(_) => {}
                    }
                    self.parser.feed(&read);
                    read.clear();
                    if let Err(end) = self.events() {
                        return end;
                    }
                }
            }
        }
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Join(reply) => {
                self.joining.push(reply);
                if !self.look.asked {
                    self.take_picture();
                }
            }
            Request::Keys(bytes) => {
                for keys in bytes.chunks(KEYS) {
                    // In copy mode keys are commands of tmux.
                    let leave = Command::new("copy-mode").args(["-q", "-t", &self.pane]);
                    let keys = keys.iter().map(|byte| format!("{byte:02x}"));
                    let send = Command::new("send-keys").args(["-t", &self.pane, "-H"]);
                    self.tell(&[leave, send.args(keys)]);
                }
            }
            Request::Paste(text) => {
                let set = Command::new("set-buffer").args(["-b", BUFFER, "--", &text]);
                let paste = Command::new("paste-buffer");
                let paste = paste.args(["-p", "-d", "-b", BUFFER, "-t", &self.pane]);
                self.tell(&[set, paste]);
            }
        }
    }

    fn take_picture(&mut self) {
        self.look.asked = true;
        self.say(&picture::commands(&self.pane), true);
    }

    fn tell(&mut self, commands: &[Command]) {
        self.say(commands, false);
    }

    /// Has tmux run commands with nothing in between.
    fn say(&mut self, commands: &[Command], picture: bool) {
        let lines: Result<Vec<_>, _> = commands.iter().map(Command::to_line).collect();
        // Only a NUL could not be said, and there is none in ids, numbers and pasted text.
        let Ok(lines) = lines else { return };
        self.unwritten.extend_from_slice(&lines.join(&b" ; "[..]));
        self.unwritten.push(b'\n');
        self.expected.push_back(Expected {
            picture,
            missing: commands.len(),
            answers: Vec::new(),
        });
    }

    /// Takes in what tmux said.
    fn events(&mut self) -> Result<(), TerminalEnd> {
        let mut printed = String::new();
        while let Some(event) = self.parser.next() {
            match event {
                Event::Output { pane, bytes } if pane == self.pane => {
                    if let Some(filter) = &mut self.filter {
                        printed.push_str(&filter.push(&bytes));
                    }
                }
                Event::Output { pane, .. } => self.silence(pane),
                Event::Answer { ours: true, result } => {
                    self.print(&mut printed);
                    self.answer(result)?;
                }
                // What it was started with: it is attached, or can't be.
                Event::Answer { result, .. } => {
                    result.map_err(|_| TerminalEnd::Closed)?;
                    self.attached = true;
                }
                Event::Notification { name, about } => match name.as_str() {
                    "window-close" | "unlinked-window-close" if about == self.window => {
                        return Err(TerminalEnd::Closed);
                    }
                    "layout-change" if about == self.window => self.changed(false),
                    "pause" if about == self.pane => {
                        let go_on = format!("{}:continue", self.pane);
                        self.tell(&[Command::new("refresh-client").args(["-A", &go_on])]);
                        self.changed(true);
                    }
                    // Its own session, and any that it is moved to later.
                    "session-changed" => {
                        let first = self.session.get_or_insert_with(|| about.clone());
                        if *first != about {
                            return Err(TerminalEnd::Closed);
                        }
                    }
                    _ => {}
                },
                Event::Exit(_) | Event::Overflow => return Err(TerminalEnd::Lost),
            }
        }
        self.print(&mut printed);
        Ok(())
    }

    /// Tells all viewers what was printed. It is no error if nobody looks just now.
    fn print(&self, printed: &mut String) {
        if !printed.is_empty() {
            let _ = self.frames.send(Frame::Output(printed.as_str().into()));
            printed.clear();
        }
    }

    /// Asks not to be told what another pane prints.
    fn silence(&mut self, pane: String) {
        if self.silenced.insert(pane.clone()) {
            let off = format!("{pane}:off");
            self.tell(&[Command::new("refresh-client").args(["-A", &off])]);
        }
    }

    /// There may be something that only a picture tells: another size, or, for sure, what was `missed`.
    fn changed(&mut self, missed: bool) {
        self.look.everybody |= missed;
        if self.look.asked {
            self.look.again = true;
        } else {
            self.take_picture();
        }
    }

    fn answer(&mut self, result: Result<Vec<u8>, Vec<u8>>) -> Result<(), TerminalEnd> {
        let Some(mut expected) = self.expected.pop_front() else {
            return Ok(());
        };
        match result {
            Ok(text) => {
                expected.missing -= 1;
                if expected.picture {
                    expected.answers.push(text);
                }
                if expected.missing > 0 {
                    self.expected.push_front(expected);
                } else if expected.picture {
                    self.show(&expected.answers)?;
                }
                Ok(())
            }
            // The pane is gone. tmux drops the rest of the line.
            Err(_) if expected.picture => Err(TerminalEnd::Closed),
            Err(_) => Ok(()),
        }
    }

    fn show(&mut self, answers: &[Vec<u8>]) -> Result<(), TerminalEnd> {
        let pen = self.filter.as_ref().map_or("", ScreenFilter::pen);
        let Picture { screen, pending } =
            Picture::develop(answers, pen).ok_or(TerminalEnd::Lost)?;
        self.filter.get_or_insert_with(|| {
            let mut filter = ScreenFilter::new();
            filter.push(&pending);
            filter
        });
        let screen = Arc::new(screen);
        let size = (screen.columns, screen.rows);
        self.look.everybody |= self.size.replace(size).is_some_and(|old| old != size);
        self.look.asked = false;
        if std::mem::take(&mut self.look.again) {
            self.take_picture();
        } else if std::mem::take(&mut self.look.everybody) {
            let _ = self.frames.send(Frame::Screen(Arc::clone(&screen)));
        }
        for reply in self.joining.drain(..) {
            let _ = reply.send((Arc::clone(&screen), self.frames.subscribe()));
        }
        Ok(())
    }
}
