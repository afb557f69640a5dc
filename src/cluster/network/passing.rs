//! Calls that are no part of the cluster's protocol: what operators ask of one node by way of another. They come to the listener
//! for peers as they came to the other node, and whoever said so answers them ([`PassedCalls`]).

use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, ready};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http;
use tower::{Layer, Service};

use super::super::founding::NodeName;
use super::admission::Certified;
use super::peers::{Peers, Size};
use super::refusal::{CallError, Refusal};
use crate::proto::cluster::v1::cluster_service_server::SERVICE_NAME;

/// What answers a call that the peer of this name passes on.
pub type Answer =
    Box<dyn Fn(NodeName, http::Request<Body>) -> BoxFuture<'static, http::Response<Body>> + Send + Sync>;

/// Who answers calls that are passed on: nobody, until somebody says so. Clones share it.
#[derive(Clone, Default)]
pub struct PassedCalls(Arc<OnceLock<Answer>>);

impl PassedCalls {
    /// Has them answered from now on; who answers already goes on.
    pub fn answer_with(&self, answer: Answer) {
        let _first = self.0.set(answer);
    }
}

impl Peers {
    /// Passes a call on to the peer of this name as it is; its answer, of which the rest may be arriving still.
    ///
    /// # Errors
    /// When the peer does not answer, or refuses to be asked at all.
    pub async fn pass_call(
        &self,
        name: &NodeName,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, CallError> {
        let failed = |error: tonic::transport::Error| CallError::of(name, &Status::from_error(error.into()));
        let mut channel = self.channel(name, Size::Passed)?;
        poll_fn(|context| channel.poll_ready(context)).await.map_err(failed)?;
        let response = channel.call(request).await.map_err(failed)?;
        let status = Status::from_header_map(response.headers());
        match status.and_then(|status| CallError::refused(name, &status)) {
            Some(refused) => Err(refused),
            None => Ok(response),
        }
    }
}

/// Puts a [`Sorting`] before the cluster's own service.
#[derive(Clone)]
pub(super) struct SortingLayer {
    peers: Peers,
    passed: PassedCalls,
}

impl SortingLayer {
    pub(super) fn new(peers: Peers, passed: PassedCalls) -> Self {
        Self { peers, passed }
    }

    /// The answer to a call that is passed on.
    fn answer(&self, request: http::Request<Body>) -> BoxFuture<'static, http::Response<Body>> {
        let admitted = self.admit(request.extensions().get());
        match admitted.and_then(|name| Ok((name, self.passed.0.get().ok_or(Refusal::Beginning)?))) {
            Ok((name, answer)) => answer(name, request),
            Err(refusal) => ready(Status::from(refusal).into_http()).boxed(),
        }
    }

    /// Who passes it on: a peer that is listed now, and that no operator has removed.
    fn admit(&self, certified: Option<&Certified>) -> Result<NodeName, Refusal> {
        let names = certified.map(|certified| &*certified.0).unwrap_or_default();
        let listed = names.iter().find_map(|name| self.peers.listed(name));
        // Nobody asks itself: a second machine has the certificate of this one.
        let peer = listed.filter(|name| name != self.peers.own_name());
        let unlisted = || Refusal::Unlisted(names.first().map_or("nobody", String::as_str).into());
        let peer = peer.ok_or_else(unlisted)?;
        if self.peers.is_removed(&peer) {
            return Err(Refusal::Removed(peer));
        }
        Ok(peer)
    }
}

impl<S> Layer<S> for SortingLayer {
    type Service = Sorting<S>;

    fn layer(&self, inner: S) -> Sorting<S> {
        Sorting { inner, layer: self.clone() }
    }
}

/// Tells the cluster's own calls from those that are passed on.
#[derive(Clone)]
pub(super) struct Sorting<S> {
    inner: S,
    layer: SortingLayer,
}

impl<S> Service<http::Request<Body>> for Sorting<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
    S::Error: 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, BoxFuture<'static, Result<http::Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if is_of_cluster(request.uri().path()) {
            return Either::Left(self.inner.call(request));
        }
        Either::Right(self.layer.answer(request).map(Ok).boxed())
    }
}

fn is_of_cluster(path: &str) -> bool {
    let service = path.strip_prefix('/').and_then(|path| path.split_once('/')).map(|(service, _)| service);
    service == Some(SERVICE_NAME)
}

#[cfg(test)]
#[path = "passing_tests.rs"]
mod tests;
