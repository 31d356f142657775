//! What readers see of sharing.

use ccm_core::Result;
use ccm_core::id::{FencingToken, SystemId, TaskId};
use ccm_core::store::{Document, DocumentQuery, LeaseRecord, Mark, Pending, SetAside, Sharing};
use ccm_core::sync::{Change, Hlc, Identity, Kind, Operation, SyncCursor};
use ccm_core::{Error, ErrorKind};
use sea_orm::sea_query::Value;
use sea_orm::{FromQueryResult, QueryResult};
use uuid::Uuid;

use super::{Held, hlc, json, mark};
use crate::entity::sharing;
use crate::error::from_db;
use crate::reader::Reader;
use crate::values::{Id, column, count, date, id_list, optional_id, required_date, small};
use crate::writer::{document_key, whole};

/// How many documents are looked up by one statement.
const MOST_IDS: usize = 200;

/// What the reader of a document needs.
const DOCUMENT: &str = "SELECT document.*, \
     EXISTS (SELECT 1 FROM mark WHERE mark.kind = document.kind AND mark.id = document.id) \
     OR EXISTS (SELECT 1 FROM outbox WHERE outbox.kind = document.kind AND outbox.id = document.id) AS pending \
     FROM document WHERE ";

/// How large the first operations are.
pub(crate) const OUTBOX_SIZES: &str =
    "SELECT number, bytes FROM outbox WHERE number > ? ORDER BY number LIMIT ?";

/// The operations after a number, up to another.
pub(crate) const OUTBOX: &str =
    "SELECT * FROM outbox WHERE number > ? AND number <= ? ORDER BY number";

fn document(row: &QueryResult) -> Result<Document> {
    let pending = row.try_get("", "pending").map_err(from_db)?;
    Ok(Held::read(row)?.document(&document_key(row)?, pending))
}

fn operation(row: &QueryResult) -> Result<Operation> {
    let uuid: Vec<u8> = row.try_get("", "uuid").map_err(from_db)?;
    let kind: Option<String> = row.try_get("", "kind").map_err(from_db)?;
    let change = match kind {
        None => None,
        Some(_) => {
            let (kind, id) = document_key(row)?;
            Some(Change {
                kind,
                id,
                body: json(row, "body")?,
                hlc: hlc(row)?,
                base: whole(row, "base")?,
                base_body: json(row, "base_body")?,
                epoch: whole(row, "epoch")?.map(FencingToken),
            })
        }
    };
    Ok(Operation {
        number: whole(row, "number")?.unwrap_or_default(),
        uuid: Uuid::read(&uuid)?,
        change,
    })
}

fn aside(row: &QueryResult) -> Result<SetAside> {
    let (kind, id) = document_key(row)?;
    Ok(SetAside {
        number: whole(row, "number")?.unwrap_or_default(),
        kind,
        id,
        body: json(row, "body")?,
        why: row.try_get("", "why").map_err(from_db)?,
        at: required_date(row.try_get("", "at").map_err(from_db)?)?,
    })
}

/// The oldest marks.
pub(crate) fn marks(kinds: &[Kind], limit: u32) -> (String, Vec<Value>) {
    let limit = Value::from(i64::from(limit));
    if kinds.is_empty() {
        let sql = "SELECT * FROM mark ORDER BY place LIMIT ?".to_owned();
        return (sql, vec![limit]);
    }
    let mut values = Vec::new();
    let mut parts = Vec::new();
    for kind in kinds {
        values.extend([kind.as_str().into(), limit.clone()]);
        parts.push(
            "SELECT place FROM (SELECT place FROM mark WHERE kind = ? ORDER BY place LIMIT ?)",
        );
    }
    values.push(limit);
    let sql = format!(
        "SELECT * FROM mark WHERE place IN ({}) ORDER BY place LIMIT ?",
        parts.join(" UNION ALL ")
    );
    (sql, values)
}

/// What is to be dealt with, after a place.
pub(crate) fn unsettled(after: u64, limit: u32) -> (String, Vec<Value>) {
    let sql = format!("{DOCUMENT} state = 0 AND place > ? ORDER BY place LIMIT ?");
    (sql, vec![column(after).into(), i64::from(limit).into()])
}

/// The conditions of a query beside its kinds and its place, of which the narrowest may be found by its index.
fn conditions(query: &DocumentQuery) -> (String, Vec<Value>) {
    let mut sql = String::new();
    let mut values: Vec<Value> = Vec::new();
    let mut narrowed = false;
    let ids = [
        ("run_id", query.run.map(|id| id.bytes())),
        ("task_id", query.task.map(|id| id.bytes())),
        ("project_id", query.project.map(|id| id.bytes())),
    ];
    for (name, id) in ids {
        if let Some(id) = id {
            let hidden = if narrowed { "+" } else { "" };
            sql.push_str(&format!(" AND {hidden}{name} = ?"));
            values.push(id.into());
            narrowed = true;
        }
    }
    for (name, wanted) in [("open", query.open), ("shared", query.shared)] {
        if wanted {
            let hidden = if narrowed { "+" } else { "" };
            sql.push_str(&format!(" AND {hidden}{name} = 1"));
            narrowed = true;
        }
    }
    if query.elsewhere {
        let hidden = if narrowed { "+" } else { "" };
        sql.push_str(&format!(" AND {hidden}(state = 2 OR shared = 1)"));
    }
    if query.unheard {
        sql.push_str(
            " AND body IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM document AS report WHERE report.kind = 'report' AND report.id = document.id) \
             AND NOT EXISTS (SELECT 1 FROM task WHERE task.id = document.id)",
        );
    }
    for (sign, origin) in [("=", query.origin), ("<>", query.not_origin)] {
        if let Some(origin) = origin {
            sql.push_str(&format!(" AND origin {sign} ?"));
            values.push(origin.bytes().into());
        }
    }
    (sql, values)
}

/// A part of a list, kind by kind along an index.
pub(crate) fn document_page(query: &DocumentQuery) -> (String, Vec<Value>) {
    let (conditions, own) = conditions(query);
    let (sign, order) = match query.newest_first {
        true => ("<", "id DESC, kind DESC"),
        false => (">", "id, kind"),
    };
    let limit = Value::from(i64::from(query.limit));
    let mut values: Vec<Value> = Vec::new();
    let mut part = |kind: Option<&Kind>| {
        let of_kind = match kind {
            Some(kind) => {
                values.push(kind.as_str().into());
                "kind = ?"
            }
            None => "1",
        };
        values.extend(own.iter().cloned());
        let beyond = match query.after {
            Some(after) => {
                values.push(after.bytes().into());
                format!(" AND id {sign} ?")
            }
            None => String::new(),
        };
        values.push(limit.clone());
        format!(
            "SELECT rowid FROM (SELECT rowid FROM document WHERE {of_kind}{conditions}{beyond} ORDER BY {order} LIMIT ?)"
        )
    };
    let parts: Vec<String> = match query.kinds.as_slice() {
        [] => vec![part(None)],
        kinds => kinds.iter().map(|kind| part(Some(kind))).collect(),
    };
    values.push(limit);
    let sql = format!(
        "{DOCUMENT} document.rowid IN ({}) ORDER BY {order} LIMIT ?",
        parts.join(" UNION ALL ")
    );
    (sql, values)
}

impl Reader {
    pub(crate) async fn sharing(&self) -> Result<Option<Sharing>> {
        let row = self
            .first(
                "SELECT sharing.*, meta.hlc_time, meta.hlc_count, (SELECT COUNT(*) FROM mark) AS marks, \
                 (SELECT COUNT(*) FROM outbox) AS waiting, (SELECT COUNT(*) FROM document WHERE state = 0) AS unsettled, \
                 (SELECT COUNT(*) FROM set_aside) AS aside FROM meta CROSS JOIN sharing WHERE meta.sharing = 1",
                vec![],
            )
            .await?;
        row.as_ref().map(sharing_of).transpose()
    }

    pub(crate) async fn identity(&self) -> Result<Option<Identity>> {
        let sql = "SELECT sharing.system_id, sharing.incarnation FROM meta CROSS JOIN sharing WHERE meta.sharing = 1";
        let row = self.first(sql, vec![]).await?;
        let id =
            |row: &QueryResult, name| -> Result<Vec<u8>> { row.try_get("", name).map_err(from_db) };
        row.map(|row| {
            Ok(Identity {
                system: SystemId::read(&id(&row, "system_id")?)?,
                incarnation: Uuid::read(&id(&row, "incarnation")?)?,
            })
        })
        .transpose()
    }

    pub(crate) async fn marks(&self, kinds: &[Kind], limit: u32) -> Result<Vec<Mark>> {
        let (sql, values) = marks(kinds, limit);
        self.all(&sql, values).await?.iter().map(mark).collect()
    }

    pub(crate) async fn outbox(
        &self,
        after: u64,
        limit: u32,
        max_bytes: u64,
    ) -> Result<Vec<Operation>> {
        // First how large they are: their content can be large.
        let rows = self
            .all(
                OUTBOX_SIZES,
                vec![column(after).into(), i64::from(limit).into()],
            )
            .await?;
        let (mut bytes, mut last) = (0_u64, None);
        for row in &rows {
            bytes += whole(row, "bytes")?.unwrap_or_default();
            if last.is_some() && bytes > max_bytes {
                break;
            }
            last = whole(row, "number")?;
        }
        let Some(last) = last else {
            return Ok(Vec::new());
        };
        let rows = self
            .all(OUTBOX, vec![column(after).into(), column(last).into()])
            .await?;
        rows.iter().map(operation).collect()
    }

    pub(crate) async fn set_aside(&self, limit: u32) -> Result<Vec<SetAside>> {
        let sql = "SELECT * FROM set_aside ORDER BY number DESC LIMIT ?";
        let rows = self.all(sql, vec![i64::from(limit).into()]).await?;
        rows.iter().map(aside).collect()
    }

    /// What was set aside of one number.
    pub(crate) async fn set_aside_of(&self, number: u64) -> Result<Option<SetAside>> {
        let sql = "SELECT * FROM set_aside WHERE number = ?";
        let row = self.first(sql, vec![column(number).into()]).await?;
        row.as_ref().map(aside).transpose()
    }

    pub(crate) async fn unsettled(&self, after: u64, limit: u32) -> Result<Vec<Document>> {
        let (sql, values) = unsettled(after, limit);
        self.all(&sql, values).await?.iter().map(document).collect()
    }

    pub(crate) async fn document(&self, kind: &Kind, id: Uuid) -> Result<Option<Document>> {
        let sql = format!("{DOCUMENT} kind = ? AND id = ?");
        let values = vec![kind.as_str().into(), id.bytes().into()];
        let row = self.first(&sql, values).await?;
        row.as_ref().map(document).transpose()
    }

    /// The documents of one kind with these ids.
    pub(crate) async fn documents_of(&self, kind: &Kind, ids: &[Uuid]) -> Result<Vec<Document>> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(MOST_IDS) {
            let places = vec!["?"; ids.len()].join(", ");
            let sql = format!("{DOCUMENT} kind = ? AND id IN ({places})");
            let mut values = vec![Value::from(kind.as_str())];
            values.extend(ids.iter().map(|id| Value::from(id.bytes())));
            for row in &self.all(&sql, values).await? {
                found.push(document(row)?);
            }
        }
        Ok(found)
    }

    pub(crate) async fn documents(&self, query: &DocumentQuery) -> Result<Vec<Document>> {
        let (sql, values) = document_page(query);
        self.all(&sql, values).await?.iter().map(document).collect()
    }

    pub(crate) async fn count_documents(&self, query: &DocumentQuery) -> Result<u64> {
        let (conditions, mut own) = conditions(query);
        let mut values: Vec<Value> = Vec::new();
        let of_kind = match query.kinds.as_slice() {
            [] => "1".to_owned(),
            kinds => {
                values.extend(kinds.iter().map(|kind| Value::from(kind.as_str())));
                format!("kind IN ({})", vec!["?"; kinds.len()].join(", "))
            }
        };
        values.append(&mut own);
        let beyond = match (query.after, query.newest_first) {
            (None, _) => "",
            (Some(_), true) => " AND id < ?",
            (Some(_), false) => " AND id > ?",
        };
        values.extend(query.after.map(|after| Value::from(after.bytes())));
        let sql =
            format!("SELECT COUNT(*) AS count FROM document WHERE {of_kind}{conditions}{beyond}");
        let row = self.first(&sql, values).await?;
        row.map_or(Ok(0), |row| {
            count(row.try_get("", "count").map_err(from_db)?)
        })
    }

    pub(crate) async fn leases(&self) -> Result<Vec<(TaskId, LeaseRecord)>> {
        let rows = self
            .all("SELECT * FROM lease ORDER BY task_id", vec![])
            .await?;
        let lease = |row: &QueryResult| {
            let task: Vec<u8> = row.try_get("", "task_id").map_err(from_db)?;
            let claim: Vec<u8> = row.try_get("", "claim").map_err(from_db)?;
            let record = LeaseRecord {
                claim: Uuid::read(&claim)?,
                token: whole(row, "token")?.map(FencingToken),
                until: date(row.try_get("", "until").map_err(from_db)?),
            };
            Ok((TaskId::read(&task)?, record))
        };
        rows.iter().map(lease).collect()
    }
}

pub(super) fn no_aside(number: u64) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!("no operation of number {number} was set aside"),
    )
}

fn sharing_of(row: &QueryResult) -> Result<Sharing> {
    let model = sharing::Model::from_query_result(row, "").map_err(from_db)?;
    let number = |name| -> Result<u64> { Ok(whole(row, name)?.unwrap_or_default()) };
    let clock: i64 = row.try_get("", "hlc_time").map_err(from_db)?;
    Ok(Sharing {
        identity: Identity {
            system: SystemId::read(&model.system_id)?,
            incarnation: Uuid::read(&model.incarnation)?,
        },
        previous: optional_id(model.previous.as_ref())?,
        acknowledged: count(model.acknowledged)?,
        acknowledged_uuid: optional_id(model.acknowledged_uuid.as_ref())?,
        sealed: count(model.sealed)?,
        cursor: SyncCursor(count(model.cursor)?),
        complete: model.complete,
        clock: Hlc {
            time: clock,
            count: small(row.try_get("", "hlc_count").map_err(from_db)?)?,
        },
        left_marks: id_list(&model.left_marks)?,
        pending: Pending {
            marks: number("marks")?,
            outbox: number("waiting")?,
            unsettled: number("unsettled")?,
            set_aside: number("aside")?,
        },
    })
}
