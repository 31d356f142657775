//! Which tasks wait for which: the way from a blocker to those that it holds up.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "task_blocker")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub blocker_id: Vec<u8>,
    #[sea_orm(primary_key, auto_increment = false)]
    pub task_id: Vec<u8>,
}

impl ActiveModelBehavior for ActiveModel {}
