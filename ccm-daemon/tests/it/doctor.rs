//! The documentation of the checks.

use std::path::Path;

use ccm_daemon::machine::doctor;

const BEGIN: &str =
    "<!-- made by the code: CCM_BLESS=1 cargo nextest run -p ccm-daemon doctor -->\n";
const END: &str = "<!-- end -->";

#[test]
fn every_check_is_in_the_documentation() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/troubleshooting.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let wanted = doctor::reference();
    if std::env::var_os("CCM_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(table, wanted, "make it anew with CCM_BLESS=1");
}
