//! Every answer that is not a success: RFC 9457, with a stable code, and nothing of the inside.

use std::any::Any;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ccm_core::api::{Problem, ProblemCode, ProblemPart};
use ccm_core::{Error, ErrorKind};

use crate::app::{Refusal, SyncRefusal};
use crate::machine::ConfigErrors;

/// What a handler returns.
pub(crate) type Answer<T> = Result<T, ApiError>;

/// A problem on its way to a client.
#[derive(Debug)]
pub(crate) struct ApiError {
    problem: Box<Problem>,
    retry_after_s: Option<u32>,
}

impl ApiError {
    pub(crate) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            problem: Box::new(Problem::new(code, detail)),
            retry_after_s: None,
        }
    }

    /// A problem with one part of the request.
    pub(crate) fn part(
        code: ProblemCode,
        pointer: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        let message = message.into();
        Self::new(code, message.clone()).and_part(pointer, message)
    }

    /// The same with one more part of the request that is wrong.
    pub(crate) fn and_part(
        mut self,
        pointer: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        self.problem.errors.push(ProblemPart {
            pointer: pointer.into(),
            message: message.into(),
        });
        self
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(ProblemCode::BadRequest, detail)
    }

    pub(crate) fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    pub(crate) fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.problem).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let code = ProblemCode::from(&error);
        if code == ProblemCode::Internal {
            // Only the log may tell.
            tracing::error!(error = %ccm_core::chain(&error), "a request failed inside");
            if error.kind() == ErrorKind::Corrupt {
                return Self::new(
                    ProblemCode::Internal,
                    "stored data are damaged: `ccm daemon logs` says which; stop the daemon and put a backup in their place",
                );
            }
            return Self::internal();
        }
        // What caused these is for the operator, not for the client.
        if std::error::Error::source(&error).is_some() {
            tracing::warn!(error = %ccm_core::chain(&error), code = code.as_str(), "a request was refused");
        }
        let answer = match error.part() {
            Some(part) => Self::part(code, part, error.to_string()),
            None => Self::new(code, error.to_string()),
        };
        match code {
            ProblemCode::QueueFull => answer.retry_after(10),
            ProblemCode::Unavailable => answer.retry_after(5),
            ProblemCode::DiskFull => answer.retry_after(60),
            _ => answer,
        }
    }
}

impl From<ConfigErrors> for ApiError {
    fn from(errors: ConfigErrors) -> Self {
        let mut answer = Self::new(ProblemCode::Invalid, errors.to_string());
        answer.problem.errors = errors
            .problems
            .iter()
            .map(|problem| ProblemPart {
                pointer: problem
                    .key
                    .as_deref()
                    .map_or_else(String::new, |key| format!("/{}", key.replace('.', "/"))),
                message: problem.to_string(),
            })
            .collect();
        answer
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unusable(error) => {
                Self::part(ProblemCode::ProjectUnusable, "/path", error.to_string())
            }
            Refusal::TrustChanged(detail) => Self::new(ProblemCode::TrustChanged, detail),
            Refusal::Other(error) => error.into(),
        }
    }
}

impl From<SyncRefusal> for ApiError {
    fn from(refusal: SyncRefusal) -> Self {
        match refusal {
            SyncRefusal::Is(code, detail) => Self::new(code, detail),
            SyncRefusal::Other(error) => error.into(),
        }
    }
}

impl ApiError {
    fn internal() -> Self {
        Self::new(
            ProblemCode::Internal,
            "something went wrong inside; `ccm daemon logs` says what",
        )
    }
}

/// The answer for a path that is none.
pub(crate) async fn no_such_path(request: Request) -> ApiError {
    ApiError::new(
        ProblemCode::NotFound,
        format!("there is no path {}", request.uri().path()),
    )
}

/// The answer for a method that a path lacks. The router adds `Allow`.
pub(crate) async fn no_such_method(method: Method, request: Request) -> ApiError {
    ApiError::new(
        ProblemCode::MethodNotAllowed,
        format!("{} can't be asked with {method}", request.uri().path()),
    )
}

/// The answer when a handler panicked.
pub(crate) fn panicked(panic: Box<dyn Any + Send>) -> axum::http::Response<Body> {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(panic = text, "a request handler panicked");
    ApiError::internal().into_response()
}
