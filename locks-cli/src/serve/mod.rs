//! `locks serve`: a server, until it is told to stop.

mod addresses;
#[cfg_attr(not(feature = "tcp"), path = "no_tcp.rs")]
mod clients;
mod file;
mod limits;
mod log;
mod ready;
mod settings;
mod stop;

use std::sync::Arc;

use locks::net::Server;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;

use self::settings::Settings;
use self::stop::Stop;
use crate::args::ServeArgs;
use crate::inherited::Inherited;
use crate::out;
use crate::status::{Failure, Status};

/// Serves until a signal comes, or until it cannot go on.
pub(crate) fn serve(asked: &ServeArgs, inherited: &Inherited) -> Result<Status, Failure> {
    let settings = Settings::gather(asked)?;
    raise_descriptors();
    let log = Arc::new(settings.log()?);
    // Before it listens, so that no signal finds it without an ear.
    let stop = Stop::listen(inherited, Arc::clone(&log))
        .map_err(|error| Failure::during("signals", error))?;
    let server = Arc::new(settings.into_builder(log)?.start()?);
    stop.tell(Arc::clone(&server));
    out::print(&words(&server, asked.json))?;
    ready::tell(asked.ready_fd)?;
    server.wait()?;
    Ok(Status::Done)
}

/// A client takes two descriptors, and the usual limit is for programs that take few (N6).
fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // It serves fewer, then, and tells those who are too many.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Where it listens: a line for each address.
fn words(server: &Server, in_json: bool) -> String {
    let addresses = server.addresses();
    match in_json {
        true => {
            format!("{}\n", json!({ "listening": addresses, "pid": std::process::id() }))
        }
        false => addresses.iter().map(|address| format!("listening on {address}\n")).collect(),
    }
}
