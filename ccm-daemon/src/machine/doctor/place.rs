use super::surroundings::Surroundings;
use super::{Check, Finding};

pub(super) const CHECK: Check = Check {
    name: "place",
    looks_for: "a machine home on a network file system, or on one that can't be written",
    matters: "locks and the database's log are not safe over a network, and without writing there is no work",
    mends: "move the home to a local disk and set `CCM_HOME`; make the file system writable",
    look,
};

fn look(machine: &Surroundings) -> Vec<Finding> {
    let dir = machine.home.dir();
    let mut findings = Vec::new();
    let Ok(volume) = nix::sys::statvfs::statvfs(dir) else {
        return findings;
    };
    if volume
        .flags()
        .contains(nix::sys::statvfs::FsFlags::ST_RDONLY)
    {
        findings.push(
            Finding::problem("the file system of the machine home can't be written")
                .at(dir)
                .remedy("make it writable, for example with `mount -o remount,rw`"),
        );
    }
    if let Some(name) = network(dir) {
        findings.push(
            Finding::warning(format!(
                "the machine home is on a network file system ({name})"
            ))
            .at(dir)
            .remedy("move it to a local disk and set CCM_HOME to its new place"),
        );
    }
    findings
}

#[cfg(target_os = "linux")]
fn network(dir: &std::path::Path) -> Option<&'static str> {
    /// As in `linux/magic.h` and the drivers' own headers.
    const KNOWN: &[(i64, &str)] = &[
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "SMB"),
        (0xfe53_4d42, "SMB"),
        (0x0102_1997, "9P"),
        (0x00c3_6400, "Ceph"),
        (0x6b41_4653, "AFS"),
        (0x0bd0_0bd0, "Lustre"),
    ];
    let kind = nix::sys::statfs::statfs(dir).ok()?.filesystem_type().0;
    #[allow(
        clippy::unnecessary_cast,
        reason = "its width differs from one system to another"
    )]
    let kind = kind as i64 & 0xffff_ffff;
    KNOWN
        .iter()
        .find_map(|(number, name)| (*number == kind).then_some(*name))
}

#[cfg(not(target_os = "linux"))]
fn network(dir: &std::path::Path) -> Option<&'static str> {
    let stat = nix::sys::statfs::statfs(dir).ok()?;
    let kind = stat.filesystem_type_name().to_owned();
    [
        ("nfs", "NFS"),
        ("smbfs", "SMB"),
        ("afpfs", "AFP"),
        ("webdav", "WebDAV"),
    ]
    .into_iter()
    .find_map(|(known, name)| (known == kind).then_some(name))
}
