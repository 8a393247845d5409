//! `locks clean`: removes lock files that nobody uses any more.

use serde_json::json;

use crate::args::CleanArgs;
use crate::out;
use crate::status::{Failure, Status};

/// Removes them, and says how many where that is asked for.
pub(crate) fn clean(asked: &CleanArgs) -> Result<Status, Failure> {
    let cleaned = asked.backend.open_files()?.clean(asked.older_than)?;
    if asked.json {
        let object = json!({ "removed": cleaned.removed, "kept": cleaned.kept });
        out::print(&format!("{object}\n"))?;
    }
    Ok(Status::Done)
}
