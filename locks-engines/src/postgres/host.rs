//! Where servers listen, as it is written and found.

use std::path::Path;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// So many bytes of a path are in the address of a socket, with a zero behind them.
const LONGEST_SOCKET: usize =
    if cfg!(any(target_os = "linux", target_os = "android")) { 107 } else { 103 };

/// A URL without user and options, but for a directory of sockets.
pub(super) fn url(hosts: &[(String, u16)], database: &str) -> String {
    let all = hosts.iter().map(shown).collect::<Vec<_>>().join(",");
    match hosts.iter().any(|(host, _)| is_directory(host)) {
        true => format!("postgres:///{database}?host={all}"),
        false => format!("postgres://{all}/{database}"),
    }
}

/// A host and its port as a URL has them.
pub(super) fn shown((host, port): &(String, u16)) -> String {
    match host.contains(':') && !is_directory(host) {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// # Errors
/// If no socket can be at one of these.
pub(super) fn check<'a>(hosts: impl Iterator<Item = &'a (String, u16)>) -> Result<(), String> {
    let sockets = hosts.filter(|(host, _)| is_directory(host));
    let lengths = sockets.map(|(directory, port)| socket(Path::new(directory), *port).len());
    match lengths.max() {
        Some(longest) if longest > LONGEST_SOCKET => Err(format!(
            "the path of a socket has at most {LONGEST_SOCKET} bytes, and that in the directory which is \
             named has {longest}: have the server listen in one with a shorter path"
        )),
        _ => Ok(()),
    }
}

/// The files in which servers listen, if they do so in files only.
pub(super) fn sockets(config: &Config) -> Vec<String> {
    let hosts = config.get_hosts().iter().zip(config.get_ports());
    let files = hosts.map(|(host, port)| match host {
        #[cfg(unix)]
        Host::Unix(directory) => Some(socket(directory, *port)),
        Host::Tcp(_) => None,
    });
    files.collect::<Option<_>>().unwrap_or_default()
}

fn socket(directory: &Path, port: u16) -> String {
    directory.join(format!(".s.PGSQL.{port}")).display().to_string()
}

fn is_directory(host: &str) -> bool {
    host.starts_with('/')
}
