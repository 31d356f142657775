//! A control group (cgroup v2) for each run, where this user may make one: what was started in it stays in it, whatever
//! becomes of its session, its parents and its environment, unless somebody moves it.
//!
//! A run's group is `ccm-HOME/ccm-run-RUN_ID` *beneath* the host's own group (`HOME` is a hash of the home's path), not
//! beside it: what limits and ends the host's unit limits and ends its runs, and a delegated subtree begins with the
//! unit's own group. Processes may be in both, because no controller is ever enabled in the host's group: the rule
//! against internal processes is for groups that hand controllers on, which one with a host in it can't. Where somebody
//! hands the memory controller down to the home's group, which has no processes, it is handed on to the runs'; and a host
//! that has a scope for itself (`scope.rs`) leaves the scope's group to its runs, and has that hand on the controller.
//!
//! Groups are an addition. Without a hierarchy, in one that is mounted read-only, or in a group of somebody else's,
//! runs have none, and everything else is as it is with them. Other systems than Linux have no `/proc/self`, where all
//! this begins.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ccm_core::id::RunId;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::record::{RunDir, fnv};
use crate::sys::{self, Forked};

/// What the name of a run's group begins with; the run's id follows.
const RUN: &str = "ccm-run-";
/// How often a group is made anew that somebody else's tidying took away, or removed that is not quite empty.
const TRIES: u32 = 5;

/// The control group of a run: a folder whose number of processes the kernel keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Group(PathBuf);

impl Group {
    /// Whether it is the group of `run`, and not what a damaged record says.
    pub(crate) fn is_of(&self, run: RunId) -> bool {
        self.0.is_absolute() && self.0.file_name() == Some(name_of(run).as_ref())
    }

    /// The numbers of the processes in it and in the groups that they made in it. A group that is gone has none.
    pub(crate) fn members(&self) -> io::Result<Vec<u32>> {
        let mut members = Vec::new();
        for group in self.tree()? {
            let text = match fs::read_to_string(group.join("cgroup.procs")) {
                Ok(text) => text,
                Err(error) if is_gone(&error) => continue,
                // A group of threads: the one above it names their processes.
                Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => continue,
                Err(error) => return Err(error),
            };
            members.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
        }
        Ok(members)
    }

    /// Kills all that is in it at once, so that nothing can be started meanwhile. Before Linux 5.14 it does nothing.
    pub(crate) fn kill(&self) {
        let _ = write(&self.0.join("cgroup.kill"), "1");
    }

    /// Has the system end all that is in it, at once, when it wants more than `limit` bytes of memory.
    ///
    /// # Errors
    /// The group has no memory controller, or one that ends only a part of it (before Linux 4.19).
    pub(crate) fn bound_memory(&self, limit: u64) -> io::Result<()> {
        let file = |name: &str| self.0.join(name);
        write(&file("memory.oom.group"), "1")?;
        write(&file("memory.max"), &limit.to_string())?;
        // Where nothing is swapped out there is no such file.
        let _ = write(&file("memory.swap.max"), "0");
        Ok(())
    }

    /// Whether the system ended something in it because it wanted more memory than it may have.
    pub(crate) fn was_out_of_memory(&self) -> bool {
        fs::read_to_string(self.0.join("memory.events")).is_ok_and(|events| {
            let mut lines = events.lines().filter_map(|line| line.split_once(' '));
            lines.any(|(name, count)| name == "oom_kill" && count != "0")
        })
    }

    /// Removes it, if nothing is in it. The kernel refuses otherwise, so this can be tried at any time.
    pub(crate) fn remove(&self) {
        for again in 0..TRIES {
            let Ok(tree) = self.tree() else { return };
            // A group comes before those in it.
            let busy = tree.iter().rev().filter(|group| {
                fs::remove_dir(group)
                    .is_err_and(|error| error.raw_os_error() == Some(Errno::EBUSY as i32))
            });
            if busy.count() == 0 {
                break;
            }
            // A process that has just ended can count for a moment; one that was spared, for long.
            std::thread::sleep(Duration::from_millis(u64::from(again)));
        }
        if let Some(above) = self.0.parent() {
            let _ = fs::remove_dir(above);
        }
    }

    /// The group and all beneath it. A group comes before those in it.
    fn tree(&self) -> io::Result<Vec<PathBuf>> {
        let mut tree = vec![self.0.clone()];
        let mut next = 0;
        while let Some(group) = tree.get(next) {
            let inside = match fs::read_dir(group) {
                Ok(entries) => entries
                    .flatten()
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| entry.path())
                    .collect(),
                Err(error) if is_gone(&error) => Vec::new(),
                Err(error) => return Err(error),
            };
            tree.extend(inside);
            next += 1;
        }
        Ok(tree)
    }
}

/// Where the groups of a host's runs are made.
#[derive(Debug)]
pub(crate) struct Groups {
    home: PathBuf,
    /// The group of the home, which is there while a run's group is.
    folder: Option<PathBuf>,
    /// It was said that there are none.
    said: Cell<bool>,
}

impl Groups {
    /// Those of the process that asks, for runs of `home`. What runs that are over left behind is removed.
    pub(crate) fn here(home: &Path) -> Self {
        let own = own_group();
        if let Some(scope) = own.as_deref().filter(|own| is_own_scope(own)) {
            leave_room(scope);
        }
        let folder = own.map(|own| {
            let hash = fnv(home.as_os_str().as_encoded_bytes());
            own.join(format!("ccm-{hash:016x}"))
        });
        let groups = Self {
            home: home.to_owned(),
            folder,
            said: Cell::new(false),
        };
        groups.tidy();
        groups
    }

    /// Forks a process that is in a new group of `run` from its first moment; in none where that can't be done.
    pub(crate) fn fork(&self, run: RunId) -> io::Result<(Forked, Option<Group>)> {
        match self.make(run) {
            Ok(group) => self.fork_into(group),
            Err(error) => {
                self.say(&error);
                Ok((sys::fork()?, None))
            }
        }
    }

    fn fork_into(&self, group: Group) -> io::Result<(Forked, Option<Group>)> {
        // Started there, and not moved: moving a process waits some 10 ms until every processor has noticed.
        if let Ok(forked) = File::open(&group.0).and_then(|folder| sys::fork_into(&folder)) {
            return Ok((forked, Some(group)));
        }
        // Before Linux 5.7, or a filter of a container refuses the call.
        let forked = sys::fork().inspect_err(|_| group.remove())?;
        if let Forked::Parent(pid) = &forked
            && let Err(error) = write(&group.0.join("cgroup.procs"), &pid.to_string())
        {
            group.remove();
            self.say(&error);
            return Ok((forked, None));
        }
        Ok((forked, Some(group)))
    }

    fn make(&self, run: RunId) -> io::Result<Group> {
        let folder = self.folder.as_ref().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::Unsupported,
                "no cgroup v2 hierarchy is to be seen",
            )
        })?;
        if let Some(scope) = folder.parent().filter(|own| is_own_scope(own)) {
            // Refused where there is no such controller, or before whoever started the host has left the scope.
            let _ = write(&scope.join("cgroup.subtree_control"), "+memory");
        }
        let group = Group(folder.join(name_of(run)));
        // The last run of another host may take the folder away in between.
        let mut made = Ok(());
        for _ in 0..TRIES {
            made = make(folder).and_then(|()| make(&group.0));
            if !made.as_ref().is_err_and(is_gone) {
                break;
            }
        }
        // Refused where the controller was not handed down so far.
        let _ = write(&folder.join("cgroup.subtree_control"), "+memory");
        made.map(|()| group)
    }

    /// Says once why runs have no groups.
    fn say(&self, error: &io::Error) {
        if !self.said.replace(true) {
            eprintln!(
                "runs have no control group of their own ({error}): a process of theirs that is detached and has \
                 cleared its environment can't be found once this host was killed"
            );
        }
    }

    /// Removes the groups of runs that nobody has in hand. One in which something lives stays: the kernel sees to that.
    fn tidy(&self) {
        let entries = self
            .folder
            .as_ref()
            .and_then(|path| fs::read_dir(path).ok());
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name();
            let run = name
                .to_str()
                .and_then(|name| name.strip_prefix(RUN)?.parse().ok());
            // Who makes a group holds the run's lock before.
            if run.is_some_and(|run| RunDir::new(&self.home, run).lock_is_free().unwrap_or(false)) {
                Group(entry.path()).remove();
            }
        }
    }
}

/// Whether a group is a scope that was made for a host alone.
fn is_own_scope(group: &Path) -> bool {
    let name = group.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("ccm-agent-") && name.ends_with(".scope"))
}

/// Goes into a group beneath a scope's own, which has no processes then and can hand controllers on to runs. It is
/// done once for each host, because moving a process waits some 10 ms.
fn leave_room(scope: &Path) {
    let controllers = fs::read_to_string(scope.join("cgroup.controllers")).unwrap_or_default();
    if controllers.split_whitespace().any(|name| name == "memory") {
        let group = scope.join("host");
        // Without it runs have groups that can't be bounded.
        let _ = make(&group).and_then(|()| write(&group.join("cgroup.procs"), "0"));
    }
}

fn name_of(run: RunId) -> String {
    format!("{RUN}{run}")
}

fn make(group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Writes to a file of a group, which is never made by it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(text.as_bytes())
}

/// Whether a group, or one of its files, is not there any more.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ENODEV as i32)
}

/// The folder of the group that this process is in.
fn own_group() -> Option<PathBuf> {
    let mounts = fs::read("/proc/self/mountinfo").ok()?;
    let groups = fs::read("/proc/self/cgroup").ok()?;
    folders(&mounts, &groups).find(|folder| folder.join("cgroup.procs").exists())
}

/// Where the unified hierarchy shows the group in `groups` (`/proc/self/cgroup`), by each mount in `mounts`
/// (`/proc/self/mountinfo`, see proc(5)).
pub(crate) fn folders<'a>(
    mounts: &'a [u8],
    groups: &'a [u8],
) -> impl Iterator<Item = PathBuf> + 'a {
    let own = lines(groups).find_map(|line| line.strip_prefix(b"0::"));
    let own = own.map(|path| PathBuf::from(OsString::from_vec(path.to_vec())));
    lines(mounts).filter_map(move |line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        // The number of optional fields before the dash varies.
        let dash = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
        if *fields.get(dash + 1)? != b"cgroup2" {
            return None;
        }
        // A mount may show a part of the hierarchy only, and a group outside a namespace's root begins with `/..`.
        let inside = own.as_ref()?.strip_prefix(unescaped(fields[3])).ok()?;
        let climbs = inside.components().any(|part| part.as_os_str() == "..");
        (!climbs).then(|| unescaped(fields[4]).join(inside))
    })
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

/// A path in which some bytes are written as a backslash and three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let code = after
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) if byte == b'\\' => {
                bytes.push(code);
                rest = &after[3..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(mounts: &str, groups: &str) -> Vec<String> {
        folders(mounts.as_bytes(), groups.as_bytes())
            .map(|path| path.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn a_group_is_found_where_the_hierarchy_is_mounted() {
        let unified =
            "24 1 0:21 / /sys/fs/cgroup rw,nosuid shared:9 master:2 - cgroup2 cgroup2 rw\n";
        let user = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope\n";
        assert_eq!(
            found(unified, user),
            ["/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope"]
        );
        let hybrid = "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(
            found(hybrid, "9:name=systemd:/a\n0::/\n"),
            ["/sys/fs/cgroup/unified/"]
        );
        let old = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n";
        assert!(found(old, "4:memory:/a\n").is_empty());
        assert!(found(unified, "4:memory:/a\n").is_empty());
    }

    #[test]
    fn a_mount_of_a_part_shows_that_part() {
        let part = "24 1 0:21 /a /mnt/with\\040space rw - cgroup2 none rw\n";
        assert_eq!(found(part, "0::/a/b\n"), ["/mnt/with space/b"]);
        assert!(found(part, "0::/ab\n").is_empty());
        // From within a namespace whose root is elsewhere.
        let above = "24 1 0:21 /../.. /sys/fs/cgroup rw - cgroup2 none rw\n";
        assert!(found(above, "0::/a\n").is_empty());
        let whole = "24 1 0:21 / /sys/fs/cgroup rw - cgroup2 none rw\n";
        assert!(found(whole, "0::/../a\n").is_empty());
    }

    #[test]
    fn a_group_of_another_name_is_no_runs_group() {
        let (run, other) = (RunId::new(), RunId::new());
        let group = Group(Path::new("/g").join(name_of(run)));
        assert!(group.is_of(run) && !group.is_of(other));
        assert!(!Group("/sys/fs/cgroup/user.slice".into()).is_of(run));
        assert!(!Group(name_of(run).into()).is_of(run));
    }

    #[test]
    fn a_group_that_can_not_be_made_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        let groups = |folder| Groups {
            home: home.path().to_owned(),
            folder,
            said: Cell::new(false),
        };
        let nowhere = groups(Some(home.path().join("not/there")));
        assert!(nowhere.make(RunId::new()).is_err());
        assert!(groups(None).make(RunId::new()).is_err());
    }

    #[test]
    fn memory_is_bounded_where_there_is_a_controller() {
        let dir = tempfile::tempdir().unwrap();
        let group = Group(dir.path().to_owned());
        assert!(group.bound_memory(64 << 20).is_err());
        assert!(!group.was_out_of_memory());
        for name in ["memory.max", "memory.oom.group"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        group.bound_memory(64 << 20).unwrap();
        let text = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(text("memory.max"), "67108864");
        assert_eq!(text("memory.oom.group"), "1");
        assert!(!dir.path().join("memory.swap.max").exists());
        for (events, want) in [("oom 3\noom_kill 0\n", false), ("oom_kill 2\n", true)] {
            fs::write(dir.path().join("memory.events"), events).unwrap();
            assert_eq!(group.was_out_of_memory(), want, "{events}");
        }
    }

    #[test]
    fn a_group_that_is_gone_is_empty() {
        let home = tempfile::tempdir().unwrap();
        let group = Group(home.path().join("gone"));
        assert!(group.members().unwrap().is_empty());
        group.kill();
        group.remove();
    }
}
