//! The control-mode client, without anything around it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ccm_agents::tmux::Command;
use ccm_agents::tmux::control::{Control, Failure};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::sync::Notify;

use super::{Server, end};
use crate::bench::kill;

async fn connect(server: &Server, timeout: Duration, changed: Arc<Notify>) -> Control {
    server.run(&["new-session", "-d", "-s", "ccm", "--", "cat", "-"]);
    let mut client: tokio::process::Command = server.client().into();
    client.args([
        "-C",
        "attach-session",
        "-t",
        "=ccm",
        "-f",
        "no-output,ignore-size",
    ]);
    Control::connect(client, timeout, changed).await.unwrap()
}

fn say(text: &str) -> Command {
    Command::new("display-message").args(["-p", text])
}

const PATIENT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn each_of_a_hundred_calls_gets_its_own_answer() {
    let server = Server::new();
    let control = Arc::new(connect(&server, PATIENT, Arc::default()).await);
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..100 {
        let control = control.clone();
        calls.spawn(async move {
            if number % 10 == 3 {
                let refused = control
                    .call(Command::new("kill-window").args(["-t", "@999"]))
                    .await;
                assert_eq!(
                    refused,
                    Err(Failure::Refused("can't find window: @999".into()))
                );
            }
            let answer = control
                .call(say(&format!("answer {number}")))
                .await
                .unwrap();
            assert_eq!(answer, format!("answer {number}").into_bytes());
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    assert!(control.is_alive());
}

#[tokio::test]
async fn a_refused_command_ends_its_line_and_nothing_else() {
    let server = Server::new();
    let control = connect(&server, PATIENT, Arc::default()).await;
    let line = [
        say("one"),
        Command::new("kill-window").args(["-t", "@999"]),
        say("three"),
    ];
    assert!(matches!(
        control.sequence(&line).await,
        Err(Failure::Refused(_))
    ));
    let unknown = control.call(Command::new("no-such-command")).await;
    assert!(matches!(unknown, Err(Failure::Refused(_))), "{unknown:?}");
    let answers = control.sequence(&[say("four"), say("five")]).await.unwrap();
    assert_eq!(answers, [b"four".to_vec(), b"five".to_vec()]);
}

#[tokio::test]
async fn output_does_not_come_through() {
    let server = Server::new();
    let control = connect(&server, PATIENT, Arc::default()).await;
    let flood = Command::new("new-window").args([
        "-d",
        "--",
        "sh",
        "-c",
        "yes | head -c 3000000; exec cat",
    ]);
    control.call(flood).await.unwrap();
    for number in 0..50 {
        let text = number.to_string();
        assert_eq!(control.call(say(&text)).await.unwrap(), text.into_bytes());
    }
}

/// Words that tmux would read as more than words.
fn nasty() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b";".to_vec()),
        Just(b"\\".to_vec()),
        Just(b"'".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"#{pid}".to_vec()),
        Just(b"#(date)".to_vec()),
        Just(b"$HOME ${HOME} ~".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r\n%end 1 2 1\n%exit\n".to_vec()),
        Just(b"-t".to_vec()),
        Just(b"{ } %if".to_vec()),
        Just("größe 中文 🦀".as_bytes().to_vec()),
        Just(b"\x1b[201~\x07\xff\xfe\x80".to_vec()),
        "[ -~]{0,12}".prop_map(String::into_bytes),
        proptest::collection::vec(1_u8..=255, 0..8),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn set(value: &[u8]) -> Command {
    Command::new("set-option")
        .args(["-s", "--", "@nasty"])
        .arg(OsString::from_vec(value.to_vec()))
}

fn show() -> Command {
    Command::new("show-options").args(["-sv", "@nasty"])
}

fn cases(count: u32) -> TestRunner {
    TestRunner::new(Config {
        cases: count,
        failure_persistence: None,
        ..Config::default()
    })
}

#[test]
fn every_word_comes_back_as_it_was_sent() {
    let server = Server::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let control = runtime.block_on(connect(&server, PATIENT, Arc::default()));
    let check = |value: Vec<u8>| {
        let back = runtime.block_on(control.sequence(&[set(&value), show()]));
        prop_assert_eq!(back.map(|mut answers| answers.pop()), Ok(Some(value)));
        Ok(())
    };
    for value in [
        &b"x;"[..],
        b";",
        b"",
        b"-",
        b"--",
        b"\\",
        b"a\\",
        b"\n",
        b"\n\n",
        b"'",
        b"\"",
        b"#",
    ] {
        check(value.to_vec()).unwrap();
    }
    cases(400).run(&nasty(), check).unwrap();
}

#[test]
fn every_argument_comes_back_as_it_was_given() {
    let server = Server::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let control = runtime.block_on(connect(&server, PATIENT, Arc::default()));
    let check = |value: Vec<u8>| {
        let argv = Command::to_argv(&[set(&value), Command::new("list-sessions")]);
        server.run(&argv);
        let back = runtime.block_on(control.call(show()));
        prop_assert_eq!(back, Ok(value));
        Ok(())
    };
    for value in [&b"x;"[..], b";", b"\\;", b"x\\;", b"-", b"a;b"] {
        check(value.to_vec()).unwrap();
    }
    cases(40).run(&nasty(), check).unwrap();
}

#[tokio::test]
async fn nul_is_refused_before_it_is_sent() {
    let server = Server::new();
    let control = connect(&server, PATIENT, Arc::default()).await;
    let refused = control
        .call(Command::new("display-message").arg(OsStr::from_bytes(b"a\0b")))
        .await;
    assert!(matches!(refused, Err(Failure::Refused(_))), "{refused:?}");
    assert_eq!(control.call(say("on")).await, Ok(b"on".to_vec()));
}

#[tokio::test]
async fn calls_end_with_their_server() {
    let server = Server::new();
    let changed = Arc::new(Notify::new());
    let control = connect(&server, PATIENT, changed.clone()).await;
    let pid = server.pid();
    kill(pid, "STOP");
    let calls = async {
        let (one, two) = tokio::join!(control.call(say("one")), control.call(say("two")));
        assert!(matches!(one, Err(Failure::Lost(_))), "{one:?}");
        assert!(matches!(two, Err(Failure::Lost(_))), "{two:?}");
    };
    let death = async {
        // The calls are on their way by now, and nobody answers them.
        tokio::task::yield_now().await;
        end(pid);
    };
    tokio::join!(calls, death);
    tokio::time::timeout(PATIENT, control.closed())
        .await
        .unwrap();
    tokio::time::timeout(PATIENT, changed.notified())
        .await
        .unwrap();
    assert!(matches!(
        control.call(say("three")).await,
        Err(Failure::Lost(_))
    ));
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    let server = Server::new();
    let control = connect(&server, Duration::from_millis(300), Arc::default()).await;
    let pid = server.pid();
    kill(pid, "STOP");
    let answer = control.call(say("one")).await;
    let began = Instant::now();
    let next = control.call(say("two")).await;
    let waited = began.elapsed();
    kill(pid, "CONT");
    assert_eq!(answer, Err(Failure::TimedOut));
    assert_eq!(next, Err(Failure::TimedOut));
    assert!(waited < Duration::from_millis(200), "{waited:?}");
    assert!(control.timed_out());
}

#[tokio::test]
async fn there_is_no_connection_without_a_server() {
    let server = Server::new();
    let mut client: tokio::process::Command = server.client().into();
    client.args(["-N", "-C", "attach-session", "-t", "=ccm"]);
    let refused = Control::connect(client, PATIENT, Arc::default())
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains(&*server.path().to_string_lossy()),
        "{refused}"
    );
}
