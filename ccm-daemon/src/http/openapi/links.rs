//! What can be asked next with what an answer holds: OpenAPI's links.

use serde_json::{Value, json};

use super::finish::operations;

/// From an operation's answer to another operation: where in the answer the value of which parameter is.
struct Link {
    from: &'static str,
    status: &'static str,
    to: &'static str,
    parameter: &'static str,
    at: &'static str,
}

const fn link(
    from: &'static str,
    status: &'static str,
    to: &'static str,
    parameter: &'static str,
    at: &'static str,
) -> Link {
    Link {
        from,
        status,
        to,
        parameter,
        at,
    }
}

/// The first object of a list.
const FIRST: &str = "/items/0/id";

const LINKS: &[Link] = &[
    link("create_task", "201", "get_task", "id", "/id"),
    link("create_task", "201", "cancel_task", "id", "/id"),
    link("create_task", "201", "retry_task", "id", "/id"),
    link("create_task", "201", "send_message", "id", "/id"),
    link("create_task", "201", "interrupt_task", "id", "/id"),
    link("create_task", "201", "list_runs", "task_id", "/id"),
    link("create_task", "201", "list_asks", "task_id", "/id"),
    link("list_tasks", "200", "get_task", "id", FIRST),
    link("list_tasks", "200", "cancel_task", "id", FIRST),
    link(
        "list_tasks",
        "200",
        "list_tasks",
        "page_token",
        "/next_page_token",
    ),
    link("cancel_task", "200", "retry_task", "id", "/task/id"),
    link("retry_task", "200", "cancel_task", "id", "/id"),
    link("list_runs", "200", "get_run", "id", FIRST),
    link("list_runs", "200", "get_run_log", "id", FIRST),
    link("list_runs", "200", "get_transcript", "id", FIRST),
    link("list_runs", "200", "list_inputs", "id", FIRST),
    link(
        "list_runs",
        "200",
        "list_runs",
        "page_token",
        "/next_page_token",
    ),
    link("get_run", "200", "get_run_log", "id", "/id"),
    link("get_run", "200", "get_agent", "id", "/agent_id"),
    link("list_asks", "200", "get_ask", "id", FIRST),
    link("list_asks", "200", "answer_ask", "id", FIRST),
    link(
        "list_asks",
        "200",
        "list_asks",
        "page_token",
        "/next_page_token",
    ),
    link("list_projects", "200", "get_project", "id", FIRST),
    link("list_projects", "200", "list_tasks", "project_id", FIRST),
    link("list_projects", "200", "list_agents", "project_id", FIRST),
    link("list_projects", "200", "get_trust", "id", FIRST),
    link("list_projects", "200", "list_templates", "id", FIRST),
    link("list_projects", "200", "get_project_config", "id", FIRST),
    link("list_projects", "200", "render_template", "id", FIRST),
    link("list_projects", "200", "pause_project", "id", FIRST),
    link("list_projects", "200", "resume_project", "id", FIRST),
    link("list_projects", "200", "refresh_project", "id", FIRST),
    link("register_project", "201", "get_trust", "id", "/project/id"),
    link("register_project", "200", "get_trust", "id", "/project/id"),
    link("list_agents", "200", "get_agent", "id", FIRST),
    link("list_agents", "200", "get_attach_command", "id", FIRST),
    link("list_agents", "200", "start_agent", "id", FIRST),
    link("list_agents", "200", "stop_agent", "id", FIRST),
    link("list_agents", "200", "restart_agent", "id", FIRST),
    link("list_systems", "200", "get_system", "id", FIRST),
    link("list_conflicts", "200", "get_conflict", "id", FIRST),
    link("list_conflicts", "200", "resolve_conflict", "id", FIRST),
    link(
        "list_conflicts",
        "200",
        "list_conflicts",
        "page_token",
        "/next_page_token",
    ),
    link("list_devices", "200", "revoke_device", "id", FIRST),
    link(
        "list_set_aside",
        "200",
        "decide_set_aside",
        "number",
        "/items/0/number",
    ),
];

/// Adds the links to the operations that they begin at.
pub(super) fn add(document: &mut Value) {
    for operation in operations(document) {
        let id = operation["operationId"].clone();
        for link in LINKS.iter().filter(|link| id == link.from) {
            operation["responses"][link.status]["links"][link.to] = json!({
                "operationId": link.to,
                "parameters": {link.parameter: format!("$response.body#{}", link.at)},
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_link_leads_from_an_answer_to_an_operation() {
        let mut document = crate::http::document();
        let mut ids = BTreeSet::new();
        let mut found = 0;
        for operation in operations(&mut document) {
            ids.insert(operation["operationId"].as_str().unwrap().to_owned());
            for (status, response) in operation["responses"].as_object().unwrap() {
                let links = response["links"].as_object().map_or(0, |links| links.len());
                assert!(
                    links == 0 || response["content"].is_object(),
                    "{status}: {operation}"
                );
                found += links;
            }
        }
        assert_eq!(found, LINKS.len());
        for link in LINKS {
            assert!(ids.contains(link.to), "{}", link.to);
        }
    }
}
