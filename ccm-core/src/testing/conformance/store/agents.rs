//! What agents are to be.

use super::*;
use crate::Noun;
use crate::agent::{Agent, Want, Wanted, Wish};
use crate::reason::Reason;
use crate::task::TaskState;

const BUSY: ErrorKind = ErrorKind::WrongState(Noun::Agent);

fn want(wanted: Wanted, force: bool, second: i64) -> Want {
    Want {
        wish: Wish {
            wanted,
            by: "me".to_owned(),
            at: at(second),
        },
        force,
        hand_back: false,
    }
}

/// "Decides what an agent is to be. Unchanged is no write and no event"; `NotFound(Agent)`.
pub async fn want_tells_only_changes(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let made = bench.register("p").await;
    let id = made.agent.id;
    assert_eq!(made.agent.wish.wanted, Wanted::Up);
    let steps = [
        (Wanted::Up, false),
        (Wanted::Down, true),
        (Wanted::Down, false),
        (Wanted::Up, true),
        (Wanted::Asleep, true),
        (Wanted::Asleep, false),
        (Wanted::Down, true),
        (Wanted::Up, true),
        (Wanted::Asleep, true),
        (Wanted::Up, true),
    ];
    let mut wish = made.agent.wish;
    for (second, (wanted, changes)) in (10..).zip(steps) {
        let before = bench.head().await;
        let wanted = want(wanted, false, second);
        let (agent, runs) = bench.store.want_agent(id, wanted.clone()).await.unwrap();
        if changes {
            wish = wanted.wish;
        }
        assert_eq!((&agent.wish, runs.len()), (&wish, 0));
        assert_eq!(bench.store.agent(id).await.unwrap(), agent);
        let listed = bench.store.agents().await.unwrap();
        assert_eq!(listed, [agent], "what was seen of it stays");
        let told = if changes { "agent.wanted" } else { "" };
        assert_eq!(bench.told_since(before).await, told, "{wish:?}");
    }
    let unknown = bench
        .store
        .want_agent(AgentId::new(), want(Wanted::Down, true, 30));
    assert_eq!(refused(unknown.await), ErrorKind::NotFound(Noun::Agent));
}

/// "`WrongState(Agent)` ... when it is to sleep and is down."
pub async fn want_lets_nobody_sleep_who_was_stopped(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let id = bench.register("p").await.agent.id;
    let down = want(Wanted::Down, false, 5);
    let (stopped, _) = bench.store.want_agent(id, down).await.unwrap();
    let before = bench.head().await;
    let asleep = want(Wanted::Asleep, true, 6);
    assert_eq!(refused(bench.store.want_agent(id, asleep).await), BUSY);
    assert_eq!(bench.store.agent(id).await.unwrap(), stopped);
    assert_eq!(bench.head().await, before);
}

/// "`WrongState(Agent)` when it has a run in hand and is to sleep, or to be down without force. Nothing changes then."
/// With force "the runs that it has in hand are to be stopped as `lost`, in the same commit".
pub async fn want_spares_a_run_unless_forced(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let made = bench.register("p").await;
    let (other, id) = (bench.register("other").await, made.agent.id);
    let task = bench.task(made.project.id, "one").await;
    let bystander = bench.task(other.project.id, "two").await;
    let claimed = bench.claimed(&task, at(3)).await;
    let bystander = bench.claimed(&bystander, at(3)).await;
    let before = bench.head().await;
    for (wanted, force) in [
        (Wanted::Down, false),
        (Wanted::Asleep, false),
        (Wanted::Asleep, true),
    ] {
        let refusal = bench.store.want_agent(id, want(wanted, force, 5)).await;
        assert_eq!(refused(refusal), BUSY);
    }
    // What is wanted already is not refused, and tells what it has in hand.
    let (_, runs) = bench
        .store
        .want_agent(id, want(Wanted::Up, false, 5))
        .await
        .unwrap();
    assert_eq!(runs, [claimed.run.id]);
    assert_eq!(bench.head().await, before);
    assert_eq!(bench.store.agent(id).await.unwrap(), made.agent);
    assert_eq!(bench.store.run(claimed.run.id).await.unwrap(), claimed.run);

    let forced = want(Wanted::Down, true, 6);
    let (agent, runs) = bench.store.want_agent(id, forced.clone()).await.unwrap();
    assert_eq!((&agent.wish, &*runs), (&forced.wish, &[claimed.run.id][..]));
    assert_eq!(bench.told_since(before).await, "task.stopping agent.wanted");
    let stop = bench.store.run(claimed.run.id).await.unwrap().stop;
    let stop = stop.expect("the run is to be stopped");
    assert_eq!((stop.reason, stop.at), (Reason::Lost, at(6)));
    assert!(stop.by.contains("me"), "{stop:?}");
    assert!(matches!(
        bench.store.task(task.id).await.unwrap().state,
        TaskState::Running { stop: Some(_), .. }
    ));
    let untouched = bench.store.run(bystander.run.id).await.unwrap();
    assert_eq!(untouched, bystander.run);
    // Again it changes nothing, with the run still there and after its end.
    let before = bench.head().await;
    let again = bench.store.want_agent(id, want(Wanted::Down, true, 7));
    assert_eq!(again.await.unwrap(), (agent.clone(), runs));
    assert_eq!(bench.head().await, before);
    let cause = crate::task::Setback::bare(Reason::Lost);
    let lost = end(Verdict::Lost { cause });
    let (run, token) = (claimed.run.id, claimed.run.token);
    bench.store.finish(run, token, lost, at(8)).await.unwrap();
    let again = bench.store.want_agent(id, want(Wanted::Down, false, 9));
    assert_eq!(again.await.unwrap(), (agent, vec![]));
}

/// Force gives up runs also of an agent that is up and stays so.
pub async fn want_up_by_force_stops_runs(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let made = bench.register("p").await;
    let task = bench.task(made.project.id, "one").await;
    let claimed = bench.claimed(&task, at(3)).await;
    let before = bench.head().await;
    let (agent, runs) = bench
        .store
        .want_agent(made.agent.id, want(Wanted::Up, true, 5))
        .await
        .unwrap();
    assert_eq!((agent, runs), (made.agent, vec![claimed.run.id]));
    assert_eq!(bench.told_since(before).await, "task.stopping");
}

/// `claim`: "`WrongState(Agent)` when the agent is down"; the task waits on, unchanged.
pub async fn claim_refuses_an_agent_that_is_down(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let made = bench.register("p").await;
    let task = bench.task(made.project.id, "one").await;
    let down = want(Wanted::Down, false, 5);
    bench.store.want_agent(made.agent.id, down).await.unwrap();
    let before = bench.head().await;
    let claim = bench.claim_for(&task, at(6)).await;
    assert_eq!(refused(bench.store.claim(claim).await), BUSY);
    assert_eq!(bench.head().await, before);
    assert_eq!(bench.store.task(task.id).await.unwrap(), task);
    assert_eq!(bench.store.open_runs().await.unwrap(), []);
    let up = want(Wanted::Up, false, 7);
    bench.store.want_agent(made.agent.id, up).await.unwrap();
    assert_eq!(bench.claimed(&task, at(8)).await.task.attempts, 1);
}

/// `claim`: "An agent that sleeps is wanted up by it, in the same commit."
pub async fn claim_wakes_an_agent_that_sleeps(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let made = bench.register("p").await;
    let task = bench.task(made.project.id, "one").await;
    let asleep = want(Wanted::Asleep, false, 5);
    bench.store.want_agent(made.agent.id, asleep).await.unwrap();
    let before = bench.head().await;
    bench.claimed(&task, at(6)).await;
    assert_eq!(
        bench.told_since(before).await,
        "agent.wanted run.created task.started"
    );
    let wish = bench.store.agent(made.agent.id).await.unwrap().wish;
    assert_eq!((wish.wanted, wish.at), (Wanted::Up, at(6)));
    assert!(wish.by.contains(&task.id.to_string()), "{wish:?}");
}

/// A project that is registered again has an agent that is up, whatever it was before.
pub async fn registering_again_wants_the_agent_up(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let new = folder("p");
    bench.store.register_project(new.clone()).await.unwrap();
    let down = want(Wanted::Down, false, 5);
    bench.store.want_agent(new.agent_id, down).await.unwrap();
    let found = bench.store.register_project(new.clone()).await.unwrap();
    assert_eq!(found.agent.wish.wanted, Wanted::Down, "it was there");
    let removed = bench.store.remove_project(new.id, false, "me", at(6));
    removed.await.unwrap();
    let back = NewProject { now: at(7), ..new };
    let back = bench.store.register_project(back).await.unwrap();
    assert_eq!(back.agent.wish, Wish::first(at(7)));
}

/// Whoever is first counts: a claim and a wish that rules it out never both take effect.
pub async fn wishes_and_claims_exclude_each_other(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    for round in 0..10 {
        let made = bench.register(&format!("p{round}")).await;
        let task = bench.task(made.project.id, "one").await;
        let claim = bench.claim_for(&task, at(3)).await;
        let wanted = [Wanted::Down, Wanted::Asleep][round % 2];
        let start = Arc::new(tokio::sync::Barrier::new(2));
        let claiming = {
            let (store, start) = (Arc::clone(&bench.store), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                store.claim(claim).await.is_ok()
            })
        };
        let wanting = {
            let store = Arc::clone(&bench.store);
            tokio::spawn(async move {
                start.wait().await;
                store
                    .want_agent(made.agent.id, want(wanted, false, 4))
                    .await
            })
        };
        let claimed = soon("the claim", claiming).await.unwrap();
        let wished = soon("the wish", wanting).await.unwrap();
        let agent: Agent = bench.store.agent(made.agent.id).await.unwrap();
        match wanted {
            Wanted::Down => {
                assert_ne!(claimed, wished.is_ok());
                assert_eq!(agent.wish.wanted == Wanted::Down, !claimed);
            }
            // It slept first, then it was woken; or it had a run and did not sleep.
            _ => assert!(claimed && agent.wish.wanted == Wanted::Up),
        }
    }
}

/// "When it has a run in hand and is ... to be taken over", "or to be taken over and is down", "and when it is taken over
/// and this does not hand it back". What is taken over gets no task.
pub async fn a_taken_agent_is_only_handed_back(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let made = bench.register("p").await;
    let id = made.agent.id;
    let task = bench.task(made.project.id, "one").await;
    let taken = want(Wanted::Taken, true, 5);
    let down = want(Wanted::Down, false, 5);
    bench.store.want_agent(id, down).await.unwrap();
    let refusal = bench.store.want_agent(id, taken.clone()).await;
    assert_eq!(refused(refusal), BUSY, "it was stopped");
    let up = want(Wanted::Up, false, 6);
    bench.store.want_agent(id, up.clone()).await.unwrap();

    let (agent, _) = bench.store.want_agent(id, taken.clone()).await.unwrap();
    assert_eq!(agent.wish, taken.wish);
    let other = place.another().await;
    assert_eq!(other.agent(id).await.unwrap(), agent);
    let before = bench.head().await;
    bench
        .store
        .want_agent(id, want(Wanted::Taken, false, 7))
        .await
        .unwrap();
    for wanted in [Wanted::Up, Wanted::Asleep, Wanted::Down] {
        let refusal = bench.store.want_agent(id, want(wanted, true, 8)).await;
        assert_eq!(refused(refusal), BUSY);
    }
    let claim = bench.claim_for(&task, at(9)).await;
    assert_eq!(refused(bench.store.claim(claim).await), BUSY);
    assert_eq!(bench.head().await, before);

    let back = Want {
        hand_back: true,
        ..up
    };
    bench.store.want_agent(id, back).await.unwrap();
    assert_eq!(bench.told_since(before).await, "agent.wanted");
    bench.claimed(&task, at(10)).await;
    let refusal = bench
        .store
        .want_agent(id, want(Wanted::Taken, true, 11))
        .await;
    assert_eq!(refused(refusal), BUSY, "it has a run in hand");
}
