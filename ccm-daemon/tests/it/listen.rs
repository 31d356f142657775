//! The unix socket and TLS, asked by a client that is not ours: curl.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::program::{CONFIG, Daemon, Machine};

/// The status and the body of what curl is answered; status 0 if it gets no answer.
fn curl(arguments: &[&str]) -> (u16, String) {
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            "--max-time",
            "20",
        ])
        .args(["--write-out", "\n%{http_code}"])
        .args(arguments)
        .output()
        .expect("curl");
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    (status.parse().unwrap(), format!("{body}{errors}"))
}

fn stop(daemon: Daemon) -> String {
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    let (code, said) = daemon.end();
    assert_eq!(code, 0, "{said}");
    said
}

#[test]
fn a_socket_is_for_its_user_who_needs_no_token_there() {
    let machine = Machine::new(&CONFIG.replace("port: 0", "port: 0\n  socket: ccm.sock"));
    let daemon = machine.start();
    let path = machine.home().dir().join("ccm.sock");
    let socket = path.to_str().unwrap();
    assert_eq!(daemon.info.socket.as_deref(), Some(&*path));
    let mode = std::fs::symlink_metadata(&path)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let at = |more: &[&str], path: &str| {
        let url = format!("http://localhost{path}");
        curl(&[&["--unix-socket", socket], more, &[&url]].concat())
    };
    let (status, body) = at(&[], "/api/v1/status");
    assert_eq!(status, 200, "{body}");
    assert_eq!(at(&["-X", "POST"], "/api/v1/reload").0, 200);
    // Who shows a token is who the token says, and a page is nobody.
    assert_eq!(
        at(&["-H", "Authorization: Bearer 0"], "/api/v1/status").0,
        401
    );
    let (status, body) = at(&["-H", "Origin: http://localhost"], "/api/v1/status");
    assert_eq!(status, 403, "{body}");
    // The port still wants a token.
    let (status, _) = curl(&[&format!("{}/api/v1/status", daemon.info.url())]);
    assert_eq!(status, 401);

    let (_, audit) = at(&[], "/api/v1/audit");
    let audit: Value = serde_json::from_str(&audit).unwrap();
    let principal = audit["items"][0]["principal"].as_str().unwrap();
    let uid = nix::unistd::geteuid();
    assert!(
        principal.starts_with(&format!("socket:uid={uid},pid=")),
        "{principal}"
    );

    stop(daemon);
    assert!(!path.exists(), "nothing is left of it");
    // One that a killed daemon left behind is in nobody's way.
    let daemon = machine.start();
    daemon.signal(nix::sys::signal::Signal::SIGKILL);
    daemon.end();
    assert!(path.exists());
    let daemon = machine.start();
    assert_eq!(at(&[], "/api/v1/status").0, 200);
    stop(daemon);
}

#[test]
fn another_user_gets_nothing_at_the_socket() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not run: only root can become another user");
        return;
    }
    let machine = Machine::new(&CONFIG.replace("port: 0", "port: 0\n  socket: ccm.sock"));
    let daemon = machine.start();
    let path = machine.home().dir().join("ccm.sock");
    // Even if somebody opened the way to it and the socket itself.
    for dir in path.ancestors().skip(1).take(2) {
        std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let as_nobody = |path: &Path| {
        let output = Command::new("setpriv")
            .args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "curl",
                "--silent",
            ])
            .args([
                "--max-time",
                "20",
                "--write-out",
                "%{http_code}",
                "--output",
                "/dev/null",
            ])
            .arg("--unix-socket")
            .arg(path)
            .arg("http://localhost/api/v1/status")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(as_nobody(&path), "000", "the socket's mode");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    assert_eq!(
        as_nobody(&path),
        "403",
        "a peer that is not the daemon's user"
    );
    stop(daemon);
}

#[test]
fn a_socket_that_can_not_be_made_is_told() {
    let long = format!("port: 0\n  socket: {}", "x".repeat(120));
    let (code, said) = refused(&CONFIG.replace("port: 0", &long));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("103 bytes"), "{said}");
    let (code, said) = refused(&CONFIG.replace("port: 0", "port: 0\n  socket: config.yaml"));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("is no socket"), "{said}");
}

fn refused(config: &str) -> (i32, String) {
    let machine = Machine::new(config);
    let output = machine.run(&[]);
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said)
}

/// A certificate for `box.example` and its key, in the folder.
fn certificate(dir: &Path) {
    let made = rcgen::generate_simple_self_signed(["box.example".to_owned()]).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    let key = dir.join("key.pem");
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
}

const TLS: &str = "port: 0
  host: 0.0.0.0
  allow_remote: true
  allowed_hosts: [box.example]
  tls:
    cert: cert.pem
    key: key.pem";

#[test]
fn other_machines_are_served_with_tls_alone() {
    let machine = Machine::new(&CONFIG.replace("port: 0", TLS));
    certificate(machine.home().dir());
    let daemon = machine.start();
    assert!(daemon.info.tls);
    let port = daemon.info.address.port();
    let cert = machine.home().dir().join("cert.pem");
    let token = machine.home().token().unwrap();
    let bearer = format!("Authorization: Bearer {}", token.reveal());
    let at = |scheme: &str, name: &str, more: &[&str]| {
        let to = format!("{name}:{port}:127.0.0.1");
        let url = format!("{scheme}://{name}:{port}/api/v1/status");
        let known = [
            "--resolve",
            &to,
            "--cacert",
            cert.to_str().unwrap(),
            "-H",
            &bearer,
        ];
        curl(&[&known, more, &[&url]].concat())
    };
    let (status, body) = at("https", "box.example", &[]);
    assert_eq!(status, 200, "{body}");
    assert_eq!(at("http", "box.example", &[]).0, 0, "nothing without TLS");
    let (status, body) = at("https", "evil.example", &["--insecure"]);
    assert_eq!(status, 403, "{body}");
    // Every address is no name: some browsers let pages of everybody ask there.
    let url = format!("https://0.0.0.0:{port}/api/v1/status");
    assert_eq!(curl(&["--insecure", "-H", &bearer, &url]).0, 403);

    // Programs of this machine have the socket.
    let socket = daemon.info.socket.clone().unwrap();
    assert_eq!(
        daemon.info.local_url(),
        format!("unix:{}", socket.display())
    );
    let (status, _) = curl(&[
        "--unix-socket",
        socket.to_str().unwrap(),
        "http://localhost/ready",
    ]);
    assert_eq!(status, 200);

    // A browser's cookie is one for TLS alone.
    let url = format!("https://box.example:{port}/api/v1/sign-in-codes");
    let to = format!("box.example:{port}:127.0.0.1");
    let cert = cert.to_str().unwrap();
    let (status, code) = curl(&[
        "--resolve",
        &to,
        "--cacert",
        cert,
        "-H",
        &bearer,
        "-X",
        "POST",
        &url,
    ]);
    if cfg!(feature = "web-ui") {
        assert_eq!(status, 201, "{code}");
        let code: Value = serde_json::from_str(&code).unwrap();
        let code = code["code"].as_str().unwrap();
        let url = format!("https://box.example:{port}/sign-in?code={code}");
        let (status, head) = curl(&["--resolve", &to, "--cacert", cert, "--include", &url]);
        assert_eq!(status, 303, "{head}");
        assert!(head.contains("; Secure"), "{head}");
    }
    stop(daemon);
}

#[test]
fn nothing_is_served_to_other_machines_by_mistake() {
    for (change, told) in [
        ("port: 0\n  host: 0.0.0.0", "web_ui.allow_remote"),
        (
            "port: 0\n  host: 0.0.0.0\n  allow_remote: true",
            "web_ui.tls.cert",
        ),
        (
            &TLS.replace("allow_remote: true", "allow_remote: false"),
            "web_ui.allow_remote",
        ),
        // The files are not there.
        (TLS, "cert.pem"),
    ] {
        let (code, said) = refused(&CONFIG.replace("port: 0", change));
        assert_eq!(code, 2, "{change}: {said}");
        assert!(said.contains(told), "{change}: {said}");
    }
    let machine = Machine::new(&CONFIG.replace("port: 0", TLS));
    certificate(machine.home().dir());
    for (file, told) in [
        ("cert.pem", "no certificate"),
        ("key.pem", "no private key"),
    ] {
        let path = machine.home().dir().join(file);
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, "nothing").unwrap();
        let output = machine.run(&[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(told), "{said}");
        std::fs::write(&path, text).unwrap();
    }
    let other = tempfile::tempdir().unwrap();
    certificate(other.path());
    std::fs::copy(
        other.path().join("key.pem"),
        machine.home().dir().join("key.pem"),
    )
    .unwrap();
    let output = machine.run(&[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("don't go together"), "{said}");
}
