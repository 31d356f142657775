//! The API's description, made from the handlers themselves.

mod finish;
mod links;
mod variants;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use ccm_core::api::{self, shapes};
use serde_json::Value;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::{Response as Described, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, SecurityRequirement};
use utoipa::{IntoResponses, Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::OPEN_PATH;
use super::routes;
use crate::app::App;

/// Where the description is served.
pub const OPENAPI_PATH: &str = "/api/v1/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "CCM",
        description = "Runs coding agents off a durable queue of tasks. Every operation but `get_health` needs the token in the \
                       file `token` of the machine's home. Errors are problems as RFC 9457 has them; programs look at \
                       `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "http://127.0.0.1:8765", description = "The local daemon of this machine, at its usual address")),
    components(schemas(
        api::Problem, api::Event, api::EventKind, api::Stream, api::TaskStateName, api::TerminalMessage,
        api::TerminalInput, api::Machines, shapes::ClientName, shapes::EventId, shapes::IdempotencyKey, shapes::PageToken,
    )),
    modifiers(&Bearer),
    tags(
        (name = "tasks", description = "What someone wants done."),
        (name = "runs", description = "Attempts at tasks."),
        (name = "projects", description = "Folders on machines, and whether their settings are trusted."),
        (name = "agents", description = "Projects' workers."),
        (name = "asks", description = "Questions of running agents to people."),
        (name = "events", description = "The log of everything."),
        (name = "systems", description = "Machines."),
        (name = "sync", description = "How the queue is shared between machines."),
        (name = "config", description = "What machine and projects are set to."),
        (name = "access", description = "Browsers that are signed in, and who did what."),
        (name = "daemon", description = "The daemon itself."),
    ),
)]
struct Api;

/// Every route with its description.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    let v1 = OpenApiRouter::new()
        .merge(routes::status::routes())
        .merge(routes::stats::routes())
        .merge(routes::access::routes())
        .merge(routes::config::routes())
        .merge(routes::systems::routes())
        .merge(routes::sync::routes())
        .merge(routes::projects::routes())
        .merge(routes::trust::routes())
        .merge(routes::templates::routes())
        .merge(routes::agents::routes())
        .merge(routes::terminal::routes())
        .merge(routes::asks::routes())
        .merge(routes::tasks::routes())
        .merge(routes::interrupt::routes())
        .merge(routes::bulk::routes())
        .merge(routes::runs::routes())
        .merge(routes::events::routes())
        .routes(routes!(openapi));
    OpenApiRouter::with_openapi(Api::openapi())
        .merge(routes::health::routes())
        .merge(routes::metrics::routes())
        .nest("/api/v1", v1)
}

/// The description of the whole API, as JSON.
pub fn document() -> Value {
    let mut document = routes().into_openapi();
    // Once the routes are there, unlike the modifiers of the derive.
    Common.modify(&mut document);
    let mut document = serde_json::to_value(&document).unwrap_or_default();
    links::add(&mut document);
    finish::finish(&mut document);
    document
}

/// The description of this API
///
/// OpenAPI 3.1.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "get_openapi",
    tag = "daemon",
    responses((status = 200, description = "The description", content_type = "application/json", body = Object)),
)]
async fn openapi() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());
    let mut response = TEXT.as_str().into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "The content of the file `token` in the machine's home.",
            ))
            .build();
        components.add_security_scheme("token", SecurityScheme::Http(token));
        document.security = Some(vec![SecurityRequirement::new(
            "token",
            Vec::<String>::new(),
        )]);
    }
}

/// What holds for every operation: who may not ask, and what can go wrong anywhere.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut Document) {
        for (path, item) in &mut document.paths.paths {
            let operations = [
                &mut item.get,
                &mut item.post,
                &mut item.put,
                &mut item.patch,
                &mut item.delete,
            ];
            for operation in operations.into_iter().flatten() {
                let open = path == OPEN_PATH;
                if open {
                    operation.security = Some(vec![SecurityRequirement::default()]);
                } else {
                    describe(operation, Unauthorized::responses());
                    describe(operation, TooManyAttempts::responses());
                }
                describe(operation, Forbidden::responses());
                describe(operation, Internal::responses());
            }
        }
    }
}

fn describe(operation: &mut Operation, responses: BTreeMap<String, RefOr<Described>>) {
    for (status, response) in responses {
        operation
            .responses
            .responses
            .entry(status)
            .or_insert(response);
    }
}

fn problem(description: &str, retry_after: bool) -> Described {
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .build();
    let mut response = ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", content);
    if retry_after {
        let seconds = ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Integer))
            .minimum(Some(0))
            .maximum(Some(3600));
        let header = HeaderBuilder::new()
            .description(Some("After how many seconds another try makes sense."))
            .schema(Some(seconds));
        response = response.header("Retry-After", header.build());
    }
    response.build()
}

macro_rules! problems {
    ($($name:ident = $status:literal, $retry:literal, $description:literal;)*) => {$(
        #[doc = concat!("The answer ", $status, ", for the description of routes.")]
        pub(super) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Described>> {
                BTreeMap::from([($status.to_owned(), RefOr::T(problem($description, $retry)))])
            }
        }
    )*};
}

problems! {
    BadRequest = "400", false, "A parameter, a header or the JSON can't be read.";
    Unauthorized = "401", false, "The token is missing or wrong.";
    Forbidden = "403", false, "The caller may not do this, or `Host` or `Origin` is not one that this daemon answers to.";
    NotFound = "404", false, "The object is not there.";
    Timeout = "408", false, "The body did not come in time.";
    Conflict = "409", false, "The object's state does not allow it, or the name or path is taken.";
    Gone = "410", false, "The place in the log is gone or belongs to another log: read the state anew.";
    Stale = "412", false, "The object was changed meanwhile: look at it again.";
    TooLarge = "413", false, "The body is too large.";
    UnsupportedMediaType = "415", false, "The body is not `application/json`.";
    Invalid = "422", false, "A value is not allowed; `errors` says which.";
    PreconditionRequired = "428", false, "The request must have `If-Match` with the object's `ETag`.";
    QueueFull = "429", true, "The queue is full, or somebody tried too many wrong tokens.";
    TooManyAttempts = "429", true, "Somebody tried too many wrong tokens, and this one is wrong, too.";
    TooManyViewers = "429", true, "As many look at it as may at once, or somebody tried too many wrong tokens.";
    Internal = "500", false, "Something went wrong inside; the daemon's log says what.";
    Unsupported = "501", false, "This daemon can't do it as it is set up.";
    Unavailable = "503", true, "Something that this needs is not reachable now.";
    DiskFull = "507", true, "The disk is full.";
}
