//! The frames of Realtime, version 2.0.0 of its protocol: `[join_ref, ref, topic, event, payload]`.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Secret;

/// What this end calls the one channel that it joins.
const TOPIC: &str = "realtime:ccm";
/// The reference of the join.
const JOIN: &str = "1";

/// What the server said, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Changes are told from now on.
    Joined,
    /// The server does not let this end join, or ends the channel.
    Refused,
    /// Something changed.
    Poke,
    /// It is still there.
    Alive,
    /// What does not matter, or can't be read.
    Nothing,
}

/// Asks for the changes of a user's sequence.
pub(super) fn join(user: Uuid, token: &Secret) -> String {
    let change = json!({
        "event": "UPDATE", "schema": "public", "table": "ccm_sequences",
        "filter": format!("user_id=eq.{user}"),
    });
    let payload = json!({
        "config": {
            "broadcast": { "ack": false, "self": false },
            "presence": { "key": "", "enabled": false },
            "postgres_changes": [change],
            "private": false,
        },
        "access_token": token.expose(),
    });
    frame(Some(JOIN), JOIN, TOPIC, "phx_join", &payload)
}

/// Gives the server a new token.
pub(super) fn access_token(number: u64, token: &Secret) -> String {
    let payload = json!({ "access_token": token.expose() });
    frame(
        Some(JOIN),
        &number.to_string(),
        TOPIC,
        "access_token",
        &payload,
    )
}

/// Asks whether the server is still there.
pub(super) fn heartbeat(number: u64) -> String {
    frame(
        None,
        &number.to_string(),
        "phoenix",
        "heartbeat",
        &json!({}),
    )
}

fn frame(join: Option<&str>, number: &str, topic: &str, event: &str, payload: &Value) -> String {
    json!([join, number, topic, event, payload]).to_string()
}

/// Reads a frame.
pub(super) fn read(text: &str) -> Said {
    let Ok((join, _, topic, event, payload)) =
        serde_json::from_str::<(Value, Value, String, String, Value)>(text)
    else {
        return Said::Nothing;
    };
    let status = payload.get("status").and_then(Value::as_str);
    match (topic.as_str(), event.as_str(), status) {
        ("phoenix", "phx_reply", Some("ok")) => Said::Alive,
        (TOPIC, "system", Some("ok")) => Said::Joined,
        (TOPIC, "system", Some("error")) => Said::Refused,
        (TOPIC, "phx_reply", Some("error")) if join.as_str() == Some(JOIN) => Said::Refused,
        (TOPIC, "phx_error" | "phx_close", _) => Said::Refused,
        (TOPIC, "postgres_changes", _) => Said::Poke,
        _ => Said::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_written_as_the_protocol_wants_them() {
        let token = Secret::new("t");
        let user = Uuid::from_u128(7);
        let read = |text: String| serde_json::from_str::<Value>(&text).unwrap();
        let join = read(join(user, &token));
        assert_eq!(join[3], "phx_join");
        let change = &join[4]["config"]["postgres_changes"][0];
        assert_eq!(change["filter"], format!("user_id=eq.{user}"));
        assert_eq!(join[4]["access_token"], "t");
        assert_eq!(
            read(heartbeat(3)),
            json!([null, "3", "phoenix", "heartbeat", {}])
        );
        let expected = json!(["1", "4", TOPIC, "access_token", { "access_token": "t" }]);
        assert_eq!(read(access_token(4, &token)), expected);
    }

    #[test]
    fn what_the_server_says_is_read_and_anything_else_is_nothing() {
        for (text, said) in [
            (
                json!([null, "3", "phoenix", "phx_reply", { "status": "ok", "response": {} }]),
                Said::Alive,
            ),
            (
                json!(["1", "1", TOPIC, "phx_reply", { "status": "ok", "response": {} }]),
                Said::Nothing,
            ),
            (
                json!(["1", "1", TOPIC, "phx_reply", { "status": "error" }]),
                Said::Refused,
            ),
            (
                json!(["1", "4", TOPIC, "phx_reply", { "status": "error" }]),
                Said::Refused,
            ),
            (
                json!([null, null, TOPIC, "system", { "status": "ok", "message": "Subscribed to PostgreSQL" }]),
                Said::Joined,
            ),
            (
                json!([null, null, TOPIC, "system", { "status": "error" }]),
                Said::Refused,
            ),
            (
                json!([null, null, TOPIC, "postgres_changes", { "ids": [1], "data": {} }]),
                Said::Poke,
            ),
            (json!([null, null, TOPIC, "phx_close", {}]), Said::Refused),
            (
                json!([null, null, TOPIC, "presence_state", {}]),
                Said::Nothing,
            ),
            (
                json!([null, null, "realtime:other", "postgres_changes", {}]),
                Said::Nothing,
            ),
            (json!([null, null, TOPIC, "system", 7]), Said::Nothing),
            (json!([1, 2, 3, 4, 5]), Said::Nothing),
            (json!({}), Said::Nothing),
        ] {
            assert_eq!(read(&text.to_string()), said, "{text}");
        }
        assert_eq!(read(""), Said::Nothing);
        assert_eq!(read(&"[".repeat(100_000)), Said::Nothing);
    }
}
