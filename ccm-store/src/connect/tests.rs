//! Coming from an older schema, with one that does not exist yet.

use std::os::unix::fs::PermissionsExt;

use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager, async_trait};

use super::*;
use crate::migration::{Migrations, VERSION};

struct Next {
    fails: bool,
}

impl MigrationName for Next {
    fn name(&self) -> &str {
        "m9999_next"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Next {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    #[allow(elided_lifetimes_in_paths, reason = "as in the trait")]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let next = format!(
            "ALTER TABLE meta ADD COLUMN mood TEXT; PRAGMA user_version = {}",
            VERSION + 1
        );
        db.execute_unprepared(&next).await?;
        if self.fails {
            return Err(DbErr::Migration("it went wrong".to_owned()));
        }
        Ok(())
    }
}

struct Later {
    fails: bool,
}

impl MigratorTraitSelf for Later {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        let mut all = Migrations.migrations();
        all.push(Box::new(Next { fails: self.fails }));
        all
    }
}

const NOW: Schema<Migrations> = Schema {
    version: VERSION,
    migrations: Migrations,
};

const fn later(fails: bool) -> Schema<Later> {
    Schema {
        version: VERSION + 1,
        migrations: Later { fails },
    }
}

/// The name of the copy that is put beside a database of the present schema.
fn backup(number: &str) -> String {
    format!("ccm.db.schema-{VERSION}{number}.backup")
}

async fn version(path: &Path) -> Option<u32> {
    look(path, &SqliteOptions::default(), 9).await.unwrap()
}

#[tokio::test]
async fn an_older_schema_is_backed_up_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ccm.db");
    let place = Place::File(path.clone());
    let options = SqliteOptions::default();
    let files = || {
        let mut names: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    // A new database has nothing to lose.
    let (db, migrated) = writer(&place, &options, &NOW).await.unwrap();
    assert_eq!(migrated, None);
    db.close().await.unwrap();
    assert_eq!(files(), ["ccm.db"]);
    // Neither has one that is up to date.
    writer(&place, &options, &NOW)
        .await
        .unwrap()
        .0
        .close()
        .await
        .unwrap();
    assert_eq!(files(), ["ccm.db"]);

    fs::write(folder.path().join(backup("")), "of another time").unwrap();
    let (db, migrated) = writer(&place, &options, &later(false)).await.unwrap();
    let mood = db.query_all_raw(Statement::from_string(
        DbBackend::Sqlite,
        "SELECT mood FROM meta",
    ));
    assert_eq!(mood.await.unwrap().len(), 1);
    db.close().await.unwrap();
    assert_eq!(files(), ["ccm.db".to_owned(), backup("-2"), backup("")]);
    assert_eq!(version(&path).await, Some(VERSION + 1));
    let copy = folder.path().join(backup("-2"));
    let told = Migrated {
        from: VERSION,
        to: VERSION + 1,
        backup: copy.clone(),
    };
    assert_eq!(migrated, Some(told));
    assert_eq!(version(&copy).await, Some(VERSION));
    let mode = fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let refused = writer(&place, &options, &NOW).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooNew);
}

#[tokio::test]
async fn a_change_of_schema_that_fails_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ccm.db");
    let place = Place::File(path.clone());
    let options = SqliteOptions::default();
    writer(&place, &options, &NOW)
        .await
        .unwrap()
        .0
        .close()
        .await
        .unwrap();
    writer(&place, &options, &later(true)).await.unwrap_err();
    assert!(!folder.path().join(backup("")).exists());
    assert_eq!(version(&path).await, Some(VERSION));
    writer(&place, &options, &NOW)
        .await
        .unwrap()
        .0
        .close()
        .await
        .unwrap();
}
