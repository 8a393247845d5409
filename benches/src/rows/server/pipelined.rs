//! One connection that many tasks share: requests go out as they come, several at a time, and
//! answers come back in their order.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::address::Address;

type From = Box<dyn AsyncRead + Send + Unpin>;
type To = Box<dyn AsyncWrite + Send + Unpin>;

/// An answer is a line.
type Answer = oneshot::Sender<Vec<u8>>;

/// Those who wait for an answer, in the order of their requests.
type Waiting = Arc<Mutex<VecDeque<Answer>>>;

/// Most requests that are written at once.
const BATCH: usize = 256;

#[derive(Clone, Debug)]
pub(super) struct Pipelined(mpsc::UnboundedSender<(Vec<u8>, Answer)>);

impl Pipelined {
    /// Connects, and drives the connection by two tasks of the present runtime until it is dropped.
    pub(super) async fn open(address: &Address) -> io::Result<Self> {
        let (from, to): (From, To) = match address {
            Address::Unix(path) => {
                let (from, to) = UnixStream::connect(path).await?.into_split();
                (Box::new(from), Box::new(to))
            }
            Address::Tls(_) => return Err(io::ErrorKind::Unsupported.into()),
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let (from, to) = stream.into_split();
                (Box::new(from), Box::new(to))
            }
        };
        let waiting = Waiting::default();
        let (requests, to_write) = mpsc::unbounded_channel();
        tokio::spawn(write(to_write, to, Arc::clone(&waiting)));
        tokio::spawn(read(from, waiting));
        Ok(Self(requests))
    }

    pub(super) async fn ask(&self, request: Vec<u8>) -> io::Result<Vec<u8>> {
        let (answer, answered) = oneshot::channel();
        let closed = |_| io::Error::from(io::ErrorKind::ConnectionAborted);
        self.0.send((request, answer)).map_err(|_| io::ErrorKind::ConnectionAborted)?;
        answered.await.map_err(closed)
    }
}

async fn write(
    mut requests: mpsc::UnboundedReceiver<(Vec<u8>, Answer)>,
    mut to: To,
    waiting: Waiting,
) -> io::Result<()> {
    let (mut batch, mut bytes) = (Vec::with_capacity(BATCH), Vec::new());
    while requests.recv_many(&mut batch, BATCH).await > 0 {
        bytes.clear();
        for (request, _) in &batch {
            bytes.extend_from_slice(request);
        }
        waiting.lock().extend(batch.drain(..).map(|(_, answer)| answer));
        to.write_all(&bytes).await?;
    }
    Ok(())
}

async fn read(mut from: From, waiting: Waiting) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(64 << 10);
    while from.read_buf(&mut bytes).await? > 0 {
        let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in bytes[..complete].split_inclusive(|byte| *byte == b'\n') {
            if let Some(answer) = waiting.lock().pop_front() {
                // Whoever has asked may have gone.
                let _ = answer.send(line.to_vec());
            }
        }
        bytes.drain(..complete);
    }
    // The others hear that there is no answer.
    waiting.lock().clear();
    Ok(())
}
