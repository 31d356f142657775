//! Following the spool of a run for those who look on.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use ccm_core::run::Stream;

use super::log::Log;
use super::watch::Watch;
use crate::driver::Teller;
use crate::record::RunDir;

/// The shortest time between two looks: a program that writes much costs the host little.
const PAUSE: Duration = Duration::from_millis(30);
/// The time between two looks where the system doesn't say when a file grows.
const FALLBACK: Duration = Duration::from_millis(200);
/// What one look shows of one stream at most.
const SHOWN: u64 = 512 * 1024;
/// What is shown of a stream that ran away.
const KEPT: u64 = 64 * 1024;

/// Shows a spool as it grows.
#[derive(Debug)]
pub(crate) struct Tail {
    streams: [(Stream, File, u64); 2],
    /// How standard output is shown.
    teller: Teller,
    watch: Option<Watch>,
    /// Whether there may be something to show.
    pub(crate) dirty: bool,
    not_before: Instant,
}

impl Tail {
    pub(crate) fn new(dir: &RunDir, teller: Teller) -> io::Result<Self> {
        let open = |stream| Ok::<_, io::Error>((stream, File::open(dir.spool(stream))?, 0));
        let watch = Watch::new().filter(|watch| {
            watch.add_file(&dir.spool(Stream::Out)) && watch.add_file(&dir.spool(Stream::Err))
        });
        Ok(Self {
            streams: [open(Stream::Out)?, open(Stream::Err)?],
            teller,
            watch,
            dirty: false,
            not_before: Instant::now(),
        })
    }

    /// What wakes the host when there is something new; none while a look is due anyway.
    pub(crate) fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref().filter(|_| !self.dirty)
    }

    /// When to look next.
    pub(crate) fn due(&self) -> Option<Instant> {
        match (self.dirty, &self.watch) {
            (true, _) => Some(self.not_before),
            (false, Some(_)) => None,
            (false, None) => Some(self.not_before + FALLBACK),
        }
    }

    /// How much was written in all.
    pub(crate) fn sizes(&self) -> io::Result<[u64; 2]> {
        let [out, err] = &self.streams;
        Ok([out.1.metadata()?.len(), err.1.metadata()?.len()])
    }

    /// Shows what is new.
    pub(crate) fn look(&mut self, log: &mut Log) -> io::Result<()> {
        self.dirty = false;
        self.not_before = Instant::now() + PAUSE;
        for (stream, file, at) in &mut self.streams {
            let size = file.metadata()?.len();
            if size.saturating_sub(*at) > SHOWN {
                let skipped = size - KEPT - *at;
                log.line(&format!(
                    "[{skipped} bytes not shown here; they are in the task's log]"
                ));
                *at = size - KEPT;
                if *stream == Stream::Out {
                    self.teller.skip();
                }
            }
            let mut buffer = vec![0; usize::try_from(size.saturating_sub(*at)).unwrap_or(0)];
            let read = file.read_at(&mut buffer, *at)?;
            *at += read as u64;
            let bytes = &buffer[..read];
            match stream {
                Stream::Out => match self.teller.push(bytes) {
                    Some(shown) => log.output(Stream::Out, shown.as_bytes()),
                    None => log.output(Stream::Out, bytes),
                },
                Stream::Err => log.output(Stream::Err, bytes),
            }
        }
        Ok(())
    }
}
