//! Starting programs: what they get, and what is said when they can't be started.

use ccm_core::run::{Observation, Stream};
use ccm_core::runtime::{RunEnd, RunStatus};
use ccm_core::{AgentRuntime, Reason};

use crate::bench::*;

#[tokio::test]
async fn a_run_goes_from_launch_to_its_record() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let order = bench.order(
        &["sh", "-c", "cat; echo; pwd; echo oops >&2; exit 3"],
        "say \"it\"; $HOME",
    );
    let status = runtime.launch(&order).await.unwrap();
    assert!(
        matches!(status, RunStatus::Running(_) | RunStatus::Ended { .. }),
        "{status:?}"
    );
    let end = end_of(&runtime, order.run).await;
    let RunEnd::Exited(exit) = &end else {
        panic!("{end:?}")
    };
    assert_eq!(
        (exit.code, exit.signal, exit.stopped),
        (Some(3), None, false)
    );
    let folder = bench.folder().canonicalize().unwrap();
    let expected = format!("say \"it\"; $HOME\n{}\n", folder.display());
    assert_eq!(text_of(&runtime, order.run, Stream::Out).await, expected);
    assert_eq!(text_of(&runtime, order.run, Stream::Err).await, "oops\n");
    assert_eq!(exit.out_bytes, expected.len() as u64);
    let (seen, report) = read_all(&runtime, order.run, &end).await;
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.contains(&Observation::Output {
        stream: Stream::Err,
        from: 0,
        to: 5
    }));
    assert_eq!(report.unwrap().text, expected);
    assert_eq!(
        runtime.launch(&order).await.unwrap(),
        runtime.inspect(order.run).await.unwrap()
    );
    assert_eq!(runtime.runs().await.unwrap(), [order.run]);
    assert!(bench.strays().is_empty());

    // The end is told there once it is on record.
    let log = until("the end in the log", || {
        let log = std::fs::read_to_string(bench.folder().join(".ccm/agent.log")).ok()?;
        log.contains("exit code 3").then_some(log)
    })
    .await;
    assert!(log.contains("say \"it\"") && log.contains("oops"), "{log}");
    let inputs = std::fs::read_to_string(bench.run_dir(order.run).join("inputs")).unwrap();
    assert!(
        inputs.contains("\"begun\"") && inputs.contains("\"delivered\""),
        "{inputs}"
    );
}

#[tokio::test]
async fn a_program_gets_its_run_and_no_secrets() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let mut order = bench.sh("umask; ps -o sid= -p $$; echo $$; env; trap");
    order.profile.env.insert("EXTRA".into(), "ünï".into());
    let exit = exit_of(&runtime, &order).await;
    assert_eq!(exit.code, Some(0));
    let text = text_of(&runtime, order.run, Stream::Out).await;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert_ne!(
        lines[0], "0077",
        "the host's own umask is not the program's"
    );
    assert_eq!(lines[1], lines[2], "it leads a session");
    for expected in [
        format!("CCM_RUN_ID={}", order.run),
        format!("CCM_TASK_ID={}", order.task),
        format!("CCM_PROJECT_ID={}", bench.project),
        format!("CCM_HOME={}", bench.home().display()),
        format!("PWD={}", bench.folder().display()),
        "EXTRA=ünï".to_owned(),
    ] {
        assert!(lines.contains(&expected.as_str()), "{expected} in {text}");
    }
}

#[tokio::test]
async fn a_prompt_of_1_mib_arrives_byte_for_byte_at_a_slow_reader() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let head = "-x '\"; $(id) \\ \x1b[201~\x1b]0;t\x07 \r\n\ttab ü\n";
    let prompt = format!("{head}{}", "0123456789abcdef\n".repeat(62_000));
    let prompt = &prompt[..prompt.len().min(1 << 20)];
    // Nothing is read before the test says so.
    let order = bench.order(
        &[
            "sh",
            "-c",
            "until [ -e \"$BENCH/go\" ]; do sleep 0.01; done; cat > \"$BENCH/got\"",
        ],
        prompt,
    );
    runtime.launch(&order).await.unwrap();
    // The host answers while most of the prompt waits.
    let facts = runtime.agents().await.unwrap();
    assert!(
        facts[0].answers && facts[0].run == Some(order.run),
        "{facts:?}"
    );
    std::fs::write(bench.dir.path().join("go"), "").unwrap();
    let end = end_of(&runtime, order.run).await;
    assert!(
        matches!(end, RunEnd::Exited(ref exit) if exit.code == Some(0)),
        "{end:?}"
    );
    let got = std::fs::read(bench.dir.path().join("got")).unwrap();
    assert!(
        got == prompt.as_bytes(),
        "{} of {} bytes",
        got.len(),
        prompt.len()
    );
}

#[tokio::test]
async fn a_program_that_never_reads_ends_as_it_likes() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let big = "x".repeat(1 << 20);
    let exit = exit_of(&runtime, &bench.order(&["true"], &big)).await;
    assert_eq!(exit.code, Some(0));
    // Closing its input early is no end, and no reason for one.
    let order = bench.order(&["sh", "-c", "exec <&-; sleep 0.2; echo done"], &big);
    let exit = exit_of(&runtime, &order).await;
    assert_eq!(exit.code, Some(0));
    let inputs = std::fs::read_to_string(bench.run_dir(order.run).join("inputs")).unwrap();
    // How much of it was read before is not known.
    assert!(
        inputs.contains("begun") && !inputs.contains("delivered"),
        "{inputs}"
    );
}

#[tokio::test]
async fn a_program_that_closes_its_output_runs_on() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let order = bench.sh("exec >&- 2>&-; sleep 0.2; echo later > \"$BENCH/later\"");
    assert_eq!(exit_of(&runtime, &order).await.code, Some(0));
    assert!(bench.dir.path().join("later").exists());
}

#[tokio::test]
async fn what_can_not_be_started_says_why_and_how_to_mend_it() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let plain = bench.folder().join("plain");
    std::fs::write(&plain, "no program").unwrap();
    let lost = bench.folder().join("lost");
    std::fs::write(&lost, "#!/no/such/interpreter\n").unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&lost, std::fs::Permissions::from_mode(0o755)).unwrap();

    let mut gone = bench.sh("true");
    gone.place.folder = bench.dir.path().join("nowhere");
    let mut unknown = bench.sh("true");
    unknown.profile.driver = "gemini".into();
    for (order, reason, words) in [
        (
            bench.order(&["no-such-program"], "x"),
            Reason::NotStarted,
            "was not found on the PATH",
        ),
        (
            bench.order(&["./missing"], "x"),
            Reason::NotStarted,
            "./missing is not there",
        ),
        (
            bench.order(&["./plain"], "x"),
            Reason::NotStarted,
            "chmod +x mends that for a file",
        ),
        (
            bench.order(&["./lost"], "x"),
            Reason::NotStarted,
            "what its first line names",
        ),
        (
            bench.order(&[], "x"),
            Reason::NotStarted,
            "set agent.command",
        ),
        (
            unknown,
            Reason::NotStarted,
            "--project agent.command '[PROGRAM, ARGUMENT]'` and then `ccm config set --project agent.driver command`",
        ),
        (gone, Reason::ProjectMissing, "is not there"),
    ] {
        let status = runtime.launch(&order).await.unwrap();
        let RunStatus::Ended {
            end: RunEnd::NeverStarted(cause),
            started_at: None,
        } = &status
        else {
            panic!("{status:?}")
        };
        assert_eq!(cause.reason, reason);
        let detail = cause.detail.as_deref().unwrap();
        assert!(detail.contains(words), "{detail:?} lacks {words:?}");
        assert_eq!(runtime.launch(&order).await.unwrap(), status);
    }
    // The host is as good as before.
    assert_eq!(exit_of(&runtime, &bench.sh("true")).await.code, Some(0));
}

#[tokio::test]
async fn a_script_without_a_first_line_runs_as_in_a_shell() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let script = bench.folder().join("script");
    std::fs::write(&script, "echo \"$1-$2\"\n").unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut order = bench.order(&["./script", "a b"], "x");
    order.profile.args = vec!["-c".into()];
    assert_eq!(exit_of(&runtime, &order).await.code, Some(0));
    assert_eq!(text_of(&runtime, order.run, Stream::Out).await, "a b--c\n");
}

#[tokio::test]
async fn git_clean_in_mid_run_takes_nothing_of_the_run() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    std::fs::write(bench.folder().join(".ccm/config.yaml"), "").unwrap();
    let order =
        bench.sh("echo before; until [ -e \"$BENCH/go\" ]; do sleep 0.01; done; echo after");
    runtime.launch(&order).await.unwrap();
    let log = bench.folder().join(".ccm/agent.log");
    until("the log", || log.exists().then_some(())).await;
    let clean = std::process::Command::new("sh")
        .args(["-c", "git init -q . && git clean -fdxq"])
        .current_dir(bench.folder())
        .status();
    if !clean.is_ok_and(|status| status.success()) {
        std::fs::remove_dir_all(bench.folder().join(".ccm")).unwrap();
    }
    assert!(!log.exists());
    std::fs::write(bench.dir.path().join("go"), "").unwrap();
    end_of(&runtime, order.run).await;
    let text = text_of(&runtime, order.run, Stream::Out).await;
    assert_eq!(text, "before\nafter\n");
}
