//! Calls to one member of a cluster.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use prost::Message;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::client::Grpc;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::wire::{
    AuthenticateRequest, AuthenticateResponse, LeaseGrantRequest, LeaseGrantResponse,
    LeaseRevokeRequest, LeaseRevokeResponse, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
    RangeRequest, RangeResponse, StatusRequest, StatusResponse, TxnRequest, TxnResponse,
};
use crate::link::Trip;

/// A list is the longest answer: as many entries as [`list`](super::list) asks for at once.
const LONGEST_ANSWER: usize = 64 << 20;

/// A user, and what proves it.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// A connection for calls. Clones are the same one.
#[derive(Clone)]
pub(super) struct Rpc {
    channel: Channel,
    login: Option<Login>,
    /// What a cluster with users gives for a password; it takes no password with a call. It runs
    /// out.
    token: Arc<Mutex<Option<AsciiMetadataValue>>>,
    /// How long an answer may take.
    patience: Duration,
    /// The same where a password is looked at, which is made to take long.
    reach: Duration,
    trip: Arc<Trip>,
}

impl Rpc {
    pub(super) fn new(
        channel: Channel,
        login: Option<Login>,
        patience: Duration,
        reach: Duration,
    ) -> Self {
        Self { channel, login, token: Arc::default(), patience, reach, trip: Arc::default() }
    }

    /// How long an answer may take.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    pub(super) fn trip(&self) -> &Trip {
        &self.trip
    }

    pub(super) async fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Status> {
        self.unary("/etcdserverpb.KV/Range", request).await
    }

    pub(super) async fn txn(&self, request: &TxnRequest) -> Result<TxnResponse, Status> {
        self.unary("/etcdserverpb.KV/Txn", request).await
    }

    /// Has the cluster grant a lease of so many seconds, by a name of its choice if `id` is zero.
    pub(super) async fn grant_lease(&self, ttl: i64, id: i64) -> Result<i64, Status> {
        let request = LeaseGrantRequest { ttl, id };
        let granted: LeaseGrantResponse =
            self.unary("/etcdserverpb.Lease/LeaseGrant", &request).await?;
        Ok(granted.id)
    }

    pub(super) async fn revoke_lease(&self, id: i64) -> Result<(), Status> {
        let request = LeaseRevokeRequest { id };
        let _: LeaseRevokeResponse =
            self.unary("/etcdserverpb.Lease/LeaseRevoke", &request).await?;
        Ok(())
    }

    pub(super) async fn time_to_live(&self, id: i64) -> Result<LeaseTimeToLiveResponse, Status> {
        self.unary("/etcdserverpb.Lease/LeaseTimeToLive", &LeaseTimeToLiveRequest { id }).await
    }

    pub(super) async fn status(&self) -> Result<StatusResponse, Status> {
        self.unary("/etcdserverpb.Maintenance/Status", &StatusRequest {}).await
    }

    /// Proves who the user is, if there is one.
    pub(super) async fn log_in(&self) -> Result<(), Status> {
        let Some(Login { user, password }) = self.login.clone() else { return Ok(()) };
        let request = AuthenticateRequest { name: user, password };
        // Without the last proof: one that has run out is refused here as well.
        let path = "/etcdserverpb.Auth/Authenticate";
        let answer: AuthenticateResponse =
            self.send(path, Request::new(request), self.reach).await?;
        let token = answer.token.parse().map_err(|_| Status::internal("its token is no text"))?;
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
        Ok(())
    }

    /// Opens a stream in both directions, to a member that has a leader and for as long as it has
    /// one.
    pub(super) async fn stream<Q, A>(
        &self,
        path: &'static str,
        requests: UnboundedReceiver<Q>,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + Send + 'static,
        A: Message + Default + Send + 'static,
    {
        let mut request = Request::new(UnboundedReceiverStream::new(requests));
        self.sign(request.metadata_mut());
        request.metadata_mut().insert("hasleader", AsciiMetadataValue::from_static("true"));
        let path = PathAndQuery::from_static(path);
        let mut grpc = self.ready().await?;
        let codec = ProstCodec::<Q, A>::default();
        let opened = tokio::time::timeout(self.patience, grpc.streaming(request, path, codec));
        Ok(opened.await.map_err(|_| self.silent())??.into_inner())
    }

    async fn unary<Q, A>(&self, path: &'static str, request: &Q) -> Result<A, Status>
    where
        Q: Message + Clone + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let sent = Instant::now();
        let answer = self.call(path, request, self.patience).await;
        self.trip.took(sent.elapsed());
        match answer {
            // Tokens run out, and change with the users.
            Err(status) if self.login.is_some() && wants_new_token(&status) => {
                self.log_in().await?;
                self.call(path, request, self.patience).await
            }
            answer => answer,
        }
    }

    async fn call<Q, A>(
        &self,
        path: &'static str,
        request: &Q,
        patience: Duration,
    ) -> Result<A, Status>
    where
        Q: Message + Clone + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut request = Request::new(request.clone());
        self.sign(request.metadata_mut());
        self.send(path, request, patience).await
    }

    async fn send<Q, A>(
        &self,
        path: &'static str,
        request: Request<Q>,
        patience: Duration,
    ) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let path = PathAndQuery::from_static(path);
        let called = async {
            let mut grpc = self.ready().await?;
            grpc.unary(request, path, ProstCodec::<Q, A>::default()).await
        };
        let answer = tokio::time::timeout(patience, called).await;
        Ok(answer.map_err(|_| self.silent())??.into_inner())
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(LONGEST_ANSWER);
        let ready = grpc.ready().await;
        ready.map_err(|error| Status::unavailable(super::fault::whole(&error)))?;
        Ok(grpc)
    }

    fn sign(&self, metadata: &mut MetadataMap) {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(token) = token {
            metadata.insert("authorization", token);
        }
    }

    fn silent(&self) -> Status {
        Status::unavailable(format!("no answer within {:?}", self.patience))
    }
}

fn wants_new_token(status: &Status) -> bool {
    status.code() == Code::Unauthenticated || status.message().contains("revision in header is old")
}
