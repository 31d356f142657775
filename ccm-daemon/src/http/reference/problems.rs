//! The page that lists every kind of problem.

use ccm_core::api::ProblemCode;

use super::PATH;
use super::html::Html;
use super::operations::{begin_table, end_table};
use super::page;

/// What to do about each kind.
const WHAT_TO_DO: &[(ProblemCode, &str)] = &[
    (
        ProblemCode::BadRequest,
        "Look at `detail`, which says what of the request can't be read, and mend that. Trying again without a change does not help.",
    ),
    (
        ProblemCode::Invalid,
        "Look at `errors`: each has a place in the body as a JSON pointer, or a parameter's name, and what is wrong there.",
    ),
    (
        ProblemCode::Unauthorized,
        "Send `Authorization: Bearer TOKEN` with the content of the file `token` in the machine's home; `ccm info` says where that is.",
    ),
    (
        ProblemCode::Forbidden,
        "Ask under one of the daemon's own names, such as `127.0.0.1` with its port. A name of your own goes into `web_ui.allowed_hosts`.",
    ),
    (
        ProblemCode::NotFound,
        "Compare the path with the reference.",
    ),
    (
        ProblemCode::MethodNotAllowed,
        "Use one of the methods in the header `Allow`.",
    ),
    (
        ProblemCode::UnsupportedMediaType,
        "Send JSON, with `Content-Type: application/json`.",
    ),
    (
        ProblemCode::TooLarge,
        "Send less: a task's text may have 1 MiB. What is larger belongs into a file that the task names.",
    ),
    (
        ProblemCode::ProjectNotFound,
        "List the projects; it may have been removed. `ccm init` in its folder registers it.",
    ),
    (
        ProblemCode::TaskNotFound,
        "List the tasks and take the id from there.",
    ),
    (
        ProblemCode::RunNotFound,
        "List the runs and take the id from there. What a run wrote is kept for a time only.",
    ),
    (
        ProblemCode::AskNotFound,
        "List the asks and take the id from there.",
    ),
    (
        ProblemCode::AskAnswered,
        "Nothing: somebody was first, or nobody waits for the answer any more. The ask says which.",
    ),
    (
        ProblemCode::AgentNotFound,
        "List the agents and take the id from there.",
    ),
    (
        ProblemCode::SystemNotFound,
        "List the machines and take the id from there.",
    ),
    (
        ProblemCode::TemplateNotFound,
        "List the project's templates and take the name from there.",
    ),
    (
        ProblemCode::ConflictNotFound,
        "List the conflicts and take the id from there.",
    ),
    (
        ProblemCode::SetAsideNotFound,
        "List what was set aside and take the number from there: it may have been dismissed, or sent again.",
    ),
    (
        ProblemCode::ConflictResolved,
        "Nothing: somebody was first. The conflict says who, and which edit counts; the task can be edited at any time.",
    ),
    (
        ProblemCode::SyncOff,
        "Connect this machine with `ccm supabase connect`, or look at `supabase.enabled` and `sync.enabled` in its config.",
    ),
    (
        ProblemCode::SyncSignedOut,
        "Run `ccm supabase connect` and sign in again. What waits to be sent is kept meanwhile.",
    ),
    (
        ProblemCode::SyncRevoked,
        "If that was not meant, run `ccm supabase connect` on this machine and sign in again; else nothing.",
    ),
    (
        ProblemCode::SyncOutdated,
        "Update CCM on this machine. What waits to be sent is kept meanwhile.",
    ),
    (
        ProblemCode::SyncNotSetUp,
        "Run the SQL that `ccm supabase migrations` prints in the SQL editor of the Supabase project.",
    ),
    (
        ProblemCode::SyncTwin,
        "This home is a copy of another machine's, or an older database was put back by hand. `ccm supabase status` says what to do.",
    ),
    (
        ProblemCode::WrongState,
        "Read the object anew. `detail` says which state is in the way, and what gets it out of there.",
    ),
    (
        ProblemCode::ProjectTaken,
        "Choose another name, or leave it out and get a free one.",
    ),
    (
        ProblemCode::ProjectUnusable,
        "Look at `detail`, and run `ccm init` in the folder if it is not set up.",
    ),
    (
        ProblemCode::TrustChanged,
        "Read the settings anew, show them to a person, and trust what that person saw.",
    ),
    (
        ProblemCode::StaleRevision,
        "Read the object anew, and make the change to what it is now.",
    ),
    (
        ProblemCode::IdempotencyKeyReused,
        "Make a new key for a new request. A key stands for one request, and is good for repeating exactly that.",
    ),
    (
        ProblemCode::QueueFull,
        "Try again after the seconds in `Retry-After`, or raise `resources.max_queue_size` in the config.",
    ),
    (
        ProblemCode::TooManyAttempts,
        "Find out what sends wrong tokens. Who has the right one is not held up.",
    ),
    (
        ProblemCode::TooManyStreams,
        "Close streams that nobody reads, and try again after the seconds in `Retry-After`.",
    ),
    (
        ProblemCode::TooManyViewers,
        "Close a view of this terminal that nobody looks at, and try again.",
    ),
    (
        ProblemCode::PreconditionRequired,
        "Read the object, and send its `ETag` in `If-Match` with the change.",
    ),
    (
        ProblemCode::SessionNotFound,
        "List the sessions: this one is over, or never was.",
    ),
    (
        ProblemCode::DiskFull,
        "Make room on the disk of the machine's home, then try again.",
    ),
    (
        ProblemCode::Resync,
        "Read the state anew by the lists, then go on from the place that `detail` names.",
    ),
    (
        ProblemCode::Timeout,
        "Try again; a body has to come within 30 seconds.",
    ),
    (
        ProblemCode::Unavailable,
        "Try again after the seconds in `Retry-After`. `ccm doctor` says what is not reachable.",
    ),
    (
        ProblemCode::Unsupported,
        "Look at `detail`, which says which setting would be needed.",
    ),
    (
        ProblemCode::Internal,
        "Look at `ccm daemon logs`, which has what happened, and tell those who make CCM.",
    ),
];

/// The page.
pub(super) fn page() -> String {
    let mut html = page::begin("Problems");
    html.open("main", &[("class", "alone")]);
    html.element("h1", &[], "Problems");
    html.open("p", &[]);
    html.prose("Every answer of CCM's API that is no success has one of these as its `code`, and its `type` points here. The ");
    html.link(PATH, "reference");
    html.text(" says which operation gives which.");
    html.close("p");
    begin_table(
        &mut html,
        "Kinds of problems",
        &["code", "status", "what it means", "what to do"],
    );
    for code in ProblemCode::ALL {
        write(&mut html, *code);
    }
    end_table(&mut html);
    html.close("main");
    page::end(html)
}

fn write(html: &mut Html, code: ProblemCode) {
    html.open("tr", &[("id", code.as_str())]);
    html.open("td", &[]);
    html.open("a", &[("href", &format!("#{}", code.as_str()))]);
    html.code(code.as_str());
    html.close("a");
    html.close("td");
    html.element("td", &[], &code.status().to_string());
    html.says("td", code.about());
    html.says("td", what_to_do(code));
    html.close("tr");
}

fn what_to_do(code: ProblemCode) -> &'static str {
    let known = WHAT_TO_DO.iter().find(|(one, _)| *one == code);
    known.map_or("", |(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_there_with_what_to_do() {
        let page = page();
        for code in ProblemCode::ALL {
            let name = code.as_str();
            assert!(page.contains(&format!("<tr id=\"{name}\">")), "{name}");
            assert!(
                code.about().len() > 10 && what_to_do(*code).len() > 10,
                "{name} lacks words"
            );
        }
        assert_eq!(WHAT_TO_DO.len(), ProblemCode::ALL.len());
    }
}
