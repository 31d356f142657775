//! The driver `claude`: Claude Code, headless, speaking JSON in both directions.
//!
//! | part | what it knows |
//! | --- | --- |
//! | this file | how the program is called, and with which skills |
//! | `words.rs` | the lines that it writes, as far as CCM looks at them |
//! | `parser.rs` | what these lines mean for a run: a state that is kept between reads |
//! | `failure.rs` | whose fault a failed turn is |
//! | `ask.rs` | what it asks, and how it is answered |
//! | `tell.rs` | what of it people are shown |
//!
//! Measured with version 2.1.330. Every line of output is an object with a `type`. A type or field that is not known is
//! passed over, so another version can do no worse than tell less.

mod ask;
mod failure;
mod parser;
mod tell;
mod words;

use std::io;
use std::path::{Path, PathBuf};

use ccm_core::id::RunId;
use ccm_core::input::{Input, InputBody};
use ccm_core::project::AgentProfile;
use ccm_core::runtime::LaunchOrder;
use ccm_core::task::Setback;
use ccm_core::{Error, Reason, Result};
use serde_json::{Value, json};

use super::{Plan, Spool};
use crate::sys::durable;

pub(super) use parser::read;
pub(crate) use tell::Teller;
pub(super) use tell::tell;

/// The folder in a run's folder through which the agent is given the project's skills.
const PLUGIN: &str = "plugin";

/// What an agent is told that goes on with a conversation which broke off.
const CUT: &str = "Your last attempt at this task was cut off. Check first what is done already and what the last \
                   actions led to, then go on. The task was:";

/// The name of the request with which a host interrupts what it is about to end.
const INTERRUPT: &str = "ccm-interrupt";

/// Environment by which Claude Code knows that it was started by another one; a daemon that was started in an agent's
/// shell must not hand it on.
pub(super) const MARKS: &[&str] = &[
    "CLAUDECODE",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_EXECPATH",
    "CLAUDE_CODE_SESSION_ID",
    "CLAUDE_CODE_SSE_PORT",
];

pub(super) fn plan(order: &LaunchOrder, run_folder: &Path) -> std::result::Result<Plan, Setback> {
    let profile = &order.profile;
    let refused = |detail: &str| Err(Setback::new(Reason::NotStarted, detail));
    let mut argv = program(profile);
    let fixed = [
        "-p",
        "--input-format",
        "stream-json",
        "--output-format",
        "stream-json",
        "--verbose",
        "--permission-prompt-tool",
        "stdio",
        "--replay-user-messages",
    ];
    argv.extend(fixed.map(str::to_owned));
    argv.extend(habits(profile));
    // A conversation that is new is named after its run; a name can't be used twice.
    match &order.resume {
        Some(resume) => argv.extend(["--resume".to_owned(), resume.session_id.clone()]),
        None => argv.extend(["--session-id".to_owned(), order.run.to_string()]),
    }
    if skills_of(&order.place.folder).is_some() {
        let plugin = run_folder.join(PLUGIN);
        argv.extend(["--plugin-dir".to_owned(), plugin.display().to_string()]);
    }
    argv.extend(profile.args.iter().cloned());
    if argv.iter().any(|argument| argument.contains('\0')) {
        return refused("agent.command, agent.args or agent.model has a NUL character; remove it");
    }
    Ok(Plan {
        argv,
        first_input: prompt(order),
        then_close: false,
        interrupt: Some(interrupt(INTERRUPT)),
    })
}

fn program(profile: &AgentProfile) -> Vec<String> {
    match profile.command.is_empty() {
        true => vec!["claude".to_owned()],
        false => profile.command.clone(),
    }
}

/// How the project wants it to work, with and without a person.
fn habits(profile: &AgentProfile) -> Vec<String> {
    let mut arguments = vec![
        "--permission-mode".to_owned(),
        profile.permission_mode.clone(),
    ];
    if let Some(model) = &profile.model {
        arguments.extend(["--model".to_owned(), model.clone()]);
    }
    arguments
}

/// The program for a person at a terminal, going on with a conversation if there is one.
pub(super) fn sit(profile: &AgentProfile, session_id: Option<&str>) -> Vec<String> {
    let mut argv = program(profile);
    argv.extend(habits(profile));
    if let Some(session_id) = session_id {
        argv.extend(["--resume".to_owned(), session_id.to_owned()]);
    }
    argv.extend(profile.args.iter().cloned());
    argv
}

/// What the program needs besides its arguments: a plugin of our own, whose skills are the project's. The project's
/// folder itself is not handed over as a plugin, because a plugin can also bring programs to run.
pub(super) fn prepare(order: &LaunchOrder, run_folder: &Path) -> io::Result<()> {
    let Some(skills) = skills_of(&order.place.folder) else {
        return Ok(());
    };
    let plugin = run_folder.join(PLUGIN);
    let manifest = plugin.join(".claude-plugin");
    durable::make_dir(&manifest)?;
    let about = json!({
        "name": "ccm",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "The skills of this project",
    });
    std::fs::write(manifest.join("plugin.json"), about.to_string())?;
    let link = plugin.join("skills");
    match std::fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::os::unix::fs::symlink(skills, link)
}

/// The project's skills, if there are any and they are in the project: a link could lead anywhere.
fn skills_of(folder: &Path) -> Option<PathBuf> {
    let mut path = folder.to_path_buf();
    for part in [".ccm", "skills"] {
        path.push(part);
        let is_own = std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
        if !is_own {
            return None;
        }
    }
    let has_some = std::fs::read_dir(&path)
        .ok()?
        .flatten()
        .any(|entry| entry.path().join("SKILL.md").is_file());
    has_some.then_some(path)
}

/// What is said when the program itself is not there.
pub(super) fn missing(name: &str, search_path: &str) -> String {
    format!(
        "Claude Code ({name}) was not found on the PATH ({search_path}); install it with `npm install -g \
         @anthropic-ai/claude-code`, or name the program in agent.command in .ccm/config.yaml"
    )
}

fn prompt(order: &LaunchOrder) -> Vec<u8> {
    let text = order.prompt.as_str();
    let content = match &order.resume {
        Some(resume) if resume.cut => json!([
            { "type": "text", "text": CUT },
            { "type": "text", "text": text },
        ]),
        _ => json!(text),
    };
    // A name of its own for each message: one that was used before would be taken for done.
    user_message(&content, &prompt_name(order.run))
}

/// The prompt is named after its run.
fn prompt_name(run: RunId) -> String {
    run.to_string()
}

fn user_message(content: &Value, name: &str) -> Vec<u8> {
    control(&json!({
        "type": "user",
        "message": { "role": "user", "content": content },
        "parent_tool_use_id": null,
        "uuid": name,
    }))
}

fn control(line: &Value) -> Vec<u8> {
    let mut bytes = line.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

/// Asks for an end of the turn that runs. The program says that it has this by the name, and then how the turn ended.
fn interrupt(name: &str) -> Vec<u8> {
    control(&json!({
        "type": "control_request",
        "request_id": name,
        "request": { "subtype": "interrupt" },
    }))
}

/// An input as the program reads it.
pub(super) fn encode(input: &Input, spool: &Spool) -> Result<Vec<u8>> {
    match &input.body {
        InputBody::Message { text } => {
            Ok(user_message(&json!(text.as_str()), &input.id.to_string()))
        }
        InputBody::Interrupt { .. } => Ok(interrupt(&input.id.to_string())),
        InputBody::Answer {
            request_id,
            payload,
            answer,
            ..
        } => {
            let request = ask::request_at(payload, spool)?;
            Ok(control(&ask::response(request_id, &request, answer)))
        }
    }
}

/// A line of output as JSON.
fn parse(line: &[u8]) -> Option<words::Line> {
    serde_json::from_slice(line).ok()
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::unavailable("could not read a run's output").with_source(error)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ccm_core::agent::AgentPlace;
    use ccm_core::id::{AgentId, ProjectId, TaskId};
    use ccm_core::project::RunLimits;
    use ccm_core::runtime::Resume;
    use ccm_core::task::TaskText;

    use super::*;

    fn order(folder: PathBuf) -> LaunchOrder {
        LaunchOrder {
            run: RunId::new(),
            task: TaskId::new(),
            place: AgentPlace {
                id: AgentId::new(),
                project_id: ProjectId::new(),
                name: "a".to_owned(),
                folder,
            },
            profile: AgentProfile::default(),
            limits: RunLimits::default(),
            prompt: TaskText::new("--resume /x\n$(y) \"z\"").unwrap(),
            resume: None,
            deadline: None,
        }
    }

    fn argument_after<'a>(plan: &'a Plan, name: &str) -> Option<&'a str> {
        let at = plan.argv.iter().position(|argument| argument == name)?;
        plan.argv.get(at + 1).map(String::as_str)
    }

    #[test]
    fn a_person_gets_the_program_as_the_project_wants_it() {
        let profile = AgentProfile {
            command: vec!["wrapped".to_owned(), "claude".to_owned()],
            model: Some("opus".to_owned()),
            args: vec!["--verbose".to_owned()],
            ..AgentProfile::default()
        };
        let argv = sit(&profile, Some("s1")).join(" ");
        let words =
            "wrapped claude --permission-mode acceptEdits --model opus --resume s1 --verbose";
        assert_eq!(argv, words);
        assert!(!sit(&profile, None).contains(&"--resume".to_owned()));
    }

    #[test]
    fn the_task_is_never_an_argument() {
        let mut order = order("/p".into());
        order.profile.model = Some("opus".to_owned());
        order.profile.args = vec!["--effort".to_owned(), "high".to_owned()];
        let plan = plan(&order, Path::new("/run")).unwrap();
        assert_eq!(plan.argv[0], "claude");
        assert_eq!(
            argument_after(&plan, "--permission-mode"),
            Some("acceptEdits")
        );
        assert_eq!(argument_after(&plan, "--model"), Some("opus"));
        assert_eq!(
            argument_after(&plan, "--session-id"),
            Some(&*order.run.to_string())
        );
        assert_eq!(plan.argv.last().map(String::as_str), Some("high"));
        assert!(!plan.argv.iter().any(|argument| argument.contains("$(y)")));
        let line: Value = serde_json::from_slice(&plan.first_input).unwrap();
        assert_eq!(line["message"]["content"], order.prompt.as_str());
        assert!(plan.first_input.ends_with(b"\n") && !plan.then_close);
    }

    #[test]
    fn a_conversation_that_broke_off_is_told_so_under_a_new_name() {
        let mut order = order("/p".into());
        order.resume = Some(Resume {
            session_id: "old".to_owned(),
            cut: true,
        });
        let plan = plan(&order, Path::new("/run")).unwrap();
        assert_eq!(argument_after(&plan, "--resume"), Some("old"));
        assert_eq!(argument_after(&plan, "--session-id"), None);
        let line: Value = serde_json::from_slice(&plan.first_input).unwrap();
        assert_eq!(line["message"]["content"][0]["text"], CUT);
        assert_eq!(line["message"]["content"][1]["text"], order.prompt.as_str());
        assert_eq!(line["uuid"], order.run.to_string());
    }

    #[test]
    fn skills_are_the_projects_own_and_nothing_else_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, run) = (dir.path().join("project"), dir.path().join("run"));
        let skills = folder.join(".ccm/skills");
        std::fs::create_dir_all(skills.join("deploy")).unwrap();
        std::fs::create_dir(&run).unwrap();
        let order = order(folder.clone());
        let handed = || argument_after(&plan(&order, &run).unwrap(), "--plugin-dir").is_some();
        assert!(!handed());
        std::fs::write(skills.join("deploy/SKILL.md"), "x").unwrap();
        assert!(handed());
        for _ in 0..2 {
            prepare(&order, &run).unwrap();
            let shown = run.join("plugin/skills/deploy/SKILL.md");
            assert_eq!(std::fs::read_to_string(shown).unwrap(), "x");
        }
        // A link in its place could lead anywhere.
        std::fs::rename(&skills, folder.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(folder.join("elsewhere"), &skills).unwrap();
        assert!(!handed());
    }
}
