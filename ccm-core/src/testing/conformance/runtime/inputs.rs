//! Input after the prompt, of programs that read none.

use super::*;
use crate::id::InputId;
use crate::input::{Input, InputBody, InputState};
use crate::runtime::Sent;
use crate::testing::conformance::refused;
use crate::time::Timestamp;

fn message(run: RunId, number: u32) -> Input {
    Input {
        id: InputId::new(),
        run_id: run,
        number,
        body: InputBody::Message {
            text: TaskText::new("and another thing\n").expect("a good text"),
        },
        state: InputState::Accepted,
        by: "suite".to_owned(),
        created_at: Timestamp::from_micros(0),
    }
}

/// Sends, which must be refused.
async fn refuses(runtime: &dyn AgentRuntime, run: RunId, number: u32) {
    let input = message(run, number);
    match soon("the answer", runtime.send(run, &input)).await {
        Ok(Sent::TooLate) => {}
        Err(error) if error.kind() == ErrorKind::Unsupported => {}
        other => panic!("an input that nothing reads was not refused: {other:?}"),
    }
}

/// "`Unsupported` when the program takes nothing after its prompt", or too late: at any time, from any handle, and
/// nothing of it reaches the program.
pub async fn what_is_not_read_is_refused(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let second = place.another().await;
    let (run, _) = bench.waiting("deaf").await;
    for runtime in [&bench.runtime, &second, &bench.runtime] {
        refuses(&**runtime, run, 2).await;
    }
    process(&*bench.runtime, run).await;
    place.programs().release("deaf");
    let exit = exit(&*bench.runtime, run).await;
    assert_eq!((exit.code, exit.stopped), (Some(0), false));
    assert_eq!(
        all_output(&*bench.runtime, run, Stream::Out).await,
        b"ready\nout"
    );
    refuses(&*bench.runtime, run, 2).await;
    refuses(&*second, run, 3).await;
    refuses(&*bench.runtime, RunId::new(), 2).await;
    bench.close().await;
}

/// "Whether a run's program can be interrupted", which one that reads nothing can't; "`NotFound(Run)` when the run has no
/// data". Asking ends and starts nothing.
pub async fn what_is_not_read_is_not_interrupted(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let second = place.another().await;
    let order = bench.order(&Program::Wait("whole".to_owned()));
    for runtime in [&bench.runtime, &second] {
        let unknown = runtime.can_interrupt(order.run).await;
        assert_eq!(refused(unknown), ErrorKind::NotFound(crate::Noun::Run));
    }
    let run = launched(&*bench.runtime, &order).await;
    until_output(&*bench.runtime, run, b"ready\n").await;
    for runtime in [&bench.runtime, &second] {
        assert!(!runtime.can_interrupt(run).await.expect("can_interrupt"));
    }
    place.programs().release("whole");
    let exit = exit(&*bench.runtime, run).await;
    assert_eq!((exit.code, exit.stopped), (Some(0), false));
    bench.close().await;
}

/// "Lets a run's program know that nothing more will come. Idempotent; a run that is over, or unknown, is closed
/// already": it ends no program, and it keeps none from being started.
pub async fn close_input_is_harmless(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let second = place.another().await;
    let order = bench.order(&Program::Wait("closed".to_owned()));
    let close = async |runtime: &dyn AgentRuntime| {
        let closing = runtime.close_input(order.run);
        soon("closing", closing).await.expect("close_input");
    };
    close(&*bench.runtime).await;
    let run = launched(&*bench.runtime, &order).await;
    until_output(&*bench.runtime, run, b"ready\n").await;
    for runtime in [&bench.runtime, &second, &bench.runtime] {
        close(&**runtime).await;
    }
    process(&*bench.runtime, run).await;
    place.programs().release("closed");
    let exit = exit(&*bench.runtime, run).await;
    assert_eq!((exit.code, exit.stopped), (Some(0), false));
    close(&*bench.runtime).await;
    close(&*second).await;
    assert_eq!(all_output(&*second, run, Stream::Out).await, b"ready\nout");
    bench.close().await;
}
