//! Whether what running agents write is taken in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ccm_core::engine::Engine;
use ccm_core::id::RunId;
use ccm_core::run::{Run, Stream};
use ccm_core::{ErrorKind, Result, chain};

use super::Finding;

/// What was there for this long should have been taken in.
const LAG: Duration = Duration::from_secs(30);
/// How far is looked for the end of a line: only whole lines are taken in.
const LOOK: u64 = 64 * 1024;

/// Output that was seen to wait.
#[derive(Debug, Default)]
pub(super) struct SpoolWatch {
    waiting: HashMap<(RunId, Stream), Waiting>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// Where the next part to be taken in begins.
    offset: u64,
    since: Instant,
}

impl SpoolWatch {
    /// Compares what the open runs have written with what was taken in.
    pub(super) async fn look(&mut self, engine: &Engine) -> Finding {
        let runs = match engine.store().open_runs().await {
            Ok(runs) => runs,
            Err(error) => {
                return Finding::warning(format!("runs can't be listed: {}", chain(&error)));
            }
        };
        let mut seen = HashMap::new();
        let mut late = Vec::new();
        for run in &runs {
            for stream in [Stream::Out, Stream::Err] {
                let behind = match behind(engine, run, stream).await {
                    Ok(behind) => behind,
                    Err(error) => {
                        late.push(format!(
                            "the output of run {} can't be looked at: {}",
                            run.id,
                            chain(&error)
                        ));
                        continue;
                    }
                };
                if behind == 0 {
                    continue;
                }
                let waiting = self.note(run.id, stream, run.checkpoint.offset(stream));
                seen.insert((run.id, stream), waiting);
                if waiting.since.elapsed() >= LAG {
                    late.push(format!(
                        "{behind} bytes that run {} wrote were not taken in for {} s; `ccm daemon logs` may say why",
                        run.id,
                        waiting.since.elapsed().as_secs()
                    ));
                }
            }
        }
        self.waiting = seen;
        match (late.is_empty(), runs.len()) {
            (false, _) => Finding::warning(late.join("; ")),
            (true, 0) => Finding::ok("nothing runs"),
            (true, 1) => Finding::ok("1 run, taken in"),
            (true, count) => Finding::ok(format!("{count} runs, taken in")),
        }
    }

    /// Since when a stream waits at this place.
    fn note(&self, run: RunId, stream: Stream, offset: u64) -> Waiting {
        let before = self.waiting.get(&(run, stream)).copied();
        before
            .filter(|waiting| waiting.offset == offset)
            .unwrap_or(Waiting {
                offset,
                since: Instant::now(),
            })
    }
}

/// How much there is in whole lines after what was taken in.
async fn behind(engine: &Engine, run: &Run, stream: Stream) -> Result<u64> {
    let offset = run.checkpoint.offset(stream);
    let output = engine.runtime().output(run.id, stream, offset, LOOK).await;
    match output {
        Ok(chunk) => Ok(match chunk.bytes.contains(&b'\n') {
            true => chunk.size.saturating_sub(offset),
            false => 0,
        }),
        // It has written nothing yet, or is just being finished.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => Ok(0),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_does_not_lag() {
        let mut watch = SpoolWatch::default();
        let (run, early) = (RunId::new(), Instant::now() - Duration::from_secs(5));
        let waiting = Waiting {
            offset: 7,
            since: early,
        };
        watch.waiting.insert((run, Stream::Out), waiting);
        assert_eq!(watch.note(run, Stream::Out, 7).since, early);
        assert!(watch.note(run, Stream::Out, 8).since > early);
        assert!(watch.note(run, Stream::Err, 7).since > early);
    }
}
