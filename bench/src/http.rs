//! A bare connection to a daemon: one request after the other, so that a client costs next to nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    pub(crate) address: SocketAddr,
    token: String,
    /// Further headers, a line each.
    headers: String,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr, token: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            address,
            token: token.to_owned(),
            headers: String::new(),
        })
    }

    /// The same with one header more in each request that has an answer.
    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub(crate) fn get(&mut self, path: &str) -> std::io::Result<(u16, Value)> {
        self.ask("GET", path, "")
    }

    pub(crate) fn post(&mut self, path: &str, body: &str) -> std::io::Result<(u16, Value)> {
        self.ask("POST", path, body)
    }

    /// A request of its own kind: with this header more.
    pub(crate) fn post_with(
        &mut self,
        path: &str,
        body: &str,
        name: &str,
        value: &str,
    ) -> std::io::Result<(u16, Value)> {
        let length = self.headers.len();
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        let answer = self.ask("POST", path, body);
        self.headers.truncate(length);
        answer
    }

    /// A request without a body.
    pub(crate) fn head(&self, method: &str, path: &str, last_id: Option<&str>) -> String {
        let last_id = last_id.map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n{last_id}\r\n",
            self.address, self.token
        )
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, Value)> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n{}\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            self.token,
            self.headers,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut status = 0;
        let mut length = 0;
        let mut line = String::new();
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let text = line.trim_end();
            if text.is_empty() {
                break;
            }
            if text.starts_with("HTTP/1.1 ") {
                status = text[9..12].parse().unwrap_or(0);
            } else if let Some((name, value)) = text.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok((status, serde_json::from_slice(&answer).unwrap_or_default()))
    }
}
