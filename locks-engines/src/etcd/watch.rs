//! Who is called when: a picture of each key that somebody of this process waits for.
//!
//! Each picture is kept by a watch of the key, so that a waiter claims when its turn has come and
//! not whenever something happens. It only hints: what counts is what a claim finds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use locks_core::{AcquisitionId, Mode, Wake};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use tonic::Status;

use super::cluster::Cluster;
use super::layout::{EtcdLayout, Kind, Span};
use super::record::Record;
use super::rpc::Rpc;
use super::standing::Entries;
use super::wire::{
    Event, KeyValue, WatchCancel, WatchCreate, WatchRequest, WatchResponse, Watching,
};
use crate::link::Link;

/// The watch of what this client has to hear of.
const INBOX: i64 = 1;
/// One that waits claims each second; what has not for so long has given up.
const FORGOTTEN: Duration = Duration::from_secs(5);

/// The watches of a connection.
pub(super) struct Watches {
    requests: UnboundedSender<WatchRequest>,
    layout: EtcdLayout,
    inbox: Span,
    link: Weak<Link<Cluster>>,
    state: Mutex<WatchState>,
}

struct WatchState {
    next: i64,
    keys: HashMap<i64, String>,
    pictures: HashMap<String, Picture>,
}

struct Picture {
    watch: i64,
    /// Everything of the key.
    entries: Entries,
    /// The last change that it knows of, and when it heard of it.
    revision: i64,
    changed: Instant,
    waiters: Vec<Waiter>,
}

/// Somebody of this process who waits for a key.
#[derive(Clone, Debug)]
pub(super) struct Waiter {
    pub(super) id: AcquisitionId,
    pub(super) mode: Mode,
    /// Claims whenever something ends: it steals, or does not queue.
    pub(super) is_eager: bool,
    /// When its place was created.
    pub(super) place: Option<i64>,
    pub(super) asked: Instant,
}

/// How a waiter stands by a picture.
#[derive(Debug, PartialEq, Eq)]
enum Chance {
    Now,
    /// The one in front of it could go; once it is taken to be gone, after so long, there is a
    /// chance.
    After(Duration),
    None,
}

impl Watches {
    /// Opens the stream, with the watch of the client's inbox on it. `ended` is called once, at its
    /// end.
    ///
    /// # Errors
    /// Those of the call, and what the user may not watch.
    pub(super) async fn open(
        rpc: &Rpc,
        link: &Arc<Link<Cluster>>,
        ended: impl FnOnce(String) + Send + 'static,
    ) -> Result<Arc<Self>, Status> {
        let (requests, outgoing) = unbounded_channel();
        let layout = link.target.layout.clone();
        let inbox = layout.inbox(&link.client);
        let state = WatchState { next: INBOX + 1, keys: HashMap::new(), pictures: HashMap::new() };
        let watches = Arc::new(Self {
            requests,
            layout,
            inbox: inbox.clone(),
            link: Arc::downgrade(link),
            state: Mutex::new(state),
        });
        watches.create(INBOX, inbox, 0);
        let path = "/etcdserverpb.Watch/Watch";
        let mut answers = rpc.stream::<WatchRequest, WatchResponse>(path, outgoing).await?;
        let first = tokio::time::timeout(rpc.patience(), answers.message()).await;
        let first = first.map_err(|_| Status::unavailable("a watch is not answered"))??;
        if let Some(refused) = first.filter(|answer| answer.canceled) {
            return Err(match refused.cancel_reason.contains("permission denied") {
                true => Status::permission_denied(refused.cancel_reason),
                false => Status::unauthenticated(refused.cancel_reason),
            });
        }
        let heard = Arc::downgrade(&watches);
        tokio::spawn(async move {
            let why = loop {
                let answer = match answers.message().await {
                    Ok(Some(answer)) => answer,
                    Ok(None) => break "the stream of watches ended".to_owned(),
                    Err(status) => break status.message().to_owned(),
                };
                let Some(watches) = heard.upgrade() else { return };
                if let Err(why) = watches.hear(answer) {
                    break why;
                }
            };
            ended(why);
        });
        Ok(watches)
    }

    /// Has the waiter called when its turn has come; `found` is what there was of the key as of
    /// `revision`.
    pub(super) fn wait(
        self: &Arc<Self>,
        key: &str,
        waiter: Waiter,
        revision: i64,
        found: impl FnOnce() -> Entries,
    ) {
        let mut state = self.state();
        let state = &mut *state;
        if state.pictures.len() == state.pictures.capacity() {
            self.prune(state);
        }
        let picture = state.pictures.entry(key.to_owned()).or_insert_with(|| {
            let watch = state.next;
            state.next += 1;
            state.keys.insert(watch, key.to_owned());
            self.create(watch, self.layout.key(key), revision + 1);
            let changed = Instant::now();
            Picture { watch, entries: found(), revision, changed, waiters: Vec::new() }
        });
        picture.waiters.retain(|other| other.id != waiter.id);
        picture.waiters.push(waiter);
        // What has changed since the waiter looked does not come once more.
        let is_ahead = picture.revision > revision;
        self.call(key, picture, is_ahead);
    }

    /// The waiter waits no more.
    pub(super) fn leave(&self, key: &str, id: AcquisitionId) {
        let mut state = self.state();
        let Some(picture) = state.pictures.get_mut(key) else { return };
        picture.waiters.retain(|waiter| waiter.id != id);
        if picture.waiters.is_empty() {
            let watch = picture.watch;
            state.pictures.remove(key);
            state.keys.remove(&watch);
            self.ask(Watching::Cancel(WatchCancel { watch_id: watch }));
        }
    }

    /// Gives up pictures that nobody looks at any more.
    fn prune(&self, state: &mut WatchState) {
        state.pictures.retain(|_, picture| {
            let is_seen = picture.waiters.iter().any(|waiter| waiter.asked.elapsed() < FORGOTTEN);
            if !is_seen {
                state.keys.remove(&picture.watch);
                self.ask(Watching::Cancel(WatchCancel { watch_id: picture.watch }));
            }
            is_seen
        });
    }

    /// For how long the key has been as it was just found, as far as is known.
    pub(super) fn idle(&self, key: &str, found: &Entries) -> Duration {
        let state = self.state();
        // A picture of something else is late.
        let picture = state.pictures.get(key).filter(|picture| picture.entries == *found);
        picture.map_or(Duration::ZERO, |picture| picture.changed.elapsed())
    }

    fn create(&self, watch_id: i64, Span(key, range_end): Span, start_revision: i64) {
        self.ask(Watching::Create(WatchCreate { key, range_end, start_revision, watch_id }));
    }

    fn ask(&self, request: Watching) {
        // Once the stream has ended the connection is given up.
        let _ = self.requests.send(WatchRequest { request: Some(request) });
    }

    /// # Errors
    /// Why the stream is of no further use.
    fn hear(self: &Arc<Self>, answer: WatchResponse) -> Result<(), String> {
        if answer.canceled && answer.created {
            // The proof of who the user is came with the stream, and does not hold any more.
            return Err("a watch was refused".to_owned());
        }
        if answer.watch_id == INBOX {
            // Cancelled because what it had come to has been compacted.
            if answer.compact_revision > 0 {
                self.create(INBOX, self.inbox.clone(), 0);
            }
            self.notice(answer.events);
            return Ok(());
        }
        let mut state = self.state();
        let Some(key) = state.keys.get(&answer.watch_id).cloned() else { return Ok(()) };
        if answer.canceled {
            // What it starts from has been compacted: the next claim begins anew.
            state.keys.remove(&answer.watch_id);
            state.pictures.remove(&key);
            drop(state);
            self.wake(key);
            return Ok(());
        }
        let Some(picture) = state.pictures.get_mut(&key) else { return Ok(()) };
        if answer.events.is_empty() {
            return Ok(());
        }
        for event in answer.events {
            let Some(kv) = event.kv else { continue };
            picture.revision = picture.revision.max(kv.mod_revision);
            match event.kind {
                0 => {
                    picture.entries.insert(kv.key.clone(), (kv.create_revision, absent_after(&kv)))
                }
                _ => picture.entries.remove(&kv.key),
            };
        }
        picture.changed = Instant::now();
        picture.waiters.retain(|waiter| waiter.asked.elapsed() < FORGOTTEN);
        self.call(&key, picture, true);
        Ok(())
    }

    /// Calls those of the key whose turn it is, now or when the head of the queue is taken to be
    /// gone.
    fn call(self: &Arc<Self>, key: &str, picture: &Picture, may_go: bool) {
        let chances = picture.waiters.iter().map(|waiter| self.chance(waiter, picture));
        let mut after = None;
        for chance in chances {
            match chance {
                Chance::Now if may_go => after = Some(Duration::ZERO),
                Chance::After(pause) => {
                    after = Some(after.map_or(pause, |other: Duration| other.min(pause)))
                }
                Chance::Now | Chance::None => {}
            }
        }
        let Some(pause) = after else { return };
        let (watches, key) = (Arc::downgrade(self), key.to_owned());
        let (watch, changed) = (picture.watch, picture.changed);
        // The sink is not called while the pictures are locked.
        tokio::spawn(async move {
            if !pause.is_zero() {
                tokio::time::sleep_until(changed + pause).await;
            }
            let Some(watches) = watches.upgrade() else { return };
            let is_same = {
                let state = watches.state();
                let picture = state.pictures.get(&key);
                picture.is_some_and(|now| now.watch == watch && now.changed == changed)
            };
            if pause.is_zero() || is_same {
                watches.wake(key);
            }
        });
    }

    fn chance(&self, waiter: &Waiter, picture: &Picture) -> Chance {
        if waiter.is_eager {
            return Chance::Now;
        }
        let (mut used, mut unshared) = (false, false);
        let mut first: Option<(i64, u8, Duration)> = None;
        let mut ahead_unshared = false;
        for (name, (created, absent_after)) in &picture.entries {
            let Some(name) = self.layout.name(name) else { continue };
            match name.kind {
                Kind::Hold | Kind::Reservation => {
                    used = true;
                    unshared |= name.mode != b'2';
                }
                Kind::Place if name.id == waiter.id => {}
                Kind::Place if waiter.place.is_none_or(|own| *created < own) => {
                    ahead_unshared |= name.mode != b'2';
                    if first.is_none_or(|(earliest, ..)| *created < earliest) {
                        first = Some((*created, name.mode, *absent_after));
                    }
                }
                Kind::Place => {}
            }
        }
        let (is_free, is_blocked) = match waiter.mode {
            Mode::Exclusive => (!used, first.is_some()),
            Mode::Shared => (!unshared, ahead_unshared),
            // How many there may be is not known here.
            Mode::Permit { .. } => (true, false),
        };
        let Some((_, mode, absent_after)) = first.filter(|_| is_free && is_blocked) else {
            return if is_free && !is_blocked { Chance::Now } else { Chance::None };
        };
        let head_can_go = if mode == b'2' { !unshared } else { !used };
        if head_can_go { Chance::After(absent_after) } else { Chance::None }
    }

    fn notice(&self, events: Vec<Event>) {
        let puts = events.into_iter().filter(|event| event.kind == 0);
        for kv in puts.filter_map(|event| event.kv) {
            if let Some(key) = EtcdLayout::noticed(&kv.key) {
                self.wake(key.to_owned());
            }
        }
    }

    fn wake(&self, key: String) {
        if let Some(link) = self.link.upgrade() {
            link.wake(&Wake::Key(key));
        }
    }

    fn state(&self) -> MutexGuard<'_, WatchState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn absent_after(kv: &KeyValue) -> Duration {
    Record::read(&kv.value).map_or(Duration::ZERO, |record| record.absent_after())
}
