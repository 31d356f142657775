//! Agents' places.

use super::*;
use crate::Noun;

/// "Gives an agent its place ... Idempotent: what is up stays as it is"; "every agent of this home that has a host or a
/// window now" is listed, to every handle.
pub async fn start_agent_is_idempotent(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    assert_eq!(bench.runtime.agents().await.unwrap(), []);
    let first = bench.runtime.start_agent(&bench.agent).await.unwrap();
    assert_eq!(
        (first.id, first.run, first.answers),
        (bench.agent.id, None, true)
    );
    let again = bench.runtime.start_agent(&bench.agent).await.unwrap();
    assert_eq!(again.pid, first.pid, "what is up stays as it is");
    let second = place.another().await;
    let elsewhere = second.start_agent(&bench.agent).await.unwrap();
    assert_eq!(elsewhere.pid, first.pid, "a new daemon finds the agent");
    for runtime in [&bench.runtime, &second] {
        let agents = runtime.agents().await.unwrap();
        let agents: Vec<_> = agents.iter().map(|facts| (facts.id, facts.pid)).collect();
        assert_eq!(agents, [(bench.agent.id, first.pid)]);
    }
    bench.close().await;
}

/// Several agents are each other's equals: each has a place and a run of its own at the same time.
pub async fn agents_work_side_by_side(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let others: Vec<Bench<'_>> = (0..2).map(|_| Bench::new(place)).collect();
    let (run, _) = bench.waiting("first").await;
    let mut runs = Vec::new();
    for (number, other) in others.iter().enumerate() {
        runs.push(other.waiting(&format!("other-{number}")).await.0);
    }
    assert_eq!(bench.runtime.agents().await.unwrap().len(), 3);
    for (number, other) in runs.iter().enumerate() {
        place.programs().release(&format!("other-{number}"));
        assert_eq!(exit(&*bench.runtime, *other).await.code, Some(0));
    }
    process(&*bench.runtime, run).await;
    bench.close().await;
}

/// "Takes an agent's place away ... Idempotent; an unknown agent is no error."
pub async fn stop_agent_is_idempotent(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let facts = bench.runtime.start_agent(&bench.agent).await.unwrap();
    for _ in 0..2 {
        bench.runtime.stop_agent(bench.agent.id).await.unwrap();
        assert_eq!(bench.runtime.agents().await.unwrap(), []);
    }
    if let Some(pid) = facts.pid {
        let gone = async {
            while place.programs().is_alive(pid) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        soon("the end of the agent's host", gone).await;
    }
    bench.runtime.stop_agent(AgentId::new()).await.unwrap();
    bench.runtime.start_agent(&bench.agent).await.unwrap();
    assert_eq!(bench.runtime.agents().await.unwrap().len(), 1);
    bench.close().await;
}

/// "`WrongState(Agent)` while it has a run; stop that first": the run goes on.
pub async fn stop_agent_refuses_while_busy(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let (run, before) = bench.waiting("busy").await;
    let facts = bench.runtime.agents().await.unwrap();
    assert_eq!(facts[0].run, Some(run));
    let kind = kind_of(bench.runtime.stop_agent(bench.agent.id).await);
    assert_eq!(kind, ErrorKind::WrongState(Noun::Agent));
    assert_eq!(process(&*bench.runtime, run).await, before);
    // Neither does giving it its place again disturb the run.
    bench.runtime.start_agent(&bench.agent).await.unwrap();
    assert_eq!(process(&*bench.runtime, run).await, before);
    place.programs().release("busy");
    assert_eq!(exit(&*bench.runtime, run).await.code, Some(0));
    bench.runtime.stop_agent(bench.agent.id).await.unwrap();
    bench.close().await;
}

/// `kill_agent`: "One that answers is stopped as `stop_agent` does it ... Idempotent; an unknown agent is no error."
pub async fn kill_agent_is_gentle_to_who_answers(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let (run, before) = bench.waiting("busy").await;
    let kind = kind_of(bench.runtime.kill_agent(bench.agent.id).await);
    assert_eq!(kind, ErrorKind::WrongState(Noun::Agent));
    assert_eq!(process(&*bench.runtime, run).await, before);
    place.programs().release("busy");
    assert_eq!(exit(&*bench.runtime, run).await.code, Some(0));
    for _ in 0..2 {
        bench.runtime.kill_agent(bench.agent.id).await.unwrap();
        assert_eq!(bench.runtime.agents().await.unwrap(), []);
    }
    bench.runtime.kill_agent(AgentId::new()).await.unwrap();
    bench.close().await;
}

/// "`NotFound(Agent)` without a place; `Unsupported` by a runtime without terminals."
pub async fn attach_needs_a_place(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let kind = kind_of(bench.runtime.attach_command(bench.agent.id).await);
    let missing = ErrorKind::NotFound(Noun::Agent);
    assert!(
        kind == missing || kind == ErrorKind::Unsupported,
        "{kind:?}"
    );
    bench.runtime.start_agent(&bench.agent).await.unwrap();
    match bench.runtime.attach_command(bench.agent.id).await {
        Ok(command) => assert!(!command.argv.is_empty()),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),
    }
    bench.close().await;
}

/// "What an agent uses now, over its whole process tree. `None` without a process."
pub async fn resources_are_of_the_whole_tree(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    assert_eq!(bench.runtime.resources(bench.agent.id).await.unwrap(), None);
    bench.waiting("r").await;
    let used = bench.runtime.resources(bench.agent.id).await.unwrap();
    let used = used.expect("a program runs");
    assert!(used.processes >= 1 && used.memory_bytes > 0, "{used:?}");
    place.programs().release("r");
    bench.close().await;
}

/// `hand_back`: "Idempotent; an agent without a session is handed back already." A run is not disturbed by it.
pub async fn what_has_no_session_is_handed_back(place: &dyn RuntimePlace) {
    let bench = Bench::new(place);
    let grace = Duration::from_secs(1);
    let hand_back = async |agent| {
        let back = bench.runtime.hand_back(agent, grace);
        soon("handing back", back).await.expect("hand_back")
    };
    assert_eq!(hand_back(AgentId::new()).await, Stopped::Empty);
    let (run, before) = bench.waiting("busy").await;
    assert_eq!(hand_back(bench.agent.id).await, Stopped::Empty);
    assert_eq!(process(&*bench.runtime, run).await, before);
    place.programs().release("busy");
    assert_eq!(exit(&*bench.runtime, run).await.code, Some(0));
    bench.close().await;
}
