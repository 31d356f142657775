//! Lines to a server: TCP, TLS with the roots that the machine trusts, and the proxy that its environment names.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The longest that one address of a host is tried.
const TCP_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that a line takes, with every address of its host and TLS.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The most that a proxy says before the line.
const PROXY_ANSWER: usize = 8 * 1024;

/// Makes lines. Clones share what was read of the machine.
#[derive(Clone)]
pub(super) struct Connector {
    shared: Arc<Shared>,
}

struct Shared {
    proxies: Matcher,
    /// Read when the first encrypted line is made.
    tls: OnceCell<TlsConnector>,
}

impl Connector {
    /// With the proxies of the environment (`HTTPS_PROXY`, `NO_PROXY` and their like). Nothing is opened yet.
    pub(super) fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                proxies: Matcher::from_env(),
                tls: OnceCell::new(),
            }),
        }
    }

    #[cfg(test)]
    pub(super) fn with_roots(roots: RootCertStore) -> Self {
        Self {
            shared: Arc::new(Shared {
                proxies: Matcher::builder().build(),
                tls: OnceCell::new_with(trusting(roots).ok()),
            }),
        }
    }

    /// A line to the host of `uri`: encrypted for `https` and `wss`.
    pub(super) async fn connect(&self, uri: &Uri) -> io::Result<Stream> {
        let line = self.make(uri);
        tokio::time::timeout(TIMEOUT, line)
            .await
            .unwrap_or_else(|_| Err(late("the connection")))
    }

    async fn make(&self, uri: &Uri) -> io::Result<Stream> {
        let host = uri.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let encrypted = matches!(uri.scheme_str(), Some("https" | "wss"));
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        if !encrypted {
            // Only to machines nearby, for which no proxy is of use.
            return Ok(Stream::Plain(tcp(bare, port).await?));
        }
        let plain = match self.proxy(host, port) {
            Some(proxy) => through(&proxy, host, port).await?,
            None => tcp(bare, port).await?,
        };
        let name = ServerName::try_from(bare.to_owned()).map_err(io::Error::other)?;
        let tls = self.shared.tls.get_or_try_init(tls).await?;
        Ok(Stream::Tls(Box::new(tls.connect(name, plain).await?)))
    }

    fn proxy(&self, host: &str, port: u16) -> Option<Intercept> {
        let place = format!("https://{host}:{port}/").parse().ok()?;
        self.shared.proxies.intercept(&place)
    }
}

/// What encrypts, with the roots that this machine trusts (`SSL_CERT_FILE` names others).
async fn tls() -> io::Result<TlsConnector> {
    trusting(roots().await?)
}

async fn roots() -> io::Result<RootCertStore> {
    let read = tokio::task::spawn_blocking(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        roots
    });
    let roots = read.await.map_err(io::Error::other)?;
    if roots.is_empty() {
        return Err(io::Error::other(
            "this machine has no certificates of authorities; install ca-certificates",
        ));
    }
    Ok(roots)
}

fn trusting(roots: RootCertStore) -> io::Result<TlsConnector> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in tokio::net::lookup_host((host, port)).await? {
        match tokio::time::timeout(TCP_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = late("the host"),
        }
    }
    Err(last)
}

/// A line to `host` by way of an HTTP proxy.
async fn through(proxy: &Intercept, host: &str, port: u16) -> io::Result<TcpStream> {
    let uri = proxy.uri();
    let Some(proxy_host) = uri.host().filter(|_| uri.scheme_str() == Some("http")) else {
        return Err(io::Error::other(
            "the proxy of the environment is none of http://, which is the only kind that is spoken to",
        ));
    };
    let bare = proxy_host.trim_start_matches('[').trim_end_matches(']');
    let mut stream = tcp(bare, uri.port_u16().unwrap_or(80)).await?;
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some(Ok(value)) = proxy.basic_auth().map(|value| value.to_str()) {
        request.push_str(&format!("Proxy-Authorization: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // Byte by byte: what follows the answer belongs to the line.
    while !answer.ends_with(b"\r\n\r\n") && answer.len() < PROXY_ANSWER {
        answer.push(stream.read_u8().await?);
    }
    let status = answer.split(|byte| *byte == b' ').nth(1);
    match status {
        Some(b"200") => Ok(stream),
        Some(b"407") => Err(io::Error::other("the proxy asks for a password")),
        _ => Err(io::Error::other("the proxy makes no line to the server")),
    }
}

fn late(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("{what} did not answer in time"),
    )
}

/// A line.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(&uri).await.map(TokioIo::new) })
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// What a proxy is asked for, and what comes of its answer.
    async fn asked(answer: &'static [u8]) -> (String, io::Result<TcpStream>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer).await.unwrap();
            (String::from_utf8(request).unwrap(), stream)
        });
        let matcher = Matcher::builder()
            .https(format!("http://me:word@127.0.0.1:{port}"))
            .build();
        let proxy = matcher.intercept(&"https://a.b:443/".parse().unwrap());
        let line = through(&proxy.unwrap(), "a.b", 443).await;
        (served.await.unwrap().0, line)
    }

    #[tokio::test]
    async fn a_proxy_makes_the_line_or_says_why_not() {
        let (request, line) = asked(b"HTTP/1.1 200 Go on\r\nX: y\r\n\r\nrest").await;
        assert!(
            request.starts_with("CONNECT a.b:443 HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(request.contains("Proxy-Authorization: Basic bWU6d29yZA=="));
        let mut rest = [0; 4];
        line.unwrap().read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"rest", "what follows belongs to the line");
        let (_, line) = asked(b"HTTP/1.1 407 No\r\n\r\n").await;
        assert!(line.unwrap_err().to_string().contains("password"));
        let (_, line) = asked(b"HTTP/1.1 502 No\r\n\r\n").await;
        assert!(line.is_err());
    }

    /// A server with a certificate for `localhost` of an authority of its own, which takes one line and greets it.
    async fn encrypted() -> (u16, RootCertStore, tokio::task::JoinHandle<io::Result<()>>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.unwrap())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = tokio::spawn(async move {
            let (stream, _) = listener.accept().await?;
            let mut stream = acceptor.accept(stream).await?;
            stream.write_all(b"hello").await?;
            stream.shutdown().await
        });
        (port, roots, served)
    }

    #[tokio::test]
    async fn a_line_is_encrypted_to_the_host_that_was_meant_alone() {
        let (port, roots, served) = encrypted().await;
        let uri = format!("https://localhost:{port}/").parse().unwrap();
        let mut line = Connector::with_roots(roots).connect(&uri).await.unwrap();
        let mut greeting = String::new();
        line.read_to_string(&mut greeting).await.unwrap();
        assert_eq!(greeting, "hello");
        served.await.unwrap().unwrap();
        // Another name, and an authority that nobody trusts.
        let (port, roots, served) = encrypted().await;
        let uri = format!("https://127.0.0.1:{port}/").parse().unwrap();
        assert!(Connector::with_roots(roots).connect(&uri).await.is_err());
        assert!(served.await.unwrap().is_err());
        let (port, _, served) = encrypted().await;
        let (_, others, unused) = encrypted().await;
        let uri = format!("https://localhost:{port}/").parse().unwrap();
        assert!(Connector::with_roots(others).connect(&uri).await.is_err());
        assert!(served.await.unwrap().is_err());
        unused.abort();
    }

    #[tokio::test]
    async fn a_server_without_tls_is_not_spoken_to() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = [0; 1];
            stream.read_exact(&mut hello).await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad\r\n\r\n").await.unwrap();
            hello[0]
        });
        let uri = format!("https://127.0.0.1:{port}/").parse().unwrap();
        let line = Connector::new().connect(&uri).await;
        assert!(line.is_err());
        assert_eq!(served.await.unwrap(), 0x16, "it began with TLS");
    }
}
