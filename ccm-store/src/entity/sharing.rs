//! The one row of what there is one of while the queue is shared, and of what is left of it after that.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sharing")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub system_id: Vec<u8>,
    pub incarnation: Vec<u8>,
    pub previous: Option<Vec<u8>>,
    pub acknowledged: i64,
    pub acknowledged_uuid: Option<Vec<u8>>,
    pub sealed: i64,
    pub cursor: i64,
    pub complete: bool,
    /// Grows whenever everything is asked of the server anew.
    pub generation: i64,
    pub last_place: i64,
    /// 16 bytes each.
    pub left_marks: Vec<u8>,
}

impl ActiveModelBehavior for ActiveModel {}
