use locks_core::LockInfo;

use crate::files::Files;

pub(crate) fn add_to(_: &Files, _: &mut Vec<LockInfo>) {}
