//! Callers' names for requests that were accepted.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub principal: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub route: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    pub fingerprint: String,
    /// The tasks that were created, 16 bytes each.
    pub task_ids: Vec<u8>,
    pub created_at: i64,
    /// The documents that were written, kind and id each, JSON.
    pub documents: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
