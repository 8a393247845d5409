//! Changing what a grant's record says while it lasts: its age, its bounds, its token.

use std::sync::Arc;
use std::time::Duration;

use locks_core::{LockError, LostCause, Op};

use crate::fault;
use crate::files::{Files, lost};
use crate::held::{Held, Standing, Terms};
use crate::kernel;
use crate::shared::{self, Rewritten};
use crate::watch::{Signal, pause};

/// How soon to try again where something is under way, and for how long.
const SOON: kernel::Nanos = 200_000;
const PATIENCE: Duration = Duration::from_secs(2);

enum Changed {
    Done,
    Later,
    Lost(LostCause),
}

/// Changes a grant's terms: at once if nothing is in the way, else as soon as it can be done.
pub(crate) fn change(
    files: &Arc<Files>,
    held: Arc<Held>,
    update: impl Fn(&mut Terms) + Send + 'static,
) -> Op<'static, ()> {
    if let Err(error) = files.check_process() {
        return Op::failed(error);
    }
    match attempt(files, &held, &update) {
        Ok(Changed::Done) => Op::ready(()),
        Ok(Changed::Lost(cause)) => Op::failed(lost(&held, cause)),
        Ok(Changed::Later) => {
            let files = files.clone();
            Op::later(async move {
                let patience = u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
                let (signal, end) = (Signal::default(), kernel::now() + patience);
                while kernel::now() < end {
                    pause(&signal, kernel::now() + SOON).await;
                    match attempt(&files, &held, &update)? {
                        Changed::Done => return Ok(()),
                        Changed::Lost(cause) => return Err(lost(&held, cause)),
                        Changed::Later => {}
                    }
                }
                let directory = &files.directory;
                let pid = directory.epochs.holder(|inode| directory.in_table(inode));
                Err(fault::held_up(&directory.name, pid).with_key(&*held.key))
            })
        }
        Err(error) => Op::failed(error.with_key(&*held.key)),
    }
}

/// Writes first, then compares (F4): a thief that has judged the old terms finds the new ones.
fn attempt(files: &Files, held: &Held, update: &impl Fn(&mut Terms)) -> Result<Changed, LockError> {
    if let Standing::Lost(cause) = held.standing() {
        return Ok(Changed::Lost(cause));
    }
    let before = held.terms();
    let mut terms = before;
    update(&mut terms);
    if held.exclusive {
        held.write_alone(&terms)
            .map_err(|error| fault::at(&files.directory, &held.path, "written", error))?;
    } else {
        match shared::change(files, held, before.token, Some(&terms))? {
            Rewritten::Done => {}
            Rewritten::NotNow => return Ok(Changed::Later),
            Rewritten::Overtaken => return Ok(Changed::Lost(LostCause::Forgotten)),
        }
    }
    held.set_terms(terms);
    Ok(match held.standing() {
        Standing::Held => Changed::Done,
        Standing::Undecided => Changed::Later,
        Standing::Lost(cause) => Changed::Lost(cause),
    })
}
