//! What the engine tells of by itself, kept until the arbiter looks.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use locks_core::{HolderInfo, LostCause, Observer, Token};

/// Requests that were woken, and holds that were ended from outside, in their order.
#[derive(Default)]
pub(super) struct Happened {
    woken: Mutex<Vec<(u32, u64)>>,
    lost: Mutex<Vec<Loss>>,
}

/// A hold that was ended from outside.
pub(super) struct Loss {
    /// Its session's (A4 of the arbiter).
    pub(super) realm: u32,
    pub(super) key: String,
    /// Those of the guards of its nest that are this session's.
    pub(super) tokens: Vec<Token>,
    pub(super) cause: LostCause,
    /// Who had it, and who has it now, if it was stolen.
    pub(super) theft: Option<(HolderInfo, HolderInfo)>,
}

impl Happened {
    pub(super) fn take_woken(&self) -> Vec<(u32, u64)> {
        std::mem::take(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn take_lost(&self) -> Vec<Loss> {
        std::mem::take(&mut *self.lost.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a request that waits is woken with.
    pub(super) fn waker(self: &Arc<Self>, realm: u32, request: u64) -> Waker {
        Waker::from(Arc::new(RequestWaker { happened: self.clone(), realm, request }))
    }
}

impl Observer for Happened {
    fn lost(&self, ended: &locks_core::Loss<'_>) {
        let mut losses = Vec::<Loss>::new();
        for (token, owner) in ended.guards.iter().zip(ended.owners) {
            let realm = owner.expect("A4: every guard has an owner of its session's realm").realm();
            let known = losses.iter().position(|loss| loss.realm == realm);
            let at = known.unwrap_or_else(|| {
                let key = ended.key.to_owned();
                let (tokens, cause, theft) = (Vec::new(), ended.cause, None);
                losses.push(Loss { realm, key, tokens, cause, theft });
                losses.len() - 1
            });
            losses[at].tokens.push(*token);
        }
        // One theft, although it may concern several sessions.
        if let Some(first) = losses.first_mut() {
            first.theft = ended.thief.map(|thief| (ended.holder.clone(), thief.clone()));
        }
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).append(&mut losses);
    }
}

struct RequestWaker {
    happened: Arc<Happened>,
    realm: u32,
    request: u64,
}

impl Wake for RequestWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut woken = self.happened.woken.lock().unwrap_or_else(PoisonError::into_inner);
        woken.push((self.realm, self.request));
    }
}
