use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use ccm_core::Error;

use super::surroundings::Surroundings;
use super::{Check, Finding, Repair};

pub(super) const CHECK: Check = Check {
    name: "socket",
    looks_for: "unix sockets that nobody listens at any more",
    matters: "programs that find one wait for nothing or give up",
    mends: "`--fix` removes them",
    look,
};

fn look(machine: &Surroundings) -> Vec<Finding> {
    let mut sockets = Vec::new();
    if let Some(socket) = machine
        .config()
        .and_then(|config| config.web_ui.socket.clone())
    {
        sockets.push(socket);
    }
    sockets.push(machine.home.dir().join("ccm.sock"));
    sockets.extend(of_agents(machine));
    sockets.sort();
    sockets.dedup();
    sockets
        .into_iter()
        .filter(|socket| is_dead(socket))
        .map(dead)
        .collect()
}

/// Where hosts of agents that are written down listen.
fn of_agents(machine: &Surroundings) -> Vec<PathBuf> {
    #[derive(serde::Deserialize)]
    struct Host {
        socket: PathBuf,
    }
    let agents = std::fs::read_dir(machine.home.dir().join("agents"));
    let files = agents.into_iter().flatten().flatten();
    files
        .filter_map(|agent| {
            let text = std::fs::read(agent.path().join("host.json")).ok()?;
            Some(serde_json::from_slice::<Host>(&text).ok()?.socket)
        })
        .collect()
}

fn is_dead(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    is_socket
        && UnixStream::connect(path)
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

fn dead(path: PathBuf) -> Finding {
    Finding::warning("nobody listens at this socket any more")
        .at(&path)
        .remedy(format!("rm {}", path.display()))
        .repaired_by(Repair::safe(move || {
            if !is_dead(&path) {
                return Ok(format!("{} is listened at again", path.display()));
            }
            std::fs::remove_file(&path)
                .map(|()| format!("removed {}", path.display()))
                .map_err(|error| {
                    Error::internal(format!("{} can't be removed", path.display()))
                        .with_source(error)
                })
        }))
}
