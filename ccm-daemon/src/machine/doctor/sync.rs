use std::time::Duration;

use ccm_core::{ErrorKind, chain};

use super::surroundings::{Surroundings, block_on};
use super::{Check, Finding};
use crate::machine::config::Config;
use crate::machine::supabase::{self, Project, Server};

pub(super) const CHECK: Check = Check {
    name: "sync",
    looks_for: "a Supabase project that can't be reached or was not set up, and a sign-in that is missing or can't be read",
    matters: "what this machine shares waits until then, and nothing comes from your other ones",
    mends: "`ccm supabase connect`; for a project without CCM's tables the SQL that `ccm supabase migrations` prints",
    look,
};

/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(6);
const CONNECT: &str = "ccm supabase connect";

fn look(machine: &Surroundings) -> Vec<Finding> {
    let Some(config) = machine.config().filter(|config| config.shares()) else {
        return Vec::new();
    };
    let project = match supabase::project(config) {
        Ok(project) => project,
        Err(error) => return vec![Finding::problem(chain(&error)).remedy(CONNECT)],
    };
    let mut findings: Vec<_> = sign_in(config, &project).into_iter().collect();
    findings.extend(server(&project));
    findings
}

fn sign_in(config: &Config, project: &Project) -> Option<Finding> {
    let file = &config.supabase.auth_file;
    match supabase::account(config) {
        Ok(Some(account)) if account.url == project.url() => None,
        Ok(Some(account)) => Some(
            Finding::problem(format!(
                "the sign-in is for {}, and the config names {}",
                account.url,
                project.url()
            ))
            .at(file)
            .remedy(CONNECT),
        ),
        Ok(None) => Some(
            Finding::problem("sharing is on, and nobody is signed in")
                .at(file)
                .remedy(CONNECT),
        ),
        Err(error) => Some(Finding::problem(chain(&error)).at(file).remedy(CONNECT)),
    }
}

fn server(project: &Project) -> Option<Finding> {
    let asked =
        block_on(async { tokio::time::timeout(PATIENCE, supabase::check_server(project)).await });
    let url = project.url();
    match asked? {
        Ok(Ok(Server::Ready { .. })) => None,
        Ok(Ok(Server::NotSetUp)) => Some(
            Finding::problem(format!("{url} lacks CCM's tables and functions")).remedy(
                "run the SQL that `ccm supabase migrations` prints in its SQL editor, or `supabase db push`",
            ),
        ),
        Ok(Err(error)) if error.kind() == ErrorKind::Unavailable => Some(
            Finding::warning(format!("{url} can't be reached: {}", chain(&error)))
                .remedy("nothing, if this machine is offline; else look at `supabase.url` and at the network"),
        ),
        Ok(Err(error)) => Some(Finding::problem(chain(&error)).remedy(CONNECT)),
        Err(_) => Some(
            Finding::warning(format!("{url} did not answer in {} s", PATIENCE.as_secs()))
                .remedy("look at the network, and run `ccm doctor` again"),
        ),
    }
}
