//! The machine that the database belongs to.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "system")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Vec<u8>,
    pub hostname: String,
    pub kind: String,
    pub tags: String,
}

impl ActiveModelBehavior for ActiveModel {}
