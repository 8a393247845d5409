//! A server at a TCP port.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use locks_core::fork::PerProcess;
use locks_core::{ErrorKind, LockError, thread};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, SocketFlags, SocketType};

use super::dial::{Dial, Stream, Unreached};
use crate::secret::Secret;
use crate::tls::{ClientTls, Trusted};

pub(super) struct AtPort {
    /// As it was named, with its port.
    place: String,
    name: String,
    tls: ClientTls,
    /// Kept for each process: in a forked child the parent's mutex may be locked, and no thread
    /// looks the name up.
    addresses: PerProcess<Arc<Addresses>>,
}

/// Where the host is. One that has a name may be elsewhere another time, and who is asked may be
/// slow to say.
#[derive(Default)]
struct Addresses {
    known: Mutex<Known>,
    told: Condvar,
}

#[derive(Default)]
struct Known {
    addresses: Vec<SocketAddr>,
    /// Which of them is to be tried next; all have been where there is none of that number.
    next: usize,
    is_asking: bool,
    why_not: Option<io::Error>,
}

impl AtPort {
    /// # Errors
    /// `NotConfigured`, where it is no address with a port, or nobody would prove anything.
    pub(super) fn new(
        place: &str,
        secret: Option<Secret>,
        trusted: Trusted,
    ) -> Result<Self, LockError> {
        let name = format!("locks://{place}");
        let host = place.rsplit_once(':').filter(|(host, port)| {
            let is_bare_v6 = host.contains(':') && !host.starts_with('[');
            !host.is_empty() && !is_bare_v6 && port.parse::<u16>().is_ok()
        });
        let Some((host, _)) = host else {
            let why = format!("`{place}` is no address with a port, as `host:7420` is one");
            return Err(LockError::new(ErrorKind::NotConfigured, "")
                .with_backend(&*name)
                .with_message(why));
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let tls =
            ClientTls::new(host, secret, trusted).map_err(|error| error.with_backend(&*name))?;
        Ok(Self { place: place.to_owned(), name, tls, addresses: PerProcess::new() })
    }

    fn addresses(&self) -> &Arc<Addresses> {
        self.addresses.get_or_init(|| {
            let addresses = Addresses::default();
            lock(&addresses).addresses.extend(self.place.parse::<SocketAddr>());
            Arc::new(addresses)
        })
    }

    fn is_numeric(&self) -> bool {
        self.place.parse::<SocketAddr>().is_ok()
    }

    /// The address to try now: another one each time.
    fn address(&self, by: Instant) -> Result<SocketAddr, Unreached> {
        let addresses = self.addresses();
        let mut known = lock(addresses);
        if !self.is_numeric() && known.next >= known.addresses.len() && !known.is_asking {
            known.is_asking = self.ask();
        }
        while known.addresses.is_empty() && known.is_asking {
            let left = by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = addresses.told.wait_timeout(known, left);
            known = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        // In the order that the system prefers.
        let at = known.next % known.addresses.len().max(1);
        known.next = at + 1;
        known.addresses.get(at).copied().ok_or_else(|| {
            let why = known.why_not.take().map_or_else(
                || "whoever is asked for its address does not answer".to_owned(),
                |error| format!("its name has no address ({error}): look how it is spelled"),
            );
            Unreached::Failed(LockError::unavailable(&self.name, why))
        })
    }

    /// Has the name looked up, by a thread that may take its time. Whether there is one.
    fn ask(&self) -> bool {
        let (addresses, place) = (self.addresses().clone(), self.place.clone());
        let ask = move || {
            let found = place.to_socket_addrs();
            let mut known = lock(&addresses);
            known.is_asking = false;
            match found {
                // Where it was last is better than nowhere.
                Ok(found) => known.addresses = found.collect(),
                Err(error) => known.why_not = Some(error),
            }
            addresses.told.notify_all();
        };
        thread::start("locks-name", 1 << 20, ask).is_ok()
    }
}

impl Dial for AtPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn tls(&self) -> Option<&ClientTls> {
        Some(&self.tls)
    }

    fn dial(&self, by: Instant) -> Result<Stream, Unreached> {
        let address = self.address(by)?;
        begin(&address)
            .map(|socket| Stream::Tcp(Arc::new(socket)))
            .map_err(|error| Unreached::of(&self.name, error.into()))
    }

    fn unreached(&self) -> &'static str {
        "nothing has answered there in time: look whether the address is the server's, and whether a firewall lets TCP \
         through to its port"
    }

    fn nobody(&self, error: &io::Error) -> String {
        let port = self.place.rsplit_once(':').map_or("7420", |(_, port)| port);
        let listen = match self.is_numeric() {
            true => self.place.clone(),
            false => format!("0.0.0.0:{port}"),
        };
        let options = self.tls.serve_options();
        format!(
            "nobody listens there ({error}): start its server again as it was started, or a first one \
             by `locks serve --listen tcp:{listen}{options}`"
        )
    }
}

fn lock(addresses: &Addresses) -> std::sync::MutexGuard<'_, Known> {
    addresses.known.lock().unwrap_or_else(PoisonError::into_inner)
}

fn begin(address: &SocketAddr) -> Result<OwnedFd, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) if is_at(&socket, address) => {
            Err(Errno::CONNREFUSED)
        }
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// Returns `true` if the socket is connected to itself. The system may give it the very port that
/// it connects to, if nobody listens there; then no server can listen there either.
fn is_at(socket: &OwnedFd, address: &SocketAddr) -> bool {
    rustix::net::getsockname(socket).is_ok_and(|own| own == SocketAddrAny::from(*address))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    /// Its parent's other threads, one of which has the mutex and one of which looks a name up, are
    /// not there.
    #[test]
    #[expect(unsafe_code, reason = "the one way to run anything in a forked child")]
    fn c4_a_forked_child_finds_the_address_whatever_its_parent_is_at() {
        let at = |place| {
            AtPort::new(place, Some(Secret::parse(&"a7".repeat(32)).unwrap()), Trusted::default())
        };
        let (numeric, named) = (at("192.0.2.1:7420").unwrap(), at("localhost:7420").unwrap());
        lock(named.addresses()).is_asking = true;
        let locked = lock(numeric.addresses());
        // SAFETY: the child looks for addresses, and ends without coming back, at the latest by the
        // alarm.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: it does nothing but to end this process.
            unsafe { libc::alarm(30) };
            let by = Instant::now() + Duration::from_secs(20);
            let found = numeric.address(by).is_ok() && named.address(by).is_ok();
            // SAFETY: nothing of the parent's is carried out at this end.
            unsafe { libc::_exit(i32::from(!found)) };
        }
        let mut status = -1;
        // SAFETY: `status` is a place to write to.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        drop(locked);
        assert_eq!(status, 0, "the child finds no address");
    }

    #[test]
    fn n7_a_connection_to_itself_is_none_to_a_server() {
        let new = || {
            let flags = SocketFlags::CLOEXEC;
            rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap()
        };
        let socket = new();
        rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let own: SocketAddr = rustix::net::getsockname(&socket).unwrap().try_into().unwrap();
        rustix::net::connect(&socket, &own).unwrap();
        assert!(is_at(&socket, &own));
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (socket, address) = (new(), server.local_addr().unwrap());
        rustix::net::connect(&socket, &address).unwrap();
        assert!(!is_at(&socket, &address));
    }

    #[test]
    fn whoever_finds_nobody_is_told_the_command_that_would_serve_it() {
        let refused = || io::ErrorKind::ConnectionRefused.into();
        let path = std::env::temp_dir().join(format!("locks-hint-{}", std::process::id()));
        let secret = Secret::parse(&"a7".repeat(32)).unwrap();
        std::fs::write(&path, &*secret.to_text()).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let read = Secret::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let at = |secret, trusted| AtPort::new("192.0.2.1:7420", Some(secret), trusted).unwrap();
        let said = at(read, Trusted::default()).nobody(&refused());
        let command = "`locks serve --listen tcp:192.0.2.1:7420 --secret-file ";
        assert!(said.ends_with(&format!("{command}{}`", path.display())), "{said}");
        let said = at(secret, Trusted::default()).nobody(&refused());
        assert!(said.ends_with(&format!("{command}FILE`")), "{said}");
    }

    #[test]
    fn n7_addresses_are_tried_in_their_order() {
        let secret = Secret::parse(&"a7".repeat(32)).unwrap();
        let at = AtPort::new("localhost:7420", Some(secret), Trusted::default()).unwrap();
        let [first, second] =
            ["[2001:db8::1]:7420", "192.0.2.1:7420"].map(|it| it.parse().unwrap());
        lock(at.addresses()).addresses.extend([first, second]);
        assert_eq!(at.address(Instant::now()).unwrap(), first);
        assert_eq!(at.address(Instant::now()).unwrap(), second);
    }
}
