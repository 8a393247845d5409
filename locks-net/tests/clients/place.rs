//! A server for one test, and ways to it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use locks_net::{NetBackend, Secret, Server};

/// A directory that is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("locks-net-clients-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        Self(path)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// A server at a Unix socket.
    pub(crate) fn serve(&self) -> Server {
        Server::builder().state(self.state()).unix(self.socket()).start().unwrap()
    }

    /// A server at a TCP port, and its address.
    pub(crate) fn serve_tcp(&self) -> (Server, String) {
        let port = "127.0.0.1:0".parse().unwrap();
        let server =
            Server::builder().state(self.state()).tcp(port).clients(secret()).start().unwrap();
        let address = server.addresses()[0].strip_prefix("locks://").unwrap().to_owned();
        (server, address)
    }

    /// A client of its own.
    pub(crate) fn client(&self) -> NetBackend {
        NetBackend::unix(self.socket()).build().unwrap()
    }
}

/// What servers and clients of these tests share.
pub(crate) fn secret() -> Secret {
    Secret::parse(&"5a".repeat(32)).unwrap()
}

impl Drop for Place {
    fn drop(&mut self) {
        // Where a test has failed, processes may still be writing.
        let _ = fs::remove_dir_all(&self.0);
    }
}
