//! Changing what a grant's record says while it lasts: its age, its bounds, its token.

use std::sync::Arc;

use locks_core::{LockError, LostCause, Op};

use crate::files::{Files, lost};
use crate::held::{FileGrant, Standing, Terms};
use crate::persist::persist;
use crate::shared::{self, Rewritten};

/// Changes a grant's terms: at once if nothing is in the way, else as soon as it can be done.
pub(crate) fn change(
    files: &Arc<Files>,
    held: Arc<FileGrant>,
    update: impl Fn(&mut Terms) + Send + Sync + 'static,
) -> Op<'static, ()> {
    if let Err(error) = files.check_process() {
        return Op::failed(error);
    }
    match attempt(files, &held, &update) {
        Ok(Some(())) => Op::ready(()),
        Ok(None) => {
            let files = files.clone();
            Op::later(async move {
                persist(&held.directory, &held.key, || attempt(&files, &held, &update)).await
            })
        }
        Err(error) => Op::failed(error),
    }
}

/// Writes first, then compares (F4): a thief that has judged the old terms finds the new ones.
/// `None`: not just now.
fn attempt(
    files: &Files,
    held: &FileGrant,
    update: &impl Fn(&mut Terms),
) -> Result<Option<()>, LockError> {
    let Some(_changing) = held.changing() else {
        return Err(lost(held, LostCause::Forgotten));
    };
    if let Standing::Lost(cause) = held.standing() {
        return Err(lost(held, cause));
    }
    let before = held.terms();
    let mut terms = before;
    update(&mut terms);
    if held.exclusive {
        held.write_alone(&terms).map_err(|error| {
            held.directory.lock_file(&held.name).failed("written", error).with_key(&*held.key)
        })?;
    } else {
        let changed = shared::change(held, before.token, Some(&terms));
        match changed.map_err(|error| error.with_key(&*held.key))? {
            Rewritten::Done => {}
            Rewritten::NotNow => return Ok(None),
            Rewritten::Overtaken => return Err(lost(held, LostCause::Forgotten)),
        }
    }
    held.set_terms(terms);
    Ok(match files.standing(held) {
        Standing::FileGrant => Some(()),
        Standing::Undecided => None,
        Standing::Lost(cause) => return Err(lost(held, cause)),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use locks_core::{Caller, UpstreamGrant};

    use std::time::Duration;

    use super::*;
    use crate::directory::{Directory, Exchange, Settings};
    use crate::record::{HolderText, Text};

    /// Files with one grant.
    fn granted(name: &str, exclusive: bool) -> (Arc<Files>, UpstreamGrant) {
        let path = std::env::temp_dir().join(format!("locks-terms-{name}-{}", std::process::id()));
        let files = Files::new(Directory::open(&path, Settings::default()).unwrap());
        let directory = files.directory();
        let file = directory.open_file("k.lock").unwrap();
        fs4::FileExt::try_lock(&*file).unwrap();
        let process = files.process.clone();
        let about = HolderText::new(&Caller::anonymous(), "", &process);
        let terms = Terms { token: 1 << 32, greatest: 1 << 32, since: 1, ..Terms::default() };
        let held =
            FileGrant::new("k", "k.lock", directory, file, exclusive, about, process, None, terms);
        held.write_alone(&terms).unwrap();
        let turn = files.take_in(held);
        (files, turn)
    }

    /// Has `other` run between the look at a grant and the change of its record, if it may.
    fn meanwhile(
        files: &Arc<Files>,
        turn: UpstreamGrant,
        other: impl FnOnce() + Send + 'static,
    ) -> Result<(), LockError> {
        let (done, is_done) = mpsc::channel();
        let (begin, begun) = mpsc::channel();
        let thread = thread::spawn(move || {
            begun.recv().unwrap();
            other();
            let _ = done.send(());
        });
        let is_done = std::sync::Mutex::new(is_done);
        let changed = change(files, files.held(turn.id).unwrap(), move |terms| {
            begin.send(()).unwrap();
            let _ = is_done.lock().unwrap().recv_timeout(Duration::from_millis(100));
            terms.since = 2;
        });
        let changed = changed.block();
        thread.join().unwrap();
        changed
    }

    /// What it says there would be taken for the next holder's, with tokens that have been granted.
    #[test]
    fn f4_nothing_is_written_of_a_hold_that_has_ended() {
        let (files, turn) = granted("ended", true);
        let path = files.directory().file("k.lock");
        let (ending, next) = (files.clone(), path.clone());
        let _ = meanwhile(&files, turn, move || {
            ending.end(turn.id, false, true).unwrap();
            std::fs::write(next, "the next holder's").unwrap();
        });
        assert_eq!(std::fs::read_to_string(path).unwrap(), "the next holder's");
        std::fs::remove_dir_all(files.directory().path()).unwrap();
    }

    /// A thief dies after it has put its file at the path, and before it has said that it is done.
    #[test]
    fn f4_a_theft_that_nobody_goes_on_with_is_undone_by_its_victim() {
        let (files, turn) = granted("undone", true);
        let held = files.held(turn.id).unwrap();
        let directory = files.directory();
        let mut entered = directory.epochs.try_enter().unwrap().unwrap();
        let theft = Exchange::prepare(&directory, &mut entered, &held.name, true).unwrap();
        let dying = || theft.carry_out(|| panic!("on purpose"), |_| Ok(()));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(dying)).err().unwrap();
        drop(entered);
        assert_eq!(held.standing(), Standing::Undecided);
        change(&files, held.clone(), |terms| terms.since = 2).block().unwrap();
        assert_eq!(held.standing(), Standing::FileGrant);
        std::fs::remove_dir_all(files.directory().path()).unwrap();
    }

    #[test]
    fn c7_of_two_changes_at_once_none_is_forgotten() {
        let (files, turn) = granted("two", true);
        let (other, greatest) = (files.clone(), turn.token.get() + 7);
        let outcome = meanwhile(&files, turn, move || {
            let held = other.held(turn.id).unwrap();
            change(&other, held, move |terms| terms.greatest = greatest).block().unwrap();
        });
        outcome.unwrap();
        let held = files.held(turn.id).unwrap();
        assert_eq!((held.terms().since, held.terms().greatest), (2, greatest));
        let text = Text::read(&held.file).unwrap();
        assert_eq!(text.record().unwrap().token, greatest);
        std::fs::remove_dir_all(files.directory().path()).unwrap();
    }
}
