//! A thread or a task of a client: it asks, holds, lets go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Wake, Waker};

use locks_core::{CallSite, Mode, Moment, Query, Token};

use super::load::{Around, ask};
use super::world::World;
use crate::client::Answer;
use crate::history::{Id, What};

pub(super) struct Task {
    /// Its number, if it is a thread.
    thread: Option<u64>,
    pub(super) holds: Vec<Hold>,
    doing: Doing,
    woken: Arc<Woken>,
}

/// A guard.
pub(super) struct Hold {
    pub(super) request: u64,
    pub(super) keys: Vec<String>,
    mode: Mode,
    until: Moment,
    is_disowned: bool,
}

enum Doing {
    Rests { until: Moment },
    Waits { request: u64, keys: Vec<String>, mode: Mode, gives_up_at: Option<Moment> },
    Calls { call: u64 },
    Releases { request: u64 },
    Done,
}

/// It is polled once it has been woken, and not before.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Task {
    pub(super) fn new(thread: Option<u64>, now: Moment) -> Self {
        let woken = Arc::new(Woken(AtomicBool::new(false)));
        Self { thread, holds: Vec::new(), doing: Doing::Rests { until: now }, woken }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.doing, Doing::Done)
    }

    /// When there is something for it to do.
    pub(super) fn is_due(&self, now: Moment) -> Option<Moment> {
        let woken = self.woken.0.load(Ordering::Relaxed).then_some(now);
        match self.doing {
            Doing::Done => None,
            Doing::Rests { until } => Some(until),
            Doing::Waits { gives_up_at, .. } => [woken, gives_up_at].into_iter().flatten().min(),
            Doing::Calls { .. } | Doing::Releases { .. } => woken,
        }
    }
}

impl World {
    pub(super) fn run_task(&mut self, index: usize, task: usize) {
        self.clients[index].session.take_wakers().run();
        let it = &mut self.clients[index].tasks[task];
        let woken = it.woken.0.swap(false, Ordering::Relaxed);
        let mut waker = Waker::from(it.woken.clone());
        match it.doing {
            Doing::Done => {}
            Doing::Rests { until } if until > self.now => {}
            Doing::Rests { .. } => self.choose(index, task),
            Doing::Waits { request, gives_up_at, .. }
                if gives_up_at.is_some_and(|at| at <= self.now) =>
            {
                self.clients[index].session.withdraw(request);
                let it = self.id(index, request);
                self.tell(What::GivenUp { it });
                self.rest(index, task);
            }
            Doing::Waits { .. } if !woken => {}
            Doing::Waits { request, .. } => {
                match self.clients[index].session.poll_acquire(request, Some(&mut waker)) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(token)) => self.granted(index, task, token),
                    Poll::Ready(Err(error)) => {
                        let it = self.id(index, request);
                        self.tell(What::Refused { it, why: error.kind() });
                        self.rest(index, task);
                    }
                }
            }
            Doing::Calls { call } if woken => {
                match self.clients[index].session.poll_call(call, Some(&mut waker)) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(Answer::Listed(infos))) => self.listed(index, task, &infos),
                    Poll::Ready(_) => self.rest(index, task),
                }
            }
            Doing::Releases { request } if woken => {
                if let Poll::Ready(ended) =
                    self.clients[index].session.poll_ended(request, Some(&mut waker))
                {
                    if ended.is_ok() {
                        let it = self.id(index, request);
                        self.tell(What::Confirmed { it });
                    }
                    self.rest(index, task);
                }
            }
            Doing::Calls { .. } | Doing::Releases { .. } => {}
        }
    }

    /// What the task does next.
    fn choose(&mut self, index: usize, task: usize) {
        self.rest(index, task);
        let now = self.now;
        let winding_up = self.is_winding_up;
        let over = |hold: &Hold| hold.until <= now || winding_up;
        let holds = &self.clients[index].tasks[task].holds;
        if let Some(over) = holds.iter().rposition(over) {
            // Usually the innermost one.
            let any = self.random.percent(15);
            let which = if any { self.random.within(0..over as u64 + 1) as usize } else { over };
            return self.let_go(index, task, which);
        }
        if winding_up {
            if holds.is_empty() {
                self.clients[index].tasks[task].doing = Doing::Done;
            }
            return;
        }
        let held = holds.len();
        let requests = holds.iter().map(|hold| hold.request).collect::<Vec<_>>();
        match self.random.within(0..100) {
            0..10 => {
                if let Some(request) = self.random.pick(&requests).copied() {
                    self.look(index, request);
                }
            }
            10..16 => {
                if let Some(request) = self.random.pick(&requests).copied() {
                    let call = self.clients[index].session.refresh(request);
                    self.call(index, task, call);
                }
            }
            16..20 => {
                let call = self.clients[index].session.inspect(Query::All);
                self.call(index, task, call);
            }
            20..23 => {
                let call = self.clients[index].session.status();
                self.call(index, task, call);
            }
            23..26 => {
                if let Some(request) = self.random.pick(&requests).copied() {
                    self.detach_owner(index, task, request);
                }
            }
            percent if held < 3 && (held == 0 || percent < 60) => self.acquire(index, task),
            _ => {}
        }
    }

    fn detach_owner(&mut self, index: usize, task: usize, request: u64) {
        let client = &mut self.clients[index];
        client.session.detach_owner(request);
        for hold in &mut client.tasks[task].holds {
            hold.is_disowned |= hold.request == request;
        }
        let it = self.id(index, request);
        self.tell(What::Disowned { it });
    }

    fn acquire(&mut self, index: usize, task: usize) {
        let client = &mut self.clients[index];
        let it = &client.tasks[task];
        let own = it.holds.iter().filter(|hold| !hold.is_disowned);
        let around = Around {
            thread: it.thread,
            held: own.map(|hold| (hold.keys.as_slice(), hold.mode)).collect(),
            is_anonymous: it.holds.iter().any(|hold| hold.is_disowned || it.thread.is_none()),
            kept: client.kept,
            lease: client.lease,
        };
        let (acquire, told) = ask(&self.plan, &mut self.random, &around);
        let (keys, mode) = (told.keys.clone(), told.mode);
        let site = CallSite::interned("src/simulated.rs:7");
        let site = site.filter(|_| self.random.percent(50));
        let now = client.session.now();
        let Ok(request) = client.session.acquire(acquire, site, now) else { return };
        let gives_up = self.random.percent(15).then(|| self.random.millis(0..120));
        let gives_up_at = gives_up.map(|after| self.now.after(after));
        let it = &mut client.tasks[task];
        it.doing = Doing::Waits { request, keys, mode, gives_up_at };
        // It is polled once to leave its waker.
        it.woken.0.store(true, Ordering::Relaxed);
        let it = self.id(index, request);
        self.tell(What::Asked { it, ask: told });
    }

    fn granted(&mut self, index: usize, task: usize, token: Token) {
        let now = self.now;
        let length = self.random.percent(85);
        let length = if length { self.random.millis(0..40) } else { self.random.millis(40..500) };
        let it = &mut self.clients[index].tasks[task];
        let Doing::Waits { request, keys, mode, .. } =
            std::mem::replace(&mut it.doing, Doing::Done)
        else {
            return;
        };
        self.ask_rivals(&keys);
        let until = now.after(length);
        let hold = Hold { request, keys, mode, until, is_disowned: false };
        self.clients[index].tasks[task].holds.push(hold);
        let it = self.id(index, request);
        self.tell(What::Granted { it, token });
        self.rest(index, task);
    }

    /// Whoever takes himself to hold one of these keys looks again.
    fn ask_rivals(&mut self, keys: &[String]) {
        let mut rivals = Vec::new();
        for (index, client) in self.clients.iter().enumerate() {
            if client.stopped_until.is_none() && !client.is_gone {
                let holds = client.tasks.iter().flat_map(|task| &task.holds);
                let rival = holds.filter(|hold| hold.keys.iter().any(|key| keys.contains(key)));
                rivals.extend(rival.map(|hold| (index, hold.request)));
            }
        }
        for (index, request) in rivals {
            self.look(index, request);
        }
    }

    /// Whether the hold is lost.
    fn look(&mut self, index: usize, request: u64) {
        if !self.hears_of_loss(index, request) {
            let it = self.id(index, request);
            self.tell(What::Held { it });
        }
    }

    fn hears_of_loss(&mut self, index: usize, request: u64) -> bool {
        let client = &mut self.clients[index];
        let Poll::Ready(cause) = client.session.poll_lost(request, None) else { return false };
        client.session.end(request);
        client.session.forget_ending(request);
        for task in &mut client.tasks {
            task.holds.retain(|hold| hold.request != request);
        }
        let it = self.id(index, request);
        self.tell(What::Lost { it, cause });
        true
    }

    /// The process does not go on with what it has lost; nor when it was stopped, `resumes`, and
    /// that is the first thing it learns.
    pub(super) fn look_at_all(&mut self, index: usize, resumes: bool) {
        let holds = self.clients[index].tasks.iter().flat_map(|task| &task.holds);
        let requests = holds.map(|hold| hold.request).collect::<Vec<_>>();
        for request in requests {
            if resumes {
                self.look(index, request);
            } else {
                self.hears_of_loss(index, request);
            }
        }
    }

    fn let_go(&mut self, index: usize, task: usize, which: usize) {
        let hold = self.clients[index].tasks[task].holds.remove(which);
        let it = self.id(index, hold.request);
        self.tell(What::Released { it });
        let client = &mut self.clients[index];
        client.session.end(hold.request);
        if self.random.percent(50) {
            client.tasks[task].doing = Doing::Releases { request: hold.request };
            client.tasks[task].woken.0.store(true, Ordering::Relaxed);
        } else {
            client.session.forget_ending(hold.request);
        }
    }

    fn call(&mut self, index: usize, task: usize, call: Result<u64, locks_core::LockError>) {
        if let Ok(call) = call {
            let it = &mut self.clients[index].tasks[task];
            it.doing = Doing::Calls { call };
            it.woken.0.store(true, Ordering::Relaxed);
        }
    }

    /// Now and then somebody's hold, or what is reserved, is ended from outside.
    fn listed(&mut self, index: usize, task: usize, infos: &[locks_core::LockInfo]) {
        self.rest(index, task);
        let tokens = infos.iter().flat_map(|info| {
            let holders = info.holders.iter().filter_map(|holder| holder.token);
            holders.chain(info.reserved_by.iter().copied()).map(|token| (info.key.clone(), token))
        });
        let mut tokens = tokens.collect::<Vec<_>>();
        tokens.sort_unstable();
        if self.random.percent(50)
            && let Some((key, token)) = self.random.pick(&tokens).cloned()
        {
            self.tell(What::Evicting { key: key.clone(), token });
            let call = self.clients[index].session.evict(key, token);
            self.call(index, task, call);
        }
    }

    fn rest(&mut self, index: usize, task: usize) {
        let short = self.random.percent(80);
        let pause = if short { self.random.millis(0..10) } else { self.random.millis(10..60) };
        let it = &mut self.clients[index].tasks[task];
        it.doing = Doing::Rests { until: self.now.after(pause) };
    }

    fn id(&self, index: usize, request: u64) -> Id {
        Id { client: self.clients[index].number, request }
    }
}
