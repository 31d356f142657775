use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ccm_core::api::{Page, ProblemCode, RenderTemplate, RenderedTemplate, Template};
use ccm_core::id::ProjectId;
use utoipa_axum::routes;

use super::{Answer, App, Id, Json as Body, Routes, openapi};
use crate::app::NotRendered;
use crate::http::error::ApiError;
use crate::machine::NoTemplate;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_templates))
        .routes(routes!(render_template))
}

/// A project's templates of tasks
///
/// The files in its `.ccm/prompts/`, by name, at most 200 of them; `total` says how many there are. What can't be used is
/// listed with the reason. Links, folders and hidden files are no templates.
#[utoipa::path(
    get,
    path = "/projects/{id}/templates",
    operation_id = "list_templates",
    tag = "projects",
    params(("id" = ProjectId, Path, description = "The project's id")),
    responses(
        (status = 200, description = "The templates", body = Page<Template>),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::Invalid, openapi::Unavailable,
    ),
)]
async fn list_templates(
    State(app): State<Arc<App>>,
    Id(id): Id<ProjectId>,
) -> Answer<Json<Page<Template>>> {
    let (items, total) = app.templates(id).await?;
    Ok(Json(Page {
        items,
        next_page_token: None,
        total: Some(total as u64),
    }))
}

/// Fill in a template
///
/// Creates nothing: the answer is the text for a task, which can be looked at and changed before one is created with it.
#[utoipa::path(
    post,
    path = "/projects/{id}/templates/render",
    operation_id = "render_template",
    tag = "projects",
    params(("id" = ProjectId, Path, description = "The project's id")),
    request_body = RenderTemplate,
    responses(
        (status = 200, description = "What it comes to", body = RenderedTemplate),
        openapi::BadRequest, openapi::NotFound, openapi::Timeout, openapi::Conflict, openapi::TooLarge,
        openapi::UnsupportedMediaType, openapi::Invalid, openapi::Unavailable,
    ),
)]
async fn render_template(
    State(app): State<Arc<App>>,
    Id(id): Id<ProjectId>,
    Body(request): Body<RenderTemplate>,
) -> Answer<Json<RenderedTemplate>> {
    Ok(Json(app.render_template(id, request).await?))
}

impl From<NotRendered> for ApiError {
    fn from(why: NotRendered) -> Self {
        match why {
            NotRendered::NoTemplate(error) => {
                let code = match error {
                    NoTemplate::Unknown { .. } => ProblemCode::TemplateNotFound,
                    NoTemplate::NoName(_) | NoTemplate::Unusable { .. } => ProblemCode::Invalid,
                };
                Self::part(code, "/template", error.to_string())
            }
            NotRendered::Misfit(detail, parts) => {
                let error = Self::new(ProblemCode::Invalid, detail);
                parts.into_iter().fold(error, |error, (pointer, message)| {
                    error.and_part(pointer, message)
                })
            }
            NotRendered::Other(refusal) => refusal.into(),
        }
    }
}
