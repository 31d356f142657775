//! What takes in foreign bytes, for `fuzz/`. Each function panics where something does not hold.

pub use crate::http::fuzzing::{request, terminal_message};
pub use crate::machine::fuzzing::{
    archive, edit, machine_config, project_config, records, template,
};
