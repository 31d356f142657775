//! The one row of everything there is one of.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "meta")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub log_id: Vec<u8>,
    pub epoch: i64,
    pub last_seq: i64,
    pub pruned_seq: i64,
    pub queued: i64,
    pub running: i64,
    /// Whether this machine shares its queue with others.
    pub sharing: bool,
    /// The hybrid logical clock.
    pub hlc_time: i64,
    pub hlc_count: i64,
}

impl ActiveModelBehavior for ActiveModel {}
