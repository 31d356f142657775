//! Hosts themselves: one for each agent, cheap, hard to disturb.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ccm_core::AgentRuntime;
use ccm_core::id::RunId;
use ccm_core::runtime::{RunStatus, Stopped};

use crate::bench::*;

fn socket(bench: &Bench) -> PathBuf {
    let text = std::fs::read(bench.agent_dir().join("host.json")).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
    PathBuf::from(value["socket"].as_str().unwrap())
}

fn status_of(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line
        .unwrap()
        .trim_start_matches(':')
        .split_whitespace()
        .next();
    number.unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_idle_host_costs_little() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    // A run with a large prompt and output first: what it needed is given back.
    let order = bench.order(&["cat"], &"x\n".repeat(400_000));
    exit_of(&runtime, &order).await;
    let host = bench.host_pid();
    let sleeps = || status_of(host, "voluntary_ctxt_switches");
    // It may be writing its last lines.
    let mut before = sleeps();
    until("the host to be quiet", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = sleeps();
        std::mem::replace(&mut before, now).eq(&now).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let wakes = sleeps() - before;
    let memory = status_of(host, "VmRSS");
    println!("an idle host: {memory} KiB resident, {wakes} wake-ups in 2 s");
    assert_eq!(wakes, 0);
    assert!(memory < 8 * 1024, "{memory} KiB");
    assert_eq!(status_of(host, "Threads"), 1);
}

#[tokio::test]
async fn a_host_holds_nothing_of_whoever_started_it() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    // An open file that is inherited on purpose, and a folder that somebody may want to unmount.
    let held = std::fs::File::create(bench.dir.path().join("held")).unwrap();
    nix::fcntl::fcntl(
        &held,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .unwrap();
    runtime.start_agent(&bench.place()).await.unwrap();
    let host = bench.host_pid();
    let open: Vec<String> = std::fs::read_dir(format!("/proc/{host}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .map(|path| path.display().to_string())
        .collect();
    assert!(open.iter().all(|path| !path.ends_with("/held")), "{open:?}");
    let cwd = std::fs::read_link(format!("/proc/{host}/cwd")).unwrap();
    assert_eq!(cwd, PathBuf::from("/"));
    drop(runtime);
    assert!(is_alive(host));
}

#[tokio::test]
async fn of_many_starters_one_host_comes_up() {
    let bench = Bench::new();
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let runtime = bench.runtime();
        let place = bench.place();
        starts.spawn(async move { runtime.start_agent(&place).await });
    }
    let facts = starts.join_all().await;
    let pids: Vec<_> = facts.into_iter().map(|facts| facts.unwrap().pid).collect();
    assert!(
        pids.iter().all(|pid| *pid == Some(bench.host_pid())),
        "{pids:?}"
    );
}

#[tokio::test]
async fn stopping_an_agent_leaves_no_host_and_no_socket() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    runtime.start_agent(&bench.place()).await.unwrap();
    let (host, socket) = (bench.host_pid(), socket(&bench));
    assert!(socket.exists());
    let mode = socket
        .parent()
        .unwrap()
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    runtime.stop_agent(bench.agent).await.unwrap();
    until("the host to end", || (!is_alive(host)).then_some(())).await;
    assert!(!socket.exists());
    runtime.start_agent(&bench.place()).await.unwrap();
    assert_ne!(bench.host_pid(), host);
}

#[tokio::test]
async fn a_folder_of_sockets_that_others_can_enter_is_refused() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    runtime.start_agent(&bench.place()).await.unwrap();
    let socket = socket(&bench);
    runtime.stop_agent(bench.agent).await.unwrap();
    let dir = socket.parent().unwrap();
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = runtime.start_agent(&bench.place()).await.unwrap_err();
    let words = ccm_core::chain(&error);
    assert!(
        words.contains("only this user can enter; remove it"),
        "{words}"
    );
    // A run then never starts, and says why.
    let status = runtime.launch(&bench.sh("true")).await.unwrap();
    assert!(format!("{status:?}").contains("remove it"), "{status:?}");
}

#[tokio::test]
async fn a_long_home_works() {
    let bench = Bench::new();
    let home = bench.dir.path().join("a-long-name/".repeat(15));
    let mut config = bench.config(1);
    config.home = home;
    let runtime = ccm_agents::ProcessRuntime::new(config).unwrap();
    assert_eq!(exit_of(&runtime, &bench.sh("true")).await.code, Some(0));
    runtime.stop_agent(bench.agent).await.unwrap();
    let place = runtime.hosts().agent_dir(bench.agent).join("place.json");
    let place: serde_json::Value = serde_json::from_slice(&std::fs::read(place).unwrap()).unwrap();
    let socket = PathBuf::from(place["socket"].as_str().unwrap());
    assert!(socket.as_os_str().len() < 107);
    std::fs::remove_dir(socket.parent().unwrap()).unwrap();
}

#[tokio::test]
async fn a_missing_host_program_is_named() {
    let bench = Bench::new();
    let mut config = bench.config(1);
    config.host.argv = vec!["/no/such/ccm".into()];
    let runtime = ccm_agents::ProcessRuntime::new(config).unwrap();
    let error = runtime.start_agent(&bench.place()).await.unwrap_err();
    let words = ccm_core::chain(&error);
    assert!(words.contains("/no/such/ccm"), "{words}");
    let status = runtime.launch(&bench.sh("true")).await.unwrap();
    assert!(format!("{status:?}").contains("/no/such/ccm"), "{status:?}");
}

#[tokio::test]
async fn nonsense_on_its_socket_disturbs_no_run() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let order = bench.sh("until [ -e \"$BENCH/go\" ]; do sleep 0.01; done; echo fine");
    runtime.launch(&order).await.unwrap();
    let socket = socket(&bench);
    for nonsense in [
        &b"\n"[..],
        b"{}\n",
        b"{\"op\":\"quit\"}\n{\"op\":\"stop\",\"run\":\"x\"}\n",
        b"\xff\xfe\n",
        &[b'x'; 200_000],
    ] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        let _ = stream.write_all(nonsense);
    }
    // Without a hello nothing is done.
    let mut stream = UnixStream::connect(&socket).unwrap();
    let stop = format!(
        "{{\"op\":\"stop\",\"run\":\"{}\",\"grace_ms\":0}}\n",
        order.run
    );
    stream.write_all(stop.as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert!(answer.contains("superseded"), "{answer}");
    let status = runtime.inspect(order.run).await.unwrap();
    assert!(matches!(status, RunStatus::Running(process) if process.answers));
    std::fs::write(bench.dir.path().join("go"), "").unwrap();
    end_of(&runtime, order.run).await;
}

#[tokio::test]
async fn a_host_whose_socket_was_deleted_is_found_again() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let order = bench.sh("sleep 1000");
    runtime.launch(&order).await.unwrap();
    let (host, socket) = (bench.host_pid(), socket(&bench));
    std::fs::remove_dir_all(socket.parent().unwrap()).unwrap();
    until_answers(&runtime, order.run).await;
    std::fs::remove_file(&socket).unwrap();
    let stopped = runtime.stop(order.run, Duration::ZERO).await.unwrap();
    assert_eq!(stopped, Stopped::Empty);
    std::fs::remove_file(&socket).unwrap();
    let facts = runtime.start_agent(&bench.place()).await.unwrap();
    assert!(facts.answers && facts.pid == Some(host), "{facts:?}");
}

async fn until_answers(runtime: &dyn AgentRuntime, run: RunId) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = runtime.inspect(run).await.unwrap();
        if matches!(status, RunStatus::Running(ref process) if process.answers) {
            return;
        }
        assert!(Instant::now() < deadline, "{status:?}");
    }
}

#[tokio::test]
async fn a_daemon_with_another_temporary_folder_finds_its_hosts() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let order = bench.sh("sleep 1000");
    runtime.launch(&order).await.unwrap();
    // As if it had been written where the daemon looks, and the host had come up elsewhere.
    let path = bench.run_dir(order.run).join("launch");
    let text = std::fs::read_to_string(&path).unwrap();
    let listens = socket(&bench).display().to_string();
    assert!(text.contains(&listens));
    std::fs::write(&path, text.replace(&listens, "/nowhere/socket")).unwrap();
    let status = runtime.inspect(order.run).await.unwrap();
    assert!(matches!(status, RunStatus::Running(process) if process.answers));
    let stopped = runtime.stop(order.run, Duration::ZERO).await.unwrap();
    assert_eq!(stopped, Stopped::Empty);
}

/// Stands in for a host of another version: says hello, and ends when it is told to quit.
fn old_host(lock: std::fs::File, listener: UnixListener) -> std::thread::JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let mut heard = Vec::new();
        loop {
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while let Some(Ok(line)) = lines.next() {
                heard.push(line.clone());
                let answer = match line.contains("quit") {
                    true => r#"{"answer":"done"}"#.to_owned(),
                    false => {
                        r#"{"answer":"host","version":"0.0.0","pid":1,"run":null,"unstoppable":[]}"#
                            .to_owned()
                    }
                };
                let _ = writeln!(&stream, "{answer}");
                if line.contains("quit") {
                    drop(lock);
                    return heard;
                }
            }
        }
    })
}

#[tokio::test]
async fn an_idle_host_of_another_version_is_replaced() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    runtime.start_agent(&bench.place()).await.unwrap();
    let path = bench.agent_dir().join("host.json");
    let file = std::fs::read(&path).unwrap();
    let (host, socket) = (bench.host_pid(), socket(&bench));
    runtime.stop_agent(bench.agent).await.unwrap();
    until("the host to end", || (!is_alive(host)).then_some(())).await;

    let lock = std::fs::File::create(bench.agent_dir().join("host.lock")).unwrap();
    lock.lock().unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    std::fs::write(&path, file).unwrap();
    let old = old_host(lock, listener);
    let facts = runtime.start_agent(&bench.place()).await.unwrap();
    let heard = old.join().unwrap();
    assert!(heard.last().unwrap().contains("quit"), "{heard:?}");
    assert!(facts.answers && facts.pid == Some(bench.host_pid()) && facts.pid != Some(host));
}

#[tokio::test]
async fn a_launch_is_quick() {
    for cgroups in [true, false] {
        let bench = Bench::new();
        let mut config = bench.config(1);
        config.cgroups = cgroups;
        let runtime = ccm_agents::ProcessRuntime::new(config).unwrap();
        runtime.start_agent(&bench.place()).await.unwrap();
        let mut times = Vec::new();
        for _ in 0..20 {
            let order = bench.sh("exec sleep 0.1");
            let began = Instant::now();
            runtime.launch(&order).await.unwrap();
            times.push(began.elapsed());
            end_of(&runtime, order.run).await;
        }
        times.sort_unstable();
        println!(
            "launch to running (control groups: {cgroups}): median {:?}, slowest {:?}",
            times[10], times[19]
        );
        // A bound for machines with much else to do; the figure above is what counts.
        assert!(times[10] < Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_host_whose_home_is_deleted_ends_with_its_run() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let go = bench.dir.path().join("go");
    let script = format!(
        "echo up; while [ ! -e '{}' ]; do sleep 0.02; done",
        go.display()
    );
    let order = bench.sh(&script);
    runtime.launch(&order).await.unwrap();
    wait_for(&runtime, order.run, "up\n").await;
    let host = bench.host_pid();
    std::fs::remove_dir_all(bench.agent_dir()).unwrap();
    // It has a run in hand, so it stays.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(is_alive(host));
    std::fs::write(&go, "").unwrap();
    until("the host to end", || (!is_alive(host)).then_some(())).await;
    assert!(matches!(
        end_of(&runtime, order.run).await,
        ccm_core::runtime::RunEnd::Exited(_)
    ));
}

#[tokio::test]
async fn an_idle_host_whose_home_is_deleted_ends() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    runtime.start_agent(&bench.place()).await.unwrap();
    let host = bench.host_pid();
    std::fs::remove_dir_all(bench.home()).unwrap();
    until("the host to end", || (!is_alive(host)).then_some(())).await;
}

#[tokio::test]
async fn the_host_of_a_home_is_not_that_of_a_copy_in_which_one_is_just_coming_up() {
    let bench = Bench::new();
    let first = bench.runtime();
    first.start_agent(&bench.place()).await.unwrap();
    let mut copy = Bench::new();
    copy.agent = bench.agent;
    std::fs::create_dir_all(copy.agent_dir()).unwrap();
    for name in ["host.json", "host.lock", "place.json"] {
        std::fs::copy(bench.agent_dir().join(name), copy.agent_dir().join(name)).unwrap();
    }
    // Such a host has its lock, and has yet to replace what was copied.
    let lock = std::fs::File::open(copy.agent_dir().join("host.lock")).unwrap();
    lock.lock().unwrap();
    let newer = copy.runtime_of(2);
    assert_eq!(newer.agents().await.unwrap(), []);
    assert!(newer.resources(bench.agent).await.unwrap().is_none());
    drop(lock);
    newer.stop_agent(bench.agent).await.unwrap();
    assert!(is_alive(bench.host_pid()));
    // It has heard of no newer daemon.
    assert_eq!(exit_of(&first, &bench.sh("true")).await.code, Some(0));
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_killed_only_by_force() {
    let bench = Bench::new();
    let runtime = bench.runtime();
    let order = bench.sh("sleep 1000");
    runtime.launch(&order).await.unwrap();
    let host = bench.host_pid();
    kill(host, "STOP");
    let refused = runtime.stop_agent(bench.agent).await.unwrap_err();
    assert!(refused.to_string().contains("does not answer"), "{refused}");
    assert!(is_alive(host));
    runtime.kill_agent(bench.agent).await.unwrap();
    until("the host to be gone", || (!is_alive(host)).then_some(())).await;
    // What its run leaves is ended with the look at it.
    let end = end_of(&runtime, order.run).await;
    assert!(matches!(end, ccm_core::runtime::RunEnd::Gone), "{end:?}");
    let again = runtime.start_agent(&bench.place()).await.unwrap();
    assert!(again.answers && again.pid != Some(host));
    runtime.kill_agent(bench.agent).await.unwrap();
    assert!(runtime.agents().await.unwrap().is_empty());
}
