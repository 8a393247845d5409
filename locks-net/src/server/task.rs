use std::collections::BTreeSet;
use std::future;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, PoisonError};

use locks_core::{ErrorKind, LockError};

use super::accept::Listener;
use super::driver::{Driver, Round};
use super::log::{Log, LogLevel};
use super::machine_time::MachineTime;
use super::observer::Inquiries;
use super::process;
use super::ready_queue::ReadyQueue;
use super::socket_file::SocketFile;
use crate::access::Clients;
use crate::arbiter::{Arbiter, ArbiterSetup, Limits};
use crate::journal::{Recovered, Store};
use crate::secret::{fill, random};
use crate::tls::ServerTls;

/// All that a server is made of, on its way to its thread.
#[derive(Debug)]
pub(super) struct ServerTask {
    pub(super) store: Store,
    pub(super) recovered: Recovered,
    pub(super) limits: Limits,
    pub(super) clients: Clients,
    pub(super) listening: Vec<Listening>,
    pub(super) log: Log,
}

/// A socket that listens already.
#[derive(Debug)]
pub(super) enum Listening {
    Unix(UnixListener, SocketFile, BTreeSet<u32>),
    Tcp(TcpListener, Arc<ServerTls>),
}

impl ServerTask {
    /// Serves until the end.
    pub(super) fn run(
        self,
        ready_queue: &Arc<ReadyQueue>,
        inquiries: &Arc<Inquiries>,
        begun: impl FnOnce(),
    ) -> Result<(), LockError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(failed)?;
        let _entered = runtime.enter();
        let log = self.log.clone();
        let mut driver = self.into_driver(ready_queue)?.answering(inquiries);
        log.say(LogLevel::Info, "started", &format!("process {}", std::process::id()));
        begun();
        // Spawned: the task that a runtime was built for is woken by a system call. Without a
        // budget: of many sockets that are ready, those beyond it would come in another order (C3).
        let serving = runtime.spawn(tokio::task::unconstrained(async move {
            loop {
                match future::poll_fn(|cx| driver.poll(cx)).await {
                    Round::LookOn => {
                        // Whoever is to say something may want this processor.
                        std::thread::yield_now();
                        tokio::task::yield_now().await;
                    }
                    Round::Over(outcome) => return outcome,
                }
            }
        }));
        match runtime.block_on(serving) {
            Ok(outcome) => {
                match &outcome {
                    Ok(()) => log.say(LogLevel::Info, "stopped", "it was told to"),
                    Err(error) => log.say(LogLevel::Error, "stopped", &error.to_string()),
                }
                outcome
            }
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(failed(error.into())),
            },
        }
    }

    fn into_driver(self, ready_queue: &Arc<ReadyQueue>) -> Result<Driver, LockError> {
        let ServerTask { store, recovered, limits, clients, listening, log } = self;
        let time = MachineTime::new();
        let store = Arc::new(Mutex::new(store));
        let promising = Arc::clone(&store);
        let arbiter = Arbiter::new(ArbiterSetup {
            limits: limits.clone(),
            server: random().map_err(failed)?,
            process: process::name(std::process::id()).unwrap_or_default(),
            clock: time.awake,
            boot_clock: Arc::clone(&time.boot),
            random: Box::new(|bytes| fill(bytes).expect("the kernel's random numbers do not end")),
            ledger: recovered.ledger,
            floor: recovered.floor,
            silent_for: recovered.silent_for,
            promise: Box::new(move |token, lease, bytes| {
                let mut store = promising.lock().unwrap_or_else(PoisonError::into_inner);
                store.promise(token, lease, bytes).map_err(|error| error.to_string())
            }),
        })?;
        let (sessions, keys) = (arbiter.live_sessions(), arbiter.live_keys());
        if sessions > 0 {
            let text = format!("{sessions} sessions and {keys} keys from the server before");
            log.say(LogLevel::Info, "taken over", &text);
        }
        let mut driver =
            Driver::new(Arc::clone(ready_queue), arbiter, store, limits, time.boot, log);
        driver.let_in(clients);
        for listening in listening {
            match listening {
                Listening::Unix(listener, file, users) => {
                    let listener = tokio::net::UnixListener::from_std(listener).map_err(failed)?;
                    driver.listen(Some(file), |ready_source| {
                        Listener::unix(listener, users, ready_source)
                    });
                }
                Listening::Tcp(listener, tls) => {
                    let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
                    driver.listen(None, |ready_source| Listener::tcp(listener, tls, ready_source));
                }
            }
        }
        Ok(driver)
    }
}

fn failed(error: io::Error) -> LockError {
    let why = format!("the server cannot start: {error}");
    LockError::new(ErrorKind::Io, "").with_message(why).with_source(error)
}
