//! Windows and servers that go away under a run.

use std::time::Duration;

use ccm_core::runtime::{AgentRuntime, RunEnd};

use super::{Desk, end};
use crate::bench::{end_of, kill, until};

async fn ends_well(desk: &Desk, run: ccm_core::id::RunId) {
    desk.finish();
    let end = end_of(&*desk.runtime, run).await;
    assert!(
        matches!(&end, RunEnd::Exited(exit) if exit.code == Some(0)),
        "{end:?}"
    );
}

#[tokio::test]
async fn a_killed_server_comes_back_and_the_run_goes_on() {
    let desk = Desk::new();
    let _keep = desk.keep();
    let order = desk.working().await;
    let idle = desk.place_named("idle");
    desk.runtime.start_agent(&idle).await.unwrap();
    let (window, server) = (desk.server.windows()[0].0.clone(), desk.server.pid());
    desk.server.run(&["kill-server"]);
    desk.redrawn("bench", &window, server).await;
    desk.redrawn("idle", &window, server).await;
    assert!(desk.is_running(&order).await);
    assert_eq!(
        desk.window_of(desk.agent).await.as_deref(),
        Some("ccm:bench")
    );
    ends_well(&desk, order.run).await;
}

#[tokio::test]
async fn a_server_that_was_cut_off_comes_back_and_the_run_goes_on() {
    let desk = Desk::new();
    let _keep = desk.keep();
    let order = desk.working().await;
    let (window, server) = (desk.server.windows()[0].0.clone(), desk.server.pid());
    end(server);
    desk.redrawn("bench", &window, server).await;
    assert!(desk.is_running(&order).await);
    ends_well(&desk, order.run).await;
}

#[tokio::test]
async fn the_next_call_mends_what_nobody_keeps() {
    let desk = Desk::new();
    let facts = desk.runtime.start_agent(&desk.place()).await.unwrap();
    desk.server.run(&["kill-server"]);
    assert_eq!(desk.window_of(desk.agent).await, None);
    assert_eq!(
        desk.runtime.start_agent(&desk.place()).await.unwrap(),
        facts
    );
    end(desk.server.pid());
    assert_eq!(
        desk.runtime.start_agent(&desk.place()).await.unwrap(),
        facts
    );
}

#[tokio::test]
async fn a_closed_pane_is_drawn_again_and_the_run_goes_on() {
    let desk = Desk::new();
    let _keep = desk.keep();
    let order = desk.working().await;
    let other = desk.place_named("other");
    desk.runtime.start_agent(&other).await.unwrap();
    let server = desk.server.pid();
    let mut window = desk.server.windows()[0].0.clone();
    for close in ["kill-pane", "kill-window"] {
        desk.server.run(&[close, "-t", &window]);
        window = desk.redrawn("bench", &window, server).await;
        assert!(desk.is_running(&order).await);
    }
    // The program in the pane may die as well.
    let viewer = desk
        .server
        .run(&["display-message", "-p", "-t", &window, "#{pane_pid}"]);
    end(viewer.parse().unwrap());
    desk.redrawn("bench", &window, server).await;
    assert_eq!(desk.server.names().len(), 2);
    ends_well(&desk, order.run).await;
}

#[tokio::test]
async fn the_last_window_closed_by_hand_comes_back() {
    let desk = Desk::new();
    let _keep = desk.keep();
    let order = desk.working().await;
    let (window, server) = (desk.server.windows()[0].0.clone(), desk.server.pid());
    // With its last window the session ends, and the server with it.
    desk.server.run(&["kill-session", "-t", "=ccm"]);
    desk.redrawn("bench", &window, server).await;
    ends_well(&desk, order.run).await;
}

#[tokio::test]
async fn what_a_person_opened_in_the_window_stays_theirs() {
    let desk = Desk::new();
    let _keep = desk.keep();
    desk.runtime.start_agent(&desk.place()).await.unwrap();
    let window = desk.server.windows()[0].0.clone();
    let view = desk
        .server
        .run(&["display-message", "-p", "-t", &window, "#{pane_id}"]);
    let own = desk.server.run(&[
        "split-window",
        "-P",
        "-F",
        "#{pane_id}",
        "-t",
        &window,
        "--",
        "cat",
        "-",
    ]);
    desk.server.run(&["kill-pane", "-t", &view]);
    until("a second window", || {
        (desk.server.windows().len() == 2).then_some(())
    })
    .await;
    let kept = desk.server.run(&[
        "list-panes",
        "-t",
        &window,
        "-F",
        "#{pane_id} #{@ccm_agent}",
    ]);
    assert_eq!(kept, own);
    desk.runtime.stop_agent(desk.agent).await.unwrap();
    assert_eq!(desk.server.windows().len(), 1);
    assert_eq!(desk.server.windows()[0].0, window);
}

#[tokio::test]
async fn a_renamed_session_is_still_ours() {
    let desk = Desk::new();
    desk.runtime.start_agent(&desk.place()).await.unwrap();
    desk.server.run(&["rename-session", "-t", "=ccm", "mine"]);
    let next = desk.another(2);
    assert_eq!(
        next.agents().await.unwrap()[0].window.as_deref(),
        Some("mine:bench")
    );
    next.start_agent(&desk.place_named("two")).await.unwrap();
    let listed = desk
        .server
        .run(&["list-windows", "-a", "-F", "#{session_name} #{window_name}"]);
    assert_eq!(listed, "mine bench\nmine two");
}

#[tokio::test]
async fn a_hanging_server_holds_up_no_run() {
    let desk = Desk::on(std::sync::Arc::new(super::Server::new()), |config| {
        ccm_agents::TmuxConfig {
            timeout: Duration::from_millis(400),
            ..config
        }
    });
    let _keep = desk.keep();
    let facts = desk.runtime.start_agent(&desk.place()).await.unwrap();
    let server = desk.server.pid();
    kill(server, "STOP");
    let order = desk.sh("echo fine");
    let outcome = async {
        desk.runtime.launch(&order).await?;
        let end = end_of(&*desk.runtime, order.run).await;
        Ok::<_, ccm_core::Error>((end, desk.runtime.agents().await?))
    }
    .await;
    kill(server, "CONT");
    let (end, agents) = outcome.unwrap();
    assert!(matches!(end, RunEnd::Exited(exit) if exit.code == Some(0)));
    assert!(agents.len() == 1 && agents[0].window.is_none() && agents[0].answers);
    let deadline = std::time::Instant::now() + crate::bench::PATIENCE;
    while desk.window_of(desk.agent).await != facts.window {
        assert!(
            std::time::Instant::now() < deadline,
            "the window is not seen"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(desk.server.names().len(), 1);
}

#[tokio::test]
async fn a_daemon_that_starts_without_a_server_draws_what_it_finds() {
    let desk = Desk::new();
    let order = desk.working().await;
    end(desk.server.pid());
    let next = std::sync::Arc::new(desk.another(2));
    let cancel = tokio_util::sync::CancellationToken::new();
    let keep = tokio::spawn({
        let (next, cancel) = (next.clone(), cancel.clone());
        async move { next.keep_windows(cancel).await }
    });
    until("the window", || {
        (desk.server.names() == ["bench"]).then_some(())
    })
    .await;
    cancel.cancel();
    tokio::time::timeout(crate::bench::PATIENCE, keep)
        .await
        .unwrap()
        .unwrap();
    desk.finish();
    let end = end_of(&*next, order.run).await;
    assert!(
        matches!(&end, RunEnd::Exited(exit) if exit.code == Some(0)),
        "{end:?}"
    );
}

#[tokio::test]
async fn a_server_that_refuses_is_asked_ever_more_rarely() {
    let server = std::sync::Arc::new(super::Server::new());
    let (program, log) = (server.path().join("tmux"), server.path().join("log"));
    let script = format!(
        "#!/bin/sh\necho >> '{}'\ncase \"$*\" in *-V) echo tmux 3.3a ;; \
         *) echo 'error connecting to x (Permission denied)' >&2; exit 1 ;; esac\n",
        log.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(
        &program,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let desk = Desk::on(server, |config| ccm_agents::TmuxConfig {
        program,
        ..config
    });
    let asked = || std::fs::read_to_string(&log).map_or(0, |text| text.lines().count());
    let facts = desk.runtime.start_agent(&desk.place()).await.unwrap();
    assert!(facts.answers && facts.window.is_none());
    let before = asked();
    let cancel = tokio_util::sync::CancellationToken::new();
    let keeping = desk.runtime.keep_windows(cancel.clone());
    // Pauses of 0.5, 1 and 2 seconds leave room for three questions; one more may come from the start.
    let _ = tokio::time::timeout(Duration::from_millis(1900), keeping).await;
    let times = asked() - before;
    assert!((2..=5).contains(&times), "asked {times} times");
}
