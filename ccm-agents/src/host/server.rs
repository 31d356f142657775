//! The host's loop: one thread that waits for whatever comes first.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use ccm_core::ErrorKind;
use ccm_core::id::{Epoch, RunId};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::client::Client;
use super::log::Log;
use super::run::{Identity, Progress, Run};
use super::stdin::Offer;
use super::watch::Watch;
use crate::record::{AgentDir, Noted, PlaceFile, RunDir};
use crate::stopset::GRACE;
use crate::sys::proc::ProcessId;
use crate::terminal;
use crate::wire::{Answer, Request, Status, VERSION};

/// An agent's host.
pub(crate) struct Server {
    dir: AgentDir,
    place: PlaceFile,
    me: Identity,
    /// Held for as long as the host lives.
    _lock: File,
    listener: UnixListener,
    signals: File,
    /// Tells when the agent's folder is deleted, and its home with it.
    folder: Option<Watch>,
    clients: Vec<Client>,
    next_client: u64,
    /// The highest that was heard.
    epoch: Epoch,
    run: Option<Run>,
    log: Log,
    /// Who waits for the program to be started, and who for it to be stopped.
    launchers: Vec<u64>,
    stoppers: Vec<u64>,
    /// Who waits for which input to be written.
    senders: Vec<(u64, u32)>,
    quitting: bool,
    /// Its folder was deleted.
    homeless: bool,
}

/// What became ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Signals,
    Listener,
    Folder,
    Report,
    Stdin,
    Spool,
    Client(u64),
}

impl Server {
    pub(crate) fn new(
        dir: AgentDir,
        place: PlaceFile,
        me: Identity,
        lock: File,
        listener: UnixListener,
        signals: OwnedFd,
    ) -> Self {
        let agents = dir.path().parent().unwrap_or(dir.path());
        let folder = Watch::new().filter(|watch| watch.add_removals(agents));
        Self {
            epoch: place.epoch,
            folder,
            dir,
            place,
            me,
            _lock: lock,
            listener,
            signals: signals.into(),
            clients: Vec::new(),
            next_client: 0,
            run: None,
            log: Log::default(),
            launchers: Vec::new(),
            stoppers: Vec::new(),
            senders: Vec::new(),
            quitting: false,
            homeless: false,
        }
    }

    /// Serves until it is told to quit.
    pub(crate) fn serve(mut self) {
        let place = &self.place.place;
        let agent = tracing::error_span!("agent", agent = %place.id, name = place.name, project = %place.project_id);
        let _agent = agent.entered();
        tracing::info!(pid = self.me.process.pid, "up");
        // It may have been deleted before it was watched.
        self.look_for_folder();
        while !(self.quitting && self.run.is_none()) {
            for source in self.wait() {
                let _run = self.run.as_ref().map(Run::enter);
                self.handle(source);
            }
            let run = self.run.as_ref().map(Run::enter);
            self.go_on();
            drop(run);
            self.show();
            self.clients.retain_mut(Client::write);
        }
        for client in &mut self.clients {
            client.write();
        }
        // In a folder that was made anew they are those of the next host.
        if !self.homeless {
            let _ = std::fs::remove_file(&self.place.socket);
            let _ = std::fs::remove_file(self.dir.host_file());
        }
    }

    /// Sleeps until something is ready or due.
    fn wait(&self) -> Vec<Source> {
        let mut sources = vec![Source::Signals, Source::Listener];
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(fd) = self.folder.as_ref().and_then(Watch::fd) {
            sources.push(Source::Folder);
            fds.push(PollFd::new(fd, PollFlags::POLLIN));
        }
        if let Some(run) = &self.run {
            if let Some(report) = run.report() {
                sources.push(Source::Report);
                fds.push(PollFd::new(report.as_fd(), PollFlags::POLLIN));
            }
            if let Some(stdin) = run.stdin() {
                sources.push(Source::Stdin);
                fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLOUT));
            }
            if let Some(fd) = run.tail.watch().and_then(|watch| watch.fd()) {
                sources.push(Source::Spool);
                fds.push(PollFd::new(fd, PollFlags::POLLIN));
            }
        }
        for client in &self.clients {
            let mut flags = PollFlags::POLLIN;
            flags.set(PollFlags::POLLOUT, client.has_output());
            sources.push(Source::Client(client.id));
            fds.push(PollFd::new(client.stream.as_fd(), flags));
        }
        let timeout = match self.run.as_ref().and_then(Run::due) {
            None => PollTimeout::NONE,
            Some(due) => {
                // Rounded up: too early would mean to spin until it is time.
                let left = due.saturating_duration_since(Instant::now());
                let left = left.as_micros().div_ceil(1000);
                PollTimeout::try_from(u32::try_from(left).unwrap_or(u32::MAX).min(60_000))
                    .unwrap_or(PollTimeout::MAX)
            }
        };
        if poll(&mut fds, timeout).is_err() {
            return Vec::new();
        }
        sources
            .into_iter()
            .zip(&fds)
            .filter(|(_, fd)| fd.any().unwrap_or(false))
            .map(|(source, _)| source)
            .collect()
    }

    fn handle(&mut self, source: Source) {
        match (source, &mut self.run) {
            (Source::Signals, _) => self.take_signals(),
            (Source::Listener, _) => self.accept(),
            (Source::Folder, _) => {
                if let Some(watch) = &self.folder {
                    watch.drain();
                }
                self.look_for_folder();
            }
            (Source::Report, Some(run)) => {
                let runs = run.read_report();
                if runs {
                    self.answer_all(|server| &mut server.launchers, &Answer::Done);
                }
            }
            (Source::Stdin, Some(run)) => run.write_input(),
            (Source::Spool, Some(run)) => {
                if let Some(watch) = run.tail.watch() {
                    watch.drain();
                }
                run.tail.dirty = true;
            }
            (Source::Client(id), _) => self.serve_client(id),
            _ => {}
        }
    }

    /// Without its folder nobody can find the host any more, so it ends as soon as it has no run in hand.
    fn look_for_folder(&mut self) {
        if !self.dir.path().exists() {
            self.homeless = true;
            self.quitting = true;
        }
    }

    fn take_signals(&mut self) {
        let mut numbers = [0; 64];
        let count = self.signals.read(&mut numbers).unwrap_or(0);
        let has = |signal: Signal| numbers[..count].contains(&(signal as u8));
        if has(Signal::SIGTERM) {
            self.quitting = true;
            if let Some(run) = &mut self.run {
                run.abandoned = true;
                run.stop(GRACE);
            }
        }
        if has(Signal::SIGUSR1) {
            // Somebody did not find us: the socket may have been deleted.
            match super::listen(&self.place.socket) {
                Ok(listener) => self.listener = listener,
                Err(error) => tracing::warn!(error = ccm_core::chain(&error), "can't listen anew"),
            }
        }
        if has(Signal::SIGCHLD) {
            Run::reap_orphans(self.run.as_ref());
            if let Some(run) = &mut self.run {
                run.look_for_end();
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            self.next_client += 1;
            self.clients.extend(Client::new(self.next_client, stream));
        }
    }

    fn serve_client(&mut self, id: u64) {
        let Some(at) = self.clients.iter().position(|client| client.id == id) else {
            return;
        };
        let Some(requests) = self.clients[at].read() else {
            self.clients.remove(at);
            return;
        };
        for request in requests {
            let answer = self.decide(at, request);
            if let Some(answer) = answer {
                self.clients[at].answer(&answer);
            }
        }
    }

    /// The answer to a request, if it is known now.
    fn decide(&mut self, at: usize, request: Request) -> Option<Answer> {
        let client = &mut self.clients[at];
        let id = client.id;
        match request {
            Request::View => {
                // First to the others, or the new one would get it twice.
                self.show();
                let banner = self.banner();
                let client = &mut self.clients[at];
                client.views = true;
                client.show(&banner);
                return None;
            }
            Request::Environment => return Some(environment()),
            Request::Hello { epoch } if epoch >= self.epoch => {
                client.epoch = Some(epoch);
                self.epoch = epoch;
                if let (Some(run), Some(caller)) = (&mut self.run, client.peer) {
                    run.spare(caller);
                }
                return Some(Answer::Host(self.status()));
            }
            _ => {}
        }
        // Also a connection that was good once: its daemon may have been followed by another.
        if client.epoch != Some(self.epoch) {
            return Some(Answer::Superseded { epoch: self.epoch });
        }
        let caller = client.peer;
        match request {
            Request::Status => Some(Answer::Host(self.status())),
            Request::Launch { run } => self.launch(id, caller, run),
            Request::Stop { run, grace_ms } => match &mut self.run {
                Some(in_hand) if in_hand.id == run => {
                    in_hand.stop(Duration::from_millis(grace_ms));
                    self.stoppers.push(id);
                    None
                }
                _ => Some(Answer::Done),
            },
            Request::Send { run, number } => match &mut self.run {
                Some(in_hand) if in_hand.id == run => match in_hand.send(number) {
                    Ok(Offer::Written) => Some(Answer::Done),
                    Ok(Offer::TooLate) => Some(Answer::TooLate),
                    Ok(Offer::Queued) => {
                        self.senders.push((id, number));
                        None
                    }
                    Err(error) => Some(refused(&error)),
                },
                _ => Some(Answer::TooLate),
            },
            Request::Close { run } => {
                if let Some(in_hand) = self.run.as_mut().filter(|in_hand| in_hand.id == run) {
                    in_hand.close_input();
                }
                Some(Answer::Done)
            }
            Request::Quit => match &self.run {
                Some(run) => Some(Answer::Busy { run: run.id }),
                None => {
                    self.quitting = true;
                    Some(Answer::Done)
                }
            },
            Request::View | Request::Environment | Request::Hello { .. } => {
                Some(Answer::Superseded { epoch: self.epoch })
            }
        }
    }

    fn launch(&mut self, client: u64, caller: Option<ProcessId>, id: RunId) -> Option<Answer> {
        if let Some(run) = &self.run {
            if run.id != id {
                return Some(Answer::Busy { run: run.id });
            }
            if run.report().is_none() {
                return Some(Answer::Done);
            }
            self.launchers.push(client);
            return None;
        }
        match self.start(id) {
            Ok(Some(mut run)) => {
                if let Some(caller) = caller {
                    run.spare(caller);
                }
                self.run = Some(run);
                self.launchers.push(client);
                None
            }
            Ok(None) => Some(Answer::Done),
            Err(error) => Some(refused(&error)),
        }
    }

    fn start(&mut self, id: RunId) -> ccm_core::Result<Option<Run>> {
        let dir = RunDir::new(self.dir.home(), id);
        if dir.gate()?.is_some() || dir.exit()?.is_some() {
            return Ok(None);
        }
        let launch = dir
            .launch()?
            .ok_or_else(|| ccm_core::Error::unavailable(format!("run {id} was not ordered")))?;
        if launch.epoch < self.epoch {
            // Whoever speaks now would have ordered it again if it were to start.
            return Err(ccm_core::Error::unavailable(format!(
                "run {id} was ordered by an earlier daemon; it is to be settled first"
            )));
        }
        Run::start(dir, launch, &self.me, &mut self.log)
    }

    /// What is due without anybody's asking.
    fn go_on(&mut self) {
        let Some(run) = &mut self.run else { return };
        run.look(&mut self.log);
        let settled = run.settled_inputs();
        let progress = run.step(&mut self.log);
        self.answer_senders(&settled);
        let Some(run) = &mut self.run else { return };
        match progress {
            Progress::Going => {}
            Progress::Stuck => {
                let pids = run.unstoppable.clone();
                self.answer_all(|server| &mut server.stoppers, &Answer::Unstoppable { pids });
            }
            Progress::Over => {
                let settled = run.settled_inputs();
                self.answer_senders(&settled);
                self.senders.clear();
                self.run = None;
                Run::reap_orphans(None);
                self.answer_all(|server| &mut server.launchers, &Answer::Done);
                self.answer_all(|server| &mut server.stoppers, &Answer::Done);
            }
        }
    }

    fn answer_senders(&mut self, settled: &[(u32, Noted)]) {
        for (number, state) in settled {
            let answer = match state {
                Noted::TooLate => Answer::TooLate,
                Noted::Begun | Noted::Delivered => Answer::Done,
            };
            let waiting = std::mem::take(&mut self.senders);
            let (answered, rest) = waiting.into_iter().partition(|(_, one)| one == number);
            self.senders = rest;
            let answered: Vec<(u64, u32)> = answered;
            for client in &mut self.clients {
                if answered.iter().any(|(id, _)| *id == client.id) {
                    client.answer(&answer);
                }
            }
        }
    }

    fn answer_all(&mut self, who: fn(&mut Self) -> &mut Vec<u64>, answer: &Answer) {
        let ids = std::mem::take(who(self));
        for client in &mut self.clients {
            if ids.contains(&client.id) {
                client.answer(answer);
            }
        }
    }

    /// Gives the viewers what is new.
    fn show(&mut self) {
        let fresh = self.log.take_fresh();
        if fresh.is_empty() {
            return;
        }
        for client in self.clients.iter_mut().filter(|client| client.views) {
            client.show(&fresh);
        }
    }

    fn status(&self) -> Status {
        Status {
            version: VERSION.to_owned(),
            pid: self.me.process.pid,
            run: self.run.as_ref().map(|run| run.id),
            unstoppable: self
                .run
                .as_ref()
                .map(|run| run.unstoppable.clone())
                .unwrap_or_default(),
        }
    }

    /// What a terminal shows first.
    fn banner(&self) -> Vec<u8> {
        // The daemon may have given the agent another place since.
        let place = self.dir.place().ok().flatten();
        let place = &place.as_ref().unwrap_or(&self.place).place;
        let mut banner = format!(
            "\x1b[1mCCM\x1b[m  {}  {}\n",
            terminal::line(&place.name),
            terminal::line(&place.folder.to_string_lossy())
        )
        .into_bytes();
        let recent = self.log.recent();
        if recent.is_empty() && self.run.is_none() {
            banner.extend_from_slice(b"waiting for a task\n");
        }
        banner.extend(recent);
        banner
    }
}

/// What programs are given, as far as it is text. Who can ask this could read it from the system as well.
fn environment() -> Answer {
    let text = |(key, value): (OsString, OsString)| {
        Some((key.into_string().ok()?, value.into_string().ok()?))
    };
    Answer::Environment {
        variables: std::env::vars_os().filter_map(text).collect(),
    }
}

fn refused(error: &ccm_core::Error) -> Answer {
    Answer::Refused {
        message: ccm_core::chain(error),
        disk_full: error.kind() == ErrorKind::DiskFull,
    }
}
