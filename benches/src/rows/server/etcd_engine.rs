//! Locks in an etcd cluster of one member, beside etcd's own.

use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use locks_benches::measure::Pace;
use locks_benches::report::Report;
use tokio::runtime::Handle;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::address::{PATIENCE, Transport};
use super::child::Started;
use super::client::{Client, Entrant, Service};
use super::engine::{BlockOnAnother, Ours, Table, driver, missing};
use crate::rows::place::Place;

const TABLE: Table = Table {
    row: "etcd",
    ours: "etcd.named(key)",
    floor: "etcd's own Lock",
    poller: "etcd's own Lock",
    pair: 1.2,
    handover: [Some(0.25), None],
    tasks: None,
};

pub(crate) fn run(pace: Pace, base: &Path) -> Vec<Report> {
    let place = Place::new(base, TABLE.row);
    let driver = driver();
    let (_keeper, at) = match start(place.path(), &driver) {
        Ok(started) => started,
        Err(error) => return missing(TABLE.row, format!("no etcd: {error}: install etcd-server")),
    };
    let url = format!("etcd://{at}");
    let own = Own { at: at.clone(), driver: driver.clone() };
    let entrants = [Entrant::new(TABLE.floor, own), Entrant::new(TABLE.ours, Ours(url.clone()))];
    let connected = driver.block_on_another(connect(at));
    let (channel, lease) = connected.expect("the server is there");
    let tasks = TABLE.tasks(pace, &url, &driver, |task| {
        let channel = channel.clone();
        async move {
            let name = format!("task {task}").into_bytes();
            let locked = lock(channel.clone(), name, lease).await?;
            unlock(channel, locked).await
        }
    });
    vec![TABLE.pair(pace, &entrants), tasks, TABLE.handover(pace, &entrants)]
}

/// Starts a private etcd member. Returns its process and its address.
fn start(directory: &Path, driver: &Handle) -> io::Result<(Started, String)> {
    let free = || Transport::Tcp.free(directory, "").map(|address| address.in_url());
    let (at, peers) = (free()?, free()?);
    let (clients, peers) = (format!("http://{at}"), format!("http://{peers}"));
    let (data, cluster) = (directory.join("etcd"), format!("default={peers}"));
    let data = data.display().to_string();
    let arguments = [
        "keeper",
        "etcd",
        "--data-dir",
        &data,
        "--listen-client-urls",
        &clients,
        "--advertise-client-urls",
        &clients,
        "--listen-peer-urls",
        &peers,
        "--initial-advertise-peer-urls",
        &peers,
        "--initial-cluster",
        &cluster,
        // As the other servers of these rows, it waits for no disk.
        "--unsafe-no-fsync",
        "--logger",
        "zap",
        "--log-level",
        "error",
        "--log-outputs",
        "/dev/null",
    ];
    let mut keeper = Started::start(arguments.map(std::ffi::OsStr::new))?;
    keeper.hear()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match driver.block_on_another(connect(at.clone())) {
            Ok(_) => return Ok((keeper, at)),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Its locks, by the service that it has for them.
struct Own {
    at: String,
    driver: Handle,
}

impl Service for Own {
    fn connect(&self, key: &str) -> io::Result<Box<dyn Client>> {
        let (channel, lease) = self.driver.block_on_another(connect(self.at.clone()))?;
        let (driver, name) = (self.driver.clone(), key.as_bytes().to_vec());
        Ok(Box::new(Session { channel, driver, lease, name, locked: Vec::new() }))
    }
}

struct Session {
    channel: Channel,
    driver: Handle,
    lease: i64,
    name: Vec<u8>,
    locked: Vec<u8>,
}

impl Client for Session {
    fn take(&mut self) -> io::Result<()> {
        let taken = lock(self.channel.clone(), self.name.clone(), self.lease);
        self.locked = self.driver.block_on_another(taken)?;
        Ok(())
    }

    fn give(&mut self) -> io::Result<()> {
        let locked = std::mem::take(&mut self.locked);
        self.driver.block_on_another(unlock(self.channel.clone(), locked))
    }

    fn give_and_wait(&mut self) -> io::Result<()> {
        self.give()
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct LockRequest {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(int64, tag = "2")]
    lease: i64,
}

/// Of the answers as well, as far as they matter.
#[derive(Clone, PartialEq, prost::Message)]
struct LockAnswer {
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct UnlockRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}

#[derive(Clone, PartialEq, prost::Message)]
struct GrantRequest {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GrantAnswer {
    #[prost(int64, tag = "2")]
    id: i64,
}

async fn lock(channel: Channel, name: Vec<u8>, lease: i64) -> io::Result<Vec<u8>> {
    let request = LockRequest { name, lease };
    call::<_, LockAnswer>(channel, "/v3lockpb.Lock/Lock", request).await.map(|answer| answer.key)
}

async fn unlock(channel: Channel, key: Vec<u8>) -> io::Result<()> {
    call::<_, Nothing>(channel, "/v3lockpb.Lock/Unlock", UnlockRequest { key }).await.map(drop)
}

/// A connection, and a lease that outlives the table.
async fn connect(at: String) -> io::Result<(Channel, i64)> {
    let endpoint = Endpoint::from_shared(format!("http://{at}")).map_err(io::Error::other)?;
    let channel = endpoint.tcp_nodelay(true).connect().await.map_err(io::Error::other)?;
    let request = GrantRequest { seconds: 3600 };
    let granted =
        call::<_, GrantAnswer>(channel.clone(), "/etcdserverpb.Lease/LeaseGrant", request).await?;
    Ok((channel, granted.id))
}

async fn call<Q, A>(channel: Channel, path: &'static str, request: Q) -> io::Result<A>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(io::Error::other)?;
    let codec = ProstCodec::<Q, A>::default();
    let request = tonic::Request::new(request);
    let answer = client.unary(request, PathAndQuery::from_static(path), codec).await;
    answer.map(tonic::Response::into_inner).map_err(io::Error::other)
}
