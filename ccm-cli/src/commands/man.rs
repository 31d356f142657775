use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Arg, Args, Command};
use clap_mangen::roff::{Roff, bold, roman};

use super::{Outcome, lines};
use crate::context::Context;
use crate::exit::{self, Code, Failure};

const SOURCE: &str = concat!("CCM ", env!("CARGO_PKG_VERSION"));
const MANUAL: &str = "CCM Manual";
const DAEMON: &str = "ccm-daemon";
/// How an apostrophe is spelled for every formatter. Each piece of a page brings it along; once is enough.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// Print a man page, or write all of them to a folder
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ccm man | man -l -                this program's page
  ccm man task create | man -l -    a command's page
  ccm man --dir ~/.local/share/man  all of them, for `man ccm-task-create`")]
pub(crate) struct Man {
    /// The command whose page is printed [default: the program itself]
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write the pages of all programs below this folder, to man1 and man8, which are made if need be
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &Man, context: &Context) -> Outcome {
    match &args.dir {
        Some(dir) => write(dir, context),
        None => print(&args.command, context),
    }
}

fn print(words: &[String], context: &Context) -> Outcome {
    let program = lines()
        .into_iter()
        .find(|line| line.get_name() == context.program);
    let Some(mut program) = program else {
        return Err(Failure::new(Code::NotFound, "there is no such program"));
    };
    program.build();
    let mut command = &program;
    for word in words {
        let found = command.find_subcommand(word);
        command = found.ok_or_else(|| {
            let wanted = format!("{} {}", context.program, words.join(" "));
            let parent = command.get_bin_name().unwrap_or(context.program);
            Failure::usage(format!("there is no command `{wanted}`"))
                .hint(format!("`{parent} --help` lists what there is"))
        })?;
    }
    let page = Page::of(command);
    if context.printer.json {
        context
            .printer
            .object(&serde_json::json!({ "name": page.name, "page": page.text }))?;
        return Ok(Code::Done);
    }
    context.printer.raw(page.text.as_bytes())?;
    if context.printer.is_terminal() {
        let words = [&["man".to_owned()], words].concat().join(" ");
        context.printer.hint(format!(
            "`{} {words} | man -l -` shows it as a page",
            context.program
        ));
    }
    Ok(Code::Done)
}

fn write(dir: &Path, context: &Context) -> Outcome {
    let failed = |path: &Path, error: &io::Error| {
        Failure::new(
            Code::Failed,
            format!("{} can't be written: {error}", path.display()),
        )
        .hint("name a folder of yours with --dir")
    };
    let mut files = Vec::new();
    for page in pages() {
        let folder = dir.join(format!("man{}", page.section));
        std::fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
        let path = folder.join(page.file_name());
        std::fs::write(&path, page.text).map_err(|error| failed(&path, &error))?;
        files.push(path);
    }
    if context.printer.json {
        context
            .printer
            .object(&serde_json::json!({ "dir": dir, "files": files }))?;
    }
    context.printer.note(format!(
        "Wrote {} man pages to {}.",
        files.len(),
        dir.display()
    ));
    Ok(Code::Done)
}

/// The pages of all three programs.
fn pages() -> Vec<Page> {
    let mut pages = Vec::new();
    for mut line in lines().into_iter().chain([daemon()]) {
        line.build();
        collect(&line, &mut pages);
    }
    pages
}

fn collect(command: &Command, pages: &mut Vec<Page>) {
    pages.push(Page::of(command));
    for below in command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
    {
        collect(below, pages);
    }
}

/// What `ccm-daemon --help` says, which reads its few arguments itself.
fn daemon() -> Command {
    Command::new(DAEMON)
        .bin_name(DAEMON)
        .about("The daemon of CCM: works off the task queue of one machine")
        .long_about(
            "The daemon of CCM: works off the task queue of one machine\n\nRuns in the foreground, logs to standard error \
             and to the log file, and tells systemd when it is ready. SIGTERM and SIGINT end it; the agents' runs go on, \
             and the next daemon takes them over. `ccm-orchestrator daemon start` runs it in the background.",
        )
        .disable_version_flag(true)
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .help("The machine's config file; its folder is the machine home"),
        )
        .arg(
            Arg::new("version")
                .short('V')
                .long("version")
                .action(clap::ArgAction::SetTrue)
                .help("Print the version"),
        )
        .after_help(
            "Exit codes:\n  0  stopped\n  1  failed\n  2  wrong arguments or configuration\n  5  another daemon has this home",
        )
}

/// A man page.
struct Page {
    /// As `man` is asked for it.
    name: String,
    section: &'static str,
    text: String,
}

impl Page {
    /// `command` is built, so that it knows its full name and its global options.
    fn of(command: &Command) -> Self {
        let name = command.get_display_name().unwrap_or(command.get_name());
        let name = name.to_owned();
        // `ccm-daemon(1)` is the page of `ccm daemon`.
        let section = if command.get_bin_name() == Some(DAEMON) {
            "8"
        } else {
            "1"
        };
        let mut text = Vec::new();
        // Writing to memory can't fail.
        let _ = render(command, &name, section, &mut text);
        let text = String::from_utf8_lossy(&text).replace(PREAMBLE, "");
        Self {
            name,
            section,
            text: format!("{PREAMBLE}{text}"),
        }
    }

    fn file_name(&self) -> String {
        format!("{}.{}", self.name, self.section)
    }
}

fn render(command: &Command, name: &str, section: &str, out: &mut Vec<u8>) -> io::Result<()> {
    let title = name.to_uppercase();
    // Without a date, so that the same program always has the same page.
    writeln!(out, ".TH {title} {section} \"\" \"{SOURCE}\" \"{MANUAL}\"")?;
    let man = clap_mangen::Man::new(command.clone().subcommand_value_name("command"));
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(out)?;
    }
    let help = command.get_after_help().map(ToString::to_string);
    blocks(&help.unwrap_or_default()).to_writer(out)?;
    let is_program = command.get_bin_name() == Some(name);
    if is_program {
        blocks(environment(name)).to_writer(out)?;
        blocks(FILES).to_writer(out)?;
    } else {
        blocks(exit::HELP).to_writer(out)?;
    }
    see_also(name, is_program).to_writer(out)
}

/// What the program looks for in its environment.
fn environment(program: &str) -> &'static str {
    if program == DAEMON {
        "Environment:
  CCM_HOME    the machine home, instead of ~/.ccm-global
  CCM_CONFIG  the machine's config file; its folder is the machine home
  RUST_LOG    what is logged, instead of daemon.log_level"
    } else {
        "Environment:
  CCM_HOME    the machine home, instead of ~/.ccm-global
  CCM_CONFIG  the machine's config file; its folder is the machine home
  CCM_URL     a daemon elsewhere that is asked instead of this machine's
  CCM_TOKEN   the token for that daemon
  NO_COLOR    no colours"
    }
}

const FILES: &str = "\
Files:
  ~/.ccm-global/config.yaml      the settings of this machine
  ~/.ccm-global/ccm.db           the queue
  ~/.ccm-global/token            what programs show to the daemon
  ~/.ccm-global/logs/daemon.log  what the daemon says
  .ccm/config.yaml               the settings of a project";

/// Texts as help shows them, headings with indented lines below, as sections whose lines stay as they are.
fn blocks(help: &str) -> Roff {
    let mut roff = Roff::new();
    let mut is_open = false;
    for line in help.lines() {
        match line.strip_prefix("  ") {
            Some(text) => {
                if !is_open {
                    roff.control("nf", []);
                }
                is_open = true;
                roff.text([roman(text)]);
            }
            None => {
                if is_open {
                    roff.control("fi", []);
                }
                is_open = false;
                match line.strip_suffix(':') {
                    Some(heading) => drop(roff.control("SH", [&*heading.to_uppercase()])),
                    None if line.is_empty() => {}
                    None => drop(roff.text([roman(line)])),
                }
            }
        }
    }
    if is_open {
        roff.control("fi", []);
    }
    roff
}

fn see_also(name: &str, is_program: bool) -> Roff {
    let parent = name.rsplit_once('-').map_or(name, |(parent, _)| parent);
    let mut pages = vec![("ccm", "1"), ("ccm-orchestrator", "1"), (DAEMON, "8")];
    if is_program {
        pages.retain(|(other, _)| *other != name);
    } else {
        pages = vec![(parent, "1")];
    }
    let mut text = Vec::new();
    for (n, (name, section)) in pages.into_iter().enumerate() {
        text.push(roman(if n == 0 { "" } else { ", " }));
        text.push(bold(name));
        text.push(roman(format!("({section})")));
    }
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]).text(text);
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_every_program_has_a_page() {
        let names: Vec<_> = pages().iter().map(Page::file_name).collect();
        for name in [
            "ccm.1",
            "ccm-init.1",
            "ccm-task-create.1",
            "ccm-orchestrator.1",
            "ccm-orchestrator-init.1",
            "ccm-orchestrator-daemon-restart.1",
            "ccm-daemon.1",
            "ccm-daemon.8",
        ] {
            assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
        }
        let mut once = names.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), names.len(), "{names:?}");
    }

    #[test]
    fn help_becomes_sections_with_its_lines_kept() {
        let page = blocks("Examples:\n  ccm a\n  .b 'c'\nExit codes:\n  0  done").to_roff();
        assert_eq!(
            page,
            ".SH EXAMPLES\n.nf\nccm a\n\\&.b 'c'\n.fi\n.SH \"EXIT CODES\"\n.nf\n0  done\n.fi\n"
        );
    }
}
