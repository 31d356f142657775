//! What a program is given after its prompt, each input once, and how it is asked to give up.
//!
//! The program here is a shell script that stands for Claude Code where only its pipes matter; the real one is tested
//! with the whole of CCM.

use std::time::Duration;

use ccm_core::AgentRuntime;
use ccm_core::ErrorKind;
use ccm_core::id::{InputId, RunId};
use ccm_core::input::{Input, InputBody, InputState};
use ccm_core::runtime::{LaunchOrder, Sent};
use ccm_core::task::TaskText;
use ccm_core::time::Timestamp;

use crate::bench::*;

/// Notes every line that it gets, and ends with the input.
const NOTING: &str = "while read -r line; do echo \"$line\"; done; echo over";

/// An order for a program of the driver `claude`.
fn talking(bench: &Bench, script: &str) -> LaunchOrder {
    let mut order = bench.sh(script);
    order.profile.driver = "claude".to_owned();
    order
}

fn message(run: RunId, number: u32, text: &str) -> Input {
    Input {
        id: InputId::new(),
        run_id: run,
        number,
        body: InputBody::Message {
            text: TaskText::new(text).unwrap(),
        },
        state: InputState::Accepted,
        by: "test".to_owned(),
        created_at: Timestamp::from_micros(0),
    }
}

async fn count(runtime: &dyn AgentRuntime, run: RunId, text: &str) -> usize {
    let out = text_of(runtime, run, ccm_core::run::Stream::Out).await;
    out.matches(text).count()
}

#[tokio::test]
async fn an_input_is_written_once_whoever_sends_it_how_often() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let order = talking(&bench, NOTING);
    let run = order.run;
    runtime.launch(&order).await.unwrap();
    wait_for(&runtime, run, "do it").await;
    let first = message(run, 2, "first");
    for _ in 0..3 {
        assert_eq!(runtime.send(run, &first).await.unwrap(), Sent::Written);
    }
    wait_for(&runtime, run, "first").await;
    // A daemon that was killed after it sent, and its successor.
    let next = bench.runtime_of(2);
    assert_eq!(next.send(run, &first).await.unwrap(), Sent::Written);
    assert_eq!(
        runtime
            .send(run, &message(run, 3, "late"))
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Superseded
    );
    let second = message(run, 3, "second");
    assert_eq!(next.send(run, &second).await.unwrap(), Sent::Written);
    wait_for(&next, run, "second").await;
    next.close_input(run).await.unwrap();
    next.close_input(run).await.unwrap();
    end_of(&next, run).await;
    assert_eq!(count(&next, run, "\"first\"").await, 1);
    assert_eq!(count(&next, run, "\"second\"").await, 1);
    // What was written is known after the end too, and nothing else is written any more.
    assert_eq!(next.send(run, &first).await.unwrap(), Sent::Written);
    let late = message(run, 4, "late");
    assert_eq!(next.send(run, &late).await.unwrap(), Sent::TooLate);
    assert_eq!(count(&next, run, "late").await, 0);
}

/// In the program's own terms and under its own name, once, and what follows it comes after it.
#[tokio::test]
async fn an_interrupt_is_an_input_of_its_own() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let order = talking(&bench, NOTING);
    let run = order.run;
    runtime.launch(&order).await.unwrap();
    wait_for(&runtime, run, "do it").await;
    assert!(runtime.can_interrupt(run).await.unwrap());
    let interrupt = Input {
        body: InputBody::Interrupt { then: None },
        ..message(run, 2, "x")
    };
    let next = bench.runtime_of(2);
    for runtime in [&runtime, &next] {
        assert_eq!(runtime.send(run, &interrupt).await.unwrap(), Sent::Written);
    }
    let after = message(run, 3, "after it");
    assert_eq!(next.send(run, &after).await.unwrap(), Sent::Written);
    wait_for(&next, run, "after it").await;
    let out = text_of(&next, run, ccm_core::run::Stream::Out).await;
    let name = format!("\"request_id\":\"{}\"", interrupt.id);
    assert_eq!(
        (
            out.matches(&name).count(),
            out.matches("\"interrupt\"").count()
        ),
        (1, 1)
    );
    assert!(out.find(&name) < out.find("after it"));
    next.close_input(run).await.unwrap();
    end_of(&next, run).await;
}

#[tokio::test]
async fn what_comes_after_the_end_of_the_input_is_too_late() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let order = talking(
        &bench,
        "read -r line; exec <&-; touch $BENCH/deaf; sleep 60",
    );
    let run = order.run;
    runtime.launch(&order).await.unwrap();
    until("the program to be deaf", || {
        bench.dir.path().join("deaf").exists().then_some(())
    })
    .await;
    let deaf = message(run, 2, "anyone?");
    // It was begun with before it was seen that nobody reads: what is known is that it may have been read.
    runtime.send(run, &deaf).await.unwrap();
    let next = message(run, 3, "anyone?");
    assert_eq!(runtime.send(run, &next).await.unwrap(), Sent::TooLate);
    runtime.stop(run, Duration::ZERO).await.unwrap();
    let unknown = RunId::new();
    assert_eq!(
        runtime
            .send(unknown, &message(unknown, 2, "x"))
            .await
            .unwrap(),
        Sent::TooLate
    );
    runtime.close_input(unknown).await.unwrap();
}

#[tokio::test]
async fn a_large_message_waits_until_the_program_reads() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let script = "read -r line; while [ ! -e $BENCH/go ]; do sleep 0.02; done; wc -c";
    let order = talking(&bench, script);
    let run = order.run;
    runtime.launch(&order).await.unwrap();
    let large = message(run, 2, &"x".repeat(1024 * 1024));
    let small = message(run, 3, "after it");
    let sending = async {
        let (large, small) = tokio::join!(runtime.send(run, &large), runtime.send(run, &small));
        assert_eq!(
            (large.unwrap(), small.unwrap()),
            (Sent::Written, Sent::Written)
        );
    };
    let going = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        std::fs::write(bench.dir.path().join("go"), "").unwrap();
    };
    tokio::join!(sending, going);
    runtime.close_input(run).await.unwrap();
    end_of(&runtime, run).await;
    let read = text_of(&runtime, run, ccm_core::run::Stream::Out).await;
    assert!(
        read.trim().parse::<usize>().unwrap() > 1024 * 1024,
        "{read}"
    );
}

#[tokio::test]
async fn a_stop_asks_in_the_programs_own_words_first() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let script = "trap 'echo signalled' INT TERM
        while read -r line; do case $line in *interrupt*) echo gave up; exit 7;; esac; done";
    let order = talking(&bench, script);
    runtime.launch(&order).await.unwrap();
    let run = order.run;
    runtime.stop(run, Duration::from_secs(5)).await.unwrap();
    let exit = match end_of(&runtime, run).await {
        ccm_core::runtime::RunEnd::Exited(exit) => exit,
        other => panic!("{other:?}"),
    };
    assert_eq!((exit.code, exit.stopped), (Some(7), true));
    let out = text_of(&runtime, run, ccm_core::run::Stream::Out).await;
    assert_eq!(out, "gave up\n");
}

#[tokio::test]
async fn a_program_that_does_not_give_up_is_ended() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let order = talking(
        &bench,
        "trap '' INT TERM; echo ready; while :; do sleep 0.05; done",
    );
    let run = order.run;
    runtime.launch(&order).await.unwrap();
    wait_for(&runtime, run, "ready").await;
    runtime.stop(run, Duration::from_millis(100)).await.unwrap();
    end_of(&runtime, run).await;
    assert_eq!(bench.strays(), Vec::<u32>::new());
}

#[tokio::test]
async fn a_program_that_reads_only_its_prompt_is_not_spoken_to() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let order = bench.sh("cat; while [ ! -e $BENCH/go ]; do sleep 0.02; done");
    let run = order.run;
    runtime.launch(&order).await.unwrap();
    let refused = runtime.send(run, &message(run, 2, "x")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    std::fs::write(bench.dir.path().join("go"), "").unwrap();
    end_of(&runtime, run).await;
}
