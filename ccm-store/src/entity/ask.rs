//! What runs ask people.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ask")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Vec<u8>,
    pub run_id: Vec<u8>,
    pub task_id: Vec<u8>,
    pub project_id: Vec<u8>,
    pub agent_id: Vec<u8>,
    pub request_id: String,
    /// `open`, `answered` or `void`.
    pub state: String,
    pub created_at: i64,
    pub ended_at: Option<i64>,
    pub answered_by: Option<String>,
    /// JSON.
    pub answer: Option<String>,
    /// JSON.
    pub question: String,
}

impl ActiveModelBehavior for ActiveModel {}
