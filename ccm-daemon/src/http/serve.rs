//! The server's own loop, for limits that a stock one does not set.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listen::Listeners;
use crate::access::Principal;

/// The most connections at once. More of them wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 3072;
/// The most streams among them.
const MAX_STREAMS: usize = 2048;
/// Descriptors that are not for connections: database, agents, log, whatever the engine has open.
const KEPT: usize = 256;
/// The limit of open files that a daemon wants.
pub(crate) const DESCRIPTORS: u64 = 4096;
/// What may wait in a socket for a client that does not read. The kernel would let it grow to megabytes.
const SEND_BUFFER: usize = 64 * 1024;
/// How long a client may take for the head of a request.
const HEAD_PATIENCE: Duration = Duration::from_secs(15);
/// The largest head, and the most bytes that wait for a reader who does not read.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long answers under way may take once the server is to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait when no connection can be accepted, as when there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many clients can be served at once. Streams stay open, so what they may take leaves room for ordinary requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// All connections.
    pub connections: usize,
    /// Those that may be streams.
    pub streams: usize,
}

impl Capacity {
    /// What this process's limit of open files allows.
    pub fn of_process() -> Self {
        let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
        Self::of(limit.map_or(0, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX)))
    }

    fn of(descriptors: usize) -> Self {
        let connections = descriptors.saturating_sub(KEPT).clamp(64, MAX_CONNECTIONS);
        Self {
            connections,
            streams: MAX_STREAMS.min(connections / 3 * 2),
        }
    }
}

/// Serves `router` to whoever connects to `listeners`, until `stop` is cancelled and the answers under way are given.
pub async fn serve(listeners: Listeners, router: Router, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(Capacity::of_process().connections));
    let connections = TaskTracker::new();
    let force = CancellationToken::new();
    while let Some((stream, permit)) = next(&listeners, &room, &stop).await {
        let service = Known {
            inner: TowerToHyperService::new(router.clone()),
            peer: stream.peer(),
        };
        let tls = listeners.tls.clone();
        let (stop, force) = (stop.clone(), force.clone());
        connections.spawn(async move {
            tokio::select! {
                () = stream.serve(tls, service, stop) => {}
                () = force.cancelled() => {}
            }
            drop(permit);
        });
    }
    drop(listeners);
    connections.close();
    if tokio::time::timeout(STOP_PATIENCE, connections.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            open = connections.len(),
            "connections that did not end are closed"
        );
        force.cancel();
        connections.wait().await;
    }
}

async fn next(
    listeners: &Listeners,
    room: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(Stream, OwnedSemaphorePermit)> {
    let accepted = async {
        // The semaphore is never closed.
        let permit = Arc::clone(room).acquire_owned().await.ok()?;
        loop {
            match accept(listeners).await {
                Ok(stream) => return Some((stream, permit)),
                Err(error) => {
                    tracing::warn!(%error, "a connection can't be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        accepted = accepted => accepted,
    }
}

async fn accept(listeners: &Listeners) -> io::Result<Stream> {
    let at_socket = async {
        match &listeners.socket {
            Some(socket) => socket.listener.accept().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        tcp = listeners.port.accept() => Ok(Stream::Tcp(tcp?.0)),
        unix = at_socket => Ok(Stream::Unix(unix?.0)),
    }
}

/// A connection that was just made.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Who is at the other end, where the system says so and it is this process's own user.
    fn peer(&self) -> Option<Principal> {
        let Self::Unix(stream) = self else {
            return None;
        };
        let peer = stream.peer_cred().ok()?;
        let own = nix::unistd::geteuid().as_raw();
        (peer.uid() == own).then(|| Principal::Socket {
            uid: peer.uid(),
            pid: peer.pid(),
        })
    }

    async fn serve<S>(self, tls: Option<TlsAcceptor>, service: S, stop: CancellationToken)
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    {
        match (self, tls) {
            (Self::Unix(stream), _) => {
                bound(&stream);
                connection(stream, service, stop).await;
            }
            (Self::Tcp(stream), tls) => {
                // Answers are whole writes, and events should leave at once.
                let _ = stream.set_nodelay(true);
                bound(&stream);
                let Some(tls) = tls else {
                    return connection(stream, service, stop).await;
                };
                match tokio::time::timeout(HEAD_PATIENCE, tls.accept(stream)).await {
                    Ok(Ok(stream)) => connection(stream, service, stop).await,
                    Ok(Err(error)) => tracing::debug!(%error, "a client does not speak TLS"),
                    Err(_) => tracing::debug!("a client did not begin TLS in time"),
                }
            }
        }
    }
}

/// Bounds what waits in the kernel for a reader who does not read.
fn bound(stream: &impl std::os::fd::AsFd) {
    let _ = nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::SndBuf, &SEND_BUFFER);
}

/// A service for a client that is known.
struct Known<S> {
    inner: S,
    peer: Option<Principal>,
}

impl<S, B> Service<Request<B>> for Known<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<B>) -> Self::Future {
        if let Some(peer) = &self.peer {
            request.extensions_mut().insert(peer.clone());
        }
        self.inner.call(request)
    }
}

async fn connection<I, S>(stream: I, service: S, stop: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_headers(64)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %ccm_core::chain(&error), "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_always_leave_room_for_other_requests() {
        for descriptors in [0, 100, 256, 1024, 4096, 1 << 20, usize::MAX] {
            let Capacity {
                connections,
                streams,
            } = Capacity::of(descriptors);
            assert!(streams >= 32, "{descriptors}");
            assert!(connections - streams >= 16, "{descriptors}");
            assert!(
                connections == 64 || connections + KEPT <= descriptors,
                "{descriptors}"
            );
        }
        let wanted = Capacity {
            connections: MAX_CONNECTIONS,
            streams: MAX_STREAMS,
        };
        assert_eq!(Capacity::of(8192), wanted);
    }
}
