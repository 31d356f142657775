//! A conflict as people read it.

use ccm_agents::terminal;
use ccm_core::api::{Conflict, ConflictField, ConflictSide, ConflictStateName, Keep, Side};
use ccm_core::id::ConflictId;
use serde_json::Value;

use super::super::{select, time};
use super::diff::diff;
use crate::client::Client;
use crate::exit::{Code, Failure};

/// The conflict that `text` is the id of, or the end of its id.
pub(super) async fn find(client: &Client, text: &str) -> Result<Conflict, Failure> {
    if let Ok(id) = text.parse::<ConflictId>() {
        return Ok(client.conflict(id).await?);
    }
    let end = select::end_of_id(text, "a conflict's id", "ccm sync conflicts --all")?;
    let mut found: Option<Conflict> = None;
    let mut pages = client.conflicts(None);
    while let Some(conflicts) = pages.next_page().await? {
        for conflict in conflicts {
            if !conflict.id.to_string().ends_with(&end) {
                continue;
            }
            if let Some(first) = &found {
                return Err(Failure::usage(format!(
                    "{text:?} is the end of several ids, among them {} and {}",
                    first.id, conflict.id
                ))
                .hint("give more characters"));
            }
            found = Some(conflict);
        }
    }
    found.ok_or_else(|| {
        Failure::new(Code::NotFound, format!("there is no conflict {text}"))
            .hint("`ccm sync conflicts --all` shows all")
    })
}

/// What a side is called.
pub(super) fn name(side: &ConflictSide) -> String {
    match &side.hostname {
        Some(name) => terminal::line(name),
        None => side.system_id.to_string(),
    }
}

/// All that is needed to decide.
pub(super) fn details(conflict: &Conflict) -> Vec<String> {
    let title = terminal::line(&conflict.title);
    let mut lines = vec![format!("Task {}: {title}", conflict.task_id)];
    for (words, side, which) in [
        ("local", &conflict.local, Side::Local),
        ("remote", &conflict.remote, Side::Remote),
    ] {
        let mut line = format!(
            "  {:<7} edited on {}, {} ago",
            format!("{words}:"),
            name(side),
            time::age(side.changed_at)
        );
        if side.this {
            line.push_str(" (this machine)");
        }
        if side.deleted {
            line.push_str(", where it was deleted");
        }
        if conflict.counts == which {
            line.push_str(match conflict.state {
                ConflictStateName::Open => "; counts until somebody decides",
                ConflictStateName::Overruled => "; counts, because it is the later one",
                ConflictStateName::Resolved => "",
            });
        }
        lines.push(line);
    }
    if let Some(done) = &conflict.resolution {
        let by = terminal::line(&done.by);
        let ago = time::age(done.at);
        lines.push(format!("  {by} decided for {} {ago} ago", kept(done.keep)));
    }
    for field in &conflict.fields {
        lines.extend(of_field(field));
    }
    lines
}

/// What was kept, in words.
pub(super) const fn kept(keep: Keep) -> &'static str {
    match keep {
        Keep::Local => "local",
        Keep::Remote => "remote",
        Keep::Merge => "both",
    }
}

fn of_field(field: &ConflictField) -> Vec<String> {
    let name = terminal::line(&field.name);
    let who = match field.changed_by {
        Some(Side::Local) => "changed by local alone",
        Some(Side::Remote) => "changed by remote alone",
        None => "changed by both",
    };
    let mut lines = vec![format!("  {name} ({who}):")];
    let text = |value: &Value| value.as_str().map(terminal::plain);
    if let (Some(local), Some(remote)) = (text(&field.local), text(&field.remote))
        && (local.lines().count() > 1 || remote.lines().count() > 1)
    {
        lines.push("    - local, + remote".to_owned());
        let compared = diff(&local, &remote);
        lines.extend(compared.into_iter().map(|line| format!("    {line}")));
        return lines;
    }
    lines.push(format!("    - {}", value(&field.local)));
    lines.push(format!("    + {}", value(&field.remote)));
    lines
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => terminal::line(text),
        other => terminal::line(&other.to_string()),
    }
}
