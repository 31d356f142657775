//! Tasks: what was asked for and where it stands.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "task")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Vec<u8>,
    pub project_id: Vec<u8>,
    pub state: String,
    pub priority: i32,
    pub created_at: i64,
    pub due_at: Option<i64>,
    /// 1 until the writer saw that `due_at` has come; kept so that a queue full of dates need not be looked through.
    pub dated: bool,
    /// How many of its blockers have not succeeded.
    pub open_blockers: i64,
    /// Whether this machine is what it asks for.
    pub fits: bool,
    pub token: i64,
    pub attempts: i64,
    pub false_starts: i64,
    pub revision: i64,
    pub updated_at: i64,
    /// The run that the state is about.
    pub run_id: Option<Vec<u8>>,
    pub latest_run: Option<Vec<u8>>,
    pub reason: Option<String>,
    pub detail: Option<String>,
    pub ended_at: Option<i64>,
    pub ended_by: Option<String>,
    /// A decision to end its run, JSON.
    pub stop: Option<String>,
    pub cost_usd: Option<f64>,
    pub not_before: Option<i64>,
    pub max_retries: i64,
    pub timeout: Option<i64>,
    pub session: String,
    /// JSON.
    pub tags: String,
    pub system_type: Option<String>,
    /// 16 bytes each, in the order that was asked for.
    pub blocked_by: Vec<u8>,
    pub created_by: String,
    pub title: String,
    /// Its place among those of its priority.
    pub rank: i64,
    pub text: String,
    pub result: Option<String>,
    /// What it asked for when it was accepted, if that was changed, JSON.
    pub first_spec: Option<String>,
    /// Why it waits for a person's leave, JSON.
    pub hold: Option<String>,
    /// Whether another machine has its lease.
    pub yielded: bool,
}

impl ActiveModelBehavior for ActiveModel {}
