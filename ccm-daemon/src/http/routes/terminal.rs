use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use ccm_core::api::ProblemCode;
use ccm_core::id::AgentId;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{Answer, App, Caller, Id, Query, Routes, openapi};
use crate::app::MOST_VIEWERS;
use crate::http::error::ApiError;
use crate::http::terminal::{Upgrade, Viewer};

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(open_terminal))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct How {
    /// Whether keys and pastes go to the agent. Without it, typing closes the connection.
    #[serde(default)]
    #[param(value_type = Option<bool>, default = false)]
    input: bool,
}

/// An agent's terminal
///
/// A WebSocket with the subprotocol `ccm.terminal.v1`: the agent's pane as it is and as it changes, filtered, so that
/// nothing in it acts on the reader. Text messages of the daemon are a `TerminalMessage`, a whole screen first; binary
/// ones are what the pane prints. A client that asked for `input` sends keys in binary messages and pastes as a
/// `TerminalInput`. Looking wakes no agent and changes no size. `docs/terminal.md` has the codes it is closed with.
#[utoipa::path(
    get,
    path = "/agents/{id}/terminal",
    operation_id = "open_terminal",
    tag = "agents",
    params(
        ("id" = AgentId, Path, description = "The agent's id"),
        How,
        ("Sec-WebSocket-Protocol" = Option<String>, Header, max_length = 1024, pattern = "^[ -~]*$", description = "`ccm.terminal.v1`, which has to be offered"),
    ),
    extensions(("x-websocket" = json!({
        "sends": {"$ref": "#/components/schemas/TerminalMessage"},
        "receives": {"$ref": "#/components/schemas/TerminalInput"},
    }))),
    responses(
        (status = 101, description = "The connection is a WebSocket from now on"),
        openapi::BadRequest, openapi::NotFound, openapi::Conflict, openapi::TooManyViewers, openapi::Unsupported,
        openapi::Unavailable,
    ),
)]
async fn open_terminal(
    State(app): State<Arc<App>>,
    Caller(principal): Caller,
    Id(id): Id<AgentId>,
    Query(how): Query<How>,
    upgrade: Upgrade,
) -> Answer<Response> {
    let seat = app.seat(id).ok_or_else(|| {
        let detail = format!(
            "{MOST_VIEWERS} look at this agent's terminal, or too many at others; close one of them"
        );
        ApiError::new(ProblemCode::TooManyViewers, detail).retry_after(5)
    })?;
    let terminal = app.terminal(id).await?;
    let viewer = Viewer {
        app,
        principal,
        agent: id,
        terminal,
        input: how.input,
        seat,
    };
    Ok(upgrade.serve(viewer))
}
