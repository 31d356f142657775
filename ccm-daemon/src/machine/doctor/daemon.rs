use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ccm_core::Error;

use super::surroundings::Surroundings;
use super::{Check, Finding, Repair};
use crate::machine::DaemonInfo;

pub(super) const CHECK: Check = Check {
    name: "daemon",
    looks_for: "a daemon that does not run, does not answer, is of another version, or left its files behind",
    matters: "tasks wait until it runs",
    mends: "`ccm-orchestrator daemon start` or `restart`; its log (`daemon logs`) says why it ended",
    look,
};

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

fn look(machine: &Surroundings) -> Vec<Finding> {
    if !machine.home.is_set_up() {
        return Vec::new();
    }
    let Some(daemon) = &machine.daemon else {
        return stopped(machine);
    };
    let mut findings = Vec::new();
    if !answers(daemon) {
        findings.push(
            Finding::problem(format!(
                "the daemon (pid {}) does not answer at {}",
                daemon.pid, daemon.address
            ))
            .remedy(
                "see `ccm-orchestrator daemon logs`, then run `ccm-orchestrator daemon restart`",
            ),
        );
    }
    let own = env!("CARGO_PKG_VERSION");
    if daemon.version != own {
        findings.push(
            Finding::warning(format!(
                "the daemon is of version {}, and this program of {own}",
                daemon.version
            ))
            .remedy("ccm-orchestrator daemon restart"),
        );
    }
    findings
}

fn stopped(machine: &Surroundings) -> Vec<Finding> {
    let mut findings =
        vec![Finding::warning("the daemon is not running").remedy("ccm-orchestrator daemon start")];
    let path = machine.home.run_dir().join("daemon.json");
    if std::fs::symlink_metadata(&path).is_ok() {
        let (home, file) = (machine.home.clone(), path.clone());
        findings.push(
            Finding::warning("a daemon that was killed left its file behind")
                .at(&path)
                .remedy("the next start of the daemon replaces it")
                .repaired_by(Repair::safe(move || {
                    // Only under the lock: a daemon may have started meanwhile.
                    let _lock = home.lock_daemon()?;
                    std::fs::remove_file(&file)
                        .map(|()| format!("removed {}", file.display()))
                        .map_err(|error| {
                            Error::internal(format!("{} can't be removed", file.display()))
                                .with_source(error)
                        })
                })),
        );
    }
    findings
}

/// Whether it answers a request that needs no token.
fn answers(daemon: &DaemonInfo) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&daemon.address, PATIENCE) else {
        return false;
    };
    // With TLS, being listened to has to do.
    daemon.tls || speaks(&mut stream, daemon.address).unwrap_or(false)
}

fn speaks(stream: &mut TcpStream, address: SocketAddr) -> std::io::Result<bool> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut start = [0; 5];
    stream.read_exact(&mut start)?;
    Ok(&start == b"HTTP/")
}
