//! Many readers of one event stream, in one thread, so that reading costs as little as it can.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long readers wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Readers {
    all: Vec<Reader>,
    buffer: Vec<u8>,
}

struct Reader {
    stream: TcpStream,
    /// Frames that were seen whole.
    frames: usize,
    /// Whether the last byte was a line's end.
    line_ended: bool,
}

impl Readers {
    /// So many connections, each of which has sent `request`.
    pub(crate) fn connect(address: SocketAddr, request: &str, count: usize) -> Self {
        let one = || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            stream.set_nonblocking(true).unwrap();
            Reader {
                stream,
                frames: 0,
                line_ended: false,
            }
        };
        Self {
            all: std::iter::repeat_with(one).take(count).collect(),
            buffer: vec![0; 256 * 1024],
        }
    }

    /// Reads until each has seen so many frames since the last time, and returns when that was.
    pub(crate) fn until(&mut self, frames: usize) -> Instant {
        let begun = Instant::now();
        let mut missing: Vec<&mut Reader> = self.all.iter_mut().collect();
        loop {
            missing.retain(|reader| reader.frames < frames);
            if missing.is_empty() {
                break;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{} readers wait in vain",
                missing.len()
            );
            let mut ready: Vec<PollFd<'_>> = missing
                .iter()
                .map(|reader| PollFd::new(reader.stream.as_fd(), PollFlags::POLLIN))
                .collect();
            poll(&mut ready, PollTimeout::from(1000_u16)).unwrap();
            let ready: Vec<bool> = ready.iter().map(|fd| fd.any().unwrap_or(false)).collect();
            for (reader, is_ready) in missing.iter_mut().zip(ready) {
                if is_ready {
                    reader.read(&mut self.buffer);
                }
            }
        }
        let ended = Instant::now();
        for reader in &mut self.all {
            reader.frames -= frames;
        }
        ended
    }
}

impl Reader {
    fn read(&mut self, buffer: &mut [u8]) {
        match self.stream.read(buffer) {
            Ok(0) => panic!("a stream ended"),
            Ok(count) => self.count(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("a stream broke: {error}"),
        }
    }

    /// Frames end with an empty line; the lines of a head and of chunks end with more than a line feed.
    fn count(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let is_end = *byte == b'\n';
            self.frames += usize::from(is_end && self.line_ended);
            self.line_ended = is_end;
        }
    }
}
