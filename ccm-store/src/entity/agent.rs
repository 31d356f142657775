//! Projects' workers and what was last seen of them.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "agent")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Vec<u8>,
    pub project_id: Vec<u8>,
    pub name: String,
    /// JSON.
    pub state: String,
    pub since: i64,
    pub source: String,
    pub seen_at: i64,
    /// What it is to be: `up`, `asleep` or `down`.
    pub wanted: String,
    pub wanted_by: String,
    pub wanted_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
