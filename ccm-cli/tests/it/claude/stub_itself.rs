//! The stub, asked by the real Claude Code: what a driver of it can count on.
//!
//! Measured with 2.1.330:
//!
//! - `result` ends a turn. `total_cost_usd` counts the whole session, the processes before a resume too; `usage` only the
//!   turn. `result_index` counts from 0 in every process.
//! - An `assistant` line has one block of a message. Its `usage` is that of the message's beginning, so its output tokens
//!   are 1; the true ones are in `result`.
//! - What runs in the background is in `system/background_tasks_changed`, and nowhere in `result`. When it ends, a turn
//!   begins by itself, whose `result` has `origin.kind: task-notification`. A process whose input was closed waits for it.
//! - A message that is sent while a turn runs becomes part of that turn, without an end of its own: its id is in the
//!   `user_message_uuids` of the turn's `result`. If the turn is interrupted, it gets a turn of its own.
//! - An interrupted turn has `is_error: true`, `subtype: error_during_execution`, and `terminal_reason: aborted_streaming`
//!   or `aborted_tools`.
//! - With `--replay-user-messages`, an answer to a permission request is written out again as `control_response`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::stub::Stub;
use crate::support::{Machine, block_on, until};

use super::Claude;

/// A line of a script: a tool and its input.
fn tool(name: &str, input: &Value) -> String {
    format!("@tool {name} {input}\n")
}

#[test]
fn an_answer_comes() {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let claude = Claude::new(&machine, &stub);
    let mut session = claude.start(&machine.folder("demo"), "acceptEdits");
    let id = session.say("@think It works.");
    let init = session.line("system", "init");
    assert_eq!(init["session_id"], session.id());
    assert_eq!(init["claude_code_version"], "2.1.330");
    assert_eq!(session.line("user", "")["uuid"], id);
    let thought = session.line("assistant", "");
    assert_eq!(thought["message"]["content"][0]["thinking"], "It works.");
    let result = session.result();
    assert_eq!(result["result"], "It works.");
    assert_eq!(result["is_error"], false);
    let usage = &result["usage"];
    assert_eq!(usage["input_tokens"], 100);
    assert_eq!(usage["cache_creation_input_tokens"], 20);
    assert_eq!(usage["cache_read_input_tokens"], 30);
    assert_eq!(usage["output_tokens"], 50);
    assert_eq!(session.end(), 0);
    let request = &stub.turns()[0];
    assert_eq!(request.session(), Some(session.id()));
    assert_eq!(request.last_user_text().unwrap().trim(), "@think It works.");
    assert!(request.system_text().contains("Claude"));
    assert_eq!(stub.requests().len(), 1, "nothing else is asked");
}

#[test]
fn a_file_is_edited() {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let claude = Claude::new(&machine, &stub);
    let folder = machine.folder("demo");
    let file = folder.join("note.txt");
    let mut session = claude.start(&folder, "acceptEdits");
    let script = tool("Write", &json!({"file_path": file, "content": "one\n"}))
        + &tool(
            "Edit",
            &json!({"file_path": file, "old_string": "one", "new_string": "two"}),
        )
        + "@say edited";
    assert_eq!(session.turn(&script)["result"], "edited");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "two\n");
    let results = stub.turns().last().unwrap().tool_results();
    assert_eq!(results.len(), 2);
    assert!(results[0].text.contains("created"), "{results:?}");
    assert!(results.iter().all(|result| !result.is_error));
}

#[test]
fn permission_is_asked_for() {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let claude = Claude::new(&machine, &stub);
    let folder = machine.folder("demo");
    let mut session = claude.start(&folder, "default");
    let write = |name: &str| {
        tool(
            "Write",
            &json!({"file_path": folder.join(name), "content": ""}),
        )
    };
    session.say(&(write("allowed") + &write("denied") + "@say both"));

    let request = session.ask();
    assert_eq!(request["request"]["tool_name"], "Write");
    session.allow(&request);
    let echo = session.line("control_response", "");
    assert_eq!(echo["response"]["request_id"], request["request_id"]);
    let request = session.ask();
    session.deny(&request, "not this one");
    let result = session.result();
    assert_eq!(result["result"], "both");
    assert_eq!(result["is_error"], false);
    let denials = &result["permission_denials"];
    assert_eq!(denials.as_array().unwrap().len(), 1);
    assert_eq!(denials[0]["tool_input"], request["request"]["input"]);
    assert!(folder.join("allowed").exists());
    assert!(!folder.join("denied").exists());
    let results = stub.turns().last().unwrap().tool_results();
    assert_eq!((results[0].is_error, results[1].is_error), (false, true));
    assert_eq!(results[1].text, "not this one");
    assert_eq!(session.end(), 0);
}

#[test]
fn tools_are_used_side_by_side() {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let claude = Claude::new(&machine, &stub);
    let mut session = claude.start(&machine.folder("demo"), "acceptEdits");
    let script = r#"@tools Bash {"command":"echo a || true"} || Bash {"command":"echo b"}"#;
    assert_eq!(session.turn(script)["result"], "done");
    let turns = stub.turns();
    assert_eq!(turns.len(), 2);
    let results = turns[1].tool_results();
    let mut texts: Vec<&str> = results.iter().map(|result| &*result.text).collect();
    // They come as they end.
    texts.sort_unstable();
    assert_eq!(texts, ["a", "b"]);
}

#[test]
fn turns_follow_one_another() {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let claude = Claude::new(&machine, &stub);
    let mut session = claude.start(&machine.folder("demo"), "acceptEdits");
    let first = session.turn("@say one");
    let second = session.turn("@usage 1000 10\n@say two");
    assert_eq!(
        (&first["result"], &second["result"]),
        (&json!("one"), &json!("two"))
    );
    assert_eq!(
        (&first["result_index"], &second["result_index"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(second["usage"]["input_tokens"], 1000);
    assert_eq!(session.turn("and what now?")["result"], "done");
    assert_eq!(session.end(), 0);
}

#[test]
fn a_session_is_resumed() {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let claude = Claude::new(&machine, &stub);
    let folder = machine.folder("demo");
    let mut session = claude.start(&folder, "acceptEdits");
    let id = session.id().to_owned();
    let before = session.turn("@say one");
    assert_eq!(session.end(), 0);

    let mut resumed = claude.resume(&folder, "acceptEdits", &id);
    let after = resumed.turn("@say two");
    assert_eq!(after["session_id"], *id);
    assert_eq!(after["result"], "two");
    assert_eq!(after["usage"], before["usage"]);
    let cost = |result: &Value| result["total_cost_usd"].as_f64().unwrap();
    assert!((cost(&after) - 2.0 * cost(&before)).abs() < 1e-9);
    assert_eq!(resumed.end(), 0);
    assert_eq!(
        stub.turns()[1].answers_after(0),
        1,
        "the first turn is remembered"
    );

    let again = claude
        .command(&folder, &["-p", "--session-id", &id, "hello"])
        .output()
        .unwrap();
    assert_eq!(again.status.code(), Some(1));
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("already in use"), "{said}");
}

/// It was killed in the middle of a turn, while the model was to say what follows a tool.
#[test]
fn a_session_that_was_cut_is_resumed() {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let claude = Claude::new(&machine, &stub);
    let folder = machine.folder("demo");
    let mut session = claude.start(&folder, "acceptEdits");
    let id = session.id().to_owned();
    session.say("@tool Bash {\"command\":\"echo a\"}\n@hold never\n@say lost");
    stub.waits_at("never");
    // It writes its session down a little after it has acted on it.
    until("what the tool said is in the session", || {
        claude.kept(&id).contains("\"type\":\"tool_result\"")
    });
    drop(session);

    let mut resumed = claude.resume(&folder, "acceptEdits", &id);
    assert_eq!(resumed.turn("@say again")["result"], "again");
    assert_eq!(stub.turns().last().unwrap().tool_results().len(), 1);
}

#[test]
fn a_text_may_be_big() {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let claude = Claude::new(&machine, &stub);
    let mut session = claude.start(&machine.folder("demo"), "acceptEdits");
    let result = session.turn("@big 1048576");
    assert_eq!(result["result"].as_str().unwrap().len(), 1_048_576);
    assert_eq!(session.end(), 0);
}

#[test]
fn what_runs_in_the_background_is_told() {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let claude = Claude::new(&machine, &stub);
    let folder = machine.folder("demo");
    let mut session = claude.start(&folder, "acceptEdits");
    let command = "while [ ! -e go ]; do sleep 0.05; done; echo over";
    let input = json!({"command": command, "run_in_background": true});
    session.say(&(tool("Bash", &input) + "@say started\n@say told"));
    let tasks = session.line("system", "background_tasks_changed");
    assert_eq!(tasks["tasks"].as_array().unwrap().len(), 1);
    let result = session.result();
    assert_eq!(result["result"], "started");
    assert_eq!(result.get("origin"), None);

    std::fs::write(folder.join("go"), "").unwrap();
    let notice = session.line("system", "task_notification");
    assert_eq!(notice["status"], "completed");
    let output = notice["output_file"].as_str().unwrap();
    assert!(output.starts_with(machine.path("").to_str().unwrap()));
    assert_eq!(std::fs::read_to_string(output).unwrap(), "over\n");
    let tasks = session.line("system", "background_tasks_changed");
    assert_eq!(tasks["tasks"], json!([]));
    let result = session.result();
    assert_eq!(result["result"], "told");
    assert_eq!(result["origin"]["kind"], "task-notification");
    assert_eq!(session.end(), 0);
}

/// Its turn has ended and its input is closed, but it stays for what it started.
#[test]
fn a_background_command_is_waited_for() {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let claude = Claude::new(&machine, &stub);
    let folder = machine.folder("demo");
    let mut session = claude.start(&folder, "acceptEdits");
    let command = "while [ ! -e go ]; do sleep 0.05; done";
    let input = json!({"command": command, "run_in_background": true});
    session.turn(&(tool("Bash", &input) + "@say started"));
    session.close();
    std::fs::write(folder.join("go"), "").unwrap();
    assert_eq!(session.result()["origin"]["kind"], "task-notification");
    assert_eq!(session.end(), 0);
}

#[test]
fn a_turn_is_interrupted() {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let claude = Claude::new(&machine, &stub);
    let mut session = claude.start(&machine.folder("demo"), "acceptEdits");
    session.say("@stall never one two three four");
    stub.waits_at("never");
    session.interrupt();
    let result = session.result();
    assert_eq!(result["is_error"], true);
    assert_eq!(result["subtype"], "error_during_execution");
    assert_eq!(result["terminal_reason"], "aborted_streaming");
    let result = session.turn("@slow 1 going on");
    assert_eq!(result["result"], "going on");
    assert_eq!(result["is_error"], false);
    assert_eq!(session.end(), 0);
}

#[test]
fn gates_hold_answers() {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let claude = Claude::new(&machine, &stub);
    let mut session = claude.start(&machine.folder("demo"), "acceptEdits");
    let id = session.say("@hold head\n@stall middle one two");
    let request = stub.await_request(|request| request.is_turn());
    assert_eq!(request.session(), Some(session.id()));
    stub.waits_at("head");
    stub.open("head");
    stub.waits_at("middle");
    stub.open("middle");
    let result = session.result();
    assert_eq!(result["result"], "one two");
    assert_eq!(result["user_message_uuids"], json!([id]));
}

#[test]
fn a_message_joins_the_turn_that_runs() {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let claude = Claude::new(&machine, &stub);
    let folder = machine.folder("demo");
    let mut session = claude.start(&folder, "default");
    let write = tool(
        "Write",
        &json!({"file_path": folder.join("a"), "content": ""}),
    );
    let first = session.say(&(write + "@say not steered"));
    let request = session.ask();
    let second = session.say("@say steered");
    while session.line("command_lifecycle", "")["command_uuid"] != *second {}
    session.allow(&request);
    let result = session.result();
    assert_eq!(result["result"], "steered");
    assert_eq!(result["user_message_uuids"], json!([first, second]));
    assert_eq!(session.end(), 0);
    assert_eq!(session.count("result", "success"), 1);
}

#[test]
fn a_summary_uses_up_no_directive() {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let claude = Claude::new(&machine, &stub);
    let mut session = claude.start(&machine.folder("demo"), "acceptEdits");
    session.turn("@big 3000\n@say second");
    session.say("/compact");
    session.line("system", "compact_boundary");
    assert_eq!(session.result()["local_command"], "compact");
    assert_eq!(session.turn("@say after it")["result"], "after it");
    assert_eq!((stub.requests().len(), stub.turns().len()), (3, 2));
}

#[test]
fn a_subscription_has_limits() {
    let (machine, stub) = (Machine::bare(), Stub::start());
    let mut claude = Claude::new(&machine, &stub);
    claude.subscribe();
    let mut session = claude.start(&machine.folder("demo"), "acceptEdits");
    let limit = |names: &[&str]| -> Vec<String> {
        let name = "anthropic-ratelimit-unified";
        names.iter().map(|rest| format!("{name}-{rest}")).collect()
    };
    let near = limit(&[
        "status=allowed_warning",
        "representative-claim=five_hour",
        "reset=1999999999",
        "5h-utilization=0.95",
        "5h-reset=1999999999",
    ]);
    let near: String = near
        .iter()
        .map(|header| format!("@header {header}\n"))
        .collect();
    session.say(&(near + "@say near it"));
    let event = session.line("rate_limit_event", "");
    assert_eq!(event["rate_limit_info"]["status"], "allowed_warning");
    session.result();

    let hit = limit(&[
        "status=rejected",
        "representative-claim=five_hour",
        "reset=1999999999",
    ]);
    session.say(&format!("@fail 429 {}", hit.join(" ")));
    let event = session.line("rate_limit_event", "");
    assert_eq!(event["rate_limit_info"]["status"], "rejected");
    assert_eq!(event["rate_limit_info"]["resetsAt"], 1_999_999_999);
    let result = session.result();
    assert_eq!(result["is_error"], true);
    assert_eq!(result["api_error_status"], 429);
    assert_eq!(result["api_error"], "usage_limit_reached");
    assert_eq!(session.end(), 1);
}

/// Without Claude Code.
mod alone {
    use super::*;

    async fn post(stub: &Stub, path: &str, body: Value) -> reqwest::Response {
        let request = reqwest::Client::new().post(stub.url() + path);
        request.json(&body).send().await.unwrap()
    }

    fn turn(text: &str, stream: bool) -> Value {
        json!({
            "model": "any", "stream": stream, "tools": [{"name": "Bash"}],
            "messages": [{"role": "user", "content": text}],
        })
    }

    #[test]
    fn answers_have_the_form_of_the_api() {
        let stub = Stub::start();
        block_on(async {
            let whole = post(&stub, "/v1/messages", turn("@tool Bash {\"a\":1}", false)).await;
            let whole: Value = whole.json().await.unwrap();
            assert_eq!(whole["content"][1]["input"], json!({"a": 1}));
            assert_eq!(whole["stop_reason"], "tool_use");
            assert_eq!(whole["usage"]["output_tokens"], 50);

            let stream = post(&stub, "/v1/messages", turn("@say hello", true)).await;
            let stream = stream.text().await.unwrap();
            let events: Vec<&str> = stream
                .lines()
                .filter_map(|line| line.strip_prefix("event: "))
                .collect();
            assert_eq!(
                events,
                [
                    "message_start",
                    "content_block_start",
                    "content_block_delta",
                    "content_block_stop",
                    "message_delta",
                    "message_stop"
                ]
            );

            let count = post(&stub, "/v1/messages/count_tokens", json!({})).await;
            let count: Value = count.json().await.unwrap();
            assert_eq!(count, json!({"input_tokens": 100}));

            let mistake = post(&stub, "/v1/messages", turn("@sey hello", true)).await;
            assert_eq!(mistake.status(), 400);
            let mistake: Value = mistake.json().await.unwrap();
            assert_eq!(mistake["error"]["message"], "there is no directive @sey");

            let nowhere = post(&stub, "/v1/models", json!({})).await;
            assert_eq!(nowhere.status(), 404);
            let nowhere: Value = nowhere.json().await.unwrap();
            assert_eq!(nowhere["error"]["type"], "not_found_error");
        });
    }

    #[test]
    fn a_stream_is_cut_after_its_words() {
        let stub = Stub::start();
        block_on(async {
            let mut response = post(&stub, "/v1/messages", turn("@cut some words", true)).await;
            let mut came = Vec::new();
            let cut = loop {
                match response.chunk().await {
                    Ok(Some(chunk)) => came.extend_from_slice(&chunk),
                    Ok(None) => break false,
                    Err(_) => break true,
                }
            };
            assert!(cut, "the stream ends as if it were whole");
            let came = String::from_utf8(came).unwrap();
            assert!(came.contains("some words"), "{came}");
            assert!(!came.contains("message_stop"), "{came}");
        });
    }

    #[test]
    fn another_stub_takes_its_place() {
        let stub = Stub::start();
        let (port, held) = (stub.port(), "@hold never\n@say x");
        block_on(async {
            let url = stub.url() + "/v1/messages";
            let waiting = reqwest::Client::new().post(url).json(&turn(held, true));
            let waiting = tokio::spawn(waiting.send());
            tokio::task::yield_now().await;
            let stub = tokio::task::spawn_blocking(move || {
                stub.waits_at("never");
                stub
            });
            drop(stub.await.unwrap());
            assert!(waiting.await.unwrap().is_err());
            let stub = Stub::at(port);
            let answer = post(&stub, "/v1/messages", turn("@say back", false)).await;
            let answer: Value = answer.json().await.unwrap();
            assert_eq!(answer["content"][0]["text"], "back");
            let turns: Vec<Arc<_>> = stub.turns();
            assert_eq!(turns[0].model(), Some("any"));
        });
    }
}
