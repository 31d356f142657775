//! A network of its own: a place for the server, a place for each machine, and lines between them that can be cut.
//!
//! Each place is a network namespace that nobody else can name. It belongs to a thread of this program and to what that
//! thread starts, and it is gone when those are, however they end: there is nothing to clean up.
//!
//! The addresses are of the kind that never leaves a machine (127.0.0.0/8), and the namespaces are told to send them over
//! lines all the same. So the server is one "of this machine", which may be talked to without TLS.

use std::io::Write;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

use crate::script::Way;

const BRIDGE: &str = "hub";
const BRIDGE_ADDRESS: &str = "02:cc:00:00:00:01";

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Place {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    tid: i32,
    inode: u64,
}

impl Place {
    /// A new one, with nothing but a loopback for 127.0.0.1.
    pub(crate) fn new() -> Result<Self, String> {
        let (jobs, to_do) = channel::<Job>();
        let (made, is_made) = channel();
        let thread = std::thread::spawn(move || {
            let tid = gettid().as_raw();
            let inode = unshare(CloneFlags::CLONE_NEWNET)
                .map_err(|error| error.to_string())
                .and_then(|()| inode_of(&format!("/proc/self/task/{tid}")).ok_or_else(no_proc));
            let is_good = inode.is_ok();
            let _ = made.send(inode.map(|inode| (tid, inode)));
            if is_good {
                // What a job panics with is its own business; the place is still needed, if only to clean up.
                for job in to_do {
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
                }
            }
        });
        let made = is_made
            .recv()
            .map_err(|_| "the thread of a network namespace ended".to_owned())?;
        let (tid, inode) = made.map_err(|error| {
            format!(
                "network namespaces can't be made here ({error}); run this as root, where containers are allowed to"
            )
        })?;
        let place = Self {
            jobs: Some(jobs),
            thread: Some(thread),
            tid,
            inode,
        };
        place
            .within(|| std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1"))
            .map_err(|error| {
                format!("addresses of the loopback can't be sent over lines: {error}")
            })?;
        place.run("ip", "link set lo up")?;
        place.run("ip", "addr del 127.0.0.1/8 dev lo")?;
        place.run("ip", "addr add 127.0.0.1/32 dev lo")?;
        Ok(place)
    }

    /// Does something there. What it starts is there, too.
    pub(crate) fn within<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, is_done) = channel();
        let job: Job = Box::new(move || {
            let _ = done.send(work());
        });
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
        match is_done.recv() {
            Ok(answer) => answer,
            Err(_) => panic!("what was to be done in a network namespace panicked"),
        }
    }

    /// Runs a program there to its good end and returns what it printed.
    pub(crate) fn output(&self, command: Command) -> Result<String, String> {
        self.output_of(command, String::new())
    }

    /// The same with something on its standard input.
    pub(crate) fn output_of(&self, mut command: Command, input: String) -> Result<String, String> {
        self.within(move || {
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let output = command.spawn().and_then(|mut child| {
                if let Some(mut stdin) = child.stdin.take() {
                    // Who does not read it may end before it is written.
                    let _ = stdin.write_all(input.as_bytes());
                }
                child.wait_with_output()
            });
            let output = output.map_err(|error| format!("{command:?} can't be run: {error}"))?;
            if output.status.success() {
                return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
            }
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let args: Vec<_> = command
                .get_args()
                .map(|arg| arg.to_string_lossy())
                .collect();
            let program = command.get_program().to_string_lossy();
            Err(format!("{program} {}: {}", args.join(" "), said.trim()))
        })
    }

    fn run(&self, program: &str, args: &str) -> Result<(), String> {
        let mut command = Command::new(program);
        command.args(args.split(' '));
        self.output(command).map(drop)
    }

    /// All processes that are there, but this program.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let own = std::process::id().cast_signed();
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| *pid != own)
            .filter(|pid| inode_of(&format!("/proc/{pid}")) == Some(self.inode))
            .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn inode_of(process: &str) -> Option<u64> {
    let namespace = std::fs::metadata(format!("{process}/ns/net")).ok()?;
    Some(namespace.ino())
}

fn no_proc() -> String {
    "/proc is not there".to_owned()
}

/// The server's place, and what lines end in.
#[derive(Debug)]
pub(crate) struct Network {
    place: Place,
    lines: AtomicU32,
}

impl Network {
    pub(crate) fn new() -> Result<Self, String> {
        let place = Place::new()?;
        place.run(
            "ip",
            &format!("link add {BRIDGE} address {BRIDGE_ADDRESS} type bridge"),
        )?;
        place.run("ip", &format!("addr add {}/16 dev {BRIDGE}", Self::ADDRESS))?;
        place.run("ip", &format!("link set {BRIDGE} up"))?;
        Ok(Self {
            place,
            lines: AtomicU32::new(0),
        })
    }

    /// Where the server is.
    pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 1);

    /// The server's place.
    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// A new place with a line to the server.
    ///
    /// On a silent line both ends know each other for good. Else they have to find each other again from time to time, and
    /// on one that is cut the system says after a while that there is no way, and not just nothing.
    pub(crate) fn line(&self, is_silent: bool) -> Result<Line<'_>, String> {
        let number = self.lines.fetch_add(1, Ordering::Relaxed);
        // Those of an earlier run may take a moment to go.
        let [high, low] = (1 + number % 60_000).to_be_bytes()[2..] else {
            return Err("no address is left".to_owned());
        };
        let address = Ipv4Addr::new(127, 77, high + 1, low);
        let hardware = format!("02:cc:00:01:{high:02x}:{low:02x}");
        let line = Line {
            network: self,
            place: Place::new()?,
            hub_end: format!("line{number}"),
            address,
        };
        let hub_end = &line.hub_end;
        let (hub, place) = (&self.place, &line.place);
        hub.run(
            "ip",
            &format!(
                "link add {hub_end} type veth peer name eth0 address {hardware} netns {}",
                place.tid
            ),
        )?;
        hub.run("ip", &format!("link set {hub_end} master {BRIDGE} up"))?;
        place.run("ip", &format!("addr add {address}/16 dev eth0"))?;
        place.run("ip", "link set eth0 up")?;
        if is_silent {
            let server = Self::ADDRESS;
            hub.run(
                "ip",
                &format!("neigh add {address} lladdr {hardware} dev {BRIDGE} nud permanent"),
            )?;
            place.run(
                "ip",
                &format!("neigh add {server} lladdr {BRIDGE_ADDRESS} dev eth0 nud permanent"),
            )?;
        }
        Ok(line)
    }
}

/// A machine's place, and its line to the server.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    network: &'a Network,
    pub(crate) place: Place,
    hub_end: String,
    address: Ipv4Addr,
}

/// Queues that take nothing: every packet is dropped on its way out of that end.
const CUT: &str = "root pfifo limit 0";

impl Line<'_> {
    /// Lets nothing through that way.
    pub(crate) fn cut(&self, way: Way) -> Result<(), String> {
        if way.cuts_in() {
            let hub = &self.network.place;
            hub.run("tc", &format!("qdisc replace dev {} {CUT}", self.hub_end))?;
        }
        if way.cuts_out() {
            let command = format!("qdisc replace dev eth0 {CUT}");
            self.place.run("tc", &command)?;
        }
        Ok(())
    }

    /// Makes the line whole again after such a cut.
    pub(crate) fn mend(&self, way: Way) -> Result<(), String> {
        if way.cuts_in() {
            let hub = &self.network.place;
            hub.run("tc", &format!("qdisc del dev {} root", self.hub_end))?;
        }
        if way.cuts_out() {
            self.place.run("tc", "qdisc del dev eth0 root")?;
        }
        Ok(())
    }

    /// Whether each cut cuts what it should and nothing else, and whether mending mends.
    pub(crate) fn try_out(&self) -> Result<(), String> {
        let socket = |address: Ipv4Addr| {
            move || {
                let socket = UdpSocket::bind((address, 0))?;
                socket.set_read_timeout(Some(Duration::from_millis(150)))?;
                Ok(socket)
            }
        };
        let failed = |error: std::io::Error| format!("a line can't be tried out: {error}");
        let hub: std::io::Result<UdpSocket> = self.network.place.within(socket(Network::ADDRESS));
        let machine: std::io::Result<UdpSocket> = self.place.within(socket(self.address));
        let (hub, machine) = (hub.map_err(failed)?, machine.map_err(failed)?);
        let mut number = 0;
        for way in [None].into_iter().chain(Way::ALL.map(Some)).chain([None]) {
            way.map_or(Ok(()), |way| self.cut(way))?;
            let wanted_in = way.is_none_or(|way| !way.cuts_in());
            let wanted_out = way.is_none_or(|way| !way.cuts_out());
            let comes_in = reaches(&hub, &machine, wanted_in, &mut number);
            let goes_out = reaches(&machine, &hub, wanted_out, &mut number);
            way.map_or(Ok(()), |way| self.mend(way))?;
            if (comes_in, goes_out) != (wanted_in, wanted_out) {
                return Err(format!(
                    "a line cut {way:?} lets through in: {comes_in}, out: {goes_out}; there is nothing to be tested with it"
                ));
            }
        }
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        // The other end goes with its namespace, but only when the kernel finds time for it.
        let _ = self
            .network
            .place
            .run("ip", &format!("link del {}", self.hub_end));
    }
}

/// Whether something that is sent at one comes to the other. It gets more time if it should: a line that is new may
/// not be up at once.
fn reaches(from: &UdpSocket, to: &UdpSocket, should: bool, number: &mut u32) -> bool {
    let Ok(address) = to.local_addr() else {
        return false;
    };
    for _ in 0..if should { 50 } else { 1 } {
        *number += 1;
        let _ = from.send_to(&number.to_be_bytes(), address);
        let mut said = [0; 4];
        while to.recv_from(&mut said).is_ok() {
            // Not one of those before that comes late.
            if said == number.to_be_bytes() {
                return true;
            }
        }
    }
    false
}
