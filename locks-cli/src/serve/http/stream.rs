//! A connection's socket, whose client has to read in time.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::room::ConnectionSlot;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct ReadInTime {
    socket: TcpStream,
    slot: Arc<ConnectionSlot>,
    patience: Duration,
    /// Runs while the client takes nothing of what there is for it.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl ReadInTime {
    /// One whose client reads something within every `patience`.
    pub(super) fn new(socket: TcpStream, slot: Arc<ConnectionSlot>, patience: Duration) -> Self {
        Self { socket, slot, patience, stuck: None }
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let written = write(Pin::new(&mut self.socket), cx);
        if written.is_ready() {
            if self.stuck.take().is_some() {
                self.slot.set_unread(false);
            }
            return written;
        }
        self.slot.set_unread(true);
        let patience = self.patience;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stuck.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for ReadInTime {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ReadInTime {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |socket, cx| socket.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |socket, cx| socket.poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Read;

    use super::super::room::Room;
    use super::*;

    #[test]
    fn f18_who_does_not_read_is_given_up() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        runtime.unwrap().block_on(async {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (socket, _) = listener.accept().unwrap();
            socket.set_nonblocking(true).unwrap();
            let socket = TcpStream::from_std(socket).unwrap();
            let (slot, _ends) = Room::new().enter();
            let mut stream = ReadInTime::new(socket, slot.into(), Duration::from_millis(50));
            let mut taken = 0;
            let error = loop {
                let write = |cx: &mut Context<'_>| Pin::new(&mut stream).poll_write(cx, &[7; 9000]);
                match poll_fn(write).await {
                    Ok(more) => taken += more,
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            drop(stream);
            let mut read = Vec::new();
            (&client).read_to_end(&mut read).unwrap();
            assert_eq!(read.len(), taken, "what it has taken it has");
        });
    }
}
