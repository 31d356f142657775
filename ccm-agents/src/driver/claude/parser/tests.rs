use std::io::Write;

use ccm_core::Reason;
use ccm_core::ask::AskKind;
use ccm_core::runtime::Exit;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const MESSAGE: &str = "01990000-0000-7000-8000-000000000002";

fn spool(lines: &[Value], rest: &str) -> Spool {
    let mut text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    text.push_str(rest);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Spool {
        out_size: text.len() as u64,
        out: Some(file),
        err: None,
        err_size: 0,
    }
}

fn exited(code: i32) -> RunEnd {
    RunEnd::Exited(Exit {
        code: Some(code),
        signal: None,
        stopped: false,
        output_cut: false,
        memory_cut: None,
        deadline_cut: false,
        out_bytes: u64::MAX,
        err_bytes: 0,
        ended_at: Timestamp::from_micros(0),
    })
}

fn init() -> Value {
    json!({ "type": "system", "subtype": "init", "session_id": "s", "model": "m", "tools": ["Bash"] })
}

fn started(name: &str) -> Value {
    json!({ "type": "command_lifecycle", "command_uuid": name, "state": "started" })
}

fn queued(name: &str) -> Value {
    json!({ "type": "command_lifecycle", "command_uuid": name, "state": "queued" })
}

fn says(id: &str, text: &str) -> Value {
    json!({
        "type": "assistant",
        "message": {
            "id": id, "role": "assistant",
            "content": [{ "type": "text", "text": text }],
            "usage": {
                "input_tokens": 100, "output_tokens": 1,
                "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30,
            },
        },
    })
}

fn refused(error: &str, status: Option<u16>) -> Value {
    json!({
        "type": "assistant",
        "message": { "id": "x", "role": "assistant", "content": [{ "type": "text", "text": "no" }] },
        "is_api_error_message": true, "error": error, "api_error_status": status,
    })
}

fn asks(id: &str) -> Value {
    json!({
        "type": "control_request", "request_id": id,
        "request": { "subtype": "can_use_tool", "tool_name": "Bash", "input": { "command": "ls" } },
    })
}

fn result(text: &str, cost: f64) -> Value {
    json!({
        "type": "result", "subtype": "success", "is_error": false, "result": text,
        "total_cost_usd": 10.0 + cost, "permission_denials": [],
        "usage": { "input_tokens": 100, "output_tokens": 50 },
        "model_usage_since_last_result": { "m": {
            "inputTokens": 100, "outputTokens": 50, "cacheReadInputTokens": 30,
            "cacheCreationInputTokens": 20, "costUSD": cost,
        }},
        "terminal_reason": "completed",
    })
}

fn failed(text: &str, status: Option<u16>) -> Value {
    json!({
        "type": "result", "subtype": "success", "is_error": true, "result": text,
        "api_error_status": status, "total_cost_usd": 0.0, "terminal_reason": "api_error",
    })
}

fn background(count: usize) -> Value {
    let tasks = vec![json!({ "task_id": "b" }); count];
    json!({ "type": "system", "subtype": "background_tasks_changed", "tasks": tasks })
}

/// Everything at once.
fn all(lines: &[Value]) -> Batch {
    read(&spool(lines, ""), &Checkpoint::default(), None).unwrap()
}

fn report(lines: &[Value], code: i32) -> Report {
    match end(lines, "", code) {
        Reported::Whole(report) => report,
        other => panic!("{other:?}"),
    }
}

fn end(lines: &[Value], rest: &str, code: i32) -> Reported {
    let spool = spool(lines, rest);
    read(&spool, &Checkpoint::default(), Some(&exited(code)))
        .unwrap()
        .reported
}

fn used(batch: &Batch) -> Option<(Usage, Option<f64>)> {
    batch.observations.iter().find_map(|seen| match seen {
        Observation::Used { usage, cost_usd } => Some((*usage, *cost_usd)),
        _ => None,
    })
}

#[test]
fn a_message_in_several_lines_is_counted_once_and_the_result_corrects_it() {
    let turn = [init(), says("1", "a"), says("1", "b"), says("2", "c")];
    let (usage, cost) = used(&all(&turn)).unwrap();
    assert_eq!(
        (usage.input_tokens, usage.output_tokens, cost),
        (200, 2, None)
    );
    let over = [&turn[..], &[result("done", 0.25)]].concat();
    let (usage, cost) = used(&all(&over)).unwrap();
    assert_eq!(
        (usage.input_tokens, usage.output_tokens, cost),
        (100, 50, Some(0.25))
    );
    // A second turn adds its own part, whatever the conversation cost before.
    let more = [&over[..], &[says("3", "d"), result("again", 0.5)]].concat();
    let report = report(&more, 0);
    assert_eq!(
        (report.usage.output_tokens, report.cost_usd),
        (100, Some(0.75))
    );
    assert_eq!(report.text, "again");
}

#[test]
fn without_the_difference_the_price_is_what_the_total_grew_by() {
    let old = |total: f64| {
        json!({ "type": "result", "subtype": "success", "result": "x", "total_cost_usd": total,
                "usage": { "input_tokens": 1, "output_tokens": 1 } })
    };
    let report = report(&[old(1.0), old(1.5)], 0);
    assert_eq!((report.cost_usd, report.usage.input_tokens), (Some(1.5), 2));
}

#[test]
fn it_rests_between_turns_and_only_then() {
    let over = [init(), says("1", "a"), result("a", 0.1)];
    let after = |more: &[Value]| all(&[&over[..], more].concat()).resting;
    assert!(!all(&over[..2]).resting);
    assert!(after(&[]));
    assert!(!after(&[queued(MESSAGE)]));
    assert!(!after(&[queued(MESSAGE), started(MESSAGE)]));
    assert!(after(&[
        queued(MESSAGE),
        started(MESSAGE),
        result("b", 0.1)
    ]));
    assert!(!after(&[background(1)]));
    assert!(after(&[background(1), background(0)]));
    assert!(!after(&[asks("r")]));
    // News that is nobody's work does not wake it.
    assert!(after(&[
        json!({ "type": "command_lifecycle", "command_uuid": MESSAGE, "state": "completed" })
    ]));
    assert!(after(&[json!({ "type": "something_new", "x": 1 })]));
}

#[test]
fn an_end_in_mid_work_is_no_success() {
    let over = [init(), result("a", 0.1)];
    let unfinished = |more: &[Value]| report(&[&over[..], more].concat(), 0).unfinished;
    assert_eq!(unfinished(&[]), None);
    assert!(
        unfinished(&[background(2)])
            .unwrap()
            .contains("2 background tasks")
    );
    assert!(unfinished(&[asks("r")]).unwrap().contains("question"));
    assert!(unfinished(&[started(MESSAGE)]).unwrap().contains("message"));
}

#[test]
fn an_ask_is_told_with_its_place_and_answered_by_what_is_there() {
    let lines = [init(), asks("r1")];
    let spool = spool(&lines, "");
    let batch = read(&spool, &Checkpoint::default(), None).unwrap();
    let question = batch.observations.iter().find_map(|seen| match seen {
        Observation::Asked {
            request_id,
            question,
        } if request_id == "r1" => Some(question.clone()),
        _ => None,
    });
    let question = question.unwrap();
    assert_eq!(question.kind, AskKind::Permission);
    let request = ask::request_at(&question.payload, &spool).unwrap();
    assert_eq!(request["input"]["command"], "ls");
    let tail = [
        json!({ "type": "control_response", "response": {
            "subtype": "success", "request_id": "r1", "response": { "behavior": "allow" } } }),
        // An echo that comes again, and one of somebody else's, say nothing new.
        json!({ "type": "control_response", "response": { "subtype": "success", "request_id": "r1" } }),
        json!({ "type": "control_response", "response": { "subtype": "success", "request_id": "ccm-interrupt" } }),
        asks("r2"),
        json!({ "type": "control_cancel_request", "request_id": "r2" }),
    ];
    let batch = all(&[&lines[..], &tail].concat());
    let told: Vec<_> = batch
        .observations
        .iter()
        .filter(|seen| {
            matches!(
                seen,
                Observation::AnswerTaken { .. } | Observation::Withdrawn { .. }
            )
        })
        .collect();
    let r = |id: &str| id.to_owned();
    assert_eq!(
        told,
        [
            &Observation::AnswerTaken {
                request_id: r("r1")
            },
            &Observation::Withdrawn {
                request_id: r("r2")
            }
        ]
    );
}

#[test]
fn an_interrupted_turn_is_told_and_made_up_for_by_the_next() {
    let interrupted = json!({
        "type": "result", "subtype": "error_during_execution", "is_error": true,
        "errors": ["[ede_diagnostic] x"], "terminal_reason": "aborted_tools", "total_cost_usd": 0.0,
        "permission_denials": [{ "tool_name": "Bash" }],
    });
    let lines = [
        init(),
        asks("r1"),
        json!({ "type": "control_cancel_request", "request_id": "r1" }),
        json!({ "type": "control_response", "response": {
            "subtype": "success", "request_id": MESSAGE, "response": { "still_queued": [] } } }),
        interrupted,
    ];
    let batch = all(&lines);
    let taken = Observation::MessageTaken {
        input_id: MESSAGE.parse().unwrap(),
    };
    assert!(batch.observations.contains(&taken), "{batch:#?}");
    assert!(batch.resting);
    let told = report(&lines, 1);
    assert!(told.error.unwrap().contains("interrupted"));
    // Nobody denied what it took back.
    assert_eq!(told.denied, 0);
    let next = [&lines[..], &[says("2", "b"), result("b", 0.1)]].concat();
    assert!(report(&next, 0).is_good());
}

#[test]
fn each_failure_is_somebodys() {
    let outcome = |error: &str, status| {
        report(
            &[init(), refused(error, status), failed("said so", status)],
            1,
        )
    };
    for (error, status, reason) in [
        ("authentication_failed", None, Some(Reason::NotStarted)),
        ("authentication_failed", Some(401), Some(Reason::NotStarted)),
        ("account_on_hold", Some(403), Some(Reason::NotStarted)),
        ("rate_limit", Some(429), Some(Reason::RateLimited)),
        ("billing_error", Some(400), Some(Reason::RateLimited)),
        ("server_error", Some(529), None),
        ("server_error", Some(500), None),
        ("invalid_request", Some(400), None),
        ("something_new", None, None),
    ] {
        let report = outcome(error, status);
        let refusal = report.refusal.map(|refusal| refusal.cause.reason);
        assert_eq!(refusal, reason, "{error} {status:?}");
        assert!(report.error.is_some(), "{error}");
    }
    let login = outcome("authentication_failed", None)
        .refusal
        .unwrap()
        .cause;
    assert!(login.detail.unwrap().contains("not logged in"));
    // A later turn that went well makes up for it.
    let healed = [
        refused("rate_limit", Some(429)),
        failed("no", Some(429)),
        result("x", 0.1),
    ];
    assert!(report(&healed, 0).is_good());
}

#[test]
fn a_limit_is_told_with_its_end_and_lifted_when_it_goes_on() {
    let limit = json!({ "type": "rate_limit_event", "rate_limit_info": {
        "status": "rejected", "resetsAt": 1_795_647_214, "rateLimitType": "five_hour" } });
    let until = Timestamp::from_micros(1_795_647_214_000_000);
    let lines = [
        init(),
        limit,
        refused("rate_limit", Some(429)),
        failed("limit", Some(429)),
    ];
    let batch = all(&lines);
    let parked: Vec<_> = batch
        .observations
        .iter()
        .filter_map(|seen| match seen {
            Observation::Parked { parking } => Some(parking.as_ref().map(|parked| parked.until)),
            _ => None,
        })
        .collect();
    assert_eq!(parked, [Some(Some(until)), None]);
    assert_eq!(report(&lines, 1).refusal.unwrap().until, Some(until));
    // One that is only near says nothing.
    let near =
        json!({ "type": "rate_limit_event", "rate_limit_info": { "status": "allowed_warning" } });
    assert!(
        !all(&[near])
            .observations
            .iter()
            .any(|seen| matches!(seen, Observation::Parked { .. }))
    );
}

#[test]
fn a_conversation_that_is_gone_is_begun_anew() {
    let gone = json!({ "type": "result", "subtype": "error_during_execution", "is_error": true,
                       "errors": ["No conversation found with session ID: x"], "session_id": "x" });
    let batch = all(std::slice::from_ref(&gone));
    assert!(
        !batch
            .observations
            .iter()
            .any(|seen| matches!(seen, Observation::Session { .. }))
    );
    assert!(report(&[gone], 1).refusal.unwrap().lost_session);
}

#[test]
fn what_is_missing_is_never_a_result() {
    let turn = [init(), says("1", "a")];
    assert_eq!(end(&turn, "", 0), Reported::Nothing);
    assert_eq!(
        end(&turn, "{\"type\":\"result\",\"subtype\":\"succ", 0),
        Reported::Cut
    );
    assert_eq!(end(&[], "", 0), Reported::Nothing);
    // A turn that was cut after one that was whole.
    let over = [init(), result("a", 0.1), started(MESSAGE)];
    match end(&over, "{\"type\":\"assist", 0) {
        Reported::Whole(report) => assert!(report.unfinished.is_some()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_result_that_found_no_room_is_missed_and_the_run_ends() {
    let completed =
        json!({ "type": "command_lifecycle", "command_uuid": "p", "state": "completed" });
    // Half a line, and what came when there was room again goes on in it.
    let glued = format!("{{\"type\":\"assistant\",\"mess{}\n", result("lost", 0.1));
    let text = format!("{}\n{glued}{completed}\n", init());
    let cut = spool(&[], &text);
    let batch = read(&cut, &Checkpoint::default(), None).unwrap();
    assert!(batch.resting, "it would wait for ever");
    let end = |code| {
        read(&cut, &Checkpoint::default(), Some(&exited(code)))
            .unwrap()
            .reported
    };
    assert_eq!(end(0), Reported::Cut);
    // A later turn makes up for it, and what is no part of the protocol is none.
    let healed = spool(
        &[],
        &format!("{text}{}\n{}\n", says("2", "x"), result("told", 0.1)),
    );
    match read(&healed, &Checkpoint::default(), Some(&exited(0)))
        .unwrap()
        .reported
    {
        Reported::Whole(report) => assert_eq!(report.text, "told"),
        other => panic!("{other:?}"),
    }
    let wrapped = spool(&[], &format!("starting ...\n{}\n{completed}\n", init()));
    let wrapped = read(&wrapped, &Checkpoint::default(), None).unwrap();
    assert!(!wrapped.resting);
}

#[test]
fn an_interrupted_turn_is_a_failure() {
    let aborted = json!({ "type": "result", "subtype": "error_during_execution", "is_error": true,
                          "terminal_reason": "aborted_streaming", "errors": ["[ede] x"] });
    let report = report(&[init(), aborted], 1);
    assert!(!report.is_good());
    assert_eq!(report.error.unwrap(), "its turn was interrupted");
}

#[test]
fn a_state_of_another_version_is_made_anew() {
    let lines = [init(), says("1", "a"), asks("r"), result("x", 0.1)];
    let spool = spool(&lines, "");
    let whole = read(&spool, &Checkpoint::default(), None).unwrap();
    let mut at = whole.checkpoint.clone();
    at.parser = Some(ParserState {
        version: VERSION + 1,
        data: "?".to_owned(),
    });
    let again = read(&spool, &at, None).unwrap();
    assert!(again.observations.is_empty());
    assert_eq!(
        (again.checkpoint.parser, again.resting),
        (whole.checkpoint.parser, whole.resting)
    );
}

fn some_line() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(init()),
        "[a-z]{1,3}".prop_map(|id| says(&id, "text")),
        "[ab]".prop_map(|id| asks(&id)),
        "[ab]".prop_map(|id| json!({ "type": "control_response",
            "response": { "subtype": "success", "request_id": id } })),
        (0_u32..1024).prop_map(|cost| result("r", f64::from(cost) / 1024.0)),
        (0usize..3).prop_map(background),
        Just(queued(MESSAGE)),
        Just(started(MESSAGE)),
        Just(refused("rate_limit", Some(429))),
        Just(failed("no", Some(429))),
        Just(json!("no object")),
        Just(json!({ "type": "new", "n": [1, 2] })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// However the output comes in, and however often the daemon is started anew in between, the same is seen of it.
    #[test]
    fn how_the_output_is_cut_changes_nothing(
        lines in prop::collection::vec(some_line(), 0..20),
        cuts in prop::collection::vec(0u64..4000, 0..6),
    ) {
        let mut spool = spool(&lines, "");
        let full = spool.out_size;
        let end = exited(0);
        let told = |batch: &Batch| -> Vec<Observation> {
            let seen = batch.observations.iter();
            seen.filter(|seen| !matches!(seen, Observation::Output { .. } | Observation::Used { .. }))
                .cloned()
                .collect()
        };
        let whole = read(&spool, &Checkpoint::default(), Some(&end)).unwrap();
        let mut cuts: Vec<u64> = cuts.into_iter().map(|cut| cut.min(full)).collect();
        cuts.sort_unstable();
        let mut at = Checkpoint::default();
        let mut seen = Vec::new();
        for size in cuts {
            spool.out_size = size;
            let batch = read(&spool, &at, None).unwrap();
            seen.extend(told(&batch));
            at = batch.checkpoint;
        }
        spool.out_size = full;
        let last = read(&spool, &at, Some(&end)).unwrap();
        seen.extend(told(&last));
        prop_assert_eq!(seen, told(&whole));
        prop_assert_eq!(last.reported, whole.reported);
        prop_assert_eq!(last.resting, whole.resting);
    }
}

/// A line as Claude Code writes it, with its type first.
fn written(line: &Value) -> String {
    let mut rest = line.clone();
    let kind = rest.as_object_mut().unwrap().remove("type").unwrap();
    format!("{{\"type\":{kind},{}", &rest.to_string()[1..])
}

#[test]
fn a_line_that_stands_behind_half_of_another_is_read() {
    let half = written(&says("a", "words that found no room"));
    let half = &half[..half.len() / 2];
    // The result itself found no room at all, and nothing comes after this.
    let completed =
        json!({ "type": "command_lifecycle", "command_uuid": MESSAGE, "state": "completed" });
    let text = format!("{}\n{half}{}\n", init(), written(&completed));
    let batch = read(&spool(&[], &text), &Checkpoint::default(), None).unwrap();
    assert!(batch.resting, "it would wait for ever");
    let text = format!("{}\n{half}{}\n", init(), written(&asks("r")));
    let batch = read(&spool(&[], &text), &Checkpoint::default(), None).unwrap();
    let asked = |seen: &Observation| matches!(seen, Observation::Asked { request_id, .. } if request_id == "r");
    assert!(
        batch.observations.iter().any(asked),
        "nobody would answer it"
    );
}

#[test]
fn a_torn_line_full_of_beginnings_costs_little() {
    let hostile = format!("{{{}", "{\"type\":".repeat(500_000));
    let begun = std::time::Instant::now();
    let batch = read(
        &spool(&[], &format!("{hostile}\n")),
        &Checkpoint::default(),
        None,
    )
    .unwrap();
    assert!(!batch.resting);
    // Each try costs a look at what is left of the line; half a million of them would take hours.
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
}
