//! How a database comes from any released schema to the present one: one file a version.

mod m0001_initial;
mod m0002_asks;
mod m0003_wishes;
mod m0004_ranks;
mod m0005_interrupts;
mod m0006_times;
mod m0007_sharing;

use sea_orm_migration::{MigrationTrait, MigratorTraitSelf};

/// The schema's version is the number of migrations that made it; it is kept as SQLite's `user_version`.
pub(crate) const VERSION: u32 = 7;

/// Marks a file as a database of CCM (`CCM1`), as SQLite's `application_id`.
pub(crate) const APPLICATION_ID: u32 = 0x4343_4d31;

/// The migrations that lead to [`VERSION`].
pub(crate) struct Migrations;

impl MigratorTraitSelf for Migrations {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_initial::Migration),
            Box::new(m0002_asks::Migration),
            Box::new(m0003_wishes::Migration),
            Box::new(m0004_ranks::Migration),
            Box::new(m0005_interrupts::Migration),
            Box::new(m0006_times::Migration),
            Box::new(m0007_sharing::Migration),
        ]
    }
}
