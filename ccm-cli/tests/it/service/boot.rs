//! A systemd of a test's own: the real system manager as process 1 of a process namespace, with the real manager of an
//! account `ada` beneath it. `/run`, `/tmp`, all units and the list of accounts are its own, its control groups are beneath those of the
//! tests, and all of it goes with process 1, however the test ends.
//!
//! This needs root. Nothing of it needs a machine that systemd runs.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::until;

/// Set in a test that was started anew under a systemd of its own.
const INSIDE: &str = "CCM_TEST_UNDER_SYSTEMD";
/// The account's number: nobody's, so that the machine knows no such account.
pub(crate) const UID: u32 = 51_234;
/// The account's home folder and runtime folder, gone with the namespace.
pub(crate) const HOME: &str = "/run/ada";
pub(crate) const RUNTIME_DIR: &str = "/run/user/51234";

/// Who runs the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    /// The account `ada`, whose systemd runs.
    Ada,
    Root,
}

/// Whether this test is under a systemd of its own. If not, it was run by a child that is, and was good, or can't be
/// run here, which is said.
#[track_caller]
pub(crate) fn under_systemd(who: As) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    if !nix::unistd::geteuid().is_root() {
        println!(
            "NO SYSTEMD of its own can be had by this user: what is tested here is tested as root"
        );
        return false;
    }
    let test = std::thread::current();
    let test = test.name().filter(|name| name.contains("::"));
    let test = test.expect("tests run in threads that have their names");
    let machine = Booted::new();
    let exe = std::env::current_exe().unwrap();
    let ran = machine
        .inside(who)
        .arg(exe)
        .args([test, "--exact", "--nocapture"])
        .status()
        .unwrap();
    assert!(
        ran.success(),
        "{test} failed under systemd:\n{}",
        machine.log()
    );
    false
}

struct Booted {
    /// `unshare`, which process 1 ends with.
    holder: Child,
    /// Process 1 as it is seen from here.
    pid: u32,
    group: PathBuf,
    dir: tempfile::TempDir,
}

impl Booted {
    fn new() -> Self {
        let dir = tempfile::TempDir::with_prefix("ccm-systemd-").unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "));
        let mount = mount.expect("a cgroup v2 hierarchy is mounted");
        let group =
            Path::new(mount.split(' ').nth(4).unwrap()).join(dir.path().file_name().unwrap());
        fs::create_dir(&group).expect("control groups can be made");
        let script = dir.path().join("boot.sh");
        fs::write(&script, SCRIPT).unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        // The namespace of groups begins with the group that its first process is in.
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo 0 > \"$0/cgroup.procs\" && exec unshare \"$@\""])
            .arg(&group)
            .args([
                "--pid",
                "--fork",
                "--kill-child",
                "--mount",
                "--propagation",
                "private",
            ])
            .args(["--uts", "--ipc", "--cgroup", "sh", "-eu"])
            .arg(&script)
            .args([UID.to_string().as_str(), HOME, RUNTIME_DIR])
            .arg(Path::new(env!("CARGO_BIN_EXE_ccm")).parent().unwrap())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let holder = command.spawn().unwrap();
        let mut booted = Self {
            pid: 0,
            holder,
            group,
            dir,
        };
        let children = format!("/proc/{0}/task/{0}/children", booted.holder.id());
        let log = booted.dir.path().join("log");
        until("systemd runs", || {
            let said = fs::read_to_string(&log).unwrap();
            assert!(!said.contains("FAILED"), "{said}");
            let pid = fs::read_to_string(&children).unwrap_or_default();
            booted.pid = pid.trim().parse().unwrap_or(0);
            booted.pid != 0 && booted.has(&format!("{RUNTIME_DIR}/systemd/private"))
        });
        booted
    }

    /// Whether a file is there in the namespace.
    fn has(&self, path: &str) -> bool {
        Path::new(&format!("/proc/{}/root{path}", self.pid)).exists()
    }

    /// What runs a program in it.
    fn inside(&self, who: As) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg("--target")
            .arg(self.pid.to_string())
            .args(["--mount", "--pid", "--cgroup", "--uts", "--ipc", "--"]);
        let uid = UID.to_string();
        let (user, home) = match who {
            As::Ada => (&*uid, HOME),
            As::Root => ("0", "/run/root"),
        };
        command
            .args([
                "setpriv",
                "--reuid",
                user,
                "--regid",
                user,
                "--clear-groups",
                "--",
            ])
            .args(["env", "--chdir=/", &format!("HOME={home}")])
            .args([
                &format!("XDG_RUNTIME_DIR={RUNTIME_DIR}"),
                &format!("{INSIDE}=1"),
            ]);
        command
    }

    fn log(&self) -> String {
        let mut text = String::new();
        let file = fs::File::open(self.dir.path().join("log"));
        let _ = file.and_then(|mut file| file.read_to_string(&mut text));
        text
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // All that was ever started in it.
        let _ = fs::write(self.group.join("cgroup.kill"), "1");
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        for _ in 0..200 {
            if remove_groups(&self.group) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

/// Removes a control group and those in it, if nothing lives in them.
fn remove_groups(group: &Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}

/// What becomes process 1.
///
/// Not one unit of this machine may be seen: many of them are for a machine that starts, and tidy up what is shared with
/// it. So every folder that systemd looks into is empty but for what is written here, and so are `/tmp` and `/var/tmp`.
const SCRIPT: &str = r#"
trap 'echo FAILED' EXIT
uid=$1 home=$2 runtime=$3 programs=$4
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/programs
mount --bind "$programs" /run/programs
for folder in /tmp /var/tmp; do mount -t tmpfs -o mode=1777 tmpfs "$folder"; done
# A folder on the way to the programs that is closed to the account, as root's home is, is replaced by one that is not.
closed='' folder=$programs
while [ "$folder" != / ]; do
    setpriv --reuid "$uid" --regid "$uid" --clear-groups test -x "$folder" || closed=$folder
    folder=$(dirname "$folder")
done
[ -z "$closed" ] || [ ! -d "$closed" ] || mount -t tmpfs -o mode=755 tmpfs "$closed"
[ -d "$programs" ] || mkdir -p "$programs"
mount --bind /run/programs "$programs"

mkdir -p /run/systemd/system /run/lock /run/root "$home" "$runtime"
chown "$uid:$uid" "$home" "$runtime"
chmod 700 "$runtime"
for list in passwd group; do cp "/etc/$list" "/run/$list"; done
echo "ada:x:$uid:$uid::$home:/bin/sh" >> /run/passwd
echo "ada:x:$uid:" >> /run/group
for list in passwd group; do mount --bind "/run/$list" "/etc/$list"; done
umount -R -l /sys/fs/cgroup 2>/dev/null || :
mount -t cgroup2 cgroup2 /sys/fs/cgroup

systemd=/usr/lib/systemd/systemd
[ -x "$systemd" ] || systemd=/lib/systemd/systemd
for above in /usr/lib /lib /usr/local/lib /usr/share /usr/local/share /etc /etc/xdg; do
    for kind in system user system-generators user-generators system-environment-generators \
        user-environment-generators; do
        folder=$above/systemd/$kind
        [ ! -d "$folder" ] || mountpoint -q "$folder" || mount -t tmpfs -o mode=755 tmpfs "$folder"
    done
done
for target in sysinit basic shutdown multi-user default network-online; do
    for kind in system user; do
        printf '[Unit]\nDefaultDependencies=no\n' > "$(dirname "$systemd")/$kind/$target.target"
    done
done
# Without logind and PAM, which would make the folder and set the variables.
cat > "/etc/systemd/system/user@$uid.service" <<UNIT
[Unit]
DefaultDependencies=no
[Service]
Type=notify
User=ada
Slice=user-$uid.slice
Environment=HOME=$home XDG_RUNTIME_DIR=$runtime
ExecStart=$systemd --user --unit=basic.target
Delegate=yes
KillMode=mixed
UNIT
mkdir /etc/systemd/system/basic.target.wants
ln -s "../user@$uid.service" /etc/systemd/system/basic.target.wants/
trap - EXIT
exec env -i container=ccm-test PATH="$PATH" SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_LEVEL=notice \
    "$systemd" --system --unit=basic.target
"#;
