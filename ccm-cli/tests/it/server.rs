//! A server that answers what a test tells it to, byte for byte, to see what a client does about faults.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

/// What to do with one connection.
pub(crate) enum Turn {
    /// Answer with this and close.
    Say(String),
    /// Answer with these pieces, each in a write of its own, and close.
    Pieces(Vec<String>),
    /// Read the request and close without a word.
    Hang,
}

/// Serves one connection per turn, then closes its port.
pub(crate) struct Server {
    pub(crate) url: String,
    requests: Receiver<String>,
    thread: JoinHandle<()>,
}

impl Server {
    pub(crate) fn new(turns: Vec<Turn>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        let thread = std::thread::spawn(move || {
            for turn in turns {
                let Ok((mut stream, _)) = listener.accept() else {
                    return;
                };
                let _ = sender.send(read_request(&mut stream));
                let pieces = match turn {
                    Turn::Say(text) => vec![text],
                    Turn::Pieces(pieces) => pieces,
                    Turn::Hang => Vec::new(),
                };
                for piece in pieces {
                    let _ = stream.write_all(piece.as_bytes());
                    let _ = stream.flush();
                    std::thread::yield_now();
                }
            }
        });
        Self {
            url,
            requests,
            thread,
        }
    }

    /// The requests that came, once all turns are over.
    pub(crate) fn requests(self) -> Vec<String> {
        self.thread.join().unwrap();
        self.requests.iter().collect()
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = header(head, "content-length").map_or(0, |n| n.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        match stream.read(&mut chunk) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&chunk[..n]),
            _ => return text,
        }
    }
}

/// A header of a request.
pub(crate) fn header(request: &str, name: &str) -> Option<String> {
    request.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })
}

/// A whole JSON answer.
pub(crate) fn json(status: &str, kind: &str, body: &str) -> Turn {
    Turn::Say(format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    ))
}
