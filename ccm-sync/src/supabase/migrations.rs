//! The SQL that a Supabase project needs.

/// Every migration in its order: its file's name and its SQL. Applying one again changes nothing.
pub const MIGRATIONS: &[(&str, &str)] = &[(
    "20261126000000_ccm.sql",
    include_str!("../../supabase/migrations/20261126000000_ccm.sql"),
)];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_is_there_in_its_order() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("supabase/migrations");
        let files = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let known: Vec<_> = MIGRATIONS.iter().map(|(name, _)| *name).collect();
        assert_eq!(known, names);
    }
}
