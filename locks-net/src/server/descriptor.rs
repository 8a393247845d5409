use std::io;
use std::task::{Context, Poll, ready};

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor in the runtime.
///
/// It is registered for reading only, until a write would block: the kernel tells of room in a Unix
/// socket whenever its other end reads, and that would wake the server once more in each round
/// trip.
#[derive(Debug)]
pub(super) struct Descriptor {
    /// `None` once it could not be registered anew.
    fd: Option<AsyncFd<OwnedFd>>,
    waits_for_room: bool,
    /// It has been registered anew, and forgotten who is to be woken.
    is_new: bool,
}

impl Descriptor {
    /// To be called in the runtime.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            fd: Some(register(fd, Interest::READABLE)?),
            waits_for_room: false,
            is_new: false,
        })
    }

    /// Receives from a socket.
    pub(super) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let wanted = buffer.len();
        let fd = self.registered()?;
        loop {
            let mut ready = ready!(fd.poll_read_ready(cx))?;
            match rustix::net::recv(fd, &mut *buffer, RecvFlags::empty()) {
                Ok((received, _)) => {
                    if received < wanted {
                        // That was all there is; of the end the runtime knows nevertheless.
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(received));
                }
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Sends over a socket.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let fd = self.registered()?;
            let ready = match self.waits_for_room {
                true => Some(ready!(fd.poll_write_ready(cx))?),
                false => None,
            };
            match (rustix::net::send(fd, bytes, SendFlags::NOSIGNAL), ready) {
                (Ok(sent), ready) => {
                    if let Some(mut ready) = ready.filter(|_| sent < bytes.len()) {
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(sent));
                }
                (Err(Errno::AGAIN), Some(mut ready)) => ready.clear_ready(),
                (Err(Errno::AGAIN), None) => self.wait_for_room(true)?,
                (Err(Errno::INTR), _) => {}
                (Err(error), _) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Everything has been sent.
    pub(super) fn rest(&mut self) -> io::Result<()> {
        if self.waits_for_room { self.wait_for_room(false) } else { Ok(()) }
    }

    /// Whether sending has had it forget who waits to receive, since this was asked last.
    pub(super) fn is_new(&mut self) -> bool {
        std::mem::take(&mut self.is_new)
    }

    /// Whether there is something to be read. If there is not, the task is woken when there is.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.registered()?.poll_read_ready(cx).map_ok(drop)
    }

    /// Sends what there is room for.
    pub(super) fn send_last(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        Ok(rustix::net::send(self.registered()?, bytes, flags)?)
    }

    /// Sends the end.
    pub(super) fn shut(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self.registered()?, Shutdown::Write)?)
    }

    fn wait_for_room(&mut self, waits: bool) -> io::Result<()> {
        let Some(fd) = self.fd.take() else { return Err(Errno::BADF.into()) };
        let interest = match waits {
            true => Interest::READABLE | Interest::WRITABLE,
            false => Interest::READABLE,
        };
        self.fd = Some(register(fd.into_inner(), interest)?);
        self.waits_for_room = waits;
        self.is_new = true;
        Ok(())
    }

    fn registered(&self) -> io::Result<&AsyncFd<OwnedFd>> {
        self.fd.as_ref().ok_or_else(|| Errno::BADF.into())
    }
}

#[expect(deprecated, reason = "unsound for what changes its descriptor, which this one does not")]
fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}
