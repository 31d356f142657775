use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{AppendHeaders, IntoResponse, Response};
use ccm_core::api::{Config, EditConfig, EditedProjectConfig, ProblemCode, Reload};
use ccm_core::id::ProjectId;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{Answer, App, Id, Json as Body, Query, Routes, openapi};
use crate::http::error::ApiError;
use crate::http::etag::{self, IfMatch};
use crate::machine::schema::{MACHINE, PROJECT};

/// The most changes of one request.
const MOST_CHANGES: usize = 100;
/// The most characters of a value.
const MOST_VALUE: usize = 4096;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(get_config, edit_config))
        .routes(routes!(get_config_schema))
        .routes(routes!(get_project_config, edit_project_config))
}

/// What this machine's config says
///
/// Every key of the file with what counts for it and where that comes from. A value that waits for a restart is shown as
/// the file has it. Secrets are not shown.
#[utoipa::path(
    get,
    path = "/config",
    operation_id = "get_config",
    tag = "config",
    responses(
        (status = 200, description = "The config", body = Config, headers(
            ("ETag" = String, description = "What `If-Match` of a change wants"),
        )),
        openapi::Invalid,
    ),
)]
async fn get_config(State(app): State<Arc<App>>) -> Answer<Response> {
    let (config, tag) = app.config().await??;
    let etag = etag::named(format!("\"{tag}\""));
    Ok((AppendHeaders([etag]), Json(config)).into_response())
}

/// Change this machine's config
///
/// All of the changes or none: a value that is not allowed, or a file that would have errors, changes nothing. Comments
/// and every other line of the file stay. What can count in a running daemon does at once; what needs a restart is named.
#[utoipa::path(
    patch,
    path = "/config",
    operation_id = "edit_config",
    tag = "config",
    request_body = EditConfig,
    params(
        ("If-Match" = String, Header, min_length = 1, max_length = 1024, pattern = "^[ -~]*$",
            description = "The `ETag` of the config as the editor saw it, or `*`."),
    ),
    responses(
        (status = 200, description = "What changed", body = Reload, headers(
            ("ETag" = String, description = "What `If-Match` of the next change wants"),
        )),
        openapi::BadRequest, openapi::Timeout, openapi::Stale, openapi::TooLarge,
        openapi::UnsupportedMediaType, openapi::Invalid, openapi::PreconditionRequired, openapi::DiskFull,
    ),
)]
async fn edit_config(
    State(app): State<Arc<App>>,
    seen: IfMatch,
    Body(edit): Body<EditConfig>,
) -> Answer<Response> {
    within_bounds(&edit)?;
    let (report, tag) = app.edit_config(edit, seen).await?;
    let etag = etag::named(format!("\"{tag}\""));
    Ok((AppendHeaders([etag]), Json(report?)).into_response())
}

fn within_bounds(edit: &EditConfig) -> Answer<()> {
    if !(1..=MOST_CHANGES).contains(&edit.changes.len()) {
        return Err(ApiError::part(
            ProblemCode::Invalid,
            "/changes",
            format!("1 to {MOST_CHANGES} changes can be made at once"),
        ));
    }
    for (at, change) in edit.changes.iter().enumerate() {
        let value = change.value.as_deref().unwrap_or_default();
        if value.chars().count() > MOST_VALUE || value.contains('\0') {
            return Err(ApiError::part(
                ProblemCode::Invalid,
                format!("/changes/{at}/value"),
                format!("a value has at most {MOST_VALUE} characters, and no NUL among them"),
            ));
        }
    }
    Ok(())
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OfFile {
    /// Of which file: this machine's, or that of a project.
    #[serde(default)]
    #[param(value_type = Option<ConfigFile>, inline)]
    of: ConfigFile,
}

/// A config file that there is a schema of.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ConfigFile {
    #[default]
    Machine,
    Project,
}

/// What can be in a config file
///
/// A JSON Schema of this machine's, or of one of a project.
#[utoipa::path(
    get,
    path = "/config/schema",
    operation_id = "get_config_schema",
    tag = "config",
    params(OfFile),
    responses(
        (status = 200, description = "The schema", body = Object, content_type = "application/json"),
        openapi::BadRequest,
    ),
)]
async fn get_config_schema(Query(file): Query<OfFile>) -> Response {
    static OF_MACHINE: LazyLock<String> = LazyLock::new(|| MACHINE.json_text());
    static OF_PROJECT: LazyLock<String> = LazyLock::new(|| PROJECT.json_text());
    let text = match file.of {
        ConfigFile::Machine => OF_MACHINE.as_str(),
        ConfigFile::Project => OF_PROJECT.as_str(),
    };
    let kind = (header::CONTENT_TYPE, "application/json");
    ([kind], text).into_response()
}

/// What a project's config says
///
/// As far as nothing else counts for it: what the project leaves to its machine is shown with the machine's value.
#[utoipa::path(
    get,
    path = "/projects/{id}/config",
    operation_id = "get_project_config",
    tag = "config",
    params(("id" = ProjectId, Path, description = "The project's id")),
    responses(
        (status = 200, description = "The config", body = Config, headers(
            ("ETag" = String, description = "What `If-Match` of a change wants"),
        )),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Invalid, openapi::Unavailable,
    ),
)]
async fn get_project_config(
    State(app): State<Arc<App>>,
    Id(id): Id<ProjectId>,
) -> Answer<Response> {
    let (config, tag) = app.project_config(id).await??;
    let etag = etag::named(format!("\"{tag}\""));
    Ok((AppendHeaders([etag]), Json(config)).into_response())
}

/// Change a project's config
///
/// All of the changes or none, as with this machine's. What can run code is trusted by it, if the rest of what can was
/// trusted: who sets one key has not seen the others. `trusted` says how it came out; if it did not, the settings are
/// to be looked at and trusted, and the queue waits for that.
#[utoipa::path(
    patch,
    path = "/projects/{id}/config",
    operation_id = "edit_project_config",
    tag = "config",
    request_body = EditConfig,
    params(
        ("id" = ProjectId, Path, description = "The project's id"),
        ("If-Match" = String, Header, min_length = 1, max_length = 1024, pattern = "^[ -~]*$",
            description = "The `ETag` of the config as the editor saw it, or `*`."),
    ),
    responses(
        (status = 200, description = "What it led to", body = EditedProjectConfig, headers(
            ("ETag" = String, description = "What `If-Match` of the next change wants"),
        )),
        openapi::BadRequest, openapi::NotFound, openapi::Timeout, openapi::Conflict, openapi::Stale, openapi::TooLarge,
        openapi::UnsupportedMediaType, openapi::Invalid, openapi::PreconditionRequired, openapi::Unavailable,
        openapi::DiskFull,
    ),
)]
async fn edit_project_config(
    State(app): State<Arc<App>>,
    Id(id): Id<ProjectId>,
    seen: IfMatch,
    Body(edit): Body<EditConfig>,
) -> Answer<Response> {
    within_bounds(&edit)?;
    let (edited, tag) = app.edit_project_config(id, edit, seen).await?;
    let etag = etag::named(format!("\"{tag}\""));
    Ok((AppendHeaders([etag]), Json(edited)).into_response())
}
