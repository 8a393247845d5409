//! `locks serve --http`: what the server does, for monitoring and for people (N12).
//!
//! A thread of its own answers. The server's thread is asked for a snapshot once a second at most,
//! and only while there is a reader.

mod access;
mod answer;
mod api;
mod graph;
mod metrics;
mod page;
mod response;
mod room;
mod seen;
mod stream;

use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use locks::net::ServerObserver;

use self::access::{Hosts, Token};
use self::room::Room;
use self::seen::Seen;
use self::stream::ReadInTime;
use crate::status::{Failure, say};

/// What is said of the page in the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageSettings {
    pub(super) address: SocketAddr,
    /// Names, beside those of this machine, by which it may be called.
    pub(super) hosts: Vec<String>,
    pub(super) token_file: PathBuf,
}

/// A port that is taken, before anything is served there.
#[derive(Debug)]
pub(super) struct Bound {
    listener: TcpListener,
    wanted: PageSettings,
}

/// Where the page is, and who gets in.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) url: String,
    pub(super) token_file: PathBuf,
}

/// What all requests share.
#[derive(Debug)]
struct App {
    seen: Seen,
    hosts: Hosts,
    token: Token,
}

/// How long a request may take to arrive, counted from the answer to the one before, and how long
/// nothing of an answer may be read.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection is kept at most.
const LIFE: Duration = Duration::from_secs(600);

impl Bound {
    /// # Errors
    /// If the port is not to be had.
    pub(super) fn new(wanted: PageSettings) -> Result<Self, Failure> {
        let listener = TcpListener::bind(wanted.address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| {
                let what = format!("`http`: cannot listen at `{}`", wanted.address);
                Failure::during(&what, error)
            })?;
        Ok(Self { listener, wanted })
    }

    /// Answers from now on, until the process ends.
    pub(super) fn serve(self, observer: ServerObserver) -> Result<Page, Failure> {
        let Self { listener, wanted } = self;
        let failed = |error| Failure::during("`http`", error);
        let address = listener.local_addr().map_err(failed)?;
        let token = Token::obtain(&wanted.token_file)?;
        let hosts = Hosts::new(address, wanted.hosts);
        let app = Arc::new(App { seen: Seen::new(observer), hosts, token });
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(failed)?;
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(failed)?
        };
        let spawned = thread::Builder::new()
            .name("locks-http".into())
            .spawn(move || runtime.block_on(accept(&listener, &app)));
        spawned.map_err(failed)?;
        Ok(Page { url: format!("http://{address}/"), token_file: wanted.token_file })
    }
}

async fn accept(listener: &tokio::net::TcpListener, app: &Arc<App>) {
    let room = Room::new();
    let own = Arc::clone(app);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(seen::KEPT).await;
            own.seen.forget_old();
        }
    });
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Whoever it was has gone, or there are no descriptors left for a moment.
                say(format_args!("`http`: {error}"));
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let app = Arc::clone(app);
        let (slot, mut ends) = room.enter();
        tokio::spawn(async move {
            let slot = Arc::new(slot);
            let socket = ReadInTime::new(stream, Arc::clone(&slot), PATIENCE);
            let service = service_fn(move |request| {
                answer::answer(Arc::clone(&app), Arc::clone(&slot), request)
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .max_headers(64)
                .max_buf_size(32 * 1024)
                .serve_connection(TokioIo::new(socket), service);
            let mut connection = pin!(connection);
            let until_it_makes_way = poll_fn(|cx| match pin!(&mut ends).poll(cx) {
                Poll::Ready(_) => Poll::Ready(()),
                // Whoever has gone needs no answer.
                Poll::Pending => connection.as_mut().poll(cx).map(drop),
            });
            let _ = tokio::time::timeout(LIFE, until_it_makes_way).await;
        });
    }
}
