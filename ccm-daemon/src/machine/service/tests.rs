use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

fn account() -> Account {
    // Every machine has it.
    Account::named("root").unwrap()
}

fn plan<'a>(account: Option<&'a Account>) -> Plan<'a> {
    Plan {
        program: Path::new("/usr/local/bin/ccm-daemon"),
        config: Path::new("/home/ada/.ccm-global/config.yaml"),
        logs: Path::new("/home/ada/.ccm-global/logs"),
        path: "/home/ada/.local/bin:/usr/bin:/bin",
        account,
    }
}

#[test]
fn the_system_unit() {
    let account = account();
    insta::assert_snapshot!(systemd::render(&plan(Some(&account))).unwrap());
}

#[test]
fn the_user_unit() {
    insta::assert_snapshot!(systemd::render(&plan(None)).unwrap());
}

#[test]
fn the_agent_of_launchd() {
    insta::assert_snapshot!(launchd::render(&plan(None)).unwrap());
}

#[test]
fn a_service_says_whose_it_is() {
    let odd = Path::new("/home/a da/<&>%n \"x\"/config.yaml");
    let plan = Plan {
        config: odd,
        program: Path::new("/opt/a b/100%/ccm-daemon"),
        ..plan(None)
    };
    for (kind, text) in [
        (Kind::SystemdUser, systemd::render(&plan).unwrap()),
        (Kind::Launchd, launchd::render(&plan).unwrap()),
    ] {
        let (program, config) = kind.parse(&text);
        assert_eq!(program.as_deref(), Some(plan.program), "{text}");
        assert_eq!(config.as_deref(), Some(odd), "{text}");
    }
}

#[test]
fn a_path_that_can_not_be_said_is_refused() {
    let render = |program: &str, config: &str| {
        let plan = Plan {
            program: Path::new(program),
            config: Path::new(config),
            ..plan(None)
        };
        (
            systemd::render(&plan).map(drop).is_ok(),
            launchd::render(&plan).map(drop).is_ok(),
        )
    };
    assert_eq!(render("/bin/a", "/c\nd"), (true, true));
    assert_eq!(render("/bin/a\"b", "/c"), (false, true));
    assert_eq!(render("/bin/a\\b", "/c"), (false, true));
    assert_eq!(render("/bin/a", "/c\u{7}"), (false, false));
}

/// Another program's view of the property list.
#[test]
fn the_property_list_is_well_formed() {
    let odd = Plan {
        config: Path::new("/home/a <b> & 'c'/config.yaml"),
        ..plan(None)
    };
    let script = "import plistlib, sys, json; json.dump(plistlib.loads(sys.stdin.buffer.read()), sys.stdout)";
    let mut python = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is here");
    let text = launchd::render(&odd).unwrap();
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let read = python.wait_with_output().unwrap();
    assert!(read.status.success(), "{text}");
    let read: serde_json::Value = serde_json::from_slice(&read.stdout).unwrap();
    let logs = "/home/ada/.ccm-global/logs";
    assert_eq!(
        read,
        serde_json::json!({
            "Label": "com.ccm.orchestrator",
            "ProgramArguments": ["/usr/local/bin/ccm-daemon"],
            "RunAtLoad": true,
            "KeepAlive": true,
            "StandardOutPath": format!("{logs}/daemon.log"),
            "StandardErrorPath": format!("{logs}/daemon-error.log"),
            "EnvironmentVariables": {
                "CCM_CONFIG": "/home/a <b> & 'c'/config.yaml",
                "PATH": "/home/ada/.local/bin:/usr/bin:/bin",
            },
            "AbandonProcessGroup": true,
        })
    );
}

/// systemd's own view of the units. It exits with 0 when it warns, so what it prints counts.
#[cfg(target_os = "linux")]
#[test]
fn systemd_has_nothing_to_say_about_the_units() {
    // A program that is there, and paths that need every escape.
    let dir = tempfile::Builder::new().prefix("a b%n").tempdir().unwrap();
    let program = dir.path().join("ccm-daemon");
    std::fs::copy("/bin/sh", &program).unwrap();
    let config = dir.path().join("it's \"here\" $HOME\n\\.yaml");
    let account = account();
    for (account, manager) in [(Some(&account), "--system"), (None, "--user")] {
        for (program, config) in [(Path::new("/bin/sh"), Path::new("/c")), (&program, &config)] {
            let plan = Plan {
                program,
                config,
                ..plan(account)
            };
            let unit = dir.path().join(systemd::UNIT);
            std::fs::write(&unit, systemd::render(&plan).unwrap()).unwrap();
            let ran = Command::new("systemd-analyze")
                .args([manager, "verify", "--man=no"])
                .arg(&unit)
                .env("XDG_RUNTIME_DIR", dir.path())
                .output()
                .expect("systemd-analyze is here (`make test` gets it)");
            let said = [ran.stdout, ran.stderr].concat();
            assert_eq!(String::from_utf8_lossy(&said), "", "{manager} {plan:?}");
            assert!(ran.status.success());
        }
    }
}

#[test]
fn what_is_not_ours_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(systemd::UNIT);
    let service = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let (program, config) = systemd::parse(text);
        Service {
            kind: Kind::SystemdUser,
            file: file.clone(),
            ours: text.contains(MARK),
            program,
            config,
        }
    };
    let home = Home::at("/home/ada/.ccm-global");
    let ours = service(&systemd::render(&plan(None)).unwrap());
    assert!(ours.is_of(&home) && ours.check_ours(&home).is_ok());

    let by_hand = "[Service]\nExecStart=/bin/ccm-daemon\nEnvironment=CCM_CONFIG=/home/ada/.ccm-global/config.yaml\n";
    let by_hand = service(by_hand);
    assert!(by_hand.is_of(&home));
    let error = by_hand.remove(&home).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Taken(Noun::System));

    let other = service(&systemd::render(&plan(None)).unwrap());
    let elsewhere = Home::at("/home/ada/elsewhere");
    let error = other.remove(&elsewhere).unwrap_err().to_string();
    assert!(
        error.contains("/home/ada/.ccm-global/config.yaml"),
        "{error}"
    );
    assert!(file.exists());
}
