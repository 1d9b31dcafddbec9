//! A host that is this machine: the very protocol that goes over SSH, spoken to a local shell.

use std::path::Path;
use std::sync::Arc;

use dr_plan::transport::Local;

/// A host that knows no earlier job. Its jobs lie below `folder` and go with it.
pub fn this_machine(folder: &Path) -> Arc<Local> {
    let jobs = tempfile::tempdir_in(folder).unwrap().keep();
    Arc::new(Local::with_root("db-new", jobs.to_str().unwrap()))
}
