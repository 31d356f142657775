//! Projects, also those that were removed: their tasks stay readable.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "project")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Vec<u8>,
    pub name: String,
    /// The path's own bytes, which need not be UTF-8.
    pub path: Vec<u8>,
    pub system_id: Vec<u8>,
    /// Its dedicated agent.
    pub agent_id: Vec<u8>,
    pub paused: bool,
    pub hold_reason: Option<String>,
    pub hold_detail: Option<String>,
    pub queued: i64,
    pub running: i64,
    pub last_started: Option<i64>,
    pub created_at: i64,
    pub removed_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
