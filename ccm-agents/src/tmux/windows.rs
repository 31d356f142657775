//! Agents' windows: found by their mark, drawn, and taken away.

use std::collections::BTreeSet;
use std::ffi::OsString;

use ccm_core::id::AgentId;
use ccm_core::{Error, Result};

use super::control::Failure;
use super::quote::{Command, harmless_name};
use super::server::{Link, Server};

/// The window option that says whose window it is: `HOME/AGENT`.
pub(super) const MARK: &str = "@ccm_agent";
/// The option of the pane in it that shows the agent. A person may have split the window and closed that pane.
const VIEW: &str = "@ccm_view";

/// A window of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    /// Its id, as `@1`: the only exact name.
    pub(super) id: String,
    pub(super) agent: AgentId,
    /// In words that tmux understands as a target, for people.
    pub(super) words: String,
    /// Whether the pane that shows the agent is there and alive.
    pub(super) shows: bool,
    /// Whether a person has a living pane of their own in it.
    pub(super) shared: bool,
}

/// The windows of one home.
#[derive(Debug)]
pub(super) struct Windows {
    pub(super) server: Server,
    /// What the marks of our windows begin with.
    mark: String,
}

/// One pane of the server as it is listed.
struct Row<'a> {
    session: &'a str,
    window: &'a str,
    index: &'a str,
    dead: bool,
    view: bool,
    mark: &'a str,
    session_name: &'a str,
    name: &'a str,
}

/// The pane that shows an agent, in tmux's own ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pane {
    pub(super) session: String,
    pub(super) window: String,
    pub(super) id: String,
}

const PANE: &str =
    "#{?@ccm_view,1,0}#{pane_dead} #{session_id} #{window_id} #{pane_id} #{@ccm_agent}";
const CLIENT: &str = "#{client_control_mode} #{window_id}";
const ROW: &str = "#{session_id} #{window_id} #{window_index} #{pane_dead} #{?@ccm_view,1,0} #{@ccm_agent} \
                   #{session_name} #{window_name}";

impl<'a> Row<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(8, ' ');
        let row = Self {
            session: fields.next()?,
            window: fields.next()?,
            index: fields.next()?,
            dead: fields.next()? != "0",
            view: fields.next()? == "1",
            mark: fields.next()?,
            session_name: fields.next()?,
            name: fields.next()?,
        };
        let whole = row.session.starts_with('$') && row.window.starts_with('@');
        whole.then_some(row)
    }
}

impl Windows {
    pub(super) fn new(server: Server, home_id: &str) -> Self {
        Self {
            server,
            mark: format!("{home_id}/"),
        }
    }

    pub(super) async fn link(&self) -> Result<Option<Link>> {
        self.server.link(&self.mark).await
    }

    /// All windows of ours, also those that a person moved to other sessions. Without a server there are none.
    pub(super) async fn list(&self) -> Result<Vec<Window>> {
        // The connection may turn out to be dead just now; the second try makes another.
        for _ in 0..2 {
            let Some(link) = self.link().await? else {
                return Ok(Vec::new());
            };
            match self.list_on(&link).await {
                Err(Failure::Lost(_)) => {}
                listed => return Ok(listed?),
            }
        }
        Err(Error::unavailable("the tmux server ends again and again"))
    }

    /// The living pane that shows an agent, in our session if the window is in several.
    pub(super) async fn pane(&self, agent: AgentId) -> Result<Option<Pane>> {
        for _ in 0..2 {
            let Some(link) = self.link().await? else {
                return Ok(None);
            };
            let list = Command::new("list-panes").args(["-a", "-F", PANE]);
            match link.control.call(list).await {
                Err(Failure::Lost(_)) => {}
                listed => {
                    let listed = listed?;
                    let listed = String::from_utf8_lossy(&listed);
                    return Ok(self.pane_in(&listed, &link.session, agent));
                }
            }
        }
        Err(Error::unavailable("the tmux server ends again and again"))
    }

    pub(super) fn pane_in(&self, listed: &str, session: &str, agent: AgentId) -> Option<Pane> {
        let mark = format!("{}{agent}", self.mark);
        let panes = listed.lines().filter_map(|line| {
            let mut fields = line.strip_prefix("10 ")?.splitn(4, ' ');
            let pane = Pane {
                session: fields.next()?.to_owned(),
                window: fields.next()?.to_owned(),
                id: fields.next()?.to_owned(),
            };
            (fields.next()? == mark).then_some(pane)
        });
        panes.min_by_key(|pane| pane.session != session)
    }

    /// The ids of the windows that people look at now.
    pub(super) async fn looked_at(&self) -> Result<BTreeSet<String>> {
        let Some(link) = self.link().await? else {
            return Ok(BTreeSet::new());
        };
        let list = Command::new("list-clients").args(["-F", CLIENT]);
        let listed = link.control.call(list).await?;
        let people = String::from_utf8_lossy(&listed);
        // Our own connection is a client in control mode.
        let people = people.lines().filter_map(|line| line.strip_prefix("0 "));
        Ok(people.map(str::to_owned).collect())
    }

    async fn list_on(&self, link: &Link) -> Result<Vec<Window>, Failure> {
        let list = Command::new("list-panes").args(["-a", "-F", ROW]);
        let listed = link.control.call(list).await?;
        Ok(self.windows(&String::from_utf8_lossy(&listed), &link.session))
    }

    /// Our windows in a listing of panes. A window is listed once for each session it is in; `session` counts first.
    pub(super) fn windows(&self, listed: &str, session: &str) -> Vec<Window> {
        let rows: Vec<Row<'_>> = listed.lines().filter_map(Row::parse).collect();
        let mut windows: Vec<(Window, bool)> = Vec::new();
        for row in &rows {
            let agent = row.mark.strip_prefix(self.mark.as_str());
            let Some(agent) = agent.and_then(|id| id.parse().ok()) else {
                continue;
            };
            let at_home = row.session == session;
            let namesakes = rows.iter().any(|other| {
                other.session == row.session && other.window != row.window && other.name == row.name
            });
            let word = if namesakes || harmless_name(row.name) != row.name {
                row.index
            } else {
                row.name
            };
            let shows = row.view && !row.dead;
            let shared = !row.view && !row.dead;
            let words = format!("{}:{word}", row.session_name);
            match windows
                .iter_mut()
                .find(|(window, _)| window.id == row.window)
            {
                Some((window, was_at_home)) => {
                    window.shows |= shows;
                    window.shared |= shared;
                    if at_home && !*was_at_home {
                        window.words = words;
                        *was_at_home = true;
                    }
                }
                None => windows.push((
                    Window {
                        id: row.window.to_owned(),
                        agent,
                        words,
                        shows,
                        shared,
                    },
                    at_home,
                )),
            }
        }
        windows.into_iter().map(|(window, _)| window).collect()
    }

    /// Makes a window for an agent that has none. With the first one the session is made, and the server.
    pub(super) async fn draw(&self, agent: AgentId, name: &str, view: &[OsString]) -> Result<()> {
        let name = harmless_name(name);
        let newest = self.server.newest();
        let first = self.new_window(self.server.new_session(), &newest, agent, &name, view);
        for _ in 0..2 {
            let (link, printed) = self.server.link_or_start(&self.mark, &first).await?;
            if printed.is_some() {
                return Ok(());
            }
            let newest = format!("{}:{{end}}", link.session);
            let make = Command::new("new-window")
                .args(["-d", "-a", "-t"])
                .arg(newest.as_str());
            let commands = self.new_window(make, &newest, agent, &name, view);
            match link.control.sequence(&commands).await {
                Err(Failure::Lost(_)) => {}
                made => {
                    made?;
                    return Ok(());
                }
            }
        }
        Err(Error::unavailable("the tmux server ends again and again"))
    }

    /// `make` completed, and the commands that mark its window. They run with nothing in between, so that a window of
    /// ours is never seen without its mark.
    fn new_window(
        &self,
        make: Command,
        newest: &str,
        agent: AgentId,
        name: &str,
        view: &[OsString],
    ) -> Vec<Command> {
        let make = make.args(["-P", "-F", "#{window_id}", "-c", "/", "-n", name, "--"]);
        // A single word would go through a shell.
        let make = if view.len() == 1 {
            make.arg("env")
        } else {
            make
        };
        let set = |scope: &str, option: &str, value: String| {
            Command::new("set-option")
                .args([scope, "-t", newest, option])
                .arg(value)
        };
        vec![
            make.args(view),
            set("-w", MARK, format!("{}{agent}", self.mark)),
            set("-p", VIEW, "1".into()),
            // The server may be a person's own, with other habits.
            set("-w", "automatic-rename", "off".into()),
            set("-w", "allow-rename", "off".into()),
            set("-w", "remain-on-exit", "off".into()),
        ]
    }

    /// Has the pane that shows an agent run this instead of what runs there, unless that is the same.
    pub(super) async fn run(&self, agent: AgentId, command: &[OsString]) -> Result<()> {
        let Some(pane) = self.pane(agent).await? else {
            return Ok(());
        };
        let begun =
            Command::new("display-message").args(["-p", "-t", &pane.id, "#{pane_start_command}"]);
        if let Some(link) = self.link().await?
            && let Ok(begun) = link.control.call(begun).await
            && runs_the_same(&String::from_utf8_lossy(&begun), command)
        {
            return Ok(());
        }
        let run = Command::new("respawn-pane")
            .args(["-k", "-c", "/", "-t", &pane.id, "--"])
            .args(command);
        self.tell(run).await
    }

    /// Takes a window away. One that is gone already is no error.
    pub(super) async fn close(&self, window: &Window) -> Result<()> {
        self.tell(Command::new("kill-window").args(["-t", &window.id]))
            .await
    }

    /// Gives up a window in which a person closed the pane that showed the agent: what else is in it is theirs.
    pub(super) async fn disown(&self, window: &Window) -> Result<()> {
        self.tell(Command::new("set-option").args(["-w", "-u", "-t", &window.id, MARK]))
            .await
    }

    /// Runs a command about a window that may be gone by now.
    async fn tell(&self, command: Command) -> Result<()> {
        let Some(link) = self.link().await? else {
            return Ok(());
        };
        match link.control.call(command).await {
            // With its last window a server ends, mostly before it answers; and what is refused is a window that is
            // gone.
            Ok(_) | Err(Failure::Lost(_) | Failure::Refused(_)) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }
}

/// Whether a pane that was started with `begun`, as tmux writes it, runs `command`: by the argument that says what ours
/// is to be.
fn runs_the_same(begun: &str, command: &[OsString]) -> bool {
    let mut hidden = command.iter().filter_map(|word| word.to_str());
    hidden
        .find(|word| word.starts_with("__"))
        .is_some_and(|word| {
            begun
                .split_whitespace()
                .any(|begun| begun.trim_matches('"') == word)
        })
}

#[cfg(test)]
mod tests {
    use super::super::server::TmuxConfig;
    use super::*;

    #[test]
    fn the_pane_that_shows_an_agent_is_found() {
        let windows = Windows::new(Server::new(TmuxConfig::default(), None), "h1");
        let agent = AgentId::new();
        let listed = format!(
            "10 $2 @1 %1 h1/{agent}\n\
             10 $0 @1 %1 h1/{agent}\n\
             00 $0 @1 %2 h1/{agent}\n\
             11 $0 @3 %3 h1/{agent}\n\
             10 $0 @4 %4 h2/{agent}\n\
             10 $0 @5 %5 \n\
             garbage\n"
        );
        let pane = windows.pane_in(&listed, "$0", agent).unwrap();
        assert_eq!(
            (&*pane.session, &*pane.window, &*pane.id),
            ("$0", "@1", "%1")
        );
        assert_eq!(windows.pane_in(&listed, "$0", AgentId::new()), None);
        assert_eq!(windows.pane_in("", "$0", agent), None);
    }

    #[test]
    fn only_windows_with_our_mark_are_ours() {
        let windows = Windows::new(Server::new(TmuxConfig::default(), None), "h1");
        let (one, two): (AgentId, AgentId) = (AgentId::new(), AgentId::new());
        let listed = format!(
            "$2 @1 4 0 1 h1/{one} ccm-9 site\n\
             $0 @1 4 0 1 h1/{one} ccm site\n\
             $0 @2 5 0 1 h2/{two} ccm other\n\
             $0 @3 6 0 0  ccm plain\n\
             $0 @4 7 1 1 h1/{two} ccm plain\n\
             garbage\n\
             $0 @5 8 0 1 h1/not-an-id ccm x y z\n"
        );
        let found = windows.windows(&listed, "$0");
        let expected = [
            Window {
                id: "@1".into(),
                agent: one,
                words: "ccm:site".into(),
                shows: true,
                shared: false,
            },
            // Two windows are called "plain": only its index names this one.
            Window {
                id: "@4".into(),
                agent: two,
                words: "ccm:7".into(),
                shows: false,
                shared: false,
            },
        ];
        assert_eq!(found, expected);
    }
}
