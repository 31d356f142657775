//! An agent's terminal over a WebSocket.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;
use ccm_agents::tmux::{Frame, Terminal};
use ccm_core::api::{
    TERMINAL_PROTOCOL, TerminalClose, TerminalCursor, TerminalInput, TerminalMessage,
    TerminalScreen,
};
use ccm_core::id::AgentId;
use tokio::time::Instant;

use super::error::ApiError;
use crate::access::Principal;
use crate::app::{App, Seat};

/// The largest message that a client may send.
const MOST_BYTES: usize = 64 * 1024;
/// What a client may type: so many bytes a second, and this long for any message. Who types more is read more slowly.
const BYTES_PER_SECOND: u32 = 256 * 1024;
const A_MESSAGE: Duration = Duration::from_millis(2);
/// How much may be typed at once nevertheless.
const BURST: Duration = Duration::from_millis(250);
/// How often a client that says nothing is asked whether it is there.
const PING: Duration = Duration::from_secs(30);
/// How long a client may take nothing, or say nothing.
const SILENCE: Duration = Duration::from_secs(75);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// A request that becomes a WebSocket of the right kind.
pub(super) struct Upgrade(WebSocketUpgrade);

impl<S: Send + Sync> FromRequestParts<S> for Upgrade {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state)
            .await
            .map_err(|rejection| {
                ApiError::bad_request(format!(
                    "this is a WebSocket, to be connected to as one: {}",
                    rejection.body_text()
                ))
            })?
            .protocols([TERMINAL_PROTOCOL]);
        if upgrade.selected_protocol().is_none() {
            return Err(ApiError::part(
                ccm_core::api::ProblemCode::BadRequest,
                "sec-websocket-protocol",
                format!("offer the subprotocol {TERMINAL_PROTOCOL}"),
            ));
        }
        Ok(Self(
            upgrade
                .max_message_size(MOST_BYTES)
                .max_frame_size(MOST_BYTES),
        ))
    }
}

impl Upgrade {
    pub(super) fn serve(self, viewer: Viewer) -> Response {
        self.0.on_upgrade(|socket| viewer.serve(socket))
    }
}

/// Somebody who looks at an agent's terminal.
pub(super) struct Viewer {
    pub(super) app: Arc<App>,
    pub(super) principal: Principal,
    pub(super) agent: AgentId,
    pub(super) terminal: Terminal,
    /// Whether it may type.
    pub(super) input: bool,
    /// Given back at the end.
    pub(super) seat: Seat,
}

/// The end of a connection: with a reason to tell, or without anybody to tell it to.
type End = Option<TerminalClose>;

impl Viewer {
    async fn serve(mut self, mut socket: WebSocket) {
        let app = Arc::clone(&self.app);
        let principal = self.principal.clone();
        let end = tokio::select! {
            biased;
            () = app.stopping().cancelled() => Some(TerminalClose::Stopping),
            () = app.until_revoked(&principal) => Some(TerminalClose::Revoked),
            end = self.talk(&mut socket) => end,
        };
        let farewell = async {
            if let Some(close) = end {
                let frame = CloseFrame {
                    code: close.code(),
                    reason: close.as_str().into(),
                };
                socket.send(Message::Close(Some(frame))).await.ok()?;
            }
            // Until both have said good-bye: an end before that could overtake the reason.
            while socket.recv().await?.is_ok() {}
            Some(())
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
        drop(self.seat);
    }

    async fn talk(&mut self, socket: &mut WebSocket) -> End {
        let mut heard = Instant::now();
        let mut ping = heard + PING;
        // When all that was typed is paid for.
        let mut paid = heard;
        loop {
            let now = Instant::now();
            let pause = paid.checked_duration_since(now + BURST);
            tokio::select! {
                frame = self.terminal.next() => {
                    let message = match frame {
                        Ok(frame) => self.message(frame),
                        Err(_) => return Some(self.app.why_gone(self.agent).await),
                    };
                    match tokio::time::timeout(SILENCE, socket.send(message)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return None,
                        Err(_) => return Some(TerminalClose::TooSlow),
                    }
                }
                said = socket.recv(), if pause.is_none() => {
                    heard = Instant::now();
                    ping = heard + PING;
                    match self.hear(said).await {
                        ControlFlow::Continue(cost) => paid = paid.max(heard) + cost,
                        ControlFlow::Break(end) => return end,
                    }
                }
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
                () = tokio::time::sleep_until(ping) => {
                    if heard.elapsed() > SILENCE {
                        return Some(TerminalClose::TooSlow);
                    }
                    ping = Instant::now() + PING;
                    match tokio::time::timeout(SILENCE, socket.send(Message::Ping(Bytes::new()))).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return None,
                        Err(_) => return Some(TerminalClose::TooSlow),
                    }
                }
            }
        }
    }

    fn message(&self, frame: Frame) -> Message {
        let screen = match frame {
            Frame::Output(text) => return Message::Binary(Bytes::copy_from_slice(text.as_bytes())),
            Frame::Screen(screen) => screen,
        };
        let told = TerminalMessage::Screen(TerminalScreen {
            columns: screen.columns,
            rows: screen.rows,
            cursor: TerminalCursor {
                column: screen.cursor.column,
                row: screen.cursor.row,
                visible: screen.cursor.visible,
            },
            alternate: screen.alternate,
            input: self.input,
            content: screen.content.clone(),
        });
        Message::Text(serde_json::to_string(&told).unwrap_or_default().into())
    }

    /// Does what the client says. The answer is what it costs.
    async fn hear(&self, said: Option<Result<Message, axum::Error>>) -> ControlFlow<End, Duration> {
        let (size, done) = match said {
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                return ControlFlow::Continue(A_MESSAGE);
            }
            // The closing was answered already.
            None | Some(Ok(Message::Close(_))) => return ControlFlow::Break(None),
            Some(Err(error)) => {
                return ControlFlow::Break(is_too_large(&error).then_some(TerminalClose::TooLarge));
            }
            Some(Ok(_)) if !self.input => {
                return ControlFlow::Break(Some(TerminalClose::InputNotAllowed));
            }
            Some(Ok(Message::Binary(keys))) => (keys.len(), self.terminal.keys(&keys).await),
            Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                Ok(TerminalInput::Paste { text: pasted }) => {
                    (text.len(), self.terminal.paste(&pasted).await)
                }
                Ok(_) | Err(_) => {
                    return ControlFlow::Break(Some(TerminalClose::BadMessage));
                }
            },
        };
        match done {
            Ok(()) => {
                let size = u32::try_from(size).unwrap_or(u32::MAX);
                let cost = Duration::from_secs(1) * size / BYTES_PER_SECOND;
                ControlFlow::Continue(A_MESSAGE + cost)
            }
            Err(_) => ControlFlow::Break(Some(self.app.why_gone(self.agent).await)),
        }
    }
}

/// Whether a client's message was refused for its size. axum hides the kind of error, not its source.
fn is_too_large(error: &axum::Error) -> bool {
    ccm_core::chain(error).contains("too long")
}
