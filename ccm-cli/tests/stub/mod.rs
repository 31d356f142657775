#![doc = include_str!("directives.md")]
#![allow(dead_code, reason = "a harness has more than the tests of today need")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod gates;
mod request;
mod script;
mod server;
mod wire;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

pub(crate) use request::Request;
use server::Shared;

/// What the directives mean, for people.
pub(crate) const DIRECTIVES: &str = include_str!("directives.md");

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server on a port of its own. It and every connection to it end when it is dropped.
pub(crate) struct Stub {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Stub {
    pub(crate) fn start() -> Self {
        Self::at(0)
    }

    /// On a given port: the stub that comes back after another was dropped.
    pub(crate) fn at(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let router = server::router(Arc::clone(&shared));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    served = axum::serve(listener, router) => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// What `ANTHROPIC_BASE_URL` has to be.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything it was asked so far.
    pub(crate) fn requests(&self) -> Vec<Arc<Request>> {
        self.shared.requests()
    }

    /// What was asked of it in a conversation so far: the requests that directives answer.
    pub(crate) fn turns(&self) -> Vec<Arc<Request>> {
        let mut requests = self.requests();
        requests.retain(|request| request.is_turn());
        requests
    }

    /// The first request that `wanted` wants. Waits for it.
    #[track_caller]
    pub(crate) fn await_request(&self, mut wanted: impl FnMut(&Request) -> bool) -> Arc<Request> {
        self.shared
            .await_request(&mut wanted, PATIENCE)
            .expect("the wanted request came")
    }

    /// Waits, for as long as it takes, until more than `seen` requests came, and returns those beyond.
    pub(crate) fn beyond(&self, seen: usize) -> Vec<Arc<Request>> {
        let mut count = 0;
        let mut more = |_: &Request| {
            count += 1;
            count > seen
        };
        self.shared.await_request(&mut more, Duration::MAX);
        self.requests().split_off(seen)
    }

    /// Opens a gate, for what waits at it and for all that comes later.
    pub(crate) fn open(&self, gate: &str) {
        self.shared.gates.open(gate);
    }

    /// Waits until an answer waits at the gate.
    #[track_caller]
    pub(crate) fn waits_at(&self, gate: &str) {
        let waits = self.shared.gates.await_waiting(gate, PATIENCE);
        assert!(waits, "never: an answer waits at the gate {gate}");
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
