//! The log of everything.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    pub time: i64,
    pub kind: String,
    pub project_id: Option<Vec<u8>>,
    pub task_id: Option<Vec<u8>>,
    pub run_id: Option<Vec<u8>>,
    pub agent_id: Option<Vec<u8>>,
    /// JSON.
    pub data: String,
}

impl ActiveModelBehavior for ActiveModel {}
