//! What running agents may ask with their own tokens: to see their project, and to put tasks into its queue.
//!
//! What is not in the table is refused. An agent can't answer its own questions, nor trust, stop or sign in anything.

use std::str::FromStr;

use axum::extract::MatchedPath;
use axum::http::Method;
use axum::http::request::Parts;
use ccm_core::api::ProblemCode;
use ccm_core::id::ProjectId;
use ccm_core::{Error, ErrorKind, Result};

use crate::access::Principal;
use crate::app::App;
use crate::http::error::{Answer, ApiError};

/// How it is known that what is asked for belongs to the agent's project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    /// It belongs to no project.
    Free,
    /// The handler keeps to the caller's project ([`Caller`](crate::http::extract::Caller)).
    Handler,
    /// The path has the project's id.
    Project,
    /// The path has the id of an object of the project.
    Task,
    Run,
    Ask,
    Agent,
}

const AGENTS_MAY: &[(Method, &str, Bound)] = &[
    (Method::GET, "/ready", Bound::Free),
    (Method::GET, "/api/v1/openapi.json", Bound::Free),
    (Method::GET, "/api/v1/status", Bound::Free),
    (Method::GET, "/api/v1/systems", Bound::Free),
    (Method::GET, "/api/v1/systems/{id}", Bound::Free),
    (Method::GET, "/api/v1/sync", Bound::Free),
    (Method::GET, "/api/v1/projects", Bound::Handler),
    (Method::GET, "/api/v1/projects/{id}", Bound::Project),
    (Method::GET, "/api/v1/agents", Bound::Handler),
    (Method::GET, "/api/v1/agents/{id}", Bound::Agent),
    (Method::GET, "/api/v1/tasks", Bound::Handler),
    (Method::POST, "/api/v1/tasks", Bound::Handler),
    (Method::POST, "/api/v1/tasks/bulk", Bound::Handler),
    (Method::GET, "/api/v1/tasks/{id}", Bound::Task),
    (Method::GET, "/api/v1/runs", Bound::Handler),
    (Method::GET, "/api/v1/runs/{id}", Bound::Run),
    (Method::GET, "/api/v1/runs/{id}/log", Bound::Run),
    (Method::GET, "/api/v1/runs/{id}/inputs", Bound::Run),
    (Method::GET, "/api/v1/runs/{id}/transcript", Bound::Run),
    (Method::GET, "/api/v1/asks", Bound::Handler),
    (Method::GET, "/api/v1/asks/{id}", Bound::Ask),
    (Method::GET, "/api/v1/events", Bound::Handler),
];

/// Refuses what an agent may not ask. Everybody else passes.
pub(super) async fn check(app: &App, principal: &Principal, request: &Parts) -> Answer<()> {
    let Principal::Agent { project, .. } = principal else {
        return Ok(());
    };
    let template = request
        .extensions
        .get::<MatchedPath>()
        .map_or("", MatchedPath::as_str);
    let method = match request.method {
        Method::HEAD => Method::GET,
        ref method => method.clone(),
    };
    let row = AGENTS_MAY
        .iter()
        .find(|(of, path, _)| *of == method && *path == template);
    let Some((_, _, bound)) = row else {
        return Err(ApiError::new(
            ProblemCode::Forbidden,
            "an agent's token is for seeing its project and for putting tasks into its queue, and for nothing else",
        ));
    };
    let id = id_in(template, request.uri.path());
    match owner(app, *bound, id).await {
        Ok(Some(owner)) if owner != *project => Err(elsewhere(*project)),
        // What is not there is the handler's to tell.
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::Invalid => Err(ApiError::part(
            ProblemCode::BadRequest,
            "id",
            error.to_string(),
        )),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The refusal of something in another project than the one that the caller is bound to.
pub(in crate::http) fn elsewhere(own: ProjectId) -> ApiError {
    ApiError::new(
        ProblemCode::Forbidden,
        format!("this agent's token is for its own project, {own}, alone"),
    )
}

/// The project that something belongs to; `None` if to none, or if only the handler can tell.
async fn owner(app: &App, bound: Bound, id: Option<&str>) -> Result<Option<ProjectId>> {
    let store = app.engine().store();
    Ok(match bound {
        Bound::Free | Bound::Handler => None,
        Bound::Project => Some(parsed(id)?),
        // Handlers answer for other machines' objects, too.
        Bound::Task => app.project_of_task(parsed(id)?).await?,
        Bound::Run => app.project_of_run(parsed(id)?).await?,
        Bound::Ask => app.project_of_ask(parsed(id)?).await?,
        Bound::Agent => Some(store.agent(parsed(id)?).await?.project_id),
    })
}

/// The id as it stands in the path. One that is written in another way, as with `%30`, is refused: what is looked up
/// here must be what the handler gets.
fn parsed<T: FromStr>(id: Option<&str>) -> Result<T> {
    id.and_then(|id| id.parse().ok())
        .ok_or_else(|| Error::invalid("the id in the path can't be read"))
}

/// What stands in the path where the template has `{id}`.
fn id_in<'a>(template: &str, path: &'a str) -> Option<&'a str> {
    let at = template.split('/').position(|part| part == "{id}")?;
    path.split('/').nth(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_with_an_id_is_bound_by_it() {
        for (method, path, bound) in AGENTS_MAY {
            let in_path = !matches!(bound, Bound::Free | Bound::Handler);
            let free = path.starts_with("/api/v1/systems");
            assert_eq!(path.contains("{id}") && !free, in_path, "{method} {path}");
        }
        let template = "/api/v1/runs/{id}/log";
        assert_eq!(id_in(template, "/api/v1/runs/x/log"), Some("x"));
        assert_eq!(id_in("/api/v1/runs", "/api/v1/runs"), None);
    }
}
