//! Windows as they should be: one per agent, found again, nobody else's touched.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use ccm_agents::{TmuxConfig, TmuxRuntime, TmuxSocket};
use ccm_core::runtime::{AgentRuntime, RunEnd};
use ccm_core::{ErrorKind, Result};

use super::{Desk, Server};
use crate::bench::{end_of, until};

#[track_caller]
fn unavailable<T: std::fmt::Debug>(answer: Result<T>) -> String {
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    error.to_string()
}

#[tokio::test]
async fn an_agent_has_one_window_that_shows_it() {
    let desk = Desk::new();
    let place = desk.place_named("my.project");
    let facts = desk.runtime.start_agent(&place).await.unwrap();
    assert_eq!(facts.window.as_deref(), Some("ccm:my_project"));
    assert!(facts.pid.is_some() && facts.answers);
    let again = desk.runtime.start_agent(&place).await.unwrap();
    assert_eq!(again, facts);
    assert_eq!(desk.server.names(), ["my_project"]);
    // The words are a target for people.
    desk.server.run(&["select-window", "-t", "ccm:my_project"]);

    let order = desk.sh("echo a word from the agent");
    desk.runtime.launch(&order).await.unwrap();
    end_of(&*desk.runtime, order.run).await;
    until("the agent's words in its window", || {
        let screen = desk.server.run(&["capture-pane", "-p", "-t", "ccm:bench"]);
        screen.contains("a word from the agent").then_some(())
    })
    .await;

    desk.runtime.stop_agent(place.id).await.unwrap();
    desk.runtime.stop_agent(place.id).await.unwrap();
    assert_eq!(desk.server.names(), ["bench"]);
    desk.runtime.stop_agent(desk.agent).await.unwrap();
    assert_eq!(desk.server.names(), [""; 0]);
    assert!(desk.runtime.agents().await.unwrap().is_empty());
}

#[tokio::test]
async fn names_that_look_alike_are_not_mixed_up() {
    let desk = Desk::new();
    let names = [
        "ccm-1",
        "ccm-12",
        "a.b",
        "a:b",
        "-t",
        "7",
        "#(touch x)",
        "ü;'\"$HOME\\",
    ];
    let mut places = Vec::new();
    for name in names {
        let place = desk.place_named(name);
        let facts = desk.runtime.start_agent(&place).await.unwrap();
        assert!(facts.window.is_some(), "{name}");
        places.push(place);
    }
    let windows = desk.server.names();
    assert_eq!(
        windows,
        [
            "ccm-1",
            "ccm-12",
            "a_b",
            "a_b",
            "_-t",
            "_7",
            "_(touch x)",
            "ü___$HOME_".replace('$', "_").as_str()
        ]
    );
    // Every window is told in words that lead to it and no other.
    let mut ids = std::collections::BTreeSet::new();
    for place in &places {
        let words = desk.window_of(place.id).await.unwrap();
        ids.insert(
            desk.server
                .run(&["display-message", "-p", "-t", &words, "#{window_id}"]),
        );
    }
    assert_eq!(ids.len(), names.len(), "{ids:?}");

    desk.runtime.stop_agent(places[0].id).await.unwrap();
    desk.runtime.stop_agent(places[3].id).await.unwrap();
    assert_eq!(
        desk.server.names(),
        ["ccm-12", "a_b", "_-t", "_7", "_(touch x)", "ü____HOME_"]
    );
    assert!(desk.window_of(places[1].id).await.is_some());
    assert!(desk.window_of(places[2].id).await.is_some());
}

#[tokio::test]
async fn many_agents_at_once_get_one_window_each() {
    let desk = Desk::new();
    let mut starts = tokio::task::JoinSet::new();
    for number in 0..8 {
        let (runtime, place) = (
            desk.runtime.clone(),
            desk.place_named(&format!("p{number}")),
        );
        starts.spawn(async move { runtime.start_agent(&place).await.unwrap() });
    }
    while let Some(facts) = starts.join_next().await {
        assert!(facts.unwrap().window.is_some());
    }
    let mut names = desk.server.names();
    names.sort();
    assert_eq!(names, ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7"]);
}

#[tokio::test]
async fn the_next_daemon_finds_the_windows() {
    let desk = Desk::new();
    let facts = desk.runtime.start_agent(&desk.place()).await.unwrap();
    let windows = desk.server.windows();
    // A person may have renamed it.
    desk.server
        .run(&["rename-window", "-t", &windows[0].0, "mine"]);
    let next = desk.another(2);
    assert_eq!(
        next.agents().await.unwrap()[0].window.as_deref(),
        Some("ccm:mine")
    );
    let found = next.start_agent(&desk.place()).await.unwrap();
    assert_eq!((found.id, found.pid), (facts.id, facts.pid));
    let after = desk.server.windows();
    assert_eq!(after.len(), 1);
    assert_eq!(after[0].0, windows[0].0);
}

#[tokio::test]
async fn two_homes_share_a_server_and_touch_only_their_own() {
    let server = Arc::new(Server::new());
    server.run(&[
        "new-session",
        "-d",
        "-s",
        "ccm",
        "-n",
        "someones",
        "--",
        "cat",
        "-",
    ]);
    let (one, two) = (
        Desk::on(server.clone(), |c| c),
        Desk::on(server.clone(), |c| c),
    );
    let _keep = (one.keep(), two.keep());
    one.runtime.start_agent(&one.place()).await.unwrap();
    two.runtime.start_agent(&two.place()).await.unwrap();
    assert_eq!(server.names(), ["someones", "bench", "bench"]);
    // The same name twice: their indexes tell them apart.
    assert_eq!(one.window_of(one.agent).await.as_deref(), Some("ccm:1"));
    assert_eq!(two.window_of(two.agent).await.as_deref(), Some("ccm:2"));
    assert_eq!(one.runtime.agents().await.unwrap().len(), 1);

    let windows = server.windows();
    one.runtime.stop_agent(one.agent).await.unwrap();
    // An agent of the other home is unknown here.
    one.runtime.stop_agent(two.agent).await.unwrap();
    assert_eq!(server.windows(), [windows[0].clone(), windows[2].clone()]);
}

#[tokio::test]
async fn windows_beyond_the_limit_wait_for_room() {
    let desk = Desk::on(Arc::new(Server::new()), |config| TmuxConfig {
        max_windows: Some(1),
        ..config
    });
    let _keep = desk.keep();
    let (first, second) = (desk.place_named("first"), desk.place_named("second"));
    assert!(
        desk.runtime
            .start_agent(&first)
            .await
            .unwrap()
            .window
            .is_some()
    );
    let facts = desk.runtime.start_agent(&second).await.unwrap();
    assert!(facts.window.is_none() && facts.answers);
    assert_eq!(desk.server.names(), ["first"]);
    let health = desk.runtime.health().await.unwrap();
    assert!(health.version.starts_with("tmux "), "{health:?}");
    assert_eq!((health.windows, health.waiting), (1, vec![second.id]));
    desk.runtime.stop_agent(first.id).await.unwrap();
    until("the window that waited", || {
        (desk.server.names() == ["second"]).then_some(())
    })
    .await;
    assert_eq!(desk.runtime.waiting_for_room().await.unwrap(), []);
}

#[tokio::test]
async fn a_higher_limit_makes_room_at_once() {
    let desk = Desk::on(Arc::new(Server::new()), |config| TmuxConfig {
        max_windows: Some(1),
        ..config
    });
    let _keep = desk.keep();
    for name in ["first", "second"] {
        let place = desk.place_named(name);
        desk.runtime.start_agent(&place).await.unwrap();
    }
    assert_eq!(desk.server.names(), ["first"]);
    desk.runtime.set_max_windows(Some(2));
    until("the window that waited", || {
        (desk.server.names() == ["first", "second"]).then_some(())
    })
    .await;
    // A lower one closes nothing.
    desk.runtime.set_max_windows(Some(1));
    desk.runtime
        .start_agent(&desk.place_named("third"))
        .await
        .unwrap();
    assert_eq!(desk.server.names(), ["first", "second"]);
}

#[tokio::test]
async fn without_tmux_nothing_is_started() {
    let desk = Desk::on(Arc::new(Server::new()), |config| TmuxConfig {
        program: "no-such-tmux".into(),
        ..config
    });
    let said = unavailable(desk.runtime.start_agent(&desk.place()).await);
    assert!(
        said.contains("no-such-tmux is not on the PATH") && said.contains("install tmux 3.2a"),
        "{said}"
    );
    assert!(desk.runtime.hosts().agents().await.unwrap().is_empty());
    unavailable(desk.runtime.launch(&desk.sh("true")).await);
    assert!(desk.runtime.runs().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_old_tmux_is_refused_with_what_to_do() {
    let server = Arc::new(Server::new());
    let program = server.path().join("tmux");
    std::fs::write(&program, "#!/bin/sh\necho tmux 3.1c\n").unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let desk = Desk::on(server, |config| TmuxConfig { program, ..config });
    let said = unavailable(desk.runtime.start_agent(&desk.place()).await);
    assert!(
        said.starts_with("tmux 3.1c is too old; install tmux 3.2a or newer"),
        "{said}"
    );
    assert!(desk.runtime.hosts().agents().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_run_that_was_started_is_known_also_without_tmux() {
    let desk = Desk::new();
    let order = desk.working().await;
    let without = TmuxConfig {
        program: "no-such-tmux".into(),
        ..desk.server.config()
    };
    let next = TmuxRuntime::new(desk.config(2), without).unwrap();
    assert_eq!(
        next.launch(&order).await.unwrap(),
        next.inspect(order.run).await.unwrap()
    );
    desk.finish();
    assert!(matches!(end_of(&next, order.run).await, RunEnd::Exited(exit) if exit.code == Some(0)));
}

#[tokio::test]
async fn a_server_that_cannot_start_costs_the_windows_only() {
    let server = Arc::new(Server::new());
    let socket = server.path().join("nowhere/socket");
    let desk = Desk::on(server, |config| TmuxConfig {
        socket: TmuxSocket::Path(socket),
        ..config
    });
    let facts = desk.runtime.start_agent(&desk.place()).await.unwrap();
    assert!(facts.window.is_none() && facts.answers);
    let order = desk.sh("exit 4");
    desk.runtime.launch(&order).await.unwrap();
    assert!(
        matches!(end_of(&*desk.runtime, order.run).await, RunEnd::Exited(exit) if exit.code == Some(4))
    );
    assert_eq!(desk.runtime.agents().await.unwrap().len(), 1);
}

#[tokio::test]
async fn hostile_output_stays_output() {
    let desk = Desk::new();
    let windows = {
        desk.runtime.start_agent(&desk.place()).await.unwrap();
        desk.server.windows()
    };
    let order = desk.sh(
        r"printf '\033kstolen\033\\ \033]2;stolen\007 \033]52;c;c3RvbGVu\007 \033Ptmux;\033\033]0;x\007\033\\ \033[?1049h \033c %%exit\n%%end 1 1 1\n'; echo plain",
    );
    desk.runtime.launch(&order).await.unwrap();
    end_of(&*desk.runtime, order.run).await;
    until("the output in the window", || {
        let screen = desk
            .server
            .run(&["capture-pane", "-p", "-t", &windows[0].0]);
        screen.contains("plain").then_some(())
    })
    .await;
    assert_eq!(desk.server.windows(), windows);
    assert_eq!(
        desk.window_of(desk.agent).await.as_deref(),
        Some("ccm:bench")
    );
    assert_eq!(
        desk.server.try_run(&["show-buffer"]),
        Err("no buffers".into())
    );
}

#[tokio::test]
async fn the_server_gets_neither_our_secrets_nor_our_files() {
    let desk = Desk::new();
    // A lock that somebody left open to everything that this process starts.
    let lock = tempfile::tempfile().unwrap();
    nix::fcntl::fcntl(
        &lock,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .unwrap();
    desk.runtime.start_agent(&desk.place()).await.unwrap();
    // The tests themselves run with variables of cargo's, as a daemon does with tokens.
    assert!(std::env::vars_os().any(|(name, _)| name == "CARGO_MANIFEST_DIR"));
    let environment = desk.server.run(&["show-environment", "-g"]);
    assert!(environment.contains("PATH="), "{environment}");
    assert!(!environment.contains("CARGO"), "{environment}");
    let links: Vec<_> = std::fs::read_dir(format!("/proc/{}/fd", desk.server.pid()))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .collect();
    assert!(!links.is_empty());
    assert!(
        !links
            .iter()
            .any(|link| link.to_string_lossy().contains("(deleted)")),
        "{links:?}"
    );
}

/// How often a process has gone to sleep so far, and so been woken.
fn sleeps(pid: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let count = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn while_nothing_happens_nobody_wakes() {
    let desk = Desk::new();
    let _keep = desk.keep();
    for name in ["one", "two", "three"] {
        desk.runtime
            .start_agent(&desk.place_named(name))
            .await
            .unwrap();
    }
    let client = desk.server.run(&["list-clients", "-F", "#{client_pid}"]);
    let server = desk.server.pid().to_string();
    let count = || sleeps(&client) + sleeps(&server);
    // What was begun comes to its end first; then a second and a half is what is measured.
    let deadline = std::time::Instant::now() + crate::bench::PATIENCE;
    loop {
        let before = count();
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        let woken = count() - before;
        if woken == 0 {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "still woken {woken} times"
        );
    }
}
