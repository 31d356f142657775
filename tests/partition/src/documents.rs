//! The second way to look: what is in the machines' databases, document by document, beside what the server has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::check::differences;

/// What somebody has.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Documents {
    /// The machine, if it is one's. Of what it tells others about itself it has the thing itself and no document.
    pub(crate) system: String,
    /// By kind and id: the content, with who wrote it and when, and the server's number of it.
    pub(crate) all: BTreeMap<(String, String), Value>,
    /// Tables that are to be empty when nothing is to be done, and are not.
    pub(crate) left: Vec<String>,
}

/// Rows that wait for something.
const TO_BE_EMPTY: [(&str, &str); 5] = [
    ("changes without a number", "select count(*) from mark"),
    (
        "operations that were not sent",
        "select count(*) from outbox",
    ),
    ("rows kept beside a change", "select count(*) from beside"),
    ("changes set aside", "select count(*) from set_aside"),
    (
        "documents not dealt with",
        "select count(*) from document where state = 0",
    ),
];

impl Documents {
    /// Adds one, as it is in a database.
    pub(crate) fn add(
        &mut self,
        kind: String,
        id: String,
        body: Option<&str>,
        (origin, seq, time, count): (String, Option<i64>, i64, i64),
    ) -> Result<(), String> {
        let body: Value = match body {
            Some(body) => serde_json::from_str(body)
                .map_err(|error| format!("{kind} {id} is no JSON: {error}"))?,
            None => Value::Null,
        };
        let content = json!({
            "body": body, "origin": origin, "seq": seq, "time": time, "count": count,
        });
        self.all.insert((kind, id), content);
        Ok(())
    }

    /// Those of a machine, from its database, while its daemon goes on.
    pub(crate) fn of_machine(system: &str, path: &Path) -> Result<Self, String> {
        let read = Self::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self {
            system: system.to_owned(),
            ..read
        })
    }

    fn read(path: &Path) -> Result<Self, String> {
        let told = |error: rusqlite::Error| error.to_string();
        let mut database =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(told)?;
        database
            .busy_timeout(Duration::from_secs(5))
            .map_err(told)?;
        // One snapshot.
        let database = database.transaction().map_err(told)?;
        let mut found = Self::default();
        let mut rows = database
            .prepare(
                "select kind, hex(id), body, hex(origin), seq, hlc_time, hlc_count from document",
            )
            .map_err(told)?;
        let mut rows = rows.query([]).map_err(told)?;
        while let Some(row) = rows.next().map_err(told)? {
            let text = |at: usize| row.get::<_, String>(at).map_err(told);
            let body: Option<String> = row.get(2).map_err(told)?;
            let number = |at: usize| row.get::<_, i64>(at).map_err(told);
            let version = (
                uuid(&text(3)?),
                row.get(4).map_err(told)?,
                number(5)?,
                number(6)?,
            );
            found.add(text(0)?, uuid(&text(1)?), body.as_deref(), version)?;
        }
        for (what, query) in TO_BE_EMPTY {
            let count: i64 = database
                .query_row(query, [], |row| row.get(0))
                .map_err(told)?;
            if count > 0 {
                found.left.push(format!("{count} {what}"));
            }
        }
        Ok(found)
    }
}

/// An id as people write it, from its 32 digits.
fn uuid(digits: &str) -> String {
    let digits = digits.to_lowercase();
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ]
    .join("-")
}

/// Where machines and server do not have the same, each in a line.
pub(crate) fn findings(machines: &[Documents], server: &Documents) -> Vec<String> {
    let mut findings = Vec::new();
    for (machine, documents) in machines.iter().enumerate() {
        for left in &documents.left {
            findings.push(format!("unsettled: the database of m{machine} has {left}"));
        }
    }
    let everybody: Vec<&Documents> = machines.iter().chain([server]).collect();
    let names: Vec<String> = (0..machines.len())
        .map(|machine| format!("m{machine}"))
        .chain(["the server".to_owned()])
        .collect();
    let keys: BTreeSet<_> = everybody
        .iter()
        .flat_map(|documents| documents.all.keys())
        .collect();
    for key in keys {
        let has: Vec<Option<Value>> = (everybody.iter())
            .map(|documents| documents.all.get(key).cloned())
            .collect();
        let (kind, id) = key;
        let has: Vec<Option<Value>> = (everybody.iter().zip(has))
            .map(|(documents, one)| match one {
                None if is_told_by(kind, &documents.system, server.all.get(key)) => {
                    server.all.get(key).cloned()
                }
                one => one,
            })
            .collect();
        if has.iter().any(|one| *one != has[0]) {
            findings.push(format!(
                "diverging: document {kind} {id}: {}",
                differences(&names, &has)
            ));
        }
    }
    findings
}

/// Whether the document is what this machine tells of its own things, which need not be kept beside the things.
fn is_told_by(kind: &str, system: &str, document: Option<&Value>) -> bool {
    const OF_ONE_MACHINE: [&str; 5] = ["project", "report", "run", "ask", "transcript"];
    OF_ONE_MACHINE.contains(&kind) && document.is_some_and(|document| document["origin"] == system)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Documents {
        let mut documents = Documents::default();
        for id in ["a", "b"] {
            let version = ("machine".to_owned(), Some(3), 5, 0);
            let body = r#"{"title": "t", "priority": 1}"#;
            documents
                .add("task".to_owned(), id.to_owned(), Some(body), version)
                .unwrap();
        }
        documents
    }

    #[test]
    fn the_same_everywhere_is_let_through_whatever_the_order_of_fields() {
        let mut other = some();
        let version = ("machine".to_owned(), Some(3), 5, 0);
        let body = r#"{"priority": 1, "title": "t"}"#;
        other
            .add("task".to_owned(), "a".to_owned(), Some(body), version)
            .unwrap();
        assert_eq!(findings(&[some(), other], &some()), Vec::<String>::new());
    }

    #[test]
    fn each_difference_is_told_with_who_has_what() {
        let mut missing = some();
        missing.all.remove(&("task".to_owned(), "a".to_owned()));
        let told = findings(&[some(), missing.clone()], &some());
        assert_eq!(told, ["diverging: document task a: not on m1"]);
        let told = findings(&[some(), some()], &missing);
        assert_eq!(told, ["diverging: document task a: not on the server"]);
        for (field, value) in [
            ("seq", json!(4)),
            ("time", json!(6)),
            ("origin", json!("x")),
            ("body", json!({})),
        ] {
            let mut other = some();
            let document = other
                .all
                .get_mut(&("task".to_owned(), "b".to_owned()))
                .unwrap();
            document[field] = value;
            let told = findings(&[some(), other, some()], &some());
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(
                told[0].starts_with(&format!("diverging: document task b: {field} is m0 ")),
                "{told:?}"
            );
        }
    }

    #[test]
    fn what_a_machine_tells_of_itself_need_not_be_kept_there() {
        let mut server = some();
        let version = ("machine".to_owned(), Some(9), 5, 0);
        let report = server.add("report".to_owned(), "c".to_owned(), Some("{}"), version);
        report.unwrap();
        let mut itself = some();
        itself.system = "machine".to_owned();
        assert_eq!(
            findings(&[server.clone(), itself.clone()], &server),
            Vec::<String>::new()
        );
        itself.system = "another".to_owned();
        let told = findings(&[server.clone(), itself], &server);
        assert_eq!(told, ["diverging: document report c: not on m1"]);
        // A task is everybody's.
        let mut without = server.clone();
        without.system = "machine".to_owned();
        without.all.remove(&("task".to_owned(), "a".to_owned()));
        assert_eq!(findings(&[server.clone(), without], &server).len(), 1);
    }

    #[test]
    fn what_waits_is_told() {
        let mut waiting = some();
        waiting
            .left
            .push("2 operations that were not sent".to_owned());
        let told = findings(&[some(), waiting], &some());
        assert_eq!(
            told,
            ["unsettled: the database of m1 has 2 operations that were not sent"]
        );
    }

    #[test]
    fn ids_are_written_as_people_write_them() {
        let written = uuid("01A21877CFE972EE89F836717E2F0E41");
        assert_eq!(written, "01a21877-cfe9-72ee-89f8-36717e2f0e41");
    }
}
