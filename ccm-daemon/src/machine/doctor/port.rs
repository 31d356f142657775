use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use super::surroundings::Surroundings;
use super::{Check, Finding};

pub(super) const CHECK: Check = Check {
    name: "port",
    looks_for: "another program at the daemon's port",
    matters: "the daemon does not start without its port",
    mends: "end that program, or `ccm config set web_ui.port PORT`",
    look,
};

fn look(machine: &Surroundings) -> Vec<Finding> {
    let Some(config) = machine.config() else {
        return Vec::new();
    };
    let address = config.web_ui.listen_address();
    if machine.daemon.is_some() || address.port() == 0 {
        return Vec::new();
    }
    let Err(error) = TcpListener::bind(address) else {
        return Vec::new();
    };
    let port = address.port();
    let finding = match error.kind() {
        ErrorKind::AddrInUse => {
            let by = holder(address).map_or_else(String::new, |by| format!(" by {by}"));
            Finding::problem(format!("port {port} is taken{by}"))
                .remedy("end that program, or choose another port: ccm config set web_ui.port PORT")
        }
        ErrorKind::PermissionDenied => {
            Finding::problem(format!("port {port} is not for this user"))
                .remedy("choose one from 1024 on: ccm config set web_ui.port PORT")
        }
        _ => Finding::problem(format!("{address} can't be listened at: {error}"))
            .remedy("check web_ui.host: ccm config edit"),
    };
    vec![finding.at(machine.home.config_file())]
}

/// Who listens there, as far as this user may know.
#[cfg(target_os = "linux")]
fn holder(address: SocketAddr) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .find_map(|table| listener(&table, address.port()))?;
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|process| {
            let pid: u32 = process.file_name().to_str()?.parse().ok()?;
            let mut open = std::fs::read_dir(process.path().join("fd")).ok()?.flatten();
            let has = open
                .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == &*wanted));
            let name = std::fs::read_to_string(process.path().join("comm")).ok()?;
            has.then(|| format!("{} (pid {pid})", name.trim()))
        })
        .next()
}

/// The inode of the socket that listens at `port`, in a table of the kernel's.
#[cfg(target_os = "linux")]
fn listener(table: &str, port: u16) -> Option<u64> {
    const LISTENS: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, own) = fields.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(own, 16) == Ok(port) && fields.get(3) == Some(&LISTENS);
        is_it.then(|| fields.get(9)?.parse().ok()).flatten()
    })
}

#[cfg(not(target_os = "linux"))]
fn holder(address: SocketAddr) -> Option<String> {
    use super::surroundings::run;
    let mut lsof = std::process::Command::new("lsof");
    lsof.args(["-nP", "-Fpc", "-sTCP:LISTEN"])
        .arg(format!("-iTCP:{}", address.port()));
    let said = run(&mut lsof, std::time::Duration::from_secs(2))
        .ok()??
        .text;
    let field = |mark: char| {
        let mut lines = said.lines();
        lines.find_map(|line| line.strip_prefix(mark).map(str::to_owned))
    };
    Some(format!("{} (pid {})", field('c')?, field('p')?))
}
