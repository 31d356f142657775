//! Pokes: one connection that tells when the user's sequence has grown. It never carries data.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ccm_core::{Error, ErrorKind, Result};
use futures_util::{SinkExt, StreamExt};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::connect::Stream;
use super::frames::{self, Said};
use super::http::Http;
use super::tokens::Tokens;

/// The server ends a connection that says nothing for a minute.
const HEARTBEAT: Duration = Duration::from_secs(25);
/// The longest that joining takes. The server says that it has joined seconds before it has.
const JOINING: Duration = Duration::from_secs(30);
/// Pauses before the next connection; the last one again and again.
const PAUSES: [u64; 4] = [1, 2, 5, 10];
/// After so many that failed in a row, the pause is longer.
const MANY: usize = 12;
const LONG_PAUSE: u64 = 60;
/// No frame is longer.
const MAX_FRAME: usize = 1024 * 1024;

type Socket = WebSocketStream<Stream>;

/// What there is to know of pokes.
#[derive(Debug)]
pub(super) struct Pokes {
    count: watch::Sender<u64>,
    seen: Mutex<u64>,
    live: AtomicBool,
    /// Somebody else reached the server, so that it is worth another try.
    reached: Notify,
}

impl Default for Pokes {
    fn default() -> Self {
        Self {
            count: watch::Sender::new(0),
            seen: Mutex::new(0),
            live: AtomicBool::new(false),
            reached: Notify::new(),
        }
    }
}

impl Pokes {
    /// Returns when there was a poke that nobody has had.
    pub(super) async fn next(&self) {
        let mut count = self.count.subscribe();
        // The sender is here as long as this is.
        let _ = count
            .wait_for(|count| {
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                let is_new = *count > *seen;
                *seen = *count;
                is_new
            })
            .await;
    }

    pub(super) fn are_coming(&self) -> bool {
        self.live.load(Ordering::Relaxed)
    }

    /// A call was answered: the network is there.
    pub(super) fn reached(&self) {
        if !self.are_coming() {
            self.reached.notify_waiters();
        }
    }

    fn poke(&self) {
        self.count.send_modify(|count| *count += 1);
    }

    fn set_live(&self, live: bool) {
        self.live.store(live, Ordering::Relaxed);
    }
}

/// Keeps a connection for as long as it is polled, and makes a new one when it breaks.
pub(super) async fn run(http: Http, tokens: Tokens, pokes: Arc<Pokes>) {
    let mut failures = 0;
    loop {
        let outcome = once(&http, &tokens, &pokes).await;
        let joined = pokes.are_coming();
        pokes.set_live(false);
        failures = if joined { 0 } else { failures + 1 };
        if let Err(error) = &outcome {
            tracing::debug!("no pokes come: {}", ccm_core::chain(error));
        }
        let signed_out = outcome.is_err_and(|error| error.kind() == ErrorKind::Unauthenticated);
        let mut changes = tokens.changes();
        tokio::select! {
            () = tokio::time::sleep(pause(failures)) => {}
            _ = changes.changed(), if signed_out => {}
            () = pokes.reached.notified(), if failures > PAUSES.len() => {}
        }
    }
}

/// With jitter, so that many machines don't come back at once.
fn pause(failures: usize) -> Duration {
    let seconds = match failures {
        0 => PAUSES[0],
        many if many > MANY => LONG_PAUSE,
        some => PAUSES[(some - 1).min(PAUSES.len() - 1)],
    };
    let mut random = [0; 2];
    // Without random numbers all wait the same, which is no harm.
    let _ = SystemRandom::new().fill(&mut random);
    let part = f64::from(u16::from_ne_bytes(random)) / f64::from(u16::MAX);
    Duration::from_secs(seconds).mul_f64(0.75 + part / 2.0)
}

/// One connection, to its end.
async fn once(http: &Http, tokens: &Tokens, pokes: &Pokes) -> Result<()> {
    let mut changes = tokens.changes();
    changes.mark_unchanged();
    let mut token = tokens.get().await?;
    let mut socket = open(http).await?;
    send(&mut socket, frames::join(token.user, &token.access)).await?;
    let mut beat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let joining = tokio::time::sleep(JOINING);
    tokio::pin!(joining);
    let (mut number, mut unanswered) = (1, 0);
    loop {
        tokio::select! {
            message = socket.next() => match hear(message, pokes) {
                ControlFlow::Continue(Said::Alive) => unanswered = 0,
                ControlFlow::Continue(_) => {}
                ControlFlow::Break(error) => return Err(error),
            },
            _ = beat.tick() => {
                if unanswered > 1 {
                    return Err(Error::unavailable("the server does not answer any more"));
                }
                unanswered += 1;
                number += 1;
                send(&mut socket, frames::heartbeat(number)).await?;
                // Renewed here when nothing else is called for a while.
                tokens.get().await?;
            }
            changed = changes.changed() => {
                let now = tokens.get().await?;
                if changed.is_err() || now.user != token.user {
                    return Err(Error::unavailable("somebody else is signed in now"));
                }
                if now.access != token.access {
                    number += 1;
                    send(&mut socket, frames::access_token(number, &now.access)).await?;
                    token = now;
                }
            }
            () = &mut joining, if !pokes.are_coming() => {
                return Err(Error::unavailable("the server does not tell changes"));
            }
        }
    }
}

fn hear(
    message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
    pokes: &Pokes,
) -> ControlFlow<Error, Said> {
    let closed = || Error::unavailable("the server closed the connection for pokes");
    let text = match message {
        None | Some(Ok(Message::Close(_))) => return ControlFlow::Break(closed()),
        Some(Err(error)) => return ControlFlow::Break(closed().with_source(error)),
        Some(Ok(Message::Text(text))) => text,
        Some(Ok(_)) => return ControlFlow::Continue(Said::Nothing),
    };
    let said = frames::read(&text);
    match said {
        Said::Joined => {
            pokes.set_live(true);
            // What changed before nobody told.
            pokes.poke();
        }
        Said::Poke => pokes.poke(),
        Said::Refused => {
            let error = Error::unavailable("the server does not let this machine join for pokes");
            return ControlFlow::Break(error);
        }
        Said::Alive | Said::Nothing => {}
    }
    ControlFlow::Continue(said)
}

async fn open(http: &Http) -> Result<Socket> {
    let failed = |what: &str| Error::unavailable(format!("{} {what}", http.project().host()));
    let key = http.project().key().to_str().unwrap_or_default();
    let path = format!("/realtime/v1/websocket?apikey={key}&vsn=2.0.0");
    let uri = http.project().at(&path)?;
    let address = uri.to_string().replacen("http", "ws", 1);
    let request = address.into_client_request();
    // Its message would have the address, and with it the key.
    let request = request.map_err(|_| failed("can't be asked for pokes"))?;
    let stream = http.connector().connect(&uri).await;
    let stream = stream.map_err(|error| failed("can't be reached").with_source(error))?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_FRAME))
        .max_frame_size(Some(MAX_FRAME));
    let shake = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
    match tokio::time::timeout(super::http::PATIENCE, shake).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(_)) => Err(failed("does not open a connection for pokes")),
        Err(_) => Err(failed("did not open a connection for pokes in time")),
    }
}

async fn send(socket: &mut Socket, text: String) -> Result<()> {
    let sent = tokio::time::timeout(super::http::PATIENCE, socket.send(Message::text(text)));
    match sent.await {
        Ok(Ok(())) => Ok(()),
        // The error of a message could show it.
        _ => Err(Error::unavailable("the connection for pokes broke")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pokes_are_kept_until_somebody_has_had_them() {
        let pokes = Pokes::default();
        pokes.poke();
        pokes.poke();
        pokes.next().await;
        let waiting = pokes.next();
        tokio::pin!(waiting);
        assert!(
            futures_util::poll!(&mut waiting).is_pending(),
            "both were one"
        );
        pokes.poke();
        waiting.await;
    }

    #[test]
    fn pauses_grow_and_differ() {
        for (failures, seconds) in [(0, 1), (1, 1), (2, 2), (3, 5), (4, 10), (9, 10), (13, 60)] {
            let pause = pause(failures).as_secs_f64() / f64::from(seconds);
            assert!((0.74..1.26).contains(&pause), "{failures}: {pause}");
        }
    }

    #[test]
    fn anything_is_heard() {
        let pokes = Pokes::default();
        let go_on = |message| hear(Some(Ok(message)), &pokes).is_continue();
        assert!(go_on(Message::text("nonsense")));
        assert!(go_on(Message::binary(vec![0, 159])));
        assert!(!pokes.are_coming());
        assert!(go_on(Message::text(
            r#"[null,null,"realtime:ccm","system",{"status":"ok"}]"#
        )));
        assert!(pokes.are_coming());
        assert!(!go_on(Message::text(
            r#"[null,null,"realtime:ccm","phx_error",{}]"#
        )));
        assert!(!go_on(Message::Close(None)));
        assert!(hear(None, &pokes).is_break());
    }
}
