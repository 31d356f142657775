//! Schema 5: runs that a person interrupted.

use sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0005_interrupts"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    #[allow(
        elided_lifetimes_in_paths,
        reason = "the trait leaves it out, and the two must be the same"
    )]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        db.execute_unprepared(SCHEMA).await?;
        Ok(())
    }
}

const SCHEMA: &str = "
ALTER TABLE run ADD COLUMN interrupted TEXT;

PRAGMA user_version = 5;
";
