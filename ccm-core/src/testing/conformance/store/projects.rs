//! Taking over, projects, agents.

use super::*;
use crate::Noun;
use crate::agent::{AgentState, Evidence, Want, Wanted, Wish};
use crate::reason::Reason;
use crate::run::Checkpoint;
use crate::store::{Intake, RegisterEffect};
use crate::task::{Setback, StopIntent, TaskState};

/// "Raises the epoch": each beginning gets a higher one, and `daemon.started` tells it.
pub async fn begin_raises_the_epoch(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    assert_eq!(bench.told_since(0).await, "daemon.started");
    let second = place.another().await;
    let epoch = second.begin(&bench.system, at(1)).await.unwrap();
    assert!(epoch > bench.epoch, "{epoch} is not above {}", bench.epoch);
    let events = second
        .events(&EventQuery {
            limit: 10,
            ..EventQuery::default()
        })
        .await
        .unwrap();
    assert_eq!(events.last().unwrap().data["epoch"], epoch.0);
}

/// "`Taken(System)` when the store belongs to a system with another id"; and that changes nothing.
pub async fn begin_refuses_another_system(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let second = place.another().await;
    let kind = refused(second.begin(&machine(), at(1)).await);
    assert_eq!(kind, ErrorKind::Taken(Noun::System));
    assert_eq!(bench.head().await, 1);
    bench.project("still-mine").await;
}

/// "Keeps what the machine is": a new name, kind or tags of the same system are no other system.
pub async fn begin_takes_the_same_system_changed(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let changed = System {
        hostname: "renamed".to_owned(),
        tags: Vec::new(),
        ..bench.system.clone()
    };
    place.another().await.begin(&changed, at(1)).await.unwrap();
}

/// "Tries whether something new could be written ... What is stored stays as it is ... and there is no event": for the
/// handle that has begun last, and for no other.
pub async fn check_changes_nothing(place: &dyn StorePlace) {
    let kind = refused(place.store().check().await);
    assert_eq!(kind, ErrorKind::Superseded, "nobody has begun");
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let task = bench.task(project.id, "one").await;
    let before = bench.head().await;
    for _ in 0..3 {
        bench.store.check().await.unwrap();
    }
    assert_eq!(bench.head().await, before);
    assert_eq!(bench.store.task(task.id).await.unwrap(), task);
    let next = place.another().await;
    next.begin(&bench.system, at(4)).await.unwrap();
    next.check().await.unwrap();
    assert_eq!(refused(bench.store.check().await), ErrorKind::Superseded);
}

/// "Once another handle has begun, the older one's writes fail with `Superseded` and change nothing"; it still reads.
pub async fn an_older_epoch_writes_nothing(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let project = bench.project("p").await;
    let task = bench.task(project.id, "one").await;
    let other = bench.task(project.id, "two").await;
    let ended = bench.task(project.id, "three").await;
    let ended = bench.done(&ended, Verdict::Succeeded, at(3)).await;
    let agent = bench.store.agents().await.unwrap().remove(0);
    let claimed = bench.claimed(&task, at(3)).await;
    let (run, token) = (claimed.run.id, claimed.run.token);
    let next = place.another().await;
    next.begin(&bench.system, at(4)).await.unwrap();

    let old = &bench.store;
    let before = bench.head().await;
    let gone = ErrorKind::Superseded;
    assert_eq!(refused(old.check().await), gone);
    assert_eq!(refused(old.register_project(folder("new")).await), gone);
    let hold = Some(Setback::bare(Reason::ProjectMissing));
    assert_eq!(
        refused(old.hold_project(project.id, hold, at(5)).await),
        gone
    );
    assert_eq!(
        refused(old.pause_project(project.id, true, at(5)).await),
        gone
    );
    assert_eq!(
        refused(old.remove_project(project.id, true, "me", at(5)).await),
        gone
    );
    let create = order(vec![new_task(project.id, spec("three"))]);
    assert_eq!(refused(old.create_tasks(create).await), gone);
    assert_eq!(refused(old.cancel_task(other.id, "me", at(5)).await), gone);
    let claim = bench.claim_for(&other, at(5)).await;
    assert_eq!(refused(old.claim(claim).await), gone);
    assert_eq!(refused(old.renew(run, token, at(9)).await), gone);
    assert_eq!(
        refused(old.mark_started(run, token, at(5), at(5)).await),
        gone
    );
    assert_eq!(
        refused(old.finish(run, token, end(Verdict::Succeeded), at(5)).await),
        gone
    );
    assert_eq!(refused(old.retry_task(ended.id, "me", at(5)).await), gone);
    let evidence = Evidence {
        source: "host".to_owned(),
        seen_at: at(5),
    };
    let seen = old
        .observe_agent(agent.id, AgentState::Idle, evidence)
        .await;
    assert_eq!(refused(seen), gone);
    let want = Want {
        wish: Wish {
            wanted: Wanted::Down,
            ..Wish::first(at(5))
        },
        force: true,
        hand_back: false,
    };
    assert_eq!(refused(old.want_agent(agent.id, want).await), gone);
    let intent = StopIntent {
        reason: Reason::Timeout,
        by: "engine".to_owned(),
        at: at(5),
    };
    assert_eq!(refused(old.mark_stopping(run, token, intent).await), gone);
    let held = Some(Reason::Unstoppable);
    assert_eq!(refused(old.mark_held(run, token, held, at(5)).await), gone);
    let intake = Intake {
        from: Checkpoint::default(),
        to: Checkpoint {
            out: 1,
            ..Checkpoint::default()
        },
        observations: Vec::new(),
        ask_ids: Vec::new(),
    };
    assert_eq!(refused(old.take_in(run, token, intake, at(5)).await), gone);
    assert_eq!(bench.head().await, before);
    assert_eq!(next.agent(agent.id).await.unwrap(), agent);
    assert_eq!(next.task(ended.id).await.unwrap(), ended);
    assert_eq!(next.task(task.id).await.unwrap(), claimed.task);
    assert_eq!(next.task(other.id).await.unwrap(), other);
    assert_eq!(next.run(run).await.unwrap(), claimed.run);
    assert_eq!(
        old.task(other.id).await.unwrap(),
        other,
        "the older one still reads"
    );
    let done = next
        .finish(run, token, end(Verdict::Succeeded), at(6))
        .await
        .unwrap();
    assert_eq!(done.state, TaskState::Succeeded { run, at: at(6) });
}

/// "Registers a folder with its dedicated agent": what was given is what is kept, and one event tells it.
pub async fn register_makes_project_and_agent(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let before = bench.head().await;
    let new = folder("größe & co");
    let made = bench.store.register_project(new.clone()).await.unwrap();
    assert_eq!(made.effect, RegisterEffect::Created);
    assert_eq!(bench.told_since(before).await, "project.created");
    let project = bench.store.project(new.id).await.unwrap();
    assert_eq!(project, made.project);
    assert_eq!((&project.name, &project.path), (&new.name, &new.path));
    assert_eq!(project.system_id, bench.system.id);
    assert_eq!(project.created_at, new.now);
    assert_eq!((project.paused, &project.hold), (false, &None));
    assert_eq!((project.queued, project.running), (0, 0));
    let agent = bench.store.agent(new.agent_id).await.unwrap();
    assert_eq!(agent, made.agent);
    assert_eq!((agent.id, agent.project_id), (new.agent_id, new.id));
    assert_eq!(agent.state, AgentState::Stopped);
}

/// "The same id and path is found unchanged", without an event, with the agent it had.
pub async fn register_again_is_unchanged(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let new = folder("p");
    let first = bench.store.register_project(new.clone()).await.unwrap();
    let before = bench.head().await;
    let again = NewProject {
        agent_id: AgentId::new(),
        now: at(9),
        ..new
    };
    let found = bench.store.register_project(again).await.unwrap();
    assert_eq!(found.effect, RegisterEffect::Unchanged);
    assert_eq!((found.project, found.agent), (first.project, first.agent));
    assert_eq!(bench.head().await, before);
}

/// "The same id and another path moves the project there"; its agent and tasks go with it.
pub async fn register_moves_a_project(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let new = folder("p");
    let first = bench.store.register_project(new.clone()).await.unwrap();
    let task = bench.task(new.id, "wait").await;
    let before = bench.head().await;
    let moved = NewProject {
        path: PathBuf::from("/elsewhere/p"),
        ..new.clone()
    };
    let found = bench.store.register_project(moved).await.unwrap();
    assert_eq!(found.effect, RegisterEffect::Moved);
    assert_eq!(found.project.path, PathBuf::from("/elsewhere/p"));
    assert_eq!((found.project.id, found.agent.id), (new.id, first.agent.id));
    assert_eq!(found.project.name, first.project.name);
    assert_eq!(bench.told_since(before).await, "project.updated");
    assert_eq!(bench.store.project(new.id).await.unwrap(), found.project);
    assert_eq!(bench.store.task(task.id).await.unwrap().project_id, new.id);
    // The old folder is free for another project now.
    let heir = NewProject {
        name: "heir".to_owned(),
        path: new.path,
        ..folder("heir")
    };
    bench.store.register_project(heir).await.unwrap();
}

/// "A name that is taken gets `-2`, `-3` ..."
pub async fn register_numbers_a_taken_name(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let mut names = Vec::new();
    for number in 0..3 {
        let path = PathBuf::from(format!("/projects/{number}/repo"));
        let new = NewProject {
            path,
            ..folder("repo")
        };
        names.push(
            bench
                .store
                .register_project(new)
                .await
                .unwrap()
                .project
                .name,
        );
    }
    assert_eq!(names, ["repo", "repo-2", "repo-3"]);
    let listed = bench.store.projects().await.unwrap();
    let listed: Vec<_> = listed.iter().map(|project| &project.name).collect();
    assert_eq!(listed, ["repo", "repo-2", "repo-3"], "all projects by name");
    let agents = bench.store.agents().await.unwrap();
    assert!(
        agents.is_sorted_by(|a, b| a.name <= b.name),
        "all agents by name"
    );
    assert_eq!(agents.len(), 3);
}

/// "`Taken(Project)` for an exact name that is taken"; nothing changes.
pub async fn register_refuses_an_exact_taken_name(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    bench.project("repo").await;
    let before = bench.head().await;
    let new = NewProject {
        exact_name: true,
        path: PathBuf::from("/other/repo"),
        ..folder("repo")
    };
    let id = new.id;
    let kind = refused(bench.store.register_project(new).await);
    assert_eq!(kind, ErrorKind::Taken(Noun::Project));
    assert_eq!(bench.head().await, before);
    let kind = refused(bench.store.project(id).await);
    assert_eq!(kind, ErrorKind::NotFound(Noun::Project));
    let free = NewProject {
        exact_name: true,
        ..folder("free")
    };
    let made = bench.store.register_project(free).await.unwrap();
    assert_eq!(made.project.name, "free");
}

/// "`Taken(Project)` ... for a path that another project has", new or moved there.
pub async fn register_refuses_a_taken_path(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let first = bench.project("first").await;
    let second = folder("second");
    bench.store.register_project(second.clone()).await.unwrap();
    let before = bench.head().await;
    let new = NewProject {
        path: first.path.clone(),
        ..folder("third")
    };
    let kind = refused(bench.store.register_project(new).await);
    assert_eq!(kind, ErrorKind::Taken(Noun::Project));
    let moved = NewProject {
        path: first.path,
        ..second.clone()
    };
    let kind = refused(bench.store.register_project(moved).await);
    assert_eq!(kind, ErrorKind::Taken(Noun::Project));
    assert_eq!(bench.head().await, before);
    assert_eq!(
        bench.store.project(second.id).await.unwrap().path,
        second.path
    );
}

/// "Sets or lifts a project's hold. Unchanged is no write and no event."
pub async fn hold_tells_only_changes(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let id = bench.project("p").await.id;
    let hold = Setback::new(Reason::ConfigUntrusted, "look at it and trust it");
    let steps = [
        (None, false),
        (Some(hold.clone()), true),
        (Some(hold), false),
        (Some(Setback::bare(Reason::ProjectMissing)), true),
        (None, true),
        (None, false),
    ];
    for (hold, changes) in steps {
        let before = bench.head().await;
        bench
            .store
            .hold_project(id, hold.clone(), at(5))
            .await
            .unwrap();
        assert_eq!(bench.store.project(id).await.unwrap().hold, hold);
        let told = if changes { "project.updated" } else { "" };
        assert_eq!(bench.told_since(before).await, told, "hold {hold:?}");
    }
    let kind = refused(
        bench
            .store
            .hold_project(ProjectId::new(), None, at(5))
            .await,
    );
    assert_eq!(kind, ErrorKind::NotFound(Noun::Project));
}

/// "Pauses or resumes a project's queue. Unchanged is no write and no event."
pub async fn pause_tells_only_changes(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let id = bench.project("p").await.id;
    for (paused, changes) in [(false, false), (true, true), (true, false), (false, true)] {
        let before = bench.head().await;
        let project = bench.store.pause_project(id, paused, at(5)).await.unwrap();
        assert_eq!(project.paused, paused);
        assert_eq!(bench.store.project(id).await.unwrap(), project);
        let told = if changes { "project.updated" } else { "" };
        assert_eq!(bench.told_since(before).await, told, "paused {paused}");
    }
    let kind = refused(
        bench
            .store
            .pause_project(ProjectId::new(), true, at(5))
            .await,
    );
    assert_eq!(kind, ErrorKind::NotFound(Noun::Project));
}

/// "`WrongState(Project)` when tasks wait or run and `force` is not set; nothing changes then."
pub async fn remove_refuses_while_tasks_are_open(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let id = bench.project("p").await.id;
    let task = bench.task(id, "one").await;
    let before = bench.head().await;
    let refusal = ErrorKind::WrongState(Noun::Project);
    assert_eq!(
        refused(bench.store.remove_project(id, false, "me", at(5)).await),
        refusal
    );
    assert_eq!(bench.head().await, before);
    assert_eq!(bench.store.task(task.id).await.unwrap(), task);
    bench.claimed(&task, at(6)).await;
    let before = bench.head().await;
    assert_eq!(
        refused(bench.store.remove_project(id, false, "me", at(7)).await),
        refusal
    );
    assert_eq!(bench.head().await, before);
    assert_eq!(bench.store.project(id).await.unwrap().running, 1);
}

/// Without open tasks a project is removed without force, and is `NotFound` then; its tasks stay readable.
pub async fn remove_keeps_tasks_readable(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let made = bench.register("p").await;
    let id = made.project.id;
    let task = bench.task(id, "one").await;
    let task = bench.done(&task, Verdict::Succeeded, at(5)).await;
    let before = bench.head().await;
    assert_eq!(
        bench
            .store
            .remove_project(id, false, "me", at(6))
            .await
            .unwrap(),
        []
    );
    assert_eq!(bench.told_since(before).await, "project.removed");
    let gone = ErrorKind::NotFound(Noun::Project);
    assert_eq!(refused(bench.store.project(id).await), gone);
    assert_eq!(
        refused(bench.store.remove_project(id, true, "me", at(7)).await),
        gone
    );
    assert_eq!(bench.store.projects().await.unwrap(), []);
    assert_eq!(
        bench.store.agents().await.unwrap(),
        [],
        "agents of registered projects only"
    );
    assert_eq!(bench.store.task(task.id).await.unwrap(), task);
    let listed = bench
        .store
        .tasks(&TaskQuery {
            filter: of_project(id),
            ..all_tasks()
        })
        .await
        .unwrap();
    assert_eq!(listed.items, std::slice::from_ref(&task));
    let create = order(vec![new_task(id, spec("late"))]);
    assert_eq!(refused(bench.store.create_tasks(create).await), gone);
    let kind = refused(bench.store.retry_task(task.id, "me", at(8)).await);
    assert_eq!(kind, ErrorKind::WrongState(Noun::Project));
}

/// "Its waiting tasks fail and its runs are to be stopped, both as `project_removed` ... Returns the runs to stop."
pub async fn remove_by_force_ends_what_is_open(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let id = bench.project("p").await.id;
    let other = bench.project("other").await;
    let waiting = bench.task(id, "wait").await;
    let running = bench.task(id, "run").await;
    let bystander = bench.task(other.id, "stay").await;
    let claimed = bench.claimed(&running, at(4)).await;
    let runs = bench
        .store
        .remove_project(id, true, "me", at(5))
        .await
        .unwrap();
    assert_eq!(runs, [claimed.run.id]);
    let failed = bench.store.task(waiting.id).await.unwrap();
    let cause = Setback::bare(Reason::ProjectRemoved);
    assert_eq!(
        failed.state,
        TaskState::Failed {
            run: None,
            cause,
            at: at(5)
        }
    );
    assert!(failed.revision > waiting.revision);
    let run = bench.store.run(claimed.run.id).await.unwrap();
    let stop = run.stop.expect("the run is to be stopped");
    assert_eq!(
        (stop.reason, stop.by.as_str()),
        (Reason::ProjectRemoved, "me")
    );
    assert_eq!(bench.store.task(bystander.id).await.unwrap(), bystander);
    let counts = bench.store.counts().await.unwrap();
    assert_eq!((counts.queued, counts.running), (1, 1));
    let mut finish = end(Verdict::Failed {
        cause: Setback::bare(Reason::ProjectRemoved),
    });
    finish.retry_at = Some(at(6));
    let task = bench
        .store
        .finish(run.id, run.token, finish, at(6))
        .await
        .unwrap();
    assert!(
        matches!(task.state, TaskState::Failed { .. }),
        "{:?}",
        task.state
    );
}

/// A removed project's name, folder and id can be registered again; its old tasks stay as they ended.
pub async fn remove_frees_name_path_and_id(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let new = folder("p");
    bench.store.register_project(new.clone()).await.unwrap();
    let task = bench.task(new.id, "wait").await;
    bench
        .store
        .remove_project(new.id, true, "me", at(5))
        .await
        .unwrap();
    let failed = bench.store.task(task.id).await.unwrap();
    let again = NewProject {
        exact_name: true,
        now: at(6),
        ..new.clone()
    };
    let back = bench.store.register_project(again).await.unwrap();
    assert_eq!((back.project.id, back.project.name.as_str()), (new.id, "p"));
    assert_eq!((back.project.queued, back.project.running), (0, 0));
    assert_eq!(bench.store.project(new.id).await.unwrap(), back.project);
    assert_eq!(bench.store.task(task.id).await.unwrap(), failed);
    bench.task(new.id, "works again").await;
    bench
        .store
        .remove_project(new.id, true, "me", at(7))
        .await
        .unwrap();
    let heir = NewProject {
        exact_name: true,
        ..folder("p")
    };
    bench.store.register_project(heir).await.unwrap();
}

/// "Keeps what was seen of an agent. The same state again only refreshes the evidence, without an event."
pub async fn observe_tells_only_changes(place: &dyn StorePlace) {
    let bench = Bench::new(place).await;
    let id = bench.register("p").await.agent.id;
    let run = RunId::new();
    let states = [
        AgentState::Starting,
        AgentState::Idle,
        AgentState::Working { run },
        AgentState::Unresponsive { run: Some(run) },
        AgentState::Failed {
            detail: "install it: \"x\"".to_owned(),
        },
        AgentState::Stopping,
    ];
    for (number, state) in (0_i64..).zip(states) {
        let seen = |second| Evidence {
            source: "host".to_owned(),
            seen_at: at(second),
        };
        let (first, second) = (10 * number + 10, 10 * number + 15);
        let before = bench.head().await;
        bench
            .store
            .observe_agent(id, state.clone(), seen(first))
            .await
            .unwrap();
        assert_eq!(bench.told_since(before).await, "agent.updated", "{state:?}");
        bench
            .store
            .observe_agent(id, state.clone(), seen(second))
            .await
            .unwrap();
        assert_eq!(
            bench.told_since(before).await,
            "agent.updated",
            "{state:?} again"
        );
        let agent = bench.store.agent(id).await.unwrap();
        assert_eq!((agent.state, agent.since), (state, at(first)));
        assert_eq!(agent.evidence, seen(second));
    }
    let evidence = Evidence {
        source: "host".to_owned(),
        seen_at: at(1),
    };
    let kind = refused(
        bench
            .store
            .observe_agent(AgentId::new(), AgentState::Idle, evidence)
            .await,
    );
    assert_eq!(kind, ErrorKind::NotFound(Noun::Agent));
    assert_eq!(refused(bench.store.agent(AgentId::new()).await), kind);
}
