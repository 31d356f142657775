//! One connection to a host.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use ccm_core::id::Epoch;

use crate::sys::proc::ProcessId;
use crate::wire::{Answer, MAX_REQUEST, Request};

/// What a viewer that doesn't read may have waiting for it.
const MAX_UNSHOWN: usize = 256 * 1024;

/// Somebody who asks, or looks on.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) stream: UnixStream,
    /// Who it is.
    pub(crate) peer: Option<ProcessId>,
    /// What it said in its hello.
    pub(crate) epoch: Option<Epoch>,
    /// Whether it only looks on.
    pub(crate) views: bool,
    input: Vec<u8>,
    output: VecDeque<u8>,
    lost: usize,
}

impl Client {
    /// A new connection, if it comes from this user or the system's own.
    pub(crate) fn new(id: u64, stream: UnixStream) -> Option<Self> {
        stream.set_nonblocking(true).ok()?;
        let (pid, uid) = peer_of(&stream)?;
        if uid != nix::unistd::geteuid().as_raw() && uid != 0 {
            return None;
        }
        Some(Self {
            id,
            stream,
            peer: pid.and_then(ProcessId::of),
            epoch: None,
            views: false,
            input: Vec::new(),
            output: VecDeque::new(),
            lost: 0,
        })
    }

    /// Reads what came. `None` when the connection is over.
    pub(crate) fn read(&mut self) -> Option<Vec<Request>> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return None,
            }
            if self.input.len() > MAX_REQUEST {
                return None;
            }
        }
        let mut requests = Vec::new();
        while let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.input.drain(..=end).collect();
            requests.push(serde_json::from_slice(&line).ok()?);
        }
        Some(requests)
    }

    /// Answers a request.
    pub(crate) fn answer(&mut self, answer: &Answer) {
        if let Ok(mut line) = serde_json::to_vec(answer) {
            line.push(b'\n');
            self.output.extend(line);
        }
    }

    /// Gives a viewer more to show, or leaves it out if the viewer is stuck.
    pub(crate) fn show(&mut self, bytes: &[u8]) {
        if self.output.len() + bytes.len() > MAX_UNSHOWN {
            self.lost += bytes.len();
            return;
        }
        if self.lost > 0 {
            let note = format!("\x1b[m\n[{} bytes were not shown]\n", self.lost);
            self.output.extend(note.into_bytes());
            self.lost = 0;
        }
        self.output.extend(bytes);
    }

    /// Whether there is something to send.
    pub(crate) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Sends what can be sent without waiting. False when the connection is over.
    pub(crate) fn write(&mut self) -> bool {
        while !self.output.is_empty() {
            let (head, _) = self.output.as_slices();
            match self.stream.write(head) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        // An idle host shall be small.
        self.output = VecDeque::new();
        true
    }
}

#[cfg(target_os = "linux")]
fn peer_of(stream: &UnixStream) -> Option<(Option<u32>, u32)> {
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
    let peer = getsockopt(stream, PeerCredentials).ok()?;
    Some((u32::try_from(peer.pid()).ok(), peer.uid()))
}

#[cfg(not(target_os = "linux"))]
fn peer_of(stream: &UnixStream) -> Option<(Option<u32>, u32)> {
    let (uid, _) = nix::unistd::getpeereid(stream).ok()?;
    Some((None, uid.as_raw()))
}
