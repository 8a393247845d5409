//! `locks serve`: a server, until it is told to stop.

mod addresses;
#[cfg_attr(not(feature = "tcp"), path = "no_tcp.rs")]
mod clients;
mod file;
mod http;
mod limits;
mod log;
mod ready;
mod settings;
mod stop;

use std::fmt::Write;
use std::sync::Arc;

use locks::net::Server;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;

use self::http::{Bound, Page};
use self::settings::Settings;
use self::stop::Stop;
use crate::args::ServeArgs;
use crate::inherited::Inherited;
use crate::out;
use crate::quoted::quoted;
use crate::status::{Failure, Status};

/// Serves until a signal comes, or until it cannot go on.
pub(crate) fn serve(asked: &ServeArgs, inherited: &Inherited) -> Result<Status, Failure> {
    let settings = Settings::gather(asked)?;
    raise_descriptors();
    let log = Arc::new(settings.log()?);
    // Before it listens, so that no signal finds it without an ear.
    let stop = Stop::listen(inherited, Arc::clone(&log), settings.on_tcp.clone())
        .map_err(|error| Failure::during("signals", error))?;
    // Before there is a server that would have to be stopped again.
    let page = settings.page()?.map(Bound::new).transpose()?;
    let server = Arc::new(settings.into_builder(log)?.start()?);
    stop.tell(Arc::clone(&server));
    let page = page.map(|page| page.serve(server.observer())).transpose()?;
    out::print(&words(&server, page.as_ref(), asked.json))?;
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

/// Where it listens: a line for each address, and one for the page.
fn words(server: &Server, page: Option<&Page>, in_json: bool) -> String {
    let addresses = server.addresses();
    if in_json {
        let mut object = json!({ "listening": addresses, "pid": std::process::id() });
        if let Some(page) = page {
            object["http"] = json!({
                "url": page.url,
                "token_file": page.token_file.to_string_lossy(),
            });
        }
        return format!("{object}\n");
    }
    let mut text = String::new();
    for address in addresses {
        let _ = writeln!(text, "listening on {address}");
    }
    if let Some(Page { url, token_file }) = page {
        let file = quoted(&token_file.to_string_lossy());
        let _ = writeln!(text, "page at {url}, which takes the token that `cat {file}` shows");
    }
    text
}
