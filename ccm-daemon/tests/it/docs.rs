//! The page about the config has every key as the tables have it.

use std::path::Path;

use ccm_daemon::machine::schema::{MACHINE, PROJECT, Schema};

fn table(schema: &Schema) -> String {
    let mut text =
        "| key | what | default | allowed | a change counts |\n| --- | --- | --- | --- | --- |\n"
            .to_owned();
    for key in schema.keys {
        let default = match key.default {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        let row = [
            format!("`{}`", key.path),
            key.doc.to_owned(),
            default,
            key.allowed(),
            key.applied.when().to_owned(),
        ];
        let row = row.map(|cell| cell.replace('|', "\\|"));
        text.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    text
}

#[test]
fn every_key_is_in_the_page_about_the_config() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let kept = std::fs::read_to_string(&path).unwrap();
    let mut made = kept.clone();
    for (name, schema) in [("machine", &MACHINE), ("project", &PROJECT)] {
        let begin = format!("<!-- {name} keys, made by the tests -->\n");
        let from = made.find(&begin).unwrap() + begin.len();
        let to = from + made[from..].find("<!-- end -->").unwrap();
        made.replace_range(from..to, &table(schema));
    }
    if std::env::var_os("CCM_BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    } else {
        assert!(
            kept == made,
            "{} is not what the tables say; run this test with CCM_BLESS=1 and look at the difference",
            path.display()
        );
    }
}
