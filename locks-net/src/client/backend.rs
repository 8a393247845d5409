//! The backend that asks a server.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use locks_core::{
    Backend, BackendInfo, ErrorKind, Granted, Hold, HolderInfo, LockBackend, LockError, LockInfo,
    LostCause, Op, OwnerChain, Query, Request, Token,
};

use super::builder::{NetBuilder, Where};
use super::handle::BackendHandle;
use super::link::Link;
use super::op::{Acquiring, Calling, Releasing};
use super::session::{Answer, ClientSession};
#[cfg(feature = "tcp")]
use crate::secret::Secret;
use crate::serving::MachineDial;
#[cfg(feature = "tcp")]
use crate::tls::Trusted;
use crate::wire::{Acquire, MAX_WITHIN, Status};

/// A backend at a lock server; clones are handles to the same connection.
///
/// It connects when it is first used, works from blocking code and from any executor, and keeps one
/// connection for the whole process, by a thread of its own `locks-net`. While something is held
/// there the connection is kept, and made again if it is lost; ten seconds after the last use it is
/// closed.
///
/// On a Unix socket the process itself keeps its locks, however long it is stopped or busy: the
/// server sees when it is gone. Over TCP a lease does, which the thread renews
/// ([C8](locks_core::contract#c8-loss)); a process that ends without dropping its backend then
/// keeps its locks until their leases run out.
///
/// In a forked child it begins anew, with a connection of its own; guards from before are lost
/// there, and their drop does nothing ([C4](locks_core::contract#c4-release)).
///
/// ```no_run
/// use locks::net::NetBackend;
///
/// let backend = NetBackend::unix("/run/app/locks.sock").build()?.into_backend();
/// let guard = backend.named("invoice:42").acquire()?;
/// # Ok::<(), locks::LockError>(())
/// ```
#[derive(Clone)]
pub struct NetBackend(Arc<BackendHandle>);

impl NetBackend {
    pub(super) fn new(handle: BackendHandle) -> Self {
        Self(Arc::new(handle))
    }

    /// Returns a builder for the server at a Unix socket of this machine, which `locks serve` or a
    /// [`Server`](crate::Server) in a program of your own runs.
    ///
    /// ```no_run
    /// use locks::net::NetBackend;
    ///
    /// let backend = NetBackend::unix("/run/app/locks.sock").build()?.into_backend();
    /// let guard = backend.named("invoice:42").acquire()?;
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn unix(path: impl Into<PathBuf>) -> NetBuilder {
        NetBuilder::new(Where::Path(path.into()))
    }

    /// Returns a builder for the server at a TCP port, as in `host:7420`, by TLS.
    ///
    /// Both sides prove that they know `secret`, and trust each other for that. It may be left out
    /// where this client has a [certificate](NetBuilder::certificate) that the server knows, and
    /// knows the server by an [authority](NetBuilder::authority) or a [pin](NetBuilder::pin).
    ///
    /// ```no_run
    /// use locks::net::{NetBackend, Secret};
    ///
    /// let secret = Secret::read("/etc/app/locks.secret")?;
    /// let backend = NetBackend::tcp("locks.example.org:7420", secret).build()?.into_backend();
    /// # Ok::<(), locks::LockError>(())
    /// ```
    #[cfg(feature = "tcp")]
    pub fn tcp(address: impl Into<String>, secret: impl Into<Option<Secret>>) -> NetBuilder {
        NetBuilder::new(Where::Port(address.into(), secret.into(), Trusted::default()))
    }

    /// Returns a builder for the server that processes of this machine run for each other in a
    /// directory of their user's ([N3](locks_core::contract#n3-self-serving)): the first process
    /// that needs a server runs it, in a thread of its own, and another takes over when it ends.
    ///
    /// ```
    /// use locks::net::NetBackend;
    ///
    /// # let directory = std::env::temp_dir().join(format!("locks-machine-{}", std::process::id()));
    /// let backend = NetBackend::machine(&directory).build()?.into_backend();
    /// let guard = backend.named("invoice:42").acquire()?;
    /// # drop((guard, backend));
    /// # std::fs::remove_dir_all(&directory).unwrap();
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn machine(directory: impl Into<PathBuf>) -> NetBuilder {
        NetBuilder::new(Where::Machine(MachineDial::new(directory)))
    }

    /// Returns a [`Backend`] for the builder's `on`, the attribute's `backend` or an installation.
    ///
    /// ```no_run
    /// use locks::net::NetBackend;
    ///
    /// let backend = NetBackend::unix("/run/app/locks.sock").build()?.into_backend();
    /// locks::install(backend)?;
    /// # Ok::<(), locks::LockError>(())
    /// ```
    pub fn into_backend(self) -> Backend {
        Backend::new(self)
    }

    /// Asks the server for its process, version and load.
    ///
    /// ```
    /// use locks::net::NetBackend;
    ///
    /// # let directory = std::env::temp_dir().join(format!("locks-status-{}", std::process::id()));
    /// let backend = NetBackend::machine(&directory).build()?;
    /// let status = backend.status().block()?;
    /// assert_eq!((status.pid, status.waiters), (std::process::id(), 0));
    /// # drop(backend);
    /// # std::fs::remove_dir_all(&directory).unwrap();
    /// # Ok::<(), locks::LockError>(())
    /// ```
    ///
    /// # Errors
    /// `Unavailable` or another kind if the server does not answer.
    pub fn status(&self) -> Op<'static, Status> {
        self.call(ClientSession::status, |answer| match answer {
            Answer::Status(status) => Some(status),
            _ => None,
        })
    }

    /// The connection of this process.
    pub(super) fn link(&self) -> Result<&Arc<Link>, LockError> {
        self.0.link()
    }

    /// Begins a call, and takes its answer.
    pub(super) fn call<T: Send + 'static>(
        &self,
        begin: impl FnOnce(&mut ClientSession) -> Result<u64, LockError>,
        take: impl FnOnce(Answer) -> Option<T> + Send + 'static,
    ) -> Op<'static, T> {
        let begun = self.0.link().and_then(|link| Ok((link, link.begin(begin)?)));
        let (link, call) = match begun {
            Ok((link, call)) => (link.clone(), call),
            Err(error) => return Op::failed(error),
        };
        let calling = Calling::new(link, call);
        Op::later(async move {
            let answer = calling.await?;
            take(answer).ok_or_else(|| {
                let why = "the server has answered another question than it was asked";
                LockError::new(ErrorKind::Protocol, "").with_message(why)
            })
        })
    }
}

impl NetBackend {
    /// The error of a hold of the parent's, in a child.
    #[cold]
    fn parents(&self, hold: &Hold) -> LockError {
        let keys = self.keys(hold).join("`, `");
        LockError::new(ErrorKind::Lost { cause: PARENTS }, keys).with_token(hold.token())
    }
}

impl LockBackend for NetBackend {
    fn about(&self) -> &BackendInfo {
        &self.0.about
    }

    fn acquire<'a>(&'a self, request: Request<'a>) -> Op<'a, Granted> {
        match self.0.about.check(&request).and_then(|()| self.0.link()) {
            Ok(link) => {
                let (acquire, site) = acquire(&request);
                Op::Later(Box::pin(Acquiring::new(link.clone(), acquire, site)))
            }
            Err(error) => Op::failed(match request.caller.site {
                Some(site) => error.with_site(site),
                None => error,
            }),
        }
    }

    fn release(&self, hold: Hold) -> Op<'static, ()> {
        let request = number(&hold);
        let Some(link) = self.0.generation.own_of(request) else {
            return Op::failed(self.parents(&hold));
        };
        link.with(|session| session.end(request));
        Op::Later(Box::pin(Releasing::new(link.clone(), request)))
    }

    fn poll_lost(&self, hold: &Hold, cx: Option<&mut Context<'_>>) -> Poll<LostCause> {
        let request = number(hold);
        let Some(link) = self.0.generation.own_of(request) else {
            return Poll::Ready(PARENTS);
        };
        match cx {
            None => link.with_news(|session| session.poll_lost(request, None)),
            Some(cx) => {
                let mut waker = cx.waker().clone();
                link.poll_news(|session| session.poll_lost(request, Some(&mut waker)))
            }
        }
    }

    fn unwatch(&self, hold: &Hold, waker: &Waker) {
        let request = number(hold);
        if let Some(link) = self.0.generation.own_of(request) {
            drop(link.look(|session| session.unwatch(request, waker)));
        }
    }

    fn validity(&self, hold: &Hold) -> Option<(Duration, Duration)> {
        let request = number(hold);
        let link = self.0.generation.own_of(request)?;
        let (lease, until) = link.look(|session| session.validity(request))?;
        Some((lease, until.since(link.now())))
    }

    fn refresh(&self, hold: &Hold) -> Op<'static, ()> {
        let request = number(hold);
        if self.0.generation.own_of(request).is_none() {
            return Op::failed(self.parents(hold));
        }
        let done = |answer| matches!(answer, Answer::Done).then_some(());
        self.call(|session| session.refresh(request), done)
    }

    fn detach_owner(&self, hold: &Hold) {
        let request = number(hold);
        if let Some(link) = self.0.generation.own_of(request) {
            link.with(|session| session.detach_owner(request));
        }
    }

    fn mark_done(&self, hold: &Hold) {
        let request = number(hold);
        if let Some(link) = self.0.generation.own_of(request) {
            link.look(|session| session.mark_done(request));
        }
    }

    fn stolen_from(&self, hold: &Hold) -> Vec<HolderInfo> {
        let request = number(hold);
        let link = self.0.generation.own_of(request);
        link.map_or_else(Vec::new, |link| link.look(|session| session.stolen_from(request)))
    }

    fn share(&self, hold: &Hold) -> Op<'static, ()> {
        let request = number(hold);
        if self.0.generation.own_of(request).is_none() {
            return Op::failed(self.parents(hold));
        }
        let done = |answer| matches!(answer, Answer::Done).then_some(());
        self.call(|session| session.share(request), done)
    }

    fn keys(&self, hold: &Hold) -> Vec<String> {
        let request = number(hold);
        let link = self.0.generation.maker_of(request);
        link.map_or_else(Vec::new, |link| link.keys(request))
    }

    fn inspect(&self, query: Query) -> Op<'static, Vec<LockInfo>> {
        self.call(
            |session| session.inspect(query),
            |answer| match answer {
                Answer::Listed(infos) => Some(infos),
                _ => None,
            },
        )
    }

    fn evict(&self, key: &str, token: Token) -> Op<'static, bool> {
        self.call(
            |session| session.evict(key.to_owned(), token),
            |answer| match answer {
                Answer::Evicted(found) => Some(found),
                _ => None,
            },
        )
    }
}

/// What a request says over the wire.
fn acquire(request: &Request<'_>) -> (Box<Acquire>, Option<locks_core::CallSite>) {
    let caller = &request.caller;
    let mut options = request.options;
    options.owner = None;
    options.wait = Some(request.wait());
    let within = caller.within.iter().copied().take(MAX_WITHIN).collect::<OwnerChain>();
    let acquire = Acquire {
        request: 0,
        keys: request.keys.iter().map(str::to_owned).collect(),
        options,
        owner: caller.owner.filter(|_| caller.shared.is_none()),
        shared: caller.shared,
        within,
        opens_scope: caller.opens_scope,
        site: 0,
        waited: Duration::ZERO,
        label: caller.label.clone(),
    };
    (Box::new(acquire), caller.site)
}

/// What has become of a guard of the parent's in a forked child: it is the parent's alone
/// ([C4](locks_core::contract#c4-release)).
const PARENTS: LostCause = LostCause::Forked;

fn number(hold: &Hold) -> u64 {
    hold.id().unwrap_or(u64::MAX)
}

impl fmt::Debug for NetBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NetBackend").field(&self.0.about.name).finish()
    }
}
