//! What runs are given after their prompt.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "input")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Vec<u8>,
    pub run_id: Vec<u8>,
    pub number: i64,
    pub state: String,
    pub sent_by: String,
    pub created_at: i64,
    /// JSON.
    pub body: String,
}

impl ActiveModelBehavior for ActiveModel {}
