//! The kit over holders in several processes: a backend that can do nothing but exclude. Who
//! holds a key has bound a socket to its name, so the kernel arbitrates and frees what the dead
//! leave behind. It polls; it shows that a backend with no capability at all can pass.

use std::collections::HashMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use locks_core::{
    BackendInfo, Capabilities, ErrorKind, Exclusion, Granted, Hold, HolderInfo, LockBackend,
    LockError, LockInfo, LostCause, Mode, Op, Query, Request, SharedOwner, Token, TokenScope, Wait,
};

/// One thing that the backend gets wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Each client excludes only itself.
    Apart,
    /// Tokens are counted in memory.
    TokensInMemory,
    /// What a client holds is written to a file, which outlives it.
    HoldsOutlive,
    /// Whoever waits writes that to a file, which outlives it and keeps others out.
    WaitsOutlive,
    /// A wait goes on although nobody waits any more.
    WaitsGoOn,
    /// A release is carried out when there is time for it.
    ReleasesLater,
    /// A forked child takes what its parent holds for its own.
    ForksHold,
    /// Silence is taken for contention.
    SilenceIsContention,
    /// Those who share an owner with a holder are let in beside it, and the key is free when that
    /// one has gone.
    GuestsOfTheFirst,
}

/// A client of the arbiter that a directory stands for.
pub(crate) struct Sockets {
    about: BackendInfo,
    held: Arc<Held>,
}

struct Held {
    directory: PathBuf,
    client: (u32, u64),
    flaw: Option<Flaw>,
    sockets: Mutex<HashMap<u64, Taken>>,
    next: AtomicU64,
    tokens: AtomicU64,
    /// The process that holds what it holds.
    process: u32,
    /// Whether it answers nothing.
    hangs: Arc<AtomicBool>,
}

/// A key that is held.
struct Taken {
    /// `None` for a guest.
    _socket: Option<UnixDatagram>,
    token: Token,
    file: Option<PathBuf>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            fs::remove_file(file).unwrap();
        }
    }
}

impl Sockets {
    pub(crate) fn new(directory: PathBuf, flaw: Option<Flaw>) -> Self {
        Self::that_hangs(directory, flaw, Arc::default())
    }

    /// A client that answers nothing while it is told so.
    pub(crate) fn that_hangs(
        directory: PathBuf,
        flaw: Option<Flaw>,
        hangs: Arc<AtomicBool>,
    ) -> Self {
        static CLIENTS: AtomicU64 = AtomicU64::new(0);
        let client = (std::process::id(), CLIENTS.fetch_add(1, Ordering::Relaxed));
        let mut can = Capabilities::plain(Exclusion::Kernel, TokenScope::Directory);
        can.shared_owner = flaw == Some(Flaw::GuestsOfTheFirst);
        let held = Held {
            directory,
            client,
            flaw,
            sockets: Mutex::default(),
            next: AtomicU64::new(1),
            tokens: AtomicU64::new(0),
            process: std::process::id(),
            hangs,
        };
        Self { about: BackendInfo::new("sockets", can), held: Arc::new(held) }
    }

    fn refuse_undeclared(&self, request: &Request<'_>) -> Result<(), LockError> {
        let options = &request.options;
        let has_guests = self.about.capabilities.shared_owner;
        let asked = [
            ("shared", options.mode == Mode::Shared),
            ("permits", matches!(options.mode, Mode::Permit { .. })),
            ("steal_after", options.steal_after.is_some()),
            ("hold_at_least", options.hold_at_least.is_some()),
            ("hold_at_most", options.hold_at_most.is_some()),
            ("reentrant", options.reentrant && !has_guests),
            ("shared_owner", request.caller.shared.is_some() && !has_guests),
            (
                "owner",
                request.caller.owner.is_some_and(locks_core::OwnerId::is_shared) && !has_guests,
            ),
            ("several keys", request.keys.single().is_none()),
            ("fair", options.fair == Some(true)),
        ];
        match asked.into_iter().find(|(_, asked)| *asked) {
            Some((option, _)) => Err(self.cannot(option)),
            None => Ok(()),
        }
    }

    fn cannot(&self, option: &str) -> LockError {
        LockError::unsupported(&self.about.name, option, "it only excludes")
    }
}

impl Held {
    /// Takes the key if nobody has it.
    fn take(&self, key: &str, owner: Option<SharedOwner>) -> io::Result<Option<Taken>> {
        if self.is_promised_elsewhere() {
            return Ok(None);
        }
        let mut hasher = DefaultHasher::new();
        let client = if self.flaw == Some(Flaw::Apart) { self.client } else { (0, 0) };
        (&self.directory, key, client).hash(&mut hasher);
        let name = format!("locks-conformance-{:x}", hasher.finish());
        let socket = match UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?) {
            Ok(socket) => socket,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Ok(owner.and_then(|owner| self.enter(&name, owner)));
            }
            Err(error) => return Err(error),
        };
        let mut file = None;
        if matches!(self.flaw, Some(Flaw::HoldsOutlive | Flaw::ReleasesLater)) {
            let path = self.directory.join(format!("{name}.held"));
            if fs::exists(&path)? {
                return Ok(None);
            }
            fs::write(&path, "")?;
            file = Some(path);
        }
        let token = self.next_token(&name)?;
        if self.flaw == Some(Flaw::GuestsOfTheFirst) {
            let host = owner.map_or_else(String::new, |owner| format!("{owner} {token}"));
            fs::write(self.directory.join(format!("{name}.host")), host)?;
        }
        Ok(Some(Taken { _socket: Some(socket), token, file }))
    }

    /// Joins the one that has the key, if that has the same owner.
    fn enter(&self, name: &str, owner: SharedOwner) -> Option<Taken> {
        let host = fs::read_to_string(self.directory.join(format!("{name}.host"))).ok()?;
        let (theirs, token) = host.split_once(' ')?;
        let token = Token::new(token.parse().ok()?);
        (theirs == owner.to_string()).then_some(Taken { _socket: None, token, file: None })
    }

    /// For the flaw that lets nobody in while another process waits for anything.
    fn is_promised_elsewhere(&self) -> bool {
        let waiter = fs::read_to_string(self.directory.join("waiter")).ok();
        waiter.is_some_and(|pid| pid != std::process::id().to_string())
    }

    /// Counted in a file that only the holder of the key writes.
    fn next_token(&self, name: &str) -> io::Result<Token> {
        if self.flaw == Some(Flaw::TokensInMemory) {
            return Ok(Token::new(self.tokens.fetch_add(1, Ordering::Relaxed) + 1));
        }
        let (path, draft) = (self.directory.join(name), self.directory.join(format!("{name}.new")));
        let last = match fs::read_to_string(&path) {
            Ok(text) => text.parse::<u64>().map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        fs::write(&draft, (last + 1).to_string())?;
        fs::rename(draft, path)?;
        Ok(Token::new(last + 1))
    }

    fn is_forked(&self) -> bool {
        self.process != std::process::id() && self.flaw != Some(Flaw::ForksHold)
    }

    fn keep(&self, taken: Taken) -> Granted {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let hold = Hold::new(id, taken.token);
        self.sockets.lock().unwrap().insert(id, taken);
        Granted::new(hold)
    }
}

impl LockBackend for Sockets {
    fn about(&self) -> &BackendInfo {
        &self.about
    }

    fn acquire<'a>(&'a self, request: Request<'a>) -> Op<'a, Granted> {
        let checked = request.keys.check().and_then(|()| request.options.check());
        if let Err(error) = checked.and_then(|()| self.refuse_undeclared(&request)) {
            return Op::failed(error);
        }
        let key = request.keys.single().expect("several keys have been refused").to_owned();
        if self.held.hangs.load(Ordering::SeqCst) {
            return Op::failed(match self.held.flaw {
                Some(Flaw::SilenceIsContention) => LockError::new(ErrorKind::Contended, key),
                _ => LockError::unavailable("sockets", "it says nothing"),
            });
        }
        match self.held.take(&key, request.caller.shared) {
            Ok(Some(taken)) => return Op::ready(self.held.keep(taken)),
            Err(error) => return Op::failed(LockError::unavailable("sockets", error)),
            Ok(None) => {}
        }
        let deadline = match request.wait() {
            Wait::Try => return Op::failed(LockError::new(ErrorKind::Contended, key)),
            Wait::Forever => None,
            Wait::AtMost(limit) => Instant::now().checked_add(limit),
        };
        Op::later(Waiting::start(self.held.clone(), key, deadline))
    }

    fn release(&self, hold: Hold) -> Op<'static, ()> {
        let id = hold.id().expect("its own holds have one");
        let taken = self.held.sockets.lock().unwrap().remove(&id);
        if self.held.flaw == Some(Flaw::ReleasesLater) {
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(100));
                drop(taken);
            });
        }
        Op::ready(())
    }

    fn poll_lost(&self, _: &Hold, _: Option<&mut Context<'_>>) -> Poll<LostCause> {
        if self.held.is_forked() { Poll::Ready(LostCause::Forgotten) } else { Poll::Pending }
    }

    fn unwatch(&self, _: &Hold, _: &Waker) {}

    fn refresh(&self, _: &Hold) -> Op<'static, ()> {
        if self.held.is_forked() {
            let cause = LostCause::Forgotten;
            return Op::failed(LockError::new(ErrorKind::Lost { cause }, ""));
        }
        Op::ready(())
    }

    fn detach_owner(&self, _: &Hold) {}

    fn mark_done(&self, _: &Hold) {}

    fn stolen_from(&self, _: &Hold) -> Vec<HolderInfo> {
        Vec::new()
    }

    fn share(&self, _: &Hold) -> Op<'static, ()> {
        Op::failed(LockError::unsupported("it", "downgrade", "it has no shared holds"))
    }

    fn keys(&self, _: &Hold) -> Vec<String> {
        Vec::new()
    }

    fn inspect(&self, _: Query) -> Op<'static, Vec<LockInfo>> {
        Op::failed(self.cannot("list"))
    }

    fn evict(&self, _: &str, _: Token) -> Op<'static, bool> {
        Op::failed(self.cannot("evict"))
    }
}

/// A request that a thread tries again and again for.
struct Waiting(Arc<Mutex<Tries>>, Arc<Held>);

#[derive(Default)]
struct Tries {
    outcome: Option<Result<Taken, LockError>>,
    waker: Option<Waker>,
    given_up: bool,
}

impl Waiting {
    fn start(held: Arc<Held>, key: String, deadline: Option<Instant>) -> Self {
        if held.flaw == Some(Flaw::WaitsOutlive) && !held.is_promised_elsewhere() {
            fs::write(held.directory.join("waiter"), std::process::id().to_string()).unwrap();
        }
        let tries = Arc::new(Mutex::new(Tries::default()));
        let waiting = Self(tries.clone(), held.clone());
        thread::spawn(move || {
            loop {
                let (last, waker) = {
                    let mut tries = tries.lock().unwrap();
                    let last = tries.once(&held, &key, deadline);
                    (last, tries.waker.take_if(|_| last))
                };
                if last {
                    return waker.into_iter().for_each(Waker::wake);
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        waiting
    }
}

impl Tries {
    /// Tries once; whether it was the last time. Whoever gives up waits for it, so that nothing
    /// is taken afterwards.
    fn once(&mut self, held: &Held, key: &str, deadline: Option<Instant>) -> bool {
        if self.given_up && held.flaw != Some(Flaw::WaitsGoOn) {
            return true;
        }
        let outcome = match held.take(key, None) {
            Ok(Some(taken)) => Ok(taken),
            Ok(None) if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                Err(LockError::new(ErrorKind::Timeout, key))
            }
            Ok(None) => return false,
            Err(error) => Err(LockError::unavailable("sockets", error)),
        };
        match outcome {
            Ok(taken) if self.given_up => drop(held.keep(taken)),
            outcome => self.outcome = Some(outcome),
        }
        true
    }
}

impl Future for Waiting {
    type Output = Result<Granted, LockError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut tries = self.0.lock().unwrap();
        match tries.outcome.take() {
            Some(outcome) => Poll::Ready(outcome.map(|taken| self.1.keep(taken))),
            None => {
                tries.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut tries = self.0.lock().unwrap();
        tries.given_up = true;
        tries.outcome = None;
    }
}
