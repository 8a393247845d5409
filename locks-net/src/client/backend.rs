//! The backend that asks a server.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use locks_core::{
    Backend, BackendInfo, BootClock, Capabilities, ErrorKind, Exclusion, Granted, Hold, HolderInfo,
    LockBackend, LockError, LockInfo, LostCause, Op, OwnerChain, ProcessInfo, Query, Request,
    Token, TokenScope,
};

use super::Dial;
use super::dial::AtPath;
use super::generation::Generation;
use super::link::Link;
use super::op::{Acquiring, Calling, Releasing};
#[cfg(feature = "tcp")]
use super::port::AtPort;
use super::session::{Answer, ClientSession, SessionSetup};
#[cfg(feature = "tcp")]
use crate::secret::Secret;
use crate::serving::MachineDial;
#[cfg(feature = "tcp")]
use crate::tls::{Authority, Certificate, Trusted};
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

/// A builder of a [`NetBackend`].
///
/// ```no_run
/// use std::time::Duration;
/// use locks::net::NetBackend;
///
/// let backend = NetBackend::unix("/run/app/locks.sock")
///     .label("billing")
///     .connect(Duration::from_millis(500))
///     .lease(Duration::from_secs(30))
///     .build()?
///     .into_backend();
/// # Ok::<(), locks::LockError>(())
/// ```
#[must_use = "a builder makes no backend until `build`"]
pub struct NetBuilder {
    server: Where,
    lease: Option<Duration>,
    connect: Duration,
    label: Option<String>,
    process: Option<String>,
    allowed: Option<u32>,
    serve: Option<bool>,
    /// Something of TLS was asked for, over a Unix socket.
    in_vain: bool,
}

enum Where {
    Path(PathBuf),
    #[cfg(feature = "tcp")]
    Port(String, Option<Secret>, Trusted),
    Machine(MachineDial),
}

struct BackendHandle {
    about: BackendInfo,
    dial: Arc<dyn Dial>,
    lease: Option<Duration>,
    connect: Duration,
    label: Option<String>,
    process: Option<String>,
    generation: Generation,
}

impl NetBackend {
    /// Returns a builder for the server at a Unix socket of this machine, which `locks serve` or a
    /// [`Server`](crate::Server) of one's own runs.
    pub fn unix(path: impl Into<PathBuf>) -> NetBuilder {
        NetBuilder::new(Where::Path(path.into()))
    }

    /// Returns a builder for the server at a TCP port, as in `host:7420`, by TLS.
    ///
    /// Both sides prove that they know `secret`, which is all that it takes for them to trust each
    /// other. It may be left out where this client has a [certificate](NetBuilder::certificate)
    /// that the server knows, and knows the server by an [authority](NetBuilder::authority) or a
    /// [pin](NetBuilder::pin).
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
    /// directory of their user's ([N3](locks_core::contract#n3-self-serving)): the first that needs
    /// one serves, in a thread of its own, and when it is gone another takes over.
    pub fn machine(directory: impl Into<PathBuf>) -> NetBuilder {
        NetBuilder::new(Where::Machine(MachineDial::new(directory)))
    }

    /// Returns a [`Backend`] for the builder's `on`, the attribute's `backend` or an installation.
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
    /// `Unavailable`, and whatever else keeps the server from answering.
    pub fn status(&self) -> Op<'static, Status> {
        self.call(ClientSession::status, |answer| match answer {
            Answer::Status(status) => Some(status),
            _ => None,
        })
    }

    /// Returns the lease of a hold, and for how long the hold is known to be there from now on,
    /// whatever becomes of the server ([C8](locks_core::contract#c8-loss)); `None` where no end is
    /// known: a process keeps its locks as long as it has a connection over a Unix socket. With
    /// each renewal it is longer again.
    ///
    /// This is for programs that have to put things in order before a lock can pass on.
    pub fn validity(&self, hold: &Hold) -> Option<(Duration, Duration)> {
        let request = number(hold);
        let link = self.0.generation.own_of(request)?;
        let (lease, until) = link.look(|session| session.validity(request))?;
        Some((lease, until.since(link.now())))
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

impl NetBuilder {
    fn new(server: Where) -> Self {
        let connect = Duration::from_secs(2);
        Self {
            server,
            lease: None,
            connect,
            label: None,
            process: None,
            allowed: None,
            serve: None,
            in_vain: false,
        }
    }

    /// Sets the time for which the server keeps locks for a process that has gone silent
    /// ([C8](locks_core::contract#c8-loss)), where a request does not say; the server's default
    /// otherwise. On a Unix socket: for a process that has lost its connection.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Sets the time in which the server has to be reached, and to answer what needs no waiting
    /// ([C2](locks_core::contract#c2-waiting)). Two seconds by default.
    pub fn connect(mut self, connect: Duration) -> Self {
        self.connect = connect;
        self
    }

    /// Sets the label of this process in the errors and lists of others
    /// ([C12](locks_core::contract#c12-holder-information)).
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Sets what this process is called in the errors and lists of others
    /// ([C12](locks_core::contract#c12-holder-information)), in place of its program's name: for
    /// one that holds locks for another program.
    pub fn process(mut self, name: impl Into<String>) -> Self {
        self.process = Some(name.into());
        self
    }

    /// Trusts a Unix socket's server also if it is run by this user; without, only by the same user
    /// or by root ([N5](locks_core::contract#n5-secrets)).
    pub fn allow_user(mut self, uid: u32) -> Self {
        self.allowed = Some(uid);
        self
    }

    /// Trusts only a server whose certificate one of these authorities has signed for the host that
    /// is named, and that is valid now.
    #[cfg(feature = "tcp")]
    pub fn authority(self, authority: Authority) -> Self {
        self.trusting(|trusted| trusted.authority = Some(authority))
    }

    /// Trusts only the server whose certificate has this fingerprint, as the server's log says it.
    #[cfg(feature = "tcp")]
    pub fn pin(self, fingerprint: crate::Fingerprint) -> Self {
        self.trusting(|trusted| trusted.pin = Some(fingerprint))
    }

    /// Shows this certificate to the server, which may let this client in for it without a secret.
    #[cfg(feature = "tcp")]
    pub fn certificate(self, certificate: Certificate) -> Self {
        self.trusting(|trusted| trusted.certificate = Some(certificate))
    }

    #[cfg(feature = "tcp")]
    fn trusting(mut self, change: impl FnOnce(&mut Trusted)) -> Self {
        match &mut self.server {
            Where::Port(.., trusted) => change(trusted),
            Where::Path(_) | Where::Machine(_) => self.in_vain = true,
        }
        self
    }

    /// Sets whether this process may serve, for [`NetBackend::machine`], when no other does. `true`
    /// by default.
    pub fn serve(mut self, serve: bool) -> Self {
        self.serve = Some(serve);
        self
    }

    /// Builds the backend, which does not connect yet.
    ///
    /// # Errors
    /// `NotConfigured` if the address is invalid, if an option does not apply to it, or if one side
    /// would have no proof of the other.
    pub fn build(self) -> Result<NetBackend, LockError> {
        if self.in_vain {
            let why = "`authority`, `pin` and `certificate` are about servers at TCP ports: leave them out";
            return Err(LockError::new(ErrorKind::NotConfigured, "").with_message(why));
        }
        if self.allowed.is_some() && !matches!(self.server, Where::Path(_)) {
            let why = "`allow_user` is about servers at Unix sockets: leave it out";
            return Err(LockError::new(ErrorKind::NotConfigured, "").with_message(why));
        }
        if self.serve.is_some() && !matches!(self.server, Where::Machine(_)) {
            let why = "`serve` is about servers that processes run for each other: leave it out";
            return Err(LockError::new(ErrorKind::NotConfigured, "").with_message(why));
        }
        let (dial, exclusion): (Arc<dyn Dial>, _) = match self.server {
            Where::Path(path) => (Arc::new(AtPath::new(path, self.allowed)), Exclusion::Arbiter),
            #[cfg(feature = "tcp")]
            Where::Port(address, secret, trusted) => {
                (Arc::new(AtPort::new(&address, secret, trusted)?), Exclusion::Lease)
            }
            Where::Machine(machine) => {
                let serves = self.serve.unwrap_or(true);
                (Arc::new(machine.serve(serves)), Exclusion::Arbiter)
            }
        };
        Ok(NetBackend(Arc::new(BackendHandle {
            about: BackendInfo::new(dial.name(), capabilities(exclusion)),
            dial,
            lease: self.lease,
            connect: self.connect,
            label: self.label,
            process: self.process,
            generation: Generation::new(),
        })))
    }
}

fn capabilities(exclusion: Exclusion) -> Capabilities {
    let mut can = Capabilities::process();
    (can.exclusion, can.tokens) = (exclusion, TokenScope::Directory);
    can
}

impl BackendHandle {
    fn link(&self) -> Result<&Arc<Link>, LockError> {
        self.generation.link(|numbers_after| {
            let setup = SessionSetup {
                name: self.about.name.clone(),
                clock: Arc::new(BootClock),
                party: self.party(),
                lease: self.lease,
                connect: self.connect,
                random: Box::new(fill),
            };
            Link::new(self.dial.clone(), setup, numbers_after).map_err(|error| {
                let why = format!("the system has nothing left for a connection: {error}");
                LockError::new(ErrorKind::Io, "").with_message(why).with_source(error)
            })
        })
    }

    /// This process, as others see it.
    fn party(&self) -> ProcessInfo {
        let mut party = ProcessInfo::default();
        party.label.clone_from(&self.label);
        party.pid = Some(std::process::id());
        party.process = self.process.clone().or_else(|| {
            let program = std::env::args_os().next().map(PathBuf::from)?;
            Some(program.file_name()?.to_string_lossy().into_owned())
        });
        if self.about.capabilities.exclusion == Exclusion::Lease {
            let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
            party.host = Some(host);
        }
        party
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

/// For nonces: whoever connects has seen before that there is randomness.
fn fill(bytes: &mut [u8]) {
    let random = crate::secret::random::<32>().expect("the system has given random numbers before");
    bytes.iter_mut().zip(random).for_each(|(byte, random)| *byte = random);
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

impl Drop for BackendHandle {
    fn drop(&mut self) {
        if let Some(link) = self.generation.existing() {
            link.close();
        }
    }
}

impl fmt::Debug for NetBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NetBackend").field(&self.0.about.name).finish()
    }
}

impl fmt::Debug for NetBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetBuilder")
            .field("lease", &self.lease)
            .field("connect", &self.connect)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}
