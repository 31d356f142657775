//! Requests to a Supabase project.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ccm_core::{Error, Result};
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;

use super::connect::Connector;
use super::{Project, Secret};

/// The longest that an answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer that is read. A page of a pull has about 4 MiB.
const MAX_ANSWER: usize = 32 * 1024 * 1024;
/// An idle line is kept for so long.
const IDLE: Duration = Duration::from_secs(90);
/// The version of the errors of the auth server.
const API_VERSION: &str = "2024-01-01";

/// Speaks to one project. Clones share its lines.
#[derive(Clone)]
pub(super) struct Http {
    shared: Arc<Shared>,
}

struct Shared {
    project: Project,
    connector: Connector,
    client: Client<Connector, Full<Bytes>>,
    /// So many requests are under way at once, at most.
    room: Semaphore,
}

/// A request.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// From the project's address on.
    pub(super) path: &'a str,
    pub(super) bearer: Option<&'a Secret>,
    pub(super) body: Option<Bytes>,
    pub(super) patience: Duration,
}

/// An answer, whatever its status.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    /// The auth server's code of an error.
    pub(super) code: Option<String>,
    pub(super) body: Bytes,
}

impl Http {
    /// With at most `connections` requests at once. Nothing is opened yet.
    pub(super) fn new(project: Project, connections: usize) -> Self {
        let connector = Connector::new();
        let connections = connections.max(1);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(connections)
            .pool_timer(TokioTimer::new())
            .build(connector.clone());
        Self {
            shared: Arc::new(Shared {
                project,
                connector,
                client,
                room: Semaphore::new(connections),
            }),
        }
    }

    pub(super) fn project(&self) -> &Project {
        &self.shared.project
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.shared.connector
    }

    /// Asks once. Redirects are answers like any other: whoever they lead to is told nothing.
    ///
    /// # Errors
    /// `Unavailable` without an answer.
    pub(super) async fn ask(&self, call: Call<'_>) -> Result<Reply> {
        let request = self.request(&call)?;
        let asked = async {
            // Never closed.
            let _room = self.shared.room.acquire().await.ok();
            let answer = self.shared.client.request(request).await;
            let (head, body) = answer.map_err(|error| self.silent(error))?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            Ok(Reply {
                status: head.status,
                code: head
                    .headers
                    .get("x-sb-error-code")
                    .and_then(|value| value.to_str().ok())
                    .map(str::to_owned),
                body: body
                    .map_err(|error| self.unreachable("broke its answer off").with_source(error))?
                    .to_bytes(),
            })
        };
        tokio::time::timeout(call.patience, asked)
            .await
            .unwrap_or_else(|_| Err(self.unreachable("did not answer in time")))
    }

    fn request(&self, call: &Call<'_>) -> Result<Request<Full<Bytes>>> {
        let project = &self.shared.project;
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(project.at(call.path)?)
            .header("apikey", project.key().clone())
            .header("x-supabase-api-version", API_VERSION)
            .header(header::ACCEPT, "application/json")
            .header(
                header::USER_AGENT,
                concat!("ccm/", env!("CARGO_PKG_VERSION")),
            );
        if let Some(token) = call.bearer {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
            let mut value =
                value.map_err(|_| Error::internal("the token can't be sent in a header"))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        if call.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request
            .body(Full::new(call.body.clone().unwrap_or_default()))
            .map_err(|_| Error::internal("a request can't be made"))
    }

    fn silent(&self, error: hyper_util::client::legacy::Error) -> Error {
        let what = if error.is_connect() {
            "can't be reached"
        } else {
            "gave no answer"
        };
        self.unreachable(what).with_source(error)
    }

    fn unreachable(&self, what: &str) -> Error {
        Error::unavailable(format!("{} {what}", self.shared.project.host()))
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Http").field(&self.shared.project).finish()
    }
}
