//! A conversation with a host.

use std::io;
use std::path::Path;
use std::time::Duration;

use ccm_core::id::Epoch;
use ccm_core::{Error, ErrorKind, Result};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::record::check_socket_dir;
use crate::wire::{Answer, Request, Status};

/// How long a host may take to say hello. It is single-threaded, and syncing a large spool takes a while.
const HELLO: Duration = Duration::from_secs(2);

/// A host that said hello.
#[derive(Debug)]
pub(super) struct Connection {
    stream: BufReader<UnixStream>,
    /// What it said of itself.
    pub(super) status: Status,
}

/// Who is behind a socket.
#[derive(Debug)]
pub(super) enum Greeting {
    /// A host that answers.
    Up(Connection),
    /// Something that accepts and says nothing.
    Silent,
    /// Nobody.
    Nobody,
}

impl Connection {
    /// Says hello at a socket.
    ///
    /// # Errors
    /// `Superseded` when the host has heard a newer daemon.
    pub(super) async fn open(socket: &Path, epoch: Epoch) -> Result<Greeting> {
        // Somebody else's socket is nobody's: it is only spoken to in a folder of our own.
        if check_socket_dir(socket).is_err() {
            return Ok(Greeting::Nobody);
        }
        let stream = match timeout(HELLO, UnixStream::connect(socket)).await {
            Ok(Ok(stream)) => stream,
            // A full queue of knockers means that it doesn't open.
            Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(Greeting::Silent);
            }
            Ok(Err(_)) => return Ok(Greeting::Nobody),
            Err(_) => return Ok(Greeting::Silent),
        };
        let mut stream = BufReader::new(stream);
        let hello = Request::Hello { epoch };
        match timeout(HELLO, exchange(&mut stream, &hello)).await {
            Ok(Ok(Answer::Host(status))) => Ok(Greeting::Up(Self { stream, status })),
            Ok(Ok(Answer::Superseded { epoch })) => Err(superseded(epoch)),
            Ok(_) => Ok(Greeting::Nobody),
            Err(_) => Ok(Greeting::Silent),
        }
    }

    /// Asks, and waits for the answer for no longer than `limit`.
    ///
    /// # Errors
    /// `Unavailable` when no answer came: what the request did is not known. `Superseded` as in [`open`](Self::open).
    pub(super) async fn ask(&mut self, request: &Request, limit: Duration) -> Result<Answer> {
        match timeout(limit, exchange(&mut self.stream, request)).await {
            Ok(Ok(Answer::Superseded { epoch })) => Err(superseded(epoch)),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                Err(Error::unavailable("the agent's host broke off").with_source(error))
            }
            Err(_) => Err(Error::unavailable(
                "the agent's host did not answer in time",
            )),
        }
    }
}

fn superseded(epoch: Epoch) -> Error {
    Error::new(
        ErrorKind::Superseded,
        format!("the agent's host belongs to a newer daemon (epoch {epoch})"),
    )
}

async fn exchange(stream: &mut BufReader<UnixStream>, request: &Request) -> io::Result<Answer> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.get_mut().write_all(&line).await?;
    let mut answer = String::new();
    if stream.read_line(&mut answer).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&answer)?)
}
