//! Calls of the project's functions.

use bytes::Bytes;
use ccm_core::{Error, Result};
use hyper::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Secret;
use super::failure::{self, Failure};
use super::http::{Call, Http, PATIENCE};

/// The arguments of a function, as they are sent.
pub(super) fn arguments<A: Serialize>(arguments: &A) -> Result<Bytes> {
    let body = serde_json::to_vec(arguments);
    let body =
        body.map_err(|error| Error::internal("a request can't be written").with_source(error))?;
    Ok(body.into())
}

/// Calls a function once.
pub(super) async fn call<T: DeserializeOwned>(
    http: &Http,
    function: &str,
    body: Bytes,
    token: Option<&Secret>,
) -> Result<T, Failure> {
    // What is large may take longer on a slow line: a second for each 32 KiB.
    let more = std::time::Duration::from_secs(body.len() as u64 / 32_768);
    let path = format!("/rest/v1/rpc/{function}");
    let call = Call {
        method: Method::POST,
        path: &path,
        bearer: token,
        body: Some(body),
        patience: PATIENCE + more,
    };
    let reply = http.ask(call).await?;
    if !reply.status.is_success() {
        return Err(failure::of_function(function, &reply));
    }
    // The parser's own words would repeat some of the answer.
    serde_json::from_slice(&reply.body).map_err(|_| failure::unreadable(function).into())
}
