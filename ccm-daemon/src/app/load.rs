//! What agents use: memory as it is, processor time between two looks.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ccm_core::AgentRuntime;
use ccm_core::id::AgentId;
use ccm_core::runtime::Resources;
use futures_util::future::join_all;

/// Between two looks at least: processor time is counted in hundredths of a second.
const SHORTEST: Duration = Duration::from_millis(250);
/// What was used on average over a longer time says nothing about now.
const LONGEST: Duration = Duration::from_secs(60);

/// What an agent uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figures {
    pub(super) memory_bytes: u64,
    /// 100 for one processor.
    pub(super) cpu_percent: f64,
}

/// What was seen of agents last.
#[derive(Debug, Default)]
pub(super) struct Load {
    looks: Mutex<HashMap<AgentId, Look>>,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    cpu_time: Duration,
    /// What that and the look before came to.
    percent: Option<f64>,
}

impl Load {
    /// The figures of these agents, as far as they have processes. Those that nobody looked at for a while are looked at
    /// twice, which takes a moment.
    pub(super) async fn of(
        &self,
        runtime: &dyn AgentRuntime,
        agents: Vec<AgentId>,
    ) -> HashMap<AgentId, Figures> {
        let mut figures = HashMap::new();
        let mut again = Vec::new();
        for (agent, used) in look(runtime, agents).await {
            if !self.note(agent, &used, &mut figures) {
                again.push(agent);
            }
        }
        if !again.is_empty() {
            tokio::time::sleep(SHORTEST).await;
            for (agent, used) in look(runtime, again).await {
                self.note(agent, &used, &mut figures);
            }
        }
        figures
    }

    /// Takes a look in. Returns whether it tells how much processor time is used now.
    fn note(
        &self,
        agent: AgentId,
        used: &Resources,
        figures: &mut HashMap<AgentId, Figures>,
    ) -> bool {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        looks.retain(|_, look| now.duration_since(look.at) <= LONGEST);
        let (look, percent) = then(looks.get(&agent), now, used.cpu_time);
        looks.insert(agent, look);
        if let Some(cpu_percent) = percent {
            let memory_bytes = used.memory_bytes;
            figures.insert(
                agent,
                Figures {
                    memory_bytes,
                    cpu_percent,
                },
            );
        }
        percent.is_some()
    }
}

/// What is kept of a look, and what it tells together with the one before.
fn then(before: Option<&Look>, at: Instant, cpu_time: Duration) -> (Look, Option<f64>) {
    let first = Look {
        at,
        cpu_time,
        percent: None,
    };
    let Some(before) = before else {
        return (first, None);
    };
    let passed = at.duration_since(before.at);
    if passed > LONGEST {
        return (first, None);
    }
    if passed < SHORTEST {
        return (*before, before.percent);
    }
    // Of a process that is gone nothing is counted any more.
    let used = cpu_time.saturating_sub(before.cpu_time);
    let percent = used.as_secs_f64() / passed.as_secs_f64() * 100.0;
    let percent = Some((percent * 10.0).round() / 10.0);
    (Look { percent, ..first }, percent)
}

async fn look(runtime: &dyn AgentRuntime, agents: Vec<AgentId>) -> Vec<(AgentId, Resources)> {
    let looks = agents.into_iter().map(async |agent| {
        let used = runtime.resources(agent).await;
        let used = used.unwrap_or_else(|error| super::agents::told(&error));
        used.map(|used| (agent, used))
    });
    join_all(looks).await.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_looks_tell_how_much_is_used() {
        let begin = Instant::now();
        let ms = Duration::from_millis;
        let (first, percent) = then(None, begin, ms(500));
        assert_eq!(percent, None);
        // Too soon to say.
        let (kept, percent) = then(Some(&first), begin + ms(10), ms(510));
        assert_eq!((kept.at, percent), (first.at, None));
        let (second, percent) = then(Some(&kept), begin + ms(1_000), ms(2_000));
        assert_eq!(percent, Some(150.0));
        // Who asks again at once is told the same.
        assert_eq!(
            then(Some(&second), begin + ms(1_001), ms(2_000)).1,
            Some(150.0)
        );
        // Another host has its own count.
        assert_eq!(then(Some(&second), begin + ms(2_000), ms(10)).1, Some(0.0));
        assert_eq!(then(Some(&second), begin + ms(90_000), ms(3_000)).1, None);
    }
}
