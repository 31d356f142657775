use crate::scheduler::{Plan, Scheduler, Snapshot, Start};

/// The default scheduler.
#[derive(Debug, Clone, Default)]
pub struct FairScheduler {
    _private: (),
}

impl Scheduler for FairScheduler {
    fn plan(&self, snapshot: &Snapshot) -> Plan {
        let mut start = Vec::new();
        for project in &snapshot.projects {
            let ready = project.candidates.iter().filter(|c| {
                c.wants.met_by(&snapshot.machine) && c.due_at.is_none_or(|at| at <= snapshot.now)
            });
            for candidate in ready.take(project.slots as usize) {
                if start.len() < snapshot.slots as usize {
                    start.push(Start {
                        task: candidate.task,
                        project: project.id,
                    });
                }
            }
        }
        Plan {
            start,
            wake_at: None,
        }
    }
}
